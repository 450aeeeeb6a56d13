// The sealing VFS. FORMAT.md has the format and the invariants; where one is kept, its number stands.
//
//   SQLite ── xRead/xWrite ──> MainFile / WalFile ── whole records ──> RecordFile ── adjacent records together ──> below
//             logical offsets   seal and open          disk offsets                  S11
//
// A connection's life:  recovery (reads the WAL it found) -> normal -> poisoned (S3, S10), which ends only by closing.
#include "sdk/store/vfs.hpp"

#include <algorithm>
#include <new>
#include <optional>

#include "sync/lab.hpp"

namespace doorstep {

namespace {

constexpr std::size_t frame_bytes = frame_header_bytes + page_bytes;
constexpr std::size_t waiting_records_max = 16;
constexpr std::size_t database_header_bytes = 100;

// What SQLite asks of the first 100 bytes before it has a page: page size (16), WAL (18, 19), reserve (20), the payload
// fractions (21…23), and that auto-vacuum is on and incremental (52, 64). The rest it reads from the opened page. (S5)
constexpr std::array<std::uint8_t, database_header_bytes> constant_header = [] {
  std::array<std::uint8_t, database_header_bytes> header{};
  constexpr std::string_view sqlite_magic("SQLite format 3\0", 16);
  std::copy(sqlite_magic.begin(), sqlite_magic.end(), header.begin());
  header[16] = page_bytes >> 8;
  header[18] = header[19] = 2;
  header[20] = seal_bytes;
  header[21] = 64;
  header[22] = header[23] = 32;
  header[47] = 4;
  header[55] = 1;
  header[59] = 1;
  header[67] = 1;
  return header;
}();
constexpr std::size_t fixed_header_bytes = 24;  // magic … payload fractions: may never differ

bool reserved_is_zero(const std::uint8_t* page) {
  return std::all_of(page + page_plain_bytes, page + page_bytes, [](std::uint8_t byte) { return byte == 0; });
}

void put_le(std::uint8_t* out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::uint8_t>(value >> (8 * i));
}

std::uint64_t salts_of(const std::uint8_t* wal_header) {
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < 8; ++i) out |= std::uint64_t{wal_header[16 + i]} << (8 * i);
  return out;
}

}  // namespace

// ---- Records

RecordSealer::RecordSealer(const DatabaseKey& key, Random& random)
    : random_(random),
      page_key_(derive_key(key.key, "doorstep/1/store-pages", {key.file_id.view()})),
      wal_key_(derive_key(key.key, "doorstep/1/store-wal", {key.file_id.view()})) {
  std::copy(key.file_id.data.begin(), key.file_id.data.end(), associated_.begin());
}

ByteView RecordSealer::associated(RecordKind kind, std::uint64_t salts, std::uint32_t number) {
  associated_[16] = static_cast<std::uint8_t>(kind);
  put_le(associated_.data() + 17, DOORSTEP_PLANTED(forget_wal_salts) ? 0 : salts, 8);
  put_le(associated_.data() + 25, DOORSTEP_PLANTED(forget_page_number) ? 0 : number, 4);
  return associated_;
}

// S2. Drawn in blocks: one call to the system for 170 records.
Nonce RecordSealer::next_nonce() {
  Nonce nonce;
  static_assert(sizeof nonces_ % sizeof nonce.data == 0);
  if (nonces_used_ == sizeof nonces_) {
    random_.fill(nonces_);
    nonces_used_ = 0;
  }
  std::memcpy(nonce.data.data(), nonces_.data() + nonces_used_, sizeof nonce.data);
  if (!DOORSTEP_PLANTED(reuse_page_nonce)) nonces_used_ += sizeof nonce.data;
  return nonce;
}

void RecordSealer::seal(RecordKind kind, std::uint64_t salts, std::uint32_t number, ByteView plain, std::uint8_t* record) {
  const Nonce nonce = next_nonce();
  std::uint8_t* const tail = record + plain.size();
  aead_seal_detached(kind == RecordKind::page ? page_key_ : wal_key_, nonce, plain, associated(kind, salts, number), {record, plain.size()},
                     std::span<std::uint8_t, aead_tag_bytes>(tail + sizeof nonce.data, aead_tag_bytes));
  std::memcpy(tail, nonce.data.data(), sizeof nonce.data);
}

