#include "server/ledger.hpp"

#include <algorithm>

#include "sync/limits.hpp"

namespace doorstep::relay {

namespace {
constexpr std::size_t roster_chunk_bytes = 4u << 20;
}

std::vector<Position> locator_positions(Position starts_after, Position head) {
  constexpr Position dense = 32, doublings = 24;
  std::set<Position> out;
  for (Position i = 0; i < dense && head > starts_after + i; ++i) out.insert(head - i);
  for (Position step = 1, i = 0; i < doublings && starts_after + step <= head; ++i, step *= 2) {
    out.insert(starts_after + step);
    if (head > starts_after + step) out.insert(head - step);
  }
  return {out.begin(), out.end()};
}

// ---- Loading -----------------------------------------------------------------------------------------------------------

Status Ledger::load() {
  DOORSTEP_ASSIGN(const auto identity, store_.identity());
  open_ = identity.open;
  DOORSTEP_ASSIGN(const auto ids, store_.spaces());
  for (const auto& id : ids) {
    std::optional<Roster> roster;
    for (;;) {
      DOORSTEP_ASSIGN(const auto entries, store_.roster(id, roster ? roster->size() : 0, roster_chunk_bytes));
      if (entries.empty()) break;
      for (const auto& entry : entries) {
        if (roster) {
          DOORSTEP_TRY(roster->append(entry));
        } else {
          DOORSTEP_ASSIGN(roster, Roster::found(entry));
        }
      }
    }
    if (!roster || roster->space() != id)
      return Error(Code::corrupt, "the roster of space " + id.hex().substr(0, 8) + " does not prove itself");
    spaces_[id].roster = std::make_shared<const Roster>(std::move(*roster));
  }
  DOORSTEP_ASSIGN(const auto logs, store_.logs());
  for (const auto& log : logs) {
    Space& space = spaces_[log.space];
    space.logs[log.id] = {log.number, log.name, log.position, log.hash, log.closed};
    ++space.logs_of_device[log.name.device];
  }
  if (quotas_.space_bytes_max == 0 && quotas_.authority_bytes_max == 0) return {};
  DOORSTEP_ASSIGN(const auto counts, store_.counts());
  for (const auto& count : counts) {
    Space& space = spaces_[count.space];
    space.bytes = count.segment_bytes;
    bytes_of_authority_[space.roster->authority()] += count.segment_bytes;
  }
  return {};
}

// ---- The transaction ---------------------------------------------------------------------------------------------------

Status Ledger::begin() { return store_.begin(); }

Status Ledger::commit() {
  auto status = without_throwing([&] { return store_.commit(); });
  if (!status) {
    rollback();
    return status;
  }
  undo_.clear();
  return {};
}

void Ledger::rollback() {
  store_.rollback();
  for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo) (*undo)();
  undo_.clear();
}

Ledger::Space* Ledger::find(const SpaceId& space) {
  const auto at = spaces_.find(space);
  return at == spaces_.end() ? nullptr : &at->second;
}
const Ledger::Space* Ledger::find(const SpaceId& space) const { return const_cast<Ledger*>(this)->find(space); }

void Ledger::touch_log(const SpaceId& id, const LogId& log, const Space& space) {
  const auto at = space.logs.find(log);
  if (at == space.logs.end()) {
    undo_.push_back([this, id, log] {
      Space& back = spaces_.at(id);
      const auto made = back.logs.find(log);
      if (made == back.logs.end()) return;
      --back.logs_of_device.at(made->second.name.device);
      back.logs.erase(made);
    });
  } else {
    undo_.push_back([this, id, log, old = at->second] { spaces_.at(id).logs.at(log) = old; });
  }
}

// Both or neither, also where there is no memory for one of them.
void Ledger::add_log(Space& space, const LogId& id, const Log& log) {
  auto& of_device = space.logs_of_device[log.name.device];
  space.logs[id] = log;
  ++of_device;
}

// ---- Segments ----------------------------------------------------------------------------------------------------------

Status Ledger::within_quota(const Space& space, std::size_t bytes) const {
  if (quotas_.space_bytes_max != 0 && space.bytes + bytes > quotas_.space_bytes_max)
    return Error(Code::full, "the space has used up its quota on this relay");
  if (quotas_.authority_bytes_max != 0) {
    const auto used = bytes_of_authority_.find(space.roster->authority());
    if ((used == bytes_of_authority_.end() ? 0 : used->second) + bytes > quotas_.authority_bytes_max)
      return Error(Code::full, "the authority has used up its quota on this relay");
  }
  return {};
}

