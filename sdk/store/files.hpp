// The few file operations that SQLite's own VFS does not cover: whole small files, renames, directories, one lock.
// Everything that touches the operating system outside SQLite is behind this interface, so that another platform
// (Windows, a browser) or the crash simulator replaces files.cpp and nothing else.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sync/bytes.hpp"

namespace doorstep {

/// Held while it lives; released when destroyed, also by the death of the process.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

class Files {
 public:
  virtual ~Files() = default;
  /// The whole file. Code::not_found; Code::too_large above `bytes_max`; Code::io.
  virtual Result<Bytes> read(const std::string& path, std::size_t bytes_max) = 0;
  /// Code::not_found if it does not exist.
  virtual Result<std::uint64_t> size(const std::string& path) = 0;
  /// Creates or replaces (mode 0600), writes, fsyncs and closes. Not atomic: use it for temporary names.
  virtual Status write_synced(const std::string& path, ByteView bytes) = 0;
  /// Atomic replacement of `to`. Durable after sync_directory.
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  /// Fine if it does not exist. Durable after sync_directory.
  virtual Status remove(const std::string& path) = 0;
  /// Mode 0700. Fine if it exists. Durable after sync_directory of its parent.
  virtual Status make_directory(const std::string& path) = 0;
  /// Nothing, where the directory may not be read (a sandbox around the app's own): only the system can sync that one.
  virtual Status sync_directory(const std::string& path) = 0;
  /// Code::busy if another process (or another holder in this one) has it. The file stays behind, empty.
  virtual Result<std::unique_ptr<FileLock>> lock(const std::string& path) = 0;
};

/// The operating system's files.
Files& system_files();

/// `directory`/`name` holds either the old or the new bytes after a crash at any instruction, and the new ones once this
/// has returned: temporary name, fsync, rename, fsync of the directory.
Status write_atomically(Files& files, const std::string& directory, std::string_view name, ByteView bytes);

/// One store's directory, held by one process. Shared by the vault and the database of that store, and kept while
/// the store is locked (keys dropped), so that nobody else takes it in between.
class StoreDirectory {
 public:
  /// Creates the directory if it is missing (its parent must exist). Code::busy if another process has the store open.
  static Result<std::shared_ptr<StoreDirectory>> acquire(std::string path, Files& files = system_files());

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  Files& files() const { return *files_; }
  /// The directory itself survives a power cut from here on: for whoever puts the first file into it.
  Status sync_name() const;

 private:
  StoreDirectory(std::string path, Files& files, std::unique_ptr<FileLock> lock)
      : path_(std::move(path)), files_(&files), lock_(std::move(lock)) {}

  std::string path_;
  Files* files_;
  std::unique_ptr<FileLock> lock_;
};

}  // namespace doorstep
