// A new database from what is left of a damaged one. FORMAT.md, "Rebuilding", says what a crash leaves; invariants R1…R5 stand there.
//
//   look_for_damage   nothing is wrong: refused, for nothing is done to a whole store
//   build             in a folder of its own: rows of the damaged one -> a new main.db
//   finish_rebuild    the new one takes its place by renames; whoever comes next finishes what a crash interrupted
#include <algorithm>

#include "sdk/core/core.hpp"
#include "sdk/core/verify.hpp"
#include "sdk/store/salvage.hpp"
#include "sync/lab.hpp"

namespace doorstep {

namespace {

constexpr const char* made_in = "rebuild";           // the folder in which the new database is made
constexpr const char* finished = "main.db.rebuilt";  // it is complete, and only has to take its place

// ---- What a row is of: tables are told apart by the types and sizes of their columns

enum class RowOf { nothing, space, roster, log, segment, pending, draft, proposal, check, salvaged };

// A letter a column: - none, i integer, t text, b blob, h blob of 32 (hash, id), d blob of 16, o none or 32; behind '|' what older
// versions of the schema do not have.
struct Shape {
  RowOf of;
  bool numbered;
  std::string_view columns;
};
constexpr Shape shapes[] = {
    {RowOf::space, true, "-htttii|i"},  {RowOf::roster, false, "iib"},      {RowOf::log, true, "-idhdoiiihi"},
    {RowOf::segment, true, "-hiiib|o"}, {RowOf::pending, true, "-iiiiibb"}, {RowOf::draft, false, "dtt"},
    {RowOf::proposal, false, "ihb"},    {RowOf::check, false, "tb"},        {RowOf::salvaged, false, "ibibob"},
};

bool fits(char letter, const SalvagedValue& value) {
  using Type = SalvagedValue::Type;
  switch (letter) {
    case '-': return value.type == Type::none;
    case 'i': return value.type == Type::integer;
    case 't': return value.type == Type::text;
    case 'b': return value.type == Type::blob;
    case 'h': return value.type == Type::blob && value.bytes.size() == 32;
    case 'd': return value.type == Type::blob && value.bytes.size() == 16;
    default: return value.type == Type::none || (value.type == Type::blob && value.bytes.size() == 32);
  }
}

bool fits(const Shape& shape, const SalvagedRow& row) {
  if (shape.numbered != row.numbered) return false;
  std::size_t at = 0;
  bool optional = false;
  for (const char letter : shape.columns) {
    if (letter == '|') {
      optional = true;
      continue;
    }
    if (at == row.values.size()) return optional;
    if (!fits(letter, row.values[at++])) return false;
  }
  return at == row.values.size();
}

RowOf row_of(const SalvagedRow& row) {
  for (const auto& shape : shapes)
    if (fits(shape, row)) return shape.of;
  return RowOf::nothing;
}

std::string text_of(const SalvagedValue& value) { return std::string(text_view(value.bytes)); }

// Many small writes, some megabytes a transaction (FORMAT.md, S14).
class Batches {
 public:
  explicit Batches(Database& database) : database_(database) {}
  template <class... Arguments>
  Status run(std::string_view sql, const Arguments&... arguments) {
    if (!transaction_) { DOORSTEP_ASSIGN(transaction_, begin()); }
    DOORSTEP_TRY(database_.run(sql, arguments...));
    bytes_ += (row_bytes + ... + size_of(arguments));
    return bytes_ < bytes_max ? Status() : commit();
  }
  Status commit() {
    bytes_ = 0;
    if (!transaction_) return {};
    const Status done = transaction_->commit();
    transaction_.reset();
    return done;
  }

