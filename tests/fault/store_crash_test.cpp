// The store under power cuts, failing disks and damaged files (sdk/store/FORMAT.md).
//
// One scripted workload; transaction i is a function of i alone and counts itself, so the state after i transactions is known. The
// oracle for whatever is found on a disk: it opens, integrity_check is content, acknowledged <= recovered <= attempted, the
// state is exactly the one after `recovered` transactions, and the next transaction works.
// DOORSTEP_CAMPAIGN=n multiplies the number of damaged disks.
#include <cstdio>
#include <cstdlib>
#include <functional>

#include <gtest/gtest.h>

#include "sdk/store/database.hpp"
#include "sdk/store/vault.hpp"
#include "sdk/store/vfs.hpp"
#include "tests/fault/crash_vfs.hpp"

namespace doorstep::fault {
namespace {

std::uint64_t campaign() {
  const char* text = std::getenv("DOORSTEP_CAMPAIGN");
  const auto value = text ? std::strtoull(text, nullptr, 10) : 1;
  return value ? value : 1;
}

/// DOORSTEP_SEED=n: only the power cut with that seed, as a failure printed it.
bool chosen(std::uint64_t seed) {
  const char* text = std::getenv("DOORSTEP_SEED");
  return !text || std::strtoull(text, nullptr, 10) == seed;
}

class DiceRandom final : public Random {
 public:
  explicit DiceRandom(std::uint64_t seed) : dice_(seed) {}
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(dice_.next());
  }

