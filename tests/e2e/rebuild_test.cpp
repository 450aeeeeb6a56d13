// A damaged phone or desk, rebuilt and synced: nothing is missing that the relay has or that stood in a whole page, whatever was damaged.
#include <algorithm>
#include <cstdlib>
#include <random>

#include "tests/e2e/running_relay.hpp"
#include "tests/sdk/damage.hpp"
#include "tests/sdk/replica_fixture.hpp"

namespace doorstep {
namespace {

constexpr const char* passphrase = "passphrase";

class RebuildAndSyncTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = Replica::create(options("desk"), passphrase);
    ASSERT_OK(made);
    desk_.emplace(std::move(*made));
    auto authority = desk_->authority();
    ASSERT_OK(authority);
    relay_.emplace(directory_ / "relay", std::vector<DeviceId>{*authority});
    auto founded = desk_->found({.name = "石桥村", .role = "town_clerk", .label = "吴", .relays = {relay_->address()}});
    ASSERT_OK(founded);
    village_ = *founded;
    auto phone = Replica::create(options("phone"), passphrase);
    ASSERT_OK(phone);
    phone_.emplace(std::move(*phone));
    phone_key_.emplace(key_of(*phone_));
    join(*phone_);
  }
  ReplicaOptions options(const std::string& name) { return cheap_options(directory_ / name, &clock_); }
  std::string file(const std::string& name) { return directory_ / name; }
  void open(std::optional<Replica>& replica, const std::string& name) {
    auto opened = Replica::open(options(name), passphrase);
    ASSERT_OK(opened);
    replica.emplace(std::move(*opened));
  }
  SyncReport sync_now(Replica& replica) {
    auto report = sync(replica, {.timeout_ms = 20'000});
    EXPECT_TRUE(report.ok()) << (report.ok() ? "" : report.error().message());
    return report ? *report : SyncReport{};
  }
  void join(Replica& replica) {
    auto uri = desk_->invite(village_, {});
    ASSERT_OK(uri);
    sync_now(*desk_);
    ASSERT_OK(replica.join(*uri, "兰", "石桥村"));
    sync_now(replica);
    sync_now(*desk_);
    ASSERT_OK(desk_->admit(village_, replica.device()));
    sync_now(*desk_);
    sync_now(replica);
    ASSERT_EQ(replica.space(village_)->waits_for, "");
  }
  /// What a link does before a segment leaves; here it breaks at that moment.
  void seal(Replica& replica) {
    const TakeTurn<Turn> guard(replica.core()->mutex);
    auto space = replica.core()->space(village_);
    ASSERT_OK(space);
    ASSERT_OK(replica.core()->change([&] { return replica.core()->seal_pending(**space); }));
  }
  /// The store as a phone's sudden death leaves it: what was committed last stands in the WAL only.
  void die(std::optional<Replica>& replica, const std::string& name) {
    std::filesystem::copy(file(name), file(name + ".dead"), std::filesystem::copy_options::recursive);
    replica.reset();
    std::filesystem::remove_all(file(name));
    std::filesystem::rename(file(name + ".dead"), file(name));
  }
  void expect_level() {
    sync_now(*phone_);
    sync_now(*desk_);
    sync_now(*phone_);
    EXPECT_EQ(*phone_->state_digest(village_), *desk_->state_digest(village_));
    for (Replica* replica : {&*phone_, &*desk_}) {
      const Status whole = replica->verify();
      EXPECT_TRUE(whole.ok()) << (whole.ok() ? "" : whole.error().message());
      EXPECT_EQ(replica->pending(village_)->transactions, 0u);
      for (const auto& held : *replica->quarantine(village_)) ADD_FAILURE() << held.transactions << " in quarantine: " << held.reason;
    }
  }

  TemporaryDirectory directory_;
  FakeClock clock_;
  std::optional<RunningRelay> relay_;
  std::optional<Replica> desk_, phone_;
  std::optional<DatabaseKey> phone_key_;
  SpaceId village_;
};

// ---- Whatever is damaged -------------------------------------------------------------------------------------------------------

/// A seed's damage to main.db and main.db-wal, and where it is.
struct Damaged {
  Places places;
  bool log_header = false;
};

class AnyDamageTest : public RebuildAndSyncTest {
 protected:
  using Dice = std::mt19937_64;
  std::size_t below(Dice& dice, std::size_t bound) { return bound == 0 ? 0 : dice() % bound; }

  void damage_bytes(Bytes& bytes, std::size_t at, std::size_t size, bool zero, Dice& dice) {
    for (std::size_t i = at; i < std::min(bytes.size(), at + size); ++i)
      bytes[i] = zero ? 0 : static_cast<std::uint8_t>(bytes[i] ^ (1 + dice() % 255));
  }

  Damaged damage_files(Dice& dice) {
    Damaged out;
    Bytes main = read_file(file("phone/main.db")), log = read_file(file("phone/main.db-wal"));
    const std::size_t pages = main.size() / page_bytes;
    const std::size_t frames = log.size() < wal_header_record_bytes ? 0 : (log.size() - wal_header_record_bytes) / slot_bytes;
    const auto page_lost = [&](std::size_t page) { out.places.insert({"main", page}); };
    switch (below(dice, 6)) {
      case 0: {  // a bit, or a few
        for (std::size_t i = 0, count = 1 + below(dice, 4); i < count; ++i) {
          const auto page = below(dice, pages);
          main[page * page_bytes + below(dice, page_bytes)] ^= static_cast<std::uint8_t>(1 << below(dice, 8));
          page_lost(page + 1);
        }
        break;
      }
      case 1: {  // a block of flash, gone or garbled
        const auto first = below(dice, pages), count = 1 + below(dice, 16);
        damage_bytes(main, first * page_bytes, count * page_bytes, below(dice, 2) == 0, dice);
        for (auto page = first; page < std::min(pages, first + count); ++page) page_lost(page + 1);
        break;
      }
      case 2: {  // cut off
        const auto kept = below(dice, main.size());
        main.resize(kept);
        for (auto page = kept / page_bytes; page < pages; ++page) page_lost(page + 1);
        break;
      }
      case 3: {  // all zeros, or random
        damage_bytes(main, 0, main.size(), below(dice, 2) == 0, dice);
        for (std::size_t page = 1; page <= pages; ++page) page_lost(page);
        break;
      }
      case 4: {  // two pages in each other's place
        const auto a = below(dice, pages), b = below(dice, pages);
        std::swap_ranges(main.begin() + static_cast<std::ptrdiff_t>(a * page_bytes),
                         main.begin() + static_cast<std::ptrdiff_t>((a + 1) * page_bytes),
                         main.begin() + static_cast<std::ptrdiff_t>(b * page_bytes));
        if (a != b) page_lost(a + 1), page_lost(b + 1);
        break;
      }
      default: {  // pages and log
        const auto page = below(dice, pages);
        damage_bytes(main, page * page_bytes, page_bytes, false, dice);
        page_lost(page + 1);
        if (frames != 0 && below(dice, 4) != 0) {
          const auto frame = below(dice, frames);
          damage_bytes(log, wal_header_record_bytes + frame * slot_bytes + below(dice, slot_bytes), 1, false, dice);
          out.places.insert({"wal", frame + 1});
        } else if (!log.empty()) {
          damage_bytes(log, 3, 1, false, dice);
          out.log_header = true;
        }
      }
    }
    write_file(file("phone/main.db"), main);
    if (!log.empty()) write_file(file("phone/main.db-wal"), log);
    return out;
  }
};

struct Unsent {
  RecordId record;
  std::string row;  ///< The query that reads its row.
  bool edit = false;
};

TEST_F(AnyDamageTest, WhatTheRelayHasAndWhatStoodInAWholePageIsNotMissing) {
  const char* campaign = std::getenv("DOORSTEP_CAMPAIGN");
  const char* chosen = std::getenv("DOORSTEP_SEED");
  const std::uint64_t seeds = 24 * std::max<std::uint64_t>(1, campaign ? std::strtoull(campaign, nullptr, 10) : 1);
  std::size_t person = 0, rebuilt = 0, saved_unsent = 0, lost_unsent = 0;
  std::vector<RecordId> at_relay;
  std::set<RecordId> lost;
  const auto somebody = [&](Replica& replica) { return put_person(replica, village_, person++ % 30); };
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    if (chosen && std::strtoull(chosen, nullptr, 10) != seed) continue;
    SCOPED_TRACE("DOORSTEP_SEED=" + std::to_string(seed));
    Dice dice(seed);
    // Some of it is everywhere, some at the relay and not here, some here alone: in segments, and in none.
    for (std::size_t i = 0, count = 1 + below(dice, 5); i < count; ++i) at_relay.push_back(somebody(*phone_));
    const RecordId shared = somebody(*desk_);
    at_relay.push_back(shared);
    ASSERT_OK(set_field(*desk_, village_, shared, "self_care", std::string("1")));
    sync_now(*desk_);
    sync_now(*phone_);
    at_relay.push_back(somebody(*desk_));
    sync_now(*desk_);
    std::vector<Unsent> unsent;
    for (std::size_t i = 0, count = below(dice, 4); i < count; ++i) {
      unsent.push_back({somebody(*phone_), {}, false});
      seal(*phone_);
    }
    const std::size_t sealed = unsent.size();
    for (std::size_t i = 0; i < sealed; ++i) {
      const TakeTurn<Turn> guard(phone_->core()->mutex);
      auto space = phone_->core()->space(village_);
      const auto& log = (*space)->logs.at((*space)->own_log);
      unsent[i].row = "SELECT bytes FROM segment WHERE n = " + std::to_string(segment_row(log.n, log.head.position - (sealed - 1 - i)));
    }
    const std::string other = below(dice, 2) == 0 ? "2" : "3";
    const auto pending_row = [&] { return "SELECT bytes FROM pending WHERE n = " + std::to_string(unsent.size() - sealed + 1); };
    for (std::size_t i = 0, count = below(dice, 5); i < count; ++i) unsent.push_back({somebody(*phone_), pending_row(), false});
    unsent.push_back({shared, pending_row(), true});
    ASSERT_OK(set_field(*phone_, village_, shared, "self_care", other));
    for (std::size_t i = 0, count = below(dice, 3); i < count; ++i) unsent.push_back({somebody(*phone_), pending_row(), false});
    if (below(dice, 2) == 0)
      die(phone_, "phone");
    else
      phone_.reset();

    std::vector<std::string> queries;
    for (const auto& each : unsent) queries.push_back(each.row);
    const auto places = places_of(options("phone"), passphrase, *phone_key_, queries);
    const Damaged damaged = damage_files(dice);
    const Bytes main = read_file(file("phone/main.db")), log = read_file(file("phone/main.db-wal"));
    const auto report = Replica::rebuild(options("phone"), passphrase);
    if (report.code() != Code::invalid_argument) {  // the newest version of a damaged page may stand in the WAL
      ASSERT_OK(report);
      ++rebuilt;
      EXPECT_TRUE(read_file(file("phone/" + report->kept + "/main.db")) == main);
      EXPECT_TRUE(read_file(file("phone/" + report->kept + "/main.db-wal")) == log);
      EXPECT_EQ(report->spaces, 1u);
    }
    open(phone_, "phone");
    ASSERT_OK(phone_->verify());
    if (report) {
      EXPECT_EQ(report->transactions_unsent, phone_->pending(village_)->unsealed);
      EXPECT_EQ(phone_->space(village_)->waits_for, "rebuild");
      EXPECT_EQ(phone_->space(village_)->name, "石桥村");
    }
    // Work goes on before there is a signal.
    at_relay.push_back(somebody(*phone_));
    expect_level();
    for (const auto& id : at_relay)
      if (!lost.contains(id)) { EXPECT_TRUE(phone_->get(village_, id).ok()); }
    for (std::size_t i = 0; i < unsent.size(); ++i) {
      const bool whole = std::none_of(places[i].begin(), places[i].end(), [&](const Place& place) {
        return damaged.places.contains(place) || (damaged.log_header && place.first == "wal");
      });
      const auto view = desk_->get(village_, unsent[i].record);
      const bool there = view.ok() && (!unsent[i].edit || view->text("self_care") == other);
      EXPECT_TRUE(there || !whole) << "unsent work " << i << (i < sealed ? ", sealed" : "") << (unsent[i].edit ? ", an edit" : "");
      if (there && unsent[i].edit) { EXPECT_FALSE(view->conflicted("self_care")) << "who saw the value still supersedes it"; }
      there ? ++saved_unsent : ++lost_unsent;
      if (there) at_relay.push_back(unsent[i].record);
    }
    if (HasFailure()) break;
  }
  std::printf("  %zu rebuilds, %zu unsent transactions saved, %zu stood in what was destroyed\n", rebuilt, saved_unsent, lost_unsent);
  if (!chosen) {
    EXPECT_GT(rebuilt, seeds / 2);
    EXPECT_GT(saved_unsent, seeds);
    EXPECT_GT(lost_unsent, 0u);
  }
}

// ---- The desk, which makes the roster ---------------------------------------------------------------------------------------------

TEST_F(RebuildAndSyncTest, ADeskWithoutADatabaseIsTheSequencerAgain) {
  put_person(*phone_, village_, 1);
  put_person(*desk_, village_, 2);
  sync_now(*phone_);
  sync_now(*desk_);
  const auto size = desk_->space(village_)->roster_size;
  desk_.reset();
  write_file(file("desk/main.db"), Bytes(std::filesystem::file_size(file("desk/main.db"))));
  std::filesystem::remove(file("desk/main.db-wal"));
  ASSERT_OK(Replica::rebuild(options("desk"), passphrase));
  open(desk_, "desk");
  EXPECT_EQ(desk_->space(village_)->roster_size, 0u);
  EXPECT_FALSE(desk_->invite(village_, {}).ok());
  expect_level();
  EXPECT_EQ(desk_->space(village_)->roster_size, size);
  EXPECT_TRUE(desk_->space(village_)->sequencer);
  EXPECT_EQ(*desk_->count(village_, "person"), 2u);
  auto third = Replica::create(options("third"), passphrase);
  ASSERT_OK(third);
  join(*third);
  EXPECT_EQ(*third->count(village_, "person"), 2u);
}

// What of the roster stands behind a gap that the relay fills is not lost, and until then nothing is appended: two entries at one
// position would be a fork.
TEST_F(RebuildAndSyncTest, ADeskAppendsToNoRosterThatMayBeTooShort) {
  for (int i = 0; i < 30; ++i) ASSERT_OK(desk_->invite(village_, {}));
  sync_now(*desk_);
  const auto synced = desk_->space(village_)->roster_size;
  for (int i = 0; i < 30; ++i) ASSERT_OK(desk_->invite(village_, {}));
  const auto size = desk_->space(village_)->roster_size;
  const DatabaseKey key = key_of(*desk_);
  desk_.reset();
  const std::string row = "SELECT entry FROM roster WHERE space = 1 AND position = ";
  const auto places = places_of(options("desk"), passphrase, key, {row + std::to_string(synced - 20), row + std::to_string(size - 1)});
  Bytes bytes = read_file(file("desk/main.db"));
  for (const auto& place : places.front())
    if (!places.back().contains(place)) bytes[(place.second - 1) * page_bytes] ^= 1;  // not what leads to all of them
  write_file(file("desk/main.db"), bytes);
  const auto report = Replica::rebuild(options("desk"), passphrase);
  ASSERT_OK(report);
  EXPECT_GT(report->roster_entries, 0u);
  EXPECT_LE(report->roster_entries, synced - 20);
  EXPECT_GE(report->roster_entries_waiting, size - synced);
  open(desk_, "desk");
  const auto refused = desk_->invite(village_, {});
  EXPECT_EQ(refused.code(), Code::waiting);
  EXPECT_EQ(desk_->set_relays(village_, {relay_->address()}).code(), Code::waiting);
  sync_now(*desk_);
  EXPECT_EQ(desk_->space(village_)->roster_size, size) << "what only this desk had is there again";
  ASSERT_OK(desk_->invite(village_, {}));
  expect_level();
  EXPECT_EQ(phone_->space(village_)->roster_size, size + 1);
}

// The vault knows how long the roster was: where nothing of it is lost, a desk needs no relay to go on, least of all one that is gone.
TEST_F(RebuildAndSyncTest, ADeskWhoseRosterIsWholeGoesOnWithoutTheRelay) {
  put_person(*desk_, village_, 1);
  sync_now(*desk_);
  sync_now(*phone_);
  const DeviceId authority = *desk_->authority();
  const DatabaseKey key = key_of(*desk_);
  desk_.reset();
  relay_.reset();
  Bytes bytes = read_file(file("desk/main.db"));
  const auto places = places_of(options("desk"), passphrase, key, {"SELECT body FROM record ORDER BY n DESC LIMIT 1"});
  for (const auto& [in, page] : places.front()) bytes[(page - 1) * page_bytes] ^= 1;
  write_file(file("desk/main.db"), bytes);
  ASSERT_OK(Replica::rebuild(options("desk"), passphrase));
  open(desk_, "desk");
  ASSERT_OK(desk_->invite(village_, {}));
  relay_.emplace(directory_ / "other", std::vector<DeviceId>{authority});
  ASSERT_OK(desk_->set_relays(village_, {relay_->address()}));
  sync_now(*desk_);
  EXPECT_EQ(desk_->space(village_)->waits_for, "");
  EXPECT_EQ(desk_->pending(village_)->transactions, 0u);
  auto third = Replica::create(options("third"), passphrase);
  ASSERT_OK(third);
  join(*third);
  EXPECT_EQ(*third->state_digest(village_), *desk_->state_digest(village_));
}

// A relay that lost its disk and a phone that is damaged, at one time: each gives the other what it has.
TEST_F(RebuildAndSyncTest, ARelayThatIsEmptyGetsWhatTheRebuiltPhoneSaved) {
  for (std::size_t i = 0; i < 8; ++i) {
    put_person(*phone_, village_, i);
    sync_now(*phone_);
  }
  sync_now(*desk_);
  const Hash digest = *desk_->state_digest(village_);
  phone_.reset();
  Bytes bytes = read_file(file("phone/main.db"));
  const auto last = places_of(options("phone"), passphrase, *phone_key_, {"SELECT body FROM record ORDER BY n DESC LIMIT 1"});
  for (const auto& [in, page] : last.front()) bytes[(page - 1) * page_bytes] ^= 1;  // records are made again from segments
  write_file(file("phone/main.db"), bytes);
  const auto report = Replica::rebuild(options("phone"), passphrase);
  ASSERT_OK(report);
  EXPECT_EQ(report->segments_waiting + report->segments_unnamed, 0u);
  open(phone_, "phone");
  EXPECT_EQ(*phone_->state_digest(village_), digest) << "the segments were whole, so the records are";
  expect_level();
}

}  // namespace
}  // namespace doorstep
