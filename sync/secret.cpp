#include "sync/secret.hpp"

#include <sodium.h>

#include <cstdlib>

namespace doorstep::detail {

#ifdef DOORSTEP_LAB
// Without guard pages, which cost ten system calls a key: the simulator makes thousands of worlds a second.
void* secret_allocate(std::size_t size) {
  void* memory = std::malloc(size);
  DOORSTEP_CHECK(memory != nullptr);
  return memory;
}
void secret_free(void* memory) noexcept { std::free(memory); }
#else
void* secret_allocate(std::size_t size) {
  DOORSTEP_CHECK(sodium_init() >= 0);
  void* memory = sodium_malloc(size);
  // Out of memory for 32 bytes: nothing sensible can go on, and going on unguarded would be worse.
  DOORSTEP_CHECK(memory != nullptr);
  return memory;
}

void secret_free(void* memory) noexcept { sodium_free(memory); }
#endif
void secret_wipe(void* memory, std::size_t size) noexcept { sodium_memzero(memory, size); }

}  // namespace doorstep::detail