 private:
  Dice dice_;
};

DatabaseKey make_key(std::uint64_t seed) {
  DiceRandom random(seed);
  return {random.make<FileId>(), make_symmetric_key(random)};
}

const DatabaseKey& key() {
  static const DatabaseKey out = make_key(7);
  return out;
}

DiceRandom& nonces() {
  static DiceRandom out(99);
  return out;
}

constexpr char directory_path[] = "/disk";
const std::string main_path = "/disk/main.db";
const std::string wal_path = "/disk/main.db-wal";

// Two workloads: one spills and never rolls back in part, the other rolls back in part and never spills (S14).
bool spilling = false;

DatabaseOptions options_on(SimulatedDisk& disk, VfsTestHooks* hooks = nullptr) {
  DatabaseOptions out;
  out.below = disk.vfs();
  out.cache_bytes = 28 << 10;  // so that larger transactions spill
  out.wal_autocheckpoint_pages = 40;
  out.wal_bytes_kept = 60 * 4120;
  out.spill = spilling;
  out.hooks = hooks;
  return out;
}

Result<Database> open_on(SimulatedDisk& disk, VfsTestHooks* hooks = nullptr) {
  DOORSTEP_ASSIGN(auto directory, StoreDirectory::acquire(directory_path, disk));
  return Database::open(std::move(directory), key(), options_on(disk, hooks), nonces());
}

Result<Database> open_or_create_on(SimulatedDisk& disk, VfsTestHooks* hooks = nullptr) {
  DOORSTEP_ASSIGN(auto directory, StoreDirectory::acquire(directory_path, disk));
  if (Database::exists(*directory)) return Database::open(std::move(directory), key(), options_on(disk, hooks), nonces());
  return Database::create(std::move(directory), key(), options_on(disk, hooks), nonces());
}

// ---- The workload

Bytes content(std::uint64_t seed, std::size_t size) {
  Bytes out(size);
  Dice dice(seed);
  for (auto& byte : out) byte = static_cast<std::uint8_t>(dice.next() & 0x3f);
  return out;
}

const Migration schema[] = {
    {"CREATE TABLE progress(value INTEGER); INSERT INTO progress VALUES(0);"
     "CREATE TABLE row(id INTEGER PRIMARY KEY, tag INTEGER, v BLOB); CREATE INDEX row_by_tag ON row(tag);"},
};

Status insert(Database& db, int i, int count, std::size_t size) {
  for (int j = 0; j < count; ++j)
    DOORSTEP_TRY(db.run("INSERT INTO row(tag, v) VALUES(?, ?)", i * 7 % 11, content(static_cast<std::uint64_t>(i * 1000 + j), size)));
  return {};
}

Status change_rows(Database& db, int i) {
  switch (i % 8) {
    case 1: return insert(db, i, 1, 100);
    case 2: return insert(db, i, 5, 600);
    case 3: return db.run("UPDATE row SET v = ? WHERE tag = ?", content(static_cast<std::uint64_t>(i), 700), i % 11);
    case 4:
      DOORSTEP_TRY(insert(db, i, 24, 1000));  // beyond the cache: spills, and rewrites frames in place
      DOORSTEP_TRY(db.run("UPDATE row SET tag = tag + 1"));
      return db.run("DELETE FROM row WHERE id % 3 = ?", i % 3);
    case 5: return insert(db, i, 1, 9000);
    case 6:
      if (!spilling) {
        DOORSTEP_TRY(db.execute("SAVEPOINT s"));
        DOORSTEP_TRY(insert(db, i, 10, 900));
        DOORSTEP_TRY(db.execute("ROLLBACK TO s; RELEASE s"));
      }
      return db.run("UPDATE row SET tag = tag + ? WHERE id % 2 = 0", i);
    case 7: return db.run("DELETE FROM row WHERE id % 4 <> ?", i % 4);
    default: return insert(db, i, 3, 50);
  }
}

Result<int> progress(Database& db) {
  DOORSTEP_ASSIGN(const std::uint32_t version, db.version());
  if (version == 0) return -1;
  DOORSTEP_ASSIGN(const std::int64_t value, db.query_int("SELECT value FROM progress"));
  return static_cast<int>(value);
}

/// From `done` to `done` + 1.
Status advance(Database& db, int done) {
  if (done < 0) return db.migrate(schema);
  const int i = done + 1;
  {
    DOORSTEP_ASSIGN(DatabaseTransaction transaction, DatabaseTransaction::begin(db));
    DOORSTEP_TRY(change_rows(db, i));
    DOORSTEP_TRY(db.run("UPDATE progress SET value = ?", i));
    DOORSTEP_TRY(transaction.commit());
  }
  return {};
}

/// What happens between transactions; its failure takes nothing back.
void maintain(Database& db, int done) {
  if (done % 8 == 7) (void)db.shrink(10);
  if (done % 10 == 9) (void)db.checkpoint(true);
}

Result<std::uint64_t> digest(Database& db) {
  DOORSTEP_ASSIGN(Statement rows, db.prepare("SELECT id, tag, v FROM row ORDER BY id"));
  std::uint64_t out = 14695981039346656037u;
  const auto mix = [&](std::uint64_t value) { out = (out ^ value) * 1099511628211u; };
  for (;;) {
    DOORSTEP_ASSIGN(const bool row, rows.step());
    if (!row) return out;
    mix(static_cast<std::uint64_t>(rows.column_int(0)));
    mix(static_cast<std::uint64_t>(rows.column_int(1)));
    for (const std::uint8_t byte : rows.column_blob(2)) mix(byte);
  }
}

constexpr int transactions_max = 64;

/// The state after i transactions.
const std::vector<std::uint64_t>& expected() {
  static std::map<bool, std::vector<std::uint64_t>> known;
  std::vector<std::uint64_t>& out = known[spilling];
  if (out.empty())
    out = [] {
      std::vector<std::uint64_t> digests;
      SimulatedDisk disk;
      Database db = std::move(open_or_create_on(disk)).value();
      for (int done = -1; done < transactions_max; ++done) {
        EXPECT_TRUE(advance(db, done).ok());
        maintain(db, done + 1);
        digests.push_back(digest(db).value());
      }
      return digests;
    }();
  return out;
}

/// One run, its disk's events, and what had been promised when.
struct Recording {
  struct Mark {
    std::size_t events;
    int done;
  };
  std::vector<Event> events;
  std::vector<Mark> attempted, acknowledged;  // done: -1 created, 0 schema, i
  Image end;

  int acknowledged_at(std::size_t count) const { return last(acknowledged, count); }
  int attempted_at(std::size_t count) const { return last(attempted, count); }

