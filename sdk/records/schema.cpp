#include "sdk/records/schema.hpp"

#include <algorithm>

#include "sdk/records/schema_data.hpp"

namespace doorstep {

// ---- names ---------------------------------------------------------------------------------------------------------

const char* policy_name(Policy policy) {
  static constexpr std::array<const char*, 7> names = {"latest", "review", "cautious", "owner", "furthest", "once", "set"};
  return names.at(static_cast<std::size_t>(policy));
}

const char* type_name(Type type) {
  static constexpr std::array<const char*, 10> names = {"bool", "int",       "decimal", "text",  "code",
                                                        "date", "timestamp", "record",  "bytes", "structure"};
  return names.at(static_cast<std::size_t>(type));
}

const char* sensitivity_name(Sensitivity sensitivity) {
  static constexpr std::array<const char*, 5> names = {"p1", "p2", "s1", "s2", "s3"};
  return names.at(static_cast<std::size_t>(sensitivity));
}

const char* role_name(Role role) {
  static constexpr std::array<const char*, role_count> names = {"member",     "chair",     "rehab_worker",     "psych_worker",
                                                                "town_clerk", "town_lead", "district_officer", "auditor"};
  return names.at(static_cast<std::size_t>(role));
}

std::optional<Role> role_from_name(std::string_view name) {
  for (std::size_t i = 0; i < role_count; ++i)
    if (name == role_name(static_cast<Role>(i))) return static_cast<Role>(i);
  return std::nullopt;
}

const char* pattern_name(Pattern pattern) {
  static constexpr std::array<const char*, 6> names = {"none", "person_name", "phone", "citizen_id", "certificate", "org_code"};
  return names.at(static_cast<std::size_t>(pattern));
}

const char* source_name(Source source) {
  static constexpr std::array<const char*, 4> names = {"owner", "desk", "scanned", "hand"};
  return names.at(static_cast<std::size_t>(source));
}

const char* condition_op_name(Condition::Op op) {
  static constexpr std::array<const char*, 11> names = {"all", "any", "not",   "in",        "present", "absent",
                                                        "min", "max", "count", "age_below", "age_from"};
  return names.at(static_cast<std::size_t>(op));
}

// ---- lookups -------------------------------------------------------------------------------------------------------

namespace {

/// Finds in a sorted table of indexes; nullptr if it is not there.
template <class Items, class Key, class KeyOf>
auto find_sorted(const Items& items, const std::vector<std::uint32_t>& table, const Key& key, KeyOf key_of) -> decltype(items.data()) {
  const auto at = std::lower_bound(table.begin(), table.end(), key, [&](std::uint32_t i, const Key& k) { return key_of(items[i]) < k; });
  if (at == table.end() || key_of(items[*at]) != key) return nullptr;
  return &items[*at];
}

template <class Items, class KeyOf>
std::vector<std::uint32_t> sorted_table(const Items& items, KeyOf key_of) {
  std::vector<std::uint32_t> table(items.size());
  for (std::uint32_t i = 0; i < table.size(); ++i) table[i] = i;
  std::sort(table.begin(), table.end(), [&](std::uint32_t a, std::uint32_t b) { return key_of(items[a]) < key_of(items[b]); });
  return table;
}

std::string_view code_of(const CodeEntry& entry) { return entry.code; }
std::string_view name_of(const Field& field) { return field.name; }
std::uint32_t number_of(const Field& field) { return field.number(); }

}  // namespace

bool index_codes(CodeList& list, std::string& twice) {
  list.by_code = sorted_table(list.codes, code_of);
  for (std::size_t i = 1; i < list.by_code.size(); ++i) {
    const auto& entry = list.codes[list.by_code[i]];
    if (entry.code == list.codes[list.by_code[i - 1]].code) return twice = "code " + entry.code, false;
  }
  return true;
}

bool index_fields(Kind& kind, std::string& twice) {
  kind.by_number = sorted_table(kind.fields, number_of);
  kind.by_name = sorted_table(kind.fields, name_of);
  for (std::size_t i = 1; i < kind.fields.size(); ++i) {
    const auto& by_number = kind.fields[kind.by_number[i]];
    if (by_number.number() == kind.fields[kind.by_number[i - 1]].number())
      return twice = "field number " + std::to_string(by_number.number()), false;
    const auto& by_name = kind.fields[kind.by_name[i]];
    if (by_name.name == kind.fields[kind.by_name[i - 1]].name) return twice = "field name " + by_name.name, false;
  }
  return true;
}

const CodeEntry* CodeList::find(std::string_view code) const { return find_sorted(codes, by_code, code, code_of); }

const Field* Kind::field_numbered(std::uint32_t number) const { return find_sorted(fields, by_number, number, number_of); }

const Field* Kind::field(FieldId field_id) const {
  const auto* found = field_numbered(field_id / 4);
  return found && found->id == field_id ? found : nullptr;
}

const Field* Kind::field(std::string_view field_name) const { return find_sorted(fields, by_name, field_name, name_of); }

const Subfield* Field::subfield(SubfieldId subfield_id) const {
  for (const auto& sub : subfields)
    if (sub.id == subfield_id) return &sub;
  return nullptr;
}

const Subfield* Field::subfield(std::string_view subfield_name) const {
  for (const auto& sub : subfields)
    if (sub.name == subfield_name) return &sub;
  return nullptr;
}

const Slot* Field::slot(SubfieldId subfield_id) const {
  if (subfield_id != 0) return subfield(subfield_id);
  return type == Type::structure && !is_set ? nullptr : this;
}

int Slot::rank(const Value& value) const {
  if (order.empty()) return 0;
  std::string_view key;
  if (const auto* code = std::get_if<CodeText>(&value)) key = code->text;
  if (const auto* truth = std::get_if<bool>(&value)) key = *truth ? "true" : "false";
  const auto at = std::lower_bound(order.begin(), order.end(), key, [](const auto& entry, std::string_view k) { return entry.first < k; });
  return at != order.end() && at->first == key ? at->second : -1;
}

// ---- Schema --------------------------------------------------------------------------------------------------------

void Schema::Data::index_kinds() {
  by_id.clear();
  by_name.clear();
  in_order.clear();
  for (const auto& kind : kinds) {
    by_id.emplace(kind->id, kind.get());
    by_name.emplace(kind->name, kind.get());
    in_order.push_back(kind.get());
  }
  std::sort(in_order.begin(), in_order.end(), [](const Kind* a, const Kind* b) { return a->id < b->id; });
}

Schema::Schema(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

const Schema& Schema::builtin() {
  static const Schema schema = [] {
    auto parsed = parse(builtin_document());
    DOORSTEP_CHECK(parsed.ok());  // The document is compiled in and a test reads it: only our bug gets here.
    return *std::move(parsed);
  }();
  return schema;
}

std::uint32_t Schema::version() const { return data_->version; }

const Kind* Schema::kind(KindId id) const {
  const auto at = data_->by_id.find(id);
  return at == data_->by_id.end() ? nullptr : at->second;
}

const Kind* Schema::kind(std::string_view name) const {
  const auto at = data_->by_name.find(name);
  return at == data_->by_name.end() ? nullptr : at->second;
}

const std::vector<const Kind*>& Schema::kinds() const { return data_->in_order; }

const CodeList* Schema::code_list(std::string_view id) const {
  const auto at = data_->code_lists.find(id);
  return at == data_->code_lists.end() ? nullptr : at->second.get();
}

std::vector<const CodeList*> Schema::code_lists() const {
  std::vector<const CodeList*> out;
  for (const auto& [id, list] : data_->code_lists) out.push_back(list.get());
  return out;
}

std::uint8_t Schema::rights(Role role, KindId id) const {
  const auto* found = kind(id);
  return found ? found->rights.at(static_cast<std::size_t>(role)) : std::uint8_t{0};
}

// ---- one schema after another --------------------------------------------------------------------------------------

namespace {

Error incompatible(const std::string& what) { return Error(Code::invalid_argument, "schema: " + what); }

Status list_follows(const CodeList& newer, const CodeList& older) {
  for (const auto& entry : older.codes)
    if (!newer.find(entry.code))
      return incompatible("code list " + newer.id + " lost code " + entry.code + "; keep it, records hold it for ever");
  return {};
}

Status slot_follows(const Slot& newer, const Slot& older, const std::string& where) {
  if (newer.type != older.type)
    return incompatible(where + " was of type " + type_name(older.type) + " and is now " + type_name(newer.type) +
                        "; give the new meaning a new number");
  if (newer.codes && older.codes && newer.codes->id == older.codes->id) return list_follows(*newer.codes, *older.codes);
  return {};
}

Status field_follows(const Kind& kind, const Field& newer, const Field& older) {
  const auto where = "field " + std::to_string(older.number()) + " (" + older.name + ") of kind " + kind.name;
  if (newer.id != older.id)
    return incompatible(where + " had the policy " + policy_name(older.policy) + "; " + policy_name(newer.policy) +
                        " has another gate, so it needs a new field number");
  if (newer.is_set != older.is_set)
    return incompatible(where + (older.is_set ? " was a set" : " was a single value") + "; give the new shape a new number");
  DOORSTEP_TRY(slot_follows(newer, older, where));
  for (const auto& sub : older.subfields) {
    const auto* now = newer.subfield(sub.id);
    if (!now) return incompatible("subfield " + sub.name + " of " + where + " vanished; keep it (it may stop being required)");
    DOORSTEP_TRY(slot_follows(*now, sub, "subfield " + sub.name + " of " + where));
  }
  return {};
}

Status kind_follows(const Kind& newer, const Kind& older) {
  if (newer.name != older.name)
    return incompatible("kind " + std::to_string(older.id) + " was named " + older.name + " and is now " + newer.name + "; keep the name");
  for (const auto& field : older.fields) {
    const auto* now = newer.field_numbered(field.number());
    const bool retired = std::find(newer.retired.begin(), newer.retired.end(), field.number()) != newer.retired.end();
    if (!now && !retired)
      return incompatible("field " + std::to_string(field.number()) + " (" + field.name + ") of kind " + older.name +
                          " vanished; name its number in \"retired\", so that it never means something else");
    if (now) DOORSTEP_TRY(field_follows(older, *now, field));
  }
  for (const auto number : older.retired)
    if (std::find(newer.retired.begin(), newer.retired.end(), number) == newer.retired.end())
      return incompatible("field number " + std::to_string(number) + " of kind " + older.name + " is retired and must stay in \"retired\"");
  return {};
}

}  // namespace

Status Schema::compatible_with(const Schema& older) const {
  if (version() < older.version() || (version() == older.version() && to_json() != older.to_json()))
    return incompatible("version " + std::to_string(version()) + " does not rise above " + std::to_string(older.version()) +
                        "; raise \"version\"");
  for (const auto* old_list : older.code_lists()) {
    const auto* list = code_list(old_list->id);
    if (!list) return incompatible("code list " + old_list->id + " vanished; keep it");
    DOORSTEP_TRY(list_follows(*list, *old_list));
  }
  for (const auto* old_kind : older.kinds()) {
    const auto* now = kind(old_kind->id);
    if (!now) return incompatible("kind " + old_kind->name + " vanished; keep it, records of it stay");
    DOORSTEP_TRY(kind_follows(*now, *old_kind));
  }
  return {};
}

Result<Schema> Schema::combine(const Schema& base, const Schema& extra) {
  auto data = std::make_shared<Data>(*base.data_);
  const auto& added = *extra.data_;
  data->version = std::max(base.version(), extra.version());
  data->borrowed.insert(data->borrowed.end(), added.borrowed.begin(), added.borrowed.end());
  for (const auto& [id, list] : added.code_lists) {
    auto& place = data->code_lists[id];
    if (place && place != list) DOORSTEP_TRY(list_follows(*list, *place));
    // Kinds of the base still point at the old list.
    if (place) data->borrowed.push_back(place);
    place = list;
  }
  for (const auto& kind : added.kinds) {
    const auto same = [&](const auto& other) { return other->id == kind->id || other->name == kind->name; };
    const auto at = std::find_if(data->kinds.begin(), data->kinds.end(), same);
    if (at == data->kinds.end()) {
      data->kinds.push_back(kind);
      continue;
    }
    if ((*at)->id != kind->id)
      return incompatible("kind " + kind->name + " exists with id " + std::to_string((*at)->id) + "; choose another name");
    if (extra.version() <= base.version())
      return incompatible("kind " + kind->name + " exists; a document that replaces it needs a version above " +
                          std::to_string(base.version()));
    DOORSTEP_TRY(kind_follows(*kind, **at));
    *at = kind;
  }
  if (data->kinds.size() > schema_limits::kinds_max)
    return Error(Code::too_large, "schema: more than " + std::to_string(schema_limits::kinds_max) + " kinds together");
  data->index_kinds();
  return Schema(std::move(data));
}

}  // namespace doorstep
