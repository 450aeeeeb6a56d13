// One SQLite database, sealed page by page (FORMAT.md), behind typed results.
//
//   auto directory = StoreDirectory::acquire("/path/store");                        // one process at a time
//   auto vault     = Vault::create(*directory, credentials, secrets, plain, random); // vault.hpp: key slots
//   auto database  = Database::create(*directory, *vault->database_key(), {}, random);
//   database->migrate(steps);
//   auto transaction = DatabaseTransaction::begin(*database);
//   database->run("INSERT INTO note(id, text) VALUES(?, ?)", id, text);
//   transaction->commit();                                                          // returns when it is on the disk
//
// Promises:
//   - commit() (and run() outside a transaction) returns ok only when the change survives a power cut.
//   - No error at opening recreates, truncates or deletes anything.
//   - After a failed fsync or a page whose seal does not hold, the connection is poisoned: every later call fails with
//     the first error until the database is closed and opened again. Nothing is read from what may be wrong.
//   - After any failure inside a transaction other than a broken constraint, later calls in it fail and so does commit().
// One thread at a time. Statements and transactions must not outlive their Database.
#pragma once

#include <concepts>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sdk/store/files.hpp"
#include "sync/bytes.hpp"
#include "sync/env.hpp"
#include "sync/ids.hpp"
#include "sync/secret.hpp"

struct sqlite3_stmt;
struct sqlite3_vfs;

namespace doorstep {

class VfsTestHooks;

using FileId = FixedBytes<struct FileIdTag, 16>;  ///< Random, one per store; binds every sealed page to its store.

/// What opens the database file. Made by the vault, the same for the life of a store.
struct DatabaseKey {
  FileId file_id;
  Secret<32> key;
  DatabaseKey duplicate() const { return {file_id, key.duplicate()}; }
};

struct DatabaseOptions {
  std::size_t cache_bytes = 4u << 20;  ///< SQLite's page cache: plaintext in memory, so small.
  /// False: a transaction's changed pages stay in memory until it commits, so keep transactions to some megabytes. True: they may go
  /// to the WAL early; then a partial rollback (savepoint, broken constraint) in a large transaction can fail it (FORMAT.md, S14).
  bool spill = false;
  int wal_autocheckpoint_pages = 1000;    ///< Checkpoint after a commit that leaves at least so many frames; 0: never by itself.
  std::int64_t wal_bytes_kept = 8 << 20;  ///< A WAL that has grown beyond it is cut back to it after the next checkpoint.
  sqlite3_vfs* below = nullptr;           ///< The VFS under the sealing one; nullptr: the platform's. For tests and other platforms.
  VfsTestHooks* hooks = nullptr;          ///< Only for tests (vfs.hpp).
  /// NOT ENCRYPTED: a plain SQLite file `plain.db` with the same settings. Only a floor for benchmarks to compare with.
  bool plain = false;
};

/// What a store stands on: the simulator, or a port to another system, replaces it whole.
struct Platform {
  Files* files = &system_files();
  sqlite3_vfs* vfs = nullptr;     ///< DatabaseOptions::below
  VfsTestHooks* hooks = nullptr;  ///< Only for tests.
};

class Database;
namespace detail {
class Connection;
struct CachedStatement;
}  // namespace detail

/// A prepared statement, borrowed from the database's cache and handed back (reset, bindings cleared) when destroyed.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  // Parameters, numbered from 1. A failure to bind (too large, out of memory) is reported by the next step().
  Statement& bind(int index, std::integral auto value) { return bind_int(index, static_cast<std::int64_t>(value)); }
  Statement& bind(int index, double value);
  Statement& bind(int index, std::string_view text);  ///< Copied.
  Statement& bind(int index, const std::string& text) { return bind(index, std::string_view(text)); }
  Statement& bind(int index, const char* text) { return bind(index, std::string_view(text)); }
  Statement& bind(int index, ByteView blob);  ///< Copied. An empty view is an empty blob, not NULL.
  Statement& bind(int index, const Bytes& blob) { return bind(index, ByteView(blob)); }
  template <class Tag, std::size_t N>
  Statement& bind(int index, const FixedBytes<Tag, N>& id) {
    return bind(index, id.view());
  }
  Statement& bind(int index, std::nullptr_t);          ///< NULL.
  Statement& bind_borrowed(int index, ByteView blob);  ///< Not copied: must stay valid until reset() or destruction.

  /// True: a row is there. False: done. Code::already_exists for a broken unique or primary key, Code::invalid_argument
  /// for another constraint.
  Result<bool> step();
  /// step() until done, for statements without rows. Leaves the statement reset.
  Status run();
  /// For another round with other parameters (bindings are kept).
  void reset();

  // Columns of the current row, numbered from 0. Views are valid until the next step(), reset() or destruction.
  int column_count() const;
  bool column_is_null(int index) const;
  std::int64_t column_int(int index) const;
  double column_double(int index) const;
  std::string_view column_text(int index) const;
  ByteView column_blob(int index) const;
  /// A blob of exactly N bytes; Code::corrupt otherwise.
  template <class Fixed>
  Result<Fixed> column_id(int index) const {
    const ByteView blob = column_blob(index);
    if (blob.size() != Fixed::size_bytes)
      return Error(Code::corrupt, "column " + std::to_string(index) + " has " + std::to_string(blob.size()) + " bytes instead of " +
                                      std::to_string(Fixed::size_bytes) + ": the store is damaged or was written by a defect");
    return Fixed::from(blob);
  }

