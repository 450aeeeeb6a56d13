// Readers who do not read, or slowly, or never say what they have: their queues stay within their bounds, and nobody else waits for them.
#include "tests/hostile/messages.hpp"
#include "tests/hostile/siege.hpp"

namespace doorstep::hostile {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t batch_bytes = 512u << 10;                                     // of one load
constexpr std::size_t window_bytes = 3u << 20;                                      // of a session
constexpr std::size_t worker_bytes = 16u << 20;                                     // two batches: one read, one on its way to the queues
constexpr std::size_t small_buffer_bytes = 4096;                                    // of the reader's socket
constexpr std::size_t reader_bytes_max = (512u << 10) + batch_bytes + (96u << 10);  // its queue, what is being loaded, itself

class Readers : public Siege {
 protected:
  /// So many logs of so many bytes in the attackers' village, handed in by one of them.
  void fill(std::size_t logs, std::size_t segments, std::size_t segment_bytes) {
    relay::Replica replica(*hostile_devices_[0]);
    replica.learn(*hostile_village_);
    for (std::size_t i = 0; i < logs; ++i) {
      logs_.push_back(std::make_unique<relay::Writer>(*hostile_village_, *hostile_devices_[0]));
      for (std::size_t k = 0; k < segments; ++k) logs_.back()->write(segment_bytes);
      replica.learn(*logs_.back());
    }
    relay::TestClient client(replica);
    client.connect(target().port, target().key);
    ASSERT_TRUE(client.until_level(60'000));
    client.bye();
  }
  /// Members who have nothing and ask for everything.
  std::vector<std::unique_ptr<Member>> hungry(std::size_t count) {
    std::vector<std::unique_ptr<Member>> out;
    for (std::size_t i = 0; i < count && !over(); ++i) {
      out.push_back(std::make_unique<Member>(target(), attacker(1 + i), static_cast<int>(small_buffer_bytes)));
      Member& member = *out.back();
      EXPECT_TRUE(member.shake_hands());
      (void)member.say(message::hello());
      (void)member.say(message::spaces({hostile_village_->id()}));
      (void)member.say(message::heads(0, hostile_village_->roster.size(), hostile_village_->roster.head(), {}));
    }
    return out;
  }
  std::size_t held_bytes(std::size_t readers) const { return readers * reader_bytes_max + worker_bytes + (12u << 20); }

  /// Readers whose window is closed, who ask on as long as anybody listens.
  std::string shut(std::size_t count) {
    const auto all = hungry(count);
    const auto until = steady_clock::now() + std::chrono::seconds(sized(2, 20));
    while (steady_clock::now() < until && !over())
      for (const auto& member : all) (void)member->flood(message::ping(), 500);
    return std::to_string(count) + " readers of nothing, who ping on";
  }

  std::vector<std::unique_ptr<relay::Writer>> logs_;
};

TEST_F(Readers, WhoNeverRead) {
  start();
  enlist(4);
  fill(16, 2, 250'000);
  const std::size_t count = sized<std::size_t>(40, 250);
  run([&] { return shut(count); }, {.growth_bytes_max = held_bytes(count)});
}

// Together they would fill it, and nobody would be read from any more: those who hold most go.
TEST_F(Readers, WhoFillTheMemory) {
  start("memory_bytes_max = 33554432\nconnections_max = 200\n");
  enlist(4);
  fill(16, 2, 250'000);
  const std::size_t count = sized<std::size_t>(60, 150);
  run([&] { return shut(count); }, {.growth_bytes_max = 96u << 20});  // of which the worker's answers are no queue yet
}

TEST_F(Readers, WhoNeverSayWhatTheyHave) {
  start();
  enlist(4);
  fill(16, 2, 250'000);
  const std::size_t count = sized<std::size_t>(5, 50);
  run(
      [&] {
        const auto all = hungry(count);
        std::size_t most = 0;
        for (const auto& member : all) most = std::max(most, member->listen(500));
        EXPECT_LE(most, window_bytes + 2 * batch_bytes + (64u << 10)) << "bytes that nobody had acknowledged";
        return std::to_string(count) + " readers who acknowledge nothing, of whom one got " + std::to_string(most) + " bytes";
      },
      {.growth_bytes_max = held_bytes(count)});
}

TEST_F(Readers, OneKibibyteASecond) {
  start();
  enlist(30);
  fill(4, 10, 30'000);
  const std::size_t slow = sized<std::size_t>(1, 20), many = sized<std::size_t>(25, 400);
  const int seconds = sized(5, 60);
  run(
      [&] {
        const auto sluggish = hungry(slow);
        auto quick = hungry(many);
        std::size_t read = 0, turn = 0;  // so that each of the many is quick in its turn, however many fit into a second
        for (int second = 0; second < seconds && !over(); ++second) {
          const auto until = steady_clock::now() + std::chrono::seconds(1);
          for (const auto& member : sluggish) read += member->socket().receive(1024, 0).size();
          for (std::size_t i = 0; i < quick.size() && steady_clock::now() < until; ++i) (void)quick[turn++ % quick.size()]->listen(5);
          (void)quick.front()->listen(std::max<int>(1, static_cast<int>((until - steady_clock::now()) / std::chrono::milliseconds(1))));
        }
        for (const auto& member : quick) EXPECT_EQ(member->ask(), Verdict::answers) << "one of the many is held up";
        return std::to_string(slow) + " at 1 KiB/s (" + std::to_string(read) + " bytes) among " + std::to_string(many);
      },
      {.growth_bytes_max = held_bytes(slow) + many * reader_bytes_max});
}

}  // namespace
}  // namespace doorstep::hostile
