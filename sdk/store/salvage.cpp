// SQLite's file format, as far as rows need it (sqlite.org/fileformat2.html), above the sealed records of FORMAT.md.
//
//   file or WAL ── open_page ──> page ── each_cell ──> payload (with its overflow pages) ── read_values ──> row
//
// A page that opens is what SQLite wrote, so broken structure is rare: pages mixed from two times. Every bound is checked all the
// same, and what does not fit is no row.
#include "sdk/store/salvage.hpp"

#include <algorithm>
#include <map>
#include <optional>

#include <sqlite3.h>

#include "sdk/store/vfs.hpp"

namespace doorstep {

namespace {

constexpr std::size_t usable = page_plain_bytes;
constexpr std::size_t columns_max = 64;
constexpr std::uint32_t lock_page = 0x4000'0000 / page_bytes + 1;  // SQLite never writes it

enum PageType : std::uint8_t { interior_index = 2, leaf_index = 10, leaf_table = 13 };  // interior pages of tables hold no rows

using Page = std::array<std::uint8_t, page_bytes>;

std::uint64_t big_endian(const std::uint8_t* at, std::size_t bytes) {
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < bytes; ++i) out = out << 8 | at[i];
  return out;
}

// Pages that only say which page leads to which: where auto-vacuum is on, one in front of each 811.
bool is_pointer_map(std::uint32_t number) {
  constexpr std::uint32_t covered = usable / 5 + 1;
  if (number < 2) return false;
  auto map = (number - 2) / covered * covered + 2;
  if (map == lock_page) ++map;
  return map == number;
}

// ---- Reading below the sealing VFS

class RawFile {
 public:
  RawFile(sqlite3_vfs* vfs, const std::string& path, int kind) {
    name_.assign(static_cast<std::size_t>(vfs->mxPathname) + 2, '\0');  // SQLite wants two zeros behind a name
    if (vfs->xFullPathname(vfs, path.c_str(), vfs->mxPathname, name_.data()) & 0xff) return;
    memory_.resize(static_cast<std::size_t>(vfs->szOsFile) / sizeof(std::max_align_t) + 1);
    auto* const file = reinterpret_cast<sqlite3_file*>(memory_.data());
    file->pMethods = nullptr;
    if (vfs->xOpen(vfs, name_.data(), file, SQLITE_OPEN_READONLY | kind, nullptr) == SQLITE_OK)
      file_ = file;
    else if (file->pMethods)
      file->pMethods->xClose(file);
  }
  ~RawFile() {
    if (file_) file_->pMethods->xClose(file_);
  }
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;

  bool is_open() const { return file_ != nullptr; }
  std::uint64_t size() const {
    sqlite3_int64 out = 0;
    return file_ && file_->pMethods->xFileSize(file_, &out) == SQLITE_OK ? static_cast<std::uint64_t>(out) : 0;
  }
  /// False if not all of it is there or the disk does not give it: a sector that cannot be read is damage like any other.
  bool read(std::span<std::uint8_t> out, std::uint64_t offset) const {
    return file_ && file_->pMethods->xRead(file_, out.data(), static_cast<int>(out.size()), static_cast<std::int64_t>(offset)) == SQLITE_OK;
  }

 private:
  std::string name_;
  std::vector<std::max_align_t> memory_;
  sqlite3_file* file_ = nullptr;
};

// ---- The WAL's own checksums: where its records end that belong together

struct WalSum {
  std::uint32_t a = 0, b = 0;
  bool little_endian = true;

  void add(ByteView bytes) {
    for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
      a += word(bytes.data() + i) + b;
      b += word(bytes.data() + i + 4) + a;
    }
  }
  bool stands_at(const std::uint8_t* at) const { return big_endian(at, 4) == a && big_endian(at + 4, 4) == b; }
  void take_from(const std::uint8_t* at) {
    a = static_cast<std::uint32_t>(big_endian(at, 4));
    b = static_cast<std::uint32_t>(big_endian(at + 4, 4));
  }

 private:
  std::uint32_t word(const std::uint8_t* at) const {
    const auto value = static_cast<std::uint32_t>(big_endian(at, 4));
    return little_endian ? __builtin_bswap32(value) : value;
  }
};

