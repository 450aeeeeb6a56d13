#include "sdk/records/json.hpp"

#include <algorithm>
#include <charconv>

#include "sdk/records/calendar.hpp"
#include "sdk/records/json_value.hpp"
#include "sdk/records/text.hpp"
#include "sync/limits.hpp"

namespace doorstep {

namespace {

using Kinds = JsonValue::Kind;

Error wrong(const std::string& path, const std::string& what) { return Error(Code::invalid_record, path + ": " + what); }

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t out = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  return out;
}

/// "-7.30" exactly: mantissa -730, scale 2. No exponent: what was typed is kept.
std::optional<Decimal> decimal_from(std::string_view text) {
  std::string digits;
  Decimal out;
  bool after_point = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '.' && !after_point && i + 1 < text.size()) {
      after_point = true;
      continue;
    }
    if (after_point && ++out.scale > 9) return std::nullopt;
    digits.push_back(text[i]);
  }
  const auto mantissa = whole_number(digits);
  if (!mantissa || digits == "-" || text.front() == '.') return std::nullopt;
  out.mantissa = *mantissa;
  return out;
}

std::string decimal_text(const Decimal& decimal) {
  auto digits = std::to_string(decimal.mantissa);
  const bool negative = digits[0] == '-';
  if (negative) digits.erase(0, 1);
  if (decimal.scale > 0) {
    if (digits.size() <= decimal.scale) digits.insert(0, decimal.scale + 1 - digits.size(), '0');
    digits.insert(digits.size() - decimal.scale, ".");
  }
  return (negative ? "-" : "") + digits;
}

/// From a text, for the types that JSON writes as text.
Result<Value> value_from_string(const Slot& slot, const std::string& path, const std::string& text) {
  switch (slot.type) {
    case Type::text:
      if (text.size() > limits::value_bytes_max)
        return Error(Code::too_large, path + ": longer than a value may be; attach a file instead");
      if (!nfc(text)) return wrong(path, "contains a NUL character or is not UTF-8; remove it");
      return normalized(slot, text);
    case Type::code:
      if (!slot.codes->find(text)) return wrong(path, "is not a code of " + slot.codes->id + "; `schema show` lists them");
      return Value(CodeText{text});
    case Type::date:
      if (const auto date = date_from_text(text)) return Value(*date);
      return wrong(path, "is not a day of the calendar; write it as 2026-03-14");
    case Type::timestamp:
      if (const auto time = timestamp_from_text(text)) return Value(*time);
      return wrong(path, "is not a time; write it as 2026-03-14T09:30:00+08:00");
    case Type::decimal:
      if (const auto decimal = decimal_from(text)) return Value(*decimal);
      return wrong(path, "is not a decimal number; write it as 7.30, with at most nine places");
    case Type::record: {
      const auto id = RecordId::parse(text);
      if (!id.ok()) return wrong(path, "is not a record id; write its 32 hexadecimal digits");
      return Value(*id);
    }
    case Type::bytes: {
      auto bytes = from_hex(text);
      if (!bytes.ok() || bytes->size() > limits::value_bytes_max) return wrong(path, "is not hexadecimal, or too long");
      return Value(*std::move(bytes));
    }
    default: return wrong(path, std::string("expected ") + type_name(slot.type) + ", got a text; write it without quotes");
  }
}

Result<Value> value_from_json(const Slot& slot, const std::string& path, const JsonValue& json) {
  if (json.is(Kinds::null)) return Value();
  if (json.is(Kinds::text)) return value_from_string(slot, path, json.text);
  if (json.is(Kinds::boolean) && slot.type == Type::boolean) return Value(json.truth);
  if (json.is(Kinds::number)) {
    const auto whole = whole_number(json.text);
    if (slot.type == Type::integer && whole) return Value(*whole);
    if (slot.type == Type::timestamp && whole) return Value(Timestamp{*whole});
    if (slot.type == Type::decimal) return value_from_string(slot, path, json.text);
  }
  const std::string hint = slot.type == Type::code && json.is(Kinds::number) ? "; a code is written in quotes" : "";
  return wrong(path, std::string("expected ") + type_name(slot.type) + ", got " + json_kind_name(json.kind) + hint);
}

class ObjectReader {
 public:
  ObjectReader(const Kind& kind, Random& random, const ShownValues* existing) : kind_(kind), random_(random), existing_(existing) {}

