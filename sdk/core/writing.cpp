// Write: what a user action becomes. Each assignment is checked against the schema and supersedes what this replica holds at
// its address; a whole transaction is validated, encoded among the pending ones and merged into its records, all inside one
// SQLite transaction.
#include <algorithm>
#include <map>

#include "sdk/core/core.hpp"
#include "sdk/core/index_key.hpp"
#include "sdk/core/shown.hpp"
#include "sdk/records/json.hpp"
#include "sdk/records/text.hpp"
#include "sdk/records/validation.hpp"
#include "sync/codec.hpp"
#include "sync/lab.hpp"
#include "sync/limits.hpp"

namespace doorstep {

// One record inside the transaction that is being written.
struct WrittenRecord {
  StoredRecord stored;  ///< As it was; an empty record if it is created now.
  KindId kind = 0;
  bool creates = false;
  std::vector<Operation> operations;

  /// Fields are mostly set in the order of the schema: the next one is looked at before all others.
  const Field* field_named(const Kind& of, std::string_view name) {
    if (next_field_ < of.fields.size() && of.fields[next_field_].name == name) return &of.fields[next_field_++];
    const Field* found = of.field(name);
    if (found) next_field_ = static_cast<std::size_t>(found - of.fields.data()) + 1;
    return found;
  }
  /// What this transaction assigned there already.
  Operation* assigned(const Address& address) {
    if (!rising_) {
      const auto at = by_address_.find(address);
      return at == by_address_.end() ? nullptr : &operations[at->second];
    }
    if (operations.empty() || operations.back().address < address) return nullptr;
    const auto at =
        std::lower_bound(operations.begin(), operations.end(), address, [](const Operation& o, const Address& a) { return o.address < a; });
    return at != operations.end() && at->address == address ? &*at : nullptr;
  }
  /// At an address where nothing is assigned.
  void add(Operation operation) {
    if (rising_ && !operations.empty() && !(operations.back().address < operation.address)) {
      rising_ = false;
      for (std::size_t i = 0; i < operations.size(); ++i) by_address_.emplace(operations[i].address, i);
    }
    if (!rising_) by_address_.emplace(operation.address, operations.size());
    operations.push_back(std::move(operation));
  }

 private:
  std::size_t next_field_ = 0;
  // Assignments mostly come in the order of addresses; then the operations are their own index.
  bool rising_ = true;
  std::map<Address, std::size_t> by_address_;
};

struct Write::Data {
  Core& core;
  SpaceState& space;
  std::vector<std::unique_ptr<WrittenRecord>> records;
  std::map<RecordId, WrittenRecord*> by_id;
  WrittenRecord* last = nullptr;  // whose fields are set one after the other
  std::string note;
  Counter first = 0;
  std::uint32_t created_here = 0;
  std::optional<Error> error;
  Replica::Saved saved;
  Encoder encoded{1024};
  std::vector<NumberedTransaction> chunk;
  std::size_t chunk_bytes = 0;
  std::int64_t chunk_oldest_ms = 0;
  std::set<LogNumber> chunk_refers;

