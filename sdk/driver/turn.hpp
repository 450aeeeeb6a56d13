// Whose turn it is: the lock of a replica. The core needs no threads; where there are none, a turn is free.
#pragma once

#ifdef __wasi__

namespace doorstep {
struct Turn {
  void lock() {}
  void unlock() {}
};
template <class Lockable>
struct TakeTurn {
  explicit TakeTurn(Lockable&) {}
};
}  // namespace doorstep

#else

#include <mutex>

namespace doorstep {
using Turn = std::mutex;
template <class Lockable>
using TakeTurn = std::lock_guard<Lockable>;
}  // namespace doorstep

#endif
