#include "sdk/records/validation.hpp"

#include <algorithm>

#include "sdk/records/calendar.hpp"
#include "sdk/records/checks.hpp"
#include "sdk/records/numbers.hpp"
#include "sdk/records/text.hpp"

namespace doorstep {

namespace {

/// What is wrong with one value, before it has a place.
struct Fault {
  std::string code, zh, en;
};

std::optional<Fault> type_fault(const Slot& slot, const Value& value) {
  static constexpr std::array<Type, 10> type_of = {Type::structure, Type::boolean, Type::integer,   Type::decimal, Type::text,
                                                   Type::code,      Type::date,    Type::timestamp, Type::record,  Type::bytes};
  if (type_of.at(value.index()) == slot.type) return std::nullopt;
  return Fault{"type", "类型应为" + std::string(type_name(slot.type)) + "。",
               "Write a value of type " + std::string(type_name(slot.type)) + "."};
}

std::optional<Fault> code_fault(const Slot& slot, std::string_view code) {
  if (slot.codes->find(code)) return std::nullopt;
  return Fault{"unknown_code", "不是代码表" + slot.codes->id + "中的代码。", "This is not a code of " + slot.codes->id + "."};
}

Fault range_fault(const Slot& slot) {
  const auto low = slot.min ? std::to_string(*slot.min) : std::string("…");
  const auto high = slot.max ? std::to_string(*slot.max) : std::string("…");
  const auto unit = slot.unit.empty() ? std::string() : " " + slot.unit;
  return {"range", "应在" + low + "到" + high + unit + "之间。", "Must lie between " + low + " and " + high + unit + "."};
}

/// -1, 0, 1: a decimal against a whole number.
int compare(const Decimal& decimal, std::int64_t bound) {
  std::int64_t unit = 1;
  for (int i = 0; i < std::min<int>(decimal.scale, 9); ++i) unit *= 10;
  const auto whole = decimal.mantissa / unit;
  if (whole != bound) return whole < bound ? -1 : 1;
  const auto rest = decimal.mantissa % unit;
  return rest == 0 ? 0 : (rest < 0 ? -1 : 1);
}

std::optional<Fault> number_fault(const Slot& slot, const Value& value) {
  const auto* integer = std::get_if<std::int64_t>(&value);
  const auto* decimal = std::get_if<Decimal>(&value);
  const auto below = [&](std::int64_t bound) { return integer ? *integer < bound : compare(*decimal, bound) < 0; };
  const auto above = [&](std::int64_t bound) { return integer ? *integer > bound : compare(*decimal, bound) > 0; };
  if ((slot.min && below(*slot.min)) || (slot.max && above(*slot.max))) return range_fault(slot);
  return std::nullopt;
}

std::optional<Fault> pattern_fault(const Slot& slot, const std::string& text, const ValidationContext& context) {
  switch (slot.pattern) {
    case Pattern::none: return std::nullopt;
    case Pattern::person_name:
      if (is_person_name(text)) return std::nullopt;
      return Fault{"person_name", "姓名只能包含汉字、字母和间隔号“·”，不含数字。",
                   "A name has characters, letters and the middle dot, no digits."};
    case Pattern::phone:
      if (is_phone(text)) return std::nullopt;
      return Fault{"phone", "电话应为11位手机号，或区号加7至8位座机号。", "A telephone has 11 digits, or an area code and 7 or 8 digits."};
    case Pattern::citizen_id: {
      const auto fault = check_citizen_id(text, context.today, context.allow_test_ids);
      if (fault == IdFault::none) return std::nullopt;
      return Fault{id_fault_name(fault), id_fault_zh(fault), id_fault_en(fault)};
    }
    case Pattern::certificate:
      if (is_certificate_shape(text)) return std::nullopt;
      return Fault{"certificate_shape", "残疾人证号应为身份证号18位加类别、等级各1位，补办后另加B和1位数字。",
                   "A certificate number is the 18 of the ID, category, level, and B with a digit after a replacement."};
    case Pattern::org_code:
      if (text.size() == 12 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }) && text[0] != '0')
        return std::nullopt;
      return Fault{"org_code", "区划代码应为12位数字。", "An area code has 12 digits."};
  }
  return std::nullopt;
}

