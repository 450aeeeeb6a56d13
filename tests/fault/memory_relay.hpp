// A relay in this process and in memory, at the other end of a Link: the real channel, session and ledger, no socket and no disk.
#pragma once

#include <functional>

#include "doorstep/sync.hpp"
#include "server/ledger.hpp"
#include "tests/server/memory_store.hpp"

namespace doorstep::fault {

class MemoryRelay {
 public:
  explicit MemoryRelay(Random& random);
  /// The same relay in another state: nothing in it yet.
  std::unique_ptr<MemoryRelay> emptied() const;

  RelayAddress address() const { return {transport_.public_key, {"memory:1"}}; }
  relay::Ledger& ledger() { return *ledger_; }
  /// Takes what somebody else has handed in.
  Status put_roster(const SpaceId& space, const std::vector<Bytes>& entries);
  Status put_segments(const TransportPublicKey& carrier, const SpaceId& space, const LogName& name, Position first,
                      const std::vector<SharedBytes>& segments);

  /// One connection, until nobody has anything more to say. `heard` is called each time that bytes of the replica have arrived.
  Status sync(Replica& replica, const std::function<void()>& heard = {});
  std::map<LogId, Position> acknowledged;  ///< What replicas said that they have.

 private:
  class Connection;
  MemoryRelay(Random& random, StoreId store, IdentityKeyPair receipts, TransportKeyPair transport);

  Random& random_;
  StoreId store_id_;
  IdentityKeyPair receipts_;
  TransportKeyPair transport_;
  relay::MemoryStore store_;
  std::optional<relay::Ledger> ledger_;
};

}  // namespace doorstep::fault
