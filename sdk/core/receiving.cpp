// Rosters and segments from others: checked, stored as they came, merged or put in quarantine. What cannot be merged never
// stops what is behind or beside it (DESIGN invariant 6).
#include <algorithm>

#include "sdk/core/core.hpp"
#include "sync/codec.hpp"
#include "sync/lab.hpp"
#include "sync/limits.hpp"

namespace doorstep {

// ---- Rosters -------------------------------------------------------------------------------------------------------------------

namespace {

// What a roster may take back of what it allowed before.
struct Judgement {
  bool cut = false;
  std::size_t roles = 0;
};

std::map<DeviceId, Judgement> judgements(const std::optional<Roster>& roster) {
  std::map<DeviceId, Judgement> out;
  if (roster)
    for (const auto& [device, member] : roster->members()) out[device] = {member.cut.has_value(), member.roles.size()};
  return out;
}

Position listed(const std::vector<LogPosition>& logs, const LogId& log) {
  const auto at = std::find_if(logs.begin(), logs.end(), [&](const LogPosition& each) { return each.log == log; });
  return at == logs.end() ? 0 : at->position;
}

// Up to where the newest entries leave a device's log as it was judged before.
Position judged_alike_up_to(const Member& member, const Judgement& before, const LogId& root) {
  Position up_to = UINT64_MAX;
  if (member.cut && !before.cut) up_to = std::min(up_to, listed(member.cut->logs, root));
  for (auto i = before.roles; i < member.roles.size(); ++i) up_to = std::min(up_to, listed(member.roles[i].from, root));
  return up_to;
}

}  // namespace

Status Core::store_entry(SpaceState& space, const SpaceId& id, Position position, const Bytes& entry, std::size_t* added) {
  if (space.roster && position < space.roster->size()) {
    if (space.roster->entry_at(position) == entry) return {};
    space.roster_fork = true;
    return Error(Code::conflict, "roster fork: the sequencer signed two different entries at one position");
  }
  if (!space.roster) {
    DOORSTEP_ASSIGN(Roster roster, Roster::found(entry));
    if (roster.space() != id) return Error(Code::unauthenticated, "a roster does not belong to this space");
    space.roster = std::move(roster);
  } else {
    DOORSTEP_TRY(space.roster->append(entry));
  }
  ++*added;
  return database_->run("INSERT INTO roster(space, position, entry) VALUES(?, ?, ?)", space.n, static_cast<std::int64_t>(position), entry);
}

Result<std::size_t> Core::append_roster(SpaceState& space, Position first, const std::vector<Bytes>& entries) {
  std::size_t added = 0;
  const SpaceId id = space.id;
  DOORSTEP_TRY(change([&]() -> Status {
    const auto before = judgements(space.roster);
    const auto table_before = space.roster ? space.roster->rights_table() : std::nullopt;
    for (std::size_t i = 0; i < entries.size(); ++i) DOORSTEP_TRY(store_entry(space, id, first + i, entries[i], &added));
    if (added == 0) return {};
    spaces_changed_ = true;
    space.roster_changed(device(), *sealing_);
    if (!before.contains(device()) && space.roster->member(device())) {
      DOORSTEP_TRY(readmit_pending(space));
      space.invitation.clear();
      DOORSTEP_TRY(database_->run("UPDATE space SET invitation = '' WHERE n = ?", space.n));
    }
    const bool all = !before.empty() && !(table_before == space.roster->rights_table());
    for (const auto& [author, known] : before) {
      const Member& member = *space.roster->member(author);
      if (!all && member.cut.has_value() == known.cut && member.roles.size() == known.roles) continue;
      if (author == device()) DOORSTEP_TRY(readmit_pending(space));
      for (const auto& [n, log] : space.logs)
        if (log.head.name.device == author)
          DOORSTEP_TRY(judge_again(space, n, all ? 0 : judged_alike_up_to(member, known, log.head.name.root_id(space.id))));
    }
    return retry_quarantine(space);
  }));
  if (added != 0) ++roster_serial;
  return added;
}

// Standing and rights changed for what stands after `after` in a log: the records that it touches are evaluated again.
Status Core::judge_again(SpaceState& space, LogNumber n, Position after) {
  const LogState& log = space.logs.at(n);
  for (Position at = std::max(after, log.head.name.starts_after) + 1; at <= log.head.position; ++at) {
    const auto row = segment_row(n, at);
    DOORSTEP_ASSIGN(const std::int64_t stored, database_->query_int("SELECT reason FROM segment WHERE n = ?", row));
    const auto was = static_cast<Reason>(stored);
    if (was != Reason::none && was != Reason::no_right && was != Reason::beyond_cut) continue;  // not read yet
    const Reason now = judge(space, log, at);
    if (now != was) DOORSTEP_TRY(database_->run("UPDATE segment SET reason = ? WHERE n = ?", static_cast<int>(now), row));
    DOORSTEP_TRY(recheck_segment(space, row));
  }
  return write_digest(space);
}

// ---- Segments ------------------------------------------------------------------------------------------------------------------

Reason Core::judge(const SpaceState& space, const LogState& log, Position position) {
  if (DOORSTEP_PLANTED(ignore_cuts)) return Reason::none;
  switch (space.roster->standing(log.head.name.device, log.head.name.root_id(space.id), position)) {
    case Roster::Standing::stands: return Reason::none;
    case Roster::Standing::beyond_cut: return Reason::beyond_cut;
    default: return Reason::no_right;
  }
}

// A branch leaves the log of its device whose chain its first segment continues; the name alone does not tell which, once that
// log has branches itself.
Result<const LogState*> Core::parent_of(SpaceState& space, const LogName& name, ByteView first_segment) {
  const auto head = parse_segment(first_segment);
  const Hash* epoch_entry = head ? space.roster->epoch_entry_hash(head->epoch) : nullptr;
  if (!epoch_entry) return Error(head ? Code::waiting : head.code(), "a branch's first segment cannot be checked");
  const LogId root = name.root_id(space.id);
  for (const auto& [n, log] : space.logs) {
    const auto& other = log.head.name;
    if (other.device != name.device || other.incarnation != name.incarnation || log.head.position < name.starts_after) continue;
    if (other.branch && other.starts_after >= name.starts_after) continue;
    DOORSTEP_ASSIGN(const std::optional<Hash> previous, hash_at(space, log, name.starts_after));
    if (!previous) continue;
    const Hash hash = segment_hash({root, name.starts_after + 1, *previous}, *head, *epoch_entry);
    if (hash == *name.branch) return &log;
  }
  return Error(Code::waiting, "a branch came before the log that it leaves");
}

// What others call a branch may be how a log goes on here: then it leaves that log here too.
Status Core::leave_log(SpaceState& space, const LogName& name) {
  for (auto& [n, log] : space.logs) {
    const auto& other = log.head.name;
    if (other.device != name.device || other.incarnation != name.incarnation || log.head.position <= name.starts_after) continue;
    if (other.branch && other.starts_after >= name.starts_after) continue;
    DOORSTEP_ASSIGN(const std::optional<Hash> next, hash_at(space, log, name.starts_after + 1));
    if (next == name.branch && holder_of(space, log, name.starts_after + 1) == &log) return split_off(space, log, name.starts_after);
  }
  return {};
}

// The state in which a log begins: empty, or at its parent's last common segment.
Result<LogNumber> Core::begin_log(SpaceState& space, const LogName& name, ByteView first_segment) {
  const auto lives =
      std::count_if(space.logs.begin(), space.logs.end(), [&](const auto& l) { return l.second.head.name.device == name.device; });
  if (static_cast<std::size_t>(lives) >= limits::incarnations_per_device_max)
    return Error(Code::no_right, "a device has too many incarnations");
  const LogId id = name.id(space.id);
  LogState log;
  log.head = {name, id, name.starts_after, {}};
  if (name.branch) DOORSTEP_TRY(leave_log(space, name));
  if (const auto left = space.log_by_id.find(id); left != space.log_by_id.end()) return left->second;
  if (name.branch && name.starts_after != 0) {
    DOORSTEP_ASSIGN(const LogState* parent, parent_of(space, name, first_segment));
    log.parent = parent->n;
    DOORSTEP_ASSIGN(const std::optional<Hash> before, hash_at(space, *parent, name.starts_after));
    log.head.hash = before.value_or(Hash{});
    DOORSTEP_ASSIGN(log.checked, checked_after(space, *parent, name.starts_after));
  }
  DOORSTEP_TRY(insert_log(space, log));
  return log.n;
}

Status Core::insert_log(SpaceState& space, LogState& log) {
  DOORSTEP_ASSIGN(
      Statement insert,
      database_->prepare("INSERT INTO log(space, id, device, incarnation, branch, starts_after, position, hash, checked, parent) "
                         "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  const LogName& name = log.head.name;
  insert.bind(1, space.n).bind(2, log.head.id).bind(3, name.device).bind(4, name.incarnation);
  if (name.branch)
    insert.bind(5, *name.branch);
  else
    insert.bind(5, nullptr);
  insert.bind(6, static_cast<std::int64_t>(name.starts_after)).bind(7, static_cast<std::int64_t>(log.head.position));
  insert.bind(8, log.head.hash).bind(9, log.checked ? 1 : 0).bind(10, log.parent);
  DOORSTEP_TRY(insert.run());
  log.n = database_->last_insert_row_id();
  space.log_by_id[log.head.id] = log.n;
  space.logs.emplace(log.n, log);
  return {};
}

Status Core::insert_segment(std::int64_t row, const Hash& hash, std::size_t transactions, Reason reason, bool checked, ByteView bytes,
                            const Hash* previous) {
  DOORSTEP_ASSIGN(
      Statement insert,
      database_->prepare("INSERT INTO segment(n, hash, transactions, reason, checked, bytes, previous) VALUES(?, ?, ?, ?, ?, ?, ?)"));
  insert.bind(1, row).bind(2, hash).bind(3, static_cast<std::int64_t>(transactions)).bind(4, static_cast<int>(reason));
  insert.bind(5, checked ? 1 : 0).bind_borrowed(6, bytes);
  if (previous)
    insert.bind(7, *previous);
  else
    insert.bind(7, nullptr);
  return insert.run();
}

Session::Stored Core::append_segments(SpaceState& space, const LogName& name, Position first, const std::vector<Bytes>& segments,
                                      std::size_t* merged) {
  Session::Stored stored;
  for (const auto& bytes : segments) stored.bytes += bytes.size();
  const SpaceId space_id = space.id;
  if (!space.roster) return stored.refused = Code::waiting, stored;
  LogNumber n = 0;
  if (const auto at = space.log_by_id.find(name.id(space.id)); at != space.log_by_id.end()) n = at->second;
  if (n != 0) stored.position = space.logs.at(n).head.position, stored.hash = space.logs.at(n).head.hash;
  if (segments.empty()) return stored;
  if (!space.roster->member(name.device) || space.logs.size() >= limits::logs_per_space_max) return stored.refused = Code::no_right, stored;

  const Status done = change([&]() -> Status {
    const bool begins = n == 0;
    if (begins) { DOORSTEP_ASSIGN(n, begin_log(space, name, segments.front())); }
    LogState& log = space.logs.at(n);
    Position position = first;
    for (const auto& bytes : segments) {
      const auto at = position++;
      if (at <= log.head.position) continue;  // here already; a difference shows in the hashes of what follows
      stored.refused = at == log.head.position + 1 ? Code::ok : Code::waiting;
      if (stored.refused == Code::ok) { DOORSTEP_ASSIGN(stored.refused, append_segment(space, log, bytes, merged)); }
      if (stored.refused != Code::ok) break;
    }
    // A name alone does not begin a log: who may only deliver could use up the incarnations of a device, and its work would be refused.
    if (begins && log.head.position == name.starts_after)
      return Error(stored.refused == Code::ok ? Code::protocol : stored.refused, "nothing of a log could be stored");
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

// Why a segment's content cannot be read, or what it is.
Result<SegmentContent> Core::read_segment(SpaceState& space, const SegmentPlace& place, const SegmentHead& head, Reason* reason) {
  const Hash* epoch_entry = space.roster->epoch_entry_hash(head.epoch);
  if (!epoch_entry) return Error(Code::waiting, "a segment's epoch is not in the roster");
  auto content = open_segment(place, head, *epoch_entry, space.keys, compressor_);
  *reason = Reason::none;
  if (!content)
    *reason = content.code() == Code::waiting ? Reason::unknown_key : Reason::corrupt;
  else if (content->roster_size > space.roster->size())
    *reason = Reason::missing_parent;
  else if (content->roster_size != 0 && shorten(space.roster->hash_at(content->roster_size - 1)) != content->roster_head)
    *reason = Reason::corrupt;
  if (*reason != Reason::none) return SegmentContent{};
  return content;
}

// Where a branch leaves a log at its head, the log ends: what would go on with it is a branch too, so that everybody who holds the
// same segments holds them under the same names.
bool Core::is_closed(const SpaceState& space, const LogState& log) {
  if (DOORSTEP_PLANTED(continue_closed_log)) return false;
  return std::any_of(space.logs.begin(), space.logs.end(), [&](const auto& each) {
    const LogName& name = each.second.head.name;
    return name.branch && name.starts_after == log.head.position && name.device == log.head.name.device &&
           name.incarnation == log.head.name.incarnation &&
           (each.second.parent == log.n || (log.head.position == 0 && !log.head.name.branch));
  });
}

// Stores the next segment of a log and takes in what it holds. Another code than ok: why it cannot be stored; nothing changed.
Result<Code> Core::append_segment(SpaceState& space, LogState& log, const Bytes& bytes, std::size_t* merged) {
  const LogName& name = log.head.name;
  const Position at = log.head.position + 1;
  const auto head = parse_segment(bytes);
  if (!head) return head.code();
  if (is_closed(space, log)) return Code::conflict;
  const Hash* epoch_entry = space.roster->epoch_entry_hash(head->epoch);
  if (!epoch_entry) return Code::waiting;
  const SegmentPlace place{name.root_id(space.id), at, log.head.hash};
  const auto hash = verify_segment(place, *head, *epoch_entry, name.device);
  if (!hash) return Code::conflict;  // a damaged segment, or one of another branch: the locator will tell
  if (at == name.starts_after + 1 && name.branch && *hash != *name.branch) return Code::protocol;
  Reason reason = Reason::none;
  DOORSTEP_ASSIGN(const SegmentContent content, read_segment(space, place, *head, &reason));
  const bool readable = reason == Reason::none;
  if (readable) reason = judge(space, log, at);
  const auto row = segment_row(log.n, at);
  DOORSTEP_TRY(insert_segment(row, *hash, content.transactions.size(), reason, log.checked, bytes));
  log.head.position = at;
  log.head.hash = *hash;
  if (readable) { DOORSTEP_ASSIGN(log.checked, take_in(space, log, row, *hash, content, log.checked, merged)); }
  DOORSTEP_TRY(judge_references_to(space, log, at, *hash));
  return Code::ok;
}

// What a segment holds becomes part of what we hold and can read (MERGE.md, section 1): merged if it stands, without effect if it
// does not, but there for whoever named it. `checked`: a clock check that counts stands before it; returned: before the next one.
Result<bool> Core::take_in(SpaceState& space, const LogState& log, std::int64_t row, const Hash& hash, const SegmentContent& content,
                           bool checked, std::size_t* merged) {
  const DeviceId author = log.head.name.device;
  const DeviceNumber number = space.number_of(author);
  const bool stands = judge(space, log, position_of_segment(row)) == Reason::none;
  std::vector<Transaction> transactions;
  std::vector<CounterRange> ranges;
  std::vector<Reason> reasons;
  for (const auto& numbered : content.transactions) {
    Decoder in(numbered.bytes);
    transactions.push_back(get_transaction(in, {author, number, numbered.first}));
    reasons.push_back(in.finish("transaction") ? Reason::none : Reason::unknown_encoding);
    const auto count = std::max<std::size_t>(transactions.back().operation_count(), 1);
    ranges.push_back({numbered.first, reasons.back() == Reason::none ? numbered.first + count - 1 : 0});
  }
  std::set<RecordPlace> again;
  if (author == device()) DOORSTEP_TRY(forget_pending(space, content, again));
  DOORSTEP_TRY(claim_counters(space, number, row, hash, ranges, reasons, again));
  for (const auto& [record, kind] : again) DOORSTEP_TRY(evaluate_again(space, record, kind, {}));
  for (std::size_t i = 0; i < transactions.size(); ++i) {
    if (reasons[i] != Reason::unknown_encoding) checked = checked || check_counts(space, transactions[i], content.roster_size);
    if (reasons[i] == Reason::none) {
      const Incoming incoming{
          {author, number, content.transactions[i].first}, log.n, position_of_segment(row), checked, &content.references};
      DOORSTEP_ASSIGN(reasons[i], merge(space, std::move(transactions[i]), incoming, stands));
    }
    if (reasons[i] != Reason::none)
      DOORSTEP_TRY(database_->run("INSERT OR REPLACE INTO quarantine(segment, item, reason) VALUES(?, ?, ?)", row,
                                  static_cast<std::int64_t>(i), static_cast<int>(reasons[i])));
    else if (merged && stands)
      ++*merged;
  }
  DOORSTEP_TRY(remember_references(row, content.references));
  return checked;
}

Status Core::remember_references(std::int64_t row, const std::vector<Reference>& references) {
  for (const auto& reference : references)
    DOORSTEP_TRY(database_->run("INSERT OR IGNORE INTO reference(log, position, segment, hash) VALUES(?, ?, ?, ?)", reference.log,
                                static_cast<std::int64_t>(reference.position), row, reference.hash));
  return {};
}

// Those who referred to this position before it arrived are judged now. Where a log has branches, each may refute what another
// proves, and prove what another refutes.
Status Core::judge_references_to(SpaceState& space, const LogState& log, Position position, const Hash& hash) {
  const bool branches = std::any_of(space.logs.begin(), space.logs.end(), [&](const auto& other) {
    return other.first != log.n && other.second.head.name.device == log.head.name.device &&
           other.second.head.name.incarnation == log.head.name.incarnation;
  });
  std::set<std::int64_t> again;
  {
    DOORSTEP_ASSIGN(Statement referred, database_->prepare("SELECT segment, hash FROM reference WHERE log = ? AND position = ?"));
    referred.bind(1, log.head.name.root_id(space.id)).bind(2, static_cast<std::int64_t>(position));
    for (;;) {
      DOORSTEP_ASSIGN(const bool more, referred.step());
      if (!more) break;
      if (branches || !equal(referred.column_blob(1), hash.view().first(16))) again.insert(referred.column_int(0));
    }
  }
  for (const auto row : again) DOORSTEP_TRY(recheck_segment(space, row));
  return {};
}

// After the roster changed: what waited for a key or an entry is read again.
Status Core::retry_quarantine(SpaceState& space) {
  std::vector<std::int64_t> waiting;
  {
    DOORSTEP_ASSIGN(Statement rows, database_->prepare("SELECT n FROM segment WHERE reason IN (1, 2) ORDER BY n"));
    for (;;) {
      DOORSTEP_ASSIGN(const bool row, rows.step());
      if (!row) break;
      if (space.logs.contains(log_of_segment(rows.column_int(0)))) waiting.push_back(rows.column_int(0));
    }
  }
  for (const auto row : waiting) DOORSTEP_TRY(retry_segment(space, row));
  return write_digest(space);
}

Status Core::retry_segment(SpaceState& space, std::int64_t row) {
  LogState& log = space.logs.at(log_of_segment(row));
  const Position at = position_of_segment(row);
  const auto opened = opened_segment(space, row);
  if (!opened || (*opened)->roster_size > space.roster->size()) return {};
  const SegmentContent content = **opened;
  const bool lies = content.roster_size != 0 && shorten(space.roster->hash_at(content.roster_size - 1)) != content.roster_head;
  const Reason reason = lies ? Reason::corrupt : judge(space, log, at);
  DOORSTEP_TRY(database_->run("UPDATE segment SET reason = ?, transactions = ? WHERE n = ?", static_cast<int>(reason),
                              static_cast<std::int64_t>(content.transactions.size()), row));
  if (lies) return {};
  DOORSTEP_ASSIGN(const std::optional<Hash> hash, hash_at(space, log, at));
  if (!hash) return Error(Code::corrupt, "a log has a gap");
  DOORSTEP_ASSIGN(const std::int64_t checked, database_->query_int("SELECT checked FROM segment WHERE n = ?", row));
  DOORSTEP_ASSIGN(const bool checked_now, take_in(space, log, row, *hash, content, checked != 0, nullptr));
  return checked_now && checked == 0 ? check_reaches(space, log, at) : Status();
}

// A clock check at `position` has become readable: it stands before everything after it in that log.
Status Core::check_reaches(SpaceState& space, LogState& log, Position position) {
  for (Position later = position + 1; later <= log.head.position; ++later) {
    const auto row = segment_row(log.n, later);
    DOORSTEP_ASSIGN(const std::int64_t known, database_->query_int("SELECT checked FROM segment WHERE n = ?", row));
    if (known != 0) break;
    DOORSTEP_TRY(database_->run("UPDATE segment SET checked = 1 WHERE n = ?", row));
    DOORSTEP_TRY(recheck_segment(space, row));
  }
  log.checked = true;
  DOORSTEP_TRY(database_->run("UPDATE log SET checked = 1 WHERE n = ?", log.n));
  for (auto& [n, branch] : space.logs)
    if (branch.parent == log.n && branch.head.name.starts_after >= position)
      DOORSTEP_TRY(check_reaches(space, branch, branch.head.name.starts_after));
  return {};
}

}  // namespace doorstep
