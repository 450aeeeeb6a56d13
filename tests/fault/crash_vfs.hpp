// A disk in memory, for everything below the sealing VFS: SQLite's VFS and Files on the same simulated disk.
//
// It writes down every operation that changes it. From that record, CrashWalk makes the disk that a power cut after the first n
// operations could have left:
//   - a file's bytes up to its last fsync are there;
//   - each write and truncation behind it is kept, lost, torn or garbled, in any mixture (Damage);
//   - names (create, rename, remove; of a directory too) are there once their directory was synced, otherwise each is kept or lost;
//   - bytes that nobody wrote do not change;
//   - what waited at a failed fsync is never on the disk, although the process goes on seeing it (ext4 after ATC'20).
// It can also fail the n-th call, once or from then on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <sqlite3.h>

#include "sdk/store/files.hpp"

namespace doorstep::fault {

/// While the disk itself is at work, memory does not fail (failing_heap.hpp): it is the laboratory's, not the product's.
class AtWork {
 public:
  AtWork() : before_(std::exchange(now_, true)) {}
  ~AtWork() { now_ = before_; }
  AtWork(const AtWork&) = delete;
  AtWork& operator=(const AtWork&) = delete;
  static bool now() { return now_; }

 private:
  static inline thread_local bool now_ = false;
  bool before_;
};

/// Not for secrets: the same numbers on every machine from the same seed.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 1) {}
  std::uint64_t next();
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  bool chance(unsigned percent) { return below(100) < percent; }

 private:
  std::uint64_t state_;
};

using Image = std::map<std::string, Bytes>;  ///< Path to content: a disk at rest.

struct Event {
  enum class Kind { create, write, truncate, sync, failed_sync, rename, remove, sync_directory };
  Kind kind;
  int file = -1;         // inode, for create, write, truncate, sync
  std::string name, to;  // for create, rename, remove, sync_directory; a directory is created as no file
  std::int64_t offset = 0;
  Bytes bytes;
};

/// How a power cut treats what was not synced. "Sector": 512 bytes of a write, which the disk keeps or loses by itself.
enum class Damage : std::uint8_t {
  all_lost,           ///< Nothing of it arrived.
  all_kept,           ///< Everything arrived: the cut came between the writing and the word that it is durable.
  prefix_torn,        ///< In order up to some write, and that one in part.
  suffix_kept,        ///< The last writes arrived, earlier ones did not.
  alternate_kept,     ///< Every second write.
  some_kept,          ///< Each by the throw of a coin.
  reordered,          ///< All arrived, in another order: where two overlap, the older one may win.
  sectors_kept,       ///< Each sector by itself.
  sectors_garbled,    ///< Each sector new, old or noise.
  sectors_zeroed,     ///< Each sector new, old or zeros (allocated, never written).
  sectors_misplaced,  ///< Some sectors hold what belongs into another sector of the same write.
  halves_old,         ///< The first half of each write arrived, the second is what stood there before.
  bits_flipped,       ///< All arrived, one bit of each write wrong.
  size_without_data,  ///< The file's size arrived, the bytes did not.
  truncations_only,   ///< Files were cut, nothing was written.
  writes_only,        ///< The reverse.
  names_only,         ///< Files were made, renamed and removed; what was written into them is lost.
  contents_only,      ///< The reverse: the directory is as it was synced last.
  mixed,              ///< For each operation another one of the above.
};
inline constexpr int damage_kinds = static_cast<int>(Damage::mixed) + 1;
const char* damage_name(Damage damage);

struct Fault {
  enum class Kind { none, eio, enospc, short_write, fsync_eio };
  Kind kind = Kind::none;
  std::uint64_t at_call = 0;  ///< Of the calls that this kind can hit, from 1.
  bool sticky = false;
};

class SimulatedDisk final : public Files {
 public:
  explicit SimulatedDisk(const Image& image = {});
  ~SimulatedDisk() override;
  SimulatedDisk(const SimulatedDisk&) = delete;
  SimulatedDisk& operator=(const SimulatedDisk&) = delete;

  sqlite3_vfs* vfs() { return &vfs_; }
  const std::vector<Event>& events() const { return events_; }
  Image image() const;  ///< As a running process sees it.
  /// A file's bytes as they lie there, for whoever changes them behind a running process.
  Bytes& raw(const std::string& path) { return content(names_.at(path)); }
  void arm(Fault fault);
  std::uint64_t calls_hit_by_fault() const { return fault_calls_; }
  /// The power goes at the n-th call from now that would change the disk (0: now): nothing happens any more, and every call fails.
  void die_at_call(std::uint64_t n) {
    dies_in_ = n;
    dead_ = n == 0;
  }
  bool dead() const { return dead_; }
  /// Events when the first call failed.
  std::size_t events_at_fault() const { return events_at_fault_; }

  Result<Bytes> read(const std::string& path, std::size_t bytes_max) override;
  Result<std::uint64_t> size(const std::string& path) override;
  Status write_synced(const std::string& path, ByteView bytes) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status make_directory(const std::string& path) override;
  Status sync_directory(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override;

 private:
  friend struct DiskEntryPoints;
  bool fails(Event::Kind kind);
  bool read_fails();
  int create(const std::string& name);
  std::string name_of(int file) const;
  Bytes& content(int file) { return contents_[static_cast<std::size_t>(file)]; }
  void apply_write(int file, std::int64_t offset, ByteView bytes);

  sqlite3_vfs vfs_{};
  std::string vfs_name_;
  std::map<std::string, int> names_;
  std::set<std::string> directories_;
  std::vector<Bytes> contents_;
  struct SharedMemory {  // a WAL's index: gone with the last who uses it
    std::vector<std::unique_ptr<std::uint8_t[]>> regions;
    int users = 0;
  };
  std::map<int, SharedMemory> shared_;  // by inode
  std::vector<Event> events_;
  Fault fault_;
  bool fault_now();
  std::uint64_t fault_calls_ = 0;
  std::uint64_t dies_in_ = 0;
  bool dead_ = false;
  std::size_t events_at_fault_ = SIZE_MAX;
};

/// Walks along a record of events and makes crash images at each point.
class CrashWalk {
 public:
  CrashWalk(const Image& start, const std::vector<Event>& events);
  /// Moves to "a power cut after the first `count` events". Only forwards.
  void advance_to(std::size_t count);
  Image image(Damage damage, std::uint64_t seed) const;
  /// True if a power cut now could lose something; if not, all kinds of damage leave the same disk.
  bool at_risk() const;

 private:
  struct File {
    Bytes durable;
    std::vector<const Event*> pending;
  };
  const std::vector<Event>& events_;
  std::size_t at_ = 0;
  std::map<std::string, int> durable_names_;
  std::vector<const Event*> pending_names_;
  std::map<int, File> files_;
  std::set<std::string> made_;  // directories
};

}  // namespace doorstep::fault