 private:
  friend class Database;
  Statement(detail::Connection* connection, detail::CachedStatement* cached) : connection_(connection), cached_(cached) {}
  Statement& bind_int(int index, std::int64_t value);
  Statement& note(int rc);
  sqlite3_stmt* raw() const;

  detail::Connection* connection_ = nullptr;
  detail::CachedStatement* cached_ = nullptr;
  int bind_rc_ = 0;
};

/// One step of the schema's history, never changed once released. The database's version is the number of steps done.
struct Migration {
  std::string_view sql;                 ///< One or more statements; may be empty.
  Status (*code)(Database&) = nullptr;  ///< Run after the SQL, in the same transaction.
};

struct DatabaseHealth {
  std::uint64_t recovery_bad_records = 0;  ///< WAL records that recovery at opening found torn or foreign, and ended the WAL at.
  std::uint64_t checkpoint_failures = 0;   ///< Checkpoints that failed; the WAL keeps everything and the next one tries again.
  std::uint64_t wal_pages = 0;             ///< Frames in the WAL after the last commit.
};

class Database {
 public:
  /// Makes the files of a new store. Code::already_exists if there is a database already: it is never replaced.
  static Result<Database> create(std::shared_ptr<StoreDirectory> directory, const DatabaseKey& key, const DatabaseOptions& options,
                                 Random& random);
  /// Code::not_found if there is none; Code::corrupt if it is damaged or belongs to another vault. Changes nothing but what
  /// SQLite's own recovery does. `random` must outlive the database.
  static Result<Database> open(std::shared_ptr<StoreDirectory> directory, const DatabaseKey& key, const DatabaseOptions& options,
                               Random& random);
  static bool exists(const StoreDirectory& directory, const DatabaseOptions& options = {});

  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;
  ~Database();  ///< Closes; a failure of the last checkpoint is harmless (the WAL stays) and not reported. See close().

  /// Checkpoints, closes, and says whether that worked. The Database is unusable afterwards.
  Status close();

  /// From the cache if the same text was prepared before.
  Result<Statement> prepare(std::string_view sql);
  /// One statement without rows: `run("DELETE FROM t WHERE id = ?", id)`.
  template <class... Arguments>
  Status run(std::string_view sql, const Arguments&... arguments) {
    DOORSTEP_ASSIGN(Statement statement, prepare(sql));
    [[maybe_unused]] int index = 0;
    (statement.bind(++index, arguments), ...);
    return statement.run();
  }
  /// First column of the first row; Code::not_found if there is no row.
  template <class... Arguments>
  Result<std::int64_t> query_int(std::string_view sql, const Arguments&... arguments) {
    DOORSTEP_ASSIGN(Statement statement, prepare(sql));
    [[maybe_unused]] int index = 0;
    (statement.bind(++index, arguments), ...);
    DOORSTEP_ASSIGN(const bool row, statement.step());
    if (!row) return Error(Code::not_found, "no such row");
    return statement.column_int(0);
  }
  /// Several statements without parameters and without rows (schemas).
  Status execute(std::string_view sql);

  /// Brings the schema from its version to steps.size(), one transaction a step. Code::unsupported, and nothing is changed,
  /// if the file is newer than `steps`.
  Status migrate(std::span<const Migration> steps);
  Result<std::uint32_t> version();

  std::int64_t last_insert_row_id() const;
  std::int64_t changes() const;
  bool in_transaction() const;

  /// Copies the WAL into the database file. `truncate`: also cuts the WAL to nothing (before a backup, at lock).
  Status checkpoint(bool truncate = false);
  /// PRAGMA quick_check: reads every page in use, so verifies its seal. Code::corrupt names the first finding.
  Status quick_check();
  /// PRAGMA integrity_check: also indexes against tables.
  Status integrity_check();
  /// Gives freed pages back to the file system, at most so many.
  Status shrink(int pages_max);
  /// Drops what the page cache may drop.
  void release_memory();

  DatabaseHealth health() const;
  /// The error that poisoned the connection, if one did.
  const Error* poison() const;

 private:
  friend class DatabaseTransaction;
  explicit Database(std::unique_ptr<detail::Connection> connection);
  std::unique_ptr<detail::Connection> connection_;
};

/// BEGIN IMMEDIATE … COMMIT. Destroyed without commit(): rolled back.
class DatabaseTransaction {
 public:
  static Result<DatabaseTransaction> begin(Database& database);
  DatabaseTransaction(DatabaseTransaction&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  DatabaseTransaction& operator=(DatabaseTransaction&&) = delete;
  DatabaseTransaction(const DatabaseTransaction&) = delete;
  DatabaseTransaction& operator=(const DatabaseTransaction&) = delete;
  ~DatabaseTransaction() { rollback(); }

  /// Ok: durable. An error: nothing of the transaction is in the database; but after Code::io (the disk refused a write or a
  /// sync) only opening again tells.
  Status commit();
  void rollback();

 private:
  explicit DatabaseTransaction(detail::Connection* connection) : connection_(connection) {}
  detail::Connection* connection_;
};

}  // namespace doorstep
