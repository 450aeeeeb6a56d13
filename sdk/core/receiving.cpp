// Rosters and segments from others: checked, stored as they came, merged or put in quarantine. What cannot be merged never
// stops what is behind or beside it (DESIGN invariant 6).
#include <algorithm>

#include "sdk/core/core.hpp"
#include "sync/codec.hpp"
#include "sync/limits.hpp"

namespace doorstep {

Result<std::size_t> Core::append_roster(SpaceState& space, Position first, const std::vector<Bytes>& entries) {
  std::size_t added = 0;
  const bool was_member = space.roster && space.roster->member(device());
  const SpaceId id = space.id;
  DOORSTEP_TRY(change([&]() -> Status {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const auto position = first + i;
      if (space.roster && position < space.roster->size()) {
        if (space.roster->entry_at(position) == entries[i]) continue;
        space.roster_fork = true;
        return Error(Code::conflict, "roster fork: the sequencer signed two different entries at one position");
      }
      if (!space.roster) {
        DOORSTEP_ASSIGN(Roster roster, Roster::found(entries[i]));
        if (roster.space() != id) return Error(Code::unauthenticated, "a roster does not belong to this space");
        space.roster = std::move(roster);
      } else {
        DOORSTEP_TRY(space.roster->append(entries[i]));
      }
      DOORSTEP_TRY(database_->run("INSERT INTO roster(space, position, entry) VALUES(?, ?, ?)", space.n,
                                  static_cast<std::int64_t>(position), entries[i]));
      ++added;
    }
    if (added == 0) return {};
    space.roster_changed(device(), *sealing_);
    if (!was_member && space.roster->member(device())) {
      DOORSTEP_TRY(readmit_pending(space));
      space.invitation.clear();
      DOORSTEP_TRY(database_->run("UPDATE space SET invitation = '' WHERE n = ?", space.n));
    }
    return retry_quarantine(space);
  }));
  if (added != 0) ++roster_serial;
  return added;
}

