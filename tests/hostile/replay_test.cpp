// A recorded handshake, played again and again: it proves nothing, and costs nothing that stays.
#include "tests/hostile/siege.hpp"

namespace doorstep::hostile {
namespace {

TEST_F(Siege, ReplayedHandshakes) {
  start();
  enlist(1);
  auto channel = Channel::device(relay::dice(), attacker(0), target().key);
  const Socket heard(target());
  const auto first = channel.take_output();
  ASSERT_TRUE(heard.send(first));
  const auto second = heard.receive();
  ASSERT_TRUE(channel.feed(second));
  ASSERT_TRUE(channel.established());
  const auto third = channel.take_output();

  const std::size_t wanted = sized<std::size_t>(2'000, 100'000);
  run(
      [&] {
        std::size_t played = 0;
        for (; played < wanted && !over(); ++played) {
          const Socket socket(target());
          socket.reset_at_end();
          (void)socket.send(first);
          (void)socket.send(third);
          Bytes answer;
          for (Bytes more; more = socket.receive(), !more.empty();) append(answer, more);
          EXPECT_LE(answer.size(), second.size()) << "more than message 2: it became a session";
        }
        return std::to_string(played) + " replays of messages 1 and 3";
      },
      {.growth_bytes_max = 8u << 20});
}

}  // namespace
}  // namespace doorstep::hostile