  Data(Core& c, SpaceState& s) : core(c), space(s) {}
  void begin();
  void fail(Error why) {
    if (!error) error = std::move(why);
  }
  WrittenRecord* find(const RecordId& id);
  Status finish_transaction();
  Status validate(WrittenRecord& record);
  Status flush_chunk();
  void assign(WrittenRecord& record, Address address, Value value, bool even_if_equal);
};

namespace {

constexpr std::size_t chunk_bytes_goal = 64u << 10;

Error unknown_field(const Kind& kind, std::string_view name) {
  return Error(Code::invalid_record,
               kind.name + " has no field \"" + std::string(name) + "\": see `doorstep schema show " + kind.name + "`");
}

bool type_fits(const Slot& slot, Value& value) {
  if (!has_value(value)) return true;
  switch (slot.type) {
    case Type::boolean: return std::holds_alternative<bool>(value);
    case Type::integer: return std::holds_alternative<std::int64_t>(value);
    case Type::decimal:
      if (auto* number = std::get_if<std::int64_t>(&value)) value = Decimal{*number, 0};
      return std::holds_alternative<Decimal>(value);
    case Type::text: return std::holds_alternative<std::string>(value);
    case Type::code:
      if (auto* text = std::get_if<std::string>(&value)) value = CodeText{*text};
      return std::holds_alternative<CodeText>(value);
    case Type::date: return std::holds_alternative<Date>(value);
    case Type::timestamp: return std::holds_alternative<Timestamp>(value);
    case Type::record: return std::holds_alternative<RecordId>(value);
    case Type::bytes: return std::holds_alternative<Bytes>(value);
    case Type::structure: return false;
  }
  return false;
}

// Texts are checked with their form (validate), which looks at every byte anyway.
bool size_fits(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return text->size() <= limits::value_bytes_max;
  if (const auto* code = std::get_if<CodeText>(&value))
    return code->text.size() <= limits::element_key_bytes_max && is_valid_text(code->text);
  if (const auto* bytes = std::get_if<Bytes>(&value)) return bytes->size() <= limits::value_bytes_max;
  if (const auto* decimal = std::get_if<Decimal>(&value)) return decimal->scale <= 9;
  return true;
}

}  // namespace

void Write::Data::begin() {
  // The random step keeps two lives of one store from ever giving two operations the same dot (ids.hpp); also before the first
  // operation: a store may be cloned before anything is written.
  if (!std::exchange(space.jumped, true) && !DOORSTEP_PLANTED(skip_counter_step)) {
    std::array<std::uint8_t, 5> step;
    core.random().fill(step);
    Counter jump = 0;
    for (auto byte : step) jump = jump << 8 | byte;
    space.last_counter += jump;
  }
  first = space.last_counter + 1;
  records.clear();
  by_id.clear();
  last = nullptr;
  note.clear();
  created_here = 0;
}

WrittenRecord* Write::Data::find(const RecordId& id) {
  if (last && last->stored.id == id) return last;
  if (const auto at = by_id.find(id); at != by_id.end()) return last = at->second;
  auto loaded = core.load_record(space, id, 0);
  if (!loaded) return fail(loaded.error()), nullptr;
  if (!*loaded) return fail(Error(Code::not_found, "there is no such record in this space")), nullptr;
  auto& record = records.emplace_back(std::make_unique<WrittenRecord>());
  record->stored = std::move(**loaded);
  record->kind = record->stored.record.kind();
  return by_id[id] = record.get();
}

void Write::Data::assign(WrittenRecord& record, Address address, Value value, bool even_if_equal) {
  if (!size_fits(value) || address.element.size() > limits::element_key_bytes_max || address.field == 0)
    return fail(Error(Code::too_large, "a value is larger than 64 KiB, or not valid text"));
  if (Operation* known = record.assigned(address)) {
    known->value = std::move(value);
    return;
  }
  Operation operation{std::move(address), std::move(value), {}};
  if (const Register* reg = record.stored.record.find(operation.address)) {
    const auto& siblings = reg->siblings;
    if (!even_if_equal && siblings.size() == 1 && siblings.front().value == operation.value) return;  // says nothing new
    // Without the right to resolve, naming several values would close none of them and add one more: only our own gives way.
    const bool several = std::any_of(siblings.begin(), siblings.end(), [&](const Sibling& s) { return s.value != siblings.front().value; });
    const DeviceNumber own = space.number_of(core.device());
    const Core::Incoming us{{core.device(), own, first}, 0, 0, true, nullptr};
    const bool only_own =
        several && gate_of(operation.address.field) == Gate::guarded && (core.rights_of(space, us, record.kind) & may_resolve) == 0;
    for (const auto& sibling : siblings) {
      if (operation.supersedes.size() == limits::supersedes_max) break;
      if (only_own && record.stored.record.dot(sibling).device != own) continue;
      operation.supersedes.push_back(record.stored.record.dot(sibling));
    }
  } else if (!has_value(operation.value)) {
    return;  // nothing there to clear
  }
  record.add(std::move(operation));
}

Status Write::Data::validate(WrittenRecord& record) {
  const Kind* kind = core.schema().kind(record.kind);
  if (!kind) return {};
  const bool only_forms = asks_only_forms(*kind);
  std::vector<Address> changed;
  ShownValues after;
  if (!only_forms) {
    changed.reserve(record.operations.size());
    for (const auto& operation : record.operations) changed.push_back(operation.address);
    after = shown_values(core.schema(), record.stored.record);
    for (const auto& operation : record.operations) {
      if (has_value(operation.value))
        after[operation.address] = operation.value;
      else
        after.erase(operation.address);
    }
  }
  ValidationContext context;
  const auto time = core.claim_time();
  constexpr std::int64_t day_ms = 86'400'000, shanghai_ms = 8 * 3'600'000;
  context.today = Date{static_cast<std::int32_t>((time.corrected_ms() + shanghai_ms) / day_ms)};
  context.creates = record.creates;
  context.allow_test_ids = core.options().test_identities;
  const auto problems = only_forms ? validate_forms(*kind, record.operations, context) : doorstep::validate(*kind, after, changed, context);
  if (blocks(problems)) return to_error(*kind, problems);
  for (const auto& problem : problems) saved.warnings.push_back(problem.zh);
  return {};
}

Status Write::Data::finish_transaction() {
  if (error) return *error;
  std::erase_if(records, [](const auto& record) { return record->operations.empty() && !record->creates; });
  if (records.empty() && note.empty()) return {};
  const DeviceNumber own = space.number_of(core.device());
  Transaction transaction;
  transaction.time = core.claim_time();
  if (transaction.time.confirmed) transaction.clock_check = core.take_unlogged_check(space.id);
  transaction.note = note;
  const Core::Incoming incoming{{core.device(), own, first}, 0, 0, true, nullptr};
  for (auto& record : records) {
    if (record->operations.empty()) return Error(Code::invalid_record, "a record was created without a value: set at least one field");
    DOORSTEP_TRY(validate(*record));
    if ((core.rights_of(space, incoming, record->kind) & (may_write | may_propose)) == 0)
      return Error(Code::no_right, "the role of this device may not write such records: ask the supervisor");
    for (const auto& operation : record->operations)
      for (const auto& dot : operation.supersedes)
        if (dot.device != own && dot.device != device_unadmitted) {
          auto row = core.database().query_int("SELECT segment FROM span WHERE device = ? AND first <= ? ORDER BY first DESC LIMIT 1",
                                               space.n << 32 | dot.device, static_cast<std::int64_t>(dot.counter));
          if (row) chunk_refers.insert(log_of_segment(*row));
        }
    transaction.changes.push_back({record->stored.id, record->kind, record->creates, std::move(record->operations)});
  }
  const auto count = transaction.operation_count();
  if (count > limits::operations_per_transaction_max) return Error(Code::too_large, "one action writes more than 16,384 values: split it");
  encoded.clear();
  put_transaction(encoded, transaction, incoming.author);
  if (encoded.size() > limits::transaction_bytes_max) return Error(Code::too_large, "one action writes more than 1 MiB: split it");
  space.last_counter = first + std::max<std::size_t>(count, 1) - 1;
  if (chunk.empty()) chunk_oldest_ms = transaction.time.claimed_ms;
  chunk_bytes += encoded.size();
  chunk.push_back({first, encoded.bytes()});
  // Evaluation may have to find this very transaction among the pending ones.
  const bool may_replay = std::any_of(records.begin(), records.end(), [](const auto& r) { return !r->creates; });
  if (may_replay) DOORSTEP_TRY(flush_chunk());
  std::uint32_t offset = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    auto& change = transaction.changes[i];
    const Mark mark = core.mark_of(space, transaction, change, incoming);
    if (change.creates) saved.created.push_back(change.record);
    const auto operations = static_cast<std::uint32_t>(change.operations.size());
    DOORSTEP_TRY(core.merge_change(space, mark, std::move(change), offset, incoming, &records[i]->stored));
    offset += operations;
  }
  saved.operations += count;
  if (chunk_bytes >= chunk_bytes_goal) DOORSTEP_TRY(flush_chunk());
  return {};
}