// One call of append_segments: where the log stands while its segments are taken one by one.
class Ledger::Appending {
 public:
  Appending(Ledger& ledger, ConnectionId from, const SpaceId& id, Space& space, const LogName& name, AppendResult& out)
      : ledger_(ledger),
        space_id_(id),
        space_(space),
        name_(name),
        log_id_(name.id(id)),
        root_id_(name.root_id(id)),
        place_{from, log_id_},
        out_(out) {}

  /// False: refused, and said so in the result.
  Result<bool> start(ByteView first_segment) {
    if (const auto at = space_.logs.find(log_id_); at != space_.logs.end()) {
      if (at->second.name != name_) return refuse(Code::protocol, "a log is named differently than before");
      log_ = at->second;
      known_ = true;
      return true;
    }
    const auto of_device = space_.logs_of_device.find(name_.device);
    const auto allowed =
        admit_log(*space_.roster, name_, of_device == space_.logs_of_device.end() ? 0 : of_device->second, space_.logs.size());
    if (!allowed) return refuse(allowed.error().code(), allowed.error().message());
    log_.name = name_;
    log_.position = name_.starts_after;
    log_.closed = !name_.branch && begins_after(0);
    return name_.branch ? start_branch(first_segment) : Result<bool>(true);
  }

  /// False: refused. `position` rises by one from call to call.
  Result<bool> take(Position position, const SharedBytes& bytes) {
    if (position <= name_.starts_after) return refuse(Code::protocol, "a segment stands before its branch begins");
    if (position <= log_.position) return take_again(position, *bytes);
    if (position > log_.position + 1) {
      const auto before = ledger_.refusals_.find(place_);
      return refuse(before == ledger_.refusals_.end() ? Code::protocol : before->second, "a segment does not follow the ones before it");
    }
    if (log_.closed) return conflict(position, "the log was split here");
    if (const auto room = ledger_.within_quota(space_, bytes->size()); !room) return refuse(room.error().code(), room.error().message());
    const SegmentPlace place{root_id_, position, log_.hash};
    const auto hash = admit_segment(*space_.roster, name_, place, *bytes);
    if (!hash) {
      const bool follows_surely = proven_ || position == 1;
      if (hash.code() == Code::unauthenticated && !follows_surely) return conflict(position, hash.error().message());
      return refuse(hash.code(), hash.error().message());
    }
    DOORSTEP_TRY(store(position, *hash, *bytes));
    return true;
  }

 private:
  Result<bool> refuse(Code code, std::string why) {
    out_.stored.refused = code;
    if (code == Code::conflict) out_.stored.position = 0;
    out_.why = std::move(why);
    ledger_.refusals_[place_] = code;
    return false;
  }
  // The first time both sides are to compare hashes and split; after that there is nothing left to compare.
  Result<bool> conflict(Position position, std::string why) {
    const auto [at, first] = ledger_.conflicts_.emplace(place_, position);
    if (!first && std::exchange(at->second, position) == position) return refuse(Code::unauthenticated, std::move(why));
    return refuse(Code::conflict, std::move(why));
  }
  bool begins_after(Position position) const {
    return std::any_of(space_.logs.begin(), space_.logs.end(), [&](const auto& other) {
      const LogName& name = other.second.name;
      return name.branch && name.starts_after == position && name.device == name_.device && name.incarnation == name_.incarnation;
    });
  }

