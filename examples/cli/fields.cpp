#include "examples/cli/fields.hpp"

#include <algorithm>
#include <array>

#include "doorstep/values.hpp"

namespace doorstep::cli {

namespace {

std::string_view separator(Language language) { return language == Language::zh ? "、" : ", "; }

std::string join(const std::vector<std::string>& parts, std::string_view between) {
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += between;
    out += part;
  }
  return out;
}

/// The shown subfields of a structure or an element, "13900001111 本人".
std::string structure_text(const RecordView& view, const Field& field, std::string_view element, Language language) {
  std::vector<std::string> parts;
  for (const Subfield& subfield : field.subfields) {
    const Value value =
        element.empty() ? view.value(field.name + "." + subfield.name) : view.element_value(field.name, element, subfield.name);
    if (!has_value(value)) continue;
    // "true" alone would say nothing: a truth is shown by its subfield's label, or left out.
    if (const bool* truth = std::get_if<bool>(&value))
      parts.push_back((*truth ? "" : "✗") + (language == Language::zh ? subfield.label.zh : subfield.label.en));
    else
      parts.push_back(value_text(value, &subfield, language));
  }
  return join(parts, " ");
}

}  // namespace

Result<const Kind*> find_kind(const Schema& schema, std::string_view name) {
  if (const Kind* kind = schema.kind(name)) return kind;
  for (const Kind* kind : schema.kinds())
    if (kind->label.zh == name) return kind;
  std::string names;
  for (const Kind* kind : schema.kinds()) names += " " + kind->name;
  return Error(Code::not_found, "there is no kind \"" + std::string(name.substr(0, 40)) + "\"; there are:" + names);
}

Result<NamedSlot> find_slot(const Kind& kind, std::string_view name) {
  const auto dot = name.find('.');
  const Field* field = kind.field(name.substr(0, dot));
  if (!field)
    return Error(Code::not_found,
                 kind.name + " has no field \"" + std::string(name.substr(0, 40)) + "\"; `schema show " + kind.name + "` lists them");
  if (dot == std::string_view::npos) return NamedSlot{field, field};
  const Subfield* subfield = field->subfield(name.substr(dot + 1));
  if (!subfield)
    return Error(Code::not_found, kind.name + "." + field->name + " has no subfield \"" + std::string(name.substr(dot + 1, 40)) + "\"");
  return NamedSlot{field, subfield};
}

std::string plain_text(const Value& value) {
  if (!has_value(value)) return "";
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* code = std::get_if<CodeText>(&value)) return code->text;
  std::string json = json_from_value(value);
  if (json.size() >= 2 && json.front() == '"') json = json.substr(1, json.size() - 2);
  return json;
}

std::string value_text(const Value& value, const Slot* slot, Language language) {
  std::string out = plain_text(value);
  const auto* code = std::get_if<CodeText>(&value);
  if (!code || !slot || !slot->codes) return out;
  const CodeEntry* entry = slot->codes->find(code->text);
  // A code that a newer peer knows is shown as it is.
  return out + " " +
         (entry ? (language == Language::zh ? entry->label.zh : entry->label.en) : std::string(Text{"（新代码）", "(new)"}.in(language)));
}

std::vector<std::string> field_values(const RecordView& view, std::string_view name) {
  const auto slot = view.kind() ? find_slot(*view.kind(), name) : Result<NamedSlot>(Error(Code::not_found, ""));
  if (!slot) return {};
  if (!slot->field->is_set) {
    if (slot->slot->type != Type::structure) return {plain_text(view.value(name))};
    std::vector<std::string> out;
    for (const Subfield& subfield : slot->field->subfields) out.push_back(plain_text(view.value(slot->field->name + "." + subfield.name)));
    return out;
  }
  std::vector<std::string> out;
  for (const std::string& element : view.elements(slot->field->name)) {
    if (slot->field->keyed_by_code() && slot->slot == slot->field)
      out.push_back(element);
    else if (slot->slot != slot->field)
      out.push_back(plain_text(view.element_value(slot->field->name, element, slot->slot->name)));
    else if (slot->field->type == Type::structure)
      out.push_back(slot->field->subfields.empty()
                        ? ""
                        : plain_text(view.element_value(slot->field->name, element, slot->field->subfields.front().name)));
    else
      out.push_back(plain_text(view.element_value(slot->field->name, element)));
  }
  return out;
}

std::string field_text(const RecordView& view, std::string_view name, Language language) {
  const auto found = view.kind() ? find_slot(*view.kind(), name) : Result<NamedSlot>(Error(Code::not_found, ""));
  if (!found) return "";
  const Field& field = *found->field;
  const std::string mark = view.conflicted(field.name) ? " (!)" : "";
  if (!field.is_set) {
    if (found->slot->type == Type::structure) return structure_text(view, field, {}, language) + mark;
    return value_text(view.value(name), found->slot, language) + mark;
  }
  std::vector<std::string> parts;
  for (const std::string& element : view.elements(field.name)) {
    if (found->slot != &field) {
      parts.push_back(value_text(view.element_value(field.name, element, found->slot->name), found->slot, language));
    } else if (field.keyed_by_code()) {
      parts.push_back(value_text(CodeText{element}, &field, language));
    } else if (field.type == Type::structure) {
      parts.push_back(structure_text(view, field, element, language));
    } else {
      parts.push_back(value_text(view.element_value(field.name, element), &field, language));
    }
  }
  return join(parts, separator(language)) + mark;
}

std::string address_text(std::string_view field, std::string_view element, std::string_view subfield) {
  std::string out(field);
  // Random keys of elements are bytes; only codes can be read.
  const bool readable = std::all_of(element.begin(), element.end(), [](unsigned char c) { return c > ' ' && c < 0x7F; });
  if (!element.empty()) out += "[" + (readable ? std::string(element) : to_hex(view(element)).substr(0, 8)) + "]";
  if (!subfield.empty()) out += "." + std::string(subfield);
  return out;
}

Result<QueryCondition> parse_condition(const Kind& kind, std::string_view text) {
  using Op = QueryCondition::Op;
  constexpr std::array<std::pair<std::string_view, Op>, 6> signs = {
      {{">=", Op::at_least}, {"<=", Op::at_most}, {"=", Op::equal}, {">", Op::greater}, {"<", Op::less}, {"~", Op::contains}}};
  const auto at = text.find_first_of("=<>~");
  if (at == std::string_view::npos || at == 0)
    return Error(Code::invalid_argument, "a condition is FIELD=VALUE, or with >= <= > < ~ (contains) in between");
  for (const auto& [sign, op] : signs) {
    if (!text.substr(at).starts_with(sign)) continue;
    DOORSTEP_ASSIGN(const NamedSlot named, find_slot(kind, text.substr(0, at)));
    DOORSTEP_ASSIGN(Value value, value_from_text(*named.slot, text.substr(at + sign.size())));
    return QueryCondition{std::string(text.substr(0, at)), op, std::move(value)};
  }
  return Error(Code::invalid_argument, "a condition is FIELD=VALUE");
}

std::string time_json(const TimeClaim& time) {
  return Json()
      .raw("at", json_from_value(Timestamp{time.corrected_ms()}))
      .add("claimed_ms", time.claimed_ms)
      .add("offset_ms", time.offset_ms)
      .add("confirmed", time.confirmed)
      .object();
}

std::string time_text(const TimeClaim& time) { return local_time(time.corrected_ms()) + (time.confirmed ? "" : "?"); }

}  // namespace doorstep::cli
