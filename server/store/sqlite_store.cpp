#include "server/store/sqlite_store.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string_view>

#include "sync/lab.hpp"

namespace doorstep::relay {

namespace {

constexpr int format_version = 1;
constexpr int application_id = 0x44535231;  // "DSR1"

constexpr const char* schema = R"sql(
CREATE TABLE identity (id INTEGER PRIMARY KEY CHECK (id = 1), store BLOB NOT NULL, receipt_secret BLOB NOT NULL,
                       transport_secret BLOB NOT NULL, open INTEGER NOT NULL);
CREATE TABLE authority (device BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE space (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);
CREATE TABLE roster (id INTEGER PRIMARY KEY, entry BLOB NOT NULL);
CREATE TABLE log (number INTEGER PRIMARY KEY, space INTEGER NOT NULL, id BLOB NOT NULL, device BLOB NOT NULL, incarnation BLOB NOT NULL,
                  branch BLOB, starts_after INTEGER NOT NULL, closed INTEGER NOT NULL, UNIQUE (space, id));
CREATE TABLE segment (id INTEGER PRIMARY KEY, hash BLOB NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE proposal (space INTEGER NOT NULL, key BLOB NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (space, key)) WITHOUT ROWID;
)sql";

std::int64_t row_id(std::uint32_t number, Position position) { return static_cast<std::int64_t>(std::uint64_t{number} << 32 | position); }
Position position_of(std::int64_t row) { return static_cast<std::uint64_t>(row) & position_max; }

std::string database_path(const std::string& directory) { return directory + "/relay.db"; }

Error store_error(int code, const char* detail) {
  const std::string what = detail ? std::string(" (") + detail + ")" : std::string();
  if (code == SQLITE_IOERR_SHMSIZE) code = SQLITE_FULL;  // the journal's index could not grow; nothing was written
  if (code == SQLITE_NOMEM || code == SQLITE_IOERR_NOMEM) return Error::out_of_memory();
  switch (code & 0xff) {
    case SQLITE_FULL: return {Code::full, "the relay's disk is full: make room, nothing was half-written" + what};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return {Code::corrupt, "the relay's store is damaged: run doorstep-relay verify" + what};
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return {Code::busy, "another process is writing the relay's store" + what};
    case SQLITE_CONSTRAINT: return {Code::already_exists, "the relay's store has that already" + what};
    case SQLITE_CANTOPEN: return {Code::not_found, "the relay's store cannot be opened: run doorstep-relay init first" + what};
    default: return {Code::io, "the relay's disk refuses" + what};
  }
}

}  // namespace

// ---- SQLite, with prepared statements that are kept --------------------------------------------------------------------

class SqliteStore::Database {
 public:
  // One use of a prepared statement: bind, step, read; reset when it goes.
  class Query {
   public:
    Query(Database& db, sqlite3_stmt* statement, int prepared) : db_(db), statement_(statement), result_(prepared) {}
    ~Query() {
      if (!statement_) return;
      sqlite3_reset(statement_);
      sqlite3_clear_bindings(statement_);
    }
    Query(const Query&) = delete;
    Query& operator=(const Query&) = delete;

    Query& bind(std::int64_t value) {
      if (statement_) sqlite3_bind_int64(statement_, ++bound_, value);
      return *this;
    }
    /// The bytes must outlive the query.
    Query& bind(ByteView bytes) {
      if (statement_)
        sqlite3_bind_blob64(statement_, ++bound_, bytes.empty() ? "" : static_cast<const void*>(bytes.data()), bytes.size(), SQLITE_STATIC);
      return *this;
    }
    Query& bind_null() {
      if (statement_) sqlite3_bind_null(statement_, ++bound_);
      return *this;
    }
    /// True while there is a row.
    bool next() {
      if (!statement_ || (result_ != SQLITE_OK && result_ != SQLITE_ROW)) return false;
      result_ = sqlite3_step(statement_);
      return result_ == SQLITE_ROW;
    }
    Status status() const {
      if (result_ == SQLITE_OK || result_ == SQLITE_ROW || result_ == SQLITE_DONE) return {};
      return db_.error(result_);
    }
    Status run() {
      while (next()) {}
      return status();
    }
    std::int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
    bool null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
    ByteView bytes(int column) const {
      const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column));
      return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
    }
    /// Into `out`; a row of another size is damage, which status() then says.
    template <class Fixed>
    void fixed(int column, Fixed& out) {
      const auto raw = bytes(column);
      if (raw.size() == Fixed::size_bytes)
        out = Fixed::from(raw);
      else
        result_ = SQLITE_CORRUPT;
    }

