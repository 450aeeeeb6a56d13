// Reads a schema document (SCHEMA.md). Like a Decoder: the first failure is kept with its place, everything after it
// reads as empty, and one test at the end decides; so reading a structure needs no error paths.
#include <algorithm>
#include <charconv>
#include <deque>

#include "sdk/records/json_value.hpp"
#include "sdk/records/schema_data.hpp"
#include "sdk/records/validation.hpp"

namespace doorstep {

namespace {

using Kinds = JsonValue::Kind;
namespace bounds = schema_limits;

/// The way to a place: its parent's, and a member's name or an element's index. Spelled out only for a message.
struct Step {
  const Step* parent = nullptr;
  std::string_view name;  ///< Empty: an element.
  std::size_t index = 0;
};

/// The first failure of a document, and the steps of all places that were looked at.
struct Failure {
  std::optional<Error> error;
  std::deque<Step> steps;

  static std::string path(const Step* step) {
    if (!step) return {};
    const auto before = path(step->parent);
    if (step->name.empty()) return before + "[" + std::to_string(step->index) + "]";
    return before.empty() ? std::string(step->name) : before + "." + std::string(step->name);
  }
  void set(Code code, const Step* at, const std::string& what) {
    if (!error) error = Error(code, "schema: " + (at ? path(at) : std::string("the document")) + ": " + what);
  }
};

/// A place in the document: a value, or the absence of one.
class Node {
 public:
  Node(const JsonValue* value, const Step* at, Failure& failure) : value_(value), at_(at), failure_(&failure) {}

  explicit operator bool() const { return value_ != nullptr; }
  bool is(Kinds kind) const { return value_ && value_->kind == kind; }
  bool failed() const { return failure_->error.has_value(); }
  void fail(const std::string& what, Code code = Code::invalid_argument) const { failure_->set(code, at_, what); }

  Node operator[](std::string_view name) const {
    const auto* found = value_ ? value_->member(name) : nullptr;
    // What is there has a name that lives as long as the document.
    return {found, &failure_->steps.emplace_back(Step{at_, found ? std::string_view(found->name) : name, 0}), *failure_};
  }
  /// The elements of an array; empty if it is absent, a failure if it is anything else or too long.
  std::vector<Node> elements(std::size_t count_max) const {
    std::vector<Node> out;
    if (!value_) return out;
    if (!expect(Kinds::array)) return out;
    if (value_->items.size() > count_max) return fail("more than " + std::to_string(count_max) + " elements", Code::too_large), out;
    for (std::size_t i = 0; i < value_->items.size(); ++i)
      out.emplace_back(&value_->items[i], &failure_->steps.emplace_back(Step{at_, {}, i}), *failure_);
    return out;
  }
  /// Only these members; a misspelt one would otherwise be silently without effect.
  void only(std::initializer_list<std::string_view> names) const {
    if (!value_ || !expect(Kinds::object)) return;
    for (const auto& item : value_->items)
      if (std::find(names.begin(), names.end(), item.name) == names.end())
        return fail("unknown member \"" + item.name.substr(0, 40) + "\"; SCHEMA.md lists what may stand here");
  }
  std::vector<std::string> member_names() const {
    std::vector<std::string> out;
    if (is(Kinds::object))
      for (const auto& item : value_->items) out.push_back(item.name);
    return out;
  }
  std::string text(std::size_t bytes_max) const {
    if (!value_) return fail("is missing"), std::string();
    if (!expect(Kinds::text)) return {};
    if (value_->text.size() > bytes_max) return fail("longer than " + std::to_string(bytes_max) + " bytes", Code::too_large), std::string();
    return value_->text;
  }
  /// Lower-case letters, digits, `_`; starts with a letter: names appear in JSON, CSV headers and command lines.
  std::string identifier() const {
    auto name = text(bounds::name_bytes_max);
    const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
    if (!failed() && (name.empty() || name[0] < 'a' || name[0] > 'z' || !std::all_of(name.begin(), name.end(), fits)))
      fail("\"" + name + "\" is not a name; use a-z, 0-9 and _, starting with a letter");
    return name;
  }
  std::int64_t number(std::int64_t min, std::int64_t max) const {
    if (!value_) return fail("is missing"), 0;
    if (!expect(Kinds::number)) return 0;
    std::int64_t out = 0;
    const auto& digits = value_->text;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    if (read.ec != std::errc() || read.ptr != digits.data() + digits.size() || out < min || out > max)
      return fail(digits.substr(0, 40) + " is not a whole number from " + std::to_string(min) + " to " + std::to_string(max)), 0;
    return out;
  }
  bool boolean(bool otherwise) const {
    if (!value_) return otherwise;
    return expect(Kinds::boolean) && value_->truth;
  }
  Label label(const std::string& otherwise) const {
    if (!value_) return {otherwise, otherwise};
    const auto both = elements(2);
    if (both.size() != 2) return fail("write [\"中文\", \"English\"]"), Label();
    return {both[0].text(bounds::label_bytes_max), both[1].text(bounds::label_bytes_max)};
  }
  /// One of an enum's names.
  template <class E>
  E name_of(E last, const char* (*name_of_value)(E), E otherwise) const {
    if (!value_) return otherwise;
    const auto name = text(bounds::name_bytes_max);
    if (failed()) return otherwise;
    std::string known;
    for (std::size_t i = 0; i <= static_cast<std::size_t>(last); ++i) {
      if (name == name_of_value(static_cast<E>(i))) return static_cast<E>(i);
      known += (known.empty() ? "" : ", ") + std::string(name_of_value(static_cast<E>(i)));
    }
    fail("\"" + name + "\" is none of " + known);
    return otherwise;
  }

