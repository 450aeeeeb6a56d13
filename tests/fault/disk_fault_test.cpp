// Disks that fail at the n-th call, for every n, once and for good: whoever goes on as well as he can loses nothing.
#include <gtest/gtest.h>

#include "tests/fault/crash_points.hpp"
#include "tests/fault/relay_subject.hpp"
#include "tests/fault/replica_subject.hpp"
#include "tests/fault/store_subject.hpp"

namespace doorstep::fault {
namespace {

struct Kind {
  const char* name;
  Fault::Kind kind;
};
const Kind kinds[] = {{"EIO", Fault::Kind::eio},
                      {"ENOSPC", Fault::Kind::enospc},
                      {"short_write", Fault::Kind::short_write},
                      {"failed_fsync", Fault::Kind::fsync_eio}};

class DiskFault : public testing::TestWithParam<std::tuple<Kind, bool>> {
 protected:
  void SetUp() override { sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, static_cast<int>(1 + workload()), nullptr); }
  Fault::Kind kind() const { return std::get<0>(GetParam()).kind; }
  bool sticky() const { return std::get<1>(GetParam()); }
  /// Every n-th call only, and with sanitizers fewer still; a campaign tries them all.
  static std::size_t stride(std::size_t usual) { return std::max<std::size_t>(thinned(usual) / campaign(), 1); }
  void expect_nothing_lost(const char* name, const NewSubject& make, int steps, std::size_t usual_stride) {
    Tally tally(std::string(std::get<0>(GetParam()).name) + (sticky() ? " for good, " : " once, ") + name);
    fail_each_call(make, steps, kind(), sticky(), stride(usual_stride), tally);
    EXPECT_EQ(tally.failures(), 0u) << tally.first();
  }
};

TEST_P(DiskFault, Store) {
  const Spilling spilling = kind() == Fault::Kind::fsync_eio ? Spilling::no : Spilling::yes;  // more writes to fail
  expect_nothing_lost(
      "store", [=] { return std::make_unique<StoreSubject>(spilling); }, 20, 1);
}

TEST_P(DiskFault, Relay) {
  expect_nothing_lost(
      "relay", [] { return std::make_unique<RelaySubject>(); }, 20, 1);
}

TEST_P(DiskFault, Replica) {
  expect_nothing_lost(
      "replica", [] { return std::make_unique<ReplicaSubject>(); }, 8, 3);
}

INSTANTIATE_TEST_SUITE_P(AtEveryCall, DiskFault, testing::Combine(testing::ValuesIn(kinds), testing::Bool()), [](const auto& one) {
  return std::string(std::get<0>(one.param).name) + (std::get<1>(one.param) ? "_for_good" : "_once");
});

TEST(FullDisk, SaysSoAndOpensForReading) {
  SimulatedDisk disk;
  StoreSubject subject(Spilling::no);
  ASSERT_TRUE(subject.open(disk, true).ok());
  for (int done = -1; done < 5; ++done) ASSERT_TRUE(subject.advance(done).ok());
  disk.arm({Fault::Kind::enospc, 1, true});
  EXPECT_EQ(subject.advance(5).code(), Code::full);
  EXPECT_EQ(subject.database().poison(), nullptr);
  EXPECT_EQ(subject.progress().value(), 5);
  (void)subject.close();  // the checkpoint at closing fails too, so the WAL stays
  const Status opened = subject.open(disk, false);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_EQ(subject.progress().value(), 5);
  EXPECT_EQ(subject.advance(5).code(), Code::full);
  disk.arm({});
  EXPECT_TRUE(subject.advance(5).ok());
}

// A commit stands, and the checkpoint that it sets off fails: nothing may be written behind it.
TEST(FailedSync, OfACheckpointStopsTheRelaysStore) {
  int checkpoints = 0;
  for (std::uint64_t call = 1; call < 8; ++call) {
    SimulatedDisk disk;
    SystemRandom random;
    const char* const vfs = disk.vfs()->zName;
    ASSERT_TRUE(relay::SqliteStore::create("/relay", {}, true, random, vfs).ok());
    const auto store = std::move(*relay::SqliteStore::open("/relay", relay::SqliteStore::Mode::serve, vfs));
    const SpaceId space = random.make<SpaceId>();
    ASSERT_TRUE(store->append_roster(space, 0, view("entry")).ok());
    const auto log = *store->create_log(space, {random.make<DeviceId>(), random.make<Incarnation>(), std::nullopt, 0});
    ASSERT_TRUE(store->begin().ok());
    for (Position at = 1; at <= 9; ++at) ASSERT_TRUE(store->append_segment(log, at, random.make<Hash>(), Bytes(1'000'000)).ok());
    disk.arm({Fault::Kind::fsync_eio, call, false});
    const Status committed = store->commit();
    const bool failed = disk.calls_hit_by_fault() >= call;
    if (committed.ok() && failed) ++checkpoints;
    EXPECT_EQ(store->begin().code(), failed ? Code::io : Code::ok) << call;
    store->rollback();
  }
  EXPECT_GT(checkpoints, 0);
}

// Killed between the failed fsync and the mark that it leaves: what recovery finds is still not written behind.
class KilledBeforeItsMark final : public StoreSubject {
 public:
  KilledBeforeItsMark() : StoreSubject(Spilling::no) {}
  Status open(SimulatedDisk& disk, bool may_be_new) override {
    DOORSTEP_TRY(disk.remove(std::string(store_path) + "/main.db-wal.unsure"));
    return StoreSubject::open(disk, may_be_new);
  }
  bool may_lose_power_while_reopened() const override { return false; }
};

TEST(FailedSync, CostsNoLaterCommitEvenWithoutItsMark) {
  Tally tally("failed_fsync once, store without its mark");
  fail_each_call([] { return std::make_unique<KilledBeforeItsMark>(); }, 20, Fault::Kind::fsync_eio, false, thinned(1), tally);
  EXPECT_EQ(tally.failures(), 0u) << tally.first();
}

/// Makes a store of one step; the sync of the second fails.
void fail_to_sync(StoreSubject& subject, SimulatedDisk& disk) {
  ASSERT_TRUE(subject.open(disk, true).ok());
  ASSERT_TRUE(subject.advance(-1).ok());
  disk.arm({Fault::Kind::fsync_eio, 1, false});
  EXPECT_EQ(subject.advance(0).code(), Code::io);
}

TEST(FailedSync, PoisonsUntilOpenedAgain) {
  SimulatedDisk disk;
  StoreSubject subject(Spilling::no);
  ASSERT_NO_FATAL_FAILURE(fail_to_sync(subject, disk));
  const Error* poison = subject.database().poison();
  ASSERT_NE(poison, nullptr);
  EXPECT_NE(poison->message().find("fsync"), std::string::npos);
  EXPECT_EQ(subject.progress().code(), Code::io) << "reading is refused too";
  EXPECT_EQ(subject.advance(0).code(), Code::io);
  EXPECT_EQ(subject.close().code(), Code::io);
  StoreSubject again(Spilling::no);
  EXPECT_EQ(examine(again, disk, 0, 1).kind, Verdict::good);
}

// The log cannot be written anew, so it stays as it is: the disk may hold less of it than the kernel shows.
TEST(FailedSync, OnAFullDiskIsReadAndNothingElse) {
  SimulatedDisk disk;
  {
    StoreSubject subject(Spilling::no);
    ASSERT_NO_FATAL_FAILURE(fail_to_sync(subject, disk));
    EXPECT_EQ(subject.close().code(), Code::io);
  }
  const Image before = disk.image();
  {
    disk.arm({Fault::Kind::enospc, 1, true});
    StoreSubject subject(Spilling::no);
    ASSERT_TRUE(subject.open(disk, false).ok());
    const auto done = subject.progress();
    ASSERT_TRUE(done.ok());
    disk.arm({});
    EXPECT_EQ(subject.advance(*done).code(), Code::full);
    EXPECT_EQ(subject.database().checkpoint(true).code(), Code::full);
    (void)subject.close();
  }
  EXPECT_EQ(disk.image(), before);
  StoreSubject again(Spilling::no);
  EXPECT_EQ(examine(again, disk, 0, 1).kind, Verdict::good);
}

}  // namespace
}  // namespace doorstep::fault
