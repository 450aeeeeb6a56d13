// The operating system's clocks.
#pragma once

#include "sync/env.hpp"

namespace doorstep {

class SystemClock final : public Clock {
 public:
  std::int64_t wall_ms() override;
  std::int64_t steady_ms() override;  ///< Goes on while the phone sleeps, where the system can say.
};

}  // namespace doorstep
