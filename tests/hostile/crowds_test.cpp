// Many connections that want nothing: they say little, they do not finish, they are more than there are descriptors, they are reset.
#include <deque>

#include "tests/hostile/figures.hpp"
#include "tests/hostile/messages.hpp"
#include "tests/hostile/siege.hpp"

namespace doorstep::hostile {
namespace {

using std::chrono::steady_clock;

constexpr double idle_share_max = 0.2;
/// Longer than devices may need to get in.
int attack_seconds() { return sized(8, 30); }
constexpr std::size_t stranger_bytes_max = 56u << 10;  // what a connection costs before it has shown who it is

/// In portions that fit the queue of a listener, so that nobody waits for a second SYN.
void open_all(Swarm& swarm, std::size_t count) {
  for (; count > 0; count -= std::min<std::size_t>(count, 200)) {
    swarm.open(std::min<std::size_t>(count, 200));
    swarm.listen(5);
  }
}

class Crowds : public Siege {
 protected:
  /// Connections that begin with `first` and then send `each` at every beat: all are ended at the deadline, and cost no processor time.
  std::string hold(std::size_t count, int deadline_ms, int beat_ms, ByteView first, ByteView each) {
    Swarm swarm(target());
    const auto began = steady_clock::now();
    open_all(swarm, count);
    swarm.send(first);
    const auto share = relay_share(sized(1000, 5000));
    EXPECT_LT(share, idle_share_max) << "of a processor, for connections that say nothing";
    const auto last = std::chrono::milliseconds(deadline_ms * 2) + std::chrono::seconds(10);
    while (swarm.standing() > 0 && steady_clock::now() - began < last) {
      if (!each.empty()) swarm.send(each);
      for (int waited = 0; waited < beat_ms && swarm.standing() > 0; waited += 100) swarm.listen(100);
    }
    EXPECT_EQ(swarm.standing(), 0u) << "connections outlive their deadline";
    return std::to_string(count) + " connections, " + std::to_string(swarm.bytes_sent()) + " bytes";
  }
};

const Bytes first_words{0x44, 0x53, 0x01, 0x01, 0x00};  // a preamble, and half a size

TEST_F(Crowds, OneByteInTenSeconds) {
  const int deadline_ms = sized(2'000, 15'000);
  const std::size_t count = sized<std::size_t>(1'000, 5'000);
  start("unauthenticated_max = 6000\nhandshake_ms = " + std::to_string(deadline_ms) + "\n");
  run([&] { return hold(count, deadline_ms, deadline_ms * 2 / 3, first_words, Bytes{0x30}); },
      {.growth_bytes_max = count * stranger_bytes_max + (8u << 20)});
}

TEST_F(Crowds, HandshakesThatAreNotFinished) {
  const int deadline_ms = sized(2'000, 15'000);
  const std::size_t count = sized<std::size_t>(500, 2'000);
  start("unauthenticated_max = 6000\nhandshake_ms = " + std::to_string(deadline_ms) + "\n");
  enlist(1);
  const auto first = Channel::device(relay::dice(), attacker(0), target().key).take_output();
  run(
      [&] {
        return hold(count, deadline_ms, 100, first, {}) + " with message 1, then " + hold(count, deadline_ms, 100, {}, {}) + " without";
      },
      {.growth_bytes_max = count * stranger_bytes_max + (8u << 20)});
}

TEST_F(Crowds, TenTimesMoreThanDescriptors) {
  const rlim_t files = sized(120, 1024);
  start("unauthenticated_max = 20000\n", files);
  come_anew();
  run([&] {
    Swarm swarm(target());
    open_all(swarm, 10 * files);
    const auto share = relay_share(sized(1500, 5000));
    EXPECT_LT(share, idle_share_max) << "of a processor, with no descriptor left";
    const auto until = steady_clock::now() + std::chrono::seconds(sized(3, 20));
    while (steady_clock::now() < until && !over()) {  // whoever is shown out comes again
      open_all(swarm, 10 * files - std::min<std::size_t>(10 * files, swarm.standing()));
      swarm.listen(100);
    }
    EXPECT_GE(descriptors(relay_pid()) + 8, files) << "it was not short of them";
    return std::to_string(swarm.opened()) + " connections against " + std::to_string(files) + " descriptors";
  });
}

// All seats are taken by those who do not say who they are, and whoever is shown out comes again.
TEST_F(Crowds, EverySeatIsTaken) {
  start();
  come_anew();
  run([&] {
    Swarm swarm(target());
    const auto until = steady_clock::now() + std::chrono::seconds(attack_seconds());
    while (steady_clock::now() < until && !over()) {
      open_all(swarm, 1'000 - std::min<std::size_t>(1'000, swarm.standing()));
      swarm.listen(10);
    }
    EXPECT_GT(swarm.opened(), 1'000u) << "nobody was shown out";
    return std::to_string(swarm.opened()) + " connections for 256 seats";
  });
}

// One key, in more sessions than the relay has room for.
TEST_F(Crowds, OneMemberInManySessions) {
  start("sessions_per_key_max = 4\n");
  enlist(1);
  come_anew();
  run([&] {
    std::deque<Member> sessions;
    std::size_t opened = 0;
    const auto until = steady_clock::now() + std::chrono::seconds(attack_seconds());
    for (; steady_clock::now() < until && !over(); ++opened) {
      auto& session = sessions.emplace_back(target(), attacker(0));
      const bool in = session.shake_hands() && session.say(message::hello()) && session.ask() == Verdict::answers;
      if (!in) sessions.pop_back();
      if (sessions.size() > 1'100) sessions.pop_front();
    }
    return std::to_string(opened) + " sessions of one member";
  });
}

TEST_F(Crowds, ResetStorm) {
  start();
  enlist(4);
  const std::size_t storms = sized<std::size_t>(40, 1'000);
  run([&] {
    std::size_t bare = 0, deep = 0;
    std::mt19937_64 dice(std::random_device{}());
    for (std::size_t i = 0; i < storms && !over(); ++i) {
      Swarm swarm(target());
      swarm.open(100);
      if (i % 2 == 0) swarm.send(first_words);
      swarm.listen(static_cast<int>(dice() % 4));
      bare += swarm.opened();
      swarm.close(true);
      for (std::size_t k = 0; k < 20; ++k, ++deep) {
        Member member(target(), attacker(k));  // which resets when it goes
        if (member.shake_hands() && k % 2 == 0) (void)member.say(Bytes(1 + dice() % 2000, 1));
      }
    }
    return std::to_string(bare) + " connections reset before they said who they are, " + std::to_string(deep) + " after";
  });
}

}  // namespace
}  // namespace doorstep::hostile
