// The sealing VFS on real files: records, the shapes of SQLite's calls, what it refuses. Power cuts and damage: tests/fault.
#include "sdk/store/vfs.hpp"

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "sdk/store/database.hpp"

namespace doorstep {
namespace {

namespace fs = std::filesystem;

class StoreVfs : public testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() / ("doorstep-vfs-" + random_.make<ShortHash>().hex());
    key_ = {random_.make<FileId>(), make_symmetric_key(random_)};
    directory_ = std::move(StoreDirectory::acquire(path_.string())).value();
  }
  void TearDown() override {
    directory_.reset();
    fs::remove_all(path_);
  }
  Database open(const DatabaseOptions& options = {}) {
    auto db = Database::exists(*directory_) ? Database::open(directory_, key_, options, random_)
                                            : Database::create(directory_, key_, options, random_);
    EXPECT_TRUE(db.ok()) << db.error().message();
    return std::move(db).value();
  }
  static Bytes read_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(in), {});
  }

  SystemRandom random_;
  fs::path path_;
  DatabaseKey key_;
  std::shared_ptr<StoreDirectory> directory_;
};

void expect_ok(const Status& status) { EXPECT_TRUE(status.ok()) << status.error().message(); }

// ---- Records

TEST_F(StoreVfs, ARecordOpensOnlyAsWhatItWasSealed) {
  RecordSealer sealer(key_, random_);
  Bytes plain(page_plain_bytes), record(page_bytes), out(page_plain_bytes);
  random_.fill(plain);
  sealer.seal(RecordKind::frame_page, 5, 9, plain, record.data());
  ASSERT_TRUE(sealer.open(RecordKind::frame_page, 5, 9, record.data(), out));
  EXPECT_EQ(out, plain);
  EXPECT_FALSE(sealer.open(RecordKind::frame_page, 5, 10, record.data(), out)) << "another frame";
  EXPECT_FALSE(sealer.open(RecordKind::frame_page, 6, 9, record.data(), out)) << "another generation";
  EXPECT_FALSE(sealer.open(RecordKind::page, 5, 9, record.data(), out)) << "another kind";
  DatabaseKey other_file = key_.duplicate();
  other_file.file_id.data[0] ^= 1;
  EXPECT_FALSE(RecordSealer(other_file, random_).open(RecordKind::frame_page, 5, 9, record.data(), out)) << "another store, same key";
  const DatabaseKey other_key{key_.file_id, make_symmetric_key(random_)};
  EXPECT_FALSE(RecordSealer(other_key, random_).open(RecordKind::frame_page, 5, 9, record.data(), out)) << "another key";
}