   private:
    Database& db_;
    sqlite3_stmt* statement_;
    int result_;
    int bound_ = 0;
  };

  ~Database() {
    for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
    if (sync_failed_) sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    sqlite3_close(db_);
    if (lock_ >= 0) ::close(lock_);
  }

  Status open(const std::string& path, int flags, const char* vfs) {
    const int result = sqlite3_open_v2(path.c_str(), &db_, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, vfs);
    if (result != SQLITE_OK) return error(result);
    sqlite3_busy_timeout(db_, 5000);
    sqlite3_wal_hook(db_, on_commit, this);
    return {};
  }
  Status lock(const std::string& directory) {
    lock_ = ::open((directory + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_ < 0) return Error(Code::io, "the lock file in " + directory + " cannot be opened: check who may write there");
    if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) return Error(Code::busy, "another doorstep-relay serves from " + directory);
    return {};
  }
  Status execute(const char* sql) {
    const int result = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
    if (result != SQLITE_OK) return error(result);
    return {};
  }
  /// `sql` is a literal: its address is its name.
  Query query(const char* sql) {
    auto& statement = statements_[sql];
    if (rollback_owed_) roll_back();
    if (rollback_owed_) return {*this, nullptr, SQLITE_NOMEM};
    int result = SQLITE_OK;
    if (!statement) result = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    return {*this, statement, result};
  }
  Error error(int result) {
    note(result);
    return store_error(result, db_ ? sqlite3_errmsg(db_) : nullptr);
  }
  /// Without memory SQLite may refuse; then it is done before anything else.
  void roll_back() {
    if (sqlite3_get_autocommit(db_) == 0) (void)sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    rollback_owed_ = sqlite3_get_autocommit(db_) == 0;
  }
  /// What recovery found in the journal may be bytes that a failed fsync left in the kernel's memory and never on the disk: commits
  /// behind them would be lost with them. So it is moved into the database before anything else is written, and the empty journal is
  /// synced, so that what really was on the disk of it does not come back over the newer database.
  Status confirm_recovered() {
    if (!unconfirmed_ || DOORSTEP_PLANTED(relay_trusts_found_journal)) return {};
    DOORSTEP_TRY(checkpoint());
    if (const int result = sync_journal(); result != SQLITE_OK) return error(result);
    unconfirmed_ = false;
    return {};
  }
  int sync_journal() {
    sqlite3_file* journal = nullptr;
    const int result = sqlite3_file_control(db_, "main", SQLITE_FCNTL_JOURNAL_POINTER, &journal);
    if (result != SQLITE_OK || !journal || !journal->pMethods) return result;
    return journal->pMethods->xSync(journal, SQLITE_SYNC_FULL);
  }
  Status checkpoint() {
    const int result = sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
    if (result != SQLITE_OK) return error(result);
    return {};
  }
  /// A failed fsync, also of a checkpoint: what lies in the journal may be in the kernel's memory only, and commits behind it would be
  /// lost with it. Nothing is written until the store was opened again, which reads what is really there.
  Status check_writable() const {
    if (!sync_failed_ || DOORSTEP_PLANTED(relay_ignores_failed_sync)) return {};
    return Error(Code::io, "the relay's disk could not confirm what was written (fsync failed): check it and start the relay again");
  }

