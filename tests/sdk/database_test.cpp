#include "sdk/store/database.hpp"

#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "sdk/store/vault.hpp"

namespace doorstep {
namespace {

namespace fs = std::filesystem;

void ok(const Status& status) { EXPECT_TRUE(status.ok()) << status.error().message(); }

class StoreDatabase : public testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() / ("doorstep-db-" + random_.make<ShortHash>().hex());
    key_ = {random_.make<FileId>(), make_symmetric_key(random_)};
    directory_ = std::move(StoreDirectory::acquire(path_.string())).value();
  }
  void TearDown() override {
    directory_.reset();
    fs::remove_all(path_);
  }
  Database create(const DatabaseOptions& options = {}) {
    auto db = Database::create(directory_, key_, options, random_);
    EXPECT_TRUE(db.ok()) << db.error().message();
    return std::move(db).value();
  }
  Result<Database> open(const DatabaseOptions& options = {}) { return Database::open(directory_, key_, options, random_); }

  SystemRandom random_;
  fs::path path_;
  DatabaseKey key_;
  std::shared_ptr<StoreDirectory> directory_;
};

TEST_F(StoreDatabase, KeepsWhatWasCommitted) {
  const auto id = random_.make<RecordId>();
  {
    Database db = create();
    ok(db.execute("CREATE TABLE t(id BLOB PRIMARY KEY, n INTEGER, x REAL, s TEXT, b BLOB, z)"));
    auto statement = std::move(db.prepare("INSERT INTO t VALUES(?, ?, ?, ?, ?, ?)")).value();
    ok(statement.bind(1, id).bind(2, -5).bind(3, 0.5).bind(4, "\xE5\xBC\xA0").bind(5, Bytes{}).bind(6, nullptr).run());
  }
  Database db = std::move(open()).value();
  auto row = std::move(db.prepare("SELECT * FROM t")).value();
  ASSERT_TRUE(row.step().value());
  EXPECT_EQ(row.column_count(), 6);
  EXPECT_EQ(row.column_id<RecordId>(0).value(), id);
  EXPECT_EQ(row.column_id<SpaceId>(0).code(), Code::corrupt) << "another length";
  EXPECT_EQ(row.column_int(1), -5);
  EXPECT_EQ(row.column_double(2), 0.5);
  EXPECT_EQ(row.column_text(3), "\xE5\xBC\xA0");
  EXPECT_FALSE(row.column_is_null(4)) << "an empty blob is not NULL";
  EXPECT_TRUE(row.column_blob(4).empty());
  EXPECT_TRUE(row.column_is_null(5));
  EXPECT_FALSE(row.step().value());
}

TEST_F(StoreDatabase, NothingIsRecreated) {
  EXPECT_EQ(open().code(), Code::not_found);
  EXPECT_FALSE(fs::exists(path_ / "main.db"));
  { Database db = create(); }
  EXPECT_EQ(Database::create(directory_, key_, {}, random_).code(), Code::already_exists);
  fs::resize_file(path_ / "main.db", 0);
  EXPECT_EQ(open().code(), Code::corrupt);
  EXPECT_EQ(fs::file_size(path_ / "main.db"), 0u);
  fs::remove(path_ / "main.db");
  std::ofstream(path_ / "main.db-wal") << "what is left of a lost database";
  EXPECT_EQ(Database::create(directory_, key_, {}, random_).code(), Code::already_exists);
}

TEST_F(StoreDatabase, AnotherKeyOpensNothingAndChangesNothing) {
  { Database db = create(); }
  const auto before = fs::last_write_time(path_ / "main.db");
  const DatabaseKey other{key_.file_id, make_symmetric_key(random_)};
  const auto db = Database::open(directory_, other, {}, random_);
  ASSERT_EQ(db.code(), Code::corrupt);
  EXPECT_NE(db.error().message().find("another vault"), std::string::npos) << db.error().message();
  EXPECT_EQ(fs::last_write_time(path_ / "main.db"), before);
  EXPECT_TRUE(open().ok());
}

