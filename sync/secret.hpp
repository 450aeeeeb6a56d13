// Secret<N>: N bytes that do not print, copy or compare, live in guarded, locked memory, and are wiped.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "sync/bytes.hpp"

namespace doorstep {

namespace detail {
void* secret_allocate(std::size_t size);  // sodium_malloc: guard pages, mlock where the limit allows
void secret_free(void* memory) noexcept;  // wipes first
void secret_wipe(void* memory, std::size_t size) noexcept;
}  // namespace detail

template <std::size_t N>
class Secret {
 public:
  static constexpr std::size_t size_bytes = N;

  Secret() : memory_(static_cast<std::uint8_t*>(detail::secret_allocate(N))) { std::memset(memory_, 0, N); }
  explicit Secret(std::span<const std::uint8_t, N> bytes) : Secret() { std::memcpy(memory_, bytes.data(), N); }
  Secret(Secret&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}
  Secret& operator=(Secret&& other) noexcept {
    std::swap(memory_, other.memory_);
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() {
    if (memory_) detail::secret_free(memory_);
  }

  /// The bytes, for one expression. Whoever keeps them has to wipe them.
  std::span<const std::uint8_t, N> reveal() const { return std::span<const std::uint8_t, N>(memory_, N); }
  std::span<std::uint8_t, N> reveal_mutable() { return std::span<std::uint8_t, N>(memory_, N); }
  /// An explicit second copy, where two owners are meant.
  Secret duplicate() const { return Secret(reveal()); }

 private:
  std::uint8_t* memory_;
};

/// Wipes ordinary memory that held a secret for a moment.
inline void wipe(std::span<std::uint8_t> bytes) { detail::secret_wipe(bytes.data(), bytes.size()); }

}  // namespace doorstep