  // A new branch: finds the log that it leaves, proves that its first segment does leave it, and splits that log there.
  Result<bool> start_branch(ByteView first_segment) {
    std::optional<LogId> parent;
    const Position at = name_.starts_after;
    std::optional<Hash> previous;
    if (at == 0) {
      previous = Hash{};
      if (space_.logs.contains(root_id_)) parent = root_id_;
    }
    for (auto& [id, log] : space_.logs) {
      if (previous) break;
      if (log.name.device != name_.device || log.name.incarnation != name_.incarnation) continue;
      if (log.position < at || (log.name.branch && log.name.starts_after >= at)) continue;
      DOORSTEP_ASSIGN(const auto candidate, ledger_.store_.hash_at(log.number, at));
      if (!candidate) continue;
      const auto hash = hash_of_segment(*space_.roster, {root_id_, at + 1, *candidate}, first_segment);
      if (!hash) return refuse(hash.code(), hash.error().message());
      if (*hash != *name_.branch) continue;
      previous = candidate;
      parent = id;
    }
    if (!previous) return refuse(Code::waiting, "a branch waits for the log that it leaves");
    const auto hash = admit_segment(*space_.roster, name_, {root_id_, at + 1, *previous}, first_segment);
    if (!hash) return refuse(hash.code(), hash.error().message());
    if (*hash != *name_.branch) return refuse(Code::unauthenticated, "a branch is not named by its first segment");
    log_.hash = *previous;
    proven_ = true;
    if (!parent) return true;
    const bool renames = space_.logs.at(*parent).position > at;
    DOORSTEP_TRY(ledger_.split_log(space_id_, space_, *parent, at));
    out_.split = out_.split || renames;
    // The part that moved away may be this very branch.
    if (const auto moved = space_.logs.find(log_id_); moved != space_.logs.end()) {
      log_ = moved->second;
      known_ = true;
    }
    return true;
  }

  // Something that is here already, or differs from what is.
  Result<bool> take_again(Position position, ByteView bytes) {
    DOORSTEP_ASSIGN(const auto here, ledger_.store_.segments(log_.number, position - 1, 1));
    if (here.empty() || here.front().position != position) return Error(Code::corrupt, "a segment is missing in the relay's store");
    if (!equal(here.front().bytes, bytes)) return conflict(position, "the log continues differently here");
    out_.stored.position = position;
    out_.stored.hash = here.front().hash;
    proven_ = true;
    return true;
  }

  Status store(Position position, const Hash& hash, ByteView bytes) {
    if (!noted_) {
      ledger_.touch_log(space_id_, log_id_, space_);
      noted_ = true;
    }
    if (!known_) {
      // In memory first: should the store fail, undoing finds it there.
      add_log(space_, log_id_, log_);
      known_ = true;
      DOORSTEP_ASSIGN(log_.number, ledger_.store_.create_log(space_id_, name_));
    }
    DOORSTEP_TRY(ledger_.store_.append_segment(log_.number, position, hash, bytes));
    log_.position = position;
    log_.hash = hash;
    space_.logs[log_id_] = log_;
    count(bytes.size());
    out_.stored.position = position;
    out_.stored.hash = hash;
    if (out_.first_new == 0) out_.first_new = position;
    ++out_.new_count;
    proven_ = true;
    ledger_.refusals_.erase(place_);
    return {};
  }
  void count(std::size_t bytes) {
    if (ledger_.quotas_.space_bytes_max == 0 && ledger_.quotas_.authority_bytes_max == 0) return;
    auto* of_space = &space_.bytes;
    auto* of_authority = &ledger_.bytes_of_authority_[space_.roster->authority()];
    ledger_.undo_.push_back([of_space, of_authority, bytes] {
      *of_space -= bytes;
      *of_authority -= bytes;
    });
    *of_space += bytes;
    *of_authority += bytes;
  }

  Ledger& ledger_;
  const SpaceId& space_id_;
  Space& space_;
  const LogName& name_;
  const LogId log_id_;
  const LogId root_id_;
  const Place place_;
  AppendResult& out_;
  Log log_;
  bool known_ = false;   // it is in space_.logs
  bool noted_ = false;   // and in undo_
  bool proven_ = false;  // the sender's log agrees with ours up to log_'s head
};

Result<Ledger::AppendResult> Ledger::append_segments(ConnectionId from, const TransportPublicKey& carrier, const SpaceId& id,
                                                     const LogName& name, Position first, const std::vector<SharedBytes>& segments) {
  AppendResult out;
  for (const auto& segment : segments) out.stored.bytes += segment->size();
  Space* space = find(id);
  if (!space || !space->roster) {
    out.stored.refused = Code::waiting;
    out.why = "the relay waits for the roster of this space";
    return out;
  }
  if (!standing_of(*space->roster, carrier, std::nullopt).appendable) {
    out.stored.refused = Code::no_right;
    out.why = "segments are taken from members of the space only";
    return out;
  }
  Appending appending(*this, from, id, *space, name, out);
  DOORSTEP_ASSIGN(bool going, appending.start(*segments.front()));
  for (std::size_t i = 0; i < segments.size() && going; ++i) {
    DOORSTEP_ASSIGN(going, appending.take(first + i, segments[i]));
    if (out.new_count == 1 && out.first_new == first + i) out.new_from = i;
  }
  return out;
}

