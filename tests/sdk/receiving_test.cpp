// What a peer delivers, against the core itself: who may only carry segments must not be able to change what others may store.
#include <gtest/gtest.h>

#include "sdk/core/core.hpp"
#include "sync/limits.hpp"
#include "tests/sdk/replica_fixture.hpp"

namespace doorstep {
namespace {

TEST(ReceivingTest, ALogOfWhichNothingCanBeStoredDoesNotBegin) {
  TemporaryDirectory directory;
  FakeClock clock;
  const auto core = Core::create(cheap_options(directory / "store", &clock), "passphrase");
  ASSERT_OK(core);
  const auto id = (*core)->found({.name = "village"});
  ASSERT_OK(id);
  const auto logs = (*core)->space(*id).value()->logs.size();
  for (std::size_t i = 0; i < limits::incarnations_per_device_max + 1; ++i) {
    LogName name{(*core)->device(), Incarnation{{static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i >> 8)}}, {}, 0};
    for (const Position first : {1, 7})
      EXPECT_NE((*core)->append_segments(*(*core)->space(*id).value(), name, first, {Bytes(200, 1)}, nullptr).refused, Code::ok);
  }
  EXPECT_EQ((*core)->space(*id).value()->logs.size(), logs);
}

}  // namespace
}  // namespace doorstep
