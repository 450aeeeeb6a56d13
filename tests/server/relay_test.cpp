// The relay as a whole, in this process, on the loopback, with devices that drive the real session and channel.
#include "server/relay.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <fstream>
#include <thread>

#include "server/store/sqlite_store.hpp"
#include "tests/server/folder.hpp"
#include "tests/server/store_checks.hpp"
#include "tests/server/test_client.hpp"

namespace doorstep::relay {
namespace {

using std::chrono::steady_clock;

double seconds_since(steady_clock::time_point start) { return std::chrono::duration<double>(steady_clock::now() - start).count(); }

class RelayTest : public testing::Test {
 protected:
  RelayTest() : village(authority, desk, {&a, &b, &c}) {
    spdlog::set_level(spdlog::level::err);
    config.listen = "127.0.0.1:0";
    config.drain_ms = 700;
  }
  void TearDown() override {
    if (!relay) return;
    relay->stop();
    relay.reset();
    expect_sound();
  }

  void start(const std::string& directory = {}) {
    data = directory.empty() ? folder.path() + "/relay" : directory;
    SystemRandom random;
    const auto created = SqliteStore::create(data, {authority.public_key}, false, random);
    ASSERT_TRUE(created || created.code() == Code::already_exists);
    serve();
  }
  void serve() {
    auto store = SqliteStore::open(data, SqliteStore::Mode::serve);
    ASSERT_TRUE(store) << store.error().message();
    Relay::Options options;
    options.config = config;
    auto started = Relay::start(std::move(*store), std::move(options));
    ASSERT_TRUE(started) << started.error().message();
    relay = std::move(*started);
  }
  void restart() {
    relay.reset();
    serve();
  }
  void connect(TestClient& client, const Invitation* invitation = nullptr) {
    client.connect(relay->port(), relay->transport_key(), invitation);
  }
  void expect_sound() { relay::expect_sound(data); }
  Position durable(const LogId& log) { return relay::durable(data, log); }
  bool eventually(const std::function<bool()>& condition, int deadline_ms = 10'000) {
    const auto start = steady_clock::now();
    while (!condition()) {
      if (seconds_since(start) * 1000 > deadline_ms) return false;
      std::this_thread::yield();
    }
    return true;
  }