Status Ledger::split_log(const SpaceId& id, Space& space, const LogId& log_id, Position position) {
  const auto at = space.logs.find(log_id);
  if (at == space.logs.end() || (at->second.name.branch && position <= at->second.name.starts_after)) return {};
  const Log old = at->second;
  LogName branch{old.name.device, old.name.incarnation, Hash{}, position};
  if (old.position > position) {
    DOORSTEP_ASSIGN(const auto first, store_.hash_at(old.number, position + 1));
    if (!first) return Error(Code::corrupt, "a segment is missing in the relay's store");
    branch.branch = *first;
  }
  touch_log(id, log_id, space);
  DOORSTEP_ASSIGN(const auto moved, store_.split(old.number, position, branch));
  Log& left = space.logs[log_id];
  left.closed = true;
  if (!moved) return {};
  DOORSTEP_ASSIGN(const auto hash, store_.hash_at(old.number, position));
  left.position = position;
  left.hash = hash.value_or(Hash{});
  const LogId branch_id = branch.id(id);
  touch_log(id, branch_id, space);
  add_log(space, branch_id, {*moved, branch, old.position, old.hash, old.closed});
  return {};
}

Status Ledger::split(const SpaceId& id, const LogId& log, Position position) {
  Space* space = find(id);
  if (!space) return {};
  const auto at = space->logs.find(log);
  if (at == space->logs.end() || position >= at->second.position) return {};  // closed when the branch itself arrives
  return split_log(id, *space, log, position);
}

// ---- Rosters and proposals ---------------------------------------------------------------------------------------------

Result<Ledger::RosterResult> Ledger::append_roster(const SpaceId& id, Position first, const std::vector<Bytes>& entries) {
  RosterResult out;
  Space* space = find(id);
  std::optional<Roster> next;
  if (space && space->roster) next = *space->roster;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Position position = first + i;
    if (next && position < next->size() && equal(next->entry_at(position), entries[i])) continue;
    if (!next) {
      if (position != 0) {
        out.status = Error(Code::conflict, "a roster is handed in from its founding entry on");
        break;
      }
      DOORSTEP_ASSIGN(const auto authorities, store_.authorities());
      auto founded = admit_founding(id, entries[i], authorities, open_);
      if (!founded) {
        out.status = founded.error();
        break;
      }
      next = std::move(*founded);
    } else if (auto status = next->append(entries[i]); !status) {
      if (status.code() == Code::already_exists) continue;
      out.status = status;
      break;
    }
    DOORSTEP_TRY(store_.append_roster(id, next->size() - 1, entries[i]));
    ++out.appended;
  }
  if (out.appended == 0) return out;
  if (space) {
    undo_.push_back([this, id, old = space->roster] { spaces_[id].roster = old; });
  } else {
    undo_.push_back([this, id] { spaces_.erase(id); });
  }
  spaces_[id].roster = std::make_shared<const Roster>(std::move(*next));
  DOORSTEP_TRY(drop_answered(id, *spaces_[id].roster));
  return out;
}

Status Ledger::drop_answered(const SpaceId& id, const Roster& roster) {
  DOORSTEP_ASSIGN(const auto waiting, store_.proposals(id));
  for (const auto& [key, bytes] : waiting)
    if (proposal_is_answered(roster, bytes)) DOORSTEP_TRY(store_.drop_proposal(id, key));
  return {};
}

Result<Ledger::ProposalResult> Ledger::put_proposal(const SpaceId& id, const Proposer& from, ByteView bytes) {
  ProposalResult out;
  const auto held = roster(id);
  if (!held) {
    out.status = Error(Code::not_found, "the relay does not hold this space");
    return out;
  }
  const auto admitted = admit_proposal(*held, from, bytes);
  if (!admitted) {
    out.status = admitted.error();
    return out;
  }
  DOORSTEP_ASSIGN(const auto waiting, store_.proposals(id));
  const bool replaces = std::any_of(waiting.begin(), waiting.end(), [&](const auto& other) { return other.first == admitted->key; });
  if (!replaces && waiting.size() >= proposals_per_space_max) {
    out.status = Error(Code::full, "too many proposals wait in this space: the sequencer has to answer them first");
    return out;
  }
  DOORSTEP_TRY(store_.put_proposal(id, admitted->key, bytes));
  return out;
}