 private:
  static constexpr int checkpoint_pages = 2000;
  // Instead of SQLite's own automatic checkpoint, which keeps its failures to itself.
  static int on_commit(void* self, sqlite3* db, const char*, int pages) {
    if (pages >= checkpoint_pages)
      static_cast<Database*>(self)->note(sqlite3_wal_checkpoint_v2(db, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr));
    return SQLITE_OK;
  }
  void note(int result) { sync_failed_ = sync_failed_ || result == SQLITE_IOERR_FSYNC || result == SQLITE_IOERR_DIR_FSYNC; }

  sqlite3* db_ = nullptr;
  int lock_ = -1;
  bool sync_failed_ = false;
  bool unconfirmed_ = true;
  bool rollback_owed_ = false;
  std::map<const char*, sqlite3_stmt*> statements_;
};

SqliteStore::SqliteStore(std::unique_ptr<Database> database) : db_(std::move(database)) {}
SqliteStore::~SqliteStore() = default;

// ---- Making and opening ------------------------------------------------------------------------------------------------

// The directory and an empty file of mode 0600.
static Status make_place(const std::string& directory) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) return Error(Code::io, "the directory " + directory + " cannot be made: " + failed.message());
  ::chmod(directory.c_str(), 0700);
  const auto path = database_path(directory);
  // O_EXCL decides between two who begin at once, and gives the file its mode before a key is in it.
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) {
    if (std::filesystem::exists(path, failed))
      return Error(Code::already_exists, directory + " holds a relay's store already: it stays as it is");
    return Error(Code::io, "no file can be made in " + directory + ": check who may write there");
  }
  ::close(file);
  return {};
}

// SQLite syncs the directory too when it makes the journal, but keeps a failure to itself.
static Status sync_names(const std::string& directory) {
  const auto sync = [](const std::filesystem::path& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = file >= 0 && ::fsync(file) == 0;
    if (file >= 0) ::close(file);
    return synced;
  };
  // Those above it too, as init may have made them; where that is not ours to do, they are older than we are.
  std::error_code failed;
  for (auto path = std::filesystem::absolute(directory, failed); path.has_relative_path(); path = path.parent_path())
    (void)sync(path.parent_path());
  if (!sync(directory)) return Error(Code::io, "the directory " + directory + " cannot be synced: check the disk");
  return {};
}

Status SqliteStore::create(const std::string& directory, const std::vector<DeviceId>& authorities, bool open, Random& random,
                           const char* vfs) {
  if (!vfs) DOORSTEP_TRY(make_place(directory));
  auto database = std::make_unique<Database>();
  DOORSTEP_TRY(database->open(database_path(directory), SQLITE_OPEN_READWRITE | (vfs ? SQLITE_OPEN_CREATE : 0), vfs));
  DOORSTEP_TRY(database->execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE"));
  DOORSTEP_TRY(database->execute(schema));
  const auto store = random.make<StoreId>();
  const auto receipts = make_identity_key_pair(random);
  const auto transport = make_transport_key_pair(random);
  DOORSTEP_TRY(database->query("INSERT INTO identity VALUES (1, ?, ?, ?, ?)")
                   .bind(store.view())
                   .bind(ByteView(receipts.secret_key.reveal()))
                   .bind(ByteView(transport.secret_key.reveal()))
                   .bind(open ? 1 : 0)
                   .run());
  for (const auto& authority : authorities)
    DOORSTEP_TRY(database->query("INSERT OR IGNORE INTO authority VALUES (?)").bind(authority.view()).run());
  const std::string marks = "PRAGMA application_id = " + std::to_string(application_id) +
                            "; PRAGMA user_version = " + std::to_string(format_version) + "; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)";
  return database->execute(marks.c_str());
}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const std::string& directory, Mode mode, const char* vfs) {
  auto database = std::make_unique<Database>();
  std::error_code failed;
  if (!vfs && !std::filesystem::exists(database_path(directory), failed))
    return Error(Code::not_found, "there is no relay's store in " + directory + ": run doorstep-relay init first");
  if (!vfs && mode == Mode::serve) DOORSTEP_TRY(database->lock(directory));
  DOORSTEP_TRY(database->open(database_path(directory), mode == Mode::read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE, vfs));
  DOORSTEP_TRY(
      database->execute("PRAGMA synchronous = FULL; PRAGMA cache_size = -2048; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;"
                        "PRAGMA cache_spill = OFF;"  // sdk/store/FORMAT.md, S14: a spilled transaction can be lost after its commit
                        "PRAGMA journal_size_limit = 0; PRAGMA trusted_schema = OFF"));
  for (const auto& [sql, wanted] : {std::pair{"PRAGMA application_id", application_id}, std::pair{"PRAGMA user_version", format_version}}) {
    auto query = database->query(sql);
    if (!query.next()) {
      DOORSTEP_TRY(query.status());
      return Error(Code::corrupt, directory + " does not hold a relay's store");
    }
    if (query.integer(0) == wanted) continue;
    if (wanted == format_version && query.integer(0) > wanted)
      return Error(Code::unsupported, "the store in " + directory + " was written by a newer doorstep-relay");
    return Error(Code::corrupt, directory + " does not hold a whole relay's store: was init interrupted? Remove it and run init again");
  }
  if (!vfs && mode == Mode::serve) DOORSTEP_TRY(sync_names(directory));
  // If the disk is full or somebody reads, it is tried again before the first write; reading goes on.
  if (mode == Mode::serve)
    if (const auto confirmed = database->confirm_recovered(); confirmed.code() == Code::io || confirmed.code() == Code::corrupt)
      return confirmed.error();
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(database)));
}