 private:
  static int last(const std::vector<Mark>& marks, std::size_t count) {
    int out = -2;
    for (const Mark& mark : marks)
      if (mark.events <= count) out = mark.done;
    return out;
  }
};

Recording record(int transactions, VfsTestHooks* hooks = nullptr, bool close_at_end = true) {
  Recording out;
  SimulatedDisk disk;
  out.attempted.push_back({0, -1});
  auto db = std::make_unique<Database>(std::move(open_or_create_on(disk, hooks)).value());
  out.acknowledged.push_back({disk.events().size(), -1});
  for (int done = -1; done < transactions; ++done) {
    out.attempted.push_back({disk.events().size(), done + 1});
    const Status status = advance(*db, done);
    EXPECT_TRUE(status.ok()) << status.error().message();
    out.acknowledged.push_back({disk.events().size(), done + 1});
    maintain(*db, done + 1);
    if (done == transactions / 2) {
      EXPECT_TRUE(db->close().ok());
      db = std::make_unique<Database>(std::move(open_on(disk, hooks)).value());
    }
  }
  const bool shrunk = !close_at_end || db->shrink(1 << 20).ok();  // no free page: those are never read, so nobody would notice
  EXPECT_TRUE(shrunk);
  if (!close_at_end) out.end = disk.image();
  db.reset();
  if (close_at_end) out.end = disk.image();
  out.events = disk.events();
  return out;
}

// ---- The oracle

struct Verdict {
  enum Kind { good, unopenable, damaged, lost, invented, wrong_state, unwritable } kind = good;
  int recovered = -2;
  std::string what;
};

Verdict bad(Verdict::Kind kind, int recovered, std::string what) { return {kind, recovered, std::move(what)}; }

/// Opens what is on `disk`, checks everything, and does one transaction more.
Verdict examine(SimulatedDisk& disk, int acknowledged, int attempted, VfsTestHooks* hooks = nullptr, bool deep = true) {
  Result<Database> db = acknowledged < -1 ? open_or_create_on(disk, hooks) : open_on(disk, hooks);
  if (!db.ok()) return bad(Verdict::unopenable, -2, db.error().message());
  if (deep)
    if (const Status whole = db->integrity_check(); !whole.ok()) return bad(Verdict::damaged, -2, whole.error().message());
  const Result<int> recovered = progress(*db);
  if (!recovered.ok()) return bad(Verdict::damaged, -2, recovered.error().message());
  if (*recovered < acknowledged) return bad(Verdict::lost, *recovered, "acknowledged " + std::to_string(acknowledged));
  if (*recovered > attempted) return bad(Verdict::invented, *recovered, "attempted " + std::to_string(attempted));
  if (*recovered >= 0) {
    const auto state = digest(*db);
    if (!state.ok()) return bad(Verdict::damaged, *recovered, state.error().message());
    if (*state != expected()[static_cast<std::size_t>(*recovered)]) return bad(Verdict::wrong_state, *recovered, "another state");
  }
  if (const Status next = advance(*db, *recovered); !next.ok()) return bad(Verdict::unwritable, *recovered, next.error().message());
  return {Verdict::good, *recovered, {}};
}

struct Tally {
  std::uint64_t states = 0;
  std::uint64_t bad[8] = {};
  std::string first;

  bool add(const Verdict& verdict, const std::string& where) {
    ++states;
    if (verdict.kind == Verdict::good) return true;
    ++bad[verdict.kind];
    if (first.empty()) first = where + ": recovered " + std::to_string(verdict.recovered) + ": " + verdict.what;
    return false;
  }
  std::uint64_t failures() const {
    std::uint64_t out = 0;
    for (auto count : bad) out += count;
    return out;
  }
  void print(const char* name) const {
    std::printf("%s: %llu states, %llu unopenable, %llu damaged, %llu lost, %llu other\n", name, static_cast<unsigned long long>(states),
                static_cast<unsigned long long>(bad[Verdict::unopenable]), static_cast<unsigned long long>(bad[Verdict::damaged]),
                static_cast<unsigned long long>(bad[Verdict::lost]),
                static_cast<unsigned long long>(failures() - bad[Verdict::unopenable] - bad[Verdict::damaged] - bad[Verdict::lost]));
  }
};

/// A power cut again, while the first one is recovered from and the next transaction is written.
void crash_again(const Image& first, const SimulatedDisk& disk, const Verdict& verdict, int acknowledged, std::uint64_t seed,
                 Tally& tally) {
  Dice dice(seed);
  const std::size_t count = dice.below(disk.events().size() + 1);
  CrashWalk walk(first, disk.events());
  walk.advance_to(count);
  SimulatedDisk again(walk.image(static_cast<Damage>(dice.below(damage_kinds)), seed));
  const int floor = acknowledged < -1 ? -2 : acknowledged;
  tally.add(examine(again, floor, verdict.recovered + 1), "again at " + std::to_string(count) + ", seed " + std::to_string(seed));
}

/// A power cut at every event, `variants` damages each (the kinds in turn).
Tally enumerate(const Recording& recording, std::size_t stride, int variants, VfsTestHooks* hooks = nullptr, bool again = true) {
  Tally tally;
  CrashWalk walk({}, recording.events);
  for (std::size_t count = 0; count <= recording.events.size(); count += stride) {
    walk.advance_to(count);
    for (int variant = 0; variant < variants; ++variant) {
      const auto seed = count * 1000 + static_cast<std::uint64_t>(variant);
      if (!chosen(seed)) continue;
      const auto damage = static_cast<Damage>((count + static_cast<std::size_t>(variant)) % damage_kinds);
      const Image image = walk.image(damage, seed);
      SimulatedDisk disk(image);
      const int acknowledged = recording.acknowledged_at(count);
      const Verdict verdict = examine(disk, acknowledged, recording.attempted_at(count), hooks);
      const bool good = tally.add(verdict, "at event " + std::to_string(count) + ", damage " + std::to_string(static_cast<int>(damage)) +
                                               ", seed " + std::to_string(seed));
      if (good && again && variant % 3 == 0) crash_again(image, disk, verdict, acknowledged, seed, tally);
    }
  }
  return tally;
}

class StoreCrash : public testing::Test {
 protected:
  // SQLite's own random numbers (the WAL's salts): the same in every run.
  void SetUp() override {
    sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 1, nullptr);
    spilling = false;
  }
};

