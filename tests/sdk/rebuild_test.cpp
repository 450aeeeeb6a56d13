// A damaged store, rebuilt from what can still be read, without a relay: everything that stands in a page that is whole comes back, the
// damaged files are kept, and nothing is done to a whole store. With a relay: tests/e2e/rebuild_test.cpp; crashes and full disks:
// tests/fault/rebuild_crash_test.cpp.
#include <algorithm>

#include "sdk/store/salvage.hpp"
#include "tests/sdk/damage.hpp"
#include "tests/sdk/replica_fixture.hpp"

namespace doorstep {
namespace {

constexpr const char* passphrase = "passphrase";

std::map<std::string, Bytes> files_of(const std::string& directory) {
  std::map<std::string, Bytes> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    if (entry.is_regular_file()) out[std::filesystem::relative(entry.path(), directory)] = read_file(entry.path());
  return out;
}
void flip(Bytes& file, std::size_t page) { file.at((page - 1) * page_bytes + 1000) ^= 0x10; }

class RebuildTest : public testing::Test {
 protected:
  // A village with work that is sealed, in a log of our own, and work that is not; a draft; and a page to spare of everything.
  void SetUp() override {
    auto made = Replica::create(options(), passphrase);
    ASSERT_OK(made);
    auto founded = made->found({.name = "石桥村", .role = "town_clerk", .label = "吴"});
    ASSERT_OK(founded);
    village_ = *founded;
    for (std::size_t i = 0; i < 16; ++i) {
      sealed_.push_back(put_person(*made, village_, i));
      seal(*made);
    }
    for (std::size_t i = 16; i < 20; ++i) pending_.push_back(put_person(*made, village_, i));
    draft_ = made->new_draft_id();
    ASSERT_OK(made->save_draft(draft_, "home_visit", R"({"visit_mode":"1"})"));
    digest_ = *made->state_digest(village_);
    key_.emplace(key_of(*made));
    ASSERT_OK(made->lock());
  }
  ReplicaOptions options() { return cheap_options(directory_ / "store", &clock_); }
  std::string file(const std::string& name) { return directory_ / ("store/" + name); }
  /// What a link does when a relay is level with us.
  void seal(Replica& replica) {
    const TakeTurn<Turn> guard(replica.core()->mutex);
    auto space = replica.core()->space(village_);
    ASSERT_OK(space);
    ASSERT_OK(replica.core()->change([&] { return replica.core()->seal_pending(**space); }));
  }
  Replica open() {
    auto opened = Replica::open(options(), passphrase);
    EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().message());
    return std::move(*opened);
  }
  std::size_t page_count() { return std::filesystem::file_size(file("main.db")) / page_bytes; }
  std::vector<RecordId> everybody() {
    std::vector<RecordId> out = sealed_;
    out.insert(out.end(), pending_.begin(), pending_.end());
    return out;
  }

