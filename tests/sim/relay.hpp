// A relay: the products' ledger, hub, worker and conversations, without sockets and threads.
#pragma once

#include <memory>
#include <optional>

#include "server/conversation.hpp"
#include "server/store/sqlite_store.hpp"
#include "tests/server/memory_store.hpp"
#include "tests/sim/device.hpp"

namespace doorstep::sim {

class SimRelay {
 public:
  SimRelay(Timeline& timeline, Level level, std::size_t number, std::uint64_t seed, const DeviceId& authority);
  ~SimRelay();

  /// False: its disk is dead; it is to be started again after a power cut.
  bool start();
  /// Its process ends. Conversations have to be gone.
  void stop();
  void power_cut(std::uint64_t seed);
  /// Lets the worker have its turn soon.
  void kick();
  bool is_up() const { return hub_.has_value(); }
  bool broken() const { return broken_; }
  relay::Shared& shared() { return *shared_; }
  relay::Hub& hub() { return *hub_; }
  relay::Ledger& ledger() { return *ledger_; }
  relay::LogStore& store() { return *store_; }
  const relay::Config& config() const { return config_; }
  fault::SimulatedDisk* disk() { return disk_.get(); }  ///< nullptr in memory.
  const StoreId& store_id() const { return identity_.store; }
  RelayAddress address() const;

  struct Copy {
    fault::Image disk;
    std::shared_ptr<const relay::MemoryStore> memory;
  };
  Copy copy() const;
  /// An old copy comes back (or none: an empty disk). `new_identity`: as `restore` makes one.
  void restore(const std::optional<Copy>& copy, bool new_identity);
  /// Every byte that it keeps, for the search for what it must not know.
  std::vector<Bytes> bytes() const;

  DeviceClock clock;
  bool newer = false;      ///< It speaks a protocol version more.
  bool went_back = false;  ///< An old copy came back under the same identity: receipts may say more than it holds, until the next sync.

 private:
  void replace_disk(const fault::Image& image);

  Timeline& timeline_;
  Level level_;
  std::size_t number_;
  DiceRandom random_;
  relay::Config config_;
  relay::StoreIdentity identity_;
  DeviceId authority_;
  std::unique_ptr<fault::SimulatedDisk> disk_;
  fault::Image born_from_;
  std::unique_ptr<relay::LogStore> store_;
  std::optional<relay::Ledger> ledger_;
  std::optional<relay::Hub> hub_;
  std::optional<relay::Worker> worker_;
  std::optional<relay::Shared> shared_;
  bool kicked_ = false, broken_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace doorstep::sim
