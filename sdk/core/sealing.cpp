// Pending transactions into segments. A segment of ours exists only to be offered: what stands in `segment` under our own log
// may have been seen by somebody and is only ever sent again; what stands in `pending` may still be batched anew.
#include <algorithm>

#include "sdk/core/core.hpp"
#include "sync/codec.hpp"
#include "sync/limits.hpp"

namespace doorstep {

namespace {
constexpr std::size_t chunk_plain_bytes_max = 4u << 20;
constexpr std::size_t chunk_worth_packing_bytes = 512;
constexpr int pending_level = 1;
}  // namespace

// chunk: u8 (0 plain, 1 zstd); count, (gap, bytes) each
Bytes Core::encode_chunk(const std::vector<NumberedTransaction>& transactions, Compressor& compressor) {
  std::size_t size = 8;
  for (const auto& transaction : transactions) size += transaction.bytes.size() + 8;
  Encoder out(size);
  out.put_varint(transactions.size());
  Counter last = 0;
  for (const auto& transaction : transactions) {
    out.put_varint(transaction.first - last);
    out.put_bytes(transaction.bytes);
    last = transaction.first;
  }
  const bool pack = out.size() >= chunk_worth_packing_bytes;
  Bytes bytes{static_cast<std::uint8_t>(pack ? 1 : 0)};
  append(bytes, pack ? compressor.compress(out.bytes(), pending_level) : out.bytes());
  return bytes;
}

Result<std::vector<NumberedTransaction>> Core::decode_chunk(ByteView bytes, Compressor& compressor) {
  if (bytes.empty() || bytes[0] > 1) return Error(Code::corrupt, "a pending row is empty, or packed as this program does not know");
  Bytes plain;
  ByteView rest = bytes.subspan(1);
  if (bytes[0] == 1) {
    DOORSTEP_ASSIGN(plain, compressor.decompress(rest, chunk_plain_bytes_max));
    rest = plain;
  }
  Decoder in(rest);
  std::vector<NumberedTransaction> out;
  const auto count = in.get_count(rest.size());
  Counter last = 0;
  for (std::size_t i = 0; i < count && !in.failed(); ++i) {
    const auto gap = in.get_varint();
    if (gap == 0 || gap > limits::counter_max - last) in.fail("a counter does not rise");
    last += gap;
    out.push_back({last, to_bytes(in.get_bytes(limits::transaction_bytes_max))});
  }
  DOORSTEP_TRY(in.finish("pending transactions"));
  return out;
}

Result<std::vector<NumberedTransaction>> Core::pending_chunk(std::int64_t row) {
  if (opened_chunk_.row == row) return opened_chunk_.transactions;
  DOORSTEP_ASSIGN(Statement statement, database_->prepare("SELECT bytes FROM pending WHERE n = ?"));
  statement.bind(1, row);
  DOORSTEP_ASSIGN(const bool found, statement.step());
  if (!found) return Error(Code::corrupt, "a pending row is missing");
  DOORSTEP_ASSIGN(auto transactions, decode_chunk(statement.column_blob(0), compressor_));
  if (transactions.size() > 1) opened_chunk_ = {row, transactions};
  return transactions;
}

Result<LogNumber> Core::ensure_own_log(SpaceState& space) {
  if (space.own_log != 0 && !space.fresh_log) return space.own_log;
  const auto lives =
      std::count_if(space.logs.begin(), space.logs.end(), [&](const auto& l) { return l.second.head.name.device == device(); });
  if (static_cast<std::size_t>(lives) >= limits::incarnations_per_device_max)
    return Error(Code::full, "this device's store was restored too often: have it admitted as a new device");
  LogState log;
  log.head.name.device = device();
  log.head.name.incarnation = random_->make<Incarnation>();
  log.head.id = log.head.name.id(space.id);
  DOORSTEP_TRY(insert_log(space, log));
  DOORSTEP_TRY(database_->run("UPDATE space SET own_log = ?, fresh_log = 0 WHERE n = ?", log.n, space.n));
  space.own_log = log.n;
  space.fresh_log = false;
  spaces_changed_ = true;
  if (check_) check_->logged.erase(space.id);  // it stands in the old log
  return log.n;
}

// What was pending stands in a log now, where others judge it: its counters, and whether its clock was checked.
Status Core::claim_own(SpaceState& space, LogState& log, std::int64_t row, const SegmentContent& content,
                       const std::vector<CounterRange>& ranges) {
  const DeviceNumber number = space.number_of(device());
  bool again_all = false;
  for (const auto& numbered : content.transactions) {
    if (!log.checked && has_clock_check(numbered.bytes)) {
      Decoder in(numbered.bytes);
      log.checked = check_counts(space, get_transaction(in, {device(), number, numbered.first}), content.roster_size);
    }
    again_all = again_all || (!log.checked && claims_confirmed(numbered.bytes));
  }
  std::vector<Reason> reasons(ranges.size(), Reason::none);
  std::set<RecordPlace> again;
  DOORSTEP_TRY(claim_counters(space, number, row, log.head.hash, ranges, reasons, again));
  for (std::size_t i = 0; i < reasons.size(); ++i) {
    if (reasons[i] == Reason::none) continue;
    again_all = true;
    DOORSTEP_TRY(database_->run("INSERT INTO quarantine(segment, item, reason) VALUES(?, ?, ?)", row, static_cast<std::int64_t>(i),
                                static_cast<int>(reasons[i])));
  }
  for (const auto& [record, kind] : again) DOORSTEP_TRY(evaluate_again(space, record, kind, {}));
  const bool stands = judge(space, log, position_of_segment(row)) == Reason::none;
  return again_all || !again.empty() || !stands ? recheck_segment(space, row) : Status();
}

Status Core::seal_pending(SpaceState& space) {
  struct Batch {
    SegmentContent content;
    std::size_t bytes = 0;
    std::vector<CounterRange> ranges;
    std::set<LogNumber> refers;
  };
  LogNumber own = 0;
  std::vector<SharedBytes> sealed;
  Position first_position = 0;
  const EpochNumber epoch = space.roster->newest_epoch();
  const Hash epoch_entry = *space.roster->epoch_entry_hash(epoch);

  const auto flush = [&](Batch& batch) -> Status {
    if (batch.content.transactions.empty()) return {};
    if (own == 0) { DOORSTEP_ASSIGN(own, ensure_own_log(space)); }
    LogState& log = space.logs.at(own);
    batch.content.roster_size = space.roster->size();
    batch.content.roster_head = shorten(space.roster->head());
    for (auto n : batch.refers)
      if (const auto at = space.logs.find(n); at != space.logs.end())
        batch.content.references.push_back(
            {at->second.head.name.root_id(space.id), at->second.head.position, shorten(at->second.head.hash)});
    // Two logs may be one chain up to the same head: a reference stands once.
    auto& references = batch.content.references;
    std::sort(references.begin(), references.end());
    references.erase(std::unique(references.begin(), references.end()), references.end());
    const SegmentPlace place{log.head.name.root_id(space.id), log.head.position + 1, log.head.hash};
    DOORSTEP_ASSIGN(SealedSegment segment,
                    seal_segment(place, epoch, epoch_entry, batch.content, space.keys, identity_->secret_key, compressor_));
    const auto row = segment_row(own, place.position);
    // We are judged as anybody else: our right to append may have gone meanwhile.
    const Reason reason = judge(space, log, place.position);
    DOORSTEP_TRY(insert_segment(row, segment.hash, batch.content.transactions.size(), reason, log.checked, segment.bytes, &place.previous));
    log.head.position = place.position;
    log.head.hash = segment.hash;
    DOORSTEP_TRY(claim_own(space, log, row, batch.content, batch.ranges));
    if (first_position == 0) first_position = place.position;
    sealed.push_back(std::make_shared<const Bytes>(std::move(segment.bytes)));
    batch = Batch{};
    return {};
  };

  Batch batch;
  {
    DOORSTEP_ASSIGN(Statement rows, database_->prepare("SELECT last, refers, bytes FROM pending WHERE space = ? ORDER BY n"));
    rows.bind(1, space.n);
    for (;;) {
      DOORSTEP_ASSIGN(const bool row, rows.step());
      if (!row) break;
      const auto last = static_cast<Counter>(rows.column_int(0));
      std::set<LogNumber> refers;
      Decoder in(rows.column_blob(1));
      while (!in.failed() && in.remaining() != 0) refers.insert(static_cast<LogNumber>(in.get_varint()));
      DOORSTEP_ASSIGN(auto transactions, decode_chunk(rows.column_blob(2), compressor_));
      for (std::size_t i = 0; i < transactions.size(); ++i) {
        auto& transaction = transactions[i];
        if (!batch.content.transactions.empty() && (batch.bytes + transaction.bytes.size() > limits::segment_plain_bytes_goal ||
                                                    batch.content.transactions.size() == limits::transactions_per_segment_max ||
                                                    batch.refers.size() + refers.size() > limits::references_per_segment_max))
          DOORSTEP_TRY(flush(batch));
        batch.bytes += transaction.bytes.size();
        batch.refers.insert(refers.begin(), refers.end());
        batch.ranges.push_back({transaction.first, i + 1 < transactions.size() ? transactions[i + 1].first - 1 : last});
        batch.content.transactions.push_back(std::move(transaction));
      }
    }
  }
  DOORSTEP_TRY(flush(batch));
  if (own == 0) return {};
  DOORSTEP_TRY(database_->run("DELETE FROM pending WHERE space = ?", space.n));
  opened_chunk_ = {};
  const LogState& log = space.logs.at(own);
  DOORSTEP_TRY(database_->run("UPDATE log SET position = ?, hash = ?, checked = ? WHERE n = ?",
                              static_cast<std::int64_t>(log.head.position), log.head.hash, log.checked ? 1 : 0, own));
  publish(space, own, first_position, std::move(sealed));
  return write_digest(space);
}

Status Core::own_log_regressed(SpaceState& space) {
  if (space.fresh_log) return {};
  space.fresh_log = true;
  return database_->run("UPDATE space SET fresh_log = 1 WHERE n = ?", space.n);
}

// What we are allowed changed (admission gives a number and a role, an entry another role): what is pending is evaluated again.
Status Core::readmit_pending(SpaceState& space) {
  std::map<RecordPlace, std::vector<Dot>> touched;
  const DeviceNumber number = space.number_of(device());
  {
    DOORSTEP_ASSIGN(Statement rows, database_->prepare("SELECT bytes FROM pending WHERE space = ? ORDER BY n"));
    rows.bind(1, space.n);
    for (;;) {
      DOORSTEP_ASSIGN(const bool row, rows.step());
      if (!row) break;
      DOORSTEP_ASSIGN(const auto transactions, decode_chunk(rows.column_blob(0), compressor_));
      note_touched(transactions, device(), number, touched);
    }
  }
  for (const auto& [record, dots] : touched) DOORSTEP_TRY(evaluate_again(space, record.first, record.second, dots));
  return write_digest(space);
}

}  // namespace doorstep