  IdentityKeyPair authority = make_identity_key_pair(dice());
  Device desk, a, b, c;
  Village village;
  Folder folder;
  std::string data;
  Config config;
  std::unique_ptr<Relay> relay;
};

// A replica that has the village, and a log of its own.
struct Worker1 {
  Worker1(const Village& village, const Device& device) : replica(device), log(village, device), client(replica) { replica.learn(village); }
  void write(int segments, std::size_t bytes) {
    for (int i = 0; i < segments; ++i) log.write(bytes);
    replica.learn(log);
  }
  Replica replica;
  Writer log;
  TestClient client;
};

TEST_F(RelayTest, UploadAndDownload) {
  start();
  Worker1 up(village, a), down(village, b);
  up.write(200, 2000);
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  EXPECT_EQ(up.client.seen.receipts[up.log.id()], 200u);
  EXPECT_EQ(up.client.seen.receipts_wrong, 0u);
  EXPECT_EQ(up.client.seen.store, relay->store_id());
  EXPECT_EQ(up.client.seen.receipt_key, relay->receipt_key());
  connect(down.client);
  ASSERT_TRUE(down.client.until_level());
  EXPECT_EQ(down.replica.head(village.id(), up.log.id()), 200u);
  EXPECT_EQ(down.client.seen.segments_received, 200u);
  EXPECT_EQ(set_digest(down.replica.summary(village.id())), set_digest(up.replica.summary(village.id())));
  up.client.bye();
  // Nothing to do: level at once, nothing sent.
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  EXPECT_EQ(up.client.seen.segments_sent, 0u);
}

TEST_F(RelayTest, ReceiptsComeAfterDurability) {
  start();
  Worker1 up(village, a);
  up.write(300, 300);
  connect(up.client);
  std::size_t checked = 0;
  up.client.on_receipt = [&](const LogId& log, Position position) {
    ++checked;
    EXPECT_GE(durable(log), position);
  };
  ASSERT_TRUE(up.client.until_receipted(up.log));
  for (int i = 0; i < 20; ++i) {
    up.write(1, 100);
    up.client.announce(up.log, up.log.hashes.size());
    ASSERT_TRUE(up.client.until_receipted(up.log));
  }
  EXPECT_GE(checked, 21u);
}

TEST_F(RelayTest, ResumesAfterACut) {
  start();
  Worker1 up(village, a);
  up.write(300, 30'000);
  std::size_t sent = 0;
  for (Position goal : {20u, 80u, 150u}) {
    connect(up.client);
    ASSERT_TRUE(up.client.until([&] { return up.client.seen.receipts[up.log.id()] >= goal; }));
    up.client.cut();
    sent += up.client.seen.segments_sent;
  }
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  sent += up.client.seen.segments_sent;
  EXPECT_EQ(up.client.seen.receipts[up.log.id()], 300u);
  EXPECT_EQ(relay->counts().segments, 300u);  // each was taken once
  EXPECT_LT(sent, 300 + 3 * 150u);            // a window at most was sent again each time
}

TEST_F(RelayTest, ARestartKeepsAll) {
  start();
  Worker1 up(village, a), down(village, b);
  up.write(50, 5000);
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  const auto store = up.client.seen.store;
  restart();
  EXPECT_TRUE(up.client.until_closed());
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  EXPECT_EQ(up.client.seen.store, store);
  EXPECT_EQ(up.client.seen.segments_sent, 0u);
  connect(down.client);
  ASSERT_TRUE(down.client.until_level());
  EXPECT_EQ(down.replica.head(village.id(), up.log.id()), 50u);
}

TEST_F(RelayTest, AWipedRelayIsRefilledByTheDevices) {
  start();
  Worker1 up(village, a), down(village, b);
  up.write(40, 3000);
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  relay.reset();
  start(folder.path() + "/wiped");
  connect(down.client);  // it has only the roster, and hands it in as a stranger
  ASSERT_TRUE(down.client.until_level());
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  EXPECT_EQ(up.client.seen.receipts[up.log.id()], 40u);
  EXPECT_EQ(durable(up.log.id()), 40u);
  ASSERT_TRUE(down.client.until([&] { return down.replica.head(village.id(), up.log.id()) == 40; }));
}

TEST_F(RelayTest, ManyStrangersAtOnceRefillIt) {
  start();
  std::vector<std::unique_ptr<Worker1>> all;
  for (auto* device : {&desk, &a, &b, &c}) {
    all.push_back(std::make_unique<Worker1>(village, *device));
    all.back()->write(20, 1000);
    connect(all.back()->client);
  }
  const auto has_all = [&](Worker1& one) {
    return std::all_of(all.begin(), all.end(), [&](const auto& other) { return one.replica.head(village.id(), other->log.id()) == 20; });
  };
  for (int round = 0; round < 300 && !std::all_of(all.begin(), all.end(), [&](const auto& one) { return has_all(*one); }); ++round)
    for (auto& one : all) (void)one->client.until([] { return false; }, 1);
  for (auto& one : all) (void)one->client.until_level(2000);
  for (auto& one : all) {
    EXPECT_TRUE(one->client.seen.level);
    EXPECT_EQ(one->client.seen.receipts[one->log.id()], 20u);
    for (auto& other : all) EXPECT_EQ(one->replica.head(village.id(), other->log.id()), 20u);
  }
}

TEST_F(RelayTest, OnlyAllowedAuthoritiesFoundSpaces) {
  start();
  const auto other = make_identity_key_pair(dice());
  Village foreign(other, desk, {&a});
  Worker1 up(foreign, a);
  up.write(1, 100);
  connect(up.client);
  EXPECT_TRUE(up.client.until_closed());
  EXPECT_EQ(up.client.seen.closed, Code::no_right);
  {
    const auto store = SqliteStore::open(data, SqliteStore::Mode::amend);
    ASSERT_TRUE((*store)->allow(other.public_key));
  }
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  EXPECT_EQ(durable(up.log.id()), 1u);
}

TEST_F(RelayTest, AStrangerWithoutARosterIsShownOut) {
  config.stranger_ms = 200;
  start();
  Device nobody;
  Replica replica(nobody);
  TestClient client(replica);
  connect(client);
  EXPECT_TRUE(client.until_closed(5000));
  EXPECT_EQ(client.seen.closed, Code::unauthenticated);
}

// Or the relay's disk dies, and whoever likes keeps the devices from filling the new one.
TEST_F(RelayTest, AVillageGetsInWhileAllSeatsForStrangersAreTaken) {
  config.strangers_max = 2;
  start();
  std::deque<Device> nobodies(4);
  std::deque<Replica> replicas;
  std::deque<TestClient> clients;
  for (const auto& nobody : nobodies) {
    connect(clients.emplace_back(replicas.emplace_back(nobody)));
    ASSERT_TRUE(clients.back().until_level());
  }
  EXPECT_TRUE(clients[0].until_closed());
  EXPECT_TRUE(clients[1].until_closed());
  Worker1 up(village, a);
  up.write(5, 100);
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  EXPECT_EQ(durable(up.log.id()), 5u);
  EXPECT_TRUE(clients[2].until_closed());
  EXPECT_FALSE(clients[3].until_closed(100));
}

TEST_F(RelayTest, AJoiningDeviceGetsTheRosterAndIsAdmitted) {
  start();
  Worker1 up(village, a), office(village, desk);
  up.write(10, 500);
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  const auto invitation = village.invite();
  office.replica.learn(village);
  connect(office.client);
  ASSERT_TRUE(office.client.until_level());

  Device fresh;
  Replica replica(fresh);
  replica.invited.insert(invitation.spaces.begin(), invitation.spaces.end());
  TestClient joining(replica);
  connect(joining, &invitation);
  ASSERT_TRUE(joining.until([&] { return joining.seen.ready.contains(village.id()); }));
  EXPECT_TRUE(replica.ledger.roster(village.id()));
  const auto request = JoinRequest::make(invitation, village.id(), fresh.identity, fresh.keys, {"Wang", ""});
  joining.propose(village.id(), request->encode());
  (void)joining.until([] { return false; }, 200);
  EXPECT_EQ(joining.seen.segments_received, 0u);
  if (office.client.until([&] { return !office.client.seen.proposals.empty(); }, 2000)) {
    EXPECT_EQ(office.client.seen.proposals.front(), request->encode());
  } else {
    ADD_FAILURE() << "the sequencer did not get the request";
  }
  village.append(admit_entry(village.roster, village.founding.keyring, desk.identity, *request, "rehab_worker", "Wang"));
  office.replica.learn(village);
  office.client.announce_roster(village);
  ASSERT_TRUE(office.client.until_level());
  // Admitted, it gets the segments in the session that it has.
  EXPECT_TRUE(joining.until([&] { return replica.head(village.id(), up.log.id()) == 10; }, 5000));
  joining.bye();
  connect(joining);
  ASSERT_TRUE(joining.until_level());
  joining.bye();
  office.client.bye();
  connect(office.client);
  ASSERT_TRUE(office.client.until_level());
  (void)office.client.until([] { return false; }, 100);
  EXPECT_TRUE(office.client.seen.proposals.empty());  // the roster has answered: it was dropped
  // The invitation is used up.
  Device late;
  Replica late_replica(late);
  TestClient late_client(late_replica);
  connect(late_client, &invitation);
  EXPECT_TRUE(late_client.until_closed());
  EXPECT_TRUE(late_client.seen.closed);
}

TEST_F(RelayTest, AForkIsKeptAsTwoBranches) {
  start();
  Worker1 first(village, a), reader(village, b);
  first.write(10, 700);
  // A clone of the same store that goes on differently after position 6.
  Worker1 clone(village, a);
  clone.log.name = first.log.name;
  clone.log.hashes.assign(first.log.hashes.begin(), first.log.hashes.begin() + 6);
  clone.log.segments.assign(first.log.segments.begin(), first.log.segments.begin() + 6);
  clone.log.counter = 5000;
  clone.write(3, 900);
  connect(first.client);
  ASSERT_TRUE(first.client.until_level());
  first.client.bye();
  connect(reader.client);
  ASSERT_TRUE(reader.client.until_level());
  connect(clone.client);
  ASSERT_TRUE(clone.client.until_level()) << code_name(clone.client.seen.closed.value_or(Code::ok));
  ASSERT_TRUE(reader.client.until([&] { return reader.replica.ledger.heads(village.id()).size() == 3; }));
  connect(first.client);
  ASSERT_TRUE(first.client.until_level());
  ASSERT_TRUE(reader.client.until_level());
  const auto digest = set_digest(first.replica.summary(village.id()));
  EXPECT_EQ(set_digest(clone.replica.summary(village.id())), digest);
  EXPECT_EQ(set_digest(reader.replica.summary(village.id())), digest);
  std::map<Position, int> heads;
  for (const auto& head : first.replica.ledger.heads(village.id())) ++heads[head.position];
  EXPECT_EQ(heads, (std::map<Position, int>{{6, 1}, {9, 1}, {10, 1}}));
  // Whoever comes later gets the same.
  Worker1 late(village, c);
  connect(late.client);
  ASSERT_TRUE(late.client.until_level());
  late.client.bye();
  connect(late.client);
  ASSERT_TRUE(late.client.until_level());
  EXPECT_EQ(set_digest(late.replica.summary(village.id())), digest);
}

TEST_F(RelayTest, PushesLive) {
  start();
  Worker1 up(village, a), down(village, b);
  connect(up.client);
  connect(down.client);
  ASSERT_TRUE(up.client.until_level());
  ASSERT_TRUE(down.client.until_level());
  for (Position i = 1; i <= 20; ++i) {
    up.write(1, 100);
    up.client.announce(up.log, i);
    ASSERT_TRUE(up.client.until_receipted(up.log));
    ASSERT_TRUE(down.client.until([&] { return down.replica.head(village.id(), up.log.id()) == i; }));
  }
}

TEST_F(RelayTest, ASlowReaderOfNewSegmentsIsBounded) {
  start();
  Worker1 up(village, a), slow(village, b);
  connect(slow.client);
  ASSERT_TRUE(slow.client.until_level());
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  up.write(400, 60'000);  // 24 MB, while the other one does not read
  up.client.announce(up.log, 1);
  std::uint64_t most = 0;
  up.client.on_receipt = [&](const LogId&, Position) { most = std::max(most, relay->counts().memory_bytes); };
  ASSERT_TRUE(up.client.until_receipted(up.log, 60'000));
  EXPECT_LT(most, 20u << 20);
  EXPECT_LT(relay->counts().memory_bytes, 4u << 20);
  ASSERT_TRUE(slow.client.until([&] { return slow.replica.head(village.id(), up.log.id()) == 400; }, 60'000));
}

/// Leaves the relay's end of a client's connection next to no room in the system, which would take in megabytes by itself.
bool shrink_send_buffer(int client) {
  sockaddr_in own{};
  socklen_t size = sizeof own;
  if (::getsockname(client, reinterpret_cast<sockaddr*>(&own), &size) != 0) return false;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer{};
    size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0 || peer.sin_port != own.sin_port) continue;
    const int small = 4096;
    return ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0;
  }
  return false;
}

TEST_F(RelayTest, ASlowReaderOfOldSegmentsIsBounded) {
  start();
  Worker1 up(village, a), slow(village, b);
  std::vector<std::unique_ptr<Writer>> logs;  // many, as each has a load of its own
  for (int i = 0; i < 12; ++i) {
    logs.push_back(std::make_unique<Writer>(village, a));
    for (int k = 0; k < 33; ++k) logs.back()->write(60'000);
    up.replica.learn(*logs.back());
  }
  connect(up.client);
  ASSERT_TRUE(up.client.until_level(60'000));
  up.client.bye();
  const auto got = [&](Position position) {
    return [&, position](const auto& log) { return slow.replica.head(village.id(), log->id()) >= position; };
  };
  slow.client.receive_buffer_bytes = 4096;
  connect(slow.client);
  ASSERT_TRUE(eventually([&] { return shrink_send_buffer(slow.client.socket()); }));
  ASSERT_TRUE(slow.client.until([&] { return std::any_of(logs.begin(), logs.end(), got(1)); }));
  // Now it stops. Its out queue, one batch above it, a few frames on their way; a whole window of the session would be 3 MiB.
  const auto bound = config.out_queue_bytes_max + (512u << 10) + (256u << 10);
  EXPECT_TRUE(eventually([&] { return relay->counts().memory_bytes > config.out_queue_bytes_max; }));
  for (int i = 0; i < 50; ++i) {
    EXPECT_LT(relay->counts().memory_bytes, bound);
    connect(up.client);  // others are served, and whatever was on its way has arrived
    ASSERT_TRUE(up.client.until_level());
    up.client.bye();
  }
  ASSERT_TRUE(slow.client.until([&] { return std::all_of(logs.begin(), logs.end(), got(33)); }, 60'000));
}

TEST_F(RelayTest, GarbageAndDawdlersAreClosedWhileOthersGoOn) {
  config.handshake_ms = 500;
  config.progress_ms = 300;
  config.progress_bytes_per_s = 1'000'000;
  start();
  std::vector<int> sockets;
  for (int i = 0; i < 40; ++i) {
    const int socket = connect_raw(relay->port());
    ASSERT_GE(socket, 0);
    sockets.push_back(socket);
    if (i % 4 == 0) continue;  // says nothing
    Bytes bytes(i % 4 == 1 ? 5000 : i % 4 == 2 ? 3 : 40);
    dice().fill(bytes);
    if (i % 4 != 1) std::copy_n(reinterpret_cast<const std::uint8_t*>("DS\x01\x01"), std::min<std::size_t>(4, bytes.size()), bytes.begin());
    (void)::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  Worker1 up(village, a);
  up.write(50, 1000);
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  for (const int socket : sockets) {
    EXPECT_TRUE(ends(socket, 5000));
    ::close(socket);
  }
  EXPECT_TRUE(eventually([&] { return relay->counts().unauthenticated == 0; }));
  up.write(1, 100);
  up.client.announce(up.log, 51);
  EXPECT_TRUE(up.client.until_receipted(up.log));
  // A member whose frame begins and does not end, or is not sealed.
  Worker1 dawdler(village, b);
  connect(dawdler.client);
  ASSERT_TRUE(dawdler.client.until_level());
  dawdler.client.raw(Bytes{0xff, 0xff, 1, 2, 3});
  EXPECT_TRUE(dawdler.client.until_closed(5000));
  Worker1 liar(village, c);
  connect(liar.client);
  ASSERT_TRUE(liar.client.until_level());
  liar.client.raw(Bytes(400, 0x01));
  EXPECT_TRUE(liar.client.until_closed(5000));
}

TEST_F(RelayTest, TooManyAreTurnedAway) {
  config.unauthenticated_max = 8;
  config.connections_max = 2;
  start();
  std::vector<int> sockets;
  for (int i = 0; i < 30; ++i) sockets.push_back(connect_raw(relay->port()));
  for (std::size_t i = 0; i < 22; ++i) EXPECT_TRUE(ends(sockets[i], 3000)) << i << ": whoever came first";
  EXPECT_EQ(relay->counts().unauthenticated, 8u);
  Worker1 one(village, a), two(village, b), three(village, c);
  connect(one.client);
  ASSERT_TRUE(one.client.until_level()) << "whoever comes while all seats are taken";
  for (const int socket : sockets) ::close(socket);
  ASSERT_TRUE(eventually([&] { return relay->counts().unauthenticated == 0; }));
  connect(two.client);
  ASSERT_TRUE(two.client.until_level());
  connect(three.client);
  EXPECT_TRUE(three.client.until_closed());
  EXPECT_EQ(three.client.seen.closed, Code::busy);
}

// A phone that comes again by another network, while the way it came before is not known to be dead.
TEST_F(RelayTest, OneKeyHasFewSessionsAndTheOldestGoes) {
  config.sessions_per_key_max = 2;
  start();
  Worker1 other(village, b);
  connect(other.client);
  ASSERT_TRUE(other.client.until_level());
  Replica replica(a);
  replica.learn(village);
  std::deque<TestClient> sessions;
  for (int i = 0; i < 4; ++i) {
    connect(sessions.emplace_back(replica));
    ASSERT_TRUE(sessions.back().until_level()) << i;
  }
  EXPECT_TRUE(sessions[0].until_closed());
  EXPECT_TRUE(sessions[1].until_closed());
  EXPECT_EQ(relay->counts().authenticated, 3u);
  EXPECT_FALSE(sessions[2].until_closed(100));
  EXPECT_FALSE(sessions[3].until_closed(100));
  EXPECT_FALSE(other.client.until_closed(100));
}

// Whoever found an invitation may make as many keys as he likes.
TEST_F(RelayTest, OneInvitationHasFewSessionsToo) {
  config.sessions_per_key_max = 2;
  start();
  Worker1 office(village, desk);
  const auto invitation = village.invite();
  office.replica.learn(village);
  connect(office.client);
  ASSERT_TRUE(office.client.until_level());
  std::deque<Device> devices(4);
  std::deque<Replica> replicas;
  std::deque<TestClient> clients;
  for (const auto& device : devices) {
    auto& replica = replicas.emplace_back(device);
    replica.invited = {village.id()};
    auto& client = clients.emplace_back(replica);
    connect(client, &invitation);
    ASSERT_TRUE(client.until([&] { return client.seen.ready.contains(village.id()); }));
  }
  EXPECT_TRUE(clients[0].until_closed());
  EXPECT_TRUE(clients[1].until_closed());
  EXPECT_FALSE(clients[2].until_closed(100));
  EXPECT_FALSE(clients[3].until_closed(100));
  EXPECT_FALSE(office.client.until_closed(100));
}

TEST_F(RelayTest, APeerThatIsSilentIsClosedOneThatAnswersStays) {
  config.ping_ms = 100;
  config.idle_ms = 400;
  start();
  Worker1 quiet(village, a), alive(village, b);
  connect(quiet.client);
  ASSERT_TRUE(quiet.client.until_level());
  connect(alive.client);
  ASSERT_TRUE(alive.client.until_level());
  EXPECT_FALSE(alive.client.until_closed(1500));
  EXPECT_TRUE(quiet.client.until_closed(100));
}

TEST_F(RelayTest, AFullQuotaIsSaid) {
  config.space_bytes_max = 20'000;
  start();
  Worker1 up(village, a);
  up.write(30, 1000);
  connect(up.client);
  EXPECT_TRUE(up.client.until([&] { return up.client.seen.refused.contains(up.log.id()); }));
  EXPECT_EQ(up.client.seen.refused[up.log.id()], Code::full);
  const auto kept = durable(up.log.id());
  EXPECT_GT(kept, 10u);
  EXPECT_LT(kept, 20u);
  EXPECT_EQ(up.client.seen.receipts[up.log.id()], kept);
}

TEST_F(RelayTest, ACutDeviceMayHandInWhatStands) {
  start();
  Worker1 lost(village, a), other(village, b);
  lost.write(5, 300);
  other.write(5, 300);
  connect(other.client);
  ASSERT_TRUE(other.client.until_level());
  village.append(cut_entry(village.roster, village.founding.keyring, desk.identity, a.id(), {{lost.log.id(), 3, lost.log.hashes[2]}},
                           CutReason::lost, "", dice()));
  other.replica.learn(village);
  other.client.announce_roster(village);
  ASSERT_TRUE(other.client.until_level());
  connect(lost.client);
  ASSERT_TRUE(lost.client.until([&] { return lost.client.seen.refused.contains(lost.log.id()); }));
  EXPECT_EQ(lost.client.seen.refused[lost.log.id()], Code::no_right);
  EXPECT_EQ(durable(lost.log.id()), 3u);
  EXPECT_EQ(lost.client.seen.segments_received, 0u);
  EXPECT_TRUE(lost.replica.ledger.roster(village.id())->member(a.id())->cut);  // it learns that
}

TEST_F(RelayTest, AForgedSegmentIsRefusedWithoutRunningInCircles) {
  start();
  Worker1 up(village, a);
  up.write(5, 300);
  connect(up.client);
  ASSERT_TRUE(up.client.until_level());
  up.log.write(300);
  Bytes forged = up.log.segments.back();
  forged[40] ^= 1;
  const LogHead head{up.log.name, up.log.id(), 6, up.log.hashes.back()};
  // Past the replica, which would not take it either: straight into the session.
  for (int i = 0; i < 3 && !up.client.seen.refused.contains(up.log.id()); ++i) {
    up.client.session().on_new_segments(village.id(), head, 6, {std::make_shared<const Bytes>(forged)});
    (void)up.client.until([&] { return up.client.seen.refused.contains(up.log.id()); }, 500);
  }
  EXPECT_TRUE(up.client.seen.refused.contains(up.log.id()));
  EXPECT_EQ(up.client.seen.refused[up.log.id()], Code::unauthenticated);
  EXPECT_EQ(durable(up.log.id()), 5u);
}

TEST_F(RelayTest, StopsGracefullyUnderLoad) {
  start();
  for (int round = 0; round < 6; ++round) {
    Worker1 up(village, a), down(village, b);
    up.write(200, 20'000);
    connect(up.client);
    connect(down.client);
    const auto goal = 10u * static_cast<unsigned>(round);
    ASSERT_TRUE(up.client.until([&] { return up.client.seen.receipts[up.log.id()] >= goal; }));
    const auto start_at = steady_clock::now();
    std::thread stopping([&] { relay->stop(); });
    EXPECT_TRUE(up.client.until_closed());
    stopping.join();
    EXPECT_LT(seconds_since(start_at), 12);
    EXPECT_GE(durable(up.log.id()), up.client.seen.receipts[up.log.id()]);
    relay.reset();
    expect_sound();
    serve();
  }
}

TEST_F(RelayTest, AFullDiskRefusesUploadsAndServesOn) {
  Folder mount;
  if (::geteuid() != 0 || ::mount("tmpfs", mount.path().c_str(), "tmpfs", 0, "size=6m") != 0)
    GTEST_SKIP() << "a small disk takes root and mount()";
  start(mount.path() + "/relay");
  Worker1 before(village, a), after(village, b);
  before.write(10, 10'000);
  connect(before.client);
  ASSERT_TRUE(before.client.until_level());
  before.client.bye();
  const std::string filler = mount.path() + "/filler";
  {
    std::ofstream out(filler, std::ios::binary);
    const std::string block(65536, 'x');
    while (out.write(block.data(), 65536).flush()) {}
  }
  after.write(60, 30'000);
  connect(after.client);
  EXPECT_TRUE(after.client.until([&] { return after.client.seen.refused.contains(after.log.id()); }));
  EXPECT_EQ(after.client.seen.refused[after.log.id()], Code::full);
  EXPECT_GE(durable(after.log.id()), after.client.seen.receipts[after.log.id()]);
  EXPECT_EQ(after.replica.head(village.id(), before.log.id()), 10u);  // reading goes on
  after.client.bye();
  std::filesystem::remove(filler);
  connect(after.client);
  EXPECT_TRUE(after.client.until_level());
  EXPECT_EQ(durable(after.log.id()), 60u);
  relay->stop();
  expect_sound();
  relay.reset();
  ::umount2(mount.path().c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace doorstep::relay
