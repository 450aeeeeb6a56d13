// Logs as the session asks for them: hashes, segments, where two copies of a log part, and receipts.
#include <algorithm>

#include "sdk/core/core.hpp"
#include "sync/codec.hpp"
#include "sync/limits.hpp"

namespace doorstep {

// The log that holds a position of this one: itself, or what it left as a branch.
const LogState* Core::holder_of(const SpaceState& space, const LogState& log, Position position) {
  const LogState* holder = &log;
  while (position <= holder->head.name.starts_after && holder->parent != 0) holder = &space.logs.at(holder->parent);
  return position > holder->head.name.starts_after && position <= holder->head.position ? holder : nullptr;
}

Result<std::optional<Hash>> Core::hash_at(SpaceState& space, const LogState& log, Position position) {
  if (position == log.head.position) return std::optional(log.head.hash);
  const LogState* holder = holder_of(space, log, position);
  if (!holder) return std::optional<Hash>();
  DOORSTEP_ASSIGN(Statement statement, database_->prepare("SELECT hash FROM segment WHERE n = ?"));
  statement.bind(1, segment_row(holder->n, position));
  DOORSTEP_ASSIGN(const bool found, statement.step());
  if (!found) return std::optional<Hash>();
  DOORSTEP_ASSIGN(const Hash hash, statement.column_id<Hash>(0));
  return std::optional(hash);
}

// Whether a clock check stands in the log up to and with `position`.
Result<bool> Core::checked_after(SpaceState& space, const LogState& log, Position position) {
  if (position == 0) return false;
  const LogState* holder = holder_of(space, log, position);
  if (!holder) return false;
  if (position == holder->head.position) return holder->checked;
  DOORSTEP_ASSIGN(const std::int64_t checked,
                  database_->query_int("SELECT checked FROM segment WHERE n = ?", segment_row(holder->n, position + 1)));
  return checked != 0;
}

Result<std::vector<SharedBytes>> Core::load_segments(SpaceState& space, const LogId& log_id, Position after, std::size_t bytes_max,
                                                     const std::optional<ShortHash>& expect, bool* diverged) {
  *diverged = false;
  std::vector<SharedBytes> out;
  const auto at = space.log_by_id.find(log_id);
  if (at == space.log_by_id.end()) return out;
  const LogState& log = space.logs.at(at->second);
  if (expect && after > log.head.name.starts_after) {
    DOORSTEP_ASSIGN(const std::optional<Hash> hash, hash_at(space, log, after));
    if (!hash || shorten(*hash) != *expect) return *diverged = true, out;
  }
  DOORSTEP_ASSIGN(Statement rows, database_->prepare("SELECT bytes FROM segment WHERE n BETWEEN ? AND ? ORDER BY n"));
  rows.bind(1, segment_row(log.n, std::max(after, log.head.name.starts_after) + 1)).bind(2, segment_row(log.n, log.head.position));
  std::size_t bytes = 0;
  while (bytes < bytes_max) {
    DOORSTEP_ASSIGN(const bool row, rows.step());
    if (!row) break;
    out.push_back(std::make_shared<const Bytes>(to_bytes(rows.column_blob(0))));
    bytes += out.back()->size();
  }
  return out;
}

std::vector<std::pair<Position, ShortHash>> Core::locator(SpaceState& space, const LogId& log_id) {
  std::vector<std::pair<Position, ShortHash>> out;
  const auto at = space.log_by_id.find(log_id);
  if (at == space.log_by_id.end()) return out;
  const LogState& log = space.logs.at(at->second);
  const Position first = log.head.name.starts_after + 1;
  // Dense, then ever sparser, and the first in any case: two branches of one name agree there, so a split always leads further.
  Position step = 1;
  for (Position position = log.head.position; position >= first; position = std::max(position - std::min(step, position), first)) {
    if (auto hash = hash_at(space, log, position); hash && *hash) out.emplace_back(position, shorten(**hash));
    if (out.size() > 8) step *= 2;
    if (position == first) break;
  }
  return out;
}

Position Core::locate(SpaceState& space, const LogId& log_id, const std::vector<std::pair<Position, ShortHash>>& points) {
  const auto at = space.log_by_id.find(log_id);
  if (at == space.log_by_id.end()) return 0;
  const LogState& log = space.logs.at(at->second);
  Position agrees = log.head.name.starts_after;
  for (const auto& [position, short_hash] : points) {
    if (position <= agrees || position > log.head.position) continue;
    if (auto hash = hash_at(space, log, position); hash && *hash && shorten(**hash) == short_hash) agrees = position;
  }
  return agrees;
}

// What we wrote after reading the log may have read the part that is a branch now.
Status Core::refer_to_branch(SpaceState& space, LogNumber log, LogNumber branch) {
  std::vector<std::pair<std::int64_t, Bytes>> changed;
  {
    DOORSTEP_ASSIGN(Statement rows, database_->prepare("SELECT n, refers FROM pending WHERE space = ?"));
    rows.bind(1, space.n);
    for (;;) {
      DOORSTEP_ASSIGN(const bool row, rows.step());
      if (!row) break;
      Decoder in(rows.column_blob(1));
      bool refers = false;
      while (!in.failed() && in.remaining() != 0) refers = in.get_varint() == static_cast<std::uint64_t>(log) || refers;
      if (!refers) continue;
      auto& [n, bytes] = changed.emplace_back(rows.column_int(0), to_bytes(rows.column_blob(1)));
      put_varint(bytes, static_cast<std::uint64_t>(branch));
    }
  }
  for (const auto& [n, refers] : changed) DOORSTEP_TRY(database_->run("UPDATE pending SET refers = ? WHERE n = ?", refers, n));
  return {};
}

Status Core::split(SpaceState& space, const LogId& log_id, Position position) {
  const auto at = space.log_by_id.find(log_id);
  if (at == space.log_by_id.end()) return {};
  LogState& log = space.logs.at(at->second);
  if (position >= log.head.position || (log.head.name.branch && position <= log.head.name.starts_after)) return {};
  return change([&] { return split_off(space, log, position); });
}

// What stands above `position` becomes a log of its own, inside a change.
Status Core::split_off(SpaceState& space, LogState& log, Position position) {
  DOORSTEP_ASSIGN(const std::optional<Hash> first, hash_at(space, log, position + 1));
  if (!first) return Error(Code::corrupt, "a log has a gap");
  DOORSTEP_ASSIGN(const std::optional<Hash> before, hash_at(space, log, position));
  DOORSTEP_ASSIGN(const bool checked, checked_after(space, log, position));
  LogState branch = log;
  branch.head.name.branch = *first;
  branch.head.name.starts_after = position;
  branch.head.id = branch.head.name.id(space.id);
  branch.parent = log.n;
  DOORSTEP_TRY(insert_log(space, branch));
  for (auto& [n, other] : space.logs) {
    if (other.parent != log.n || n == branch.n || other.head.name.starts_after <= position) continue;
    other.parent = branch.n;
    DOORSTEP_TRY(database_->run("UPDATE log SET parent = ? WHERE n = ?", branch.n, n));
  }
  const auto from = segment_row(log.n, position + 1), to = segment_row(log.n, log.head.position),
             shift = segment_row(branch.n, 0) - segment_row(log.n, 0);
  DOORSTEP_TRY(database_->run("UPDATE segment SET n = n + ? WHERE n BETWEEN ? AND ?", shift, from, to));
  DOORSTEP_TRY(database_->run("UPDATE span SET segment = segment + ? WHERE segment BETWEEN ? AND ?", shift, from, to));
  DOORSTEP_TRY(database_->run("UPDATE void SET segment = segment + ? WHERE segment BETWEEN ? AND ?", shift, from, to));
  DOORSTEP_TRY(database_->run("UPDATE quarantine SET segment = segment + ? WHERE segment BETWEEN ? AND ?", shift, from, to));
  DOORSTEP_TRY(database_->run("UPDATE reference SET segment = segment + ? WHERE segment BETWEEN ? AND ?", shift, from, to));
  DOORSTEP_TRY(refer_to_branch(space, log.n, branch.n));
  opened_.clear();
  log.head.hash = position == 0 ? Hash{} : before.value_or(Hash{});
  log.head.position = position;
  log.checked = checked;
  DOORSTEP_TRY(database_->run("UPDATE log SET position = ?, hash = ?, checked = ? WHERE n = ?", static_cast<std::int64_t>(position),
                              log.head.hash, checked ? 1 : 0, log.n));
  DOORSTEP_TRY(database_->run("DELETE FROM receipt WHERE log = ? AND position > ?", log.n, static_cast<std::int64_t>(position)));
  return log.n == space.own_log ? own_log_regressed(space) : Status();
}

// ---- Receipts ------------------------------------------------------------------------------------------------------------------

Status Core::store_receipt(SpaceState& space, const LogId& log_id, Position position, const Receipt& receipt, const DeviceId& receipt_key) {
  const auto at = space.log_by_id.find(log_id);
  if (at == space.log_by_id.end()) return {};
  DOORSTEP_ASSIGN(const std::optional<Hash> hash, hash_at(space, space.logs.at(at->second), position));
  if (!hash) return Error(Code::protocol, "a receipt names a position that we do not have");
  if (!receipt_holds(receipt, receipt_key, space.id, log_id, position, *hash))
    return Error(Code::unauthenticated, "a receipt's signature does not hold: what was sent counts as not at the office");
  return database_->run("INSERT OR REPLACE INTO receipt(log, store, position, hash, signature, receipt_key) VALUES(?, ?, ?, ?, ?, ?)",
                        at->second, receipt.store, static_cast<std::int64_t>(position), *hash, receipt.signature, receipt_key);
}

Status Core::receipts_fall_back(const StoreId& store) { return database_->run("DELETE FROM receipt WHERE store <> ?", store); }

}  // namespace doorstep
