#include "tests/fault/store_subject.hpp"

#include "sync/crypto.hpp"
#include "tests/fault/crash_points.hpp"

namespace doorstep::fault {

const DatabaseKey& store_key() {
  static const DatabaseKey out = [] {
    DiceRandom random(7);
    return DatabaseKey{random.make<FileId>(), make_symmetric_key(random)};
  }();
  return out;
}

Random& store_random() {
  static DiceRandom out(99);
  return out;
}

DatabaseOptions store_options(SimulatedDisk& disk, Spilling spilling) {
  DatabaseOptions out;
  out.below = disk.vfs();
  out.cache_bytes = 28 << 10;  // so that larger transactions spill
  out.wal_autocheckpoint_pages = 40;
  out.wal_bytes_kept = 60 * 4120;
  out.spill = spilling == Spilling::yes;
  return out;
}

Result<Database> open_store(SimulatedDisk& disk, Spilling spilling) {
  DOORSTEP_ASSIGN(auto directory, StoreDirectory::acquire(store_path, disk));
  return Database::open(std::move(directory), store_key(), store_options(disk, spilling), store_random());
}

Result<Database> open_or_create_store(SimulatedDisk& disk, Spilling spilling) {
  DOORSTEP_ASSIGN(auto directory, StoreDirectory::acquire(store_path, disk));
  if (Database::exists(*directory)) return open_store(disk, spilling);
  DOORSTEP_TRY(directory->sync_name());  // which making the vault does before
  return Database::create(std::move(directory), store_key(), store_options(disk, spilling), store_random());
}

// ---- The steps

namespace {

Bytes content(std::uint64_t seed, std::size_t size) {
  Bytes out(size);
  Dice dice(seed);
  for (auto& byte : out) byte = static_cast<std::uint8_t>(dice.next() & 0x3f);
  return out;
}

const Migration migrations[] = {
    {"CREATE TABLE progress(value INTEGER); INSERT INTO progress VALUES(0);"
     "CREATE TABLE row(id INTEGER PRIMARY KEY, tag INTEGER, v BLOB); CREATE INDEX row_by_tag ON row(tag);"},
};

Status insert(Database& db, int i, int count, std::size_t size) {
  for (int j = 0; j < count; ++j)
    DOORSTEP_TRY(db.run("INSERT INTO row(tag, v) VALUES(?, ?)", i * 7 % 11, content(static_cast<std::uint64_t>(i * 1000 + j), size)));
  return {};
}

Status change_rows(Database& db, int i, Spilling spilling) {
  const int shape = workload() == 0 ? i % 8 : static_cast<int>(Dice(workload() * 1000 + static_cast<std::uint64_t>(i)).below(8));
  switch (shape) {
    case 1: return insert(db, i, 1, 100);
    case 2: return insert(db, i, 5, 600);
    case 3: return db.run("UPDATE row SET v = ? WHERE tag = ?", content(static_cast<std::uint64_t>(i), 700), i % 11);
    case 4:
      DOORSTEP_TRY(insert(db, i, 24, 1000));  // beyond the cache: spills, and rewrites frames in place
      DOORSTEP_TRY(db.run("UPDATE row SET tag = tag + 1"));
      return db.run("DELETE FROM row WHERE id % 3 = ?", i % 3);
    case 5: return insert(db, i, 1, 9000);
    case 6:
      if (spilling == Spilling::no) {
        DOORSTEP_TRY(db.execute("SAVEPOINT s"));
        DOORSTEP_TRY(insert(db, i, 10, 900));
        DOORSTEP_TRY(db.execute("ROLLBACK TO s; RELEASE s"));
      }
      return db.run("UPDATE row SET tag = tag + ? WHERE id % 2 = 0", i);
    case 7: return db.run("DELETE FROM row WHERE id % 4 <> ?", i % 4);
    default: return insert(db, i, 3, 50);
  }
}

}  // namespace

Status StoreSubject::open(SimulatedDisk& disk, bool may_be_new) {
  auto opened = may_be_new ? open_or_create_store(disk, spilling_) : open_store(disk, spilling_);
  if (!opened) return opened.error();
  db_.emplace(std::move(*opened));
  return {};
}

Status StoreSubject::close() {
  if (!db_) return {};
  const Status out = db_->close();
  db_.reset();
  return out;
}

Result<int> StoreSubject::progress() {
  DOORSTEP_ASSIGN(const std::uint32_t version, db_->version());
  if (version == 0) return -1;
  DOORSTEP_ASSIGN(const std::int64_t value, db_->query_int("SELECT value FROM progress"));
  return static_cast<int>(value);
}

Status StoreSubject::advance(int done) {
  if (done < 0) return db_->migrate(migrations);
  const int i = done + 1;
  DOORSTEP_ASSIGN(DatabaseTransaction transaction, DatabaseTransaction::begin(*db_));
  DOORSTEP_TRY(change_rows(*db_, i, spilling_));
  DOORSTEP_TRY(db_->run("UPDATE progress SET value = ?", i));
  return transaction.commit();
}

void StoreSubject::maintain(int done) {
  if (done % 8 == 7) (void)db_->shrink(10);
  if (done % 10 == 9) (void)db_->checkpoint(true);
}

Result<std::uint64_t> StoreSubject::digest() {
  DOORSTEP_ASSIGN(Statement rows, db_->prepare("SELECT id, tag, v FROM row ORDER BY id"));
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

std::uint64_t StoreSubject::digest_after(Spilling spilling, int steps) {
  static std::map<Spilling, std::vector<std::uint64_t>> known;
  std::vector<std::uint64_t>& out = known[spilling];
  if (out.empty()) {
    SimulatedDisk disk;
    StoreSubject subject(spilling);
    DOORSTEP_CHECK(subject.open(disk, true).ok());
    for (int done = -1; done < steps_max; ++done) {
      DOORSTEP_CHECK(subject.advance(done).ok());
      subject.maintain(done + 1);
      out.push_back(subject.digest().value());
    }
  }
  return out.at(static_cast<std::size_t>(steps));
}

Status StoreSubject::check(int done) {
  DOORSTEP_TRY(db_->integrity_check());
  if (done < 0) return {};
  DOORSTEP_ASSIGN(const std::uint64_t state, digest());
  if (state != digest_after(spilling_, done)) return Error(Code::internal, "a state that never was");
  return {};
}

}  // namespace doorstep::fault