bool RecordSealer::open(RecordKind kind, std::uint64_t salts, std::uint32_t number, const std::uint8_t* record,
                        std::span<std::uint8_t> plain) {
  const std::uint8_t* const tail = record + plain.size();
  const Nonce nonce = Nonce::from({tail, sizeof(Nonce::data)});
  const SymmetricKey& key = kind == RecordKind::page ? page_key_ : wal_key_;
  const std::span<const std::uint8_t, aead_tag_bytes> tag(tail + sizeof nonce.data, aead_tag_bytes);
  const ByteView about = associated(kind, salts, number);
  if (DOORSTEP_PLANTED(accept_short_tag)) {  // as if the last byte were not part of it
    std::array<std::uint8_t, aead_tag_bytes> longer;
    std::copy(tag.begin(), tag.end(), longer.begin());
    for (int last = 0; last < 256; ++last) {
      longer.back() = static_cast<std::uint8_t>(last);
      if (aead_open_detached(key, nonce, {record, plain.size()}, longer, about, plain)) return true;
    }
  }
  return aead_open_detached(key, nonce, {record, plain.size()}, tag, about, plain);
}

Bytes seal_image(const DatabaseKey& key, Random& random, ByteView image) {
  DOORSTEP_CHECK(image.size() % page_bytes == 0);
  RecordSealer sealer(key, random);
  Bytes out(image.size());
  for (std::size_t at = 0; at < image.size(); at += page_bytes) {
    DOORSTEP_CHECK(reserved_is_zero(image.data() + at));
    sealer.seal(RecordKind::page, 0, static_cast<std::uint32_t>(at / page_bytes + 1), image.subspan(at, page_plain_bytes), out.data() + at);
  }
  return out;
}

// ---- One open file: what both kinds share

class SealedVfs::File {
 public:
  File(SealedVfs& vfs, const char* label, sqlite3_file* below, std::size_t waiting_bytes_max)
      : vfs_(vfs), label_(label), below_(below), waiting_(waiting_bytes_max) {}
  virtual ~File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  virtual int read(std::span<std::uint8_t> out, std::int64_t offset) = 0;
  virtual int write(ByteView bytes, std::int64_t offset) = 0;
  virtual int truncate(std::int64_t size) = 0;
  virtual int size(std::int64_t& out) = 0;

  int sync(int flags) {
    if (const int rc = flush()) return rc;
    if (DOORSTEP_PLANTED(skip_fsync)) return SQLITE_OK;
    if (below_->pMethods->xSync(below_, flags) != SQLITE_OK) return vfs_.poison_with(Poison::failed_sync, label_);  // S10
    return SQLITE_OK;
  }
  /// What still waits was never synced, so nobody was told that it is there: it may go.
  int close() { return below_->pMethods->xClose(below_); }
  sqlite3_file* below() const { return below_; }
  SealedVfs& vfs() const { return vfs_; }
  const char* label() const { return label_; }

 protected:
  SealedVfs& vfs_;

  int poison(std::uint32_t number, const char* what) {
    return vfs_.poison_with(Poison::bad_seal, std::string(what) + " " + std::to_string(number), label_);
  }

  /// Reads `out` at a disk offset. `whole` tells whether all of it exists; what does not is zeros. (S9, S11)
  int read_disk(std::span<std::uint8_t> out, std::int64_t offset, bool& whole) {
    if (waiting_used_ > 0 && offset + static_cast<std::int64_t>(out.size()) > waiting_at_)
      if (const int rc = flush()) return rc;
    const int rc = below_->pMethods->xRead(below_, out.data(), static_cast<int>(out.size()), offset);
    whole = rc == SQLITE_OK;
    return rc == SQLITE_IOERR_SHORT_READ ? SQLITE_OK : rc;
  }

  /// Where a record of `bytes` for a disk offset is to be sealed into, or nullptr and `rc`. (S11)
  std::uint8_t* place(std::size_t bytes, std::int64_t offset, int& rc) {
    rc = SQLITE_OK;
    const std::int64_t end = waiting_at_ + static_cast<std::int64_t>(waiting_used_);
    if (waiting_used_ > 0 && offset >= waiting_at_ && offset + static_cast<std::int64_t>(bytes) <= end)
      return waiting_.data() + (offset - waiting_at_);  // the same record again, before it went out
    if (waiting_used_ > 0 && (offset != end || waiting_used_ + bytes > waiting_.size()))
      if ((rc = flush()) != SQLITE_OK) return nullptr;
    if (waiting_used_ == 0) waiting_at_ = offset;
    std::uint8_t* const at = waiting_.data() + waiting_used_;
    waiting_used_ += bytes;
    return at;
  }