Status Write::Data::flush_chunk() {
  if (chunk.empty()) return {};
  Encoder refers;
  for (auto log : chunk_refers) refers.put_varint(static_cast<std::uint64_t>(log));
  const Bytes bytes = Core::encode_chunk(chunk, core.compressor());
  DOORSTEP_ASSIGN(Statement insert,
                  core.database().prepare(
                      "INSERT INTO pending(space, first, last, transactions, oldest_ms, refers, bytes) VALUES(?, ?, ?, ?, ?, ?, ?)"));
  insert.bind(1, space.n).bind(2, static_cast<std::int64_t>(chunk.front().first)).bind(3, static_cast<std::int64_t>(space.last_counter));
  insert.bind(4, static_cast<std::int64_t>(chunk.size())).bind(5, chunk_oldest_ms).bind_borrowed(6, refers.bytes()).bind_borrowed(7, bytes);
  DOORSTEP_TRY(insert.run());
  chunk.clear();
  chunk_bytes = 0;
  chunk_refers.clear();
  return {};
}

Result<Replica::Saved> Core::transact(SpaceState& space, const std::function<Status(Write&)>& body) {
  Write::Data data(*this, space);
  const SpaceId id = space.id;
  DOORSTEP_TRY(change([&]() -> Status {
    data.begin();
    Write write(data);
    DOORSTEP_TRY(body(write));
    DOORSTEP_TRY(data.finish_transaction());
    DOORSTEP_TRY(data.flush_chunk());
    if (const auto at = live.find(id); at != live.end() && at->second > 0 && space.waits_for(device()).empty() && !space.fresh_log)
      DOORSTEP_TRY(seal_pending(space));
    return write_digest(space);
  }));
  work_ = true;
  return std::move(data.saved);
}

