// Everything that is random in a run comes from its seed.
#pragma once

#include <cstring>
#include <span>

#include "sync/env.hpp"
#include "tests/fault/crash_vfs.hpp"

namespace doorstep::sim {

using fault::Dice;

/// Another stream from the same seed: what one part of the world draws shifts nothing elsewhere, so that a script can lose a step.
inline std::uint64_t mixed(std::uint64_t seed, std::uint64_t stream) { return Dice(seed ^ (stream + 1) * 0xD1B54A32D192ED03u).next(); }

class DiceRandom final : public Random {
 public:
  explicit DiceRandom(std::uint64_t seed) : dice_(seed) {}
  void fill(std::span<std::uint8_t> out) override {
    for (std::size_t at = 0; at < out.size(); at += 8) {
      const std::uint64_t word = dice_.next();
      std::memcpy(out.data() + at, &word, std::min<std::size_t>(8, out.size() - at));
    }
  }

 private:
  Dice dice_;
};

/// libsodium's and SQLite's own generators, for what draws from them directly (sealed boxes, a WAL's salts). Of the whole process.
void seed_process(std::uint64_t seed);

}  // namespace doorstep::sim