  TemporaryDirectory directory_;
  FakeClock clock_;
  SpaceId village_;
  std::vector<RecordId> sealed_, pending_;
  RecordId draft_;
  Hash digest_;
  std::optional<DatabaseKey> key_;
};

TEST_F(RebuildTest, AWholeStoreIsLeftAlone) {
  const auto before = files_of(directory_ / "store");
  const auto report = Replica::rebuild(options(), passphrase);
  EXPECT_EQ(report.code(), Code::invalid_argument);
  EXPECT_TRUE(files_of(directory_ / "store").at("main.db") == before.at("main.db"));
  EXPECT_FALSE(std::filesystem::exists(file("rebuild")));
  EXPECT_EQ(*open().state_digest(village_), digest_);
}

TEST_F(RebuildTest, AWrongPassphraseChangesNothing) {
  Bytes bytes = read_file(file("main.db"));
  flip(bytes, 3);
  write_file(file("main.db"), bytes);
  const auto before = files_of(directory_ / "store");
  EXPECT_EQ(Replica::rebuild(options(), "another").code(), Code::wrong_key);
  EXPECT_TRUE(files_of(directory_ / "store") == before);
}

TEST_F(RebuildTest, AStoreOfANewerProgramIsNotReadByAnOlderOne) {
  {
    Replica replica = open();
    const TakeTurn<Turn> guard(replica.core()->mutex);
    ASSERT_OK(replica.core()->database().execute("PRAGMA user_version=99"));
  }
  Bytes bytes = read_file(file("main.db"));
  flip(bytes, 3);
  write_file(file("main.db"), bytes);
  EXPECT_EQ(Replica::rebuild(options(), passphrase).code(), Code::unsupported);
  EXPECT_TRUE(read_file(file("main.db")) == bytes);
}

TEST_F(RebuildTest, AStoreThatIsOpenIsBusy) {
  const Replica holder = open();
  EXPECT_EQ(Replica::rebuild(options(), passphrase).code(), Code::busy);
}

TEST_F(RebuildTest, NoStoreIsNotFoundAndNoneIsMade) {
  const auto elsewhere = cheap_options(directory_ / "elsewhere", &clock_);
  EXPECT_EQ(Replica::rebuild(elsewhere, passphrase).code(), Code::not_found);
  EXPECT_EQ(Replica::rebuild(elsewhere, passphrase, {.restore_vault = true}).code(), Code::not_found);
  EXPECT_FALSE(std::filesystem::exists(directory_ / "elsewhere/main.db"));
}

// The reader of pages against SQLite, on a store with every kind of page: overflow chains, index pages with rows of their own, free
// pages, rows that stand only in the WAL.
TEST_F(RebuildTest, TheReaderOfPagesFindsWhatSqliteFinds) {
  Replica replica = open();
  for (std::size_t i = 0; i < 1500; ++i) ASSERT_OK(replica.save_draft(replica.new_draft_id(), "home_visit", std::string(i % 700, 'x')));
  ASSERT_OK(replica.save_draft(replica.new_draft_id(), "home_visit", std::string(300'000, 'y')));
  const RecordId gone = replica.new_draft_id();
  ASSERT_OK(replica.save_draft(gone, "home_visit", std::string(100'000, 'z')));
  ASSERT_OK(replica.discard_draft(gone));
  std::map<bool, std::size_t> wanted;
  {
    const TakeTurn<Turn> guard(replica.core()->mutex);
    Database& database = replica.core()->database();
    std::vector<std::pair<std::string, bool>> counts{{"sqlite_schema", true}};
    {
      auto tables = database.prepare("SELECT name, type, sql FROM sqlite_schema");
      ASSERT_OK(tables);
      for (auto row = tables->step(); row.ok() && *row; row = tables->step()) {
        const std::string name(tables->column_text(0));
        if (tables->column_text(1) == "table") {
          counts.emplace_back("\"" + name + "\"", tables->column_text(2).find("WITHOUT ROWID") == std::string_view::npos);
        } else if (name == "segment_quarantined") {
          counts.emplace_back("segment WHERE reason <> 0", false);
        } else {
          counts.emplace_back(name == "record_id" ? "record" : name.find("_log_") != std::string::npos ? "log" : "space", false);
        }
      }
    }
    for (const auto& [table, numbered] : counts) {
      const auto count = database.query_int("SELECT count(*) FROM " + table);
      ASSERT_OK(count);
      wanted[numbered] += static_cast<std::size_t>(*count);
    }
    // While it is open, its last changes stand only in the WAL.
    ASSERT_GT(std::filesystem::file_size(file("main.db-wal")), 0u);
    std::filesystem::copy(directory_ / "store", directory_ / "copy");
  }
  SystemRandom random;
  const auto copy = StoreDirectory::acquire(directory_ / "copy");
  ASSERT_OK(copy);
  const auto before = files_of(directory_ / "copy");
  auto salvage = Salvage::open(**copy, *key_, {}, random);
  ASSERT_OK(salvage);
  EXPECT_FALSE(salvage->damage().found());
  std::map<bool, std::size_t> found;
  std::size_t longest = 0;
  ASSERT_OK(salvage->each_row([&](const SalvagedRow& row) -> Status {
    ++found[row.numbered];
    for (const auto& value : row.values) longest = std::max(longest, value.bytes.size());
    return {};
  }));
  EXPECT_EQ(found, wanted);
  EXPECT_EQ(longest, 300'000u);
  EXPECT_TRUE(files_of(directory_ / "copy") == before) << "reading writes nothing";
}

TEST_F(RebuildTest, ADatabaseOfZerosComesBackWithItsSpaces) {
  const Bytes zeros(std::filesystem::file_size(file("main.db")));
  write_file(file("main.db"), zeros);
  EXPECT_EQ(Replica::open(options(), passphrase).code(), Code::corrupt);
  const auto report = Replica::rebuild(options(), passphrase);
  ASSERT_OK(report);
  EXPECT_EQ(report->pages, zeros.size() / page_bytes);
  EXPECT_EQ(report->pages_damaged, report->pages);
  EXPECT_EQ(report->spaces, 1u);
  EXPECT_EQ(report->roster_entries + report->segments + report->transactions_unsent + report->drafts, 0u);
  EXPECT_EQ(report->kept, "damaged-1");
  EXPECT_TRUE(read_file(file("damaged-1/main.db")) == zeros);
  Replica replica = open();
  const auto space = replica.space(village_);
  ASSERT_OK(space);
  EXPECT_EQ(space->name, "石桥村");
  // Its roster is at no relay; what is written stays, as before an admission.
  EXPECT_EQ(space->waits_for, "admission");
  put_person(replica, village_, 1);
  ASSERT_OK(replica.verify());
}

TEST_F(RebuildTest, AMissingDatabaseComesBackToo) {
  std::filesystem::remove(file("main.db"));
  EXPECT_EQ(Replica::open(options(), passphrase).code(), Code::not_found);
  const auto report = Replica::rebuild(options(), passphrase);
  ASSERT_OK(report);
  EXPECT_EQ(report->kept, "");
  EXPECT_EQ(report->spaces, 1u);
  ASSERT_OK(open().space(village_));
}

TEST_F(RebuildTest, WhatIsDamagedTwiceIsKeptTwice) {
  for (const char* kept : {"damaged-1", "damaged-2"}) {
    Bytes bytes = read_file(file("main.db"));
    bytes.erase(bytes.end() - page_bytes, bytes.end());
    write_file(file("main.db"), bytes);
    const auto report = Replica::rebuild(options(), passphrase);
    ASSERT_OK(report);
    EXPECT_EQ(report->pages_damaged, 1u);
    EXPECT_EQ(report->kept, kept);
    EXPECT_TRUE(read_file(file(std::string(kept) + "/main.db")) == bytes);
    ASSERT_OK(open().verify());
  }
}

TEST_F(RebuildTest, AVaultIsRestoredOnlyWhenAskedFor) {
  Bytes vault = read_file(file("vault"));
  vault.at(100) ^= 1;
  write_file(file("vault"), vault);
  EXPECT_EQ(Replica::rebuild(options(), passphrase).code(), Code::corrupt);
  EXPECT_EQ(read_file(file("vault")), vault);
  EXPECT_EQ(Replica::rebuild(options(), "another", {.restore_vault = true}).code(), Code::wrong_key);
  EXPECT_EQ(read_file(file("vault")), vault);
  const auto report = Replica::rebuild(options(), passphrase, {.restore_vault = true});
  ASSERT_OK(report);
  EXPECT_TRUE(report->vault_restored);
  EXPECT_EQ(report->kept, "") << "the database is whole";
  EXPECT_EQ(read_file(file("vault.damaged")), vault);
  EXPECT_EQ(*open().state_digest(village_), digest_);
}

TEST_F(RebuildTest, AVaultOfTheFirstFormIsReadAndBroughtUpToDate) {
  {
    Replica replica = open();
    const TakeTurn<Turn> guard(replica.core()->mutex);
    Bytes first_form{32};
    append(first_form, replica.core()->transport().secret_key.reveal());
    ASSERT_OK(replica.core()->vault().set_plain(first_form));
  }
  const DeviceId device = open().device();
  write_file(file("main.db"), Bytes(std::filesystem::file_size(file("main.db"))));
  ASSERT_OK(Replica::rebuild(options(), passphrase));
  Replica replica = open();
  EXPECT_EQ(replica.device(), device);
  EXPECT_EQ(replica.space(village_)->name, "石桥村") << "opening it had told the vault";
}

TEST_F(RebuildTest, WhatBelongsToTheVaultIsNotInTheClear) {
  const Bytes vault = read_file(file("vault"));
  const auto holds = [&](ByteView needle) { return std::search(vault.begin(), vault.end(), needle.begin(), needle.end()) != vault.end(); };
  EXPECT_FALSE(holds(view("石桥村")));
  EXPECT_FALSE(holds(village_.view()));
}

// ---- Every page, one at a time -----------------------------------------------------------------------------------------------

class EveryPageTest : public RebuildTest {
 protected:
  std::vector<Places> places_of(const std::vector<std::string>& queries) {
    return doorstep::places_of(options(), passphrase, *key_, queries);
  }
};

TEST_F(EveryPageTest, NothingIsLostThatStandsInAPageThatIsWhole) {
  std::vector<std::string> queries{"SELECT entry FROM roster WHERE space = 1 AND position = 0", "SELECT json FROM draft"};
  for (std::size_t i = 1; i <= sealed_.size(); ++i)
    queries.push_back("SELECT bytes FROM segment WHERE n = " + std::to_string(segment_row(1, i)));
  for (std::size_t i = 1; i <= pending_.size(); ++i) queries.push_back("SELECT bytes FROM pending WHERE n = " + std::to_string(i));
  const auto places = places_of(queries);
  std::filesystem::copy(directory_ / "store", directory_ / "whole");
  std::size_t resealed = 0;
  const std::size_t page_last = page_count();
  for (std::size_t page = 1; page <= page_last; ++page) {
    SCOPED_TRACE("page " + std::to_string(page));
    std::filesystem::remove_all(directory_ / "store");
    std::filesystem::copy(directory_ / "whole", directory_ / "store");
    Bytes bytes = read_file(file("main.db"));
    flip(bytes, page);
    write_file(file("main.db"), bytes);
    const auto report = Replica::rebuild(options(), passphrase);
    ASSERT_OK(report);
    EXPECT_EQ(report->pages_damaged, 1u);
    EXPECT_TRUE(read_file(file("damaged-1/main.db")) == bytes);

    Replica replica = open();
    ASSERT_OK(replica.verify());
    const bool roster = !places[0].contains({"main", page});
    EXPECT_EQ(report->roster_entries, roster ? 1u : 0u);
    EXPECT_EQ(replica.drafts("home_visit")->size(), places[1].contains({"main", page}) ? 0u : 1u);
    const auto everyone = everybody();
    std::size_t unsent_wanted = 0, segments_wanted = 0;
    bool gap = false;
    for (std::size_t i = 0; i < everyone.size(); ++i) {
      const bool was_sealed = i < sealed_.size();
      const bool whole = !places[2 + i].contains({"main", page});
      // Without the roster a segment of ours cannot be opened: it waits. Behind a gap it is pending again.
      if (was_sealed && !whole) gap = true;
      if (whole && was_sealed && roster) (gap ? unsent_wanted : segments_wanted) += 1;
      if (whole && !was_sealed) ++unsent_wanted;
      const bool shown = whole && (!was_sealed || roster);
      EXPECT_EQ(replica.get(village_, everyone[i]).ok(), shown) << "person " << i;
    }
    if (roster && gap && unsent_wanted > pending_.size()) ++resealed;
    EXPECT_EQ(report->segments, segments_wanted);
    EXPECT_EQ(report->transactions_unsent, unsent_wanted);
    EXPECT_EQ(replica.pending(village_)->unsealed, unsent_wanted);
    EXPECT_EQ(report->segments_unnamed, 0u) << "the vault names our logs";
    if (roster && !gap && report->transactions_unsent == pending_.size()) { EXPECT_EQ(*replica.state_digest(village_), digest_); }
    // And it goes on.
    put_person(replica, village_, 25);
    if (roster) seal(replica);
    ASSERT_OK(replica.verify());
  }
  EXPECT_GT(resealed, 0u) << "the case of a segment behind a gap was there";
}

TEST_F(EveryPageTest, SegmentsWithoutARosterWaitAndAreNotForgotten) {
  const auto roster = places_of({"SELECT entry FROM roster WHERE space = 1 AND position = 0"})[0];
  Bytes bytes = read_file(file("main.db"));
  for (const auto& [in, page] : roster) flip(bytes, page);
  write_file(file("main.db"), bytes);
  const auto report = Replica::rebuild(options(), passphrase);
  ASSERT_OK(report);
  EXPECT_EQ(report->segments, 0u);
  EXPECT_EQ(report->segments_waiting, sealed_.size());
  const auto held = open().quarantine(village_);
  ASSERT_EQ(held->size(), 1u);
  EXPECT_EQ(held->front().reason, "missing parent");
  EXPECT_EQ(held->front().transactions, sealed_.size());
  // Damaged again before anybody came to help: what waits goes on waiting.
  bytes = read_file(file("main.db"));
  bytes.erase(bytes.end() - page_bytes, bytes.end());
  write_file(file("main.db"), bytes);
  const auto again = Replica::rebuild(options(), passphrase);
  ASSERT_OK(again);
  EXPECT_GT(again->segments_waiting, sealed_.size() / 2) << "but for those in the page that was cut off";
}

// Pages that were exchanged for older ones all open, and do not fit together: rows and what leads to them are of two times.
TEST_F(RebuildTest, PagesOfTwoTimesAreRebuiltAsWhatTheyHold) {
  const Bytes older = read_file(file("main.db"));
  {
    Replica replica = open();
    for (std::size_t i = 20; i < 26; ++i) {
      put_person(replica, village_, i);
      if (i % 2 == 0) seal(replica);
    }
  }
  const Bytes newer = read_file(file("main.db"));
  std::filesystem::copy(directory_ / "store", directory_ / "whole");
  std::size_t rebuilt = 0;
  for (std::size_t page = 1; page <= older.size() / page_bytes; ++page) {
    SCOPED_TRACE("page " + std::to_string(page));
    const auto at = static_cast<std::ptrdiff_t>((page - 1) * page_bytes);
    Bytes mixed = newer;
    std::copy_n(older.begin() + at, page_bytes, mixed.begin() + at);
    if (mixed == newer) continue;
    std::filesystem::remove_all(directory_ / "store");
    std::filesystem::copy(directory_ / "whole", directory_ / "store");
    write_file(file("main.db"), mixed);
    const auto report = Replica::rebuild(options(), passphrase);
    if (report.code() == Code::invalid_argument) continue;  // what changed in it does not show
    ASSERT_OK(report);
    ++rebuilt;
    EXPECT_EQ(report->pages_damaged, 0u);
    Replica replica = open();
    ASSERT_OK(replica.verify());
    for (const auto& id : everybody()) EXPECT_TRUE(replica.get(village_, id).ok()) << "what is older is in both";
    put_person(replica, village_, 26);
    seal(replica);
    ASSERT_OK(replica.verify());
  }
  EXPECT_GT(rebuilt, 3u);
}

TEST_F(RebuildTest, FilesCutAtAndBesideEveryKindOfBoundaryAndPagesOfAnotherStore) {
  {
    Replica replica = open();  // opened and dead: a WAL beside the database
    for (const char* value : {"2", "3"}) ASSERT_OK(set_field(replica, village_, pending_[0], "self_care", std::string(value)));
    std::filesystem::copy(directory_ / "store", directory_ / "whole");
  }
  const auto other_options = cheap_options(directory_ / "other", &clock_);
  {
    auto other = Replica::create(other_options, passphrase);
    ASSERT_OK(other);
    ASSERT_OK(other->found({.name = "柳树村", .role = "town_clerk", .label = "吴"}));
  }
  const Bytes other = read_file(directory_ / "other/main.db");
  const Bytes main = read_file(directory_ / "whole/main.db"), log = read_file(directory_ / "whole/main.db-wal");
  ASSERT_GT(log.size(), wal_header_record_bytes + 3 * slot_bytes);
  struct Case {
    std::string what;
    Bytes main, log;
  };
  std::vector<Case> cases;
  const auto cut = [](const Bytes& bytes, std::size_t size) {
    return Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  };
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, page_bytes - 1, page_bytes, page_bytes + 1, main.size() / 2,
                                 main.size() - page_bytes, main.size() - 1})
    cases.push_back({"main.db of " + std::to_string(size), cut(main, size), log});
  for (const std::size_t boundary :
       {std::size_t{1}, wal_header_record_bytes, wal_header_record_bytes + slot_bytes, log.size() - slot_bytes})
    for (const std::size_t size : {boundary - 1, boundary, boundary + 1})
      cases.push_back({"main.db-wal of " + std::to_string(size), main, cut(log, size)});
  cases.push_back({"another store's page", main, log});
  std::copy_n(other.begin() + 3 * page_bytes, page_bytes, cases.back().main.begin() + 3 * page_bytes);
  cases.push_back({"another store's database", other, {}});
  cases.push_back({"frames in each other's place", main, log});
  const auto first = cases.back().log.begin() + wal_header_record_bytes;
  std::swap_ranges(first, first + slot_bytes, first + slot_bytes);
  cases.push_back({"a log of garbage", main, Bytes(log.size(), 0x5a)});
  for (const auto& each : cases) {
    SCOPED_TRACE(each.what);
    std::filesystem::remove_all(directory_ / "store");
    std::filesystem::copy(directory_ / "whole", directory_ / "store");
    write_file(file("main.db"), each.main);
    write_file(file("main.db-wal"), each.log);
    const auto report = Replica::rebuild(options(), passphrase);
    // What is cut off at the end of a log looks as a power cut does, and is one.
    if (!report) { EXPECT_EQ(report.code(), Code::invalid_argument) << report.error().message(); }
    if (report) { EXPECT_TRUE(read_file(file(report->kept + "/main.db")) == each.main); }
    // And the last page of the database may have its newest version in the log.
    if (each.main.size() <= main.size() / 2 || each.what.starts_with("another")) { EXPECT_TRUE(report.ok()); }
    Replica replica = open();
    ASSERT_OK(replica.verify());
    EXPECT_EQ(replica.space(village_)->name, "石桥村");
    put_person(replica, village_, 26);
  }
}

// ---- The write-ahead log -------------------------------------------------------------------------------------------------------

TEST_F(RebuildTest, WhatStandsOnlyInTheLogComesBackAlsoFromBehindADamagedRecord) {
  std::vector<RecordId> late;
  {
    Replica replica = open();
    for (std::size_t i = 20; i < 24; ++i) late.push_back(put_person(replica, village_, i));
    std::filesystem::copy(directory_ / "store", directory_ / "copy");
  }
  std::filesystem::remove_all(directory_ / "store");
  std::filesystem::rename(directory_ / "copy", directory_ / "store");
  const Bytes log = read_file(file("main.db-wal"));
  const std::size_t frames = (log.size() - wal_header_record_bytes) / slot_bytes;
  ASSERT_GT(frames, 6u);
  std::filesystem::copy(directory_ / "store", directory_ / "whole");
  for (std::size_t frame = 0; frame < frames; frame += frame + 2 < frames ? 2 : 1) {
    SCOPED_TRACE("record " + std::to_string(frame));
    std::filesystem::remove_all(directory_ / "store");
    std::filesystem::copy(directory_ / "whole", directory_ / "store");
    Bytes damaged = log;
    damaged[wal_header_record_bytes + frame * slot_bytes + 500] ^= 1;
    write_file(file("main.db-wal"), damaged);
    const auto report = Replica::rebuild(options(), passphrase);
    if (frame + 1 == frames) {
      EXPECT_EQ(report.code(), Code::invalid_argument) << "a torn end is ordinary";
      continue;
    }
    ASSERT_OK(report);
    EXPECT_EQ(report->log_records_lost, 1u);
    EXPECT_TRUE(read_file(file("damaged-1/main.db-wal")) == damaged);
    Replica replica = open();
    ASSERT_OK(replica.verify());
    std::size_t missing = 0;
    for (const auto& id : late) missing += replica.get(village_, id).ok() ? 0 : 1;
    // Each person is a commit of several records; a lost one loses the row that only it held, and at most that.
    EXPECT_LE(missing, 1u);
    for (const auto& id : everybody()) EXPECT_TRUE(replica.get(village_, id).ok());
  }
}

}  // namespace
}  // namespace doorstep