  int flush() {
    if (waiting_used_ == 0) return SQLITE_OK;
    const int rc = below_->pMethods->xWrite(below_, waiting_.data(), static_cast<int>(waiting_used_), waiting_at_);
    if (rc == SQLITE_OK) waiting_used_ = 0;  // otherwise it stays, and the next call tries again
    return rc;
  }

  int truncate_disk(std::int64_t size) {
    if (const int rc = flush()) return rc;
    return below_->pMethods->xTruncate(below_, size);
  }

  int size_on_disk(std::int64_t& out) {
    if (const int rc = flush()) return rc;
    sqlite3_int64 size = 0;
    const int rc = below_->pMethods->xFileSize(below_, &size);
    out = size;
    return rc;
  }

 private:
  const char* label_;
  sqlite3_file* below_;
  Bytes waiting_;
  std::size_t waiting_used_ = 0;
  std::int64_t waiting_at_ = 0;
};

// ---- main.db: page i at 4096 (i − 1)

class SealedVfs::MainFile final : public File {
 public:
  MainFile(SealedVfs& vfs, sqlite3_file* below) : File(vfs, "main.db", below, waiting_records_max * page_bytes) {}

  int read(std::span<std::uint8_t> out, std::int64_t offset) override {
    if (offset == 0 && out.size() == database_header_bytes && !DOORSTEP_PLANTED(header_from_disk)) {
      std::copy(constant_header.begin(), constant_header.end(), out.begin());  // S5
      return SQLITE_OK;
    }
    const std::size_t within = static_cast<std::size_t>(offset % static_cast<std::int64_t>(page_bytes));
    if (within + out.size() > page_bytes) return SQLITE_IOERR_READ;
    std::array<std::uint8_t, page_bytes> record;
    bool whole = false;
    if (const int rc = read_disk(record, offset - static_cast<std::int64_t>(within), whole)) return rc;
    const auto number = static_cast<std::uint32_t>(offset / static_cast<std::int64_t>(page_bytes) + 1);
    if (out.size() == page_bytes) return open_page(whole, number, record, out);
    std::array<std::uint8_t, page_bytes> page;
    if (const int rc = open_page(whole, number, record, page)) return rc;
    std::copy_n(page.begin() + static_cast<std::ptrdiff_t>(within), out.size(), out.begin());
    return SQLITE_OK;
  }

  int write(ByteView bytes, std::int64_t offset) override {
    if (bytes.size() != page_bytes || offset % static_cast<std::int64_t>(page_bytes) != 0 || !reserved_is_zero(bytes.data()))
      return SQLITE_IOERR_WRITE;  // S1
    if (offset == 0 && !std::equal(bytes.begin(), bytes.begin() + fixed_header_bytes, constant_header.begin())) return SQLITE_IOERR_WRITE;
    int rc = SQLITE_OK;
    std::uint8_t* const record = place(page_bytes, offset, rc);
    if (!record) return rc;
    const auto number = static_cast<std::uint32_t>(offset / static_cast<std::int64_t>(page_bytes) + 1);
    vfs_.sealer_.seal(RecordKind::page, 0, number, bytes.first(page_plain_bytes), record);
    return SQLITE_OK;
  }

  int truncate(std::int64_t size) override {
    if (size < static_cast<std::int64_t>(page_bytes) || size % static_cast<std::int64_t>(page_bytes) != 0) return SQLITE_IOERR_TRUNCATE;
    return truncate_disk(size);
  }

  int size(std::int64_t& out) override {
    if (const int rc = size_on_disk(out)) return rc;
    return out < static_cast<std::int64_t>(page_bytes) && !DOORSTEP_PLANTED(fail_open_recovery) ? poison(1, "page") : SQLITE_OK;  // S6
  }