// ---- Write: names and values into addresses ----------------------------------------------------------------------------------

RecordId Write::create(std::string_view kind_name) {
  const Kind* kind = data_.core.schema().kind(kind_name);
  if (!kind) {
    data_.fail(Error(Code::invalid_record, "there is no record kind \"" + std::string(kind_name) + "\" in the schema"));
    return {};
  }
  const RecordId id = make_record_id(data_.core.device(), data_.first, data_.created_here++);
  auto& record = data_.records.emplace_back(std::make_unique<WrittenRecord>());
  record->kind = kind->id;
  record->creates = true;
  record->stored.id = id;
  record->stored.record = Record(kind->id);
  record->operations.reserve(std::min<std::size_t>(kind->fields.size(), 32));
  data_.by_id[id] = record.get();
  return id;
}

namespace {
// "pre_check.bp_sys": a subfield of a structure.
std::pair<std::string_view, std::string_view> split_name(std::string_view name) {
  const auto dot = name.find('.');
  return dot == std::string_view::npos ? std::pair(name, std::string_view()) : std::pair(name.substr(0, dot), name.substr(dot + 1));
}
}  // namespace

Write& Write::set(const RecordId& id, std::string_view name, Value value) {
  WrittenRecord* record = data_.error ? nullptr : data_.find(id);
  if (!record) return *this;
  const Kind* kind = data_.core.schema().kind(record->kind);
  if (!kind) return data_.fail(Error(Code::unsupported, "this record's kind is newer than this program")), *this;
  const auto [field_name, subfield_name] = split_name(name);
  const Field* field = record->field_named(*kind, field_name);
  if (!field) return data_.fail(unknown_field(*kind, name)), *this;
  if (field->is_set) return data_.fail(Error(Code::invalid_record, field->name + " is a set: add to it or remove from it")), *this;
  const Slot* slot = field;
  SubfieldId subfield = 0;
  if (!subfield_name.empty()) {
    const Subfield* found = field->subfield(subfield_name);
    if (!found) return data_.fail(unknown_field(*kind, name)), *this;
    slot = found;
    subfield = found->id;
  }
  if (!type_fits(*slot, value))
    return data_.fail(Error(Code::invalid_record, std::string(name) + " takes a " + type_name(slot->type))), *this;
  data_.assign(*record, {field->id, {}, subfield}, normalized(*slot, std::move(value)), false);
  return *this;
}

std::string Write::add(const RecordId& id, std::string_view field_name, Value value) {
  WrittenRecord* record = data_.error ? nullptr : data_.find(id);
  const Kind* kind = record ? data_.core.schema().kind(record->kind) : nullptr;
  const Field* field = kind ? kind->field(field_name) : nullptr;
  if (!field || !field->is_set) {
    if (kind) data_.fail(field ? Error(Code::invalid_record, field->name + " is not a set") : unknown_field(*kind, field_name));
    return {};
  }
  if (!type_fits(*field, value) || !has_value(value)) {
    data_.fail(Error(Code::invalid_record, field->name + " takes elements of type " + type_name(field->type)));
    return {};
  }
  value = normalized(*field, std::move(value));
  std::string key;
  if (field->keyed_by_code()) {
    key = std::get<CodeText>(value).text;
    value = true;
  } else {
    std::array<std::uint8_t, 8> random;
    data_.core.random().fill(random);
    key = text_view(random);
  }
  data_.assign(*record, {field->id, key, 0}, std::move(value), true);
  return key;
}

