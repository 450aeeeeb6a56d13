#include "sdk/store/files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sync/lab.hpp"

namespace doorstep {

namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Names of the store's files are no secret; the system's reason is what helps.
Error failed(const char* verb, const std::string& path, int error) {
  const std::string what = std::string("could not ") + verb + " " + path + ": " + std::strerror(error);
  if (error == ENOENT) return Error(Code::not_found, what);
  if (error == ENOSPC || error == EDQUOT) return Error(Code::full, what + ". Free some space and try again");
  return Error(Code::io, what);
}

int open_retrying(const std::string& path, int flags, mode_t mode = 0) {
  int fd;
  do fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  return fd;
}

Status write_all(int fd, const std::string& path, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("write", path, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

// No retry after EINTR or any other error: after a failed fsync the kernel may call lost pages clean.
Status sync(int fd, const std::string& path) {
#ifdef F_FULLFSYNC
  if (::fcntl(fd, F_FULLFSYNC) == 0) return {};
#endif
  if (::fsync(fd) != 0) return failed("sync", path, errno);
  return {};
}

class HeldLock final : public FileLock {
 public:
  explicit HeldLock(int fd) : descriptor_(fd) {}

 private:
  Descriptor descriptor_;
};

class PosixFiles final : public Files {
 public:
  Result<Bytes> read(const std::string& path, std::size_t bytes_max) override {
    const Descriptor file(open_retrying(path, O_RDONLY));
    if (file.get() < 0) return failed("open", path, errno);
    Bytes out(bytes_max + 1);
    std::size_t size = 0;
    while (size < out.size()) {
      const ssize_t got = ::read(file.get(), out.data() + size, out.size() - size);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return failed("read", path, errno);
      if (got == 0) break;
      size += static_cast<std::size_t>(got);
    }
    if (size > bytes_max)
      return Error(Code::too_large, path + " has more than " + std::to_string(bytes_max) + " bytes: it is not one of ours");
    out.resize(size);
    return out;
  }

  Result<std::uint64_t> size(const std::string& path) override {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return failed("look at", path, errno);
    return static_cast<std::uint64_t>(status.st_size);
  }

  Status write_synced(const std::string& path, ByteView bytes) override {
    Descriptor file(open_retrying(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
    if (file.get() < 0) return failed("create", path, errno);
    DOORSTEP_TRY(write_all(file.get(), path, bytes));
    DOORSTEP_TRY(sync(file.get(), path));
    if (::close(file.release()) != 0) return failed("close", path, errno);
    return {};
  }

  Status rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return failed("rename", from, errno);
    return {};
  }

  Status remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed("remove", path, errno);
    return {};
  }

  Status make_directory(const std::string& path) override {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return failed("create", path, errno);
    return {};
  }

  Status sync_directory(const std::string& path) override {
    const Descriptor directory(open_retrying(path, O_RDONLY | O_DIRECTORY));
    if (directory.get() < 0 && errno == EACCES) return {};
    if (directory.get() < 0) return failed("open", path, errno);
    return sync(directory.get(), path);
  }

  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override {
    Descriptor file(open_retrying(path, O_RDWR | O_CREAT, 0600));
    if (file.get() < 0) return failed("open", path, errno);
    int rc;
    do rc = ::flock(file.get(), LOCK_EX | LOCK_NB);
    while (rc != 0 && errno == EINTR);
    if (rc != 0 && errno == EWOULDBLOCK)
      return Error(Code::busy, "another program has this store open (" + path + "): close it there and try again");
    if (rc != 0) return failed("lock", path, errno);
    return std::unique_ptr<FileLock>(std::make_unique<HeldLock>(file.release()));
  }
};

}  // namespace

Files& system_files() {
  static PosixFiles files;
  return files;
}

Status write_atomically(Files& files, const std::string& directory, std::string_view name, ByteView bytes) {
  const std::string path = directory + "/" + std::string(name);
  const std::string temporary = path + ".tmp";
  if (Status written = files.write_synced(temporary, bytes); !written) {
    (void)files.remove(temporary);  // a full disk should not stay full because of us
    return written;
  }
  DOORSTEP_TRY(files.rename(temporary, path));
  if (DOORSTEP_PLANTED(directory_not_synced)) return {};
  return files.sync_directory(directory);
}

Result<std::shared_ptr<StoreDirectory>> StoreDirectory::acquire(std::string path, Files& files) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.empty()) return Error(Code::invalid_argument, "the store's directory has no name: pass a path");
  DOORSTEP_TRY(files.make_directory(path));
  DOORSTEP_ASSIGN(std::unique_ptr<FileLock> lock, files.lock(path + "/lock"));
  return std::shared_ptr<StoreDirectory>(new StoreDirectory(std::move(path), files, std::move(lock)));
}

Status StoreDirectory::sync_name() const {
  if (DOORSTEP_PLANTED(new_store_not_synced)) return {};
  const auto slash = path_.rfind('/');
  return files_->sync_directory(slash == std::string::npos ? "." : path_.substr(0, std::max<std::size_t>(1, slash)));
}

}  // namespace doorstep