// ---- Identity ----------------------------------------------------------------------------------------------------------

Result<StoreIdentity> SqliteStore::identity() {
  auto query = db_->query("SELECT store, receipt_secret, transport_secret, open FROM identity");
  StoreIdentity out;
  if (!query.next()) {
    DOORSTEP_TRY(query.status());
    return Error(Code::corrupt, "the relay's store has no identity");
  }
  query.fixed(0, out.store);
  const auto receipts = query.bytes(1);
  const auto transport = query.bytes(2);
  if (receipts.size() != 64 || transport.size() != 32) return Error(Code::corrupt, "the relay's identity is damaged");
  out.receipts = identity_key_pair_from_seed(receipts.first<32>());
  out.transport = transport_key_pair_from_secret(transport.first<32>());
  out.open = query.integer(3) != 0;
  DOORSTEP_TRY(query.status());
  return out;
}

Result<std::vector<DeviceId>> SqliteStore::authorities() {
  auto query = db_->query("SELECT device FROM authority");
  std::vector<DeviceId> out;
  while (query.next()) query.fixed(0, out.emplace_back());
  DOORSTEP_TRY(query.status());
  return out;
}

Status SqliteStore::allow(const DeviceId& authority) {
  return db_->query("INSERT OR IGNORE INTO authority VALUES (?)").bind(authority.view()).run();
}

// ---- Transactions ------------------------------------------------------------------------------------------------------

Status SqliteStore::begin() {
  db_->roll_back();  // should an earlier one still be owed
  DOORSTEP_TRY(db_->check_writable());
  DOORSTEP_TRY(db_->confirm_recovered());
  return db_->execute("BEGIN IMMEDIATE");
}
Status SqliteStore::commit() {
  auto status = db_->execute("COMMIT");
  if (!status) rollback();
  return status;
}
void SqliteStore::rollback() { db_->roll_back(); }
Status SqliteStore::checkpoint() {
  DOORSTEP_TRY(db_->check_writable());
  return db_->checkpoint();
}

// ---- Rosters -----------------------------------------------------------------------------------------------------------

