// The default LogStore: one SQLite file in the relay's directory, nothing to install.
//
//   DIR/relay.db   mode 0600: identity with both secret keys, authorities, rosters, logs, segments, proposals
//   DIR/lock       held while a process serves from the directory
//
//   identity   (one row) store, receipt secret, transport secret, open
//   authority  device
//   space      number, id                                 a short name, so that the rows below stay lean
//   roster     number << 32 | position, entry
//   log        number, space, id, device, incarnation, branch, starts_after, closed
//   segment    log << 32 | position, hash 32, bytes       the head of a log is its last row: nothing else is written for a segment
//   proposal   space, key, bytes
//
// WAL, synchronous=FULL: one fsync for a commit. A cache of 2 MiB, no mmap.
#pragma once

#include <memory>
#include <string>

#include "server/store/log_store.hpp"

namespace doorstep::relay {

/// `vfs`, for the fault lab and the simulator: the name of the file layer that SQLite is to use, where there are no directories and
/// nobody else; nullptr: the system's.
class SqliteStore final : public LogStore {
 public:
  /// Makes the directory and the store in it. Code::already_exists if one is there: nothing is ever overwritten.
  static Status create(const std::string& directory, const std::vector<DeviceId>& authorities, bool open, Random& random,
                       const char* vfs = nullptr);
  enum class Mode {
    serve,      ///< Alone: Code::busy if another process serves from it.
    amend,      ///< Beside a serving process: for allow().
    read_only,  ///< Beside a serving process.
  };
  /// Code::not_found, Code::busy, Code::corrupt (not a relay's store), Code::unsupported (a newer format).
  static Result<std::unique_ptr<SqliteStore>> open(const std::string& directory, Mode mode, const char* vfs = nullptr);
  ~SqliteStore() override;

  Result<StoreIdentity> identity() override;
  Result<std::vector<DeviceId>> authorities() override;
  Status allow(const DeviceId& authority) override;
  Status begin() override;
  Status commit() override;
  void rollback() override;
  Status checkpoint() override;
  Result<std::vector<SpaceId>> spaces() override;
  Status append_roster(const SpaceId& space, Position position, ByteView entry) override;
  Result<std::vector<Bytes>> roster(const SpaceId& space, Position from, std::size_t bytes_max) override;
  Result<std::vector<StoredLog>> logs() override;
  Result<LogNumber> create_log(const SpaceId& space, const LogName& name) override;
  Status append_segment(LogNumber log, Position position, const Hash& hash, ByteView bytes) override;
  Result<std::vector<StoredSegment>> segments(LogNumber log, Position after, std::size_t bytes_max) override;
  Result<std::optional<Hash>> hash_at(LogNumber log, Position position) override;
  Result<std::optional<LogNumber>> split(LogNumber log, Position position, const LogName& branch) override;
  Status put_proposal(const SpaceId& space, const Hash& key, ByteView bytes) override;
  Status drop_proposal(const SpaceId& space, const Hash& key) override;
  Result<std::vector<std::pair<Hash, Bytes>>> proposals(const SpaceId& space) override;
  Result<std::vector<SpaceCounts>> counts() override;

 private:
  class Database;
  explicit SqliteStore(std::unique_ptr<Database> database);
  Result<std::uint32_t> space_number(const SpaceId& space, bool create);
  Result<Position> head_of(LogNumber log);

  std::unique_ptr<Database> db_;
};

}  // namespace doorstep::relay