struct Frame {
  std::array<std::uint8_t, frame_header_bytes> header;
  Page page;
  std::uint32_t number() const { return static_cast<std::uint32_t>(big_endian(header.data(), 4)); }
  std::uint32_t pages_after_commit() const { return static_cast<std::uint32_t>(big_endian(header.data() + 4, 4)); }
};

}  // namespace

struct Salvage::State {
  State(const StoreDirectory& directory, const DatabaseKey& key, sqlite3_vfs* vfs, Random& random)
      : main(vfs, path_of(directory, "main.db"), SQLITE_OPEN_MAIN_DB),
        wal(vfs, path_of(directory, "main.db-wal"), SQLITE_OPEN_WAL),
        sealer(key, random) {}
  static std::string path_of(const StoreDirectory& directory, const char* name) {
    const std::string path = directory.file(name);
    return path.starts_with('/') ? path : "./" + path;
  }

  using Versions = std::map<std::uint32_t, std::uint32_t>;  // page -> the newest frame that holds it

  void read_wal();
  bool open_frame(std::uint32_t frame, Frame& out);
  bool open_page(std::uint32_t number, const Versions* newer, Page& out);
  void count_pages();
  Status rows_of(std::uint32_t number, const Versions* newer, const std::function<Status(const SalvagedRow&)>& take);
  bool payload_of(const Page& page, std::size_t at, bool index, const Versions* newer, std::int64_t* n, Bytes& out);

  RawFile main, wal;
  RecordSealer sealer;
  std::uint64_t salts = 0;
  Versions recovered;  // as SQLite's recovery sees the WAL
  Versions behind;     // of records behind one that does not open: recovery would cut them off
  DatabaseDamage damage;
  std::size_t pages_to_read = 0;
  std::uint32_t version = 0;
};

// ---- Which version of a page is the newest

bool Salvage::State::open_frame(std::uint32_t frame, Frame& out) {
  std::array<std::uint8_t, slot_bytes> record;
  if (!wal.read(record, wal_header_record_bytes + std::uint64_t{frame - 1} * slot_bytes)) return false;
  out.page.fill(0);
  return sealer.open(RecordKind::frame_header, salts, frame, record.data(), out.header) &&
         sealer.open(RecordKind::frame_page, salts, frame, record.data() + frame_header_record_bytes,
                     std::span<std::uint8_t>(out.page).first(page_plain_bytes));
}

// Records that open and whose checksums follow each other. One that opens and does not follow is of a transaction that was given up:
// the log ends there. One that does not open is damage, if any behind it opens.
void Salvage::State::read_wal() {
  std::array<std::uint8_t, wal_header_record_bytes> record;
  std::array<std::uint8_t, wal_header_bytes> header;
  if (!wal.read(record, 0) || !sealer.open(RecordKind::wal_header, 0, 0, record.data(), header)) return;
  for (std::size_t i = 0; i < 8; ++i) salts |= std::uint64_t{header[16 + i]} << (8 * i);
  WalSum sum;
  sum.little_endian = (header[3] & 1) == 0;
  sum.add(ByteView(header).first(24));
  const auto frames = static_cast<std::uint32_t>((wal.size() - wal_header_record_bytes) / slot_bytes);
  Versions uncommitted;  // of the transaction that has no commit so far
  std::size_t lost = 0;
  bool follows = true;
  Frame frame;
  for (std::uint32_t at = 1; at <= frames; ++at) {
    if (!open_frame(at, frame)) {
      ++lost;
      follows = false;
      continue;
    }
    sum.add(ByteView(frame.header).first(8));
    sum.add(frame.page);
    if (follows && !sum.stands_at(frame.header.data() + 16)) break;
    sum.take_from(frame.header.data() + 16);
    follows = true;
    uncommitted[frame.number()] = at;
    if (frame.pages_after_commit() == 0) continue;
    auto& versions = lost == 0 ? recovered : behind;
    for (const auto& [number, newest] : std::exchange(uncommitted, {})) versions[number] = newest;
    if (lost == 0) damage.pages = frame.pages_after_commit();
    damage.frames_lost = lost;
  }
  // A commit of which the end is lost: its writer may have been told that it is durable, so its rows are worth saving.
  behind.merge(uncommitted);
}