TEST_F(StoreVfs, EverySingleFlippedBitOfAPageIsNoticed) {
  RecordSealer sealer(key_, random_);
  Bytes plain(page_plain_bytes), record(page_bytes), out(page_plain_bytes);
  sealer.seal(RecordKind::page, 0, 1, plain, record.data());
  for (std::size_t bit = 0; bit < page_bytes * 8; ++bit) {
    record[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    ASSERT_FALSE(sealer.open(RecordKind::page, 0, 1, record.data(), out)) << "bit " << bit;
    record[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
  }
  EXPECT_TRUE(sealer.open(RecordKind::page, 0, 1, record.data(), out));
}

TEST_F(StoreVfs, NoNonceIsUsedTwice) {
  RecordSealer sealer(key_, random_);
  std::set<Nonce> seen;
  Bytes plain(24), record(24 + seal_bytes);
  for (int i = 0; i < 20000; ++i) {
    sealer.seal(RecordKind::frame_header, 0, 1, plain, record.data());
    ASSERT_TRUE(seen.insert(Nonce::from(ByteView(record).subspan(24, 24))).second);
  }
}

TEST_F(StoreVfs, NoNonceOnDiskIsUsedTwiceAcrossReopening) {
  std::set<Nonce> seen;
  std::size_t records = 0;
  Bytes last;
  for (int round = 0; round < 20; ++round) {
    {
      Database db = open();
      expect_ok(db.execute("CREATE TABLE IF NOT EXISTS t(v)"));
      expect_ok(db.run("INSERT INTO t VALUES(zeroblob(9000))"));
    }
    const Bytes file = read_file(path_ / "main.db");
    for (std::size_t at = 0; at < file.size(); at += page_bytes) {
      const ByteView page(file.data() + at, page_bytes);
      if (at + page_bytes <= last.size() && equal(page, ByteView(last).subspan(at, page_bytes))) continue;
      ++records;
      EXPECT_TRUE(seen.insert(Nonce::from(page.subspan(page_plain_bytes, 24))).second);
    }
    last = file;
  }
  EXPECT_GT(records, 60u);
}

// ---- What SQLite asks for (research/security-and-reliability.md §B.3). Another shape after an upgrade of SQLite must be looked at.

class ShapeLog final : public VfsTestHooks {
 public:
  void on_call(Operation operation, std::string_view file, std::int64_t offset, std::int64_t bytes) override {
    const bool wal = file == "main.db-wal" || file == "wal";
    const std::string name = wal ? "wal" : file == "main.db" || file == "main" ? "main" : "other " + std::string(file);
    switch (operation) {
      case Operation::read: shapes.insert(name + " R " + place(wal, offset, bytes)); break;
      case Operation::write: shapes.insert(name + " W " + place(wal, offset, bytes)); break;
      case Operation::truncate: shapes.insert(name + " truncate"); break;
      case Operation::sync: shapes.insert(name + " sync"); break;
      case Operation::size: shapes.insert(name + " size"); break;
      case Operation::open: shapes.insert(name + " open"); break;
      case Operation::remove: shapes.insert(name + " remove"); break;
      case Operation::access: shapes.insert((wal ? "wal" : "journal") + std::string(" access")); break;
    }
  }
  std::set<std::string> shapes;

 private:
  static std::string place(bool wal, std::int64_t offset, std::int64_t bytes) {
    const std::string size = std::to_string(bytes);
    if (!wal) return size + (offset % 4096 == 0 && bytes == 4096 ? " page" : " at " + std::to_string(offset));
    if (offset < 32) return size + " at " + std::to_string(offset);
    return size + " in frame at " + std::to_string((offset - 32) % 4120);
  }
};

void everything_sqlite_does(Database& db) {
  expect_ok(db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, k, v); CREATE INDEX t_k ON t(k)"));
  {
    auto transaction = std::move(DatabaseTransaction::begin(db)).value();  // spills, and rewrites frames, also the first
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 300; ++i) expect_ok(db.run("INSERT INTO t(k, v) VALUES(?, ?)", i * 37 % 101, Bytes(900, 7)));
      expect_ok(db.run("UPDATE t SET v = ? WHERE id % 5 = 0", Bytes(1200, 9)));
    }
    expect_ok(transaction.commit());
  }
  expect_ok(db.execute("BEGIN; SAVEPOINT s; UPDATE t SET k = k + 1 WHERE id < 5; ROLLBACK TO s; RELEASE s; COMMIT"));
  expect_ok(db.execute("CREATE TEMP TABLE x AS SELECT * FROM t; CREATE INDEX t_v ON t(v)"));
  auto sorted = std::move(db.prepare("SELECT k FROM t ORDER BY v, k DESC")).value();
  while (sorted.step().value()) continue;
  expect_ok(db.execute("CREATE VIRTUAL TABLE words USING fts5(text)"));
  expect_ok(db.run("INSERT INTO words VALUES('ramp at the front door')"));
  expect_ok(db.execute("DELETE FROM t WHERE id % 2"));
  EXPECT_EQ(db.run("INSERT INTO t(id) VALUES(2)").code(), Code::already_exists);
  expect_ok(db.checkpoint());
  expect_ok(db.run("INSERT INTO t(k) VALUES(5)"));
  expect_ok(db.shrink(100));
  expect_ok(db.integrity_check());
  expect_ok(db.checkpoint(true));
  expect_ok(db.run("INSERT INTO t(k) VALUES(6)"));
}

TEST_F(StoreVfs, SqliteAsksOnlyForKnownShapes) {
  ShapeLog log;
  DatabaseOptions options;
  options.hooks = &log;
  options.spill = true;
  options.cache_bytes = 32 << 10;
  options.wal_bytes_kept = 40 * 4120;
  {
    Database db = open(options);
    everything_sqlite_does(db);
    const fs::path copy = path_ / "copy";  // as after a power cut: the log is still there
    fs::create_directory(copy);
    for (const char* name : {"main.db", "main.db-wal"}) fs::copy(path_ / name, copy / name);
  }
  {
    auto crashed = std::move(StoreDirectory::acquire((path_ / "copy").string())).value();
    auto db = Database::open(crashed, key_, options, random_);
    ASSERT_TRUE(db.ok()) << db.error().message();
    expect_ok(db->integrity_check());
  }
  const std::set<std::string> known = {"main open",
                                       "main R 100 at 0",
                                       "main R 16 at 24",
                                       "main R 4096 page",
                                       "main W 4096 page",
                                       "main truncate",
                                       "main sync",
                                       "main size",
                                       "wal open",
                                       "wal W 32 at 0",
                                       "wal W 24 in frame at 0",
                                       "wal W 4096 in frame at 24",
                                       "wal R 32 at 0",
                                       "wal R 8 at 24",
                                       "wal R 4120 in frame at 0",
                                       "wal R 4096 in frame at 24",
                                       "wal sync",
                                       "wal R 8 in frame at 16",
                                       "wal truncate",
                                       "wal size",
                                       "wal access",
                                       "wal remove",
                                       "journal access"};
  for (const auto& shape : log.shapes) EXPECT_TRUE(known.contains(shape)) << "new: " << shape;
  for (const char* shape : {"main R 100 at 0", "main R 4096 page", "main W 4096 page", "wal W 32 at 0", "wal W 24 in frame at 0",
                            "wal W 4096 in frame at 24", "wal R 4120 in frame at 0", "wal R 4096 in frame at 24"})
    EXPECT_TRUE(log.shapes.contains(shape)) << "gone: " << shape;
}