Result<std::uint32_t> SqliteStore::space_number(const SpaceId& space, bool create) {
  {
    auto query = db_->query("SELECT number FROM space WHERE id = ?");
    if (query.bind(space.view()).next()) return static_cast<std::uint32_t>(query.integer(0));
    DOORSTEP_TRY(query.status());
  }
  if (!create) return Error(Code::not_found, "the relay does not hold this space");
  auto query = db_->query("INSERT INTO space (id) VALUES (?) RETURNING number");
  if (query.bind(space.view()).next()) {
    const auto number = static_cast<std::uint32_t>(query.integer(0));
    DOORSTEP_TRY(query.run());
    return number;
  }
  DOORSTEP_TRY(query.status());
  return Error(Code::io, "the relay's store did not take a space");
}

Result<std::vector<SpaceId>> SqliteStore::spaces() {
  auto query = db_->query("SELECT id FROM space ORDER BY number");
  std::vector<SpaceId> out;
  while (query.next()) query.fixed(0, out.emplace_back());
  DOORSTEP_TRY(query.status());
  return out;
}

Status SqliteStore::append_roster(const SpaceId& space, Position position, ByteView entry) {
  if (position > position_max) return Error(Code::too_large, "a roster is longer than the relay's store can hold");
  DOORSTEP_ASSIGN(const auto number, space_number(space, true));
  if (position != 0) {
    auto query = db_->query("SELECT 1 FROM roster WHERE id = ?");
    const bool there = query.bind(row_id(number, position - 1)).next();
    DOORSTEP_TRY(query.status());
    if (!there) return Error(Code::conflict, "a roster entry does not follow the ones before it");
  }
  auto status = db_->query("INSERT INTO roster VALUES (?, ?)").bind(row_id(number, position)).bind(entry).run();
  if (status.code() == Code::already_exists) return Error(Code::conflict, "the roster has an entry at this position already");
  return status;
}

Result<std::vector<Bytes>> SqliteStore::roster(const SpaceId& space, Position from, std::size_t bytes_max) {
  std::vector<Bytes> out;
  if (from > position_max) return out;
  DOORSTEP_ASSIGN(const auto number, space_number(space, false));
  auto query = db_->query("SELECT entry FROM roster WHERE id BETWEEN ? AND ? ORDER BY id");
  query.bind(row_id(number, from)).bind(row_id(number, position_max));
  std::size_t bytes = 0;
  while (bytes < bytes_max && query.next()) {
    out.push_back(to_bytes(query.bytes(0)));
    bytes += out.back().size();
  }
  DOORSTEP_TRY(query.status());
  return out;
}

// ---- Logs --------------------------------------------------------------------------------------------------------------

Result<std::vector<StoredLog>> SqliteStore::logs() {
  auto query = db_->query(
      "SELECT l.number, s.id, l.id, l.device, l.incarnation, l.branch, l.starts_after, l.closed"
      " FROM log l JOIN space s ON s.number = l.space ORDER BY l.number");
  std::vector<StoredLog> out;
  while (query.next()) {
    auto& log = out.emplace_back();
    log.number = static_cast<LogNumber>(query.integer(0));
    query.fixed(1, log.space);
    query.fixed(2, log.id);
    query.fixed(3, log.name.device);
    query.fixed(4, log.name.incarnation);
    if (!query.null(5)) query.fixed(5, log.name.branch.emplace());
    log.name.starts_after = static_cast<Position>(query.integer(6));
    log.closed = query.integer(7) != 0;
    log.position = log.name.starts_after;
    auto head = db_->query("SELECT id, hash FROM segment WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1");
    if (head.bind(row_id(log.number, 0)).bind(row_id(log.number, position_max)).next()) {
      log.position = position_of(head.integer(0));
      head.fixed(1, log.hash);
    }
    DOORSTEP_TRY(head.status());
  }
  DOORSTEP_TRY(query.status());
  return out;
}

