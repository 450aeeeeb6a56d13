// The session against bodies of memory: what it says, in which order, and that two sides end level from whatever they begin with.
// Segments are opaque here: a body chains them by hash and believes everything else.
#include "sync/session.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "sync/codec.hpp"
#include "sync/limits.hpp"
#include "tests/sync/property.hpp"

namespace doorstep {
namespace {

SpaceId space_named(std::uint8_t n) {
  SpaceId id;
  id.data.fill(n);
  return id;
}
LogName log_named(std::uint8_t n) {
  LogName name;
  name.device.data.fill(n);
  name.incarnation.data.fill(n);
  return name;
}
Hash chain(const Hash& previous, const Bytes& bytes) { return hash("test/chain", {previous.view(), bytes}); }

struct MemoryLog {
  LogName name;
  Hash before;                  // hash at starts_after
  std::vector<Bytes> segments;  // from starts_after + 1
  Position head() const { return name.starts_after + segments.size(); }
  Hash hash_at(Position position) const {
    Hash out = before;
    for (Position i = name.starts_after; i < position; ++i) out = chain(out, segments[i - name.starts_after]);
    return out;
  }
};

struct MemorySpace {
  std::vector<Bytes> roster;
  std::map<LogId, MemoryLog> logs;
};

class Body {
 public:
  Body(std::string name, bool relay) : name_(std::move(name)), relay_(relay) {}

  std::map<SpaceId, MemorySpace> spaces;
  std::vector<std::string> transcript;
  std::deque<Bytes> out;
  std::size_t in_flight_max = 0;
  int levels = 0, refusals = 0;
  std::optional<Code> closed;
  std::vector<std::pair<LogId, Position>> stored;
  std::vector<std::string> heads_before_sending;
  std::size_t window = 3u << 20, batch = 512u << 10;

  void write(const SpaceId& space, const LogName& name, Bytes bytes) {
    auto& log = spaces[space].logs[name.id(space)];
    log.name = name;
    log.segments.push_back(std::move(bytes));
    if (session) {
      const auto head = LogHead{name, name.id(space), log.head(), log.hash_at(log.head())};
      session->on_new_segments(space, head, log.head(), {std::make_shared<const Bytes>(log.segments.back())});
      run();
    }
  }

  void connect(bool initiator) {
    Session::Options options;
    options.initiator = initiator;
    if (relay_) options.store = StoreId{};
    options.window_bytes_max = window;
    options.batch_bytes = batch;
    session = std::make_unique<Session>(options);
    out.clear();
    closed.reset();
    session->on_connected();
    run();
  }
  void receive(ByteView message) {
    session->on_message(message);
    run();
  }

  std::unique_ptr<Session> session;

  SpaceSummary summary(const SpaceId& id) const {
    SpaceSummary out_summary;
    out_summary.space = id;
    const auto at = spaces.find(id);
    if (at == spaces.end()) return out_summary;
    out_summary.roster_size = at->second.roster.size();
    out_summary.roster_head = roster_head(at->second);
    for (const auto& [log_id, log] : at->second.logs) out_summary.logs.push_back({log.name, log_id, log.head(), log.hash_at(log.head())});
    return out_summary;
  }

 private:
  static Hash roster_head(const MemorySpace& space) {
    Hash out_hash;
    for (const auto& entry : space.roster) out_hash = chain(out_hash, entry);
    return out_hash;
  }
  void run() {
    for (;;) {
      auto effects = session->take_effects();
      if (effects.empty()) return;
      for (auto& effect : effects) std::visit([this](auto& e) { handle(e); }, effect);
      in_flight_max = std::max(in_flight_max, session->in_flight());
    }
  }
  void say(const std::string& text) { transcript.push_back(name_ + " " + text); }

