// Ledger: what the relay holds, as the worker thread knows it: rosters and log heads in memory, everything else in the store.
// It judges what comes in (admission.hpp) and writes it inside the store's open transaction.
//
// Invariants:
// 1. Between begin() and commit() changes are noted; rollback() undoes them here and in the store, so memory never runs ahead of
//    the disk.
//    Also after std::bad_alloc, which any call may throw: whoever runs the transaction catches it and rolls back.
// 2. A log's hash chain is whole: a segment enters only behind the one that it names.
// 3. Once a log was split it is closed: what would continue it is Code::conflict, so that everybody comes to the same branches.
// 4. A conflict is answered once for one place and peer; the second time the segment is called forged (Code::unauthenticated), so
//    nobody runs in circles.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include "server/admission.hpp"
#include "server/store/log_store.hpp"

namespace doorstep::relay {

using ConnectionId = std::uint64_t;
using SharedRoster = std::shared_ptr<const Roster>;

struct Quotas {
  std::uint64_t space_bytes_max = 0;      ///< Of segments. 0: none.
  std::uint64_t authority_bytes_max = 0;  ///< Of segments in all spaces of an authority. 0: none.
};

class Ledger {
 public:
  Ledger(LogStore& store, Quotas quotas) : store_(store), quotas_(quotas) {}
  /// Reads and checks every roster, and the logs' heads.
  Status load();

  // The transaction ---------------------------------------------------------------------------------------------------
  Status begin();
  Status commit();
  void rollback();

  // Writing, inside it ------------------------------------------------------------------------------------------------
  struct AppendResult {
    Session::Stored stored;    ///< Without a receipt.
    Position first_new = 0;    ///< 0: nothing new.
    std::size_t new_from = 0;  ///< Index of the first new segment.
    std::size_t new_count = 0;
    bool split = false;  ///< The space's logs changed their names.
    std::string why;     ///< Of a refusal.
  };
  /// An error only if the store failed (full, io, corrupt): then the whole transaction is to be rolled back.
  Result<AppendResult> append_segments(ConnectionId from, const TransportPublicKey& carrier, const SpaceId& space, const LogName& name,
                                       Position first, const std::vector<SharedBytes>& segments);
  /// The store failed under what a connection had sent: what it sent behind it gets the same answer.
  void note_refused(ConnectionId from, const SpaceId& id, const LogName& name, Code code) { refusals_[{from, name.id(id)}] = code; }
  struct RosterResult {
    Status status;
    std::size_t appended = 0;
  };
  Result<RosterResult> append_roster(const SpaceId& space, Position first, const std::vector<Bytes>& entries);
  Status split(const SpaceId& space, const LogId& log, Position position);
  struct ProposalResult {
    Status status;
  };
  Result<ProposalResult> put_proposal(const SpaceId& space, const Proposer& from, ByteView bytes);

  // Reading -----------------------------------------------------------------------------------------------------------
  SharedRoster roster(const SpaceId& space) const;
  std::vector<LogHead> heads(const SpaceId& space) const;
  std::optional<LogHead> head(const SpaceId& space, const LogId& log) const;
  std::vector<SpaceId> spaces() const;
  struct Loaded {
    std::vector<SharedBytes> segments;
    bool diverged = false;
  };
  Result<Loaded> load_segments(const SpaceId& space, const LogId& log, Position after, const std::optional<ShortHash>& expect,
                               std::size_t bytes_max);
  std::vector<Bytes> load_roster(const SpaceId& space, Position from, std::size_t bytes_max) const;
  Result<std::vector<std::pair<Position, ShortHash>>> locator(const SpaceId& space, const LogId& log);
  Result<Position> locate(const SpaceId& space, const LogId& log, std::vector<std::pair<Position, ShortHash>> locator);
  Result<std::vector<Bytes>> proposals(const SpaceId& space);

  /// A connection is gone: what was noted about it goes too.
  void forget(ConnectionId connection);

 private:
  struct Log {
    LogNumber number = 0;
    LogName name;
    Position position = 0;
    Hash hash;
    bool closed = false;
  };
  struct Space {
    SharedRoster roster;
    std::map<LogId, Log> logs;
    std::map<DeviceId, std::size_t> logs_of_device;
    std::uint64_t bytes = 0;
  };
  struct Place {
    ConnectionId connection = 0;
    LogId log;
    auto operator<=>(const Place&) const = default;
  };

  class Appending;
  Space* find(const SpaceId& space);
  const Space* find(const SpaceId& space) const;
  /// Notes the space as it is, so that rollback() can bring it back.
  void touch(const SpaceId& id, const Space& space);
  void touch_log(const SpaceId& id, const LogId& log, const Space& space);
  static void add_log(Space& space, const LogId& id, const Log& log);
  Status split_log(const SpaceId& id, Space& space, const LogId& log, Position position);
  Status drop_answered(const SpaceId& id, const Roster& roster);
  Status within_quota(const Space& space, std::size_t bytes) const;

  LogStore& store_;
  Quotas quotas_;
  bool open_ = false;
  std::map<SpaceId, Space> spaces_;
  std::map<DeviceId, std::uint64_t> bytes_of_authority_;
  std::vector<std::function<void()>> undo_;
  std::map<Place, Position> conflicts_;  ///< Answered to that peer, at that position.
  std::map<Place, Code> refusals_;       ///< What is in flight behind a refused segment gets the same answer.
};

/// Positions to compare two logs by: dense at the head, doubling steps from both ends (a second round on what is left then always
/// halves it). Ascending, at most 80.
std::vector<Position> locator_positions(Position starts_after, Position head);

}  // namespace doorstep::relay