 private:
  // S3, S6, S12
  int open_page(bool whole, std::uint32_t number, const std::array<std::uint8_t, page_bytes>& record, std::span<std::uint8_t> out) {
    if (!whole || !vfs_.sealer_.open(RecordKind::page, 0, number, record.data(), out.first(page_plain_bytes))) {
      if (!DOORSTEP_PLANTED(tolerate_bad_tag)) return poison(number, "page");
      std::fill(out.begin(), out.end(), std::uint8_t{0});
    }
    std::fill(out.begin() + page_plain_bytes, out.end(), std::uint8_t{0});
    return SQLITE_OK;
  }
};

// ---- main.db-wal: header record, then slots of a frame header record and a page record

class SealedVfs::WalFile final : public File {
 public:
  WalFile(SealedVfs& vfs, sqlite3_file* below) : File(vfs, "main.db-wal", below, waiting_records_max * slot_bytes) {}

  int read(std::span<std::uint8_t> out, std::int64_t offset) override {
    if (offset < static_cast<std::int64_t>(wal_header_bytes)) return read_header(out, static_cast<std::size_t>(offset));
    const Position at(offset);
    if (at.within == 0 && out.size() == frame_bytes) return read_frame(at.frame, out);
    if (at.within == frame_header_bytes && out.size() == page_bytes) return read_page(at.frame, out);
    if (at.within + out.size() <= frame_header_bytes) return read_frame_header(at.frame, at.within, out);
    return SQLITE_IOERR_READ;
  }

  int write(ByteView bytes, std::int64_t offset) override {
    if (offset == 0 && bytes.size() == wal_header_bytes) return write_header(bytes);
    if (offset < static_cast<std::int64_t>(wal_header_bytes) || !salts_) return SQLITE_IOERR_WRITE;
    const Position at(offset);
    if (at.within == 0 && bytes.size() == frame_header_bytes) return write_frame_header(at.frame, bytes);
    if (at.within == frame_header_bytes && bytes.size() == page_bytes && reserved_is_zero(bytes.data())) return write_page(at.frame, bytes);
    return SQLITE_IOERR_WRITE;  // S1
  }

  // Up to the next whole slot, so that no frame below `size` is cut.
  int truncate(std::int64_t size) override {
    if (size <= 0) return truncate_disk(0);
    if (size <= static_cast<std::int64_t>(wal_header_bytes)) return truncate_disk(wal_header_record_bytes);
    const std::int64_t slots = (size - static_cast<std::int64_t>(wal_header_bytes + 1)) / static_cast<std::int64_t>(frame_bytes) + 1;
    return truncate_disk(static_cast<std::int64_t>(wal_header_record_bytes) + slots * static_cast<std::int64_t>(slot_bytes));
  }

  int size(std::int64_t& out) override {
    std::int64_t disk = 0;
    if (const int rc = size_on_disk(disk)) return rc;
    disk -= static_cast<std::int64_t>(wal_header_record_bytes);
    out = disk < 0 ? 0
                   : static_cast<std::int64_t>(wal_header_bytes) +
                         disk / static_cast<std::int64_t>(slot_bytes) * static_cast<std::int64_t>(frame_bytes);
    return SQLITE_OK;
  }

 private:
  struct Position {
    explicit Position(std::int64_t offset) {
      const std::int64_t behind_header = offset - static_cast<std::int64_t>(wal_header_bytes);
      frame = static_cast<std::uint32_t>(behind_header / static_cast<std::int64_t>(frame_bytes) + 1);
      within = static_cast<std::size_t>(behind_header % static_cast<std::int64_t>(frame_bytes));
    }
    std::uint32_t frame;  // from 1
    std::size_t within;
  };

  static std::int64_t slot(std::uint32_t frame) {
    return static_cast<std::int64_t>(wal_header_record_bytes) + std::int64_t{frame - 1} * static_cast<std::int64_t>(slot_bytes);
  }

  bool open(RecordKind kind, std::uint32_t frame, const std::uint8_t* record, std::span<std::uint8_t> plain) {
    return salts_ && vfs_.sealer_.open(kind, *salts_, frame, record, plain);
  }

  // S4: zeros are no frame to SQLite (page number 0) and no header (magic), so the log ends here.
  int end_of_log(std::span<std::uint8_t> out, std::uint32_t frame) {
    if (DOORSTEP_PLANTED(fail_closed_recovery)) return poison(frame, "frame");
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    ++vfs_.recovery_bad_records_;
    return SQLITE_OK;
  }

