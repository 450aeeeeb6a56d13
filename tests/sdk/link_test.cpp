// One connection as a state machine, against a peer that only shakes hands.
#include <gtest/gtest.h>
#include <unistd.h>

#include "doorstep/sync.hpp"
#include "sync/channel.hpp"
#include "tests/sdk/replica_fixture.hpp"

namespace doorstep {
namespace {

// The app locks right after it has saved: the driver, which the saving woke, finds the store locked. It once took the core's turn twice,
// and whoever called the replica from then on waited for ever.
TEST(LinkTest, EndsWhenItIsWokenInALockedStore) {
  TemporaryDirectory directory;
  FakeClock clock;
  auto replica = Replica::create(cheap_options(directory / "store", &clock), "passphrase");
  ASSERT_OK(replica);
  SystemRandom random;
  const auto transport = make_transport_key_pair(random);
  const RelayAddress address{transport.public_key, {"relay:1"}};
  ASSERT_OK(replica->found({.name = "village", .relays = {address}}));
  auto link = Link::start(*replica, address);
  ASSERT_OK(link);
  Channel relay = Channel::responder(random, transport, ChannelKinds::relay());
  while (!relay.established()) {
    ASSERT_OK(relay.feed(link->output()));
    ASSERT_OK(link->feed(relay.take_output()));
  }
  ASSERT_OK(replica->lock());
  // In a process of its own, as nobody can be taken out of a deadlock.
  EXPECT_EXIT(
      {
        ::alarm(20);
        link->wake();
        ::_exit(link->ended() && replica->unlock("passphrase").ok() ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace doorstep