TEST_F(StoreCrash, EveryPowerCutIsRecoveredFrom) {
  for (const bool spill : {false, true}) {
    spilling = spill;
    const Recording recording = record(48);
    const Tally tally = enumerate(recording, 1, static_cast<int>((spill ? 8 : 16) * campaign()));
    tally.print(spill ? "power cuts, spilling" : "power cuts");
    EXPECT_EQ(tally.failures(), 0u) << tally.first;
  }
}

// The defect of SQLite that S14 is about: a transaction that outgrows the cache writes its last rows twice, is rolled back in
// part, and commits.
Status partly_rolled_back(Database& db, int last) {
  const std::string forty =
      "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 40) "
      "INSERT INTO big(v) SELECT zeroblob(900) FROM c;";
  DOORSTEP_ASSIGN(DatabaseTransaction transaction, DatabaseTransaction::begin(db));
  DOORSTEP_TRY(db.execute("SAVEPOINT s;" + forty + "UPDATE big SET v = randomblob(900) WHERE id > 40 - " + std::to_string(last)));
  DOORSTEP_TRY(db.execute(forty + "ROLLBACK TO s; RELEASE s;" + forty + "UPDATE number SET n = 2"));
  return transaction.commit();
}

/// The commit's outcome, and the number that a power cut right behind it leaves: 2 if the commit is there, else 1.
std::pair<Code, int> commit_partly_rolled_back(int last, VfsTestHooks* hooks) {
  SimulatedDisk disk;
  Database db = std::move(open_or_create_on(disk, hooks)).value();
  EXPECT_TRUE(db.execute("CREATE TABLE big(id INTEGER PRIMARY KEY, v); CREATE TABLE number(n); INSERT INTO number VALUES(1)").ok());
  const Code code = partly_rolled_back(db, last).code();
  CrashWalk walk({}, disk.events());
  walk.advance_to(disk.events().size());
  SimulatedDisk after(walk.image(Damage::all_lost, 1));
  Database recovered = std::move(open_on(after)).value();
  return {code, static_cast<int>(recovered.query_int("SELECT n FROM number").value())};
}

TEST_F(StoreCrash, APartialRollbackNeverCostsACommit) {
  int lost_without_guard = 0;
  for (int last = 1; last <= 40; ++last) {
    spilling = false;
    EXPECT_EQ(commit_partly_rolled_back(last, nullptr), std::pair(Code::ok, 2)) << last;
    spilling = true;
    const auto guarded = commit_partly_rolled_back(last, nullptr);
    EXPECT_TRUE(guarded == std::pair(Code::ok, 2) || guarded == std::pair(Code::too_large, 1)) << last;
    VfsTestHooks hooks;
    hooks.break_rewrite_guard = true;
    lost_without_guard += commit_partly_rolled_back(last, &hooks) == std::pair(Code::ok, 1);
  }
  std::printf("acknowledged commits that SQLite would have lost without S14: %d of 40\n", lost_without_guard);
  if (sqlite3_libversion_number() == 3040001) { EXPECT_GT(lost_without_guard, 0); }
}

// ---- Rules broken on purpose: the harness must notice, or it proves nothing.

TEST_F(StoreCrash, NoticesAHeaderReadFromTheDisk) {
  VfsTestHooks hooks;
  hooks.break_header_from_constants = true;
  const Tally tally = enumerate(record(48), 3, 4, &hooks, false);
  tally.print("without S5");
  EXPECT_GT(tally.bad[Verdict::unopenable], 0u);
}

TEST_F(StoreCrash, NoticesARecoveryThatToleratesNothing) {
  VfsTestHooks hooks;
  hooks.break_tolerant_recovery = true;
  const Tally tally = enumerate(record(48), 5, 4, &hooks, false);
  tally.print("without S4");
  EXPECT_GT(tally.bad[Verdict::unopenable], tally.states / 10);
}

