// A power cut at every moment of a life, for everything that stands on a disk.
#include <gtest/gtest.h>

#include "sdk/store/vault.hpp"
#include "tests/fault/crash_points.hpp"
#include "tests/fault/relay_subject.hpp"
#include "tests/fault/replica_subject.hpp"
#include "tests/fault/store_subject.hpp"

namespace doorstep::fault {
namespace {

struct Case {
  const char* name;
  NewSubject make;
  int steps;
  int variants;  ///< Damaged disks for each moment.
};

constexpr std::size_t parts = 4;  ///< Of the moments of a life, so that cores can share them.

class PowerCut : public testing::TestWithParam<std::tuple<Case, std::size_t>> {
 protected:
  // SQLite's own random numbers (the WAL's salts): the same in every run.
  void SetUp() override { sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, static_cast<int>(1 + workload()), nullptr); }
};

TEST_P(PowerCut, LosesNothing) {
  const auto& [subject, part] = GetParam();
  const Recording recording = record(subject.make, subject.steps);
  ASSERT_FALSE(HasFailure());
  Tally tally(std::string("power cuts, ") + subject.name);
  enumerate_power_cuts(recording, part, parts, subject.variants, tally);
  EXPECT_EQ(tally.failures(), 0u) << tally.first();
}

const Case cases[] = {
    {"store", [] { return std::make_unique<StoreSubject>(Spilling::no); }, 48, 190},
    {"store_spilling", [] { return std::make_unique<StoreSubject>(Spilling::yes); }, 48, 48},
    {"relay", [] { return std::make_unique<RelaySubject>(); }, RelaySubject::steps_max(), 19},
    {"replica", [] { return std::make_unique<ReplicaSubject>(); }, 24, 19},
};

INSTANTIATE_TEST_SUITE_P(AtEveryMoment, PowerCut, testing::Combine(testing::ValuesIn(cases), testing::Range(std::size_t{0}, parts)),
                         [](const auto& one) {
                           return std::string(std::get<0>(one.param).name) + "_" + std::to_string(std::get<1>(one.param));
                         });

// Creation and replacement of the vault are the only writes that are not SQLite's.
TEST(VaultPowerCut, LosesNothing) {
  SimulatedDisk disk;
  DiceRandom random(3);
  auto directory = std::move(StoreDirectory::acquire(store_path, disk)).value();
  Vault vault = std::move(Vault::create(directory, {view("one"), {}}, view("secret 0"), view("plain 0"), random, argon2_floor)).value();
  const DatabaseKey key = std::move(vault.database_key()).value();
  std::vector<std::size_t> acknowledged = {disk.events().size()};
  for (int i = 1; i <= 6; ++i) {
    ASSERT_TRUE(vault.set_secrets(view("secret " + std::to_string(i))).ok());
    acknowledged.push_back(disk.events().size());
  }
  CrashWalk walk({}, disk.events());
  for (std::size_t count = 0; count <= disk.events().size(); ++count) {
    walk.advance_to(count);
    const auto done = static_cast<int>(std::upper_bound(acknowledged.begin(), acknowledged.end(), count) - acknowledged.begin()) - 1;
    for (std::uint64_t seed = 0; seed < 3 * damage_kinds * campaign(); ++seed) {
      SimulatedDisk after(walk.image(static_cast<Damage>(seed % damage_kinds), seed));
      auto loaded = Vault::load(std::move(StoreDirectory::acquire(store_path, after)).value(), random);
      if (done < 0 && !loaded.ok()) continue;
      ASSERT_TRUE(loaded.ok()) << count << " " << seed << ": " << loaded.error().message();
      ASSERT_TRUE(loaded->open_with_key(key.key).ok());
      const std::string secret(text_view(*loaded->secrets()));
      EXPECT_TRUE(secret == "secret " + std::to_string(done) || secret == "secret " + std::to_string(done + 1))
          << secret << " at " << count;
    }
  }
}

}  // namespace
}  // namespace doorstep::fault