bool Salvage::State::open_page(std::uint32_t number, const Versions* newer, Page& out) {
  for (const Versions* versions : {newer, static_cast<const Versions*>(&recovered)}) {
    if (!versions) continue;
    const auto at = versions->find(number);
    if (at == versions->end()) continue;
    Frame frame;
    if (!open_frame(at->second, frame)) continue;
    out = frame.page;
    return true;
  }
  Page record;
  out.fill(0);
  return main.read(record, std::uint64_t{number - 1} * page_bytes) &&
         sealer.open(RecordKind::page, 0, number, record.data(), std::span<std::uint8_t>(out).first(page_plain_bytes));
}

// How many pages there should be is told by the last commit of the WAL, or by page 1, or by the size of the file.
void Salvage::State::count_pages() {
  Page page;
  if (open_page(1, nullptr, page)) {
    version = static_cast<std::uint32_t>(big_endian(page.data() + 60, 4));
    if (damage.pages == 0) damage.pages = static_cast<std::size_t>(big_endian(page.data() + 28, 4));
  }
  const auto in_file = static_cast<std::size_t>((main.size() + page_bytes - 1) / page_bytes);
  if (damage.pages == 0) damage.pages = in_file;
  pages_to_read = std::max(damage.pages, in_file);  // page 1 may be older than the others
  for (std::uint32_t number = 1; number <= damage.pages; ++number)
    if (number != lock_page && !open_page(number, nullptr, page)) ++damage.pages_damaged;
}

// ---- Rows

namespace {

/// SQLite's varint: big-endian, nine bytes at most. 0 bytes if it does not end in time.
std::size_t get_varint(ByteView in, std::uint64_t& out) {
  out = 0;
  for (std::size_t i = 0; i < 9 && i < in.size(); ++i) {
    if (i == 8) return out = out << 8 | in[i], 9;
    out = out << 7 | (in[i] & 0x7f);
    if (in[i] < 0x80) return i + 1;
  }
  return 0;
}

std::int64_t signed_integer(ByteView bytes) {
  std::uint64_t out = bytes[0] & 0x80 ? ~std::uint64_t{0} : 0;
  for (const auto byte : bytes) out = out << 8 | byte;
  return static_cast<std::int64_t>(out);
}

/// One value of a serial type, from the front of `body`; false if it does not fit.
bool take_value(std::uint64_t serial, ByteView& body, SalvagedValue& out) {
  constexpr std::size_t integer_bytes[] = {0, 1, 2, 3, 4, 6, 8};
  using Type = SalvagedValue::Type;
  std::size_t size = 0;
  if (serial >= 12) {
    out.type = serial % 2 == 0 ? Type::blob : Type::text;
    size = static_cast<std::size_t>((serial - 12) / 2);
  } else if (serial >= 1 && serial <= 6) {
    out.type = Type::integer;
    size = integer_bytes[serial];
  } else if (serial == 8 || serial == 9) {
    out.type = Type::integer;
    out.integer = static_cast<std::int64_t>(serial - 8);
  } else if (serial == 7) {
    out.type = Type::other;
    size = 8;
  } else if (serial != 0) {
    return false;
  }
  if (body.size() < size) return false;
  out.bytes = body.first(size);
  if (out.type == Type::integer && size != 0) out.integer = signed_integer(out.bytes);
  body = body.subspan(size);
  return true;
}

bool read_values(ByteView payload, std::vector<SalvagedValue>& out) {
  out.clear();
  std::uint64_t header_size = 0;
  const auto first = get_varint(payload, header_size);
  if (first == 0 || header_size < first || header_size > payload.size()) return false;
  ByteView types = payload.subspan(first, static_cast<std::size_t>(header_size) - first);
  ByteView body = payload.subspan(static_cast<std::size_t>(header_size));
  while (!types.empty()) {
    std::uint64_t serial = 0;
    const auto size = get_varint(types, serial);
    if (size == 0 || out.size() == columns_max || !take_value(serial, body, out.emplace_back())) return false;
    types = types.subspan(size);
  }
  return true;
}

}  // namespace

