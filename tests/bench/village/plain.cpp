// Plain SQLite, as a floor: the tables that a replica writes, unsealed and with JSON in them; and one table of JSON rows.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include <sqlite3.h>

#include "doorstep/doorstep.hpp"
#include "tests/bench/village/data.hpp"
#include "tests/bench/village/roles.hpp"

namespace doorstep::bench {

namespace {

class Sqlite {
 public:
  explicit Sqlite(const std::string& path) {
    if (sqlite3_open(path.c_str(), &db_) != SQLITE_OK) die("open");
    run("PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-4096;");
  }
  ~Sqlite() { sqlite3_close_v2(db_); }
  Sqlite(const Sqlite&) = delete;
  Sqlite& operator=(const Sqlite&) = delete;
  void run(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) die(sql);
  }
  sqlite3_stmt* prepare(const char* sql) {
    sqlite3_stmt* out = nullptr;
    if (sqlite3_prepare_v2(db_, sql, -1, &out, nullptr) != SQLITE_OK) die(sql);
    return out;
  }
  void step(sqlite3_stmt* statement) {
    if (sqlite3_step(statement) != SQLITE_DONE) die("step");
    sqlite3_reset(statement);
  }

 private:
  [[noreturn]] void die(const char* what) {
    std::fprintf(stderr, "%s: %s\n", what, db_ ? sqlite3_errmsg(db_) : "");
    std::exit(1);
  }
  sqlite3* db_ = nullptr;
};

void blob(sqlite3_stmt* statement, int index, const std::string& bytes) {
  sqlite3_bind_blob(statement, index, bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
}

// What a replica writes for each record, as somebody would who has no reason to seal, pack or sign.
class SameTables {
 public:
  explicit SameTables(Sqlite& db) : db_(db) {
    db.run(
        "CREATE TABLE pending(n INTEGER PRIMARY KEY, space INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"
        "  transactions INTEGER NOT NULL, oldest_ms INTEGER NOT NULL, refers BLOB NOT NULL, bytes BLOB NOT NULL);"
        "CREATE TABLE record(n INTEGER PRIMARY KEY, id BLOB NOT NULL, body BLOB NOT NULL);"
        "CREATE INDEX record_id ON record(id);"
        "CREATE TABLE entry(field INTEGER, key BLOB, record INTEGER, PRIMARY KEY(field, key, record)) WITHOUT ROWID;");
    record_ = db.prepare("INSERT INTO record(n, id, body) VALUES(?, ?, ?)");
    entry_ = db.prepare("INSERT INTO entry(field, key, record) VALUES(?, ?, ?)");
    pending_ = db.prepare("INSERT INTO pending(space, first, last, transactions, oldest_ms, refers, bytes) VALUES(1, ?, ?, ?, 1, x'', ?)");
  }
  ~SameTables() {
    for (auto* statement : {record_, entry_, pending_}) sqlite3_finalize(statement);
  }
  SameTables(const SameTables&) = delete;
  SameTables& operator=(const SameTables&) = delete;

  void put(const Line& line) {
    const bool person = line.person();
    // Ids as a replica makes them: 16 bytes of a hash, in no order.
    const auto bits = static_cast<std::uint64_t>(std::hash<std::string>{}(line["id"]));
    std::string id(16, '\0');
    std::memcpy(id.data(), &bits, 8);
    const auto n = std::int64_t{1} << 51 | std::int64_t{person ? person_kind : visit_kind} << 31 | ++serial_[person];
    sqlite3_bind_int64(record_, 1, n);
    blob(record_, 2, id);
    blob(record_, 3, line.json);
    db_.step(record_);
    sqlite3_bind_int64(entry_, 1, person ? 1 : 2);
    blob(entry_, 2, line[person ? "id" : "person"]);
    sqlite3_bind_int64(entry_, 3, n);
    db_.step(entry_);
    chunk_ += line.json;
    ++transactions_;
    counter_ += line.items.size() - 1;
    if (chunk_.size() >= 64u << 10) flush();
  }
  void flush() {
    if (transactions_ == 0) return;
    sqlite3_bind_int64(pending_, 1, counter_);
    sqlite3_bind_int64(pending_, 2, counter_);
    sqlite3_bind_int64(pending_, 3, transactions_);
    blob(pending_, 4, chunk_);
    db_.step(pending_);
    chunk_.clear();
    transactions_ = 0;
  }

 private:
  Sqlite& db_;
  sqlite3_stmt *record_ = nullptr, *entry_ = nullptr, *pending_ = nullptr;
  std::int64_t serial_[2] = {0, 0}, counter_ = 0, transactions_ = 0;
  std::string chunk_;
};

double seconds(long long ns) { return static_cast<double>(ns) / 1e9; }

struct Took {
  double seconds = 0, cpu = 0;
};

Took plain_w1(const std::string& path, const std::string& file, int count) {
  Sqlite db(path);
  SameTables tables(db);
  std::vector<Line> visits;
  db.run("BEGIN IMMEDIATE");
  Lines lines(file);
  for (Line line; static_cast<int>(visits.size()) < count && lines.next(line);) {
    if (line.person())
      tables.put(line);
    else
      visits.push_back(line);
  }
  tables.flush();
  db.run("COMMIT");
  const auto begin = now_ns(), cpu_begin = cpu_ns();
  for (const auto& visit : visits) {
    db.run("BEGIN IMMEDIATE");
    tables.put(visit);
    tables.flush();
    db.run("COMMIT");
  }
  return {seconds(now_ns() - begin), seconds(cpu_ns() - cpu_begin)};
}

template <class Put>
double timed(const std::string& file, const Put& put) {
  Lines lines(file);
  Line line;
  long long took = 0;
  while (lines.next(line)) {
    const auto begin = now_ns();
    put(line);
    took += now_ns() - begin;
  }
  return seconds(took);
}

Took plain_w2(const std::string& path, const std::string& file) {
  Sqlite db(path);
  const auto reading_begin = cpu_ns();
  timed(file, [](const Line&) {});
  const auto cpu_begin = cpu_ns();
  SameTables tables(db);
  db.run("BEGIN IMMEDIATE");
  const double putting = timed(file, [&](const Line& line) { tables.put(line); });
  const auto begin = now_ns();
  tables.flush();
  db.run("COMMIT");
  return {putting + seconds(now_ns() - begin), seconds(cpu_ns() - cpu_begin - (cpu_begin - reading_begin))};
}

Took plain_rows(const std::string& path, const std::string& file) {
  Sqlite db(path);
  db.run("CREATE TABLE rec(id TEXT PRIMARY KEY, person TEXT, body TEXT NOT NULL) WITHOUT ROWID; CREATE INDEX by_person ON rec(person);");
  auto* insert = db.prepare("INSERT INTO rec VALUES(?, ?, ?)");
  db.run("BEGIN IMMEDIATE");
  const double putting = timed(file, [&](const Line& line) {
    blob(insert, 1, line["id"]);
    blob(insert, 2, line["person"]);
    blob(insert, 3, line.json);
    db.step(insert);
  });
  const auto begin = now_ns();
  db.run("COMMIT");
  sqlite3_finalize(insert);
  return {putting + seconds(now_ns() - begin), 0};
}

}  // namespace

int run_plain(const std::vector<std::string>& arguments) {
  const auto &what = arguments.at(0), &path = arguments.at(1), &file = arguments.at(2);
  const Took took = what == "w1"   ? plain_w1(path, file, std::stoi(arguments.at(3)))
                    : what == "w2" ? plain_w2(path, file)
                                   : plain_rows(path, file);
  std::printf("%.6f %.6f\n", took.seconds, took.cpu);
  return 0;
}

int run_at_rest(const std::vector<std::string>& arguments) {
  ReplicaOptions options;
  options.directory = arguments.at(0);
  options.schema = village_schema();
  const auto key = Hash::parse(arguments.at(1));
  const std::string &file = arguments.at(2), &path = arguments.at(3);
  auto replica = Replica::open_with_key(options, SymmetricKey(std::span<const std::uint8_t, 32>(key->data)));
  if (!replica) return std::fprintf(stderr, "%s\n", replica.error().message().c_str()), 1;
  const SpaceId space = (*replica->spaces()).front().id;

  plain_rows(path, file);
  Sqlite db(path);
  std::vector<std::string> texts;
  Lines lines(file);
  for (Line line; lines.next(line);) texts.push_back(line["id"]);
  std::vector<RecordId> ids;
  for (const char* kind : {"p", "v"}) {
    std::size_t offset = 0;
    for (;;) {
      const auto views = replica->query(space, {.kind = kind, .limit = 2000, .offset = offset});
      if (!views || views->empty()) break;
      for (const auto& view : *views) ids.push_back(view.id());
      offset += views->size();
    }
  }
  std::mt19937 any(1);
  constexpr int reads = 10'000;
  constexpr int rounds = 3;
  std::vector<double> ours, theirs, our_scan, their_scan;
  std::size_t bytes = 0;
  auto* point = db.prepare("SELECT body FROM rec WHERE id = ?");
  auto* scan = db.prepare("SELECT body FROM rec");
  for (int round = 0; round < rounds; ++round) {
    auto begin = now_ns();
    for (int i = 0; i < reads; ++i) {
      const auto view = replica->get(space, ids[any() % ids.size()]);
      if (!view) return 1;
      bytes += view->text("id").size();
    }
    ours.push_back(reads / seconds(now_ns() - begin));
    begin = now_ns();
    for (int i = 0; i < reads; ++i) {
      blob(point, 1, texts[any() % texts.size()]);
      if (sqlite3_step(point) != SQLITE_ROW) return 1;
      const std::string body(static_cast<const char*>(sqlite3_column_blob(point, 0)),
                             static_cast<std::size_t>(sqlite3_column_bytes(point, 0)));
      bytes += body.size();
      sqlite3_reset(point);
    }
    theirs.push_back(reads / seconds(now_ns() - begin));
    begin = now_ns();
    std::size_t seen = 0;
    for (const char* kind : {"p", "v"}) seen += (*replica->query(space, {.kind = kind})).size();
    our_scan.push_back(static_cast<double>(seen) / seconds(now_ns() - begin));
    begin = now_ns();
    std::vector<std::string> bodies;
    while (sqlite3_step(scan) == SQLITE_ROW)
      bodies.emplace_back(static_cast<const char*>(sqlite3_column_blob(scan, 0)), static_cast<std::size_t>(sqlite3_column_bytes(scan, 0)));
    sqlite3_reset(scan);
    their_scan.push_back(static_cast<double>(bodies.size()) / seconds(now_ns() - begin));
  }
  sqlite3_finalize(point);
  sqlite3_finalize(scan);
  const auto median = [](std::vector<double>& of) { return std::sort(of.begin(), of.end()), of[of.size() / 2]; };
  std::printf("%.1f %.1f %.1f %.1f %zu\n", median(ours), median(theirs), median(our_scan), median(their_scan), bytes);
  return 0;
}

}  // namespace doorstep::bench