TEST_F(StoreCrash, NoticesAMissingSync) {
  VfsTestHooks hooks;
  hooks.break_sync = true;
  const Tally tally = enumerate(record(24, &hooks), 5, 4, nullptr, false);
  tally.print("without sync");
  EXPECT_GT(tally.failures(), tally.states / 10);
}

// ---- Failing disks

/// A program that goes on as well as it can: opens again when it must, and gives up after eight errors in a row.
void live_with(SimulatedDisk& disk, int transactions, int& acknowledged, int& attempted, VfsTestHooks* hooks = nullptr) {
  std::unique_ptr<Database> db;
  for (int errors = 0; errors < 8;) {
    if (!db) {
      Result<Database> opened = open_or_create_on(disk, hooks);
      if (!opened.ok()) {
        ++errors;
        continue;
      }
      db = std::make_unique<Database>(std::move(*opened));
    }
    const Result<int> done = progress(*db);
    if (done.ok() && *done >= transactions) return;
    if (done.ok()) attempted = std::max(attempted, *done + 1);
    if (done.ok() && advance(*db, *done).ok()) {
      acknowledged = *done + 1;
      errors = 0;
      maintain(*db, *done + 1);
      continue;
    }
    ++errors;
    if (db->poison() || errors % 2 == 0) db.reset();
  }
}

Tally fail_at_each_call(Fault::Kind kind, bool sticky, std::uint64_t stride, VfsTestHooks* hooks = nullptr) {
  spilling = kind != Fault::Kind::fsync_eio;  // more writes to fail
  constexpr int transactions = 20;
  Tally tally;
  for (std::uint64_t n = 1;; n += stride) {
    SimulatedDisk disk;
    disk.arm({kind, n, sticky});
    int acknowledged = -2, attempted = -1;
    live_with(disk, transactions, acknowledged, attempted, hooks);
    const bool reached = disk.calls_hit_by_fault() >= n;
    disk.arm({});
    const std::string where =
        "kind " + std::to_string(static_cast<int>(kind)) + (sticky ? " sticky" : " once") + " at " + std::to_string(n);
    // Twice: as a process that goes on sees it, and after a power cut.
    CrashWalk walk({}, disk.events());
    walk.advance_to(disk.events().size());
    SimulatedDisk cut(walk.image(n % 2 ? Damage::all_lost : Damage::mixed, n));
    tally.add(examine(cut, acknowledged, attempted), where + ", then a power cut");
    tally.add(examine(disk, acknowledged, attempted), where);
    if (!reached) return tally;
  }
}

std::uint64_t stride(std::uint64_t usual) { return usual > campaign() ? usual / campaign() : 1; }

TEST_F(StoreCrash, InputOutputErrorsLoseNothing) {
  for (const bool sticky : {false, true}) {
    const Tally tally = fail_at_each_call(Fault::Kind::eio, sticky, stride(sticky ? 3 : 1));
    tally.print("EIO");
    EXPECT_EQ(tally.failures(), 0u) << tally.first;
  }
}

TEST_F(StoreCrash, AFullDiskLosesNothing) {
  for (const bool sticky : {false, true}) {
    const Tally tally = fail_at_each_call(Fault::Kind::enospc, sticky, stride(sticky ? 2 : 1));
    tally.print("ENOSPC");
    EXPECT_EQ(tally.failures(), 0u) << tally.first;
  }
}

TEST_F(StoreCrash, ShortWritesLoseNothing) {
  for (const bool sticky : {false, true}) {
    const Tally tally = fail_at_each_call(Fault::Kind::short_write, sticky, stride(sticky ? 2 : 1));
    tally.print("short write");
    EXPECT_EQ(tally.failures(), 0u) << tally.first;
  }
}

TEST_F(StoreCrash, FailedSyncsLoseNothing) {
  for (const bool sticky : {false, true}) {
    const Tally tally = fail_at_each_call(Fault::Kind::fsync_eio, sticky, 1);
    tally.print("fsync EIO");
    EXPECT_EQ(tally.failures(), 0u) << tally.first;
  }
}

TEST_F(StoreCrash, NoticesCommitsThatRestOnAFailedSync) {
  VfsTestHooks hooks;
  hooks.break_checkpoint_at_open = true;
  const Tally tally = fail_at_each_call(Fault::Kind::fsync_eio, false, 1, &hooks);
  tally.print("without S13");
  EXPECT_GT(tally.failures(), 0u);
}