// The payload of the cell at `at`: what stands in the page, and the rest from its chain of overflow pages.
bool Salvage::State::payload_of(const Page& page, std::size_t at, bool index, const Versions* newer, std::int64_t* n, Bytes& out) {
  ByteView cell = ByteView(page).first(usable);
  if (at >= cell.size()) return false;
  cell = cell.subspan(at);
  std::uint64_t size = 0, row = 0;
  auto used = get_varint(cell, size);
  if (used == 0 || size > std::uint64_t{pages_to_read + behind.size()} * usable) return false;
  cell = cell.subspan(used);
  if (!index) {
    if ((used = get_varint(cell, row)) == 0) return false;
    cell = cell.subspan(used);
  }
  *n = static_cast<std::int64_t>(row);
  const std::uint64_t whole_max = index ? (usable - 12) * 64 / 255 - 23 : usable - 35;
  constexpr std::uint64_t least = (usable - 12) * 32 / 255 - 23;
  const std::uint64_t more = least + (size - std::min(size, least)) % (usable - 4);
  const std::uint64_t local = size <= whole_max ? size : more <= whole_max ? more : least;
  if (cell.size() < local + (local < size ? 4 : 0)) return false;
  out.assign(cell.begin(), cell.begin() + static_cast<std::ptrdiff_t>(local));
  auto next = local < size ? static_cast<std::uint32_t>(big_endian(cell.data() + local, 4)) : 0;
  Page overflow;
  while (out.size() < size) {
    if (next == 0 || !open_page(next, newer, overflow)) return false;
    const auto part = std::min<std::uint64_t>(size - out.size(), usable - 4);
    out.insert(out.end(), overflow.begin() + 4, overflow.begin() + 4 + static_cast<std::ptrdiff_t>(part));
    next = static_cast<std::uint32_t>(big_endian(overflow.data(), 4));
  }
  return true;
}

Status Salvage::State::rows_of(std::uint32_t number, const Versions* newer, const std::function<Status(const SalvagedRow&)>& take) {
  Page page;
  if (number == lock_page || is_pointer_map(number) || !open_page(number, newer, page)) return {};
  const std::size_t header = number == 1 ? 100 : 0;
  const std::uint8_t type = page[header];
  if (type != leaf_table && type != leaf_index && type != interior_index) return {};
  const std::size_t cells = static_cast<std::size_t>(big_endian(page.data() + header + 3, 2));
  const std::size_t pointers = header + (type == interior_index ? 12 : 8);
  if (pointers + 2 * cells > usable) return {};
  Bytes payload;
  std::vector<SalvagedValue> values;
  for (std::size_t i = 0; i < cells; ++i) {
    auto at = static_cast<std::size_t>(big_endian(page.data() + pointers + 2 * i, 2));
    if (type == interior_index) at += 4;  // behind the page on its left
    SalvagedRow row;
    row.numbered = type == leaf_table;
    if (!payload_of(page, at, !row.numbered, newer, &row.n, payload) || !read_values(payload, values)) continue;
    row.values = values;
    DOORSTEP_TRY(take(row));
  }
  return {};
}

// ---- The outside

Salvage::Salvage(std::unique_ptr<State> state) : state_(std::move(state)) {}
Salvage::Salvage(Salvage&&) noexcept = default;
Salvage& Salvage::operator=(Salvage&&) noexcept = default;
Salvage::~Salvage() = default;
const DatabaseDamage& Salvage::damage() const { return state_->damage; }
std::uint32_t Salvage::version() const { return state_->version; }

Result<Salvage> Salvage::open(const StoreDirectory& directory, const DatabaseKey& key, const DatabaseOptions& options, Random& random) {
  sqlite3_vfs* const below = options.below ? options.below : sqlite3_vfs_find(nullptr);
  if (!below) return Error(Code::unsupported, "this build of SQLite has no file layer of its own: pass one in DatabaseOptions::below");
  auto state = std::make_unique<State>(directory, key, below, random);
  state->damage.missing = !state->main.is_open();
  state->read_wal();
  state->count_pages();
  return Salvage(std::move(state));
}

Status Salvage::each_row(const std::function<Status(const SalvagedRow&)>& take, const std::function<void()>& page) {
  for (std::uint32_t number = 1; number <= state_->pages_to_read; ++number) {
    DOORSTEP_TRY(state_->rows_of(number, nullptr, take));
    if (page) page();
  }
  for (const auto& [number, frame] : state_->behind) DOORSTEP_TRY(state_->rows_of(number, &state_->behind, take));
  return {};
}

}  // namespace doorstep
