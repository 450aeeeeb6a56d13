#include "tests/fuzz/target.hpp"

namespace doorstep::fuzz {

std::vector<Target>& targets() {
  static std::vector<Target> out;
  return out;
}

}  // namespace doorstep::fuzz

/// What libFuzzer calls: in its programs there is one target.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  doorstep::fuzz::Verdict verdict;
  doorstep::fuzz::targets().front().run({data, size}, verdict);
  return 0;
}
