// One counter, one transaction. Honest devices never use a counter twice (ids.hpp, Dot). Two lives of one store may hold the same
// pending transactions and seal both copies; a hostile device can do as it likes. In every case a transaction that shares a counter
// with one in a segment of smaller hash is void (MERGE.md, section 1), whichever arrived first.
//
//   span   the counters of the transactions that count; ranges never overlap, and are as long as the run of counters in a segment
//   void   the transactions that lost; they still make others void
#include <algorithm>

#include "sdk/core/core.hpp"
#include "sync/codec.hpp"

namespace doorstep {

namespace {

struct Piece {
  Counter first = 0, last = 0;
  std::int64_t segment = 0;
};

Result<std::vector<Piece>> pieces(Statement& rows, Counter stop_below) {
  std::vector<Piece> out;
  for (;;) {
    DOORSTEP_ASSIGN(const bool row, rows.step());
    if (!row) return out;
    const Piece piece{static_cast<Counter>(rows.column_int(0)), static_cast<Counter>(rows.column_int(1)), rows.column_int(2)};
    if (piece.last < stop_below) {
      if (stop_below != 0) return out;
      continue;
    }
    out.push_back(piece);
  }
}

// What holds a counter of `range` already. Ranges of `span` do not overlap, so the first that ends too early ends the search.
Result<std::vector<Piece>> counted_in(Database& database, std::int64_t device, const CounterRange& range) {
  DOORSTEP_ASSIGN(Statement rows,
                  database.prepare("SELECT first, last, segment FROM span WHERE device = ? AND first <= ? ORDER BY first DESC"));
  rows.bind(1, device).bind(2, static_cast<std::int64_t>(range.last));
  return pieces(rows, range.first);
}
Result<std::vector<Piece>> void_in(Database& database, std::int64_t device, const CounterRange& range) {
  DOORSTEP_ASSIGN(Statement rows, database.prepare("SELECT first, last, segment FROM void WHERE device = ? AND first <= ? AND last >= ?"));
  rows.bind(1, device).bind(2, static_cast<std::int64_t>(range.last)).bind(3, static_cast<std::int64_t>(range.first));
  return pieces(rows, 0);
}

Status insert(Database& database, const char* sql, std::int64_t device, const Piece& piece) {
  if (piece.last < piece.first) return {};
  return database.run(sql, device, static_cast<std::int64_t>(piece.first), static_cast<std::int64_t>(piece.last), piece.segment);
}
constexpr const char* insert_span = "INSERT INTO span(device, first, last, segment) VALUES(?, ?, ?, ?)";
constexpr const char* insert_void = "INSERT OR IGNORE INTO void(device, first, last, segment) VALUES(?, ?, ?, ?)";

}  // namespace

Status Core::claim_counters(SpaceState& space, DeviceNumber device, std::int64_t row, const Hash& hash,
                            const std::vector<CounterRange>& ranges, std::vector<Reason>& reasons, std::set<RecordPlace>& again) {
  const auto key = space.n << 32 | device;
  std::vector<Piece> runs;
  bool contested = false;
  for (const auto& range : ranges) {
    if (range.last < range.first) continue;
    if (!runs.empty() && range.first <= runs.back().last) contested = true;
    if (!runs.empty() && range.first == runs.back().last + 1)
      runs.back().last = range.last;
    else
      runs.push_back({range.first, range.last, row});
  }
  for (std::size_t i = 0; i < runs.size() && !contested; ++i) {
    const CounterRange range{runs[i].first, runs[i].last};
    DOORSTEP_ASSIGN(const auto counted, counted_in(*database_, key, range));
    DOORSTEP_ASSIGN(const auto lost, void_in(*database_, key, range));
    contested = !counted.empty() || !lost.empty();
  }
  if (!contested) {
    for (const auto& run : runs) DOORSTEP_TRY(insert(*database_, insert_span, key, run));
    return {};
  }
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (reasons[i] != Reason::none) continue;
    DOORSTEP_ASSIGN(const bool counts, claim_contested(space, device, row, hash, ranges[i], again));
    if (!counts) reasons[i] = Reason::forked;
  }
  return {};
}

// One transaction against all that hold a counter of it. Within a segment the earlier one wins.
Result<bool> Core::claim_contested(SpaceState& space, DeviceNumber device, std::int64_t row, const Hash& hash, const CounterRange& range,
                                   std::set<RecordPlace>& again) {
  const auto key = space.n << 32 | device;
  bool counts = true;
  std::set<std::int64_t> losers;
  const auto meet = [&](const std::vector<Piece>& rivals, bool counted) -> Status {
    for (const auto& rival : rivals) {
      DOORSTEP_ASSIGN(const std::optional<Hash> other,
                      hash_at(space, space.logs.at(log_of_segment(rival.segment)), position_of_segment(rival.segment)));
      if (!other) return Error(Code::corrupt, "a segment that the index names is missing");
      if (!(hash < *other))
        counts = false;
      else if (counted)
        losers.insert(rival.segment);
    }
    return {};
  };
  DOORSTEP_ASSIGN(const auto counted, counted_in(*database_, key, range));
  DOORSTEP_TRY(meet(counted, true));
  DOORSTEP_ASSIGN(const auto lost, void_in(*database_, key, range));
  DOORSTEP_TRY(meet(lost, false));
  for (const auto loser : losers) DOORSTEP_TRY(make_void(space, device, loser, range, again));
  DOORSTEP_TRY(insert(*database_, counts ? insert_span : insert_void, key, {range.first, range.last, row}));
  return counts;
}