 private:
  static constexpr std::size_t bytes_max = 4u << 20, row_bytes = 64;
  template <class T>
  static std::size_t size_of(const T& argument) {
    if constexpr (requires { argument.size(); })
      return argument.size();
    else
      return 0;
  }
  Result<std::unique_ptr<DatabaseTransaction>> begin() {
    DOORSTEP_ASSIGN(DatabaseTransaction begun, DatabaseTransaction::begin(database_));
    return std::make_unique<DatabaseTransaction>(std::move(begun));
  }
  Database& database_;
  std::unique_ptr<DatabaseTransaction> transaction_;
  std::size_t bytes_ = 0;
};

}  // namespace

// ---- The whole way

Result<RebuildReport> Core::rebuild(const ReplicaOptions& options, std::string_view passphrase, const RebuildOptions& how) {
  if (options.unencrypted_for_benchmarks) return Error(Code::invalid_argument, "a plain database is for benchmarks: make a new one");
  RebuildReport report;
  std::shared_ptr<Core> core(new Core(options));
  DOORSTEP_ASSIGN(core->directory_, core->acquire_directory());
  DOORSTEP_TRY(core->load_vault(passphrase, how, report));
  DOORSTEP_ASSIGN(report.finished_earlier, core->finish_rebuild(&report.kept));
  if (report.finished_earlier) return report;
  auto salvage = core->look_for_damage(how);
  if (salvage.code() == Code::invalid_argument && report.vault_restored) return report;  // the vault was all
  if (!salvage) return salvage.error();
  DOORSTEP_TRY(core->build(*salvage, how, report));
  DOORSTEP_TRY(core->finish_rebuild(&report.kept));
  return report;
}

Status Core::load_vault(std::string_view passphrase, const RebuildOptions& how, RebuildReport& report) {
  auto vault = Vault::load(directory_, *random_);
  if ((vault.code() == Code::corrupt || vault.code() == Code::not_found) && how.restore_vault) {
    DOORSTEP_ASSIGN(vault, Vault::load(directory_, *random_, VaultCopy::previous));
    report.vault_restored = true;
  }
  if (!vault) return vault.error();
  vault_ = std::move(*vault);
  DOORSTEP_TRY(vault_->unlock({view(passphrase), {}}));
  if (report.vault_restored) DOORSTEP_TRY(vault_->restore());
  DOORSTEP_TRY(load_secrets());
  if (report.vault_restored)  // an older copy: there may have been more since
    for (auto& known : known_spaces_) known.roster_size = 0;
  return {};
}

// Pages that do not open are damage. If all do, the store has to prove that it is whole.
Result<Salvage> Core::look_for_damage(const RebuildOptions& how) {
  DOORSTEP_ASSIGN(const DatabaseKey key, vault_->database_key());
  {
    DOORSTEP_ASSIGN(Salvage salvage, Salvage::open(*directory_, key, database_options(), *random_));
    if (salvage.version() > store_migrations().size())
      return Error(Code::unsupported, "the store was written by a newer version of the program: update the program. Nothing was changed");
    if (salvage.damage().found()) return salvage;
  }
  Status whole = open_database();
  if (whole) whole = verify_store(*this, how.progress);
  database_.reset();
  spaces_.clear();
  if (whole) return Error(Code::invalid_argument, "this store is whole: there is nothing to rebuild");
  if (whole.code() != Code::corrupt) return whole.error();
  return Salvage::open(*directory_, key, database_options(), *random_);
}

Status Core::build(Salvage& salvage, const RebuildOptions& how, RebuildReport& report) {
  Files& files = directory_->files();
  DOORSTEP_ASSIGN(const auto folder, StoreDirectory::acquire(directory_->file(made_in), files));
  const auto clear = [&]() -> Status {
    for (const char* name : {"main.db", "main.db-wal", "main.db.tmp"}) DOORSTEP_TRY(files.remove(folder->file(name)));
    return {};
  };
  DOORSTEP_TRY(clear());  // of an earlier one that did not come to its end
  const auto make = [&]() -> Status {
    DOORSTEP_ASSIGN(const DatabaseKey key, vault_->database_key());
    DOORSTEP_ASSIGN(Database made, Database::create(folder, key, database_options(), *random_));
    database_ = std::move(made);
    DOORSTEP_TRY(fill(salvage, how, report));
    DOORSTEP_ASSIGN(const std::int64_t free_pages, database_->query_int("PRAGMA freelist_count"));
    DOORSTEP_TRY(database_->shrink(static_cast<int>(free_pages)));
    DOORSTEP_TRY(database_->close());
    // R2: nothing of it may stand in a log that stays behind.
    const auto log = files.size(folder->file("main.db-wal"));
    if (log.ok() && *log != 0) return Error(Code::io, "the new database could not be closed: try again");
    return {};
  };
  rebuilding_ = true;
  const Status made = make();
  database_.reset();
  spaces_.clear();
  rebuilding_ = false;
  if (!made) {
    (void)clear();  // a full disk should not stay full because of us
    return made;
  }
  DOORSTEP_TRY(files.sync_directory(folder->path()));
  DOORSTEP_TRY(files.rename(folder->file("main.db"), directory_->file(finished)));
  DOORSTEP_TRY(files.sync_directory(folder->path()));
  return files.sync_directory(directory_->path());
}

// R3. True if there was one to finish. Each step is durable before the next, so that a crash between any two leaves what the next call
// goes on with; the damaged main.db moves last, and tells by its absence in which folder its log already is.
Result<bool> Core::finish_rebuild(std::string* kept) {
  Files& files = directory_->files();
  const auto exists = [&](const std::string& path) { return files.size(path).code() != Code::not_found; };
  if (!exists(directory_->file(finished))) return false;
  int number = 1;
  const auto folder = [&] { return "damaged-" + std::to_string(number); };
  while (exists(directory_->file(folder() + "/main.db"))) ++number;
  const std::string keep = directory_->file(folder());
  for (const char* name : {"main.db-wal", "main.db"}) {
    if (!exists(directory_->file(name))) continue;
    DOORSTEP_TRY(files.make_directory(keep));
    DOORSTEP_TRY(files.sync_directory(directory_->path()));  // before the first file moves there
    if (DOORSTEP_PLANTED(rebuild_deletes_damaged)) {
      DOORSTEP_TRY(files.remove(directory_->file(name)));
    } else {
      DOORSTEP_TRY(files.rename(directory_->file(name), keep + "/" + name));
    }
    if (kept) *kept = folder();
    DOORSTEP_TRY(files.sync_directory(keep));
    DOORSTEP_TRY(files.sync_directory(directory_->path()));
  }
  DOORSTEP_TRY(files.rename(directory_->file(finished), directory_->file("main.db")));
  DOORSTEP_TRY(files.sync_directory(directory_->path()));
  (void)files.remove(directory_->file(std::string(made_in) + "/lock"));
  return true;
}

// ---- Rows of the damaged database into the new one

namespace {

struct SalvagedLog {
  SpaceNumber space = 0;
  LogName name;
};

/// What is collected before it can be written, because it stands anywhere in the file.
struct Collected {
  std::map<SpaceNumber, KnownSpace> spaces;
  std::map<LogNumber, SalvagedLog> logs;
  std::map<SpaceNumber, std::vector<PendingRun>> pending;
};

void collect_space(Collected& collected, const SalvagedRow& row) {
  auto& space = collected.spaces[row.n];
  space.n = row.n;
  space.id = SpaceId::from(row.values[1].bytes);
  space.name = text_of(row.values[2]);
  space.invitation = text_of(row.values[3]);
  space.label = text_of(row.values[4]);
}

void collect_log(Collected& collected, const SalvagedRow& row) {
  auto& log = collected.logs[row.n];
  log.space = row.values[1].integer;
  log.name.device = DeviceId::from(row.values[3].bytes);
  log.name.incarnation = Incarnation::from(row.values[4].bytes);
  if (row.values[5].type == SalvagedValue::Type::blob) log.name.branch = Hash::from(row.values[5].bytes);
  log.name.starts_after = static_cast<Position>(row.values[6].integer);
}

void collect_pending(Collected& collected, const SalvagedRow& row) {
  if (DOORSTEP_PLANTED(salvage_forgets_pending)) return;
  const auto& values = row.values;
  // Without what it refers to: logs have other numbers now (Core::settle).
  collected.pending[values[1].integer].push_back({static_cast<Counter>(values[2].integer),
                                                  static_cast<Counter>(values[3].integer),
                                                  static_cast<std::size_t>(values[4].integer),
                                                  values[5].integer,
                                                  {},
                                                  to_bytes(values[7].bytes)});
}

// The id of a space is the hash of its founding entry.
void collect_founding(Collected& collected, const SalvagedRow& row) {
  if (row.values[1].integer != 0 || collected.spaces.contains(row.values[0].integer)) return;
  const auto roster = Roster::found(row.values[2].bytes);
  if (!roster) return;
  auto& space = collected.spaces[row.values[0].integer];
  space.n = row.values[0].integer;
  space.id = roster->space();
}

constexpr const char* save_salvaged =
    "INSERT OR IGNORE INTO salvaged(space, log, position, name, previous, bytes) VALUES(?, ?, ?, ?, ?, ?)";

// What needs nothing but itself.
Status save_row(Batches& batches, const SalvagedRow& row) {
  const auto& values = row.values;
  const Bytes none;
  switch (row_of(row)) {
    case RowOf::roster: return batches.run(save_salvaged, values[0].integer, none, values[1].integer, none, nullptr, values[2].bytes);
    case RowOf::salvaged:
      if (values[4].type == SalvagedValue::Type::none)
        return batches.run(save_salvaged, values[0].integer, values[1].bytes, values[2].integer, values[3].bytes, nullptr, values[5].bytes);
      return batches.run(save_salvaged, values[0].integer, values[1].bytes, values[2].integer, values[3].bytes, values[4].bytes,
                         values[5].bytes);
    case RowOf::draft:
      return batches.run("INSERT OR REPLACE INTO draft(id, kind, json) VALUES(?, ?, ?)", values[0].bytes, text_of(values[1]),
                         text_of(values[2]));
    case RowOf::proposal:
      return batches.run("INSERT OR IGNORE INTO proposal(space, hash, bytes) VALUES(?, ?, ?)", values[0].integer, values[1].bytes,
                         values[2].bytes);
    case RowOf::check: return batches.run("INSERT OR REPLACE INTO meta(name, value) VALUES(?, ?)", text_of(values[0]), values[1].bytes);
    default: return {};
  }
}

void collect_row(Collected& collected, const SalvagedRow& row) {
  switch (row_of(row)) {
    case RowOf::space: return collect_space(collected, row);
    case RowOf::log: return collect_log(collected, row);
    case RowOf::pending: return collect_pending(collected, row);
    case RowOf::roster: return collect_founding(collected, row);
    default: return;
  }
}

// What the vault remembers of spaces and of our own logs, where the pages that say so are lost.
void add_known(Collected& collected, const std::vector<KnownSpace>& known_spaces, const DeviceId& device) {
  for (const auto& known : known_spaces) {
    const auto same =
        std::find_if(collected.spaces.begin(), collected.spaces.end(), [&](const auto& s) { return s.second.id == known.id; });
    if (same != collected.spaces.end() && same->first != known.n) continue;
    auto& space = collected.spaces[known.n];
    if (space.n == 0 || (space.id == known.id && space.name.empty() && space.label.empty())) space = known;
    for (const auto& log : known.own_logs) {
      auto& named = collected.logs[log.n];
      if (named.space != 0) continue;
      named.space = known.n;
      named.name.device = device;
      named.name.incarnation = log.incarnation;
      named.name.branch = log.branch;
      named.name.starts_after = log.starts_after;
    }
  }
}

}  // namespace

// A row that was put together from pages of two times is none.
bool Core::readable(const SpaceState& space, const PendingRun& run) {
  const auto transactions = decode_chunk(run.bytes, compressor_);
  return transactions && std::all_of(transactions->begin(), transactions->end(), [&](const NumberedTransaction& numbered) {
           Decoder in(numbered.bytes);
           (void)get_transaction(in, {device(), space.number_of(device()), numbered.first});
           return in.finish("transaction").ok();
         });
}

Status Core::fill(Salvage& salvage, const RebuildOptions& how, RebuildReport& report) {
  report.pages = salvage.damage().pages;
  report.pages_damaged = salvage.damage().pages_damaged;
  report.log_records_lost = salvage.damage().frames_lost;
  std::size_t done = 0, total = 2 * report.pages;
  const auto step = [&] {
    ++done;
    if (how.progress && done % 64 == 0) how.progress(std::min(done, total), total);
  };
  DOORSTEP_TRY(database_->migrate(store_migrations()));
  Batches batches(*database_);
  Collected collected;
  DOORSTEP_TRY(salvage.each_row(
      [&](const SalvagedRow& row) {
        collect_row(collected, row);
        return save_row(batches, row);
      },
      step));
  add_known(collected, known_spaces_, device());

  // Segments go under the name of their log: its number will be another one.
  DOORSTEP_TRY(salvage.each_row(
      [&](const SalvagedRow& row) -> Status {
        if (row_of(row) != RowOf::segment) return {};
        const auto log = collected.logs.find(log_of_segment(row.n));
        const auto space = log == collected.logs.end() ? collected.spaces.end() : collected.spaces.find(log->second.space);
        if (space == collected.spaces.end()) return ++report.segments_unnamed, Status();
        const auto& name = log->second.name;
        const auto position = static_cast<std::int64_t>(position_of_segment(row.n));
        ++total;
        if (row.values.size() > 6 && row.values[6].type == SalvagedValue::Type::blob)
          return batches.run(save_salvaged, space->first, name.id(space->second.id), position, encode(name), row.values[6].bytes,
                             row.values[5].bytes);
        return batches.run(save_salvaged, space->first, name.id(space->second.id), position, encode(name), nullptr, row.values[5].bytes);
      },
      step));
  for (const auto& [n, space] : collected.spaces) {
    SpaceState state;
    state.n = n, state.id = space.id, state.name = space.name, state.invitation = space.invitation, state.label = space.label;
    DOORSTEP_TRY(batches.commit());
    const Status inserted = insert_space(state);
    if (!inserted && inserted.code() != Code::already_exists) return inserted;  // one id under two numbers: pages of two times
  }
  DOORSTEP_TRY(batches.run("UPDATE space SET rebuilt = 1"));
  DOORSTEP_TRY(batches.commit());
  DOORSTEP_TRY(load_all());

  std::vector<SpaceId> ids;
  for (const auto& [id, space] : spaces_) ids.push_back(id);
  for (const auto& id : ids) {
    DOORSTEP_TRY(place_salvaged(id, step));
    DOORSTEP_ASSIGN(SpaceState* const space, this->space(id));
    auto& pending = collected.pending[space->n];
    report.rows_unreadable += std::erase_if(pending, [&](const PendingRun& run) { return !readable(*space, run); });
    if (!pending.empty()) DOORSTEP_TRY(change([&] { return add_pending(*space, std::move(pending)); }));
  }
  const std::pair<std::size_t*, const char*> counts[] = {
      {&report.spaces, "SELECT count(*) FROM space"},
      {&report.roster_entries, "SELECT count(*) FROM roster"},
      {&report.roster_entries_waiting, "SELECT count(*) FROM salvaged WHERE log = x''"},
      {&report.segments, "SELECT count(*) FROM segment"},
      {&report.segments_waiting, "SELECT count(*) FROM salvaged WHERE log <> x''"},
      {&report.transactions_unsent, "SELECT coalesce(sum(transactions), 0) FROM pending"},
      {&report.drafts, "SELECT count(*) FROM draft"}};
  for (const auto& [count, sql] : counts) {
    DOORSTEP_ASSIGN(const std::int64_t number, database_->query_int(sql));
    *count = static_cast<std::size_t>(number);
  }
  if (how.progress) how.progress(total, total);
  return {};
}

}  // namespace doorstep
