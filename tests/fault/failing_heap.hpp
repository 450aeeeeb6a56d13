// Memory that runs out. Replaces operator new and SQLite's allocator for the whole test program (failing_heap.cpp).
#pragma once

#include <cstdint>

namespace doorstep::fault {

enum class Heap : std::uint8_t { ours, sqlite };

/// While it lives, the n-th allocation of this thread from that heap fails: once, or all from then on.
class ShortOfMemory {
 public:
  ShortOfMemory(Heap heap, std::uint64_t n, bool for_good);
  ~ShortOfMemory();
  ShortOfMemory(const ShortOfMemory&) = delete;
  ShortOfMemory& operator=(const ShortOfMemory&) = delete;
  /// False: there was no n-th allocation.
  static bool happened();
};

}  // namespace doorstep::fault
