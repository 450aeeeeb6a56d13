// The real program, as a process of its own: killed at random moments under upload, starved of file descriptors, asked to stop.
//
//   DOORSTEP_KILLS=n       so many rounds    (tests/fault/campaign kills)
//   DOORSTEP_KILL_SEED=n   other moments
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <random>

#include "server/store/sqlite_store.hpp"
#include "tests/server/folder.hpp"
#include "tests/server/relay_process.hpp"
#include "tests/server/store_checks.hpp"
#include "tests/server/test_client.hpp"

namespace doorstep::relay {
namespace {

using std::chrono::steady_clock;

std::uint32_t number_from(const char* variable, std::uint32_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10)) : otherwise;
}

class RelayProcessTest : public testing::Test {
 protected:
  RelayProcessTest() : village(authority, desk, {&a, &b}), data(folder.path() + "/relay") {
    spdlog::set_level(spdlog::level::err);
    EXPECT_TRUE(SqliteStore::create(data, {authority.public_key}, false, dice()));
    key = SqliteStore::open(data, SqliteStore::Mode::read_only).value()->identity()->transport.public_key;
  }
  void expect_sound() { relay::expect_sound(data); }
  Position durable(const LogId& log) { return relay::durable(data, log); }

  IdentityKeyPair authority = make_identity_key_pair(dice());
  Device desk, a, b;
  Village village;
  Folder folder;
  std::string data;
  TransportPublicKey key;
};

TEST_F(RelayProcessTest, KilledFiftyTimesKeepsEveryReceipt) {
  Replica replica(a);
  replica.learn(village);
  Writer log(village, a);
  TestClient client(replica);
  Position receipted = 0;
  std::mt19937 moments(1 + number_from("DOORSTEP_KILL_SEED", 0));
  const auto below = [&](unsigned bound) { return moments() % bound; };
  const auto rounds = number_from("DOORSTEP_KILLS", 50);
  for (std::uint32_t round = 0; round < rounds; ++round) {
    SCOPED_TRACE(round);
    if (below(4) == 0) {  // while it starts: recovery, the checkpoint behind it, reading the rosters
      RelayProcess starting(data, {.wait = false});
      ::usleep(below(30'000));  // a random moment
      (void)starting.end(SIGKILL);
    }
    RelayProcess relay(data);
    ASSERT_NE(relay.port(), 0) << "it does not serve: " << relay.end(SIGTERM);
    client.connect(relay.port(), key);
    if (below(3) == 0) {  // a roster entry among the segments
      (void)village.invite();
      replica.learn(village);
    }
    for (int i = 0; i < 30; ++i) log.write(round % 3 == 0 ? 30'000 : 400);
    replica.learn(log);
    const Position goal = receipted + below(25);
    client.on_receipt = [&](const LogId&, Position position) { receipted = std::max(receipted, position); };
    (void)client.until([&] { return receipted > goal; });
    // And a moment more, of up to three milliseconds, to end inside a commit as well as between two.
    const auto until = steady_clock::now() + std::chrono::microseconds(below(3000));
    (void)client.until([&] { return steady_clock::now() > until; });
    ASSERT_EQ(client.seen.receipts_wrong, 0u);
    ASSERT_EQ(relay.end(SIGKILL), 128 + SIGKILL);
    client.cut();
    ASSERT_GE(durable(log.id()), receipted);
  }
  expect_sound();
  RelayProcess relay(data);
  client.connect(relay.port(), key);
  ASSERT_TRUE(client.until_level());
  EXPECT_EQ(durable(log.id()), log.segments.size());
  client.bye();
  EXPECT_EQ(relay.end(SIGTERM), 0);
  expect_sound();
}

TEST_F(RelayProcessTest, StopsOnSigtermAndAtOnceOnTheSecond) {
  Replica replica(a);
  replica.learn(village);
  Writer log(village, a);
  for (int i = 0; i < 300; ++i) log.write(20'000);
  replica.learn(log);
  TestClient client(replica);
  {
    RelayProcess relay(data);
    client.connect(relay.port(), key);
    ASSERT_TRUE(client.until([&] { return client.seen.receipts[log.id()] > 10; }));
    relay.signal(SIGTERM);
    EXPECT_TRUE(client.until_closed());
    EXPECT_EQ(client.seen.closed, Code::ok);
    client.cut();
    EXPECT_EQ(relay.end(SIGCONT), 0);
  }
  EXPECT_GE(durable(log.id()), client.seen.receipts[log.id()]);
  RelayProcess relay(data);
  client.connect(relay.port(), key);
  ASSERT_TRUE(client.until([&] { return client.seen.store.has_value(); }));
  const auto start = steady_clock::now();
  relay.signal(SIGTERM);
  EXPECT_EQ(relay.end(SIGINT), 0);  // the client says nothing, and is not waited for
  EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(9));
  expect_sound();
}

TEST_F(RelayProcessTest, SurvivesRunningOutOfFileDescriptors) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "UBSan looks at objects through a pipe; without a descriptor for one it reports sound objects as invalid (release only)";
#endif
  RelayProcess relay(data, {.files = 40});
  std::vector<int> sockets;
  for (int i = 0; i < 100; ++i) sockets.push_back(connect_raw(relay.port()));
  // Those above the limit are taken and closed, so that they know; the loop pauses, it does not spin.
  int closed = 0;
  for (std::size_t i = 60; i < sockets.size(); ++i) closed += sockets[i] < 0 || ends(sockets[i], 300) ? 1 : 0;
  EXPECT_GT(closed, 0);
  for (const int socket : sockets)
    if (socket >= 0) ::close(socket);
  Replica replica(a);
  replica.learn(village);
  Writer log(village, a);
  log.write(100);
  replica.learn(log);
  TestClient client(replica);
  bool through = false;
  for (int i = 0; i < 50 && !through; ++i) {
    client.connect(relay.port(), key);
    through = client.until_receipted(log, 1000);
  }
  EXPECT_TRUE(through);
  client.bye();
  EXPECT_EQ(relay.end(SIGTERM), 0);
}

TEST_F(RelayProcessTest, OneProcessServesFromADirectory) {
  RelayProcess first(data);
  ASSERT_NE(first.port(), 0);
  RelayProcess second(data);
  EXPECT_EQ(second.port(), 0);
  EXPECT_EQ(second.end(0), 4);
  EXPECT_EQ(first.end(SIGTERM), 0);
}

TEST_F(RelayProcessTest, VerifyNamesTheFirstBadThing) {
  {
    Replica replica(a);
    replica.learn(village);
    Writer log(village, a);
    for (int i = 0; i < 5; ++i) log.write(200);
    replica.learn(log);
    TestClient client(replica);
    RelayProcess relay(data);
    client.connect(relay.port(), key);
    ASSERT_TRUE(client.until_receipted(log));
    client.bye();
    EXPECT_EQ(relay.end(SIGTERM), 0);
    const auto verify = [&](const std::string& more) {
      return WEXITSTATUS(std::system((relay_program() + " verify --data " + data + " >" + folder.path() + "/out 2>&1" + more).c_str()));
    };
    EXPECT_EQ(verify(""), 0);
    const auto store = std::move(*SqliteStore::open(data, SqliteStore::Mode::serve));
    const auto number = store->logs()->front().number;
    ASSERT_TRUE(store->append_segment(number, 6, dice().make<Hash>(), log.segments[4]));
    EXPECT_EQ(verify(""), 1);
    EXPECT_EQ(std::system(("grep -q 'segment 6' " + folder.path() + "/out").c_str()), 0);
  }
}

}  // namespace
}  // namespace doorstep::relay
