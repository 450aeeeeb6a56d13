// A device: a store on a simulated disk, a clock of its own, and the process that has it open, when one has.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "doorstep/doorstep.hpp"
#include "sdk/core/core.hpp"
#include "tests/sim/clock.hpp"
#include "tests/sim/dice.hpp"

namespace doorstep::sim {

enum class Level : std::uint8_t {
  memory,  ///< Pages in the clear on a disk in memory; a power cut takes what was not synced, whole.
  sqlite,  ///< Sealed pages; a power cut also tears and garbles.
};

/// The record kind of the simulator: a field for each policy.
const Schema& sim_schema();

struct DeviceImage {
  fault::Image disk;
  std::shared_ptr<const SymmetricKey> key;
  DeviceId id;
};
/// A store as `doorstep init` leaves it. Number n has the same keys in every run; made once a process.
const DeviceImage& newborn_device(Level level, std::size_t n);

class SimDevice {
 public:
  SimDevice(const Timeline& timeline, Level level, std::size_t number, std::string name, std::uint64_t seed);
  ~SimDevice();

  /// Starts the program. An error is what it would tell its user.
  Status open();
  /// Ends it in an orderly way.
  void close();
  /// The power goes; the disk is left as `damage` says.
  void power_cut(std::uint64_t seed);
  bool is_open() const { return replica_.has_value(); }
  Replica& replica() { return *replica_; }
  Core& core() { return *replica_->core(); }
  fault::SimulatedDisk& disk() { return *disk_; }
  /// What stands on its disk. Only while it is closed, or as a running process sees it.
  fault::Image image() const { return disk_->image(); }
  void replace_disk(const fault::Image& image);
  /// A twin: the directory copied to another machine.
  std::unique_ptr<SimDevice> clone(std::string name, std::uint64_t seed) const;

  const std::string& name() const { return name_; }
  std::size_t number() const { return number_; }
  DeviceClock clock;
  bool cloned = false;    ///< Its identity lives twice (or bytes of it changed): its logs may fork.
  bool restored = false;  ///< An old copy of it came back: it is to find out before it sends anything.
  std::optional<fault::Image> backup;
  bool lost = false;  ///< Its disk is beyond help: nobody opens it any more.
  bool full = false;
  bool rotten = false;     ///< Bytes of its disk were changed: it may say so at any time.
  bool restoring = false;  ///< What it lacks now is counted in a moment.

 private:
  const Timeline& timeline_;
  Level level_;
  std::size_t number_;
  std::string name_;
  DiceRandom random_;
  std::unique_ptr<fault::SimulatedDisk> disk_;
  fault::Image born_from_;
  Platform platform_;
  std::optional<Replica> replica_;
};

}  // namespace doorstep::sim
