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

// Two branches of one name agree in their first segment. A locator without it would have them compared again and again.
TEST(ReceivingTest, ALocatorEndsAtTheFirstSegment) {
  TemporaryDirectory directory;
  FakeClock clock;
  const auto core = Core::create(cheap_options(directory / "store", &clock), "passphrase");
  ASSERT_OK(core);
  const auto id = (*core)->found({.name = "village"});
  ASSERT_OK(id);
  SpaceState& space = *(*core)->space(*id).value();
  for (Position sealed = 1; sealed < 40; ++sealed) {
    ASSERT_OK((*core)->transact(space, [&](Write& write) -> Status {
      write.set_json(write.create("person"), demo_village().person_json(sealed % 30));
      return {};
    }));
    ASSERT_OK((*core)->change([&] { return (*core)->seal_pending(space); }));
    const auto locator = (*core)->locator(space, space.logs.at(space.own_log).head.id);
    EXPECT_EQ(locator.front().first, sealed);
    EXPECT_EQ(locator.back().first, 1u);
    EXPECT_LE(locator.size(), 16u);
  }
}

}  // namespace
}  // namespace doorstep