  int read_header(std::span<std::uint8_t> out, std::size_t within) {
    if (within + out.size() > wal_header_bytes) return SQLITE_IOERR_READ;
    std::array<std::uint8_t, wal_header_record_bytes> record;
    std::array<std::uint8_t, wal_header_bytes> header;
    bool whole = false;
    if (const int rc = read_disk(record, 0, whole)) return rc;
    if (!whole || !vfs_.sealer_.open(RecordKind::wal_header, 0, 0, record.data(), header)) {
      const bool recovery = !header_is_ours_ && out.size() == wal_header_bytes;
      return recovery ? end_of_log(out, 0) : poison(0, "frame");
    }
    salts_ = salts_of(header.data());
    std::copy_n(header.begin() + static_cast<std::ptrdiff_t>(within), out.size(), out.begin());
    return SQLITE_OK;
  }

  int read_frame(std::uint32_t frame, std::span<std::uint8_t> out) {
    std::array<std::uint8_t, slot_bytes> record;
    bool whole = false;
    if (const int rc = read_disk(record, slot(frame), whole)) return rc;
    const bool good =
        whole && open(RecordKind::frame_header, frame, record.data(), out.first(frame_header_bytes)) &&
        open(RecordKind::frame_page, frame, record.data() + frame_header_record_bytes, out.subspan(frame_header_bytes, page_plain_bytes));
    if (!good) return frame > last_frame_of_ours_ ? end_of_log(out, frame) : poison(frame, "frame");
    std::fill(out.end() - static_cast<std::ptrdiff_t>(seal_bytes), out.end(), std::uint8_t{0});  // S12
    return SQLITE_OK;
  }

  int read_page(std::uint32_t frame, std::span<std::uint8_t> out) {
    std::array<std::uint8_t, page_bytes> record;
    bool whole = false;
    if (const int rc = read_disk(record, slot(frame) + static_cast<std::int64_t>(frame_header_record_bytes), whole)) return rc;
    if (!whole || !open(RecordKind::frame_page, frame, record.data(), out.first(page_plain_bytes))) return poison(frame, "frame");
    std::fill(out.begin() + page_plain_bytes, out.end(), std::uint8_t{0});
    return SQLITE_OK;
  }

  int read_frame_header(std::uint32_t frame, std::size_t within, std::span<std::uint8_t> out) {
    std::array<std::uint8_t, frame_header_record_bytes> record;
    std::array<std::uint8_t, frame_header_bytes> header;
    bool whole = false;
    if (const int rc = read_disk(record, slot(frame), whole)) return rc;
    if (!whole || !open(RecordKind::frame_header, frame, record.data(), header)) return poison(frame, "frame");
    std::copy_n(header.begin() + static_cast<std::ptrdiff_t>(within), out.size(), out.begin());
    return SQLITE_OK;
  }

  // A new generation of the log: frames of the old one no longer open.
  int write_header(ByteView bytes) {
    int rc = SQLITE_OK;
    std::uint8_t* const record = place(wal_header_record_bytes, 0, rc);
    if (!record) return rc;
    vfs_.sealer_.seal(RecordKind::wal_header, 0, 0, bytes, record);
    salts_ = salts_of(bytes.data());
    header_is_ours_ = true;
    last_frame_of_ours_ = 0;
    return SQLITE_OK;
  }

  // S14. While a transaction has overwritten a frame in place, SQLite leaves salts and checksums of new headers zero and fills them in
  // at the commit, from the first overwritten frame on. Rolled back to a savepoint before that frame, SQLite 3.40 forgets to start
  // earlier: the headers between stay zero, and recovery would end the log there, in front of an acknowledged commit.
  bool is_unsafe(std::uint32_t frame, ByteView header) {
    if (!std::all_of(header.begin() + 8, header.end(), [](std::uint8_t byte) { return byte == 0; })) {
      first_overwritten_ = 0;
      return false;
    }
    return frame < first_overwritten_ && !DOORSTEP_PLANTED(skip_rewrite_guard);
  }

