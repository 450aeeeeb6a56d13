#include "tests/sync/allocations.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace {
thread_local bool counting = false;
thread_local std::size_t counted_bytes = 0, largest_piece = 0;
}  // namespace

// Every form but the aligned ones, so that none of the sanitizer's is freed by one of these.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  if (counting) {
    counted_bytes += size;
    largest_piece = std::max(largest_piece, size);
  }
  return std::malloc(size == 0 ? 1 : size);
}
void* operator new(std::size_t size) {
  if (void* out = operator new(size, std::nothrow)) return out;
  throw std::bad_alloc();
}
void* operator new[](std::size_t size) { return operator new(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return operator new(size, std::nothrow); }
void operator delete(void* pointer) noexcept { std::free(pointer); }
void operator delete[](void* pointer) noexcept { std::free(pointer); }
void operator delete(void* pointer, std::size_t) noexcept { std::free(pointer); }
void operator delete[](void* pointer, std::size_t) noexcept { std::free(pointer); }
void operator delete(void* pointer, const std::nothrow_t&) noexcept { std::free(pointer); }
void operator delete[](void* pointer, const std::nothrow_t&) noexcept { std::free(pointer); }

namespace doorstep {

AllocationCounter::AllocationCounter() {
  counted_bytes = largest_piece = 0;
  counting = true;
}
AllocationCounter::~AllocationCounter() { counting = false; }
std::size_t AllocationCounter::bytes() const { return counted_bytes; }
std::size_t AllocationCounter::largest() const { return largest_piece; }

}  // namespace doorstep
