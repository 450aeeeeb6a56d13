// A store's database files as a thief, a failing disk or a hostile program leaves them (sdk/store/FORMAT.md). An honest store, closed in
// the middle: main.db and a log with commits in it. The input is a script of damages, then the store is opened, read whole and written to.
//   sealed bytes   changed, cut, moved or exchanged between records: noticed (`corrupt`), or the log ends earlier; what is then read is
//   exactly
//                  a state that was committed, never another
//   plain bytes    of a page, a WAL header, a frame header or a frame, changed and sealed again: as SQLite meets them. No crash, no hang,
//   and
//                  only errors with a name
// The first byte chooses between the two.
#include "sdk/store/vfs.hpp"

#include <set>

#include "tests/fault/crash_vfs.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;
using doorstep::fault::Image;
using doorstep::fault::SimulatedDisk;

constexpr char directory[] = "/store";
constexpr char main_path[] = "/store/main.db", wal_path[] = "/store/main.db-wal";
constexpr std::size_t wal_header_bytes = 32, frame_header_bytes = 24;
constexpr std::size_t wal_header_record_bytes = wal_header_bytes + seal_bytes, frame_header_record_bytes = frame_header_bytes + seal_bytes;
constexpr std::size_t slot_bytes = frame_header_record_bytes + page_bytes;
constexpr int commits = 6;

struct Honest {
  CountingRandom random;
  DatabaseKey key{random.make<FileId>(), make_symmetric_key(random)};
  Image image;
  std::set<std::int64_t> states;  ///< sum(v) after each commit: each commit's is its own.
  std::uint64_t salts = 0;
  Honest();
};

DatabaseOptions options_on(SimulatedDisk& disk) {
  DatabaseOptions out;
  out.below = disk.vfs();
  out.cache_bytes = 64 << 10;
  out.wal_autocheckpoint_pages = 0;
  return out;
}
Result<Database> open(SimulatedDisk& disk, const DatabaseKey& key, Random& random) {
  return Database::open(StoreDirectory::acquire(directory, disk).value(), key, options_on(disk), random);
}

Status commit(Database& database, int n) {
  DOORSTEP_ASSIGN(auto transaction, DatabaseTransaction::begin(database));
  for (int i = 0; i < 3; ++i) DOORSTEP_TRY(database.run("INSERT INTO row(v, b) VALUES(?, ?)", 1 << n, Bytes(200 * i, 7)));
  return transaction.commit();
}

Honest::Honest() {
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 1, nullptr);  // the log's salts
  SimulatedDisk disk;
  const Migration schema[] = {{"CREATE TABLE row(id INTEGER PRIMARY KEY, v INTEGER, b BLOB); CREATE INDEX row_by_v ON row(v);"}};
  {
    auto database = Database::create(StoreDirectory::acquire(directory, disk).value(), key, options_on(disk), random).value();
    require(database.migrate(schema).ok() && commit(database, 0).ok() && database.close().ok());
  }
  auto database = open(disk, key, random).value();
  states.insert(3);
  for (int n = 1; n < commits; ++n) {
    require(commit(database, n).ok());
    states.insert(3 * ((2 << n) - 1));
  }
  image = disk.image();  // as the power went
  std::array<std::uint8_t, wal_header_bytes> header;
  require(RecordSealer(key, random).open(RecordKind::wal_header, 0, 0, image.at(wal_path).data(), header));
  for (std::size_t i = 0; i < 8; ++i) salts |= std::uint64_t{header[16 + i]} << 8 * i;
}
Honest& honest() {
  static Honest out;
  return out;
}

// ---- Damages

struct Place {
  std::size_t offset, bytes;
};
Place page_at(std::size_t n) { return {n * page_bytes, page_bytes}; }
Place frame_at(std::size_t n) { return {wal_header_record_bytes + n * slot_bytes, slot_bytes}; }

/// One damage to sealed bytes.
void damage(Image& image, Script& script) {
  const auto how = script.byte();
  const bool in_wal = (how & 1) != 0;
  Bytes& file = image[in_wal ? wal_path : main_path];
  const std::size_t records = in_wal ? file.size() / slot_bytes : file.size() / page_bytes;
  const auto place = [&] { return in_wal ? frame_at(script.byte() % (records + 1)) : page_at(script.byte() % (records + 1)); };
  switch (how / 2 % 6) {
    case 0:
    case 1:
      if (!file.empty()) file[script.word() % file.size()] ^= static_cast<std::uint8_t>(1 + script.byte() % 255);
      return;
    case 2:
      if (!file.empty()) file.resize(script.word() % file.size());
      return;
    case 3: file.resize(file.size() + script.word() % (2 * page_bytes), script.byte()); return;
    case 4: {
      const auto from = place(), to = place();
      if (from.offset + from.bytes > file.size() || to.offset + to.bytes > file.size()) return;
      std::swap_ranges(file.begin() + static_cast<std::ptrdiff_t>(from.offset),
                       file.begin() + static_cast<std::ptrdiff_t>(from.offset + from.bytes),
                       file.begin() + static_cast<std::ptrdiff_t>(to.offset));
      return;
    }
    default:
      if (in_wal)
        image.erase(wal_path);
      else
        file.clear();
  }
}