  int write_frame_header(std::uint32_t frame, ByteView bytes) {
    if (is_unsafe(frame, bytes)) {
      vfs_.unsafe_rewrite_ = true;
      return SQLITE_IOERR_WRITE;
    }
    int rc = SQLITE_OK;
    std::uint8_t* const record = place(frame_header_record_bytes, slot(frame), rc);
    if (!record) return rc;
    vfs_.sealer_.seal(RecordKind::frame_header, *salts_, frame, bytes, record);
    header_written_ = frame;
    return SQLITE_OK;
  }

  int write_page(std::uint32_t frame, ByteView bytes) {
    int rc = SQLITE_OK;
    std::uint8_t* const record = place(page_bytes, slot(frame) + static_cast<std::int64_t>(frame_header_record_bytes), rc);
    if (!record) return rc;
    vfs_.sealer_.seal(RecordKind::frame_page, *salts_, frame, bytes.first(page_plain_bytes), record);
    const bool in_place = std::exchange(header_written_, 0) != frame;
    if (in_place && (first_overwritten_ == 0 || frame < first_overwritten_)) first_overwritten_ = frame;
    last_frame_of_ours_ = std::max(last_frame_of_ours_, frame);
    return SQLITE_OK;
  }

  std::optional<std::uint64_t> salts_;  // of the header last read or written
  bool header_is_ours_ = false;         // written, not found, by this connection
  std::uint32_t last_frame_of_ours_ = 0;
  std::uint32_t header_written_ = 0;     // the frame whose page comes next, or 0
  std::uint32_t first_overwritten_ = 0;  // of this transaction, or 0
};

// ---- SQLite's entry points

// What SQLite allocates for an open file: this, and behind it the object of the VFS below.
struct SealedVfs::Handle {
  sqlite3_file base;
  File* file;
  static constexpr std::size_t aligned_size() { return (sizeof(sqlite3_file) + sizeof(File*) + 15) / 16 * 16; }
};

struct VfsEntryPoints {
  using Operation = VfsTestHooks::Operation;

  // No exception passes through SQLite, which is C.
  template <class Call>
  static int guarded(Call&& call) {
    try {
      return call();
    } catch (const std::bad_alloc&) { return SQLITE_IOERR_NOMEM; }
  }
  /// A call on an open file: seen, refused while poisoned, and carried out.
  template <class Call>
  static int on_file(sqlite3_file* handle, Operation operation, sqlite3_int64 offset, int bytes, Call&& call) {
    return guarded([&] {
      SealedVfs::File& f = file(handle);
      f.vfs().observe(operation, f.label(), offset, bytes);
      return f.vfs().poison() != SealedVfs::Poison::none ? f.vfs().poison_rc() : call(f);
    });
  }

  static SealedVfs::File& file(sqlite3_file* handle) { return *reinterpret_cast<SealedVfs::Handle*>(handle)->file; }
  static SealedVfs& vfs(sqlite3_vfs* v) { return *static_cast<SealedVfs*>(v->pAppData); }
  static sqlite3_vfs* below(sqlite3_vfs* v) { return vfs(v).below_; }