  Result<std::vector<Assignment>> read(const JsonValue& object) {
    if (!object.is(Kinds::object))
      return Error(Code::invalid_argument, std::string("JSON: a record is an object of fields, got ") + json_kind_name(object.kind));
    for (const auto& member : object.items) {
      const auto* field = kind_.field(member.name);
      if (!field) return wrong(member.name.substr(0, 64), "kind " + kind_.name + " has no such field; `schema show` lists them");
      DOORSTEP_TRY(field->is_set ? set(*field, member) : single(*field, member));
      if (out_.size() > limits::operations_per_transaction_max)
        return Error(Code::too_large, "JSON: more values than one transaction may hold; split the record");
    }
    DOORSTEP_TRY(each_once());
    return std::move(out_);
  }

 private:
  /// Two writes of one register in one transaction would be concurrent with each other.
  Status each_once() const {
    std::vector<const Address*> addresses;
    for (const auto& assignment : out_) addresses.push_back(&assignment.address);
    std::sort(addresses.begin(), addresses.end(), [](const Address* a, const Address* b) { return *a < *b; });
    for (std::size_t i = 1; i < addresses.size(); ++i)
      if (*addresses[i] == *addresses[i - 1])
        return wrong(kind_.field(addresses[i]->field)->name, "the same element is written twice; write it once");
    return {};
  }

  void assign(Address address, Value value) { out_.push_back({std::move(address), std::move(value)}); }
  bool shows(const Address& address) const {
    if (!existing_) return false;
    const auto at = existing_->find(address);
    return at != existing_->end() && has_value(at->second);
  }

  Status single(const Field& field, const JsonValue& json) {
    if (field.type != Type::structure) {
      DOORSTEP_ASSIGN(Value value, value_from_json(field, field.name, json));
      assign({field.id, "", 0}, std::move(value));
      return {};
    }
    if (json.is(Kinds::null)) {
      for (const auto& sub : field.subfields)
        if (shows({field.id, "", sub.id})) assign({field.id, "", sub.id}, Value());
      return {};
    }
    return subfields(field, "", field.name, json, {});
  }

  /// The subfields of a structure or element; `reserved` names are somebody else's.
  Status subfields(const Field& field, const std::string& element, const std::string& path, const JsonValue& json,
                   std::string_view reserved) {
    if (!json.is(Kinds::object)) return wrong(path, std::string("expected an object of subfields, got ") + json_kind_name(json.kind));
    for (const auto& member : json.items) {
      if (!reserved.empty() && member.name == reserved) continue;
      const auto* sub = field.subfield(member.name);
      if (!sub) return wrong(path + "." + member.name.substr(0, 64), "no such subfield; `schema show` lists them");
      DOORSTEP_ASSIGN(Value value, value_from_json(*sub, path + "." + sub->name, member));
      // In a new element there is nothing to clear.
      if (!has_value(value) && !shows({field.id, element, sub->id})) continue;
      assign({field.id, element, sub->id}, std::move(value));
    }
    return {};
  }

  Status set(const Field& field, const JsonValue& json) {
    if (json.is(Kinds::null)) return clear_all(field), Status();
    const JsonValue* add = json.is(Kinds::array) ? &json : json.member("add");
    const JsonValue* remove = json.member("remove");
    if (json.is(Kinds::object) && json.items.size() != std::size_t{add != nullptr} + std::size_t{remove != nullptr})
      return wrong(field.name, "write an array, or {\"add\": [...], \"remove\": [...]}");
    for (const auto* list : {add, remove})
      if (list && !list->is(Kinds::array)) return wrong(field.name, std::string("expected an array, got ") + json_kind_name(list->kind));
    if (!add && !remove) return wrong(field.name, "is a set: write an array of its elements");
    for (std::size_t i = 0; remove && i < remove->items.size(); ++i) DOORSTEP_TRY(remove_element(field, remove->items[i], i));
    for (std::size_t i = 0; add && i < add->items.size(); ++i) DOORSTEP_TRY(add_element(field, add->items[i], i));
    return {};
  }

  static std::string at(const Field& field, std::size_t index) { return field.name + "[" + std::to_string(index) + "]"; }

  Status add_element(const Field& field, const JsonValue& json, std::size_t index) {
    const auto path = at(field, index);
    if (field.keyed_by_code()) return add_code(field, json, path);
    if (field.type == Type::structure) return add_structure(field, json, path);
    DOORSTEP_ASSIGN(Value value, value_from_json(field, path, json));
    if (!has_value(value)) return wrong(path, "null is no element; leave it out");
    if (!element_showing(field, value).empty()) return {};  // it is there already
    assign({field.id, new_key(), 0}, std::move(value));
    return {};
  }