/// One record opened, changed and sealed again.
void reseal(Image& image, Script& script) {
  RecordSealer sealer(honest().key, honest().random);
  struct Kind {
    RecordKind kind;
    std::size_t plain_bytes;
  };
  static constexpr Kind kinds[] = {{RecordKind::page, page_plain_bytes},
                                   {RecordKind::wal_header, wal_header_bytes},
                                   {RecordKind::frame_header, frame_header_bytes},
                                   {RecordKind::frame_page, page_plain_bytes}};
  const auto& [kind, plain_bytes] = kinds[script.byte() % 4];
  Bytes& file = image[kind == RecordKind::page ? main_path : wal_path];
  const std::size_t nth = script.byte() % 24;
  std::size_t offset = nth * page_bytes;
  std::uint32_t number = static_cast<std::uint32_t>(nth + 1);
  std::uint64_t salts = 0;
  if (kind == RecordKind::wal_header) offset = 0, number = 0;
  if (kind == RecordKind::frame_header) offset = frame_at(nth).offset, salts = honest().salts;
  if (kind == RecordKind::frame_page) offset = frame_at(nth).offset + frame_header_record_bytes, salts = honest().salts;
  if (offset + plain_bytes + seal_bytes > file.size()) return;
  std::array<std::uint8_t, page_plain_bytes> plain;
  const std::span<std::uint8_t> out(plain.data(), plain_bytes);
  if (!sealer.open(kind, salts, number, file.data() + offset, out)) return;
  for (auto edits = 1 + script.byte() % 4; edits > 0; --edits) {
    std::size_t at = script.word() % plain_bytes;
    for (int n = 1 + script.byte() % 8; n > 0 && at < plain_bytes; --n) plain[at++] = script.byte();
  }
  sealer.seal(kind, salts, number, out, file.data() + offset);
}

// ---- What a program makes of it

/// Every row, by table and by index; then one transaction more. The first error, or the sum that was read.
Result<std::int64_t> use(SimulatedDisk& disk) {
  DOORSTEP_ASSIGN(auto database, open(disk, honest().key, honest().random));
  DOORSTEP_TRY(database.quick_check());
  DOORSTEP_ASSIGN(const auto sum, database.query_int("SELECT sum(v) FROM row NOT INDEXED"));
  DOORSTEP_ASSIGN(const auto bytes, database.query_int("SELECT sum(length(b)) FROM row"));
  DOORSTEP_ASSIGN(const auto by_index, database.query_int("SELECT sum(v) FROM row INDEXED BY row_by_v"));
  (void)bytes;
  (void)by_index;
  DOORSTEP_TRY(commit(database, commits));
  DOORSTEP_TRY(database.close());
  return sum;
}

bool has_a_name(Code code) {
  switch (code) {
    case Code::corrupt:
    case Code::not_found:
    case Code::unsupported:
    case Code::io:
    case Code::full:
    case Code::too_large:
    case Code::already_exists:
    case Code::invalid_argument: return true;
    default: return false;
  }
}

void run(ByteView input, Verdict& verdict) {
  Script script(input);
  const bool sealed_again = script.byte() % 2 != 0;
  Image image = honest().image;
  for (int n = 0; n < 8 && !script.empty(); ++n) sealed_again ? reseal(image, script) : damage(image, script);
  SimulatedDisk disk(image);
  const auto found = use(disk);
  verdict.note(found.code());
  // Who has the key may have changed the schema: what SQLite says of a column that is missing is to us a bug of ours.
  if (!found)
    return require((has_a_name(found.code()) || (sealed_again && found.code() == Code::internal)) && !found.error().message().empty());
  if (sealed_again) return;
  require(honest().states.contains(*found));
  verdict.note(static_cast<std::uint64_t>(*found));
  const auto after = open(disk, honest().key, honest().random).value().query_int("SELECT sum(v) FROM row");
  require(after.ok() && *after == *found + 3 * (1 << commits));
}

std::vector<Seed> seeds() {
  return {{"untouched", Bytes{0}},
          {"page_changed", Bytes{0, 0, 17, 33, 4}},
          {"frame_changed", Bytes{0, 1, 200, 40, 4}},
          {"log_cut", Bytes{0, 5, 0, 80}},
          {"pages_swapped", Bytes{0, 8, 2, 3}},
          {"frames_swapped", Bytes{0, 9, 2, 3}},
          {"log_gone", Bytes{0, 11}},
          {"page_sealed_again", Bytes{1, 0, 0, 1, 20, 0, 3, 1, 2, 3}},
          {"root_sealed_again", Bytes{1, 0, 3, 0, 3, 0, 1, 255, 255}},
          {"header_sealed_again", Bytes{1, 1, 0, 0, 9, 0, 0, 1}},
          {"frame_header_sealed_again", Bytes{1, 2, 4, 0, 3, 0, 0, 9}},
          {"frame_sealed_again", Bytes{1, 3, 4, 2, 100, 0, 4, 1, 1, 1, 1}}};
}

const Registration registration({"vfs", run, seeds});

}  // namespace