Session::Stored Core::append_segments(SpaceState& space, const LogName& name, Position first, const std::vector<Bytes>& segments,
                                      std::size_t* merged) {
  Session::Stored stored;
  for (const auto& bytes : segments) stored.bytes += bytes.size();
  const SpaceId space_id = space.id;
  if (!space.roster) return stored.refused = Code::waiting, stored;
  const LogId log_id = name.id(space.id);
  LogNumber n = 0;
  if (const auto at = space.log_by_id.find(log_id); at != space.log_by_id.end()) n = at->second;
  if (n != 0) stored.position = space.logs.at(n).head.position, stored.hash = space.logs.at(n).head.hash;
  if (!space.roster->member(name.device) || space.logs.size() >= limits::logs_per_space_max) return stored.refused = Code::no_right, stored;

  const Status done = change([&]() -> Status {
    if (n == 0) {
      const auto lives =
          std::count_if(space.logs.begin(), space.logs.end(), [&](const auto& l) { return l.second.head.name.device == name.device; });
      if (static_cast<std::size_t>(lives) >= limits::incarnations_per_device_max)
        return Error(Code::no_right, "a device has too many incarnations");
      LogState log;
      log.head = {name, log_id, name.starts_after, {}};
      if (name.branch) {
        // The parent's last common segment precedes the branch.
        const auto parent = space.log_by_id.find(name.root_id(space.id));
        if (name.starts_after != 0) {
          if (parent == space.log_by_id.end()) return Error(Code::waiting, "a branch came before its log");
          DOORSTEP_ASSIGN(const std::optional<Hash> before, hash_at(space, space.logs.at(parent->second), name.starts_after));
          if (!before) return Error(Code::waiting, "a branch came before its log");
          log.head.hash = *before;
        }
        DOORSTEP_TRY(
            database_->run("INSERT INTO log(space, id, device, incarnation, branch, starts_after, position, hash, checked) "
                           "VALUES(?, ?, ?, ?, ?, ?, ?, ?, 0)",
                           space.n, log_id, name.device, name.incarnation, *name.branch, static_cast<std::int64_t>(name.starts_after),
                           static_cast<std::int64_t>(log.head.position), log.head.hash));
      } else {
        DOORSTEP_TRY(
            database_->run("INSERT INTO log(space, id, device, incarnation, branch, starts_after, position, hash, checked) "
                           "VALUES(?, ?, ?, ?, NULL, 0, 0, ?, 0)",
                           space.n, log_id, name.device, name.incarnation, log.head.hash));
      }
      log.n = n = database_->last_insert_row_id();
      space.log_by_id[log_id] = n;
      space.logs.emplace(n, std::move(log));
    }
    LogState& log = space.logs.at(n);
    const DeviceNumber number = space.number_of(name.device);
    Position position = first;
    for (const auto& bytes : segments) {
      const auto at = position++;
      if (at <= log.head.position) continue;  // here already; a difference shows in the hashes of what follows
      if (at != log.head.position + 1) {
        stored.refused = Code::waiting;
        break;
      }
      auto head = parse_segment(bytes);
      const Hash* epoch_entry = head ? space.roster->epoch_entry_hash(head->epoch) : nullptr;
      if (!head || !epoch_entry) {
        stored.refused = head ? Code::waiting : head.code();
        break;
      }
      const SegmentPlace place{name.root_id(space.id), at, log.head.hash};
      auto hash = verify_segment(place, *head, *epoch_entry, name.device);
      if (!hash) {
        stored.refused = Code::conflict;  // a damaged segment, or one of another branch: the locator will tell
        break;
      }
      if (at == name.starts_after + 1 && name.branch && *hash != *name.branch) {
        stored.refused = Code::protocol;
        break;
      }
      Reason reason = Reason::none;
      switch (space.roster->standing(name.device, name.root_id(space.id), at)) {
        case Roster::Standing::stands: break;
        case Roster::Standing::beyond_cut: reason = Reason::beyond_cut; break;
        default: reason = Reason::no_right;
      }
      const auto row = segment_row(n, at);
      std::int64_t first_counter = 0, last_counter = 0, transactions = 0;
      SegmentContent content;
      if (reason == Reason::none) {
        auto opened = open_segment(place, *head, *epoch_entry, space.keys, compressor_);
        if (!opened)
          reason = opened.code() == Code::waiting ? Reason::unknown_key : Reason::corrupt;
        else
          content = std::move(*opened);
      }
      if (reason == Reason::none && content.roster_size > space.roster->size()) reason = Reason::missing_parent;
      if (reason == Reason::none && content.roster_size != 0 &&
          shorten(space.roster->hash_at(content.roster_size - 1)) != content.roster_head)
        reason = Reason::corrupt;
      const bool checked_before = log.checked;
      log.head.position = at;
      log.head.hash = *hash;
      if (reason == Reason::none && !content.transactions.empty()) {
        first_counter = static_cast<std::int64_t>(content.transactions.front().first);
        transactions = static_cast<std::int64_t>(content.transactions.size());
        // Dots of a hostile device that were used before: the segment that came first here stands.
        last_counter = first_counter;
        std::vector<Transaction> decoded;
        decoded.reserve(content.transactions.size());
        std::vector<Reason> reasons;
        for (const auto& numbered : content.transactions) {
          Decoder in(numbered.bytes);
          decoded.push_back(get_transaction(in, {name.device, number, numbered.first}));
          reasons.push_back(in.finish("transaction") ? Reason::none : Reason::unknown_encoding);
          if (static_cast<std::int64_t>(numbered.first) < last_counter && reasons.size() > 1) reasons.back() = Reason::forked;
          last_counter = static_cast<std::int64_t>(numbered.first + std::max<std::size_t>(decoded.back().operation_count(), 1) - 1);
        }
        auto overlaps = database_->query_int("SELECT count(*) FROM span WHERE device = ? AND first <= ? AND last >= ?",
                                             space.n << 32 | number, last_counter, first_counter);
        if (overlaps && *overlaps != 0) reason = Reason::forked;
        if (reason == Reason::none && name.device == device()) {
          // Our own, from before this store went back in time: what is pending again left already.
          DOORSTEP_TRY(
              database_->run("DELETE FROM pending WHERE space = ? AND first >= ? AND last <= ?", space.n, first_counter, last_counter));
          opened_chunk_ = {};
          space.last_counter = std::max(space.last_counter, static_cast<Counter>(last_counter));
        }
        if (reason == Reason::none) {
          DOORSTEP_TRY(database_->run("INSERT INTO span(device, first, last, segment) VALUES(?, ?, ?, ?)", space.n << 32 | number,
                                      first_counter, last_counter, row));
        }
        DOORSTEP_ASSIGN(
            Statement insert,
            database_->prepare(
                "INSERT INTO segment(n, hash, first, last, transactions, reason, checked, bytes) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"));
        insert.bind(1, row).bind(2, *hash).bind(3, first_counter).bind(4, last_counter).bind(5, transactions);
        insert.bind(6, static_cast<int>(reason)).bind(7, checked_before ? 1 : 0).bind_borrowed(8, bytes);
        DOORSTEP_TRY(insert.run());
        if (reason == Reason::none) {
          for (std::size_t i = 0; i < decoded.size(); ++i) {
            if (reasons[i] == Reason::none) log.checked = log.checked || check_counts(space, decoded[i], content.roster_size);
            if (reasons[i] == Reason::none) {
              const Incoming incoming{{name.device, number, content.transactions[i].first}, n, at, log.checked, &content.references};
              DOORSTEP_ASSIGN(reasons[i], merge(space, std::move(decoded[i]), incoming));
            }
            if (reasons[i] != Reason::none)
              DOORSTEP_TRY(database_->run("INSERT INTO quarantine(segment, item, reason) VALUES(?, ?, ?)", row,
                                          static_cast<std::int64_t>(i), static_cast<int>(reasons[i])));
            else if (merged)
              ++*merged;
          }
          for (const auto& reference : content.references) {
            const auto known = space.log_by_id.find(reference.log);
            if (known == space.log_by_id.end() || space.logs.at(known->second).head.position < reference.position)
              DOORSTEP_TRY(database_->run("INSERT OR IGNORE INTO unchecked(log, position, hash, segment) VALUES(?, ?, ?, ?)", reference.log,
                                          static_cast<std::int64_t>(reference.position), reference.hash, row));
          }
        }
      } else {
        DOORSTEP_ASSIGN(
            Statement insert,
            database_->prepare(
                "INSERT INTO segment(n, hash, first, last, transactions, reason, checked, bytes) VALUES(?, ?, 0, 0, 0, ?, ?, ?)"));
        insert.bind(1, row).bind(2, *hash).bind(3, static_cast<int>(reason)).bind(4, checked_before ? 1 : 0).bind_borrowed(5, bytes);
        DOORSTEP_TRY(insert.run());
      }
      // Those who referred to this position before it arrived are judged now.
      std::vector<std::int64_t> liars;
      {
        DOORSTEP_ASSIGN(Statement waiting, database_->prepare("SELECT segment, hash FROM unchecked WHERE log = ? AND position = ?"));
        waiting.bind(1, log_id).bind(2, static_cast<std::int64_t>(at));
        for (;;) {
          DOORSTEP_ASSIGN(const bool more, waiting.step());
          if (!more) break;
          if (!equal(waiting.column_blob(1), hash->view().first(16))) liars.push_back(waiting.column_int(0));
        }
      }
      DOORSTEP_TRY(database_->run("DELETE FROM unchecked WHERE log = ? AND position = ?", log_id, static_cast<std::int64_t>(at)));
      for (auto liar : liars) DOORSTEP_TRY(recheck_segment(space, liar));
    }
    DOORSTEP_TRY(database_->run("UPDATE log SET position = ?, hash = ?, checked = ? WHERE n = ?",
                                static_cast<std::int64_t>(log.head.position), log.head.hash, log.checked ? 1 : 0, n));
    return write_digest(space);
  });
  if (!done) {
    stored.refused = done.code();
    return stored;
  }
  const auto& log = spaces_.at(space_id).logs.at(n);
  stored.position = log.head.position;
  stored.hash = log.head.hash;
  work_ = true;
  return stored;
}

