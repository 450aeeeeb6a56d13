#include "tests/fault/failing_heap.hpp"

#include <cstdlib>
#include <new>

#include <sqlite3.h>

#include "sync/check.hpp"
#include "tests/fault/crash_vfs.hpp"

namespace {

using doorstep::fault::Heap;

struct Plan {
  bool armed = false;
  Heap heap = Heap::ours;
  std::uint64_t n = 0, count = 0;
  bool for_good = false;
};
thread_local Plan plan;

bool fails(Heap heap) {
  if (!plan.armed || plan.heap != heap || doorstep::fault::AtWork::now()) return false;
  ++plan.count;
  return plan.count == plan.n || (plan.for_good && plan.count > plan.n);
}

// ---- SQLite's: its own allocator, asked by ours. It must be told before anything of it is used.

sqlite3_mem_methods below;

void* sqlite_malloc(int bytes) { return fails(Heap::sqlite) ? nullptr : below.xMalloc(bytes); }
void* sqlite_realloc(void* old, int bytes) { return fails(Heap::sqlite) ? nullptr : below.xRealloc(old, bytes); }

[[maybe_unused]] const bool configured = [] {
  DOORSTEP_CHECK(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &below) == SQLITE_OK);
  sqlite3_mem_methods ours = below;
  ours.xMalloc = sqlite_malloc;
  ours.xRealloc = sqlite_realloc;
  DOORSTEP_CHECK(sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) == SQLITE_OK);
  return true;
}();

}  // namespace

// ---- Ours: every form but the aligned ones, so that none of the sanitizer's is freed by one of these.

void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return fails(Heap::ours) ? nullptr : std::malloc(size == 0 ? 1 : size);
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

namespace doorstep::fault {

ShortOfMemory::ShortOfMemory(Heap heap, std::uint64_t n, bool for_good) { plan = {true, heap, n, 0, for_good}; }
ShortOfMemory::~ShortOfMemory() { plan.armed = false; }
bool ShortOfMemory::happened() { return plan.count >= plan.n; }

}  // namespace doorstep::fault