TEST_F(StoreDatabase, OneProcessAtATime) {
  const auto second = StoreDirectory::acquire(path_.string());
  ASSERT_EQ(second.code(), Code::busy);
  EXPECT_NE(second.error().message().find("another program"), std::string::npos);
  const pid_t child = fork();
  if (child == 0) _exit(StoreDirectory::acquire(path_.string()).code() == Code::busy ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  directory_.reset();
  EXPECT_TRUE(StoreDirectory::acquire(path_.string()).ok());
}

TEST_F(StoreDatabase, TransactionsAreAllOrNothing) {
  Database db = create();
  ok(db.execute("CREATE TABLE t(v INTEGER UNIQUE)"));
  {
    auto transaction = std::move(DatabaseTransaction::begin(db)).value();
    EXPECT_EQ(DatabaseTransaction::begin(db).code(), Code::internal) << "they do not nest";
    ok(db.run("INSERT INTO t VALUES(1)"));
    EXPECT_TRUE(db.in_transaction());
  }
  EXPECT_FALSE(db.in_transaction());
  EXPECT_EQ(db.query_int("SELECT count(*) FROM t").value(), 0) << "rolled back";
  {
    auto transaction = std::move(DatabaseTransaction::begin(db)).value();
    ok(db.run("INSERT INTO t VALUES(1)"));
    EXPECT_EQ(db.run("INSERT INTO t VALUES(1)").code(), Code::already_exists);
    ok(db.run("INSERT INTO t VALUES(2)"));
    EXPECT_EQ(db.changes(), 1);
    ok(transaction.commit());
  }
  EXPECT_EQ(db.query_int("SELECT count(*) FROM t").value(), 2) << "a broken constraint fails its statement only";
  {
    auto transaction = std::move(DatabaseTransaction::begin(db)).value();
    ok(db.run("INSERT INTO t VALUES(3)"));
    EXPECT_EQ(db.run("INSERT INTO nowhere VALUES(3)").code(), Code::internal);
    EXPECT_FALSE(db.run("INSERT INTO t VALUES(4)").ok()) << "a failed transaction takes nothing more";
    EXPECT_FALSE(transaction.commit().ok());
  }
  EXPECT_EQ(db.query_int("SELECT count(*) FROM t").value(), 2);
}

TEST_F(StoreDatabase, AStatementCanBeUsedTwiceAtOnce) {
  Database db = create();
  ok(db.execute("CREATE TABLE t(v); INSERT INTO t VALUES(1), (2), (3)"));
  int pairs = 0;
  auto outer = std::move(db.prepare("SELECT v FROM t")).value();
  while (outer.step().value()) {
    auto inner = std::move(db.prepare("SELECT v FROM t")).value();
    while (inner.step().value()) ++pairs;
  }
  EXPECT_EQ(pairs, 9);
  for (int i = 0; i < 500; ++i) EXPECT_EQ(db.query_int("SELECT " + std::to_string(i)).value(), i) << "the cache is bounded";
  EXPECT_EQ(db.query_int("SELECT v FROM t WHERE v = ?", 9).code(), Code::not_found);
  EXPECT_EQ(db.prepare("SELEC").code(), Code::internal);
  EXPECT_EQ(db.prepare("  ").code(), Code::invalid_argument);
}

TEST_F(StoreDatabase, TheSchemaMovesForwardsOnly) {
  static const Migration steps[] = {
      {"CREATE TABLE a(v)"},
      {"CREATE TABLE b(v)", [](Database& db) -> Status { return db.run("INSERT INTO b VALUES(7)"); }},
      {"INSERT INTO a VALUES(1); CREATE TABLE broken("},
  };
  {
    Database db = create();
    ok(db.migrate({steps, 1}));
    ok(db.migrate({steps, 2}));
    ok(db.migrate({steps, 2}));
    EXPECT_EQ(db.version().value(), 2u);
    EXPECT_EQ(db.query_int("SELECT v FROM b").value(), 7);
    EXPECT_FALSE(db.migrate(steps).ok());
    EXPECT_EQ(db.version().value(), 2u) << "a step is whole or not there";
    EXPECT_EQ(db.query_int("SELECT count(*) FROM a").value(), 0);
  }
  Database db = std::move(open()).value();
  const Status older = db.migrate({steps, 1});
  EXPECT_EQ(older.code(), Code::unsupported);
  EXPECT_NE(older.error().message().find("update the program"), std::string::npos);
  EXPECT_EQ(db.query_int("SELECT v FROM b").value(), 7);
}

TEST_F(StoreDatabase, TheWalIsBounded) {
  DatabaseOptions options;
  options.wal_autocheckpoint_pages = 50;
  options.wal_bytes_kept = 100 * 4120;
  Database db = create(options);
  ok(db.execute("CREATE TABLE t(v)"));
  for (int i = 0; i < 300; ++i) ok(db.run("INSERT INTO t VALUES(zeroblob(3000))"));
  EXPECT_LT(fs::file_size(path_ / "main.db-wal"), 60u * 4160);
  {
    auto transaction = std::move(DatabaseTransaction::begin(db)).value();
    for (int i = 0; i < 3000; ++i) ok(db.run("INSERT INTO t VALUES(zeroblob(3000))"));
    ok(transaction.commit());
  }
  EXPECT_GT(fs::file_size(path_ / "main.db-wal"), 2000u * 4160);
  for (int i = 0; i < 3; ++i) ok(db.run("INSERT INTO t VALUES(zeroblob(3000))"));
  EXPECT_LE(fs::file_size(path_ / "main.db-wal"), 72 + 101u * 4160) << "cut back after the checkpoint";
  ok(db.checkpoint(true));
  EXPECT_EQ(fs::file_size(path_ / "main.db-wal"), 0u);
  ok(db.run("DELETE FROM t"));
  const auto before = fs::file_size(path_ / "main.db");
  ok(db.shrink(1 << 20));
  ok(db.checkpoint(true));
  EXPECT_LT(fs::file_size(path_ / "main.db"), before / 10);
  ok(db.integrity_check());
  ok(db.close());
  EXPECT_FALSE(fs::exists(path_ / "main.db-wal"));
}

TEST_F(StoreDatabase, DangerousSqlIsOff) {
  Database db = create();
  ok(db.execute("CREATE TABLE t(v)"));
  EXPECT_FALSE(db.execute("SELECT load_extension('x')").ok());
  EXPECT_FALSE(db.execute("PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = 'x'").ok());
  EXPECT_FALSE(db.execute("SELECT \"a string in the wrong quotes\"").ok());
}

TEST_F(StoreDatabase, ANewDatabaseCannotBeOpenedBesidesSealing) {
  { Database db = create(); }
  DatabaseOptions plain;
  plain.plain = true;
  EXPECT_EQ(open(plain).code(), Code::not_found) << "plain.db is another file";
  {
    Database db = create(plain);
    ok(db.execute("CREATE TABLE t(v); INSERT INTO t VALUES('clear')"));
    ok(db.quick_check());
  }
  Bytes file = system_files().read(directory_->file("plain.db"), 1 << 20).value();
  EXPECT_NE(text_view(file).find("clear"), std::string_view::npos);
  fs::copy_file(path_ / "plain.db", path_ / "main.db", fs::copy_options::overwrite_existing);
  EXPECT_EQ(open().code(), Code::corrupt) << "a plain file is not taken for a sealed one";
}

TEST_F(StoreDatabase, VaultAndDatabaseTogether) {
  const Credentials credentials{view("five words or more please"), {}};
  Bytes old_vault;
  {
    auto vault = std::move(Vault::create(directory_, credentials, view("s"), {}, random_, argon2_floor)).value();
    auto db = std::move(Database::create(directory_, *vault.database_key(), {}, random_)).value();
    ok(db.execute("CREATE TABLE t(v); INSERT INTO t VALUES(1)"));
    old_vault = system_files().read(directory_->file("vault"), 1 << 20).value();
    ok(vault.change_credentials(credentials, {view("other words"), {}}, argon2_floor));
    ok(db.run("INSERT INTO t VALUES(2)"));
  }
  // An older vault with a newer database: fine, the database key never changes.
  ok(write_atomically(system_files(), path_.string(), "vault", old_vault));
  auto vault = std::move(Vault::load(directory_, random_)).value();
  ok(vault.unlock(credentials));
  auto db = Database::open(directory_, *vault.database_key(), {}, random_);
  ASSERT_TRUE(db.ok()) << db.error().message();
  EXPECT_EQ(db->query_int("SELECT count(*) FROM t").value(), 2);
}

TEST_F(StoreDatabase, AKilledProcessLosesNothing) {
  for (int round = 0; round < 5; ++round) {
    int pipes[2];
    ASSERT_EQ(pipe(pipes), 0);
    directory_.reset();  // the child takes the lock
    const pid_t child = fork();
    if (child == 0) {
      auto directory = StoreDirectory::acquire(path_.string());
      if (!directory.ok()) _exit(3);
      auto db = round == 0 ? Database::create(*directory, key_, {}, random_) : Database::open(*directory, key_, {}, random_);
      if (!db.ok()) _exit(4);
      if (round == 0 && !db->execute("CREATE TABLE t(v INTEGER PRIMARY KEY)").ok()) _exit(5);
      for (std::int64_t i = round * 1000000;; ++i) {
        if (!db->run("INSERT INTO t VALUES(?)", i).ok()) _exit(6);
        if (write(pipes[1], &i, sizeof i) != sizeof i) _exit(7);
      }
    }
    close(pipes[1]);
    std::int64_t last = -1;
    for (int i = 0; i < 30 + 17 * round; ++i) ASSERT_EQ(read(pipes[0], &last, sizeof last), static_cast<ssize_t>(sizeof last));
    kill(child, SIGKILL);
    while (read(pipes[0], &last, sizeof last) == static_cast<ssize_t>(sizeof last)) continue;
    close(pipes[0]);
    int status = 0;
    waitpid(child, &status, 0);
    directory_ = std::move(StoreDirectory::acquire(path_.string())).value();
    Database db = std::move(open()).value();
    const std::int64_t found = db.query_int("SELECT max(v) FROM t").value();
    EXPECT_TRUE(found == last || found == last + 1) << found << " after " << last;
    ok(db.integrity_check());
  }
}

// A file system that is really full, not a simulated one.
TEST_F(StoreDatabase, AFullFileSystemSaysSoAndRecovers) {
  const fs::path mount_point = path_ / "small";
  fs::create_directory(mount_point);
  if (geteuid() != 0) GTEST_SKIP() << "mounting a small tmpfs needs root";
  if (mount("doorstep-test", mount_point.c_str(), "tmpfs", 0, "size=2m,mode=0700") != 0)
    GTEST_SKIP() << "cannot mount a tmpfs here: " << std::strerror(errno);
  {
    auto directory = std::move(StoreDirectory::acquire(mount_point.string())).value();
    auto db = std::make_unique<Database>(std::move(Database::create(directory, key_, {}, random_)).value());
    ok(db->execute("CREATE TABLE t(v)"));
    std::int64_t saved = 0;
    Status status;
    while (status.ok() && saved < 2000) {
      status = db->run("INSERT INTO t VALUES(randomblob(10000))");
      saved += status.ok();
    }
    EXPECT_EQ(status.code(), Code::full) << (status.ok() ? "never full" : status.error().message());
    EXPECT_EQ(db->query_int("SELECT count(*) FROM t").value(), saved);
    EXPECT_FALSE(write_atomically(system_files(), mount_point.string(), "vault", Bytes(200000)).ok());
    EXPECT_FALSE(fs::exists(mount_point / "vault.tmp")) << "a full disk does not stay full because of us";
    db.reset();
    db = std::make_unique<Database>(std::move(Database::open(directory, key_, {}, random_)).value());
    EXPECT_EQ(db->query_int("SELECT count(*) FROM t").value(), saved);
    mount("doorstep-test", mount_point.c_str(), "tmpfs", MS_REMOUNT, "size=16m");
    ok(db->run("INSERT INTO t VALUES(randomblob(10000))"));
    EXPECT_EQ(db->query_int("SELECT count(*) FROM t").value(), saved + 1);
    ok(db->integrity_check());
  }
  umount(mount_point.c_str());
}

}  // namespace
}  // namespace doorstep