// ---- Reading -----------------------------------------------------------------------------------------------------------

SharedRoster Ledger::roster(const SpaceId& id) const {
  const Space* space = find(id);
  return space ? space->roster : nullptr;
}

std::vector<LogHead> Ledger::heads(const SpaceId& id) const {
  std::vector<LogHead> out;
  if (const Space* space = find(id))
    for (const auto& [log_id, log] : space->logs) out.push_back({log.name, log_id, log.position, log.hash});
  return out;
}

std::optional<LogHead> Ledger::head(const SpaceId& id, const LogId& log_id) const {
  const Space* space = find(id);
  if (!space) return std::nullopt;
  const auto at = space->logs.find(log_id);
  if (at == space->logs.end()) return std::nullopt;
  return LogHead{at->second.name, log_id, at->second.position, at->second.hash};
}

std::vector<SpaceId> Ledger::spaces() const {
  std::vector<SpaceId> out;
  for (const auto& [id, space] : spaces_) out.push_back(id);
  return out;
}

Result<Ledger::Loaded> Ledger::load_segments(const SpaceId& id, const LogId& log_id, Position after, const std::optional<ShortHash>& expect,
                                             std::size_t bytes_max) {
  Loaded out;
  const Space* space = find(id);
  const auto log = space ? space->logs.find(log_id) : decltype(space->logs.find(log_id)){};
  if (!space || log == space->logs.end() || after >= log->second.position) return out;
  if (expect && after > log->second.name.starts_after) {
    DOORSTEP_ASSIGN(const auto hash, store_.hash_at(log->second.number, after));
    out.diverged = !hash || shorten(*hash) != *expect;
    if (out.diverged) return out;
  }
  DOORSTEP_ASSIGN(auto segments, store_.segments(log->second.number, std::max(after, log->second.name.starts_after), bytes_max));
  for (auto& segment : segments) out.segments.push_back(std::make_shared<const Bytes>(std::move(segment.bytes)));
  return out;
}

std::vector<Bytes> Ledger::load_roster(const SpaceId& id, Position from, std::size_t bytes_max) const {
  std::vector<Bytes> out;
  const auto held = roster(id);
  std::size_t bytes = 0;
  for (Position at = from; held && at < held->size() && bytes < bytes_max; ++at) {
    out.push_back(held->entry_at(at));
    bytes += out.back().size();
  }
  return out;
}

Result<std::vector<std::pair<Position, ShortHash>>> Ledger::locator(const SpaceId& id, const LogId& log_id) {
  std::vector<std::pair<Position, ShortHash>> out;
  const Space* space = find(id);
  const auto log = space ? space->logs.find(log_id) : decltype(space->logs.find(log_id)){};
  if (!space || log == space->logs.end()) return out;
  for (const auto position : locator_positions(log->second.name.starts_after, log->second.position)) {
    DOORSTEP_ASSIGN(const auto hash, store_.hash_at(log->second.number, position));
    if (hash) out.emplace_back(position, shorten(*hash));
  }
  return out;
}

Result<Position> Ledger::locate(const SpaceId& id, const LogId& log_id, std::vector<std::pair<Position, ShortHash>> locator) {
  const Space* space = find(id);
  const auto log = space ? space->logs.find(log_id) : decltype(space->logs.find(log_id)){};
  if (!space || log == space->logs.end()) return Position{0};
  std::sort(locator.rbegin(), locator.rend());
  for (const auto& [position, short_hash] : locator) {
    if (position > log->second.position || position <= log->second.name.starts_after) continue;
    DOORSTEP_ASSIGN(const auto hash, store_.hash_at(log->second.number, position));
    if (hash && shorten(*hash) == short_hash) return position;
  }
  return log->second.name.starts_after;
}

Result<std::vector<Bytes>> Ledger::proposals(const SpaceId& id) {
  DOORSTEP_ASSIGN(auto waiting, store_.proposals(id));
  std::vector<Bytes> out;
  for (auto& [key, bytes] : waiting) out.push_back(std::move(bytes));
  return out;
}

void Ledger::forget(ConnectionId connection) {
  const auto drop = [&](auto& map) {
    const auto first = map.lower_bound(Place{connection, LogId{}});
    auto last = first;
    while (last != map.end() && last->first.connection == connection) ++last;
    map.erase(first, last);
  };
  drop(conflicts_);
  drop(refusals_);
}

}  // namespace doorstep::relay