 private:
  bool expect(Kinds kind) const {
    if (value_->kind == kind) return true;
    fail(std::string("expected ") + json_kind_name(kind) + ", got " + json_kind_name(value_->kind));
    return false;
  }

  const JsonValue* value_;
  const Step* at_;
  Failure* failure_;
};

class Reader {
 public:
  Reader(Schema::Data& data, const Schema* base) : data_(data), base_(base) {}

  void document(const Node& node) {
    node.only({"doorstep_schema", "id", "version", "code_lists", "kinds"});
    if (node["doorstep_schema"].number(1, 1'000'000) > 1 && !node.failed())
      return node["doorstep_schema"].fail("this build reads form 1; update the app", Code::unsupported);
    data_.id = node["id"].identifier();
    data_.version = static_cast<std::uint32_t>(node["version"].number(1, 1'000'000'000));
    for (const auto& list : node["code_lists"].elements(bounds::code_lists_max)) code_list(list);
    for (const auto& kind_node : node["kinds"].elements(bounds::kinds_max)) kind(kind_node);
    if (!node.failed()) data_.index_kinds();
  }

 private:
  const CodeList* find_list(const std::string& id) {
    if (const auto at = data_.code_lists.find(id); at != data_.code_lists.end()) return at->second.get();
    if (!base_) return nullptr;
    const auto& base = Schema::Data::of(*base_);
    const auto at = base.code_lists.find(id);
    if (at == base.code_lists.end()) return nullptr;
    data_.borrowed.push_back(at->second);
    return at->second.get();
  }

  void code_list(const Node& node) {
    node.only({"id", "version", "source", "includes", "codes"});
    auto list = std::make_shared<CodeList>();
    list->id = node["id"].text(bounds::name_bytes_max);
    list->version = node["version"] ? static_cast<std::uint32_t>(node["version"].number(1, 1'000'000'000)) : 1;
    list->source = node["source"].text(bounds::label_bytes_max);
    for (const auto& included : node["includes"].elements(8)) {
      const auto* other = find_list(included.text(bounds::name_bytes_max));
      if (!other) return included.fail("no such code list; lists stand before those that include them");
      list->codes.insert(list->codes.end(), other->codes.begin(), other->codes.end());
    }
    for (const auto& entry : node["codes"].elements(bounds::codes_per_list_max)) {
      const auto parts = entry.elements(3);
      if (parts.size() != 3) return entry.fail("write [\"code\", \"中文\", \"English\"]");
      list->codes.push_back({parts[0].text(32), {parts[1].text(bounds::label_bytes_max), parts[2].text(bounds::label_bytes_max)}});
      if (!node.failed() && list->codes.back().code.empty()) return parts[0].fail("a code cannot be empty");
    }
    if (node.failed()) return;
    std::string twice;
    if (list->codes.empty() || list->codes.size() > bounds::codes_per_list_max) return node.fail("a list has 1 to 4096 codes");
    if (!index_codes(*list, twice)) return node.fail(twice + " stands twice");
    if (!data_.code_lists.emplace(list->id, list).second) node.fail("code list " + list->id + " stands twice");
  }

  void kind(const Node& node) {
    node.only({"id", "name", "label", "sensitivity", "status", "rights", "fields", "rules", "checks", "retired"});
    auto out = std::make_shared<Kind>();
    out->id = static_cast<KindId>(node["id"].number(1, 1'000'000'000));
    out->name = node["name"].identifier();
    out->label = node["label"].label(out->name);
    if (!node["sensitivity"]) node.fail("a kind states its sensitivity: p1, p2, s1, s2 or s3 (DOMAIN 3.18)");
    out->sensitivity = node["sensitivity"].name_of(Sensitivity::s3, sensitivity_name, Sensitivity::s1);
    rights(node["rights"], *out);
    for (const auto& number : node["retired"].elements(bounds::fields_per_kind_max))
      out->retired.push_back(static_cast<std::uint32_t>(number.number(1, bounds::field_number_max)));
    for (const auto& field_node : node["fields"].elements(bounds::fields_per_kind_max)) field(field_node, *out);
    if (node.failed()) return;
    std::string twice;
    if (out->fields.empty()) return node.fail("a kind needs at least one field");
    if (!index_fields(*out, twice)) return node.fail(twice + " stands twice");
    for (const auto& one : out->fields)
      if (std::find(out->retired.begin(), out->retired.end(), one.number()) != out->retired.end())
        return node.fail("field number " + std::to_string(one.number()) + " is retired and cannot be used again");
    conditions_of_fields(node, *out);
    status(node["status"], *out);
    for (const auto& rule_node : node["rules"].elements(bounds::rules_per_kind_max)) rule(rule_node, *out);
    for (const auto& check : node["checks"].elements(16)) {
      out->checks.push_back(check.identifier());
      if (!node.failed() && !is_known_check(out->checks.back()))
        check.fail("this build has no such check; update the app", Code::unsupported);
    }
    for (const auto& other : data_.kinds)
      if (other->id == out->id || other->name == out->name) return node.fail("kind " + out->name + " (or its id) stands twice");
    if (!node.failed()) data_.kinds.push_back(std::move(out));
  }

  void rights(const Node& node, Kind& out) {
    constexpr std::uint8_t worker = rights::write | rights::propose;
    constexpr std::uint8_t clerk = worker | rights::resolve | rights::approve;
    if (!node) {  // The township's usual split: those who go to the doors write, the clerk decides.
      for (const auto role : {Role::member, Role::chair, Role::rehab_worker, Role::psych_worker})
        out.rights[static_cast<std::size_t>(role)] = worker;
      out.rights[static_cast<std::size_t>(Role::town_clerk)] = clerk;
      return;
    }
    if (!node.is(Kinds::object)) return node.fail("write {\"member\": [\"write\"], ...}");
    for (const auto& name : node.member_names()) {
      const auto role = role_from_name(name);
      if (!role) return node.fail("\"" + name.substr(0, 40) + "\" is not a role of DOMAIN 1.2");
      for (const auto& right : node[name].elements(4)) out.rights[static_cast<std::size_t>(*role)] |= right_bit(right);
    }
  }

  static std::uint8_t right_bit(const Node& node) {
    const auto name = node.text(bounds::name_bytes_max);
    if (name == "write") return rights::write;
    if (name == "propose") return rights::propose;
    if (name == "resolve") return rights::resolve;
    if (name == "approve") return rights::approve;
    node.fail("\"" + name + "\" is none of write, propose, resolve, approve");
    return 0;
  }

  /// What fields and subfields have in common.
  void slot(const Node& node, Slot& out) {
    out.name = node["name"].identifier();
    out.label = node["label"].label(out.name);
    if (!node["type"]) node.fail("has no \"type\"");
    out.type = node["type"].name_of(Type::structure, type_name, Type::text);
    out.required = node["required"].boolean(false);
    out.unit = node["unit"] ? node["unit"].text(bounds::name_bytes_max) : std::string();
    out.pattern = node["pattern"].name_of(Pattern::org_code, pattern_name, Pattern::none);
    if (node["codes"]) {
      out.codes = find_list(node["codes"].text(bounds::name_bytes_max));
      if (!out.codes) node["codes"].fail("no such code list in this document or its base");
    }
    if ((out.type == Type::code) != (out.codes != nullptr)) node.fail("\"codes\" belongs to type code, and only there");
    if (node["min"]) out.min = node["min"].number(INT64_MIN / 2, INT64_MAX / 2);
    if (node["max"]) out.max = node["max"].number(INT64_MIN / 2, INT64_MAX / 2);
    const bool numeric = out.type == Type::integer || out.type == Type::decimal;
    if ((out.min || out.max) && !numeric) node.fail("\"min\" and \"max\" belong to int and decimal");
    if (out.min && out.max && *out.min > *out.max) node.fail("\"min\" is above \"max\"");
    if (out.pattern != Pattern::none && out.type != Type::text) node.fail("\"pattern\" belongs to type text");
    length(node["length"], out);
    order(node["order"], out);
  }

  static void length(const Node& node, Slot& out) {
    if (out.type == Type::bytes) out.length_max = 48'000;
    if (!node) return;
    const auto both = node.elements(2);
    if (both.size() != 2 || (out.type != Type::text && out.type != Type::bytes)) return node.fail("write [min, max], for text and bytes");
    out.length_min = static_cast<std::uint32_t>(both[0].number(0, bounds::text_length_max));
    out.length_max = static_cast<std::uint32_t>(both[1].number(out.length_min, bounds::text_length_max));
  }

  /// ["3", "2", "1"], or levels of equal rank as ["draft", "signed", ["corrected", "voided"]].
  static void order(const Node& node, Slot& out) {
    if (!node) return;
    const auto levels = node.elements(bounds::codes_per_list_max);
    for (std::size_t i = 0; i < levels.size(); ++i)
      for (const auto& code : levels[i].is(Kinds::array) ? levels[i].elements(64) : std::vector<Node>{levels[i]}) {
        auto text = code.text(32);
        const bool known = out.codes ? out.codes->find(text) != nullptr : out.type == Type::boolean && (text == "true" || text == "false");
        if (!code.failed() && !known) code.fail("\"" + text + "\" is not a value of this field");
        out.order.emplace_back(std::move(text), static_cast<int>(i));
      }
    std::sort(out.order.begin(), out.order.end());
    for (std::size_t i = 1; i < out.order.size(); ++i)
      if (out.order[i].first == out.order[i - 1].first) return node.fail("\"" + out.order[i].first + "\" stands twice");
  }

  void field(const Node& node, Kind& kind_out) {
    node.only({"number", "name",        "label", "type", "codes", "policy", "set",     "required", "required_when", "index",
               "search", "sensitivity", "order", "min",  "max",   "length", "pattern", "unit",     "sources",       "subfields"});
    auto& out = kind_out.fields.emplace_back();
    slot(node, out);
    out.is_set = node["set"].boolean(false);
    out.policy = node["policy"].name_of(Policy::set, policy_name, out.is_set ? Policy::set : Policy::latest);
    out.id = field_id(static_cast<std::uint32_t>(node["number"].number(1, bounds::field_number_max)), gate_for(out.policy));
    out.indexed = node["index"].boolean(false);
    out.searchable = node["search"].boolean(false);
    out.sensitivity = node["sensitivity"].name_of(Sensitivity::s3, sensitivity_name, kind_out.sensitivity);
    for (const auto& source : node["sources"].elements(4)) out.sources.push_back(source.name_of(Source::hand, source_name, Source::hand));
    for (const auto& sub : node["subfields"].elements(bounds::subfields_max)) subfield(sub, out);
    if (!node.failed()) field_consistency(node, out);
  }

  static void field_consistency(const Node& node, Field& out) {
    if (out.policy == Policy::set && !out.is_set) return node.fail("policy set needs \"set\": true");
    if (out.type == Type::structure && out.subfields.empty()) return node.fail("a structure needs subfields");
    if (!out.subfields.empty() && out.type != Type::structure && !out.keyed_by_code())
      return node.fail("subfields belong to structures and to sets of codes");
    if (out.searchable && out.type != Type::text) return node.fail("\"search\" belongs to type text");
    if (out.indexed && (out.type == Type::structure || out.type == Type::bytes)) return node.fail("a structure or bytes cannot be indexed");
    if (!out.sources.empty() && out.policy != Policy::review) return node.fail("\"sources\" belong to policy review");
    if (out.policy == Policy::furthest && (out.type != Type::code || out.is_set || out.order.empty()))
      return node.fail("policy furthest needs a single code and its \"order\"");
    if (out.policy != Policy::cautious && out.policy != Policy::furthest && !out.order.empty())
      return node.fail("\"order\" belongs to cautious and furthest");
    // Every known value has its place, or a merge would rank a known danger below everything.
    if (!out.order.empty() && out.order.size() != (out.codes ? out.codes->codes.size() : 2))
      return node.fail("\"order\" must name every value of the field once");
    if (out.policy == Policy::cautious && out.order.empty() && (out.type == Type::code || out.type == Type::boolean))
      node.fail("policy cautious needs an \"order\", the least safe value first");
  }

  void subfield(const Node& node, Field& out) {
    node.only({"id", "name", "label", "type", "codes", "required", "order", "min", "max", "length", "pattern", "unit"});
    Subfield sub;
    slot(node, sub);
    sub.id = static_cast<SubfieldId>(node["id"].number(1, 1000));
    if (sub.type == Type::structure) node.fail("a structure inside a structure is not possible; use a record of its own");
    if (out.subfield(sub.id) || out.subfield(sub.name)) node.fail("this subfield's id or name stands twice");
    out.subfields.push_back(std::move(sub));
  }

  /// Conditions name fields that may stand further down, so they are read once all fields are known.
  void conditions_of_fields(const Node& node, Kind& out) {
    const auto nodes = node["fields"].elements(bounds::fields_per_kind_max);
    for (std::size_t i = 0; i < nodes.size(); ++i)
      if (nodes[i]["required_when"]) out.fields[i].required_when = condition(nodes[i]["required_when"], out, 0);
  }

  void status(const Node& node, Kind& out) {
    if (!node || node.failed()) return;
    const auto* named = out.field(node.text(bounds::name_bytes_max));
    if (!named || named->policy != Policy::furthest || named->rank(CodeText{"draft"}) < 0 || named->rank(CodeText{"signed"}) < 0)
      return node.fail("names the workflow field: policy furthest, with the codes draft and signed");
    out.status_field = named->id;
  }

  void rule(const Node& node, Kind& out) {
    node.only({"id", "field", "when", "require", "severity", "when_signed", "sentence"});
    Rule one;
    one.id = node["id"].identifier();
    one.field = named_field(node["field"], out).first;
    one.when_signed = node["when_signed"].boolean(out.status_field != 0);
    const auto severity = node["severity"] ? node["severity"].text(16) : std::string("error");
    if (severity != "error" && severity != "warning") node["severity"].fail("is error or warning");
    one.blocks = severity == "error";
    if (node["when"]) one.when = condition(node["when"], out, 0);
    one.require = condition(node["require"], out, 0);
    if (!node["sentence"]) node.fail("has no \"sentence\": [\"中文\", \"English\"], what is wrong and what to do");
    one.sentence = node["sentence"].label({});
    out.rules.push_back(std::move(one));
  }

  /// "field" or "field.subfield".
  static std::pair<FieldId, SubfieldId> named_field(const Node& node, const Kind& in) {
    const auto path = node.text(2 * bounds::name_bytes_max);
    if (node.failed()) return {};
    const auto dot = path.find('.');
    const auto* found = in.field(std::string_view(path).substr(0, dot));
    if (!found) return node.fail("kind " + in.name + " has no field \"" + path + "\""), std::pair<FieldId, SubfieldId>();
    if (dot == path.npos) return {found->id, 0};
    const auto* sub = found->subfield(std::string_view(path).substr(dot + 1));
    if (!sub) return node.fail("no subfield \"" + path + "\""), std::pair<FieldId, SubfieldId>();
    return {found->id, sub->id};
  }

  Condition condition(const Node& node, const Kind& in, std::size_t depth) {
    Condition out;
    if (!node) return node.fail("is missing"), out;
    if (depth > bounds::condition_depth_max) return node.fail("nested too deeply", Code::too_large), out;
    node.only({"all", "any", "not", "field", "in", "present", "min", "max", "count", "age_below", "age_from"});
    if (node["field"]) return test(node, in);
    out.op = node["all"] ? Condition::Op::all : node["any"] ? Condition::Op::any : Condition::Op::negate;
    if (node["not"]) {
      out.parts.push_back(condition(node["not"], in, depth + 1));
    } else {
      const auto parts = node[condition_op_name(out.op)];
      for (const auto& part : parts.elements(bounds::condition_parts_max)) out.parts.push_back(condition(part, in, depth + 1));
    }
    if (out.parts.empty() || node.member_names().size() != 1) node.fail("write one of all, any, not, or a test of a \"field\"");
    return out;
  }

  Condition test(const Node& node, const Kind& in) {
    Condition out;
    std::tie(out.field, out.subfield) = named_field(node["field"], in);
    if (node.member_names().size() != 2) return node.fail("write \"field\" and exactly one test"), out;
    using Op = Condition::Op;
    for (const auto op : {Op::at_least, Op::at_most, Op::count_at_least, Op::age_below, Op::age_at_least})
      if (const auto bound = node[condition_op_name(op)]) {
        out.op = op;
        out.number = bound.number(-1'000'000'000, 1'000'000'000);
        return out;
      }
    if (node["present"]) {
      out.op = node["present"].boolean(true) ? Op::present : Op::absent;
      return out;
    }
    out.op = Op::one_of;
    for (const auto& value : node["in"].elements(256)) out.values.push_back(value.text(32));
    if (!node.failed() && out.values.empty()) node.fail("no test, or an empty list");
    if (!node.failed()) known_values(node["in"], in, out);
    return out;
  }

  /// A code that the list does not have would make a test that can never hold.
  static void known_values(const Node& node, const Kind& in, const Condition& out) {
    const auto* field = in.field(out.field);
    const auto* slot = field ? field->slot(out.subfield) : nullptr;
    if (!slot || !slot->codes) return;
    for (const auto& value : out.values)
      if (!slot->codes->find(value)) return node.fail("\"" + value + "\" is not a code of " + slot->codes->id);
  }

  Schema::Data& data_;
  const Schema* base_;
};

}  // namespace

Result<Schema> Schema::parse(std::string_view json, const Schema* base) {
  JsonLimits json_limits;
  json_limits.bytes_max = bounds::document_bytes_max;
  json_limits.depth_max = bounds::depth_max;
  json_limits.values_max = 100'000;
  DOORSTEP_ASSIGN(const JsonValue root, parse_json(json, json_limits));
  auto data = std::make_shared<Data>();
  Failure failure;
  Reader(*data, base).document(Node(&root, nullptr, failure));
  if (failure.error) return *failure.error;
  return Schema(std::move(data));
}

}  // namespace doorstep