// Of a text in NFC.
bool is_normal(const Slot& slot, const std::string& text) {
  switch (slot.pattern) {
    case Pattern::phone: return compact_phone(text) == text;
    case Pattern::citizen_id:
    case Pattern::certificate:
    case Pattern::org_code: return compact_number(text) == text;
    case Pattern::person_name:
    case Pattern::none: break;
  }
  return without_margins(text).size() == text.size();
}

std::optional<Fault> text_fault(const Slot& slot, const std::string& text, const ValidationContext& context) {
  const auto points = code_points_if_nfc(text);
  const bool composed = points.has_value();
  if (!composed && !nfc(text)) return Fault{"encoding", "文字编码无效，请重新输入。", "The text is not valid UTF-8: enter it again."};
  if (!composed || !is_normal(slot, text))
    return Fault{"not_normalized", "文字未规范化（全角、空格或组合字符）。", "The text is not in its stored form (NFC, half-width)."};
  // A wrong length of a number is told by its pattern, which knows more about it.
  if (slot.pattern != Pattern::none && slot.pattern != Pattern::person_name) return pattern_fault(slot, text, context);
  const auto length = *points;
  if (length < slot.length_min || length > slot.length_max) {
    const auto low = std::to_string(slot.length_min), high = std::to_string(slot.length_max);
    return Fault{"length", "应为" + low + "至" + high + "个字。", "Must have " + low + " to " + high + " characters."};
  }
  return pattern_fault(slot, text, context);
}

std::optional<Fault> date_fault(Date date) {
  const auto year = civil_of(date).year;
  if (year >= 1800 && year <= 2200) return std::nullopt;
  return Fault{"date", "日期不正确，请核对年份。", "The date is not possible: check the year."};
}

std::optional<Fault> value_fault(const Slot& slot, const Value& value, const ValidationContext& context) {
  if (auto fault = type_fault(slot, value)) return fault;
  if (const auto* text = std::get_if<std::string>(&value)) return text_fault(slot, *text, context);
  if (const auto* code = std::get_if<CodeText>(&value)) return code_fault(slot, code->text);
  if (const auto* date = std::get_if<Date>(&value)) return date_fault(*date);
  if (const auto* bytes = std::get_if<Bytes>(&value); bytes && bytes->size() > slot.length_max)
    return Fault{"length", "内容过大。", "More than " + std::to_string(slot.length_max) + " bytes: attach a file instead."};
  if (slot.type == Type::integer || slot.type == Type::decimal) return number_fault(slot, value);
  return std::nullopt;
}

class Validator {
 public:
  Validator(const Kind& kind, const ShownValues& after, const std::vector<Address>& changed, const ValidationContext& context)
      : kind_(kind), record_(kind, after), changed_(changed), context_(context) {
    for (const auto& address : changed) touched_.push_back(address.field);
    std::sort(touched_.begin(), touched_.end());
    touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
    const auto status = kind.status_field == 0 ? std::string_view("signed") : record_.code(kind.status_field);
    signed_ = status != "draft";
    whole_ = (context.creates && signed_) || (kind.status_field != 0 && touches(kind.status_field) && status == "signed");
  }

  /// For kinds that ask nothing but the form of each value.
  std::vector<Problem> run_forms(const std::vector<Operation>& operations) {
    for (const auto& operation : operations) check_register(operation.address, has_value(operation.value) ? &operation.value : nullptr);
    return sorted();
  }

  std::vector<Problem> run() {
    if (context_.creates && kind_.status_field != 0 && !record_.present(kind_.status_field, 0))
      add({kind_.status_field, "", 0}, "required", true, "状态：必填。", "status: is required; write draft or signed.");
    for (const auto& address : changed_) check_register(address);
    if (signed_) check_required();
    for (const auto& rule : kind_.rules) check_rule(rule);
    for (const auto& name : kind_.checks) check_named(name);
    return sorted();
  }

