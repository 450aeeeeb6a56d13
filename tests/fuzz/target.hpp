// What every fuzz target is: bytes in, a verdict out. README.md tells how to add one.
//
// The same target is linked twice: alone as the libFuzzer program fuzz_<name>, and with all others into tests_fuzz, which replays
// the committed corpus in every build and holds the verdicts against tests/fuzz/verdicts.txt: a replica built by another compiler must
// not judge the same bytes differently.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "sync/bytes.hpp"
#include "sync/env.hpp"

namespace doorstep::fuzz {

/// What a target decided about an input, as one number: codes, sizes and decoded bytes, in the order they were found. Nothing that
/// differs between runs (addresses, times, bytes of the system's generator) may go in.
class Verdict {
 public:
  void note(std::uint64_t number) {
    for (int i = 0; i < 8; ++i) mix(static_cast<std::uint8_t>(number >> 8 * i));
  }
  void note(Code code) { note(static_cast<std::uint64_t>(code)); }
  void note(const Status& status) { note(status.code()); }
  void note(ByteView bytes) {
    note(bytes.size());
    for (const auto byte : bytes) mix(byte);
  }
  std::uint64_t number() const { return state_; }

 private:
  void mix(std::uint8_t byte) { state_ = (state_ ^ byte) * 0x100000001b3u; }  // FNV-1a
  std::uint64_t state_ = 0xcbf29ce484222325u;
};

struct Seed {
  std::string name;
  Bytes bytes;
};

struct Target {
  std::string name;
  void (*run)(ByteView input, Verdict& verdict);
  std::vector<Seed> (*seeds)() = nullptr;  ///< Honest inputs, for corpus/<name>/; nullptr: they were made by hand.
};

/// Those linked into this program.
std::vector<Target>& targets();

/// One at namespace scope in each <name>_fuzz.cpp.
struct Registration {
  explicit Registration(Target target) { targets().push_back(std::move(target)); }
};

/// A promise that the input has broken: ends the process, so that the fuzzer keeps the input.
inline void require(bool condition, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (condition) return;
  std::fprintf(stderr, "%s:%d: a promise is broken\n", file, line);
  std::abort();
}

/// The same bytes in every run, so that an input found by the fuzzer means the same again.
class CountingRandom final : public Random {
 public:
  explicit CountingRandom(std::uint64_t state = 1) : state_(state) {}
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = static_cast<std::uint8_t>((state_ = state_ * 6364136223846793005u + 1442695040888963407u) >> 56);
  }

 private:
  std::uint64_t state_;
};

/// Reads an input as instructions; what is missing at the end is zero.
class Script {
 public:
  explicit Script(ByteView bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  std::uint8_t byte() {
    if (bytes_.empty()) return 0;
    const auto out = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return out;
  }
  std::uint16_t word() {
    const std::uint16_t low = byte();
    return static_cast<std::uint16_t>(low | byte() << 8);
  }
  ByteView take(std::size_t size) {
    const auto out = bytes_.first(size < bytes_.size() ? size : bytes_.size());
    bytes_ = bytes_.subspan(out.size());
    return out;
  }
  ByteView rest() { return take(bytes_.size()); }

 private:
  ByteView bytes_;
};

/// Changes `bytes` as the script says: up to three of them, at places and by masks that it names. False: they are as before.
inline bool mutate(Bytes& bytes, Script& script) {
  const Bytes before = bytes;
  const int edits = 1 + script.byte() % 3;
  for (int i = 0; i < edits && !bytes.empty(); ++i) {
    const auto how = script.byte();
    const std::size_t at = script.word() % bytes.size();
    switch (how % 4) {
      case 0:
      case 1: bytes[at] ^= static_cast<std::uint8_t>(how < 4 ? 1 : script.byte()); break;
      case 2: bytes.resize(at); break;
      default: bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), script.byte()); break;
    }
  }
  return bytes != before;
}

}  // namespace doorstep::fuzz
