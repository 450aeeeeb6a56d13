// What happens in a run, all of it decided by the seed before it begins: a list of steps, of which a failing run's minimal part can
// be found by leaving some out. Each step has dice of its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/sim/connection.hpp"

namespace doorstep::sim {

enum class Act : std::uint8_t {
  write,
  edit,
  pair,
  bulk,
  resolve,  // people
  sync,
  stay,  // once; for a while
  rotate,
  role,
  cut,  // the desk's entries
  power_cut,
  power_cut_later,
  close,  // a device's process
  full,
  room,  // its disk
  backup,
  restore,
  clone,
  rot,  // copies of its directory, and damage to it
  clock_off,
  clock_stuck,
  clock_mended,
  partition,  // a device and a relay: both ways, up or down
  relay_cut,
  relay_cut_later,
  relay_backup,
  relay_restore,
  relay_wipe,
  relay_down,
  lose,  // a device, with its disk
};
inline constexpr std::size_t acts = static_cast<std::size_t>(Act::lose) + 1;
inline constexpr std::size_t phones_max = 3;
const char* act_name(Act act);

struct Step {
  std::int64_t at_ms = 0;
  Act act = Act::write;
  std::uint64_t who = 0;
  std::uint64_t dice = 0;
};

struct Script {
  std::uint64_t seed = 0;
  Level level = Level::memory;
  bool real_suite = false;
  bool newer_devices = false;  ///< Half of them speak a protocol version more than the relay.
  bool newer_relays = false;   ///< The relays do.
  std::size_t phones = 1;
  std::size_t relays = 1;
  NetworkFaults network;
  std::vector<Step> steps;  ///< In order of time.
  std::int64_t end_ms = 0;
};

Script make_script(std::uint64_t seed, Level level);
/// One line a step: milliseconds, act, who, dice.
std::string describe(const Step& step);
std::optional<Step> parse_step(const std::string& line);

}  // namespace doorstep::sim