Result<LogNumber> SqliteStore::create_log(const SpaceId& space, const LogName& name) {
  DOORSTEP_ASSIGN(const auto number, space_number(space, false));
  if (name.starts_after >= position_max) return Error(Code::too_large, "a log is longer than the relay's store can hold");
  const LogId id = name.id(space);
  auto query = db_->query(
      "INSERT INTO log (space, id, device, incarnation, branch, starts_after, closed)"
      " VALUES (?, ?, ?, ?, ?, ?, 0) RETURNING number");
  query.bind(number).bind(id.view()).bind(name.device.view()).bind(name.incarnation.view());
  if (name.branch)
    query.bind(name.branch->view());
  else
    query.bind_null();
  query.bind(static_cast<std::int64_t>(name.starts_after));
  if (!query.next()) {
    DOORSTEP_TRY(query.status());
    return Error(Code::io, "the relay's store did not take a log");
  }
  const auto log = static_cast<LogNumber>(query.integer(0));
  DOORSTEP_TRY(query.run());
  return log;
}

// The position of a log's last segment; for an empty log where it starts after.
Result<Position> SqliteStore::head_of(LogNumber log) {
  {
    auto query = db_->query("SELECT max(id) FROM segment WHERE id BETWEEN ? AND ?");
    const bool found = query.bind(row_id(log, 0)).bind(row_id(log, position_max)).next() && !query.null(0);
    DOORSTEP_TRY(query.status());
    if (found) return position_of(query.integer(0));
  }
  auto query = db_->query("SELECT starts_after FROM log WHERE number = ?");
  if (query.bind(log).next()) return static_cast<Position>(query.integer(0));
  DOORSTEP_TRY(query.status());
  return Error(Code::not_found, "the relay does not hold this log");
}

Status SqliteStore::append_segment(LogNumber log, Position position, const Hash& hash, ByteView bytes) {
  if (position > position_max) return Error(Code::too_large, "a log is longer than the relay's store can hold");
  DOORSTEP_ASSIGN(const auto head, head_of(log));
  if (position != head + 1) return Error(Code::conflict, "a segment does not follow the log's last one");
  return db_->query("INSERT INTO segment VALUES (?, ?, ?)").bind(row_id(log, position)).bind(hash.view()).bind(bytes).run();
}

Result<std::vector<StoredSegment>> SqliteStore::segments(LogNumber log, Position after, std::size_t bytes_max) {
  std::vector<StoredSegment> out;
  if (after >= position_max) return out;
  auto query = db_->query("SELECT id, hash, bytes FROM segment WHERE id BETWEEN ? AND ? ORDER BY id");
  query.bind(row_id(log, after + 1)).bind(row_id(log, position_max));
  std::size_t bytes = 0;
  while (bytes < bytes_max && query.next()) {
    auto& segment = out.emplace_back();
    segment.position = position_of(query.integer(0));
    query.fixed(1, segment.hash);
    segment.bytes = to_bytes(query.bytes(2));
    bytes += segment.bytes.size();
  }
  DOORSTEP_TRY(query.status());
  return out;
}

Result<std::optional<Hash>> SqliteStore::hash_at(LogNumber log, Position position) {
  std::optional<Hash> out;
  if (position > position_max) return out;
  auto query = db_->query("SELECT hash FROM segment WHERE id = ?");
  if (query.bind(row_id(log, position)).next()) query.fixed(0, out.emplace());
  DOORSTEP_TRY(query.status());
  return out;
}

Result<std::optional<LogNumber>> SqliteStore::split(LogNumber log, Position position, const LogName& branch) {
  SpaceId space;
  bool was_closed = false;
  {
    auto query = db_->query("SELECT s.id, l.closed FROM log l JOIN space s ON s.number = l.space WHERE l.number = ?");
    if (query.bind(log).next()) {
      query.fixed(0, space);
      was_closed = query.integer(1) != 0;
    }
    DOORSTEP_TRY(query.status());
  }
  DOORSTEP_ASSIGN(const auto head, head_of(log));
  DOORSTEP_TRY(db_->query("UPDATE log SET closed = 1 WHERE number = ?").bind(log).run());
  if (head <= position) return std::optional<LogNumber>();
  DOORSTEP_ASSIGN(const auto number, create_log(space, branch));
  DOORSTEP_TRY(db_->query("UPDATE segment SET id = ? | (id & 4294967295) WHERE id BETWEEN ? AND ?")
                   .bind(row_id(number, 0))
                   .bind(row_id(log, position + 1))
                   .bind(row_id(log, position_max))
                   .run());
  // What was closed at its head still is: that part has moved.
  if (was_closed) DOORSTEP_TRY(db_->query("UPDATE log SET closed = 1 WHERE number = ?").bind(number).run());
  return std::optional<LogNumber>(number);
}

