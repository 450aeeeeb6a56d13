// Counts what this thread takes from the heap, so that a test can say "a length bomb allocates nothing". Replaces operator new for the
// whole test program (allocations.cpp).
#pragma once

#include <cstddef>

namespace doorstep {

/// Bytes that operator new gave out on this thread while it lives, and the largest single piece.
class AllocationCounter {
 public:
  AllocationCounter();
  ~AllocationCounter();
  AllocationCounter(const AllocationCounter&) = delete;
  AllocationCounter& operator=(const AllocationCounter&) = delete;
  std::size_t bytes() const;
  std::size_t largest() const;
};

}  // namespace doorstep