// After the roster changed: what waited for a key or an entry is judged again.
Status Core::retry_quarantine(SpaceState& space) {
  struct Waiting {
    std::int64_t row;
    Bytes bytes;
  };
  std::vector<Waiting> waiting;
  {
    DOORSTEP_ASSIGN(Statement rows, database_->prepare("SELECT n, bytes FROM segment WHERE reason IN (1, 2) ORDER BY n"));
    for (;;) {
      DOORSTEP_ASSIGN(const bool row, rows.step());
      if (!row) break;
      if (space.logs.contains(log_of_segment(rows.column_int(0)))) waiting.push_back({rows.column_int(0), to_bytes(rows.column_blob(1))});
    }
  }
  for (const auto& [row, bytes] : waiting) {
    LogState& log = space.logs.at(log_of_segment(row));
    const auto content = opened_segment(space, row);
    if (!content || (*content)->roster_size > space.roster->size()) continue;
    const SegmentContent opened = **content;
    const DeviceNumber number = space.number_of(log.head.name.device);
    Counter last = 0;
    std::vector<Transaction> decoded;
    std::vector<Reason> reasons;
    for (const auto& numbered : opened.transactions) {
      Decoder in(numbered.bytes);
      decoded.push_back(get_transaction(in, {log.head.name.device, number, numbered.first}));
      reasons.push_back(in.finish("transaction") ? Reason::none : Reason::unknown_encoding);
      last = numbered.first + std::max<std::size_t>(decoded.back().operation_count(), 1) - 1;
    }
    if (opened.transactions.empty()) continue;
    const auto first = static_cast<std::int64_t>(opened.transactions.front().first);
    DOORSTEP_TRY(database_->run("UPDATE segment SET reason = 0, first = ?, last = ?, transactions = ? WHERE n = ?", first,
                                static_cast<std::int64_t>(last), static_cast<std::int64_t>(decoded.size()), row));
    DOORSTEP_TRY(database_->run("INSERT OR IGNORE INTO span(device, first, last, segment) VALUES(?, ?, ?, ?)", space.n << 32 | number,
                                first, static_cast<std::int64_t>(last), row));
    for (std::size_t i = 0; i < decoded.size(); ++i) {
      if (reasons[i] == Reason::none) {
        log.checked = log.checked || check_counts(space, decoded[i], opened.roster_size);
        const Incoming incoming{
            {log.head.name.device, number, opened.transactions[i].first}, log.n, position_of_segment(row), log.checked, &opened.references};
        DOORSTEP_ASSIGN(reasons[i], merge(space, std::move(decoded[i]), incoming));
      }
      if (reasons[i] != Reason::none)
        DOORSTEP_TRY(database_->run("INSERT OR REPLACE INTO quarantine(segment, item, reason) VALUES(?, ?, ?)", row,
                                    static_cast<std::int64_t>(i), static_cast<int>(reasons[i])));
    }
  }
  return write_digest(space);
}