// ---- Proposals ---------------------------------------------------------------------------------------------------------

Status SqliteStore::put_proposal(const SpaceId& space, const Hash& key, ByteView bytes) {
  if (bytes.size() > proposal_bytes_max) return Error(Code::too_large, "a proposal has more than 4096 bytes");
  DOORSTEP_ASSIGN(const auto number, space_number(space, false));
  {
    auto query = db_->query("SELECT count(*) FROM proposal WHERE space = ? AND key <> ?");
    const bool full = query.bind(number).bind(key.view()).next() && query.integer(0) >= static_cast<std::int64_t>(proposals_per_space_max);
    DOORSTEP_TRY(query.status());
    if (full) return Error(Code::full, "too many proposals wait in this space: the sequencer has to answer them first");
  }
  return db_->query("INSERT OR REPLACE INTO proposal VALUES (?, ?, ?)").bind(number).bind(key.view()).bind(bytes).run();
}

Status SqliteStore::drop_proposal(const SpaceId& space, const Hash& key) {
  DOORSTEP_ASSIGN(const auto number, space_number(space, false));
  return db_->query("DELETE FROM proposal WHERE space = ? AND key = ?").bind(number).bind(key.view()).run();
}

Result<std::vector<std::pair<Hash, Bytes>>> SqliteStore::proposals(const SpaceId& space) {
  std::vector<std::pair<Hash, Bytes>> out;
  const auto number = space_number(space, false);
  if (!number) {
    if (number.code() == Code::not_found) return out;
    return number.error();
  }
  auto query = db_->query("SELECT key, bytes FROM proposal WHERE space = ? ORDER BY key");
  query.bind(*number);
  while (query.next()) {
    auto& [key, bytes] = out.emplace_back();
    query.fixed(0, key);
    bytes = to_bytes(query.bytes(1));
  }
  DOORSTEP_TRY(query.status());
  return out;
}

// ---- For people --------------------------------------------------------------------------------------------------------

Result<std::vector<SpaceCounts>> SqliteStore::counts() {
  auto query = db_->query(R"sql(
SELECT s.id,
       (SELECT count(*) FROM roster r WHERE r.id BETWEEN s.number << 32 AND (s.number << 32) + 4294967295),
       (SELECT count(*) FROM log l WHERE l.space = s.number),
       (SELECT count(*) FROM log l JOIN segment g ON g.id BETWEEN l.number << 32 AND (l.number << 32) + 4294967295
         WHERE l.space = s.number),
       (SELECT ifnull(sum(length(g.bytes)), 0) FROM log l JOIN segment g ON g.id BETWEEN l.number << 32 AND (l.number << 32) + 4294967295
         WHERE l.space = s.number),
       (SELECT count(*) FROM proposal p WHERE p.space = s.number)
  FROM space s ORDER BY s.number)sql");
  std::vector<SpaceCounts> out;
  while (query.next()) {
    auto& counts = out.emplace_back();
    query.fixed(0, counts.space);
    counts.roster_entries = static_cast<std::uint64_t>(query.integer(1));
    counts.logs = static_cast<std::uint64_t>(query.integer(2));
    counts.segments = static_cast<std::uint64_t>(query.integer(3));
    counts.segment_bytes = static_cast<std::uint64_t>(query.integer(4));
    counts.proposals = static_cast<std::uint64_t>(query.integer(5));
  }
  DOORSTEP_TRY(query.status());
  return out;
}

}  // namespace doorstep::relay
