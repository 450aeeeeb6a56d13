// The database: one SQLite connection, what it must never do switched off, and its return codes turned into sentences.
//
// A connection's states, and what moves it:
//   usable  -> poisoned            a failed fsync or a broken seal (note_failure); ends only by closing
// A transaction's:
//   none    -> open                begin()
//   open    -> failed              any error but a broken constraint, or SQLite rolled back by itself
//   open    -> none                commit(), rollback()
//   failed  -> none                rollback() only
#include "sdk/store/database.hpp"

#include <list>
#include <map>
#include <optional>
#include <unordered_map>

#include <sqlite3.h>

#include "sdk/store/vfs.hpp"
#include "sync/lab.hpp"

namespace doorstep {

namespace {

constexpr std::size_t cached_statements_max = 160;
constexpr int application_id = 0x44535450;  // "DSTP"

const char* file_name(bool plain) { return plain ? "plain.db" : "main.db"; }

std::string log_name(bool plain) { return std::string(file_name(plain)) + "-wal"; }

// An absolute or "./" path: the system's SQLite may take a leading "file:" for a URI.
std::string sqlite_path(const StoreDirectory& directory, bool plain) {
  const std::string path = directory.file(file_name(plain));
  return path.starts_with('/') ? path : "./" + path;
}

Code code_of(int rc) {
  switch (rc) {
    case SQLITE_IOERR_DATA:
    case SQLITE_IOERR_CORRUPTFS:
    case SQLITE_IOERR_SHORT_READ: return Code::corrupt;
    case SQLITE_IOERR_NOMEM: return Code::full;
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID: return Code::already_exists;
    default: break;
  }
  switch (rc & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM: return Code::full;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return Code::corrupt;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM: return Code::io;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return Code::busy;
    case SQLITE_CONSTRAINT: return Code::invalid_argument;
    case SQLITE_TOOBIG: return Code::too_large;
    case SQLITE_INTERRUPT: return Code::cancelled;
    default: return Code::internal;
  }
}

const char* advice(Code code) {
  switch (code) {
    case Code::corrupt: return ". The database is damaged; nothing was changed. Keep its files, and rebuild the store (Replica::rebuild)";
    case Code::full: return ". Nothing was saved by this step; free some space and try again";
    case Code::io: return ". The operating system refused; check the disk and the rights of the store's directory";
    case Code::busy: return ". Another program has the database open; close it there and try again";
    default: return "";
  }
}

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using OwnStatement = std::unique_ptr<sqlite3_stmt, Finalize>;

}  // namespace

// ---- The connection

namespace detail {

struct CachedStatement {
  sqlite3_stmt* raw = nullptr;
  std::string sql;
  bool cached = true;  // false: a second user of a text that was in use; finalized when handed back
  bool in_use = false;
};

enum class TransactionState { none, open, failed };

class Connection {
 public:
  Connection(std::shared_ptr<StoreDirectory> directory, DatabaseOptions options) : directory_(std::move(directory)), options_(options) {}
  ~Connection() { (void)close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Status open(const DatabaseKey& key, Random& random);
  Status close();

  Result<CachedStatement*> borrow(std::string_view sql);
  void hand_back(CachedStatement* statement);
  /// Refuses what cannot be right any more: poisoned, or a transaction that has failed.
  Status check_usable();
  /// The error for `rc`; poisons the connection and fails the transaction where that is due.
  Error note_failure(int rc, std::string_view doing);
  int exec(const char* sql) { return sqlite3_exec(db_, sql, nullptr, nullptr, nullptr); }
  /// Where memory is short, SQLite may refuse to roll back: it is tried again before anything else is done.
  void roll_back();
  Status check(int rc, std::string_view doing) {
    if (rc == SQLITE_OK) return {};
    return note_failure(rc, doing);
  }
  Result<int> step(sqlite3_stmt* statement, std::string_view doing);
  Status checkpoint(int mode);
  /// Is there while a sync has failed since the log was last confirmed.
  std::string unsure_mark() const { return directory_->file(log_name(options_.plain) + ".unsure"); }
  Status renew_log();
  /// Before the first write after opening.
  Status confirm_recovered();

  sqlite3* db() const { return db_; }
  const std::optional<Error>& poison() const { return poison_; }
  TransactionState transaction = TransactionState::none;
  DatabaseHealth health() const {
    DatabaseHealth out = health_;
    if (vfs_) out.recovery_bad_records = vfs_->recovery_bad_records();
    return out;
  }

 private:
  Status open_handle(const DatabaseKey& key, Random& random);
  Status configure();
  Status verify_settings();
  Status expect(const char* pragma, std::string_view value);
  Status look_for_poison(int rc);
  static int on_commit(void* self, sqlite3*, const char*, int wal_pages);

  std::shared_ptr<StoreDirectory> directory_;
  DatabaseOptions options_;
  std::unique_ptr<SealedVfs> vfs_;  // outlives db_
  sqlite3* db_ = nullptr;
  std::list<CachedStatement> statements_;  // most recently used first
  std::unordered_map<std::string_view, std::list<CachedStatement>::iterator> by_sql_;
  std::size_t statements_out_ = 0;
  bool opened_ = false;
  bool rollback_owed_ = false;
  bool unconfirmed_ = false;  // recovered frames that were not yet written anew
  std::optional<Error> poison_;
  std::optional<Error> log_unsure_;  // there was no room to write it anew: nothing is written until the next opening
  std::optional<Error> transaction_error_;
  DatabaseHealth health_;
};

Status Connection::open_handle(const DatabaseKey& key, Random& random) {
  const std::string path = sqlite_path(*directory_, options_.plain);
  sqlite3_vfs* const below = options_.below ? options_.below : sqlite3_vfs_find(nullptr);
  if (!below) return Error(Code::unsupported, "this build of SQLite has no file layer of its own: pass one in DatabaseOptions::below");
  if (!options_.plain) vfs_ = std::make_unique<SealedVfs>(below, path, key, random, options_.hooks);
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  return check(sqlite3_open_v2(path.c_str(), &db_, flags, options_.plain ? below->zName : vfs_->name()), "open the database");
}

Status Connection::open(const DatabaseKey& key, Random& random) {
  if (const Status renewed = renew_log(); !renewed) {
    if (renewed.code() != Code::full) return renewed;
    log_unsure_ = Error(Code::full, renewed.error().message() + ": until then this store is for reading. Close it and open it again");
  }
  DOORSTEP_TRY(open_handle(key, random));
  DOORSTEP_TRY(configure());
  DOORSTEP_TRY(verify_settings());
  DOORSTEP_TRY(check(exec("SELECT count(*) FROM sqlite_schema"), "read the database's schema"));
  opened_ = true;
  unconfirmed_ = true;
  if (const Status confirmed = confirm_recovered(); poison_) return confirmed;  // otherwise: before the first write
  return {};
}

// What the kernel shows of a log whose sync has failed is written anew, as another file: recovery copies it into the database, and a
// power cut halfway must find the same log on the disk. The mark need not be synced: a power cut that takes it takes with it what the
// kernel showed. Without room for the copy the store opens for reading, and leaves everything as it is.
Status Connection::renew_log() {
  Files& files = directory_->files();
  const std::string log = log_name(options_.plain), path = directory_->file(log);
  if (!files.size(unsure_mark()) || DOORSTEP_PLANTED(trust_unsure_log)) return {};
  const auto size = files.size(path);
  if (!size) return {};
  DOORSTEP_ASSIGN(const Bytes shown, files.read(path, static_cast<std::size_t>(*size)));
  return write_atomically(files, directory_->path(), log, shown);
}

// After a failed fsync the kernel may keep showing bytes that never reached the disk. A commit behind such frames in the
// log would be lost with them. So what recovery found is written anew, into the database file, before anything is written
// behind it, the cut log is synced (else its old frames could come back over the newer pages), and the names are made durable. What fails
// here (a full disk) is tried again before each write; reading works.
Status Connection::confirm_recovered() {
  if (!unconfirmed_ || (options_.hooks && options_.hooks->leave_log) || DOORSTEP_PLANTED(skip_checkpoint_at_open)) return {};
  DOORSTEP_TRY(directory_->files().sync_directory(directory_->path()));
  DOORSTEP_TRY(checkpoint(SQLITE_CHECKPOINT_TRUNCATE));
  if (vfs_) DOORSTEP_TRY(check(vfs_->sync_log(), "sync the log that was cut"));
  DOORSTEP_TRY(directory_->files().remove(unsure_mark()));
  unconfirmed_ = false;
  return {};
}

Status Connection::configure() {
  const std::pair<int, int> switches[] = {
      {SQLITE_DBCONFIG_DEFENSIVE, 1}, {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0}, {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
      {SQLITE_DBCONFIG_DQS_DDL, 0},   {SQLITE_DBCONFIG_DQS_DML, 0},
  };
  for (const auto& [option, on] : switches) DOORSTEP_TRY(check(sqlite3_db_config(db_, option, on, nullptr), "configure the database"));
  sqlite3_limit(db_, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_extended_result_codes(db_, 1);
  const std::string pragmas =
      "PRAGMA locking_mode=EXCLUSIVE;"  // first: decides that the WAL's index is in memory
      "PRAGMA temp_store=2; PRAGMA mmap_size=0; PRAGMA synchronous=FULL; PRAGMA fullfsync=1; PRAGMA secure_delete=ON;"
      "PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF; PRAGMA foreign_keys=ON;"
      "PRAGMA cache_size=-" +
      std::to_string(options_.cache_bytes / 1024 + 1) + "; PRAGMA cache_spill=" + (options_.spill ? "ON;" : "OFF;") +
      "PRAGMA journal_size_limit=" + std::to_string(options_.wal_bytes_kept) + ";";
  DOORSTEP_TRY(check(exec(pragmas.c_str()), "configure the database"));
  sqlite3_wal_hook(db_, on_commit, this);
  return {};
}

Status Connection::expect(const char* pragma, std::string_view value) {
  const std::string sql = std::string("PRAGMA ") + pragma;
  sqlite3_stmt* raw = nullptr;
  DOORSTEP_TRY(check(sqlite3_prepare_v2(db_, sql.c_str(), -1, &raw, nullptr), sql));
  const OwnStatement statement(raw);
  const int rc = sqlite3_step(raw);
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) return note_failure(rc, "open the database");
  const auto* text = rc == SQLITE_ROW ? reinterpret_cast<const char*>(sqlite3_column_text(raw, 0)) : nullptr;
  if (rc == SQLITE_ROW && !text) return Error::out_of_memory();  // a number that found no room to be written
  const std::string got = text ? text : "nothing";
  if (got == value) return {};
  // The three that stand in the file; the others are ours to set, so this SQLite does not know them.
  const std::string_view name = pragma;
  const bool in_file = name == "page_size" || name == "auto_vacuum" || name == "journal_mode" || name == "encoding";
  return Error(in_file ? Code::corrupt : Code::unsupported,
               "the database's " + std::string(pragma) + " is " + got + " instead of " + std::string(value) +
                   (in_file ? ": it was not made by Doorstep" : ": this build of SQLite does not support it"));
}

Status Connection::verify_settings() {
  DOORSTEP_TRY(expect("journal_mode", "wal"));  // the first access: recovery happens here
  const std::pair<const char*, const char*> wanted[] = {{"page_size", "4096"},    {"auto_vacuum", "2"},    {"encoding", "UTF-8"},
                                                        {"temp_store", "2"},      {"synchronous", "2"},    {"secure_delete", "1"},
                                                        {"cell_size_check", "1"}, {"trusted_schema", "0"}, {"locking_mode", "exclusive"}};
  for (const auto& [pragma, value] : wanted) DOORSTEP_TRY(expect(pragma, value));
  if (!options_.plain) return expect("mmap_size", "nothing");  // the VFS has none, so SQLite answers with no row
  return {};
}

Status Connection::close() {
  if (!db_) return {};
  DOORSTEP_CHECK(statements_out_ == 0);  // a Statement outlived its Database
  by_sql_.clear();
  for (auto& statement : statements_) sqlite3_finalize(statement.raw);
  statements_.clear();
  Status out;
  if (!opened_ || log_unsure_) {
    sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);  // what did not open right stays as it is
  } else if (poison_) {
    out = without_throwing([&]() -> Status { return *poison_; });
  } else {
    // SQLite does this too, but keeps the failure to itself.
    const int rc = sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    if (rc != SQLITE_OK)
      out = without_throwing([&]() -> Status {
        return note_failure(rc, "write the log into the database while closing; it will be done at the next opening");
      });
  }
  const int rc = sqlite3_close(std::exchange(db_, nullptr));
  DOORSTEP_CHECK(rc == SQLITE_OK);
  vfs_.reset();
  return out;
}

// After each commit. The commit stands whatever happens here, so a failure is counted, and shows at the next call if it poisons.
int Connection::on_commit(void* self, sqlite3*, const char*, int wal_pages) {
  auto& connection = *static_cast<Connection*>(self);
  connection.health_.wal_pages = static_cast<std::uint64_t>(wal_pages);
  const int limit = connection.options_.wal_autocheckpoint_pages;
  if (limit > 0 && wal_pages >= limit)
    (void)without_throwing([&] { return connection.checkpoint(SQLITE_CHECKPOINT_PASSIVE); });  // above is SQLite, which is C
  return SQLITE_OK;
}

Status Connection::checkpoint(int mode) {
  if (log_unsure_) return *log_unsure_;
  const int rc = sqlite3_wal_checkpoint_v2(db_, nullptr, mode, nullptr, nullptr);
  if (rc == SQLITE_OK) return {};
  ++health_.checkpoint_failures;
  return note_failure(rc, "write the log into the database");
}

// ---- Failures

Status Connection::look_for_poison(int rc) {
  if (poison_) return *poison_;
  if (DOORSTEP_PLANTED(ignore_poison)) return {};
  const auto kind = vfs_ ? vfs_->poison() : SealedVfs::Poison::none;
  const bool failed_sync = rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC || kind == SealedVfs::Poison::failed_sync;
  if (kind == SealedVfs::Poison::bad_seal)
    poison_ = Error(Code::corrupt, vfs_->poison_place() +
                                       " is damaged, was changed by somebody, or belongs to another vault. Nothing was "
                                       "changed. Close the store, keep its files, and rebuild it (Replica::rebuild)");
  else if (failed_sync) {
    (void)directory_->files().write_synced(unsure_mark(), {});
    poison_ = Error(Code::io,
                    "the disk could not confirm what was written (fsync failed), so the last change may or may not be there. "
                    "Close the store and open it again to see; if it happens again, replace the disk");
  }
  if (poison_) return *poison_;
  return {};
}

Error Connection::note_failure(int rc, std::string_view doing) {
  const bool fails_transaction = transaction == TransactionState::open && (rc & 0xff) != SQLITE_CONSTRAINT;
  if (fails_transaction) {
    transaction = TransactionState::failed;
    transaction_error_ = Error::out_of_memory();  // until there is room for a better one
  }
  Status poisoned = look_for_poison(rc);
  const bool unsafe_rewrite = vfs_ && vfs_->take_unsafe_rewrite();
  const Code code = unsafe_rewrite ? Code::too_large : code_of(rc);
  std::string sentence = "could not " + std::string(doing) + ": " + (db_ ? sqlite3_errmsg(db_) : sqlite3_errstr(rc)) + advice(code);
  if (unsafe_rewrite)
    sentence =
        "the transaction outgrew the page cache and was rolled back in part, which this SQLite cannot write safely. Nothing of it was "
        "saved: use smaller transactions, or DatabaseOptions::spill = false";
  Error error = poisoned.ok() ? Error(code, sentence) : poisoned.error();
  if (fails_transaction) transaction_error_ = error;
  return error;
}

Status Connection::check_usable() {
  if (poison_) return *poison_;
  if (vfs_ && vfs_->poison() != SealedVfs::Poison::none) return note_failure(SQLITE_IOERR, "go on");
  if (!db_) return Error(Code::locked, "the database is closed: open the store first");
  if (rollback_owed_) roll_back();
  if (rollback_owed_) return Error::out_of_memory();
  if (transaction == TransactionState::open && sqlite3_get_autocommit(db_)) {
    transaction = TransactionState::failed;
    transaction_error_ = Error(Code::internal, "the transaction was rolled back by SQLite: begin it again");
  }
  if (transaction == TransactionState::failed)
    return Error(transaction_error_->code(),
                 "an earlier step of this transaction failed, so nothing more is done in it: " + transaction_error_->message());
  return {};
}

void Connection::roll_back() {
  if (db_ && !sqlite3_get_autocommit(db_)) (void)exec("ROLLBACK");
  rollback_owed_ = db_ && !sqlite3_get_autocommit(db_);
}

// ---- Statements

Result<CachedStatement*> Connection::borrow(std::string_view sql) {
  DOORSTEP_TRY(check_usable());
  const auto found = by_sql_.find(sql);
  if (found != by_sql_.end() && !found->second->in_use) {
    statements_.splice(statements_.begin(), statements_, found->second);
    found->second->in_use = true;
    ++statements_out_;
    return &*found->second;
  }
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  DOORSTEP_TRY(check(sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &raw, &tail),
                     "prepare a statement"));
  if (!raw) return Error(Code::invalid_argument, "the statement is empty");
  OwnStatement owner(raw);
  std::list<CachedStatement> made;
  made.push_front({raw, std::string(sql), found == by_sql_.end(), true});
  if (made.front().cached) by_sql_.emplace(made.front().sql, made.begin());
  statements_.splice(statements_.begin(), made);
  (void)owner.release();
  ++statements_out_;
  return &statements_.front();
}

void Connection::hand_back(CachedStatement* statement) {
  DOORSTEP_CHECK(statement->in_use);
  sqlite3_reset(statement->raw);
  sqlite3_clear_bindings(statement->raw);
  statement->in_use = false;
  --statements_out_;
  const auto drop = [&](std::list<CachedStatement>::iterator at) {
    if (at->cached) by_sql_.erase(at->sql);
    sqlite3_finalize(at->raw);
    statements_.erase(at);
  };
  if (!statement->cached) {
    for (auto at = statements_.begin(); at != statements_.end(); ++at)
      if (&*at == statement) return drop(at);
  }
  for (auto at = statements_.end(); statements_.size() > cached_statements_max && at != statements_.begin();) {
    --at;
    if (!at->in_use) return drop(at);
  }
}

Result<int> Connection::step(sqlite3_stmt* statement, std::string_view doing) {
  if (unconfirmed_ && !sqlite3_stmt_readonly(statement)) DOORSTEP_TRY(confirm_recovered());
  const int rc = sqlite3_step(statement);
  if (rc == SQLITE_ROW || rc == SQLITE_DONE) return rc;
  Error error = note_failure(rc, doing);
  sqlite3_reset(statement);
  return error;
}

}  // namespace detail

Statement::Statement(Statement&& other) noexcept
    : connection_(other.connection_), cached_(std::exchange(other.cached_, nullptr)), bind_rc_(other.bind_rc_) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(connection_, other.connection_);
  std::swap(cached_, other.cached_);
  std::swap(bind_rc_, other.bind_rc_);
  return *this;
}

