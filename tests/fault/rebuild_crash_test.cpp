// A rebuild that is interrupted: by a power cut at any operation on the disk, or by a disk that is full. The store is the damaged one,
// which can be rebuilt again, or the new one; and the damaged files are there, byte for byte.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "doorstep/doorstep.hpp"
#include "sdk/core/core.hpp"
#include "sdk/store/vfs.hpp"
#include "tests/fault/crash_vfs.hpp"
#include "tests/sdk/replica_fixture.hpp"

namespace doorstep::fault {
namespace {

constexpr const char* passphrase = "passphrase";
const std::string store = "/disk";

class RebuildCrashTest : public testing::Test {
 protected:
  // A store with work in segments and outside, its last commits in the WAL alone, and a page of it damaged that holds none of that.
  void SetUp() override {
    SimulatedDisk disk;
    Platform platform = on(disk);
    auto replica = Replica::create(options(platform), passphrase);
    ASSERT_OK(replica);
    auto founded = replica->found({.name = "石桥村", .role = "town_clerk", .label = "吴"});
    ASSERT_OK(founded);
    village_ = *founded;
    people_.push_back(put_person(*replica, village_, 0));
    {
      const TakeTurn<Turn> guard(replica->core()->mutex);
      auto space = replica->core()->space(village_);
      ASSERT_OK(replica->core()->change([&] { return replica->core()->seal_pending(**space); }));
      ASSERT_OK(replica->core()->database().checkpoint(true));
    }
    people_.push_back(put_person(*replica, village_, 1));
    people_.push_back(put_person(*replica, village_, 2));
    const auto key = replica->database_key();
    ASSERT_OK(key);
    key_.emplace(key->duplicate());
    damaged_ = disk.image();
    ASSERT_FALSE(damaged_.at(store + "/main.db-wal").empty());
    // Found by trying: a page that opening needs, that the WAL does not replace, and without which nothing is lost.
    Bytes& main = damaged_.at(store + "/main.db");
    for (std::size_t page = main.size() / page_bytes; page > 2; --page) {
      Image image = damaged_;
      image.at(store + "/main.db")[(page - 1) * page_bytes + 7] ^= 1;
      if (opens(image)) continue;
      SimulatedDisk tried(image);
      Platform other = on(tried);
      const auto report = Replica::rebuild(options(other), passphrase);
      if (!report || report->roster_entries != 1 || report->segments != 1 || report->transactions_unsent != 2) continue;
      main = image.at(store + "/main.db");
      return;
    }
    FAIL() << "no page to damage";
  }
  static Platform on(SimulatedDisk& disk) { return {.files = &disk, .vfs = disk.vfs()}; }
  ReplicaOptions options(const Platform& platform) {
    auto out = cheap_options(store, &clock_);
    out.platform = &platform;
    return out;
  }

  /// On a disk of its own: opening a damaged store checkpoints its WAL.
  bool opens(const Image& image) {
    SimulatedDisk disk(image);
    Platform platform = on(disk);
    const auto found = Replica::open_with_key(options(platform), *key_);
    if (!found) { EXPECT_EQ(found.code(), Code::corrupt) << found.error().message(); }
    return found.ok();
  }

  /// The oracle. True if the store that was found is the new one.
  bool check(const Image& image) {
    SimulatedDisk disk(image);
    Platform platform = on(disk);
    const bool is_new = opens(image);
    if (!is_new) {
      const auto again = Replica::rebuild(options(platform), passphrase);
      EXPECT_TRUE(again.ok()) << (again.ok() ? "" : again.error().message());
      if (!again) return false;
      EXPECT_EQ(again->kept, "damaged-1");
    }
    auto found = Replica::open_with_key(options(platform), *key_);
    EXPECT_TRUE(found.ok()) << (found.ok() ? "" : found.error().message());
    if (!found) return is_new;
    EXPECT_TRUE(found->verify().ok());
    for (const auto& id : people_) EXPECT_TRUE(found->get(village_, id).ok());
    EXPECT_EQ(found->pending(village_)->unsealed, 2u);
    people_.push_back(put_person(*found, village_, 3));
    EXPECT_TRUE(found->get(village_, people_.back()).ok());
    people_.pop_back();
    const Image after = disk.image();
    for (const char* name : {"main.db", "main.db-wal"}) {
      const auto kept = after.find(store + "/damaged-1/" + name);
      EXPECT_TRUE(kept != after.end() && kept->second == damaged_.at(store + "/" + name)) << name << " is not kept as it was";
    }
    return is_new;
  }