  Status add_code(const Field& field, const JsonValue& json, const std::string& path) {
    const auto* code = json.is(Kinds::object) ? json.member("code") : &json;
    if (!code || !code->is(Kinds::text)) return wrong(path, "write the code in quotes, or an object with \"code\" and subfields");
    if (!field.codes->find(code->text)) return wrong(path, "is not a code of " + field.codes->id + "; `schema show` lists them");
    for (const auto& earlier : out_)
      if (earlier.address.field == field.id && earlier.address.element == code->text)
        return wrong(path, "this code stands twice in one write; once is enough");
    assign({field.id, code->text, 0}, true);
    return json.is(Kinds::object) ? subfields(field, code->text, path, json, "code") : Status();
  }

  Status add_structure(const Field& field, const JsonValue& json, const std::string& path) {
    std::string key;
    if (const auto* given = json.member("_key")) {
      const auto bytes = from_hex(given->text);
      if (!given->is(Kinds::text) || !bytes.ok() || bytes->size() != 8)
        return wrong(path, "\"_key\" has 16 hexadecimal digits; leave it out for a new element");
      key = std::string(text_view(*bytes));
    } else {
      key = new_key();
    }
    if (!json.is(Kinds::object) || json.items.empty()) return wrong(path, "expected an object of subfields");
    assign({field.id, key, 0}, true);
    return subfields(field, key, path, json, "_key");
  }

  Status remove_element(const Field& field, const JsonValue& json, std::size_t index) {
    const auto path = field.name + ".remove[" + std::to_string(index) + "]";
    if (!json.is(Kinds::text))
      return wrong(path, field.type == Type::structure ? "write the element's \"_key\"" : "write the element's value");
    std::string key;
    if (field.keyed_by_code()) {
      key = json.text;
    } else if (field.type == Type::structure) {
      const auto bytes = from_hex(json.text);
      if (bytes.ok()) key = std::string(text_view(*bytes));
    } else {
      DOORSTEP_ASSIGN(const Value value, value_from_json(field, path, json));
      key = element_showing(field, value);
    }
    // Nobody removes what he has not seen.
    if (key.empty() || !shows({field.id, key, 0})) return wrong(path, "no such element is shown; read the record again");
    assign({field.id, key, 0}, Value());
    return {};
  }

  void clear_all(const Field& field) {
    if (!existing_) return;
    for (auto at_value = existing_->lower_bound({field.id, "", 0}); at_value != existing_->end() && at_value->first.field == field.id;
         ++at_value)
      if (at_value->first.subfield == 0 && has_value(at_value->second)) assign(at_value->first, Value());
  }

  /// The key of the element that holds `value`; empty if there is none.
  std::string element_showing(const Field& field, const Value& value) const {
    if (!existing_) return {};
    for (auto at_value = existing_->lower_bound({field.id, "", 0}); at_value != existing_->end() && at_value->first.field == field.id;
         ++at_value)
      if (at_value->first.subfield == 0 && at_value->second == value) return at_value->first.element;
    return {};
  }

  std::string new_key() {
    std::array<std::uint8_t, 8> key{};
    random_.fill(key);
    return std::string(text_view(key));
  }

  const Kind& kind_;
  Random& random_;
  const ShownValues* existing_;
  std::vector<Assignment> out_;
};

void put_member(std::string& out, bool& first, std::string_view name) {
  if (!first) out += ", ";
  first = false;
  append_json_text(out, name);
  out += ": ";
}

const Value* shown(const ShownValues& values, const Address& address) {
  const auto at = values.find(address);
  return at != values.end() && has_value(at->second) ? &at->second : nullptr;
}

void put_subfields(std::string& out, bool& first, const Field& field, const std::string& element, const ShownValues& values) {
  for (const auto& sub : field.subfields) {
    const auto* value = shown(values, {field.id, element, sub.id});
    if (!value) continue;
    put_member(out, first, sub.name);
    out += json_from_value(*value);
  }
}

void put_element(std::string& out, const Field& field, const std::string& element, const Value& presence, const ShownValues& values) {
  if (field.type != Type::structure && field.subfields.empty()) {
    out += field.keyed_by_code() ? json_from_value(CodeText{element}) : json_from_value(presence);
    return;
  }
  bool first = true;
  out += "{";
  put_member(out, first, field.keyed_by_code() ? "code" : "_key");
  append_json_text(out, field.keyed_by_code() ? element : to_hex(view(element)));
  put_subfields(out, first, field, element, values);
  out += "}";
}