 private:
  std::vector<Problem> sorted() {
    std::stable_sort(problems_.begin(), problems_.end(), [&](const Problem& a, const Problem& b) { return place(a) < place(b); });
    return std::move(problems_);
  }

  bool touches(FieldId field) const { return std::binary_search(touched_.begin(), touched_.end(), field); }

  bool touches(const Condition& condition) const {
    if (condition.field != 0) return touches(condition.field);
    return std::any_of(condition.parts.begin(), condition.parts.end(), [&](const Condition& part) { return touches(part); });
  }

  std::size_t place(const Problem& problem) const {
    const auto* field = kind_.field(problem.address.field);
    return field ? static_cast<std::size_t>(field - kind_.fields.data()) : kind_.fields.size();
  }

  void add(Address address, std::string code, bool blocking, std::string zh, std::string en) {
    std::string path;
    if (const auto* field = kind_.field(address.field)) {
      path = field->name;
      if (const auto* sub = field->subfield(address.subfield)) path += "." + sub->name;
    }
    problems_.push_back({std::move(address), std::move(path), std::move(code), blocking, std::move(zh), std::move(en)});
  }

  static std::string zh_name(const Field& field, const Slot* slot) {
    return slot && slot != &field ? field.label.zh + "的" + slot->label.zh : field.label.zh;
  }
  static std::string en_name(const Field& field, const Slot* slot) {
    return slot && slot != &field ? field.label.en + ", " + slot->label.en : field.label.en;
  }

  // ---- the form of what changed ----

  void check_register(const Address& address) { check_register(address, record_.value(address)); }

  void check_register(const Address& address, const Value* value) {
    const auto* field = kind_.field(address.field);
    if (!field || (!field->slot(address.subfield)))
      return add(address, "unknown_field", true, "没有这个字段。",
                 "Kind " + kind_.name + " has no such field: update the schema or the app.");
    if (field->is_set != !address.element.empty())
      return add(address, "shape", true, field->label.zh + "：结构不符。",
                 field->label.en + (field->is_set ? ": a set is written element by element." : ": a single value has no elements."));
    if (!value && record_.in_absent_element(address))
      return add(address, "shape", true, field->label.zh + "：结构不符。", field->label.en + ": write register 0 of the element too.");
    if (!value) return;  // cleared
    if (field->is_set && !check_element(*field, address, *value)) return;
    const auto* slot = field->slot(address.subfield);
    const bool is_presence = field->is_set && address.subfield == 0 && (field->keyed_by_code() || field->type == Type::structure);
    if (is_presence) return;
    if (const auto fault = value_fault(*slot, *value, context_))
      add(address, fault->code, true, zh_name(*field, slot) + "：" + fault->zh, en_name(*field, slot) + ": " + fault->en);
  }

  /// The element's key, and its presence register.
  bool check_element(const Field& field, const Address& address, const Value& value) {
    if (field.keyed_by_code()) {
      if (const auto fault = code_fault(field, address.element))
        return add(address, fault->code, true, field.label.zh + "：" + fault->zh, field.label.en + ": " + fault->en), false;
    } else if (address.element.size() != 8) {
      return add(address, "element_key", true, field.label.zh + "：元素编号应为8字节。",
                 field.label.en + ": an element's key is 8 random bytes."),
             false;
    }
    const bool is_presence = address.subfield == 0 && (field.keyed_by_code() || field.type == Type::structure);
    if (is_presence && (!std::holds_alternative<bool>(value) || !std::get<bool>(value)))
      return add(address, "type", true, field.label.zh + "：结构不符。",
                 field.label.en + ": register 0 of an element is true, or nothing."),
             false;
    return true;
  }

  // ---- required ----

  void check_required() {
    for (const auto& field : kind_.fields) {
      const bool asked = whole_ || touches(field.id) || (field.required_when && touches(*field.required_when));
      if (!asked) continue;
      const bool required = field.required || (field.required_when && record_.holds(*field.required_when, context_.today));
      // The status itself is asked for in run(), drafts included.
      if (required && field.id != kind_.status_field && !record_.present(field.id, 0))
        add({field.id, "", 0}, "required", true, field.label.zh + "：必填。", field.label.en + ": is required.");
      for (const auto& sub : field.subfields)
        if (sub.required) check_required_subfield(field, sub);
    }
  }

