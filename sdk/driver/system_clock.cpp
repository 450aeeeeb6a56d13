#include "sdk/driver/system_clock.hpp"

#include <ctime>

namespace doorstep {

namespace {
std::int64_t clock_ms(clockid_t which) {
  timespec now{};
  clock_gettime(which, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}
}  // namespace

std::int64_t SystemClock::wall_ms() { return clock_ms(CLOCK_REALTIME); }
std::int64_t SystemClock::steady_ms() {
#ifdef CLOCK_BOOTTIME
  return clock_ms(CLOCK_BOOTTIME);
#else
  return clock_ms(CLOCK_MONOTONIC);
#endif
}

}  // namespace doorstep
