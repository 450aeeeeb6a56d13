// LogStore: what a relay keeps, blind. Rosters, logs of sealed segments, proposals, and the relay's own identity.
// SQLite implements it (sqlite_store.hpp); tests/server/log_store_contract.hpp holds every implementation to this contract:
//
// 1. Between begin() and commit() nothing is durable; after commit() returned ok everything is, through a power cut. rollback(), or
//    a failed commit(), leaves what stood before begin(). Reading sees the open transaction.
// 2. Positions of a log are contiguous: append_segment() takes only the next one (Code::conflict otherwise). Of a roster as well.
// 3. The store believes its caller: signatures, rights and chains are judged before (admission.hpp). It checks only 2 and its bounds.
// 4. Failures: Code::full (nothing half-written; the same call may work later), Code::corrupt (a file fails its check), Code::io
//    (the device refuses: whoever serves from this store stops writing, because after a failed sync nothing is known). Where memory is
//    short a call is Code::full or throws std::bad_alloc; after rollback() nothing of the transaction is left.
// 5. One thread. A second process may read at any time, and add authorities.
#pragma once

#include <optional>
#include <vector>

#include "sync/crypto.hpp"
#include "sync/session.hpp"

namespace doorstep::relay {

/// The store's own short name of a log.
using LogNumber = std::uint32_t;
/// A log's number and a position make one 64-bit key.
inline constexpr Position position_max = 0xffff'ffff;

/// Who the relay is. `restore` makes a new StoreId and keeps the keys.
struct StoreIdentity {
  StoreId store;
  IdentityKeyPair receipts;    ///< Signs receipts.
  TransportKeyPair transport;  ///< What devices pin.
  bool open = false;           ///< Any authority may found a space here.
};

struct StoredLog {
  LogNumber number = 0;
  SpaceId space;
  LogName name;
  LogId id;               ///< name.id(space)
  Position position = 0;  ///< Of its last segment; for an empty log 0, for an empty branch name.starts_after.
  Hash hash;              ///< Of its last segment; zeros if it holds none.
  bool closed = false;    ///< It was split at its head: what comes next is a branch.
};

struct StoredSegment {
  Position position = 0;
  Hash hash;
  Bytes bytes;
};

struct SpaceCounts {
  SpaceId space;
  std::uint64_t roster_entries = 0;
  std::uint64_t logs = 0;
  std::uint64_t segments = 0;
  std::uint64_t segment_bytes = 0;
  std::uint64_t proposals = 0;
};

class LogStore {
 public:
  virtual ~LogStore() = default;

  // Identity ----------------------------------------------------------------------------------------------------------
  virtual Result<StoreIdentity> identity() = 0;
  /// Whose founding entries are taken. Read anew each time: another process may have added one.
  virtual Result<std::vector<DeviceId>> authorities() = 0;
  virtual Status allow(const DeviceId& authority) = 0;

  // Transactions ------------------------------------------------------------------------------------------------------
  virtual Status begin() = 0;
  virtual Status commit() = 0;
  virtual void rollback() = 0;
  /// Moves the journal into the database and gives its room back. For idle moments and before exit.
  virtual Status checkpoint() = 0;

  // Rosters -----------------------------------------------------------------------------------------------------------
  virtual Result<std::vector<SpaceId>> spaces() = 0;
  virtual Status append_roster(const SpaceId& space, Position position, ByteView entry) = 0;
  /// Entries from `from` on, together about `bytes_max` (at least one, if there is one).
  virtual Result<std::vector<Bytes>> roster(const SpaceId& space, Position from, std::size_t bytes_max) = 0;

  // Logs --------------------------------------------------------------------------------------------------------------
  virtual Result<std::vector<StoredLog>> logs() = 0;
  /// Code::already_exists if the space has a log of this id.
  virtual Result<LogNumber> create_log(const SpaceId& space, const LogName& name) = 0;
  virtual Status append_segment(LogNumber log, Position position, const Hash& hash, ByteView bytes) = 0;
  /// Segments after `after`, ascending, together about `bytes_max` (at least one, if there is one).
  virtual Result<std::vector<StoredSegment>> segments(LogNumber log, Position after, std::size_t bytes_max) = 0;
  virtual Result<std::optional<Hash>> hash_at(LogNumber log, Position position) = 0;
  /// Moves the segments above `position` to a new log of the name `branch`, and closes this one. Without any above it only closes
  /// (and returns nullopt).
  virtual Result<std::optional<LogNumber>> split(LogNumber log, Position position, const LogName& branch) = 0;

  // Proposals: small, few, dropped when the roster has answered ----------------------------------------------------------
  /// Replaces one of the same key. Code::full above proposals_per_space_max.
  virtual Status put_proposal(const SpaceId& space, const Hash& key, ByteView bytes) = 0;
  virtual Status drop_proposal(const SpaceId& space, const Hash& key) = 0;
  virtual Result<std::vector<std::pair<Hash, Bytes>>> proposals(const SpaceId& space) = 0;

  // For people --------------------------------------------------------------------------------------------------------
  virtual Result<std::vector<SpaceCounts>> counts() = 0;
};

inline constexpr std::size_t proposals_per_space_max = 256;
inline constexpr std::size_t proposal_bytes_max = 4096;

}  // namespace doorstep::relay