std::string Write::add(const RecordId& id, std::string_view field_name, const std::vector<std::pair<std::string, Value>>& subfields) {
  WrittenRecord* record = data_.error ? nullptr : data_.find(id);
  const Kind* kind = record ? data_.core.schema().kind(record->kind) : nullptr;
  const Field* field = kind ? kind->field(field_name) : nullptr;
  if (!field || !field->is_set || field->type != Type::structure) {
    if (kind)
      data_.fail(field ? Error(Code::invalid_record, field->name + " is not a set of structures") : unknown_field(*kind, field_name));
    return {};
  }
  std::array<std::uint8_t, 8> random;
  data_.core.random().fill(random);
  const std::string key(text_view(random));
  data_.assign(*record, {field->id, key, 0}, true, true);
  for (const auto& [name, value] : subfields) set_element(id, field_name, key, name, value);
  return key;
}

Write& Write::set_element(const RecordId& id, std::string_view field_name, std::string_view element, std::string_view subfield_name,
                          Value value) {
  WrittenRecord* record = data_.error ? nullptr : data_.find(id);
  const Kind* kind = record ? data_.core.schema().kind(record->kind) : nullptr;
  const Field* field = kind ? kind->field(field_name) : nullptr;
  const Subfield* subfield = field ? field->subfield(subfield_name) : nullptr;
  if (!subfield) {
    if (kind) data_.fail(unknown_field(*kind, std::string(field_name) + "." + std::string(subfield_name)));
    return *this;
  }
  if (!type_fits(*subfield, value))
    return data_.fail(Error(Code::invalid_record, field->name + "." + subfield->name + " takes a " + type_name(subfield->type))), *this;
  // Whoever edits the inside says that the element is there: an edit survives a concurrent removal.
  const Address presence{field->id, std::string(element), 0};
  if (!record->assigned(presence)) data_.assign(*record, presence, true, true);
  data_.assign(*record, {field->id, std::string(element), subfield->id}, normalized(*subfield, std::move(value)), false);
  return *this;
}

Write& Write::remove(const RecordId& id, std::string_view field_name, std::string_view element) {
  WrittenRecord* record = data_.error ? nullptr : data_.find(id);
  const Kind* kind = record ? data_.core.schema().kind(record->kind) : nullptr;
  const Field* field = kind ? kind->field(field_name) : nullptr;
  if (!field) {
    if (kind) data_.fail(unknown_field(*kind, field_name));
    return *this;
  }
  data_.assign(*record, {field->id, std::string(element), 0}, Value{}, false);
  return *this;
}

Write& Write::set_json(const RecordId& id, std::string_view json) {
  WrittenRecord* record = data_.error ? nullptr : data_.find(id);
  const Kind* kind = record ? data_.core.schema().kind(record->kind) : nullptr;
  if (!kind) return *this;
  const ShownValues existing = shown_values(data_.core.schema(), record->stored.record);
  auto assignments = assignments_from_json(*kind, json, data_.core.random(), &existing);
  if (!assignments) return data_.fail(assignments.error()), *this;
  for (auto& assignment : *assignments) {
    const bool presence = !assignment.address.element.empty() && assignment.address.subfield == 0;
    data_.assign(*record, std::move(assignment.address), std::move(assignment.value), presence);
  }
  return *this;
}

Write& Write::note(std::string_view text) {
  constexpr std::size_t note_bytes_max = 1024;
  auto normal = nfc(text);
  if (!normal || normal->size() > note_bytes_max)
    data_.fail(Error(Code::too_large, "a note is not valid text, or longer than 1,024 bytes"));
  else
    data_.note = std::move(*normal);
  return *this;
}

Write& Write::assign(const RecordId& id, KindId kind, Address address, Value value) {
  WrittenRecord* record = data_.error ? nullptr : data_.find(id);
  if (!record) return *this;
  if (record->kind != kind)
    data_.fail(Error(Code::invalid_argument, "that record is of another kind"));
  else if (const auto* text = std::get_if<std::string>(&value); text && !is_valid_text(*text))
    data_.fail(Error(Code::invalid_argument, "a text is not valid UTF-8"));
  else
    data_.assign(*record, std::move(address), std::move(value), true);
  return *this;
}

Write& Write::next_transaction() {
  if (data_.error) return *this;
  if (Status finished = data_.finish_transaction(); !finished)
    data_.fail(finished.error());
  else
    data_.begin();
  return *this;
}

bool Write::failed() const { return data_.error.has_value(); }

}  // namespace doorstep
