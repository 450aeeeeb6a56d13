// A device's clock as people and cheap hardware leave it: off by years, jumping, stuck.
#pragma once

#include "sync/env.hpp"
#include "tests/sim/timeline.hpp"

namespace doorstep::sim {

inline constexpr std::int64_t epoch_ms = 1'773'500'000'000;  // 2026-03-14: when every run begins

class DeviceClock final : public Clock {
 public:
  explicit DeviceClock(const Timeline& timeline) : timeline_(timeline) {}
  std::int64_t wall_ms() override { return epoch_ms + offset_ms + (stuck ? stuck_at_ms_ : timeline_.now_ms()); }
  std::int64_t steady_ms() override { return timeline_.now_ms() - booted_at_ms_; }
  void boot() { booted_at_ms_ = timeline_.now_ms(); }
  void stick() { stuck = true, stuck_at_ms_ = timeline_.now_ms(); }
  void mend() { offset_ms = 0, stuck = false; }
  std::int64_t offset_ms = 0;
  bool stuck = false;

 private:
  const Timeline& timeline_;
  std::int64_t booted_at_ms_ = 0;
  std::int64_t stuck_at_ms_ = 0;
};

}  // namespace doorstep::sim
