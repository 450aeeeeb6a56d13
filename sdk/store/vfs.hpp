// The sealing VFS: SQLite above it sees an ordinary database in WAL mode, the disk below it sees only sealed records.
// FORMAT.md has the bytes and the invariants S1…S14 that vfs.cpp names.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <sqlite3.h>

#include "sdk/store/database.hpp"
#include "sync/crypto.hpp"

namespace doorstep {

inline constexpr std::size_t page_bytes = 4096;
inline constexpr std::size_t seal_bytes = sizeof(Nonce::data) + aead_tag_bytes;  ///< Also SQLite's "reserved bytes".
inline constexpr std::size_t page_plain_bytes = page_bytes - seal_bytes;
static_assert(seal_bytes == 40);

/// What an associated-data string says a record is.
enum class RecordKind : std::uint8_t { page = 'D', wal_header = 'H', frame_header = 'F', frame_page = 'P' };

/// Seals and opens records. Nothing is allocated after construction.
class RecordSealer {
 public:
  RecordSealer(const DatabaseKey& key, Random& random);
  /// `record` gets plain.size() + seal_bytes: ciphertext ‖ nonce ‖ tag.
  void seal(RecordKind kind, std::uint64_t salts, std::uint32_t number, ByteView plain, std::uint8_t* record);
  /// False, and `plain` is worth nothing, if the seal does not hold. `record` has plain.size() + seal_bytes.
  [[nodiscard]] bool open(RecordKind kind, std::uint64_t salts, std::uint32_t number, const std::uint8_t* record,
                          std::span<std::uint8_t> plain);

 private:
  static constexpr std::size_t associated_bytes = 16 + 1 + 8 + 4;
  ByteView associated(RecordKind kind, std::uint64_t salts, std::uint32_t number);
  Nonce next_nonce();

  Random& random_;
  SymmetricKey page_key_;
  SymmetricKey wal_key_;
  std::array<std::uint8_t, associated_bytes> associated_{};
  std::array<std::uint8_t, 4080> nonces_{};  // 170 nonces, drawn together
  std::size_t nonces_used_ = sizeof nonces_;
};

/// A database image (whole SQLite pages with 40 reserved bytes) as the bytes of a sealed main.db.
Bytes seal_image(const DatabaseKey& key, Random& random, ByteView image);

/// Only for tests: sees every call.
class VfsTestHooks {
 public:
  enum class Operation { open, remove, access, read, write, truncate, sync, size };
  virtual ~VfsTestHooks() = default;
  /// `file`: "main", "wal", or the refused name.
  virtual void on_call(Operation, std::string_view file, std::int64_t offset, std::int64_t bytes) = 0;
};

/// One registered VFS for one database file. Must outlive the connection that uses it.
class SealedVfs {
 public:
  enum class Poison { none, bad_seal, failed_sync };

  /// `main_path` as it will be given to sqlite3_open_v2. Nothing is opened yet.
  SealedVfs(sqlite3_vfs* below, std::string main_path, const DatabaseKey& key, Random& random, VfsTestHooks* hooks = nullptr);
  ~SealedVfs();
  SealedVfs(const SealedVfs&) = delete;
  SealedVfs& operator=(const SealedVfs&) = delete;

  const char* name() const { return name_.c_str(); }
  Poison poison() const { return poison_; }
  /// "page 7 of main.db"; empty while not poisoned.
  const std::string& poison_place() const { return poison_place_; }
  std::uint64_t recovery_bad_records() const { return recovery_bad_records_; }
  /// S13: so that a log that was cut stays cut.
  int sync_log();
  /// True once after S14 refused a write.
  bool take_unsafe_rewrite() { return std::exchange(unsafe_rewrite_, false); }

 private:
  class File;
  class MainFile;
  class WalFile;
  struct Handle;
  friend struct VfsEntryPoints;

  int open(const char* name, sqlite3_file* file, int flags, int* out_flags);
  int remove(const char* name, int sync_directory);
  int access(const char* name, int flags, int* out);
  int full_path(const char* name, int size, char* out);
  void observe(VfsTestHooks::Operation operation, std::string_view file, std::int64_t offset, std::int64_t bytes) {
    if (hooks_) hooks_->on_call(operation, file, offset, bytes);
  }
  int poison_with(Poison poison, std::string_view what, std::string_view of = {});
  int poison_rc() const { return poison_ == Poison::failed_sync ? SQLITE_IOERR_FSYNC : SQLITE_IOERR_DATA; }

  sqlite3_vfs vfs_{};
  sqlite3_vfs* below_;
  std::string name_;
  std::string main_path_;       // as given
  std::string main_full_path_;  // as SQLite opens it; from full_path()
  RecordSealer sealer_;
  VfsTestHooks* hooks_;
  File* open_files_[2] = {};  // main, WAL: each at most once
  Poison poison_ = Poison::none;
  std::string poison_place_;
  std::uint64_t recovery_bad_records_ = 0;
  bool unsafe_rewrite_ = false;
};

}  // namespace doorstep