TEST_F(StoreCrash, AFailedSyncPoisonsUntilOpenedAgain) {
  SimulatedDisk disk;
  Database db = std::move(open_or_create_on(disk)).value();
  ASSERT_TRUE(advance(db, -1).ok());
  disk.arm({Fault::Kind::fsync_eio, 1, false});
  EXPECT_EQ(advance(db, 0).code(), Code::io);
  ASSERT_NE(db.poison(), nullptr);
  EXPECT_NE(db.poison()->message().find("fsync"), std::string::npos);
  EXPECT_EQ(progress(db).code(), Code::io) << "reading is refused too";
  EXPECT_EQ(advance(db, 0).code(), Code::io);
  EXPECT_EQ(db.close().code(), Code::io);
  EXPECT_EQ(examine(disk, 0, 1).kind, Verdict::good);
}

TEST_F(StoreCrash, AFullDiskSaysSoAndOpensForReading) {
  SimulatedDisk disk;
  {
    Database db = std::move(open_or_create_on(disk)).value();
    for (int done = -1; done < 5; ++done) ASSERT_TRUE(advance(db, done).ok());
    disk.arm({Fault::Kind::enospc, 1, true});
    EXPECT_EQ(advance(db, 5).code(), Code::full);
    EXPECT_EQ(db.poison(), nullptr);
    EXPECT_EQ(progress(db).value(), 5);
  }  // the checkpoint at closing fails too, so the WAL stays
  Result<Database> db = open_on(disk);
  ASSERT_TRUE(db.ok()) << db.error().message();
  EXPECT_EQ(progress(*db).value(), 5);
  EXPECT_EQ(advance(*db, 5).code(), Code::full);
  disk.arm({});
  EXPECT_TRUE(advance(*db, 5).ok());
}

// ---- Damaged files

/// Opens and reads everything. Ok: nothing amiss was seen.
Status read_all(SimulatedDisk& disk, int& recovered) {
  recovered = -2;
  DOORSTEP_ASSIGN(Database db, open_on(disk));
  DOORSTEP_TRY(db.integrity_check());
  DOORSTEP_ASSIGN(recovered, progress(db));
  if (recovered < 0) return {};
  DOORSTEP_ASSIGN(const std::uint64_t state, digest(db));
  if (state != expected()[static_cast<std::size_t>(recovered)]) return Error(Code::internal, "a state that never was");
  return {};
}

Status read_all(const Image& image, int* recovered_out = nullptr) {
  SimulatedDisk disk(image);
  int recovered = -2;
  const Status out = read_all(disk, recovered);
  if (recovered_out) *recovered_out = recovered;
  return out;
}

TEST_F(StoreCrash, AnyFlippedBitOfTheDatabaseIsNoticed) {
  Image image = record(30).end;
  ASSERT_FALSE(image.contains(wal_path)) << "closed cleanly";
  ASSERT_TRUE(read_all(image).ok());
  Bytes& file = image[main_path];
  Dice dice(5);
  for (std::uint64_t i = 0; i < 3000 * campaign(); ++i) {
    const auto at = dice.below(i % 4 ? file.size() : page_bytes);
    const auto bit = static_cast<std::uint8_t>(1u << dice.below(8));
    file[at] ^= bit;
    EXPECT_EQ(read_all(image).code(), Code::corrupt) << "byte " << at;
    file[at] ^= bit;
  }
}

TEST_F(StoreCrash, AFlippedBitOfTheWalEndsItThere) {
  const Recording recording = record(20, nullptr, false);
  Image image = recording.end;
  int whole = 0;
  ASSERT_TRUE(read_all(image, &whole).ok());
  ASSERT_EQ(whole, 20);
  Bytes& wal = image.at(wal_path);
  Dice dice(6);
  int shorter = 0;
  for (std::uint64_t i = 0; i < 1000 * campaign(); ++i) {
    const auto at = dice.below(wal.size());
    const auto bit = static_cast<std::uint8_t>(1u << dice.below(8));
    wal[at] ^= bit;
    int recovered = -2;
    const Status status = read_all(image, &recovered);
    EXPECT_TRUE(status.ok()) << "byte " << at << ": " << status.error().message();
    shorter += recovered < whole;
    wal[at] ^= bit;
  }
  EXPECT_GT(shorter, 0);
}

TEST_F(StoreCrash, MovedPagesAreNoticed) {
  const Image image = record(30).end;
  const std::size_t pages = image.at(main_path).size() / page_bytes;
  ASSERT_GT(pages, 12u);
  for (std::size_t a = 0; a + 1 < pages; ++a) {
    Image swapped = image;
    Bytes& file = swapped[main_path];
    const std::size_t b = a + 1 + a % (pages - a - 1);
    std::swap_ranges(file.begin() + static_cast<std::ptrdiff_t>(a * page_bytes),
                     file.begin() + static_cast<std::ptrdiff_t>((a + 1) * page_bytes),
                     file.begin() + static_cast<std::ptrdiff_t>(b * page_bytes));
    EXPECT_EQ(read_all(swapped).code(), Code::corrupt) << a << " and " << b;
    std::copy_n(file.begin() + static_cast<std::ptrdiff_t>(a * page_bytes), page_bytes,
                file.begin() + static_cast<std::ptrdiff_t>(b * page_bytes));
    EXPECT_EQ(read_all(swapped).code(), Code::corrupt) << a << " over " << b;
  }
}