  void check_required_subfield(const Field& field, const Subfield& sub) {
    for (const auto& element : record_.elements(field)) {
      if (record_.value({field.id, element, sub.id})) continue;
      add({field.id, element, sub.id}, "required", true, zh_name(field, &sub) + "：必填。", en_name(field, &sub) + ": is required.");
    }
  }

  // ---- rules and checks ----

  void check_rule(const Rule& rule) {
    if (rule.when_signed && !signed_) return;
    if (!whole_ && !(context_.creates && !rule.when_signed) && !touches(rule.field) && !touches(rule.require) &&
        !(rule.when && touches(*rule.when)))
      return;
    if (rule.when && !record_.holds(*rule.when, context_.today)) return;
    if (record_.holds(rule.require, context_.today)) return;
    add({rule.field, "", 0}, rule.id, rule.blocks, rule.sentence.zh, rule.sentence.en);
  }

  void check_named(const std::string& name) {
    std::vector<CheckProblem> found;
    const auto mentioned = run_check(name, record_, context_.today, found);
    const bool asked = whole_ || std::any_of(mentioned.begin(), mentioned.end(), [&](FieldId field) { return touches(field); });
    if (!asked) return;
    for (auto& problem : found) {
      if (problem.when_signed && !signed_) continue;
      add({problem.field, "", 0}, std::move(problem.code), problem.blocks, std::move(problem.zh), std::move(problem.en));
    }
  }

  const Kind& kind_;
  CheckedRecord record_;
  const std::vector<Address>& changed_;
  const ValidationContext& context_;
  std::vector<FieldId> touched_;
  bool signed_ = true;
  bool whole_ = false;
  std::vector<Problem> problems_;
};

}  // namespace

std::vector<Problem> validate(const Kind& kind, const ShownValues& after, const std::vector<Address>& changed,
                              const ValidationContext& context) {
  return Validator(kind, after, changed, context).run();
}

bool asks_only_forms(const Kind& kind) {
  return kind.status_field == 0 && kind.rules.empty() && kind.checks.empty() &&
         std::all_of(kind.fields.begin(), kind.fields.end(), [](const Field& field) {
           return !field.required && !field.required_when && !field.is_set && field.subfields.empty();
         });
}

std::vector<Problem> validate_forms(const Kind& kind, const std::vector<Operation>& operations, const ValidationContext& context) {
  return Validator(kind, {}, {}, context).run_forms(operations);
}

bool blocks(const std::vector<Problem>& problems) {
  return std::any_of(problems.begin(), problems.end(), [](const Problem& problem) { return problem.blocks; });
}

Error to_error(const Kind& kind, const std::vector<Problem>& problems) {
  constexpr std::size_t shown_max = 8;  // A form shows all of them; a sentence should stay one.
  std::string message = kind.name + ": ";
  std::size_t shown = 0, left = 0;
  for (const auto& problem : problems) {
    if (!problem.blocks) continue;
    if (shown == shown_max) {
      ++left;
      continue;
    }
    message += (shown++ == 0 ? "" : "; ") + problem.field + " [" + problem.code + "] " + problem.en + " " + problem.zh;
  }
  if (left != 0) message += "; and " + std::to_string(left) + " more";
  return Error(Code::invalid_record, std::move(message));
}

Value normalized(const Slot& slot, Value value) {
  auto* text = std::get_if<std::string>(&value);
  if (!text) return value;
  switch (slot.pattern) {
    case Pattern::phone: return compact_phone(*text);
    case Pattern::citizen_id:
    case Pattern::certificate:
    case Pattern::org_code: return compact_number(*text);
    case Pattern::person_name:
    case Pattern::none: break;
  }
  if (is_nfc(*text) && is_normal(slot, *text)) return value;  // as nearly all are: nothing is copied
  auto composed = nfc(*text);
  return composed ? trimmed(*composed) : std::move(*text);
}

}  // namespace doorstep