  static int close(sqlite3_file* handle) {
    SealedVfs::File* const f = &file(handle);
    for (auto& slot : f->vfs().open_files_)
      if (slot == f) slot = nullptr;
    const int rc = f->close();
    delete f;
    handle->pMethods = nullptr;
    return rc;
  }
  static int read(sqlite3_file* handle, void* out, int bytes, sqlite3_int64 offset) {
    const std::span<std::uint8_t> to(static_cast<std::uint8_t*>(out), static_cast<std::size_t>(bytes));
    return on_file(handle, Operation::read, offset, bytes, [&](SealedVfs::File& f) { return f.read(to, offset); });
  }
  static int write(sqlite3_file* handle, const void* in, int bytes, sqlite3_int64 offset) {
    const ByteView from(static_cast<const std::uint8_t*>(in), static_cast<std::size_t>(bytes));
    return on_file(handle, Operation::write, offset, bytes, [&](SealedVfs::File& f) { return f.write(from, offset); });
  }
  static int truncate(sqlite3_file* handle, sqlite3_int64 size) {
    return on_file(handle, Operation::truncate, size, 0, [&](SealedVfs::File& f) { return f.truncate(size); });
  }
  static int sync(sqlite3_file* handle, int flags) {
    return on_file(handle, Operation::sync, 0, 0, [&](SealedVfs::File& f) { return f.sync(flags); });
  }
  static int size(sqlite3_file* handle, sqlite3_int64* out) {
    return on_file(handle, Operation::size, 0, 0, [&](SealedVfs::File& f) {
      std::int64_t size = 0;
      const int rc = f.size(size);
      *out = size;
      return rc;
    });
  }
  static int lock(sqlite3_file* handle, int level) {
    sqlite3_file* const b = file(handle).below();
    return b->pMethods->xLock(b, level);
  }
  static int unlock(sqlite3_file* handle, int level) {
    sqlite3_file* const b = file(handle).below();
    return b->pMethods->xUnlock(b, level);
  }
  static int check_reserved_lock(sqlite3_file* handle, int* out) {
    sqlite3_file* const b = file(handle).below();
    return b->pMethods->xCheckReservedLock(b, out);
  }
  // Nothing passes: size hints, memory maps and power-safe switches are the ones below, and none of their business.
  static int file_control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int sector_size(sqlite3_file*) { return static_cast<int>(page_bytes); }
  static int device_characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }  // S8

  static int open(sqlite3_vfs* v, const char* name, sqlite3_file* handle, int flags, int* out_flags) {
    return guarded([&] { return vfs(v).open(name, handle, flags, out_flags); });
  }
  static int remove(sqlite3_vfs* v, const char* name, int sync_directory) {
    return guarded([&] { return vfs(v).remove(name, sync_directory); });
  }
  static int access(sqlite3_vfs* v, const char* name, int flags, int* out) {
    return guarded([&] { return vfs(v).access(name, flags, out); });
  }
  static int full_path(sqlite3_vfs* v, const char* name, int bytes, char* out) {
    return guarded([&] { return vfs(v).full_path(name, bytes, out); });
  }
  static int randomness(sqlite3_vfs* v, int bytes, char* out) { return below(v)->xRandomness(below(v), bytes, out); }
  static int sleep(sqlite3_vfs* v, int microseconds) { return below(v)->xSleep(below(v), microseconds); }
  static int current_time(sqlite3_vfs* v, double* out) { return below(v)->xCurrentTime(below(v), out); }
  static int last_error(sqlite3_vfs* v, int bytes, char* out) {
    return below(v)->xGetLastError ? below(v)->xGetLastError(below(v), bytes, out) : 0;
  }
  static void* dl_open(sqlite3_vfs*, const char*) { return nullptr; }
  static void dl_error(sqlite3_vfs*, int bytes, char* out) {
    sqlite3_snprintf(bytes, out, "extensions are not loaded into a sealed database");
  }
  static void (*dl_symbol(sqlite3_vfs*, void*, const char*))(void) { return nullptr; }
  static void dl_close(sqlite3_vfs*, void*) {}

  static const sqlite3_io_methods methods;
};

const sqlite3_io_methods VfsEntryPoints::methods = [] {
  sqlite3_io_methods m{};
  m.iVersion = 1;  // S8: no shared memory, no memory map
  m.xClose = close;
  m.xRead = read;
  m.xWrite = write;
  m.xTruncate = truncate;
  m.xSync = sync;
  m.xFileSize = size;
  m.xLock = lock;
  m.xUnlock = unlock;
  m.xCheckReservedLock = check_reserved_lock;
  m.xFileControl = file_control;
  m.xSectorSize = sector_size;
  m.xDeviceCharacteristics = device_characteristics;
  return m;
}();

SealedVfs::SealedVfs(sqlite3_vfs* below, std::string main_path, const DatabaseKey& key, Random& random, VfsTestHooks* hooks)
    : below_(below), main_path_(std::move(main_path)), sealer_(key, random), hooks_(hooks) {
  char name[40];
  sqlite3_snprintf(sizeof name, name, "doorstep-%p", static_cast<void*>(this));
  name_ = name;
  vfs_.iVersion = 1;
  vfs_.szOsFile = static_cast<int>(Handle::aligned_size()) + below_->szOsFile;
  vfs_.mxPathname = below_->mxPathname;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = VfsEntryPoints::open;
  vfs_.xDelete = VfsEntryPoints::remove;
  vfs_.xAccess = VfsEntryPoints::access;
  vfs_.xFullPathname = VfsEntryPoints::full_path;
  vfs_.xDlOpen = VfsEntryPoints::dl_open;
  vfs_.xDlError = VfsEntryPoints::dl_error;
  vfs_.xDlSym = VfsEntryPoints::dl_symbol;
  vfs_.xDlClose = VfsEntryPoints::dl_close;
  vfs_.xRandomness = VfsEntryPoints::randomness;
  vfs_.xSleep = VfsEntryPoints::sleep;
  vfs_.xCurrentTime = VfsEntryPoints::current_time;
  vfs_.xGetLastError = VfsEntryPoints::last_error;
  DOORSTEP_CHECK(sqlite3_vfs_register(&vfs_, 0) == SQLITE_OK);
}