  FakeClock clock_;
  SpaceId village_;
  std::vector<RecordId> people_;
  std::optional<SymmetricKey> key_;
  Image damaged_;
};

TEST_F(RebuildCrashTest, APowerCutAtAnyOperationLeavesTheDamagedStoreOrTheNewOne) {
  SimulatedDisk disk(damaged_);
  Platform platform = on(disk);
  ASSERT_OK(Replica::rebuild(options(platform), passphrase));
  const char* campaign = std::getenv("DOORSTEP_CAMPAIGN");
  const std::uint64_t rounds = std::max<std::uint64_t>(1, campaign ? std::strtoull(campaign, nullptr, 10) : 1);
  // Most operations only write the new database, where nobody looks before it is finished; the last ones, from a little before it is
  // complete, are the ones that count: all kinds of damage there, one before.
  const auto& events = disk.events();
  const auto finished = std::find_if(events.begin(), events.end(), [](const Event& e) { return e.to.ends_with("main.db.rebuilt"); });
  ASSERT_NE(finished, events.end());
  const auto from = static_cast<std::size_t>(finished - events.begin()) - 4;
  CrashWalk walk(damaged_, events);
  std::size_t old_ones = 0, new_ones = 0;
  for (std::size_t count = 0; count <= events.size(); ++count) {
    walk.advance_to(count);
    if (count < from && count % 16 != 0) continue;
    for (std::uint64_t round = 0; round < rounds * (count < from ? 1 : damage_kinds); ++round) {
      const auto damage = static_cast<Damage>((round + (count < from ? count / 16 : 0)) % damage_kinds);
      SCOPED_TRACE("after operation " + std::to_string(count) + " of " + std::to_string(events.size()) + ", damage " +
                   std::to_string(static_cast<int>(damage)));
      check(walk.image(damage, count * 100 + round)) ? ++new_ones : ++old_ones;
      if (HasFailure()) return;
    }
  }
  std::printf("  %zu disks: %zu with the damaged store, %zu with the new one\n", old_ones + new_ones, old_ones, new_ones);
  EXPECT_GT(old_ones, 0u);
  EXPECT_GT(new_ones, 0u);
}

TEST_F(RebuildCrashTest, AFullOrFailingDiskChangesNothingAndTheNextCallGoesOn) {
  for (const auto kind : {Fault::Kind::enospc, Fault::Kind::eio, Fault::Kind::fsync_eio}) {
    for (std::uint64_t call = 1;; call += kind == Fault::Kind::eio ? 17 : 1) {
      SCOPED_TRACE("kind " + std::to_string(static_cast<int>(kind)) + ", call " + std::to_string(call));
      SimulatedDisk disk(damaged_);
      Platform platform = on(disk);
      disk.arm({kind, call, kind == Fault::Kind::enospc});
      const auto report = Replica::rebuild(options(platform), passphrase);
      const bool reached = disk.calls_hit_by_fault() >= call;
      disk.arm({});
      if (!report) {
        if (kind == Fault::Kind::enospc) { EXPECT_EQ(report.code(), Code::full) << report.error().message(); }
        const Image left = disk.image();
        if (kind == Fault::Kind::enospc) { EXPECT_EQ(left.at(store + "/main.db"), damaged_.at(store + "/main.db")); }
        if (kind == Fault::Kind::enospc) {
          EXPECT_FALSE(left.contains(store + "/rebuild/main.db")) << "a full disk does not stay full because of us";
        }
      }
      // A sector that could not be read once is a page that the rebuild went on without; the files are kept.
      if (kind != Fault::Kind::eio || !report) check(disk.image());
      if (HasFailure() || !reached) break;
    }
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace doorstep::fault