/// False if the field shows nothing.
bool put_field(std::string& out, bool& first, const Field& field, const ShownValues& values) {
  std::string body;
  bool any = false;
  if (field.is_set) {
    for (auto at = values.lower_bound({field.id, "", 0}); at != values.end() && at->first.field == field.id; ++at) {
      if (at->first.subfield != 0 || at->first.element.empty() || !has_value(at->second)) continue;
      body += any ? ", " : "";
      put_element(body, field, at->first.element, at->second, values);
      any = true;
    }
    body = "[" + body + "]";
  } else if (field.type == Type::structure) {
    bool first_sub = true;
    put_subfields(body, first_sub, field, "", values);
    any = !first_sub;
    body = "{" + body + "}";
  } else if (const auto* value = shown(values, {field.id, "", 0})) {
    body = json_from_value(*value);
    any = true;
  }
  if (!any) return false;
  put_member(out, first, field.name);
  out += body;
  return true;
}

/// "2026/3/14" and "2026.3.14" as spreadsheets write them, in the form that date_from_text reads.
std::string iso_date(std::string_view text) {
  std::string out;
  std::string part;
  const auto flush = [&] {
    if (part.size() == 1) part.insert(0, "0");
    out += (out.empty() ? "" : "-") + part;
    part.clear();
  };
  for (const char c : text) {
    if (c == '/' || c == '.' || c == '-')
      flush();
    else
      part.push_back(c);
  }
  flush();
  if (out.size() == 8 && out.find('-') == out.npos) out.insert(6, "-").insert(4, "-");  // 20260314
  return out;
}

}  // namespace

std::string json_from_value(const Value& value) {
  struct Put {
    std::string operator()(std::monostate) const { return "null"; }
    std::string operator()(bool truth) const { return truth ? "true" : "false"; }
    std::string operator()(std::int64_t number) const { return std::to_string(number); }
    std::string operator()(const Decimal& decimal) const { return decimal_text(decimal); }
    std::string operator()(const std::string& text) const { return quoted(text); }
    std::string operator()(const CodeText& code) const { return quoted(code.text); }
    std::string operator()(const Date& date) const { return quoted(date_text(date)); }
    std::string operator()(const Timestamp& time) const {
      const auto text = timestamp_text(time);
      return text.find('T') == text.npos ? text : quoted(text);
    }
    std::string operator()(const RecordId& record) const { return quoted(record.hex()); }
    std::string operator()(const Bytes& bytes) const { return quoted(to_hex(bytes)); }
    static std::string quoted(std::string_view text) {
      std::string out;
      append_json_text(out, text);
      return out;
    }
  };
  return std::visit(Put{}, value);
}

Result<Value> value_from_text(const Slot& slot, std::string_view text) {
  const auto plain = trimmed(text);
  switch (slot.type) {
    case Type::boolean:
      for (const std::string_view yes : {"true", "是", "有", "1"})
        if (plain == yes) return Value(true);
      for (const std::string_view no : {"false", "否", "无", "0"})
        if (plain == no) return Value(false);
      return wrong(slot.name, "write true or false, 是 or 否");
    case Type::integer:
      if (const auto whole = whole_number(half_width(plain))) return Value(*whole);
      return wrong(slot.name, "is not a whole number");
    case Type::code: {
      const auto half = half_width(plain);
      if (slot.codes->find(half)) return Value(CodeText{half});
      for (const auto& entry : slot.codes->codes)
        if (entry.label.zh == plain || entry.label.en == plain) return Value(CodeText{entry.code});
      return wrong(slot.name, "is neither a code nor a label of " + slot.codes->id + "; `schema show` lists them");
    }
    case Type::date: return value_from_string(slot, slot.name, iso_date(half_width(plain)));
    case Type::timestamp:
      if (const auto whole = whole_number(plain)) return Value(Timestamp{*whole});
      return value_from_string(slot, slot.name, plain);
    case Type::decimal: return value_from_string(slot, slot.name, half_width(plain));
    default: return value_from_string(slot, slot.name, plain);
  }
}

Result<std::vector<Assignment>> assignments_from_json(const Kind& kind, std::string_view json, Random& random,
                                                      const ShownValues* existing) {
  JsonLimits bounds;
  bounds.bytes_max = 4u << 20;  // A transaction of 1 MiB, written out.
  bounds.depth_max = 8;
  DOORSTEP_ASSIGN(const JsonValue object, parse_json(json, bounds));
  return ObjectReader(kind, random, existing).read(object);
}

std::string json_from_shown(const Kind& kind, const ShownValues& values) {
  std::string out = "{";
  bool first = true;
  for (const auto& field : kind.fields) put_field(out, first, field, values);
  std::size_t unknown = 0;
  FieldId last = 0;
  for (const auto& [address, value] : values) {
    if (address.field == last) continue;
    last = address.field;
    if (!kind.field(address.field)) ++unknown;
  }
  if (unknown != 0) {
    put_member(out, first, "_unknown_fields");
    out += std::to_string(unknown);
  }
  return out + "}";
}

}  // namespace doorstep
