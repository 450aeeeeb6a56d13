// The seams for time and randomness. Always passed in, never global, so that the simulator replaces them whole.
#pragma once

#include <cstdint>
#include <span>

namespace doorstep {

class Clock {
 public:
  virtual ~Clock() = default;
  /// Milliseconds since 1970-01-01T00:00Z as the device believes; may jump by twenty years.
  virtual std::int64_t wall_ms() = 0;
  /// Milliseconds of a clock that never goes back while the process lives.
  virtual std::int64_t steady_ms() = 0;
};

class Random {
 public:
  virtual ~Random() = default;
  /// Fills `out` with bytes that nobody can predict.
  virtual void fill(std::span<std::uint8_t> out) = 0;

  /// A random id: `random.make<RecordId>()`.
  template <class Fixed>
  Fixed make() {
    Fixed out;
    fill(out.data);
    return out;
  }
};

}  // namespace doorstep
