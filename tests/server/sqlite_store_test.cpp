// The contract of LogStore (server/store/log_store.hpp), held against every implementation, and what only the SQLite one promises.
#include "server/store/sqlite_store.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/server/folder.hpp"
#include "tests/server/memory_store.hpp"

namespace doorstep::relay {
namespace {

SystemRandom random_source;

struct Factory {
  const char* name;
  std::unique_ptr<LogStore> (*make)(const std::string& folder);
};

std::unique_ptr<LogStore> make_sqlite(const std::string& folder) {
  EXPECT_TRUE(SqliteStore::create(folder, {}, true, random_source));
  auto store = SqliteStore::open(folder, SqliteStore::Mode::serve);
  EXPECT_TRUE(store);
  return std::move(*store);
}
std::unique_ptr<LogStore> make_memory(const std::string&) { return std::make_unique<MemoryStore>(); }

class LogStoreContract : public testing::TestWithParam<Factory> {
 protected:
  void SetUp() override { store_ = GetParam().make(folder_.path()); }
  LogStore& store() { return *store_; }
  LogName name() { return {random_source.make<DeviceId>(), random_source.make<Incarnation>(), std::nullopt, 0}; }
  Bytes bytes(std::size_t size) {
    Bytes out(size);
    random_source.fill(out);
    return out;
  }
  SpaceId space() {
    const auto id = random_source.make<SpaceId>();
    EXPECT_TRUE(store().append_roster(id, 0, bytes(100)));
    return id;
  }
  // Segments first..last, whose hashes are random.
  void fill(LogNumber log, Position first, Position last, std::size_t size = 50) {
    for (Position p = first; p <= last; ++p) ASSERT_TRUE(store().append_segment(log, p, random_source.make<Hash>(), bytes(size))) << p;
  }
  StoredLog log(LogNumber number) {
    const auto all = store().logs();
    for (const auto& one : *all)
      if (one.number == number) return one;
    ADD_FAILURE() << "no log " << number;
    return {};
  }

