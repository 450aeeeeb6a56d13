// A schema as a document again: what Schema::parse reads, with every default left out.
#include "sdk/records/json_value.hpp"
#include "sdk/records/schema_data.hpp"

namespace doorstep {

namespace {

/// Objects and arrays with commas in the right places.
class Writer {
 public:
  void open(char bracket) { comma(), out_.push_back(bracket), first_ = true; }
  void close(char bracket) { out_.push_back(bracket), first_ = false; }
  void key(std::string_view name) { comma(), append_json_text(out_, name), out_.push_back(':'), first_ = true; }
  void text(std::string_view value) { comma(), append_json_text(out_, value); }
  void raw(const std::string& value) { comma(), out_ += value; }
  void line() { out_.push_back('\n'); }

  void member(std::string_view name, std::string_view value) { key(name), text(value); }
  void member(std::string_view name, const char* value) { key(name), text(value); }
  void number(std::string_view name, std::int64_t value) { key(name), raw(std::to_string(value)); }
  void truth(std::string_view name, bool value) {
    if (value) key(name), raw("true");
  }
  void label(std::string_view name, const Label& value) {
    key(name), open('[');
    text(value.zh), text(value.en);
    close(']');
  }
  std::string take() { return std::move(out_); }

 private:
  void comma() {
    if (!first_) out_.push_back(',');
    first_ = false;
  }
  std::string out_;
  bool first_ = true;
};

void put_list(Writer& out, const CodeList& list) {
  out.open('{');
  out.member("id", list.id), out.number("version", list.version), out.member("source", list.source);
  out.key("codes"), out.open('[');
  for (const auto& entry : list.codes) {
    out.open('[');
    out.text(entry.code), out.text(entry.label.zh), out.text(entry.label.en);
    out.close(']');
  }
  out.close(']'), out.close('}'), out.line();
}

std::string path_of(const Kind& kind, FieldId field_id, SubfieldId subfield_id) {
  const auto* field = kind.field(field_id);
  DOORSTEP_CHECK(field);
  if (subfield_id == 0) return field->name;
  const auto* sub = field->subfield(subfield_id);
  DOORSTEP_CHECK(sub);
  return field->name + "." + sub->name;
}

void put_condition(Writer& out, const Kind& kind, const Condition& condition) {
  using Op = Condition::Op;
  out.open('{');
  switch (condition.op) {
    case Op::all:
    case Op::any:
      out.key(condition_op_name(condition.op)), out.open('[');
      for (const auto& part : condition.parts) put_condition(out, kind, part);
      out.close(']');
      break;
    case Op::negate:
      out.key("not");
      put_condition(out, kind, condition.parts.front());
      break;
    default:
      out.member("field", path_of(kind, condition.field, condition.subfield));
      if (condition.op == Op::present || condition.op == Op::absent) {
        out.key("present"), out.raw(condition.op == Op::present ? "true" : "false");
      } else if (condition.op == Op::one_of) {
        out.key("in"), out.open('[');
        for (const auto& value : condition.values) out.text(value);
        out.close(']');
      } else {
        out.number(condition_op_name(condition.op), condition.number);
      }
  }
  out.close('}');
}

void put_order(Writer& out, const Slot& slot) {
  if (slot.order.empty()) return;
  int last = 0;
  for (const auto& [code, rank] : slot.order) last = std::max(last, rank);
  out.key("order"), out.open('[');
  for (int level = 0; level <= last; ++level) {
    out.open('[');
    for (const auto& [code, rank] : slot.order)
      if (rank == level) out.text(code);
    out.close(']');
  }
  out.close(']');
}

void put_slot(Writer& out, const Slot& slot) {
  out.member("name", slot.name), out.label("label", slot.label), out.member("type", type_name(slot.type));
  if (slot.codes) out.member("codes", slot.codes->id);
  out.truth("required", slot.required);
  if (slot.min) out.number("min", *slot.min);
  if (slot.max) out.number("max", *slot.max);
  if (slot.type == Type::text || slot.type == Type::bytes) {
    out.key("length"), out.open('[');
    out.raw(std::to_string(slot.length_min)), out.raw(std::to_string(slot.length_max));
    out.close(']');
  }
  if (slot.pattern != Pattern::none) out.member("pattern", pattern_name(slot.pattern));
  if (!slot.unit.empty()) out.member("unit", slot.unit);
  put_order(out, slot);
}

void put_field(Writer& out, const Kind& kind, const Field& field) {
  out.open('{');
  out.number("number", field.number());
  put_slot(out, field);
  out.truth("set", field.is_set);
  out.member("policy", policy_name(field.policy)), out.member("sensitivity", sensitivity_name(field.sensitivity));
  out.truth("index", field.indexed), out.truth("search", field.searchable);
  if (!field.sources.empty()) {
    out.key("sources"), out.open('[');
    for (const auto source : field.sources) out.text(source_name(source));
    out.close(']');
  }
  if (field.required_when) out.key("required_when"), put_condition(out, kind, *field.required_when);
  if (!field.subfields.empty()) {
    out.key("subfields"), out.open('[');
    for (const auto& sub : field.subfields) {
      out.open('{');
      out.number("id", sub.id);
      put_slot(out, sub);
      out.close('}');
    }
    out.close(']');
  }
  out.close('}'), out.line();
}

void put_rights(Writer& out, const Kind& kind) {
  out.key("rights"), out.open('{');
  for (std::size_t i = 0; i < role_count; ++i) {
    if (kind.rights[i] == 0) continue;
    out.key(role_name(static_cast<Role>(i))), out.open('[');
    if (kind.rights[i] & rights::write) out.text("write");
    if (kind.rights[i] & rights::propose) out.text("propose");
    if (kind.rights[i] & rights::resolve) out.text("resolve");
    if (kind.rights[i] & rights::approve) out.text("approve");
    out.close(']');
  }
  out.close('}');
}

void put_rules(Writer& out, const Kind& kind) {
  out.key("rules"), out.open('[');
  for (const auto& rule : kind.rules) {
    out.open('{');
    out.member("id", rule.id), out.member("field", path_of(kind, rule.field, 0));
    out.member("severity", rule.blocks ? "error" : "warning");
    out.key("when_signed"), out.raw(rule.when_signed ? "true" : "false");
    if (rule.when) out.key("when"), put_condition(out, kind, *rule.when);
    out.key("require"), put_condition(out, kind, rule.require);
    out.label("sentence", rule.sentence);
    out.close('}'), out.line();
  }
  out.close(']');
}

void put_kind(Writer& out, const Kind& kind) {
  out.open('{');
  out.number("id", kind.id), out.member("name", kind.name), out.label("label", kind.label);
  out.member("sensitivity", sensitivity_name(kind.sensitivity));
  if (kind.status_field != 0) out.member("status", kind.field(kind.status_field)->name);
  put_rights(out, kind);
  out.line();
  out.key("fields"), out.open('[');
  for (const auto& field : kind.fields) put_field(out, kind, field);
  out.close(']');
  put_rules(out, kind);
  out.key("checks"), out.open('[');
  for (const auto& check : kind.checks) out.text(check);
  out.close(']');
  out.key("retired"), out.open('[');
  for (const auto number : kind.retired) out.raw(std::to_string(number));
  out.close(']'), out.close('}'), out.line();
}

}  // namespace

std::string Schema::to_json() const {
  Writer out;
  out.open('{');
  out.number("doorstep_schema", 1), out.member("id", data_->id), out.number("version", data_->version), out.line();
  out.key("code_lists"), out.open('[');
  for (const auto& [id, list] : data_->code_lists) put_list(out, *list);
  out.close(']'), out.line();
  out.key("kinds"), out.open('[');
  for (const auto* kind : data_->in_order) put_kind(out, *kind);
  out.close(']'), out.close('}');
  return out.take() + "\n";
}

}  // namespace doorstep
