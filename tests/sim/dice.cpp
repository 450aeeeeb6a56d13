#include "tests/sim/dice.hpp"

#include <sodium.h>
#include <sqlite3.h>

namespace doorstep::sim {

namespace {

DiceRandom& process_random() {
  static DiceRandom random(1);
  return random;
}

const char* name() { return "sim"; }
std::uint32_t word() {
  std::uint32_t out = 0;
  process_random().fill(std::span(reinterpret_cast<std::uint8_t*>(&out), sizeof out));
  return out;
}
void fill(void* out, std::size_t size) { process_random().fill(std::span(static_cast<std::uint8_t*>(out), size)); }

randombytes_implementation implementation = {name, word, nullptr, nullptr, fill, nullptr};

}  // namespace

void seed_process(std::uint64_t seed) {
  static const bool once = [] {
    randombytes_set_implementation(&implementation);
    return sodium_init() >= 0;
  }();
  DOORSTEP_CHECK(once);
  process_random() = DiceRandom(seed);
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, static_cast<int>(seed % 0x7fff'ffff) + 1, nullptr);
}

}  // namespace doorstep::sim
