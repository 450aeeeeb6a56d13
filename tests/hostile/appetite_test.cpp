// Frames and messages that announce far more than they send. What the relay's memory grows by is bounded by what it really received.
#include "sync/limits.hpp"
#include "tests/hostile/messages.hpp"
#include "tests/hostile/siege.hpp"

namespace doorstep::hostile {
namespace {

/// What a member costs once it is in, and may cost for each byte that it really sent: a buffer that grows doubles, and what was decoded
/// has a place in a table.
constexpr std::size_t member_bytes_max = 48u << 10;
constexpr std::size_t for_each_byte_max = 12;

class Appetite : public Siege {
 protected:
  std::vector<std::unique_ptr<Member>> members(std::size_t count) {
    std::vector<std::unique_ptr<Member>> out;
    for (std::size_t i = 0; i < count; ++i) {
      out.push_back(std::make_unique<Member>(target(), attacker(i)));
      EXPECT_TRUE(out.back()->shake_hands());
      EXPECT_TRUE(out.back()->say(message::hello()));
      EXPECT_EQ(out.back()->ask(), Verdict::answers);
    }
    return out;
  }
  /// Members who each do this once; what the memory grew by is compared with what they sent.
  void feast(std::size_t count, const std::function<std::size_t(Member&)>& bite) {
    run([&] { return bites(count, bite); }, {.growth_bytes_max = 320u << 20});
  }
  std::string bites(std::size_t count, const std::function<std::size_t(Member&)>& bite) {
    const auto all = members(count);
    const auto before = growth_bytes();
    std::size_t sent = 0;
    for (const auto& member : all) {
      if (over()) break;
      sent += bite(*member);
    }
    (void)all.front()->listen(500);  // until it has read all that
    const auto grown = growth_bytes() - std::min(before, growth_bytes());
    EXPECT_LE(before, count * member_bytes_max + (4u << 20)) << "bytes, for being there";
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT_LE(grown, for_each_byte_max * sent + (4u << 20)) << "bytes, for " << sent << " bytes sent";
#endif
    return std::to_string(count) + " members, " + std::to_string(sent) + " bytes (it grew by " + std::to_string(grown) + ")";
  }
  std::size_t members_count() const { return sized<std::size_t>(150, 900); }
};

std::size_t send(Member& member, ByteView bytes) {
  (void)member.socket().send(bytes);
  return bytes.size();
}
std::size_t say(Member& member, ByteView message) { return send(member, member.seal(message)); }

TEST_F(Appetite, FramesThatSayTheyAreLarge) {
  start();
  enlist(4);
  feast(members_count(), [](Member& member) { return send(member, Bytes{0xff, 0xff, 1, 2, 3}); });
}

TEST_F(Appetite, MessagesThatDoNotEnd) {
  start();
  enlist(4);
  feast(members_count() / 4, [](Member& member) {
    const auto whole = member.seal(Bytes(1u << 20, 200));  // of a type that nobody knows
    return send(member, ByteView(whole).first(whole.size() - 100));
  });
}

// Together they would hold more than the relay has been given: those who hold most go.
TEST_F(Appetite, MessagesThatDoNotEndFillTheMemory) {
  start("memory_bytes_max = 33554432\nconnections_max = 200\n");
  enlist(4);
  run(
      [&] {
        const auto all = members(sized<std::size_t>(60, 150));
        std::size_t sent = 0;
        for (const auto& member : all) {
          const auto whole = member->seal(Bytes(1u << 20, 200));
          sent += send(*member, ByteView(whole).first(whole.size() - 100));
        }
        return std::to_string(all.size()) + " members, " + std::to_string(sent) + " bytes";
      },
      {.growth_bytes_max = 44u << 20});
}

TEST_F(Appetite, ListsThatSayTheyAreLong) {
  start();
  enlist(4);
  feast(members_count(), [&](Member& member) {
    std::size_t sent = say(member, message::spaces({hostile_village_->id()}));
    Bytes heads = message::heads(0, 1, Hash{}, {});
    heads.pop_back();
    put_varint(heads, limits::logs_per_space_max);
    return sent + say(member, heads);
  });
}

TEST_F(Appetite, RostersAndLocatorsOfHugeCounts) {
  start();
  enlist(4);
  feast(members_count(), [&](Member& member) {
    const auto sent = say(member, message::spaces({hostile_village_->id()}));
    const auto log = relay::dice().make<LogId>();
    return sent + (relay::dice().make<LogId>().data[0] % 2 ? say(member, message::roster(0, 1ull << 62, 4096, {Bytes(10)}))
                                                           : say(member, message::locator(0, log, 1ull << 63, {1ull << 62})));
  });
}

TEST_F(Appetite, HeadsOfLogsThatNobodyHas) {
  start();
  enlist(4);
  feast(sized<std::size_t>(4, 40), [&](Member& member) {
    auto sent = say(member, message::spaces({hostile_village_->id()}));
    for (int i = 0; i < 20; ++i) {
      std::vector<message::Head> heads(8'000);
      for (auto& head : heads) head = {relay::dice().make<LogId>(), 1ull << 60};
      sent += say(member, message::heads(0, 1, Hash{}, heads));
    }
    (void)member.ask();
    return sent;
  });
}

TEST_F(Appetite, SegmentsThatPromisePositions) {
  start();
  enlist(4);
  feast(sized<std::size_t>(4, 40), [&](Member& member) {
    auto sent = say(member, message::spaces({hostile_village_->id()}));
    LogName name{hostile_devices_[1]->id(), {}, {}, 0};
    for (std::uint64_t i = 0; i < 3'000; ++i) {
      name.incarnation = relay::dice().make<Incarnation>();
      sent += say(member, message::log(0, name));
      sent += say(member, message::segments(i, 1ull << 62, {Bytes(120)}));
    }
    (void)member.ask();
    return sent;
  });
}

TEST_F(Appetite, SpacesThatNobodyHas) {
  start();
  enlist(4);
  feast(sized<std::size_t>(10, 100), [&](Member& member) {
    std::vector<SpaceId> all(limits::spaces_per_session_max);
    for (auto& one : all) one = relay::dice().make<SpaceId>();
    auto sent = say(member, message::spaces(all));
    for (std::uint64_t i = 0; i < all.size(); i += 8) sent += say(member, message::heads(i, 1, Hash{}, {{relay::dice().make<LogId>(), 1}}));
    (void)member.ask();
    return sent;
  });
}

}  // namespace
}  // namespace doorstep::hostile
