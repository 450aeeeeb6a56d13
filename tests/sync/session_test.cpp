// The session against bodies of memory: what it says, in which order, and that two sides end level from whatever they begin with.
// Segments are opaque here: a body chains them by hash and believes everything else.
#include "sync/session.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "sync/codec.hpp"
#include "sync/limits.hpp"
#include "tests/sync/property.hpp"
#include "tests/sync/session_body.hpp"

namespace doorstep {
namespace {

using namespace session_test;

// Carries messages both ways until nobody speaks, or `cut_after` messages have gone over.
void carry(Body& a, Body& b, std::size_t cut_after = SIZE_MAX) {
  for (std::size_t carried = 0; !a.out.empty() || !b.out.empty();) {
    for (auto [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
      if (from->out.empty()) continue;
      if (carried++ >= cut_after) return;
      const Bytes message = std::move(from->out.front());
      from->out.pop_front();
      to->receive(message);
    }
  }
}

void sync(Body& phone, Body& relay, std::size_t cut_after = SIZE_MAX) {
  relay.connect(false);
  phone.connect(true);
  carry(phone, relay, cut_after);
}

bool equal_sets(const Body& a, const Body& b, const SpaceId& space) { return set_digest(a.summary(space)) == set_digest(b.summary(space)); }

Bytes segment(std::size_t size, std::uint8_t seed) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(seed * 31 + i);
  return out;
}

const SpaceId village = space_named(1);

TEST(SessionTest, AFirstSyncReadsLikeThis) {
  Body phone("phone", false), relay("relay", true);
  phone.spaces[village].roster = {{1}, {2}};
  relay.spaces[village];
  phone.write(village, log_named(7), segment(100, 1));
  sync(phone, relay);
  EXPECT_TRUE(equal_sets(phone, relay, village));
  const std::vector<std::string> expected{"phone -> hello",  "phone -> spaces", "phone -> heads", "phone heard heads",
                                          "phone -> roster", "phone ready",     "phone -> log",   "phone -> segments"};
  EXPECT_EQ(phone.transcript, expected);
  EXPECT_EQ(phone.levels, 1);
  ASSERT_EQ(phone.stored.size(), 1u);
}

TEST(SessionTest, EqualSidesSayHelloAndNothingElse) {
  Body phone("phone", false), relay("relay", true);
  for (Body* body : {&phone, &relay}) {
    body->spaces[village].roster = {{1}};
    body->write(village, log_named(7), segment(100, 1));
  }
  sync(phone, relay);
  EXPECT_EQ(phone.transcript, (std::vector<std::string>{"phone -> hello", "phone heard heads", "phone ready"}));
  EXPECT_EQ(phone.levels, 1);
  EXPECT_EQ(relay.levels, 1);
}

TEST(SessionTest, BothDirectionsMeet) {
  Body phone("phone", false), relay("relay", true);
  for (Body* body : {&phone, &relay}) body->spaces[village].roster = {{1}};
  for (std::uint8_t i = 0; i < 20; ++i) {
    phone.write(village, log_named(1), segment(1000, i));
    relay.write(village, log_named(2), segment(1000, i));
  }
  relay.spaces[village].roster.push_back({9});
  sync(phone, relay);
  EXPECT_TRUE(equal_sets(phone, relay, village));
  EXPECT_EQ(phone.levels, 1);
}

TEST(SessionTest, NewSegmentsArePushedOnceLevel) {
  Body phone("phone", false), relay("relay", true);
  for (Body* body : {&phone, &relay}) body->spaces[village].roster = {{1}};
  sync(phone, relay);
  const auto before = phone.transcript.size();
  phone.write(village, log_named(1), segment(50, 1));
  carry(phone, relay);
  phone.write(village, log_named(1), segment(50, 2));
  carry(phone, relay);
  EXPECT_TRUE(equal_sets(phone, relay, village));
  const std::vector<std::string> after(phone.transcript.begin() + static_cast<std::ptrdiff_t>(before), phone.transcript.end());
  EXPECT_EQ(after, (std::vector<std::string>{"phone -> log", "phone -> segments", "phone -> segments"}));
  EXPECT_EQ(phone.levels, 3);
}

TEST(SessionTest, NoMoreThanAWindowIsUnacknowledged) {
  Body phone("phone", false), relay("relay", true);
  phone.window = 10'000;
  phone.batch = 2'000;
  for (Body* body : {&phone, &relay}) body->spaces[village].roster = {{1}};
  for (std::uint8_t i = 0; i < 200; ++i) phone.write(village, log_named(1), segment(1000, i));
  relay.connect(false);
  phone.connect(true);
  // The relay answers nothing: the phone must stop by itself.
  while (!phone.out.empty()) {
    const Bytes message = std::move(phone.out.front());
    phone.out.pop_front();
    if (message[0] <= 5) relay.receive(message);
    while (!relay.out.empty() && relay.out.front()[0] <= 5) {
      phone.receive(relay.out.front());
      relay.out.pop_front();
    }
  }
  EXPECT_GT(phone.in_flight_max, 0u);
  EXPECT_LE(phone.in_flight_max, phone.window + phone.batch);
}

// One who takes a log's number for another log's finds a fork again after every split.
TEST(SessionTest, SplitsAreBounded) {
  Body phone("phone", false), relay("relay", true);
  for (Body* body : {&phone, &relay}) {
    body->spaces[village].roster = {{1}};
    body->write(village, log_named(1), segment(100, 1));
  }
  sync(phone, relay);
  Encoder split;
  split.put_u8(12);
  split.put_varint(0);
  split.put_raw(log_named(1).id(village).view());
  split.put_varint(1);
  const Bytes message = split.take();
  for (std::size_t i = 0; i < limits::splits_per_session_max; ++i) relay.receive(message);
  EXPECT_FALSE(relay.closed);
  relay.receive(message);
  EXPECT_EQ(relay.closed, Code::busy);
}

// Each load brings a batch, so as many as there are logs would be far beyond the window.
TEST(SessionTest, ManyLogsTogetherStayInTheWindow) {
  Body phone("phone", false), relay("relay", true);
  phone.window = 4'000;
  phone.batch = 1'000;
  for (Body* body : {&phone, &relay}) body->spaces[village].roster = {{1}};
  for (std::uint8_t n = 1; n <= 20; ++n)
    for (std::uint8_t i = 0; i < 10; ++i) phone.write(village, log_named(n), segment(400, i));
  sync(phone, relay);
  EXPECT_LE(phone.in_flight_max, phone.window + phone.batch + 450);
  EXPECT_TRUE(equal_sets(phone, relay, village));
}

// What changes here after our hello is not what the peer's digest was compared with.
TEST(SessionTest, AChangeBetweenTheHellosIsSentAndEndsNothing) {
  for (const bool at_relay : {false, true}) {
    for (const bool equal_before : {false, true}) {
      Body phone("phone", false), relay("relay", true);
      for (Body* body : {&phone, &relay}) body->spaces[village].roster = {{1}};
      Body& changed = at_relay ? relay : phone;
      if (!equal_before) (at_relay ? phone : relay).spaces[village].roster.push_back({2});
      relay.connect(false);
      phone.connect(true);
      if (equal_before) {
        changed.write(village, log_named(1), segment(50, 1));
      } else {
        changed.spaces[village].roster.push_back({2});
        changed.session->on_summary(changed.summary(village));
        changed.run();
      }
      carry(phone, relay);
      EXPECT_FALSE(phone.closed || relay.closed) << at_relay << equal_before;
      EXPECT_TRUE(equal_sets(phone, relay, village)) << at_relay << equal_before;
    }
  }
}

TEST(SessionTest, NothingIsSaidBeforeHello) {
  Body phone("phone", false), relay("relay", true);
  phone.late = true;  // its summaries take time
  phone.spaces[village].roster = relay.spaces[village].roster = {{1}};
  relay.connect(false);
  phone.connect(true);
  phone.session->ping();
  relay.session->ping();
  relay.run();
  carry(phone, relay);
  EXPECT_TRUE(phone.transcript.empty());
  phone.late = false;
  phone.answer(0);
  carry(phone, relay);
  EXPECT_FALSE(phone.closed || relay.closed);
  EXPECT_EQ(relay.session->pongs(), 1u);
}

// Offsets are worked out from it, and stand in transactions that everybody has to be able to read.
TEST(SessionTest, AHelloOfNoTimeIsRefused) {
  for (const std::int64_t now_ms : {INT64_MIN, INT64_MAX, limits::time_ms_max}) {
    Body phone("phone", false);
    phone.connect(true);
    Encoder hello;
    hello.put_u8(1);
    hello(std::uint8_t{1}, std::uint8_t{1}, std::optional<StoreId>(), DeviceId{}, now_ms, ShortHash{});
    phone.receive(hello.bytes());
    EXPECT_EQ(phone.closed, Code::protocol) << now_ms;
  }
}

TEST(SessionTest, ALogNamedBeforeTheSpacesIsRefused) {
  Body phone("phone", false), relay("relay", true);
  for (std::uint8_t n = 1; n < 3; ++n) relay.spaces[space_named(n)].roster = {{1}};
  relay.connect(false);
  phone.connect(true);
  relay.receive(phone.out.front());
  Bytes log{6, 1};  // of a space that the list will not name
  log.resize(2 + 32 + 16 + 2, 0);
  relay.receive(log);
  EXPECT_EQ(relay.closed, Code::protocol);
}

TEST(SessionTest, AnyCutResumesAndNothingIsLost) {
  for (std::size_t cut = 0; cut < 40; ++cut) {
    Body phone("phone", false), relay("relay", true);
    phone.batch = relay.batch = 1500;
    phone.window = relay.window = 4000;
    phone.spaces[village].roster = {{1}, {2}};
    relay.spaces[village];
    for (std::uint8_t i = 0; i < 10; ++i) phone.write(village, log_named(1), segment(700, i));
    sync(phone, relay, cut);
    sync(phone, relay);
    EXPECT_TRUE(equal_sets(phone, relay, village)) << cut;
  }
}

TEST(SessionTest, AForkedLogIsKeptAsTwoBranchesOnBothSides) {
  for (const Position fork : {Position{0}, Position{3}, Position{9}}) {
    Body phone("phone", false), relay("relay", true);
    for (Body* body : {&phone, &relay}) {
      body->spaces[village].roster = {{1}};
      for (std::uint8_t i = 0; i < 10; ++i)
        body->write(village, log_named(1), segment(200, i < fork ? i : static_cast<std::uint8_t>(i + (body == &phone ? 50 : 100))));
    }
    phone.write(village, log_named(1), segment(200, 99));
    sync(phone, relay);
    EXPECT_TRUE(equal_sets(phone, relay, village)) << fork;
    EXPECT_EQ(phone.spaces[village].logs.size(), 3u) << fork;
    EXPECT_EQ(phone.spaces[village].logs.at(log_named(1).id(village)).head(), fork);
    EXPECT_EQ(phone.levels, 1) << fork;
    sync(phone, relay);
    EXPECT_TRUE(equal_sets(phone, relay, village));
    EXPECT_EQ(phone.spaces[village].logs.size(), 3u) << "a second sync splits nothing again";
  }
}

TEST(SessionTest, ABranchGoesOutAfterWhatItLeaves) {
  for (std::uint8_t n = 1; n <= 16; ++n) {  // whichever id comes first
    Body phone("phone", false), relay("relay", true);
    phone.window = 3'000;
    phone.batch = 1'000;
    for (Body* body : {&phone, &relay}) body->spaces[village].roster = {{1}};
    for (std::uint8_t i = 0; i < 12; ++i) phone.write(village, log_named(n), segment(500, i));
    MemoryLog branch;
    branch.name = log_named(n);
    branch.before = phone.spaces[village].logs.begin()->second.hash_at(8);
    branch.name.starts_after = 8;
    for (const std::uint8_t seed : {77, 78}) branch.write(segment(500, seed));
    branch.name.branch = branch.hash_at(9);
    const LogId id = branch.name.id(village);
    phone.spaces[village].logs[id] = branch;
    sync(phone, relay);
    EXPECT_EQ(phone.refusals, 0);
    EXPECT_EQ(phone.levels, 1);
    EXPECT_TRUE(equal_sets(phone, relay, village));
  }
}

TEST(SessionTest, AWipedRelayIsFilledAgain) {
  Body phone("phone", false), relay("relay", true), other("relay2", true);
  phone.spaces[village].roster = {{1}};
  relay.spaces[village];
  for (std::uint8_t i = 0; i < 5; ++i) phone.write(village, log_named(i), segment(300, i));
  sync(phone, relay);
  other.spaces[village];
  sync(phone, other);
  EXPECT_TRUE(equal_sets(phone, other, village));
}

TEST(SessionTest, HostileBytesEndTheSessionAndNothingElse) {
  // Every message of a real exchange, cut at every byte and with every bit of its first bytes flipped.
  Body phone("phone", false), relay("relay", true);
  phone.spaces[village].roster = {{1}, {2}};
  relay.spaces[village];
  for (std::uint8_t i = 0; i < 3; ++i) phone.write(village, log_named(1), segment(60, i));
  std::vector<Bytes> said;
  relay.connect(false);
  phone.connect(true);
  while (!phone.out.empty() || !relay.out.empty()) {
    for (; !phone.out.empty(); phone.out.pop_front()) {
      said.push_back(phone.out.front());
      relay.receive(phone.out.front());
    }
    for (; !relay.out.empty(); relay.out.pop_front()) phone.receive(relay.out.front());
  }
  std::size_t tried = 0;
  for (std::size_t victim = 0; victim < said.size(); ++victim) {
    for (std::size_t bit = 0; bit < std::min<std::size_t>(said[victim].size() * 8, 1024); ++bit) {
      Body target("relay", true);
      target.spaces[village];
      target.connect(false);
      for (std::size_t i = 0; i < victim; ++i) target.receive(said[i]);
      Bytes bad = said[victim];
      bad[bit / 8] = static_cast<std::uint8_t>(bad[bit / 8] ^ 1u << bit % 8);
      target.receive(bad);
      Body cut("relay", true);
      cut.spaces[village];
      cut.connect(false);
      for (std::size_t i = 0; i < victim; ++i) cut.receive(said[i]);
      cut.receive(ByteView(said[victim]).first(std::min(bit, said[victim].size())));
      ++tried;
    }
  }
  EXPECT_GT(tried, 1000u);
}

TEST(SessionTest, APeerThatSendsMoreThanItMayIsClosed) {
  Body phone("phone", false), relay("relay", true);
  relay.window = 1000;
  for (Body* body : {&phone, &relay}) body->spaces[village].roster = {{1}};
  relay.connect(false);
  relay.session->on_message(Bytes{3, 0});  // before hello
  for (auto& effect : relay.session->take_effects())
    if (auto* closing = std::get_if<effect::Close>(&effect)) relay.closed = closing->code;
  EXPECT_EQ(relay.closed, Code::protocol);
}

// What speaks of spaces by number comes after the list that numbers them: it replaces them all.
TEST(SessionTest, NothingIsSaidOfSpacesBeforeTheyAreListed) {
  for (const std::uint8_t early : {3, 5, 6, 7, 8, 9, 10, 11, 12, 16}) {
    Body phone("phone", false), relay("relay", true);
    relay.spaces[village].roster = {{1}};
    relay.connect(false);
    phone.connect(true);
    relay.receive(phone.out.front());
    Bytes log{early, 0};
    log.resize(2 + 32 + 16 + 2);
    relay.receive(log);
    EXPECT_EQ(relay.closed, Code::protocol) << int{early};
  }
}

// Heads may come again (after a split) while what came before is still being stored.
TEST(SessionTest, EachLogIsAcknowledgedUnderItsOwnNumber) {
  Body phone("phone", false), relay("relay", true);
  for (Body* body : {&phone, &relay}) body->spaces[village].roster = {{1}};
  sync(phone, relay);
  relay.late = true;
  phone.out.clear();
  for (const std::uint8_t n : {1, 2}) phone.write(village, log_named(n), segment(50, n));
  for (const auto& message : std::exchange(phone.out, {})) relay.receive(message);
  Encoder heads;
  heads.put_u8(3);
  for (const std::uint64_t number : {0, 1}) heads.put_varint(number);  // space, roster size
  heads.put_raw(Bytes(16));
  heads.put_varint(0);
  relay.receive(heads.bytes());
  relay.out.clear();
  relay.late = false;
  while (!relay.waiting.empty()) relay.answer(0);
  std::set<std::uint8_t> acknowledged;
  for (const auto& message : relay.out)
    if (message[0] == 8) acknowledged.insert(message[1]);
  EXPECT_EQ(acknowledged, (std::set<std::uint8_t>{0, 1}));
}

TEST(SessionTest, APeerCannotNameLogsWithoutEnd) {
  Body phone("phone", false), relay("relay", true);
  for (Body* body : {&phone, &relay}) body->spaces[village].roster = {{1}};
  sync(phone, relay);
  std::uint64_t named = 0;
  for (int message = 0; message < 20 && !relay.closed; ++message) {
    Encoder heads;
    heads.put_u8(3);
    for (const std::uint64_t number : {0, 1}) heads.put_varint(number);  // space, roster size
    heads.put_raw(Bytes(16));
    heads.put_varint(1000);
    for (int i = 0; i < 1000; ++i) {
      Bytes log(16);
      for (std::size_t byte = 0; byte < 8; ++byte) log[byte] = static_cast<std::uint8_t>(named >> 8 * byte);
      ++named;
      heads.put_raw(log);
      heads.put_varint(1);
      heads.put_raw(Bytes(20));
    }
    relay.receive(heads.bytes());
  }
  // Each heads message takes the place of the one before.
  EXPECT_FALSE(relay.closed);
  EXPECT_LE(relay.session->named_bytes(), 1000u * 1024);
}

// Both sides go by what they told each other, not by what they hold by the time they hear the answer.
TEST(SessionTest, WhatIsNewWhileHelloIsOnItsWayIsPushed) {
  for (const bool equal : {true, false}) {
    for (const bool phone_writes : {true, false}) {
      for (std::size_t carried = 0; carried < 4; ++carried) {
        Body phone("phone", false), relay("relay", true);
        for (Body* body : {&phone, &relay}) {
          body->spaces[village].roster = {{1}};
          body->write(village, log_named(1), segment(50, 1));
        }
        if (!equal) relay.spaces[space_named(2)].roster = {{1}};
        sync(phone, relay, carried);
        (phone_writes ? phone : relay).write(village, log_named(2), segment(50, 2));
        carry(phone, relay);
        EXPECT_TRUE(equal_sets(phone, relay, village)) << equal << phone_writes << carried;
      }
    }
  }
}

// Several phones, several spaces, forks by restoring, in any order: after a last round everybody holds the same.
TEST(SessionTest, ManyPhonesOneRelayEndEqualWhateverHappened) {
  check_property([] {
    Body relay("relay", true);
    std::vector<std::unique_ptr<Body>> phones;
    const std::vector<SpaceId> spaces{space_named(1), space_named(2)};
    for (const auto& space : spaces) relay.spaces[space].roster = {{1}};
    for (int i = 0; i < 3; ++i) {
      phones.push_back(std::make_unique<Body>("phone", false));
      for (const auto& space : spaces) phones.back()->spaces[space].roster = {{1}};
    }
    std::vector<std::map<SpaceId, MemorySpace>> backups(3);
    const int steps = *rc::gen::inRange(5, 40);
    for (int step = 0; step < steps; ++step) {
      const auto who = *rc::gen::inRange<std::size_t>(0, phones.size());
      Body& phone = *phones[who];
      phone.session.reset();
      switch (*rc::gen::inRange(0, 8)) {
        case 0: sync(phone, relay); break;
        case 1: sync(phone, relay, *rc::gen::inRange<std::size_t>(0, 12)); break;
        case 2: backups[who] = phone.spaces; break;
        case 3:
          if (!backups[who].empty()) phone.spaces = backups[who];
          break;
        default:
          phone.write(spaces[*rc::gen::inRange<std::size_t>(0, 2)], log_named(static_cast<std::uint8_t>(10 + who)),
                      segment(*rc::gen::inRange<std::size_t>(1, 60), *rc::gen::arbitrary<std::uint8_t>()));
      }
    }
    for (int round = 0; round < 3; ++round)
      for (auto& phone : phones) {
        phone->session.reset();
        sync(*phone, relay);
        const bool ended_well = phone->closed.value_or(Code::ok) == Code::ok;
        RC_ASSERT(ended_well);
      }
    for (auto& phone : phones)
      for (const auto& space : spaces) RC_ASSERT(equal_sets(*phone, relay, space));
  });
}

}  // namespace
}  // namespace doorstep