TEST_F(StoreCrash, BlankedPagesAreNoticed) {
  const Image image = record(30).end;
  for (std::size_t at = 0; at < image.at(main_path).size(); at += page_bytes) {
    Image blanked = image;
    std::fill_n(blanked[main_path].begin() + static_cast<std::ptrdiff_t>(at), page_bytes, std::uint8_t{0});
    EXPECT_EQ(read_all(blanked).code(), Code::corrupt) << at;
  }
}

TEST_F(StoreCrash, PagesOfAnotherStoreAreNoticed) {
  const Image image = record(30).end;
  DatabaseKey other = key().duplicate();  // the same key, another file id
  other.file_id.data[3] ^= 1;
  RecordSealer mine(key(), nonces());
  RecordSealer theirs(other, nonces());
  for (std::size_t at = 0; at < image.at(main_path).size(); at += page_bytes) {
    Image transplanted = image;
    std::uint8_t* const record = transplanted[main_path].data() + at;
    const auto number = static_cast<std::uint32_t>(at / page_bytes + 1);
    Bytes plain(page_plain_bytes);
    ASSERT_TRUE(mine.open(RecordKind::page, 0, number, record, plain));
    theirs.seal(RecordKind::page, 0, number, plain, record);
    EXPECT_EQ(read_all(transplanted).code(), Code::corrupt) << at;
  }
}

TEST_F(StoreCrash, TruncatedDatabasesAreNoticed) {
  const Image image = record(30).end;
  const std::size_t size = image.at(main_path).size();
  for (std::size_t at = 0; at < size; at += page_bytes)
    for (const int delta : {-1, 0, 1}) {
      if (at == 0 && delta < 0) continue;
      Image cut = image;
      cut[main_path].resize(at + static_cast<std::size_t>(delta));
      EXPECT_EQ(read_all(cut).code(), Code::corrupt) << at << " " << delta;
      EXPECT_EQ(cut[main_path].size(), at + static_cast<std::size_t>(delta));
    }
}

TEST_F(StoreCrash, ADatabaseCutToNothingKeepsItsWal) {
  Image image = record(20, nullptr, false).end;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, page_bytes - 1}) {
    image[main_path].resize(size);
    SimulatedDisk disk(image);
    int recovered = 0;
    EXPECT_EQ(read_all(disk, recovered).code(), Code::corrupt);
    EXPECT_EQ(disk.image(), image) << "nothing may be recreated or deleted";
  }
}

TEST_F(StoreCrash, ATruncatedWalEndsAtACommit) {
  const Recording recording = record(20, nullptr, false);
  const std::size_t size = recording.end.at(wal_path).size();
  std::vector<std::size_t> cuts = {0, 1, 71, 72, 73};
  for (std::size_t slot = 72; slot < size; slot += 64 + page_bytes)
    for (const std::size_t at : {slot, slot + 64})
      for (const int delta : {-1, 0, 1}) cuts.push_back(at + static_cast<std::size_t>(delta));
  int last = 0;
  for (const std::size_t cut : cuts) {
    Image image = recording.end;
    image[wal_path].resize(cut);
    int recovered = -2;
    const Status status = read_all(image, &recovered);
    EXPECT_TRUE(status.ok()) << "cut at " << cut << ": " << status.error().message();
    EXPECT_GE(recovered, last - 1);
    last = std::max(last, recovered);
  }
  EXPECT_GE(last, 19);
}

TEST_F(StoreCrash, FramesOfAnOlderGenerationDoNotOpen) {
  // The same frame numbers, written twice: before and after the log was restarted.
  SimulatedDisk disk;
  Database db = std::move(open_or_create_on(disk)).value();
  for (int done = -1; done < 2; ++done) ASSERT_TRUE(advance(db, done).ok());
  const Bytes old_wal = disk.image().at(wal_path);
  ASSERT_TRUE(db.checkpoint(true).ok());
  ASSERT_TRUE(advance(db, 2).ok());
  Image image = disk.image();
  Bytes& wal = image.at(wal_path);
  const std::size_t slot = 64 + page_bytes;
  const std::size_t frames = std::min(wal.size(), old_wal.size()) / slot;
  ASSERT_GE(frames, 1u);
  for (std::size_t frame = 0; frame < frames; ++frame) {
    Image mixed = image;
    const auto at = static_cast<std::ptrdiff_t>(72 + frame * slot);
    std::copy_n(old_wal.begin() + at, slot, mixed[wal_path].begin() + at);
    int recovered = -2;
    EXPECT_TRUE(read_all(mixed, &recovered).ok());
    EXPECT_EQ(recovered, 2) << "the commit behind the foreign frame is not taken";
  }
}

