// Records in their rows. A row's body is: dictionary number (varint; 0: plain), then the record's bytes, packed or not. Each kind
// has a dictionary, numbered as the kind and made of the first such records that this store held: village records resemble each
// other more than anything that could be built in.
#include <algorithm>

#include "sdk/core/core.hpp"
#include "sdk/core/index_key.hpp"
#include "sync/codec.hpp"

namespace doorstep {

namespace {
constexpr std::size_t dictionary_bytes = 32u << 10;
constexpr std::size_t record_bytes_max = 1'000'000'000;  // as SQLite: what could be stored must be readable
constexpr std::size_t record_worth_packing_bytes = 64;

Policy policy_of(const Field* field, FieldId id) {
  if (field && gate_for(field->policy) == gate_of(id)) return field->policy;
  switch (gate_of(id)) {  // a field that this schema does not know reads as its gate allows
    case Gate::open: return Policy::latest;
    case Gate::guarded: return Policy::review;
    case Gate::owned: return Policy::owner;
    case Gate::once: return Policy::once;
  }
  return Policy::latest;
}
}  // namespace

Reading read(const Schema& schema, const Record& record, const Register& reg) {
  const Kind* kind = schema.kind(record.kind());
  const Field* field = kind ? kind->field(reg.address.field) : nullptr;
  struct Order final : ValueOrder {
    const Slot* slot;
    explicit Order(const Slot* s) : slot(s) {}
    int rank(const Value& value) const override { return slot ? slot->rank(value) : 0; }
  };
  const Policy policy = policy_of(field, reg.address.field);
  const bool ordered = policy == Policy::cautious || policy == Policy::furthest;
  const Order order(ordered && field ? field->slot(reg.address.subfield) : nullptr);
  return read_register(record, reg, policy, ordered ? &order : nullptr, policy == Policy::once ? creator_of(record) : device_unadmitted);
}

// The record's bytes: inside the row, or unpacked into `space`.
Result<ByteView> Core::unpack_body(ByteView body, Bytes& space) {
  Decoder head(body);
  const auto dictionary = static_cast<std::int64_t>(head.get_varint());
  if (head.failed()) return Error(Code::corrupt, "a record's row is empty");
  const ByteView rest = body.subspan(head.position());
  if (dictionary == 0) return rest;
  const auto at = dictionaries_.find(dictionary);
  if (at == dictionaries_.end()) return Error(Code::corrupt, "a record was packed with a dictionary that is missing");
  DOORSTEP_TRY(at->second.decompress(compressor_, rest, record_bytes_max, space));
  return ByteView(space);
}

Result<Record> Core::decode_body(ByteView body, Bytes* encoded) {
  Bytes unpacked;
  DOORSTEP_ASSIGN(const ByteView bytes, unpack_body(body, unpacked));
  Decoder in(bytes, bytes.size() + 1);
  Record record = Record::decode(in);
  DOORSTEP_TRY(in.finish("record"));
  if (encoded) *encoded = to_bytes(bytes);
  return record;
}

Result<StoredRecord> Core::load_row(SpaceState& space, std::int64_t row, const RecordId& id, ByteView body) {
  StoredRecord stored;
  stored.id = id;
  stored.row = row;
  DOORSTEP_ASSIGN(stored.record, decode_body(body, &stored.encoded));
  collect_keys(space, stored, stored.keys);
  stored.conflicted = has_conflict(stored.record);
  return stored;
}

Result<std::optional<StoredRecord>> Core::load_record(SpaceState& space, const RecordId& id, KindId kind) {
  DOORSTEP_ASSIGN(Statement statement, database_->prepare("SELECT n, body FROM record WHERE id = ?"));
  statement.bind(1, id);
  std::optional<StoredRecord> found;
  for (;;) {
    DOORSTEP_ASSIGN(const bool row, statement.step());
    if (!row) break;
    const auto n = statement.column_int(0);
    if (space_of_row(n) != space.n || (kind != 0 && kind_of_row(n) != kind)) continue;
    DOORSTEP_ASSIGN(StoredRecord stored, load_row(space, n, id, statement.column_blob(1)));
    if (!found || stored.record.created()) found = std::move(stored);
  }
  return found;
}

void Core::collect_keys(SpaceState& space, const StoredRecord& stored, std::set<std::pair<std::int64_t, std::string>>& keys) const {
  const Kind* kind = schema_.kind(stored.record.kind());
  if (!kind) return;
  for (const auto& field : kind->fields) {
    if (!field.indexed) continue;
    const auto index = index_of(space.n, kind->id, field.id);
    for (const auto& reg : stored.record.field(field.id)) {
      if (reg.address.subfield != 0) continue;
      const Reading reading = read(schema_, stored.record, reg);
      if (!reading.shown || !has_value(reading.shown->value)) continue;
      if (field.keyed_by_code())
        keys.emplace(index, index_key(CodeText{reg.address.element}));
      else
        keys.emplace(index, index_key(reading.shown->value));
    }
  }
}

bool Core::has_conflict(const Record& record) const {
  for (const auto& reg : record.registers())
    if ((reg.siblings.size() > 1 || gate_of(reg.address.field) == Gate::owned) && read(schema_, record, reg).conflict) return true;
  return false;
}

Result<std::int64_t> Core::next_row(SpaceState& space, KindId kind) {
  auto [at, first_time] = space.next_serial.try_emplace(kind, 1);
  if (first_time) {
    auto highest = database_->query_int("SELECT max(n) FROM record WHERE n BETWEEN ? AND ?", record_row(space.n, kind, 0),
                                        record_row(space.n, kind, record_serial_max));
    if (highest && *highest != 0) at->second = (*highest & record_serial_max) + 1;
  }
  if (at->second > record_serial_max) return Error(Code::full, "this store holds as many records of one kind as it can");
  return record_row(space.n, kind, at->second++);
}

// ---- The state digest. What is created is mostly only written: it is added when somebody asks, up to a row of each kind.

bool Core::is_covered(const SpaceState& space, std::int64_t row) const {
  const auto at = space.covered.find(kind_of_row(row));
  return at != space.covered.end() && (row & record_serial_max) <= at->second;
}

Status Core::cover_new_rows(SpaceState& space) {
  const std::int64_t end = record_row(space.n + 1, 0, 0);
  std::int64_t after = record_row(space.n, 0, 0);
  DOORSTEP_ASSIGN(Statement rows, database_->prepare("SELECT n, id, body FROM record WHERE n > ? AND n < ? ORDER BY n"));
  for (;;) {
    rows.bind(1, after).bind(2, end);
    DOORSTEP_ASSIGN(bool row, rows.step());
    if (!row) break;
    // Behind what is covered of this kind, then behind the kind.
    const KindId kind = kind_of_row(rows.column_int(0));
    const auto covered = record_row(space.n, kind, space.covered[kind]);
    after = record_row(space.n, kind, record_serial_max);
    rows.reset();
    rows.bind(1, covered).bind(2, after);
    for (;;) {
      DOORSTEP_ASSIGN(row, rows.step());
      if (!row) break;
      DOORSTEP_ASSIGN(const RecordId id, rows.column_id<RecordId>(1));
      DOORSTEP_TRY(cover_row(space, rows.column_int(0), id, rows.column_blob(2)));
    }
    rows.reset();
  }
  return {};
}

Status Core::cover_row(SpaceState& space, std::int64_t row, const RecordId& id, ByteView body) {
  Bytes unpacked;
  DOORSTEP_ASSIGN(const ByteView encoded, unpack_body(body, unpacked));
  space.digest.add(record_digest(id, encoded));
  space.covered[kind_of_row(row)] = row & record_serial_max;
  space.digest_changed = true;  // kept with the next commit; until then it can be made again
  return {};
}

Status Core::choose_dictionary(KindId kind, ByteView sample) {
  auto& samples = dictionary_samples_[kind];
  append(samples.bytes, sample);
  samples.sizes.push_back(sample.size());
  if (samples.bytes.size() < dictionary_bytes) return {};
  const Bytes content = Dictionary::content_of(samples.bytes, samples.sizes);
  DOORSTEP_TRY(database_->run("INSERT INTO dictionary(n, bytes) VALUES(?, ?)", static_cast<std::int64_t>(kind), content));
  dictionaries_.emplace(kind, Dictionary(content));
  dictionary_samples_.erase(kind);
  return {};
}

// Nothing that stands touches it any more: it is gone like one that was never here.
Status Core::delete_record(SpaceState& space, StoredRecord& stored) {
  if (stored.row == 0) return {};
  if (is_covered(space, stored.row)) space.digest.remove(record_digest(stored.id, stored.encoded)), space.digest_changed = true;
  for (const auto& [index, key] : stored.keys)
    DOORSTEP_TRY(database_->run("DELETE FROM entry WHERE field = ? AND key = ? AND record = ?", index, ByteView(view(key)), stored.row));
  DOORSTEP_TRY(database_->run("DELETE FROM conflict WHERE record = ?", stored.row));
  return database_->run("DELETE FROM record WHERE n = ?", std::exchange(stored.row, 0));
}

Status Core::save_record(SpaceState& space, StoredRecord& stored) {
  if (stored.record.marks().empty()) return delete_record(space, stored);
  plain_.clear();
  stored.record.encode(plain_);
  const Bytes& plain = plain_.bytes();
  if (stored.row != 0 && plain == stored.encoded) return {};
  const bool is_new = stored.row == 0;
  if (is_new) { DOORSTEP_ASSIGN(stored.row, next_row(space, stored.record.kind())); }
  if (is_covered(space, stored.row)) {
    if (!is_new) space.digest.remove(record_digest(stored.id, stored.encoded));
    space.digest.add(record_digest(stored.id, plain));
    space.digest_changed = true;
  }
  stored.encoded = plain;

  const KindId kind = stored.record.kind();
  auto dictionary = dictionaries_.find(kind);
  if (dictionary == dictionaries_.end()) {
    DOORSTEP_TRY(choose_dictionary(kind, plain));
    dictionary = dictionaries_.find(kind);
  }
  const bool pack = dictionary != dictionaries_.end() && plain.size() >= record_worth_packing_bytes;
  body_.clear();
  put_varint(body_, pack ? kind : 0);
  if (pack)
    dictionary->second.compress(compressor_, plain, body_);
  else
    append(body_, plain);

  if (is_new) {
    DOORSTEP_ASSIGN(Statement insert, database_->prepare("INSERT INTO record(n, id, body) VALUES(?, ?, ?)"));
    insert.bind(1, stored.row).bind_borrowed(2, stored.id.view()).bind_borrowed(3, body_);
    DOORSTEP_TRY(insert.run());
  } else {
    DOORSTEP_ASSIGN(Statement update, database_->prepare("UPDATE record SET body = ? WHERE n = ?"));
    update.bind_borrowed(1, body_).bind(2, stored.row);
    DOORSTEP_TRY(update.run());
  }

  std::set<std::pair<std::int64_t, std::string>> keys;
  collect_keys(space, stored, keys);
  for (const auto& [index, key] : stored.keys)
    if (!keys.contains({index, key}))
      DOORSTEP_TRY(database_->run("DELETE FROM entry WHERE field = ? AND key = ? AND record = ?", index, ByteView(view(key)), stored.row));
  for (const auto& [index, key] : keys)
    if (!stored.keys.contains({index, key}))
      DOORSTEP_TRY(database_->run("INSERT INTO entry(field, key, record) VALUES(?, ?, ?)", index, ByteView(view(key)), stored.row));
  stored.keys = std::move(keys);

  const bool conflicted = has_conflict(stored.record);
  if (conflicted && !stored.conflicted) DOORSTEP_TRY(database_->run("INSERT OR IGNORE INTO conflict(record) VALUES(?)", stored.row));
  if (!conflicted && stored.conflicted) DOORSTEP_TRY(database_->run("DELETE FROM conflict WHERE record = ?", stored.row));
  stored.conflicted = conflicted;
  return {};
}

}  // namespace doorstep
