// A small generator of our own: std:: distributions differ between standard libraries, and a demo must not.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace doorstep {

class DemoRandom {
 public:
  explicit DemoRandom(std::uint32_t seed) : state_(seed) {}

  /// mulberry32: 32 bits of state, even enough for made-up villages and for nothing else.
  std::uint32_t next() {
    std::uint32_t t = state_ += 0x6D2B79F5u;
    t = (t ^ (t >> 15)) * (t | 1u);
    t ^= t + (t ^ (t >> 7)) * (t | 61u);
    return t ^ (t >> 14);
  }
  /// 0 .. bound - 1.
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>((std::uint64_t{next()} * bound) >> 32); }
  int between(int first, int last) { return first + static_cast<int>(below(static_cast<std::size_t>(last - first + 1))); }
  bool chance(int in_10000) { return below(10'000) < static_cast<std::size_t>(in_10000); }
  template <class Items>
  auto pick(const Items& items) {
    return items[below(items.size())];
  }
  /// An index, with these shares of their sum.
  template <class Shares>
  std::size_t weighted(const Shares& shares) {
    int sum = 0;
    for (const int share : shares) sum += share;
    int at = static_cast<int>(below(static_cast<std::size_t>(sum)));
    for (std::size_t i = 0; i < shares.size(); ++i)
      if ((at -= shares[i]) < 0) return i;
    return 0;
  }
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }
  std::string hex_id() {
    std::string out;
    for (int i = 0; i < 32; ++i) out.push_back("0123456789abcdef"[below(16)]);
    return out;
  }

  /// n indexes whose counts follow the shares as closely as whole numbers can (largest remainders), shuffled: a village of a
  /// hundred then looks like its figures, which independent draws would not give.
  template <class Shares>
  std::vector<std::size_t> spread(const Shares& shares, std::size_t n) {
    std::uint64_t sum = 0;
    for (const int share : shares) sum += static_cast<std::uint64_t>(share);
    std::vector<std::size_t> out;
    std::vector<std::pair<std::uint64_t, std::size_t>> rests;
    for (std::size_t i = 0; i < shares.size(); ++i) {
      const auto exact = static_cast<std::uint64_t>(shares[i]) * n;
      out.insert(out.end(), static_cast<std::size_t>(exact / sum), i);
      rests.emplace_back(sum - exact % sum, i);
    }
    std::sort(rests.begin(), rests.end());
    for (std::size_t i = 0; out.size() < n; ++i) out.push_back(rests[i].second);
    shuffle(out);
    return out;
  }
  /// n flags, `in_10000` of them true.
  std::vector<char> flags(int in_10000, std::size_t n) {
    std::vector<char> out(n, 0);
    const auto count = (static_cast<std::size_t>(in_10000) * n + 5000) / 10'000;
    for (std::size_t i = 0; i < count && i < n; ++i) out[i] = 1;
    shuffle(out);
    return out;
  }

 private:
  std::uint32_t state_;
};

}  // namespace doorstep
