#include "sdk/core/view.hpp"

#include <algorithm>

#include "sdk/core/index_key.hpp"
#include "sdk/core/shown.hpp"
#include "sdk/records/json.hpp"
#include "sync/codec.hpp"

namespace doorstep {

ShownValues shown_values(const Schema& schema, const Record& record) {
  ShownValues out;
  const auto& registers = record.registers();
  // The inside of an element that was removed stays readable in history, and is not shown.
  const auto present = [&](const Address& address) {
    if (address.element.empty() || address.subfield == 0) return true;
    const Register* presence = record.find({address.field, address.element, 0});
    if (!presence) return false;
    const Reading reading = read(schema, record, *presence);
    return reading.shown && has_value(reading.shown->value);
  };
  for (const auto& reg : registers) {
    if (!present(reg.address)) continue;
    const Reading reading = read(schema, record, reg);
    if (reading.shown && has_value(reading.shown->value)) out.emplace_hint(out.end(), reg.address, reading.shown->value);
  }
  return out;
}

std::shared_ptr<const Authors> authors_of(const SpaceState& space, const DeviceId& self) {
  auto out = std::make_shared<Authors>();
  out->devices = space.devices;
  for (const auto& device : space.devices) out->labels.push_back(space.label_of(device));
  out->self = self;
  return out;
}

const Record& RecordView::Data::record() const {
  if (const Record* known = decoded_.load(std::memory_order_acquire)) return *known;
  Decoder in(encoded, encoded.size() + 1);
  auto mine = std::make_unique<const Record>(Record::decode(in));
  const Record* first = nullptr;
  if (decoded_.compare_exchange_strong(first, mine.get(), std::memory_order_acq_rel)) return *mine.release();
  return *first;
}

namespace {

// Where a name leads; field 0 if nowhere.
Address address_of(const Kind* kind, std::string_view name) {
  if (!kind) return {};
  const auto dot = name.find('.');
  const Field* field = kind->field(name.substr(0, dot));
  if (!field) return {};
  if (dot == std::string_view::npos) return {field->id, {}, 0};
  const Subfield* subfield = field->subfield(name.substr(dot + 1));
  return subfield ? Address{field->id, {}, subfield->id} : Address{};
}

Value shown_at(const RecordView::Data& data, const Address& address) {
  const Register* reg = address.field != 0 ? data.record().find(address) : nullptr;
  if (!reg) return {};
  const Reading reading = read(data.schema, data.record(), *reg);
  return reading.shown ? reading.shown->value : Value{};
}

WrittenValue written(const RecordView::Data& data, const Sibling& sibling) {
  const Mark& mark = data.record().marks()[sibling.mark];
  return {sibling.value, data.authors->device(mark.device), data.authors->label(mark.device),
          TimeClaim{mark.claimed_ms, mark.offset_ms, mark.confirmed}, mark.approves};
}

}  // namespace

const RecordId& RecordView::id() const { return data_->id; }
const Kind* RecordView::kind() const { return data_->schema.kind(data_->kind); }
KindId RecordView::kind_id() const { return data_->kind; }
const Record& RecordView::record() const { return data_->record(); }

Value RecordView::value(std::string_view name) const { return shown_at(*data_, address_of(kind(), name)); }

std::string RecordView::text(std::string_view name) const {
  const Value shown = value(name);
  if (const auto* text = std::get_if<std::string>(&shown)) return *text;
  if (const auto* code = std::get_if<CodeText>(&shown)) return code->text;
  if (!has_value(shown)) return {};
  std::string json = json_from_value(shown);
  if (json.size() >= 2 && json.front() == '"') json = json.substr(1, json.size() - 2);
  return json;
}

std::vector<std::string> RecordView::elements(std::string_view name) const {
  const Address address = address_of(kind(), name);
  return address.field != 0 ? present_elements(data_->record(), address.field) : std::vector<std::string>{};
}

Value RecordView::element_value(std::string_view name, std::string_view element, std::string_view subfield) const {
  Address address = address_of(kind(), name);
  if (address.field == 0) return {};
  address.element = element;
  if (!subfield.empty()) {
    const Subfield* found = kind()->field(address.field)->subfield(subfield);
    if (!found) return {};
    address.subfield = found->id;
  }
  return shown_at(*data_, address);
}

bool RecordView::conflicted(std::string_view name) const {
  const Address address = address_of(kind(), name);
  if (address.field == 0) return false;
  for (const auto& reg : data_->record().field(address.field))
    if ((address.subfield == 0 || reg.address.subfield == address.subfield) && read(data_->schema, data_->record(), reg).conflict)
      return true;
  return false;
}

std::vector<WrittenValue> RecordView::standing(std::string_view name) const {
  const Address address = address_of(kind(), name);
  const Register* reg = address.field != 0 ? data_->record().find(address) : nullptr;
  if (!reg) return {};
  const Reading reading = read(data_->schema, data_->record(), *reg);
  std::vector<WrittenValue> out;
  if (reading.shown) out.push_back(written(*data_, *reading.shown));
  for (const auto* sibling : reading.distinct)
    if (sibling != reading.shown) out.push_back(written(*data_, *sibling));
  return out;
}

std::string RecordView::json() const {
  const Kind* known = kind();
  std::string body = known ? json_from_shown(*known, shown_values(data_->schema, data_->record())) : "{}";
  std::string head = "{\"id\":\"" + data_->id.hex() + "\",\"kind\":\"" + (known ? known->name : "#" + std::to_string(kind_id())) + "\"";
  const auto first = body.find_first_not_of(" \t\n", 1);
  if (first != std::string::npos && body[first] != '}') head += ",";
  return head + body.substr(1);
}

}  // namespace doorstep