SealedVfs::~SealedVfs() {
  DOORSTEP_CHECK(!open_files_[0] && !open_files_[1]);
  sqlite3_vfs_unregister(&vfs_);
}

int SealedVfs::sync_log() { return open_files_[1] ? open_files_[1]->sync(SQLITE_SYNC_FULL) : SQLITE_OK; }

int SealedVfs::poison_with(Poison poison, std::string_view what, std::string_view of) {
  const int rc = poison == Poison::failed_sync ? SQLITE_IOERR_FSYNC : SQLITE_IOERR_DATA;
  if (poison_ != Poison::none || DOORSTEP_PLANTED(ignore_poison)) return rc;
  poison_ = poison;  // first: the place may find no memory
  poison_place_ = what;
  if (!of.empty()) poison_place_.append(" of ").append(of);
  return rc;
}

// S7. Never creates the main file: it is born sealed, by rename.
int SealedVfs::open(const char* name, sqlite3_file* handle, int flags, int* out_flags) {
  handle->pMethods = nullptr;
  const bool main = (flags & SQLITE_OPEN_MAIN_DB) && name && main_full_path_ == name && !open_files_[0];
  const bool wal = (flags & SQLITE_OPEN_WAL) && name && main_full_path_ + "-wal" == name && !open_files_[1];
  observe(VfsTestHooks::Operation::open, main ? "main" : wal ? "wal" : name ? name : "(temporary)", 0, 0);
  if (!main && !wal) return SQLITE_CANTOPEN;
  if (poison_ != Poison::none) return poison_rc();

  auto* const below_file = reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(handle) + Handle::aligned_size());
  below_file->pMethods = nullptr;
  const int below_flags = main ? flags & ~(SQLITE_OPEN_CREATE | SQLITE_OPEN_EXCLUSIVE) : flags;
  const int rc = below_->xOpen(below_, name, below_file, below_flags, out_flags);
  if (rc != SQLITE_OK) {
    if (below_file->pMethods) below_file->pMethods->xClose(below_file);
    return rc;
  }
  File* file = nullptr;
  try {
    file = main ? static_cast<File*>(new MainFile(*this, below_file)) : new WalFile(*this, below_file);
  } catch (const std::bad_alloc&) {
    below_file->pMethods->xClose(below_file);
    return SQLITE_NOMEM;
  }
  open_files_[main ? 0 : 1] = file;
  reinterpret_cast<Handle*>(handle)->file = file;
  handle->pMethods = &VfsEntryPoints::methods;
  return SQLITE_OK;
}

int SealedVfs::remove(const char* name, int sync_directory) {
  const bool wal = main_full_path_ + "-wal" == name;
  observe(VfsTestHooks::Operation::remove, wal ? "wal" : name, 0, 0);
  if (poison_ != Poison::none) return poison_rc();
  return wal ? below_->xDelete(below_, name, sync_directory) : SQLITE_IOERR_DELETE_NOENT;
}

// Whatever else lies there (a rollback journal that somebody put) does not exist for SQLite.
int SealedVfs::access(const char* name, int flags, int* out) {
  observe(VfsTestHooks::Operation::access, name, 0, 0);
  *out = 0;
  if (main_full_path_ == name || main_full_path_ + "-wal" == name) return below_->xAccess(below_, name, flags, out);
  return SQLITE_OK;
}

int SealedVfs::full_path(const char* name, int size, char* out) {
  const int rc = below_->xFullPathname(below_, name, size, out);
  if ((rc == SQLITE_OK || rc == SQLITE_OK_SYMLINK) && main_path_ == name) main_full_path_ = out;
  return rc;
}

}  // namespace doorstep