  Folder folder_;
  std::unique_ptr<LogStore> store_;
};

TEST_P(LogStoreContract, KeepsRostersInOrder) {
  const auto id = random_source.make<SpaceId>();
  EXPECT_EQ(store().append_roster(id, 1, bytes(10)).code(), Code::conflict);
  std::vector<Bytes> entries;
  for (Position p = 0; p < 5; ++p) {
    entries.push_back(bytes(100));
    ASSERT_TRUE(store().append_roster(id, p, entries.back()));
  }
  EXPECT_EQ(store().append_roster(id, 4, bytes(10)).code(), Code::conflict);
  EXPECT_EQ(store().append_roster(id, 6, bytes(10)).code(), Code::conflict);
  EXPECT_EQ(*store().roster(id, 0, 1 << 20), entries);
  EXPECT_EQ(store().roster(id, 3, 1 << 20)->size(), 2u);
  EXPECT_EQ(store().roster(id, 0, 1)->size(), 1u);
  EXPECT_TRUE(store().roster(id, 5, 100)->empty());
  EXPECT_EQ(store().roster(random_source.make<SpaceId>(), 0, 100).code(), Code::not_found);
  EXPECT_EQ(*store().spaces(), std::vector<SpaceId>{id});
}

TEST_P(LogStoreContract, KeepsSegmentsContiguous) {
  const auto id = space();
  const auto log_name = name();
  const auto number = store().create_log(id, log_name);
  ASSERT_TRUE(number);
  EXPECT_EQ(store().create_log(id, log_name).code(), Code::already_exists);
  EXPECT_EQ(store().create_log(random_source.make<SpaceId>(), name()).code(), Code::not_found);
  EXPECT_EQ(store().append_segment(*number, 2, {}, bytes(9)).code(), Code::conflict);
  fill(*number, 1, 10);
  EXPECT_EQ(store().append_segment(*number, 10, {}, bytes(9)).code(), Code::conflict);
  EXPECT_EQ(store().append_segment(*number, 12, {}, bytes(9)).code(), Code::conflict);
  const auto is = log(*number);
  EXPECT_EQ(is.position, 10u);
  EXPECT_EQ(is.name, log_name);
  EXPECT_EQ(is.id, log_name.id(id));
  EXPECT_EQ(is.hash, **store().hash_at(*number, 10));
  EXPECT_FALSE(is.closed);
  EXPECT_FALSE(*store().hash_at(*number, 11));
  EXPECT_FALSE(*store().hash_at(*number, 0));
}

TEST_P(LogStoreContract, ReadsSegmentsInPortions) {
  const auto number = *store().create_log(space(), name());
  fill(number, 1, 20, 100);
  Position at = 0;
  for (const auto size : {1u, 250u, 100'000u}) {
    const auto some = store().segments(number, at, size);
    ASSERT_TRUE(some);
    ASSERT_FALSE(some->empty());
    for (const auto& segment : *some) EXPECT_EQ(segment.position, ++at);
    EXPECT_EQ(some->size(), size == 1 ? 1u : size == 250 ? 3u : 16u);
  }
  EXPECT_TRUE(store().segments(number, 20, 100)->empty());
  EXPECT_TRUE(store().segments(number, position_max, 100)->empty());
}

TEST_P(LogStoreContract, LogsDoNotMeet) {
  const auto id = space();
  const auto a = *store().create_log(id, name());
  const auto b = *store().create_log(id, name());
  fill(a, 1, 3);
  fill(b, 1, 5);
  fill(a, 4, 7);
  EXPECT_EQ(log(a).position, 7u);
  EXPECT_EQ(log(b).position, 5u);
  EXPECT_EQ(store().segments(a, 0, 1 << 20)->size(), 7u);
  EXPECT_EQ(store().segments(b, 0, 1 << 20)->size(), 5u);
}

TEST_P(LogStoreContract, SplitMovesWhatStandsAbove) {
  const auto id = space();
  const auto root = name();
  const auto number = *store().create_log(id, root);
  fill(number, 1, 10);
  const auto seventh = **store().hash_at(number, 7);
  LogName branch{root.device, root.incarnation, seventh, 6};
  const auto moved = store().split(number, 6, branch);
  ASSERT_TRUE(moved);
  ASSERT_TRUE(*moved);
  EXPECT_EQ(log(number).position, 6u);
  EXPECT_TRUE(log(number).closed);
  EXPECT_EQ(log(**moved).position, 10u);
  EXPECT_EQ(log(**moved).name, branch);
  EXPECT_FALSE(log(**moved).closed);
  EXPECT_EQ(**store().hash_at(**moved, 7), seventh);
  EXPECT_FALSE(*store().hash_at(number, 7));
  // Splitting the closed log below its head: the moved part stays closed at its head.
  LogName middle{root.device, root.incarnation, **store().hash_at(number, 4), 3};
  const auto second = store().split(number, 3, middle);
  ASSERT_TRUE(second && *second);
  EXPECT_TRUE(log(**second).closed);
  EXPECT_EQ(log(**second).position, 6u);
  // Nothing above: only closed.
  EXPECT_FALSE(store().split(**moved, 10, branch).value().has_value());
  EXPECT_TRUE(log(**moved).closed);
  // A branch goes on behind where it leaves.
  const auto other = *store().create_log(id, {root.device, root.incarnation, random_source.make<Hash>(), 6});
  EXPECT_EQ(log(other).position, 6u);
  EXPECT_EQ(store().append_segment(other, 1, {}, bytes(9)).code(), Code::conflict);
  EXPECT_TRUE(store().append_segment(other, 7, {}, bytes(9)));
}

TEST_P(LogStoreContract, RollbackLeavesWhatStood) {
  const auto id = space();
  const auto number = *store().create_log(id, name());
  fill(number, 1, 5);
  const auto before = log(number);
  ASSERT_TRUE(store().begin());
  fill(number, 6, 9);
  const auto fresh = space();
  ASSERT_TRUE(store().create_log(fresh, name()));
  ASSERT_TRUE(store().put_proposal(id, random_source.make<Hash>(), bytes(20)));
  LogName branch{before.name.device, before.name.incarnation, **store().hash_at(number, 3), 2};
  ASSERT_TRUE(store().split(number, 2, branch));
  EXPECT_EQ(log(number).position, 2u);  // reading sees the open transaction
  store().rollback();
  EXPECT_EQ(log(number).position, 5u);
  EXPECT_EQ(log(number).hash, before.hash);
  EXPECT_FALSE(log(number).closed);
  EXPECT_EQ(store().spaces()->size(), 1u);
  EXPECT_EQ(store().logs()->size(), 1u);
  EXPECT_TRUE(store().proposals(id)->empty());
  ASSERT_TRUE(store().begin());
  fill(number, 6, 6);
  ASSERT_TRUE(store().commit());
  store().rollback();
  EXPECT_EQ(log(number).position, 6u);
}

TEST_P(LogStoreContract, ProposalsAreBounded) {
  const auto id = space();
  std::vector<Hash> keys;
  for (std::size_t i = 0; i < proposals_per_space_max; ++i) {
    keys.push_back(random_source.make<Hash>());
    ASSERT_TRUE(store().put_proposal(id, keys.back(), bytes(20)));
  }
  EXPECT_EQ(store().put_proposal(id, random_source.make<Hash>(), bytes(20)).code(), Code::full);
  EXPECT_TRUE(store().put_proposal(id, keys[7], bytes(30)));  // the same one again
  EXPECT_EQ(store().proposals(id)->size(), proposals_per_space_max);
  EXPECT_EQ(store().put_proposal(space(), keys[0], bytes(proposal_bytes_max + 1)).code(), Code::too_large);
  ASSERT_TRUE(store().drop_proposal(id, keys[0]));
  EXPECT_EQ(store().proposals(id)->size(), proposals_per_space_max - 1);
  EXPECT_TRUE(store().proposals(random_source.make<SpaceId>())->empty());
}

TEST_P(LogStoreContract, CountsAndAuthorities) {
  const auto id = space();
  const auto number = *store().create_log(id, name());
  fill(number, 1, 4, 1000);
  const auto counts = store().counts();
  ASSERT_TRUE(counts);
  ASSERT_EQ(counts->size(), 1u);
  EXPECT_EQ(counts->front().segments, 4u);
  EXPECT_EQ(counts->front().segment_bytes, 4000u);
  EXPECT_EQ(counts->front().roster_entries, 1u);
  EXPECT_EQ(counts->front().logs, 1u);
  const auto authority = random_source.make<DeviceId>();
  ASSERT_TRUE(store().allow(authority));
  ASSERT_TRUE(store().allow(authority));
  EXPECT_EQ(*store().authorities(), std::vector<DeviceId>{authority});
}

INSTANTIATE_TEST_SUITE_P(Stores, LogStoreContract, testing::Values(Factory{"Sqlite", make_sqlite}, Factory{"Memory", make_memory}),
                         [](const auto& one) { return one.param.name; });

// ---- SQLite ------------------------------------------------------------------------------------------------------------

TEST(SqliteStoreTest, NeverOverwrites) {
  Folder folder;
  ASSERT_TRUE(SqliteStore::create(folder.path(), {}, true, random_source));
  const auto before = SqliteStore::open(folder.path(), SqliteStore::Mode::read_only).value()->identity();
  EXPECT_EQ(SqliteStore::create(folder.path(), {}, false, random_source).code(), Code::already_exists);
  const auto after = SqliteStore::open(folder.path(), SqliteStore::Mode::read_only).value()->identity();
  EXPECT_EQ(before->store, after->store);
  EXPECT_EQ(before->transport.public_key, after->transport.public_key);
  EXPECT_TRUE(after->open);
}

TEST(SqliteStoreTest, KeysAreForTheOwnerOnly) {
  Folder folder;
  ASSERT_TRUE(SqliteStore::create(folder.path(), {}, true, random_source));
  const auto mode = std::filesystem::status(folder.path() + "/relay.db").permissions();
  EXPECT_EQ(mode & std::filesystem::perms::all, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST(SqliteStoreTest, OneServesOthersRead) {
  Folder folder;
  ASSERT_TRUE(SqliteStore::create(folder.path(), {}, false, random_source));
  const auto serving = SqliteStore::open(folder.path(), SqliteStore::Mode::serve);
  ASSERT_TRUE(serving);
  EXPECT_EQ(SqliteStore::open(folder.path(), SqliteStore::Mode::serve).code(), Code::busy);
  ASSERT_TRUE((*serving)->append_roster(random_source.make<SpaceId>(), 0, view("entry")));
  const auto reading = SqliteStore::open(folder.path(), SqliteStore::Mode::read_only);
  ASSERT_TRUE(reading);
  EXPECT_EQ((*reading)->counts()->size(), 1u);
  const auto amending = SqliteStore::open(folder.path(), SqliteStore::Mode::amend);
  ASSERT_TRUE(amending);
  ASSERT_TRUE((*amending)->allow(random_source.make<DeviceId>()));
  EXPECT_EQ((*serving)->authorities()->size(), 1u);
}

TEST(SqliteStoreTest, OpensOnlyWhatIsOne) {
  Folder folder;
  EXPECT_EQ(SqliteStore::open(folder.path(), SqliteStore::Mode::serve).code(), Code::not_found);
  std::ofstream(folder.path() + "/relay.db") << "this is not a database, but it is long enough to be looked at as one, surely";
  EXPECT_EQ(SqliteStore::open(folder.path(), SqliteStore::Mode::serve).code(), Code::corrupt);
  std::filesystem::resize_file(folder.path() + "/relay.db", 0);  // init died before anything was in it
  EXPECT_EQ(SqliteStore::open(folder.path(), SqliteStore::Mode::serve).code(), Code::corrupt);
}

TEST(SqliteStoreTest, SurvivesReopening) {
  Folder folder;
  ASSERT_TRUE(SqliteStore::create(folder.path(), {}, true, random_source));
  const auto id = random_source.make<SpaceId>();
  const LogName name{random_source.make<DeviceId>(), random_source.make<Incarnation>(), random_source.make<Hash>(), 41};
  const auto hash = random_source.make<Hash>();
  {
    auto store = std::move(*SqliteStore::open(folder.path(), SqliteStore::Mode::serve));
    ASSERT_TRUE(store->append_roster(id, 0, view("founding")));
    const auto number = store->create_log(id, name);
    ASSERT_TRUE(store->append_segment(*number, 42, hash, view("segment")));
  }
  auto store = std::move(*SqliteStore::open(folder.path(), SqliteStore::Mode::serve));
  const auto logs = store->logs();
  ASSERT_EQ(logs->size(), 1u);
  EXPECT_EQ(logs->front().name, name);
  EXPECT_EQ(logs->front().position, 42u);
  EXPECT_EQ(logs->front().hash, hash);
  EXPECT_EQ(logs->front().space, id);
}

}  // namespace
}  // namespace doorstep::relay
