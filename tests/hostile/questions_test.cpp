// Messages that are cheap to send and dear to answer: nobody else waits for the answers.
#include "tests/hostile/messages.hpp"
#include "tests/hostile/siege.hpp"

namespace doorstep::hostile {
namespace {

using std::chrono::steady_clock;

class Questions : public Siege {
 protected:
  /// Members who introduce themselves and then say one thing as fast as it is taken; whoever is shown out comes again.
  std::string pester(std::size_t count, const std::vector<Bytes>& first, ByteView again) {
    const auto until = steady_clock::now() + std::chrono::seconds(sized(4, 30));
    std::vector<std::unique_ptr<Member>> members(count);
    std::size_t connections = 0, bytes = 0;
    while (steady_clock::now() < until && !over()) {
      for (std::size_t i = 0; i < count; ++i) {
        auto& member = members[i];
        if (!member || member->socket().ends(0)) {
          member = std::make_unique<Member>(target(), attacker(i));
          ++connections;
          (void)member->shake_hands();
          for (const auto& message : first) (void)member->say(message);
        }
        bytes += member->flood(again, 1 + 64'000 / (again.size() + 19));
      }
    }
    return std::to_string(bytes) + " bytes of questions over " + std::to_string(connections) + " connections";
  }
  std::vector<Bytes> introduction(const std::vector<message::Head>& heads) const {
    const auto& roster = hostile_village_->roster;
    return {message::hello(), message::spaces({roster.space()}), message::heads(0, roster.size(), roster.head(), heads)};
  }
};

TEST_F(Questions, WhereLogsPart) {
  start();
  enlist(4);
  relay::Writer log(*hostile_village_, *hostile_devices_[1]);
  std::vector<Position> everywhere;
  for (Position at = 1; at <= 80; ++at) (log.write(50), everywhere.push_back(81 - at));
  auto first = introduction({});
  first.push_back(message::log(0, log.name));
  first.push_back(message::segments(0, 1, log.segments));
  run([&] { return pester(4, first, message::locator(0, log.id(), everywhere.size(), everywhere)); });
}

TEST_F(Questions, SmallTalkAboutManyLogs) {
  start();
  enlist(4);
  std::vector<message::Head> heads(16'000);
  for (auto& head : heads) head = {relay::dice().make<LogId>(), 1};
  run([&] { return pester(4, introduction(heads), message::roster_stored(0, hostile_village_->roster.size())); },
      {.growth_bytes_max = 64u << 20});
}

}  // namespace
}  // namespace doorstep::hostile