  void handle(effect::Send& e) {
    static const char* names[] = {"?",       "hello",    "spaces",  "heads", "compared", "roster", "log", "segments",     "stored",
                                  "refused", "proposal", "locator", "split", "ping",     "pong",   "bye", "roster stored"};
    say(std::string("-> ") + (e.message[0] < 17 ? names[e.message[0]] : "?"));
    out.push_back(std::move(e.message));
  }
  void handle(effect::LoadSummaries&) {
    std::vector<SpaceSummary> all;
    for (const auto& [id, space] : spaces) all.push_back(summary(id));
    session->on_summaries(all);
  }
  void handle(effect::LoadRoster& e) {
    const auto& roster = spaces[e.space].roster;
    session->on_roster_loaded(e.space, e.from, {roster.begin() + static_cast<std::ptrdiff_t>(e.from), roster.end()});
  }
  void handle(effect::LoadSegments& e) {
    const auto& log = spaces[e.space].logs.at(e.log);
    std::vector<SharedBytes> segments;
    if (e.expect && e.after > log.name.starts_after && shorten(log.hash_at(e.after)) != *e.expect)
      return session->on_segments_loaded(e.space, e.log, e.after, {}, true);
    std::size_t bytes = 0;
    for (Position i = std::max(e.after, log.name.starts_after); i < log.head() && bytes < e.bytes_max; ++i) {
      segments.push_back(std::make_shared<const Bytes>(log.segments[i - log.name.starts_after]));
      bytes += segments.back()->size();
    }
    session->on_segments_loaded(e.space, e.log, std::max(e.after, log.name.starts_after), std::move(segments), false);
  }
  void handle(effect::AppendRoster& e) {
    auto& roster = spaces[e.space].roster;
    for (std::size_t i = 0; i < e.entries.size(); ++i)
      if (e.first + i == roster.size()) roster.push_back(e.entries[i]);
    session->on_roster_stored(e.space, summary(e.space), {});
  }
  void handle(effect::AppendSegments& e) {
    if (e.log.branch && e.log.starts_after != 0) {
      const auto root = spaces[e.space].logs.find(e.log.root_id(e.space));
      if (root == spaces[e.space].logs.end() || root->second.head() < e.log.starts_after) {
        Session::Stored answer;
        answer.refused = Code::waiting;
        return session->on_segments_stored(e.space, e.log, answer);
      }
    }
    auto& log = spaces[e.space].logs[e.log.id(e.space)];
    if (log.segments.empty() && log.name.starts_after == 0) {
      log.name = e.log;
      if (e.log.branch && e.log.starts_after != 0) log.before = spaces[e.space].logs.at(e.log.root_id(e.space)).hash_at(e.log.starts_after);
    }
    Session::Stored answer;
    for (std::size_t i = 0; i < e.segments.size(); ++i) {
      answer.bytes += e.segments[i].size();
      const auto position = e.first + i;
      if (position == log.head() + 1)
        log.segments.push_back(e.segments[i]);
      else if (position <= log.head() && log.segments[position - 1 - log.name.starts_after] != e.segments[i])
        answer.refused = Code::conflict;
    }
    answer.position = log.head();
    answer.hash = log.hash_at(log.head());
    if (relay_) answer.receipt = Signature{};
    session->on_segments_stored(e.space, e.log, answer);
  }
  void handle(effect::PeerHello&) {}
  void handle(effect::PeerHeads&) { say("heard heads"); }
  void handle(effect::SpaceReady&) { say("ready"); }
  void handle(effect::PeerStored& e) { stored.emplace_back(e.log, e.position); }
  void handle(effect::PeerRefused&) { ++refusals; }
  void handle(effect::Proposal&) { say("got a proposal"); }
  void handle(effect::Locate& e) {
    const auto at = spaces[e.space].logs.find(e.log);
    Position agrees = 0;
    if (at != spaces[e.space].logs.end())
      for (const auto& [position, short_hash] : e.locator)
        if (position <= at->second.head() && position > agrees && shorten(at->second.hash_at(position)) == short_hash) agrees = position;
    session->on_located(e.space, e.log, agrees);
  }
  void handle(effect::MakeLocator& e) {
    std::vector<std::pair<Position, ShortHash>> points;
    const auto& log = spaces[e.space].logs.at(e.log);
    for (Position p = log.head(); p > log.name.starts_after; --p) points.emplace_back(p, shorten(log.hash_at(p)));
    session->on_locator(e.space, e.log, points);
  }
  void handle(effect::Split& e) {
    auto& logs = spaces[e.space].logs;
    auto& log = logs.at(e.log);
    if (e.position < log.head()) {
      MemoryLog branch;
      branch.name = log.name;
      branch.name.branch = log.hash_at(e.position + 1);
      branch.name.starts_after = e.position;
      branch.before = log.hash_at(e.position);
      const auto cut = static_cast<std::ptrdiff_t>(e.position - log.name.starts_after);
      branch.segments.assign(log.segments.begin() + cut, log.segments.end());
      log.segments.resize(static_cast<std::size_t>(cut));
      const LogId id = branch.name.id(e.space);
      logs[id] = std::move(branch);
    }
    session->on_summary(summary(e.space));
  }
  void handle(effect::Level&) { ++levels; }
  void handle(effect::Close& e) { closed = e.code; }

  std::string name_;
  bool relay_;
};

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

// Many logs share it: each load that is under way may bring a batch.
TEST(SessionTest, ManyLogsShareOneWindow) {
  Body phone("phone", false), relay("relay", true);
  phone.window = 10'000;
  phone.batch = 2'000;
  phone.spaces[village].roster = {{1}};
  for (std::uint8_t log = 0; log < 60; ++log) phone.write(village, log_named(log), segment(1000, log));
  relay.spaces[village].roster = {{1}};
  sync(phone, relay);
  EXPECT_TRUE(equal_sets(phone, relay, village));
  EXPECT_LE(phone.in_flight_max, phone.window + phone.batch);
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
    branch.name.branch = chain(branch.before, segment(500, 77));
    branch.name.starts_after = 8;
    branch.segments = {segment(500, 77), segment(500, 78)};
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
  EXPECT_EQ(relay.closed, Code::protocol);
  EXPECT_LE(named, limits::logs_per_space_max + 1000);
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
