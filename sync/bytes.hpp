// Bytes, and views of them. Nothing here allocates on behalf of a peer.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sync/result.hpp"

namespace doorstep {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

inline ByteView view(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }
inline std::string_view text_view(ByteView bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline Bytes to_bytes(ByteView bytes) { return {bytes.begin(), bytes.end()}; }
inline void append(Bytes& out, ByteView bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }
inline bool equal(ByteView a, ByteView b) { return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0); }

/// Lower-case hexadecimal.
std::string to_hex(ByteView bytes);
/// Accepts either case; Code::invalid_argument on an odd length or another character.
Result<Bytes> from_hex(std::string_view hex);

/// N bytes with a type of their own: a hash is not a key and an id is not a hash.
template <class Tag, std::size_t N>
struct FixedBytes {
  static constexpr std::size_t size_bytes = N;
  std::array<std::uint8_t, N> data{};

  auto operator<=>(const FixedBytes&) const = default;
  ByteView view() const { return data; }
  std::string hex() const { return to_hex(data); }
  bool is_zero() const { return data == std::array<std::uint8_t, N>{}; }

  static FixedBytes from(ByteView bytes) {
    DOORSTEP_CHECK(bytes.size() == N);
    FixedBytes out;
    std::memcpy(out.data.data(), bytes.data(), N);
    return out;
  }
  static Result<FixedBytes> parse(std::string_view hex) {
    DOORSTEP_ASSIGN(Bytes bytes, from_hex(hex));
    if (bytes.size() != N)
      return Error(Code::invalid_argument, "expected " + std::to_string(2 * N) + " hexadecimal digits, got " + std::to_string(hex.size()));
    return from(bytes);
  }
};

/// For unordered containers: the first 8 bytes. Only for values that are uniformly distributed (hashes, random ids, keys).
struct FixedBytesHash {
  template <class Tag, std::size_t N>
  std::size_t operator()(const FixedBytes<Tag, N>& bytes) const {
    static_assert(N >= sizeof(std::size_t));
    std::size_t out;
    std::memcpy(&out, bytes.data.data(), sizeof out);
    return out;
  }
};

}  // namespace doorstep
