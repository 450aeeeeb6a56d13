#include "sdk/core/verify.hpp"

#include "sync/codec.hpp"

namespace doorstep {

namespace {

Status verify_log(Core& core, SpaceState& space, const LogState& log, const std::function<void()>& step) {
  const auto& name = log.head.name;
  Hash previous;
  if (name.starts_after != 0) {
    DOORSTEP_ASSIGN(const std::optional<Hash> before, core.hash_at(space, log, name.starts_after));
    if (!before) return Error(Code::corrupt, "a branch's parent is missing");
    previous = *before;
  }
  DOORSTEP_ASSIGN(Statement rows, core.database().prepare("SELECT n, hash, bytes FROM segment WHERE n BETWEEN ? AND ? ORDER BY n"));
  rows.bind(1, segment_row(log.n, 0)).bind(2, segment_row(log.n + 1, 0) - 1);
  Position position = name.starts_after;
  for (;;) {
    DOORSTEP_ASSIGN(const bool row, rows.step());
    if (!row) break;
    if (position_of_segment(rows.column_int(0)) != ++position)
      return Error(Code::corrupt, "a log has a gap at position " + std::to_string(position));
    DOORSTEP_ASSIGN(const SegmentHead head, parse_segment(rows.column_blob(2)));
    const Hash* epoch_entry = space.roster ? space.roster->epoch_entry_hash(head.epoch) : nullptr;
    if (!epoch_entry) return Error(Code::corrupt, "a segment names an epoch that its roster does not have");
    DOORSTEP_ASSIGN(const Hash hash, verify_segment({name.root_id(space.id), position, previous}, head, *epoch_entry, name.device));
    DOORSTEP_ASSIGN(const Hash stored, rows.column_id<Hash>(1));
    if (hash != stored) return Error(Code::corrupt, "a segment's hash is not the stored one at position " + std::to_string(position));
    previous = hash;
    step();
  }
  if (position != log.head.position || previous != log.head.hash) return Error(Code::corrupt, "a log's head is not its last segment");
  return {};
}

// Every record, evaluated from the log, must be what its row says; together they must make the state digest.
Status verify_records(Core& core, SpaceState& space, const std::function<void()>& step) {
  DOORSTEP_TRY(core.cover_new_rows(space));
  MultisetHash digest;
  std::int64_t after = record_row(space.n, 0, 0);
  const std::int64_t end = record_row(space.n + 1, 0, 0);
  for (;;) {
    RecordId id;
    Record record;
    {
      DOORSTEP_ASSIGN(Statement rows, core.database().prepare("SELECT n, id, body FROM record WHERE n > ? AND n < ? ORDER BY n LIMIT 1"));
      rows.bind(1, after).bind(2, end);
      DOORSTEP_ASSIGN(const bool row, rows.step());
      if (!row) break;
      after = rows.column_int(0);
      DOORSTEP_ASSIGN(id, rows.column_id<RecordId>(1));
      DOORSTEP_ASSIGN(record, core.decode_body(rows.column_blob(2)));
    }
    std::vector<Dot> firsts;
    for (const auto& mark : record.marks()) firsts.push_back({mark.device, mark.first});
    DOORSTEP_ASSIGN(const Record evaluated, core.evaluate(space, id, record.kind(), std::move(firsts)));
    if (!(evaluated == record)) return Error(Code::corrupt, "a record is not what its log says");
    Encoder out;
    record.encode(out);
    digest.add(record_digest(id, out.bytes()));
    step();
  }
  if (digest != space.digest) return Error(Code::corrupt, "the state digest is not that of the records");
  return {};
}

}  // namespace

Status verify_store(Core& core, const std::function<void(std::size_t, std::size_t)>& progress) {
  auto segments = core.database().query_int("SELECT count(*) FROM segment");
  auto records = core.database().query_int("SELECT count(*) FROM record");
  const auto total = static_cast<std::size_t>((segments ? *segments : 0) + (records ? *records : 0)) + 1;
  std::size_t done = 0;
  const auto step = [&] {
    ++done;
    if (progress && done % 256 == 0) progress(done, total);
  };
  DOORSTEP_TRY(core.database().integrity_check());
  step();
  for (auto& [id, space] : core.spaces()) {
    for (const auto& [n, log] : space.logs) DOORSTEP_TRY(verify_log(core, space, log, step));
    DOORSTEP_TRY(verify_records(core, space, step));
  }
  if (progress) progress(total, total);
  return {};
}

}  // namespace doorstep