// ---- Logs as the session asks for them -----------------------------------------------------------------------------------------

Result<std::optional<Hash>> Core::hash_at(SpaceState& space, const LogState& log, Position position) {
  if (position == log.head.position) return std::optional(log.head.hash);
  LogNumber n = log.n;
  if (log.head.name.branch && position <= log.head.name.starts_after) {
    const auto root = space.log_by_id.find(log.head.name.root_id(space.id));
    if (root == space.log_by_id.end()) return std::optional<Hash>();
    n = root->second;
  }
  DOORSTEP_ASSIGN(Statement statement, database_->prepare("SELECT hash FROM segment WHERE n = ?"));
  statement.bind(1, segment_row(n, position));
  DOORSTEP_ASSIGN(const bool found, statement.step());
  if (!found) return std::optional<Hash>();
  DOORSTEP_ASSIGN(const Hash hash, statement.column_id<Hash>(0));
  return std::optional(hash);
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
  Position step = 1;
  for (Position position = log.head.position; position > log.head.name.starts_after; position -= std::min(step, position)) {
    if (auto hash = hash_at(space, log, position); hash && *hash) out.emplace_back(position, shorten(**hash));
    if (out.size() > 8) step *= 2;
    if (position <= step) break;
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

Status Core::split(SpaceState& space, const LogId& log_id, Position position) {
  const auto at = space.log_by_id.find(log_id);
  if (at == space.log_by_id.end()) return {};
  LogState& log = space.logs.at(at->second);
  if (position >= log.head.position) return {};
  return change([&]() -> Status {
    DOORSTEP_ASSIGN(const std::optional<Hash> first, hash_at(space, log, position + 1));
    if (!first) return Error(Code::corrupt, "a log has a gap");
    LogState branch = log;
    branch.head.name.branch = *first;
    branch.head.name.starts_after = position;
    branch.head.id = branch.head.name.id(space.id);
    DOORSTEP_TRY(database_->run(
        "INSERT INTO log(space, id, device, incarnation, branch, starts_after, position, hash, checked) "
        "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
        space.n, branch.head.id, branch.head.name.device, branch.head.name.incarnation, *first, static_cast<std::int64_t>(position),
        static_cast<std::int64_t>(branch.head.position), branch.head.hash, branch.checked ? 1 : 0));
    branch.n = database_->last_insert_row_id();
    const auto from = segment_row(log.n, position + 1), to = segment_row(log.n, log.head.position),
               shift = segment_row(branch.n, 0) - segment_row(log.n, 0);
    DOORSTEP_TRY(database_->run("UPDATE segment SET n = n + ? WHERE n BETWEEN ? AND ?", shift, from, to));
    DOORSTEP_TRY(database_->run("UPDATE span SET segment = segment + ? WHERE segment BETWEEN ? AND ?", shift, from, to));
    DOORSTEP_TRY(database_->run("UPDATE quarantine SET segment = segment + ? WHERE segment BETWEEN ? AND ?", shift, from, to));
    DOORSTEP_TRY(database_->run("UPDATE unchecked SET segment = segment + ? WHERE segment BETWEEN ? AND ?", shift, from, to));
    opened_.clear();
    if (position > log.head.name.starts_after || position != 0) {
      DOORSTEP_ASSIGN(const std::optional<Hash> head, hash_at(space, log, position));
      log.head.hash = head ? *head : Hash{};
    } else {
      log.head.hash = Hash{};
    }
    log.head.position = position;
    DOORSTEP_TRY(
        database_->run("UPDATE log SET position = ?, hash = ? WHERE n = ?", static_cast<std::int64_t>(position), log.head.hash, log.n));
    if (log.n == space.own_log) DOORSTEP_TRY(own_log_regressed(space));
    space.log_by_id[branch.head.id] = branch.n;
    space.logs.emplace(branch.n, std::move(branch));
    return {};
  });
}

// ---- Receipts ------------------------------------------------------------------------------------------------------------------

Status Core::store_receipt(SpaceState& space, const LogId& log_id, Position position, const Receipt& receipt, const DeviceId& receipt_key) {
  const auto at = space.log_by_id.find(log_id);
  if (at == space.log_by_id.end()) return {};
  DOORSTEP_ASSIGN(const std::optional<Hash> hash, hash_at(space, space.logs.at(at->second), position));
  if (!hash) return Error(Code::protocol, "a receipt names a position that we do not have");
  const Bytes statement = receipt_statement(receipt.store, space.id, log_id, position, *hash);
  if (!verify(receipt_key, "doorstep/1/receipt", statement, receipt.signature))
    return Error(Code::unauthenticated, "a receipt's signature does not hold: what was sent counts as not at the office");
  return database_->run("INSERT OR REPLACE INTO receipt(log, store, position, hash, signature, receipt_key) VALUES(?, ?, ?, ?, ?, ?)",
                        at->second, receipt.store, static_cast<std::int64_t>(position), *hash, receipt.signature, receipt_key);
}

Status Core::receipts_fall_back(const StoreId& store) { return database_->run("DELETE FROM receipt WHERE store <> ?", store); }

}  // namespace doorstep