TEST_F(StoreCrash, AWalOfAnotherStoreIsNoLog) {
  const Recording recording = record(20, nullptr, false);
  Image image = recording.end;
  int whole = 0;
  ASSERT_TRUE(read_all(image, &whole).ok());
  DatabaseKey other = key().duplicate();
  other.file_id.data[0] ^= 1;
  RecordSealer mine(key(), nonces());
  RecordSealer theirs(other, nonces());
  Bytes header(32);
  ASSERT_TRUE(mine.open(RecordKind::wal_header, 0, 0, image.at(wal_path).data(), header));
  theirs.seal(RecordKind::wal_header, 0, 0, header, image[wal_path].data());
  int recovered = -2;
  const Status status = read_all(image, &recovered);
  EXPECT_TRUE(!status.ok() || recovered < whole);
}

// Documented limit: page sealing does not see an old page at its own place; relays and logs do (DESIGN invariant 5).
TEST_F(StoreCrash, AnOldCopyOfBothFilesOpens) {
  SimulatedDisk disk;
  Database db = std::move(open_or_create_on(disk)).value();
  for (int done = -1; done < 3; ++done) ASSERT_TRUE(advance(db, done).ok());
  const Image old = disk.image();
  for (int done = 3; done < 6; ++done) ASSERT_TRUE(advance(db, done).ok());
  int recovered = -2;
  EXPECT_TRUE(read_all(old, &recovered).ok());
  EXPECT_EQ(recovered, 3);
}

// ---- The vault under power cuts

TEST_F(StoreCrash, TheVaultSurvivesEveryPowerCut) {
  SimulatedDisk disk;
  DiceRandom random(3);
  auto directory = std::move(StoreDirectory::acquire(directory_path, disk)).value();
  Vault vault = std::move(Vault::create(directory, {view("one"), {}}, view("secret 0"), view("plain 0"), random, argon2_floor)).value();
  const DatabaseKey vault_key = std::move(vault.database_key()).value();
  std::vector<std::size_t> acknowledged = {disk.events().size()};
  for (int i = 1; i <= 6; ++i) {
    ASSERT_TRUE(vault.set_secrets(view("secret " + std::to_string(i))).ok());
    acknowledged.push_back(disk.events().size());
  }
  CrashWalk walk({}, disk.events());
  for (std::size_t count = 0; count <= disk.events().size(); ++count) {
    walk.advance_to(count);
    const auto done = static_cast<int>(std::upper_bound(acknowledged.begin(), acknowledged.end(), count) - acknowledged.begin()) - 1;
    for (std::uint64_t seed = 0; seed < 24 * campaign(); ++seed) {
      SimulatedDisk after(walk.image(static_cast<Damage>(seed % damage_kinds), seed));
      auto loaded = Vault::load(std::move(StoreDirectory::acquire(directory_path, after)).value(), random);
      if (done < 0 && !loaded.ok()) continue;
      ASSERT_TRUE(loaded.ok()) << count << " " << seed << ": " << loaded.error().message();
      ASSERT_TRUE(loaded->open_with_key(vault_key.key).ok());
      const std::string secret(text_view(*loaded->secrets()));
      EXPECT_TRUE(secret == "secret " + std::to_string(done) || secret == "secret " + std::to_string(done + 1))
          << secret << " at " << count;
    }
  }
}

TEST_F(StoreCrash, NoPlaintextReachesAnyFileAtAnyMoment) {
  // The rows are made of bytes below 64 only, so a run of 24 such bytes is a leak (chance: 4^-24 per place).
  const Recording recording = record(24);
  const std::string marker = "SQLite format 3";
  for (const Event& event : recording.events) {
    if (event.kind != Event::Kind::write) continue;
    int run = 0;
    for (const std::uint8_t byte : event.bytes) {
      run = byte < 64 ? run + 1 : 0;
      ASSERT_LT(run, 24);
    }
    ASSERT_EQ(text_view(event.bytes).find(marker), std::string_view::npos);
    ASSERT_EQ(text_view(event.bytes).find("row_by_tag"), std::string_view::npos);
  }
}

}  // namespace
}  // namespace doorstep::fault