// The counted transactions of a segment that share a counter with `range` have lost it.
Status Core::make_void(SpaceState& space, DeviceNumber device, std::int64_t row, const CounterRange& range, std::set<RecordPlace>& again) {
  const auto key = space.n << 32 | device;
  DOORSTEP_ASSIGN(const SegmentContent* opened, opened_segment(space, row));
  const auto transactions = opened->transactions;
  for (std::size_t i = 0; i < transactions.size() && transactions[i].first <= range.last; ++i) {
    Decoder in(transactions[i].bytes);
    const Counter first = transactions[i].first;
    const Transaction transaction = get_transaction(in, {space.logs.at(log_of_segment(row)).head.name.device, device, first});
    if (!in.finish("transaction")) continue;
    const Counter last = first + std::max<std::size_t>(transaction.operation_count(), 1) - 1;
    if (last < range.first) continue;
    DOORSTEP_ASSIGN(const auto held, counted_in(*database_, key, {first, last}));
    if (std::none_of(held.begin(), held.end(), [&](const Piece& p) { return p.segment == row && p.first <= first && p.last >= last; }))
      continue;  // void already
    for (const auto& piece : held) {
      if (piece.segment != row) continue;
      DOORSTEP_TRY(database_->run("DELETE FROM span WHERE device = ? AND first = ?", key, static_cast<std::int64_t>(piece.first)));
      DOORSTEP_TRY(insert(*database_, insert_span, key, {piece.first, std::min(piece.last, first - 1), row}));
      DOORSTEP_TRY(insert(*database_, insert_span, key, {std::max(piece.first, last + 1), piece.last, row}));
    }
    DOORSTEP_TRY(insert(*database_, insert_void, key, {first, last, row}));
    DOORSTEP_TRY(database_->run("INSERT OR REPLACE INTO quarantine(segment, item, reason) VALUES(?, ?, ?)", row,
                                static_cast<std::int64_t>(i), static_cast<int>(Reason::forked)));
    for (const auto& change : transaction.changes) again.emplace(change.record, change.kind);
  }
  return {};
}

// A segment of ours that we do not remember: this store went back in time, or has a twin. What it holds is pending no more.
Status Core::forget_pending(SpaceState& space, const SegmentContent& content, std::set<RecordPlace>& again) {
  if (content.transactions.empty()) return {};
  const auto holds = [&](const NumberedTransaction& ours) {
    const auto at = std::lower_bound(content.transactions.begin(), content.transactions.end(), ours,
                                     [](const NumberedTransaction& a, const NumberedTransaction& b) { return a.first < b.first; });
    return at != content.transactions.end() && at->first == ours.first && at->bytes == ours.bytes;
  };
  std::vector<std::int64_t> rows;
  {
    DOORSTEP_ASSIGN(Statement found, database_->prepare("SELECT n FROM pending WHERE space = ? AND last >= ?"));
    found.bind(1, space.n).bind(2, static_cast<std::int64_t>(content.transactions.front().first));
    for (;;) {
      DOORSTEP_ASSIGN(const bool row, found.step());
      if (!row) break;
      rows.push_back(found.column_int(0));
    }
  }
  const DeviceNumber number = space.number_of(device());
  Counter highest = 0;
  for (const auto row : rows) {
    DOORSTEP_ASSIGN(auto transactions, pending_chunk(row));
    const auto before = transactions.size();
    std::vector<NumberedTransaction> kept;
    for (auto& ours : transactions) {
      if (!holds(ours)) {
        kept.push_back(std::move(ours));
        continue;
      }
      Decoder in(ours.bytes);
      for (const auto& change : get_transaction(in, {device(), number, ours.first}).changes) again.emplace(change.record, change.kind);
    }
    if (kept.size() == before) continue;
    opened_chunk_ = {};
    if (kept.empty()) {
      DOORSTEP_TRY(database_->run("DELETE FROM pending WHERE n = ?", row));
    } else {
      DOORSTEP_TRY(database_->run("UPDATE pending SET first = ?, transactions = ?, bytes = ? WHERE n = ?",
                                  static_cast<std::int64_t>(kept.front().first), static_cast<std::int64_t>(kept.size()),
                                  encode_chunk(kept, compressor_), row));
    }
  }
  // Whatever our other life used, we go on above it: by a random step, as that life may be going on too, from the very same counter.
  for (const auto& numbered : content.transactions) {
    Decoder in(numbered.bytes);
    const auto count = get_transaction(in, {device(), number, numbered.first}).operation_count();
    highest = numbered.first + std::max<std::size_t>(count, 1) - 1;
  }
  if (highest > space.last_counter) {
    space.last_counter = highest;
    space.jumped = false;
  }
  return {};
}

}  // namespace doorstep
