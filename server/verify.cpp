#include "server/verify.hpp"

#include <map>

#include "sync/roster.hpp"

namespace doorstep::relay {

namespace {

constexpr std::size_t chunk_bytes = 1u << 20;

class Verifier {
 public:
  Verifier(LogStore& store, const std::function<void(const Verified&)>& progress) : store_(store), progress_(progress) {}

  Result<Verified> run() {
    DOORSTEP_TRY(store_.identity());
    DOORSTEP_ASSIGN(const auto spaces, store_.spaces());
    for (const auto& space : spaces) DOORSTEP_TRY(roster(space));
    DOORSTEP_ASSIGN(logs_, store_.logs());
    for (const auto& log : logs_) DOORSTEP_TRY(this->log(log));
    if (progress_) progress_(done_);
    return done_;
  }

 private:
  static Error bad(const SpaceId& space, const std::string& what, const Error& why) {
    return {why.code(), "space " + space.hex().substr(0, 8) + ", " + what + ": " + why.message()};
  }

  Status roster(const SpaceId& space) {
    std::optional<Roster> roster;
    for (Position position = 0;;) {
      DOORSTEP_ASSIGN(const auto entries, store_.roster(space, position, chunk_bytes));
      if (entries.empty()) break;
      for (const auto& entry : entries) {
        const auto what = "roster entry " + std::to_string(position);
        if (!roster) {
          auto founded = Roster::found(entry);
          if (!founded) return bad(space, what, founded.error());
          roster = std::move(*founded);
          if (roster->space() != space) return bad(space, what, Error(Code::corrupt, "it founds another space"));
        } else if (const auto status = roster->append(entry); !status) {
          return bad(space, what, status.error());
        }
        ++position;
        ++done_.roster_entries;
      }
    }
    if (!roster) return bad(space, "roster", Error(Code::corrupt, "it has no entry"));
    rosters_.emplace(space, std::move(*roster));
    ++done_.spaces;
    return {};
  }

  // What may stand before the first segment of a log.
  Result<std::vector<Hash>> predecessors(const StoredLog& log) {
    if (log.name.starts_after == 0) return std::vector<Hash>{Hash{}};
    std::vector<Hash> out;
    for (const auto& other : logs_) {
      if (other.space != log.space || other.name.device != log.name.device || other.name.incarnation != log.name.incarnation) continue;
      DOORSTEP_ASSIGN(const auto hash, store_.hash_at(other.number, log.name.starts_after));
      if (hash) out.push_back(*hash);
    }
    return out;
  }

  Status log(const StoredLog& log) {
    const auto what = "log " + log.id.hex().substr(0, 8);
    const auto at = rosters_.find(log.space);
    if (at == rosters_.end()) return bad(log.space, what, Error(Code::corrupt, "the space has no roster"));
    if (log.name.id(log.space) != log.id) return bad(log.space, what, Error(Code::corrupt, "its id does not follow from its name"));
    if (!at->second.member(log.name.device)) return bad(log.space, what, Error(Code::no_right, "its device is not in the roster"));
    DOORSTEP_ASSIGN(auto previous, predecessors(log));
    Position position = log.name.starts_after;
    for (;;) {
      DOORSTEP_ASSIGN(const auto segments, store_.segments(log.number, position, chunk_bytes));
      if (segments.empty()) break;
      for (const auto& segment : segments) {
        ++position;
        if (const auto status = this->segment(at->second, log, position, segment, previous); !status)
          return bad(log.space, what + ", segment " + std::to_string(position), status.error());
        previous = {segment.hash};
        ++done_.segments;
        done_.bytes += segment.bytes.size();
      }
      if (progress_) progress_(done_);
    }
    ++done_.logs;
    return {};
  }

  static Status segment(const Roster& roster, const StoredLog& log, Position position, const StoredSegment& segment,
                        const std::vector<Hash>& previous) {
    if (segment.position != position) return Error(Code::corrupt, "it is missing");
    DOORSTEP_ASSIGN(const auto head, parse_segment(segment.bytes));
    const Hash* epoch = roster.epoch_entry_hash(head.epoch);
    if (!epoch) return Error(Code::corrupt, "its epoch is not in the roster");
    const bool first_of_branch = log.name.branch && position == log.name.starts_after + 1;
    if (first_of_branch && segment.hash != *log.name.branch) return Error(Code::corrupt, "the branch has another name");
    for (const auto& before : previous) {
      const SegmentPlace place{log.name.root_id(log.space), position, before};
      if (segment_hash(place, head, *epoch) != segment.hash) continue;
      DOORSTEP_TRY(verify_segment(place, head, *epoch, log.name.device));
      return {};
    }
    return Error(Code::corrupt, "it does not follow the segment before it, or its bytes have changed");
  }

  LogStore& store_;
  const std::function<void(const Verified&)>& progress_;
  Verified done_;
  std::map<SpaceId, Roster> rosters_;
  std::vector<StoredLog> logs_;
};

}  // namespace

Result<Verified> verify_store(LogStore& store, const std::function<void(const Verified&)>& progress) {
  return Verifier(store, progress).run();
}

}  // namespace doorstep::relay
