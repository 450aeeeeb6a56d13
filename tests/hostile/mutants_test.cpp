// A million frames that are wrong in some way, each on a live connection, each followed by an answer or an end.
#include <sys/socket.h>

#include <thread>

#include "tests/hostile/messages.hpp"
#include "tests/hostile/siege.hpp"

namespace doorstep::hostile {
namespace {

/// Everything that a member may say, right, in an order that a relay takes; what is mutated is one of these.
std::vector<Bytes> conversation(const relay::Village& village, const relay::Writer& log) {
  const auto size = village.roster.size();
  return {message::hello(),
          message::spaces({village.id()}),
          message::heads(0, size, village.roster.head(), {{log.id(), 0}}),
          message::log(0, log.name),
          message::segments(0, 1, {log.segments[0], log.segments[1]}),
          message::segments(0, 3, {log.segments[2]}),
          message::roster(0, 0, village.entries.size(), village.entries),
          message::roster_stored(0, size),
          message::stored(0, 1),
          message::locator(0, log.id(), 2, {3, 1}),
          message::proposal(0, Bytes(200)),
          message::refused(0, 1, 5),
          message::split(0, log.id(), 1),
          message::ping()};
}

class Mutants {
 public:
  Mutants(const Target& target, const TransportKeyPair& own, std::vector<Bytes> says, std::uint64_t seed)
      : target_(target), own_(own), says_(std::move(says)), dice_(seed) {}

  void one_connection() {
    const auto kind = dice_() % 16;
    if (kind == 0) return handshake();
    Member member(target_, own_);
    if (!member.shake_hands() || !member.say(says_[0])) return;
    kind < 3 ? frame(member) : messages(member);
  }
  std::size_t frames() const { return frames_; }

 private:
  bool judge(Verdict verdict, const char* what) {
    ++frames_;
    if (verdict == Verdict::silent) ADD_FAILURE() << "neither an answer nor an end after a mutated " << what;
    return verdict == Verdict::answers;
  }

  /// Sealed as they should be, so that the session reads them.
  void messages(Member& member) {
    const auto deep = 1 + dice_() % 8;
    for (std::size_t i = 1; i < deep; ++i)
      if (!member.say(says_[i])) return;
    for (int i = 0; i < 256; ++i)
      if (!member.say(mutant()) || !judge(member.ask(), "message")) return;
  }

  /// Mostly one bit of what is content rather than structure: else nearly every one would end its connection, and few get deep.
  Bytes mutant() {
    static constexpr std::array content = {2, 3, 4, 5, 7, 13};
    if (dice_() % 8 == 0) return mutated(says_[dice_() % says_.size()], dice_);
    Bytes out = says_[static_cast<std::size_t>(content[dice_() % content.size()])];
    out[dice_() % out.size()] ^= static_cast<std::uint8_t>(1u << dice_() % 8);
    return out;
  }

  /// Not as they were sealed.
  void frame(Member& member) {
    const Bytes first = member.seal(says_[1]), second = member.seal(says_[2]);
    Bytes wrong = first;
    switch (dice_() % 5) {
      case 0: wrong = mutated(first, dice_); break;
      case 1: wrong = second; break;        // the first is left out
      case 2: append(wrong, first); break;  // doubled
      case 3:
        (wrong = second, append(wrong, first));  // reordered
        break;
      default:  // another size than it has
        for (std::size_t i = 0; i < 2; ++i) wrong[i] = static_cast<std::uint8_t>(dice_());
    }
    append(wrong, member.seal(message::ping()));
    (void)member.socket().send(wrong);
    judge(end_of(member.socket()), "frame");
  }

  void handshake() {
    auto channel = Channel::device(relay::dice(), own_, target_.key);
    const Socket socket(target_);
    socket.reset_at_end();
    const auto first = channel.take_output();
    if (dice_() % 2 == 0) {
      (void)socket.send(mutated(first, dice_));
    } else {
      (void)socket.send(first);
      (void)channel.feed(socket.receive());
      (void)socket.send(mutated(channel.take_output(), dice_));
    }
    judge(end_of(socket), "handshake");
  }

  /// Nothing more will come, so that whoever waits for more need not.
  static Verdict end_of(const Socket& socket) {
    ::shutdown(socket.fd(), SHUT_WR);
    return socket.ends(20'000) ? Verdict::ended : Verdict::silent;
  }

  const Target target_;
  const TransportKeyPair& own_;
  const std::vector<Bytes> says_;
  std::mt19937_64 dice_;
  std::size_t frames_ = 0;
};

TEST_F(Siege, MutatedFrames) {
  start();
  enlist(2);
  relay::Writer log(*hostile_village_, *hostile_devices_[1]);
  for (int i = 0; i < 3; ++i) log.write(200);
  const auto says = conversation(*hostile_village_, log);
  const std::size_t wanted = sized<std::size_t>(20'000, 1'000'000);
  const std::uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  run([&] {
    std::atomic<std::size_t> frames = 0, connections = 0;
    const auto some = [&](std::uint64_t number) {
      Mutants mutants(target(), attacker(number), says, seed + number);
      for (std::size_t told = 0; frames < wanted && !over(); told = mutants.frames()) {
        mutants.one_connection();
        frames += mutants.frames() - told;
        ++connections;
      }
    };
    std::thread other(some, 1);
    some(0);
    other.join();
    return std::to_string(frames) + " mutated frames over " + std::to_string(connections) + " connections";
  });
}

// No attack at all: what the attackers' share of the processors alone does to the honest devices' times.
TEST_F(Siege, JustLoad) {
  start();
  run([&] {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(sized(2, 20));
    const auto compute = [&] {
      while (std::chrono::steady_clock::now() < until) (void)hash("doorstep/1/load", {Bytes(100)});
    };
    std::thread other(compute);
    compute();
    other.join();
    return std::string("nothing, by two threads that compute");
  });
}

}  // namespace
}  // namespace doorstep::hostile