// ---- What it refuses

TEST_F(StoreVfs, NoPlaintextInAnyFile) {
  constexpr int markers = 64;
  const auto marker = [](int i) { return "marker-" + std::to_string(i * 7919 + 10000) + "-Zhang-San-phone"; };
  const auto search = [&](const char* when) {
    for (const auto& entry : fs::recursive_directory_iterator(path_)) {
      const Bytes file = read_file(entry.path());
      for (int i = 0; i < markers; ++i) EXPECT_EQ(text_view(file).find(marker(i)), std::string_view::npos) << entry.path() << " " << when;
      EXPECT_EQ(text_view(file).find("SQLite format"), std::string_view::npos) << entry.path() << " " << when;
      EXPECT_EQ(text_view(file).find("person_name"), std::string_view::npos) << entry.path() << " " << when;
    }
  };
  DatabaseOptions options;
  options.cache_bytes = 32 << 10;
  options.spill = true;
  {
    Database db = open(options);
    expect_ok(db.execute("CREATE TABLE person(id INTEGER PRIMARY KEY, person_name TEXT)"));
    auto transaction = std::move(DatabaseTransaction::begin(db)).value();
    for (int i = 0; i < 4000; ++i) expect_ok(db.run("INSERT INTO person(person_name) VALUES(?)", marker(i % markers)));
    search("in a transaction");
    expect_ok(transaction.commit());
    search("after the commit");
    expect_ok(db.execute("CREATE INDEX by_name ON person(person_name)"));
    expect_ok(db.execute("CREATE TEMP TABLE other AS SELECT person_name FROM person ORDER BY person_name DESC"));
    search("after sorting");
    expect_ok(db.checkpoint());
    search("after a checkpoint");
  }
  search("closed");
}

TEST_F(StoreVfs, RefusesEveryOtherFile) {
  Database db = open();
  expect_ok(db.execute("CREATE TABLE t(v); INSERT INTO t VALUES(1)"));
  EXPECT_FALSE(db.execute("ATTACH '" + (path_ / "other.db").string() + "' AS other").ok());
  EXPECT_FALSE(db.execute("ATTACH 'file:" + (path_ / "other.db").string() + "?vfs=unix' AS other").ok());
  EXPECT_FALSE(db.execute("VACUUM INTO '" + (path_ / "other.db").string() + "'").ok());
  EXPECT_FALSE(fs::exists(path_ / "other.db"));
  (void)db.execute("PRAGMA journal_mode=DELETE");
  EXPECT_EQ(db.query_int("SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'").value(), 1);
  expect_ok(db.run("INSERT INTO t VALUES(2)"));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(path_)) names.insert(entry.path().filename());
  EXPECT_EQ(names, (std::set<std::string>{"lock", "main.db", "main.db-wal"}));
}

TEST_F(StoreVfs, AJournalThatSomebodyPutThereIsIgnored) {
  {
    Database db = open();
    expect_ok(db.execute("CREATE TABLE t(v); INSERT INTO t VALUES(1)"));
  }
  std::ofstream(path_ / "main.db-journal", std::ios::binary)
      << std::string("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 8) << std::string(5000, '\1');
  Database db = open();
  EXPECT_EQ(db.query_int("SELECT v FROM t").value(), 1);
  EXPECT_TRUE(fs::exists(path_ / "main.db-journal"));
}

TEST_F(StoreVfs, ADamagedPagePoisonsUntilOpenedAgain) {
  {
    Database db = open();
    expect_ok(db.execute("CREATE TABLE a(v); CREATE TABLE b(v); INSERT INTO a VALUES(1); INSERT INTO b VALUES(zeroblob(20000))"));
  }
  const auto size = fs::file_size(path_ / "main.db");
  {
    std::fstream file(path_ / "main.db", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(size) - 2000);
    file.put('\x5a');
  }
  for (int round = 0; round < 2; ++round) {
    Database db = open();
    EXPECT_EQ(db.query_int("SELECT v FROM a").value(), 1);
    EXPECT_EQ(db.query_int("SELECT length(hex(v)) FROM b").code(), Code::corrupt);
    ASSERT_NE(db.poison(), nullptr);
    EXPECT_NE(db.poison()->message().find("of main.db"), std::string::npos) << db.poison()->message();
    EXPECT_EQ(db.query_int("SELECT v FROM a").code(), Code::corrupt);
    EXPECT_EQ(db.run("INSERT INTO a VALUES(2)").code(), Code::corrupt);
    EXPECT_EQ(db.close().code(), Code::corrupt);
  }
  EXPECT_EQ(fs::file_size(path_ / "main.db"), size) << "nothing was cut or recreated";
}

}  // namespace
}  // namespace doorstep