Statement::~Statement() {
  if (cached_) connection_->hand_back(cached_);
}

sqlite3_stmt* Statement::raw() const { return cached_->raw; }

Statement& Statement::note(int rc) {
  DOORSTEP_CHECK(rc != SQLITE_RANGE && rc != SQLITE_MISUSE);  // no such parameter, or bound while running
  if (bind_rc_ == SQLITE_OK) bind_rc_ = rc;
  return *this;
}

Statement& Statement::bind_int(int index, std::int64_t value) { return note(sqlite3_bind_int64(raw(), index, value)); }
Statement& Statement::bind(int index, double value) { return note(sqlite3_bind_double(raw(), index, value)); }
Statement& Statement::bind(int index, std::nullptr_t) { return note(sqlite3_bind_null(raw(), index)); }
Statement& Statement::bind(int index, std::string_view text) {
  return note(sqlite3_bind_text64(raw(), index, text.empty() ? "" : text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}
Statement& Statement::bind(int index, ByteView blob) {
  if (blob.empty()) return note(sqlite3_bind_zeroblob(raw(), index, 0));
  return note(sqlite3_bind_blob64(raw(), index, blob.data(), blob.size(), SQLITE_TRANSIENT));
}
Statement& Statement::bind_borrowed(int index, ByteView blob) {
  if (blob.empty()) return note(sqlite3_bind_zeroblob(raw(), index, 0));
  return note(sqlite3_bind_blob64(raw(), index, blob.data(), blob.size(), SQLITE_STATIC));
}

Result<bool> Statement::step() {
  DOORSTEP_TRY(connection_->check_usable());
  if (bind_rc_ != SQLITE_OK) return connection_->note_failure(std::exchange(bind_rc_, SQLITE_OK), "pass a value to a statement");
  DOORSTEP_ASSIGN(const int rc, connection_->step(raw(), "run a statement"));
  if (rc == SQLITE_DONE) reset();  // so that the next round may bind
  return rc == SQLITE_ROW;
}

Status Statement::run() {
  for (;;) {
    DOORSTEP_ASSIGN(const bool row, step());
    if (!row) return {};
  }
}

void Statement::reset() { sqlite3_reset(raw()); }
int Statement::column_count() const { return sqlite3_column_count(raw()); }
bool Statement::column_is_null(int index) const { return sqlite3_column_type(raw(), index) == SQLITE_NULL; }
std::int64_t Statement::column_int(int index) const { return sqlite3_column_int64(raw(), index); }
double Statement::column_double(int index) const { return sqlite3_column_double(raw(), index); }

std::string_view Statement::column_text(int index) const {
  // As a blob: asked for a text, SQLite would end it with a zero, and without memory for that say that there is none.
  const auto* text = static_cast<const char*>(sqlite3_column_blob(raw(), index));
  return text ? std::string_view(text, static_cast<std::size_t>(sqlite3_column_bytes(raw(), index))) : std::string_view();
}

ByteView Statement::column_blob(int index) const {
  const auto* blob = static_cast<const std::uint8_t*>(sqlite3_column_blob(raw(), index));
  return blob ? ByteView(blob, static_cast<std::size_t>(sqlite3_column_bytes(raw(), index))) : ByteView();
}

// ---- Making and opening

namespace {

// A database of one page, born in WAL mode with its reserved bytes, so that a rollback journal never exists.
Result<Bytes> newborn_image(bool plain) {
  sqlite3* raw = nullptr;
  int rc = sqlite3_open_v2(":memory:", &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY, nullptr);
  const std::unique_ptr<sqlite3, int (*)(sqlite3*)> db(raw, sqlite3_close);
  int reserve = plain ? 0 : static_cast<int>(seal_bytes);
  if (rc == SQLITE_OK) rc = sqlite3_file_control(raw, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
  const std::string sql =
      "PRAGMA page_size=4096; PRAGMA encoding='UTF-8'; PRAGMA auto_vacuum=2; PRAGMA application_id=" + std::to_string(application_id);
  if (rc == SQLITE_OK) rc = sqlite3_exec(raw, sql.c_str(), nullptr, nullptr, nullptr);
  sqlite3_int64 size = 0;
  const std::unique_ptr<unsigned char, void (*)(void*)> image(rc == SQLITE_OK ? sqlite3_serialize(raw, "main", &size, 0) : nullptr,
                                                              sqlite3_free);
  if ((rc & 0xff) == SQLITE_NOMEM || (rc == SQLITE_OK && !image)) return Error::out_of_memory();
  Bytes out;
  if (image) out.assign(image.get(), image.get() + size);
  if (out.size() < page_bytes || out.size() % page_bytes != 0 || (!plain && out[20] != seal_bytes))
    return Error(Code::unsupported, std::string("this build of SQLite cannot make a database with reserved bytes: ") + sqlite3_errstr(rc));
  out[18] = out[19] = 2;
  return out;
}

}  // namespace

bool Database::exists(const StoreDirectory& directory, const DatabaseOptions& options) {
  return directory.files().size(directory.file(file_name(options.plain))).ok();
}

Result<Database> Database::create(std::shared_ptr<StoreDirectory> directory, const DatabaseKey& key, const DatabaseOptions& options,
                                  Random& random) {
  const std::string name = file_name(options.plain);
  for (const std::string& file : {name, name + "-wal"}) {
    const auto size = directory->files().size(directory->file(file));
    const bool empty_wal = size.ok() && *size == 0 && file != name;  // of a creation that a power cut interrupted
    if (size.ok() && !empty_wal)
      return Error(Code::already_exists,
                   "there is a " + file + " in " + directory->path() + " already: open it, or choose another directory");
    if (!size.ok() && size.code() != Code::not_found) return size.error();
  }
  DOORSTEP_ASSIGN(const Bytes image, newborn_image(options.plain));
  DOORSTEP_TRY(write_atomically(directory->files(), directory->path(), name, options.plain ? image : seal_image(key, random, image)));
  return open(std::move(directory), key, options, random);
}

Result<Database> Database::open(std::shared_ptr<StoreDirectory> directory, const DatabaseKey& key, const DatabaseOptions& options,
                                Random& random) {
  const std::string file = directory->file(file_name(options.plain));
  const auto size = directory->files().size(file);
  if (size.code() == Code::not_found)
    return Error(Code::not_found, "there is no database at " + file + ": it was never made, or somebody removed it");
  if (!size.ok()) return size.error();
  if (*size < page_bytes && !DOORSTEP_PLANTED(fail_open_recovery))
    return Error(Code::corrupt,
                 file + " has been cut to " + std::to_string(*size) + " bytes. Keep the store's files, and rebuild it (Replica::rebuild)");
  auto connection = std::make_unique<detail::Connection>(std::move(directory), options);
  DOORSTEP_TRY(connection->open(key, random));
  return Database(std::move(connection));
}

Database::Database(std::unique_ptr<detail::Connection> connection) : connection_(std::move(connection)) {}
Database::Database(Database&&) noexcept = default;
Database& Database::operator=(Database&&) noexcept = default;
Database::~Database() = default;

Status Database::close() { return connection_->close(); }

// ---- Running

Result<Statement> Database::prepare(std::string_view sql) {
  DOORSTEP_ASSIGN(detail::CachedStatement* const cached, connection_->borrow(sql));
  return Statement(connection_.get(), cached);
}

Status Database::execute(std::string_view sql) {
  DOORSTEP_TRY(connection_->check_usable());
  DOORSTEP_TRY(connection_->confirm_recovered());
  return connection_->check(connection_->exec(std::string(sql).c_str()), "run a script");
}

Result<std::uint32_t> Database::version() {
  DOORSTEP_ASSIGN(const std::int64_t version, query_int("PRAGMA user_version"));
  return static_cast<std::uint32_t>(version);
}

Status Database::migrate(std::span<const Migration> steps) {
  DOORSTEP_ASSIGN(const std::uint32_t from, version());
  if (from > steps.size())
    return Error(Code::unsupported, "the store was written by a newer version of the program (schema " + std::to_string(from) +
                                        ", this one knows " + std::to_string(steps.size()) + "): update the program. Nothing was changed");
  for (std::size_t done = from; done < steps.size(); ++done) {
    DOORSTEP_ASSIGN(DatabaseTransaction transaction, DatabaseTransaction::begin(*this));
    DOORSTEP_TRY(execute(steps[done].sql));
    if (steps[done].code) DOORSTEP_TRY(steps[done].code(*this));
    DOORSTEP_TRY(execute("PRAGMA user_version=" + std::to_string(done + 1)));
    DOORSTEP_TRY(transaction.commit());
  }
  return {};
}

std::int64_t Database::last_insert_row_id() const { return sqlite3_last_insert_rowid(connection_->db()); }
std::int64_t Database::changes() const { return sqlite3_changes64(connection_->db()); }
bool Database::in_transaction() const { return connection_->transaction != detail::TransactionState::none; }

Status Database::checkpoint(bool truncate) {
  DOORSTEP_TRY(connection_->check_usable());
  return connection_->checkpoint(truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE);
}

namespace {

Status check_with(Database& database, std::string_view sql) {
  DOORSTEP_ASSIGN(Statement statement, database.prepare(sql));
  DOORSTEP_ASSIGN(const bool row, statement.step());
  const std::string finding(row ? statement.column_text(0) : "no answer");
  if (finding == "ok") return {};
  if (const Error* poison = database.poison()) return *poison;
  return Error(Code::corrupt, "the database is inconsistent: " + finding + ". Keep its files, and rebuild the store (Replica::rebuild)");
}

}  // namespace

Status Database::quick_check() { return check_with(*this, "PRAGMA quick_check(1)"); }
Status Database::integrity_check() { return check_with(*this, "PRAGMA integrity_check(1)"); }

Status Database::shrink(int pages_max) {
  DOORSTEP_ASSIGN(Statement statement, prepare("PRAGMA incremental_vacuum(" + std::to_string(pages_max) + ")"));
  return statement.run();
}

void Database::release_memory() { sqlite3_db_release_memory(connection_->db()); }
DatabaseHealth Database::health() const { return connection_->health(); }
const Error* Database::poison() const {
  (void)connection_->check_usable();  // notices what the VFS has noticed
  return connection_->poison() ? &*connection_->poison() : nullptr;
}

// ---- Transactions

Result<DatabaseTransaction> DatabaseTransaction::begin(Database& database) {
  detail::Connection& connection = *database.connection_;
  DOORSTEP_TRY(connection.check_usable());
  if (connection.transaction != detail::TransactionState::none)
    return Error(Code::internal, "a transaction is open on this database already: transactions do not nest");
  DOORSTEP_TRY(database.run("BEGIN IMMEDIATE"));
  connection.transaction = detail::TransactionState::open;
  return DatabaseTransaction(&connection);
}

Status DatabaseTransaction::commit() {
  DOORSTEP_CHECK(connection_ != nullptr);  // committed or rolled back already
  detail::Connection& connection = *connection_;
  Status out = connection.check_usable();
  if (out.ok()) {
    const auto hand_back = [&](detail::CachedStatement* statement) { connection.hand_back(statement); };
    Result<detail::CachedStatement*> cached = connection.borrow("COMMIT");
    if (cached.ok()) {
      const std::unique_ptr<detail::CachedStatement, decltype(hand_back)> statement(*cached, hand_back);
      const auto done = connection.step(statement->raw, "commit the transaction");
      if (!done.ok()) out = done.error();
    } else {
      out = cached.error();
    }
  }
  if (!out.ok()) {
    rollback();
    return out;
  }
  connection.transaction = detail::TransactionState::none;
  connection_ = nullptr;
  return {};
}

void DatabaseTransaction::rollback() {
  if (!connection_) return;
  detail::Connection& connection = *std::exchange(connection_, nullptr);
  connection.roll_back();
  connection.transaction = detail::TransactionState::none;
}

}  // namespace doorstep
