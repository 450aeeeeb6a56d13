#include "tests/fault/crash_vfs.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace doorstep::fault {

const char* damage_name(Damage damage) {
  static constexpr std::array<const char*, damage_kinds> names = {
      "all lost",         "all kept",        "prefix torn",    "suffix kept",       "alternate kept", "some kept",    "reordered",
      "sectors kept",     "sectors garbled", "sectors zeroed", "sectors misplaced", "halves old",     "bits flipped", "size without data",
      "truncations only", "writes only",     "names only",     "contents only",     "mixed"};
  return names[static_cast<std::size_t>(damage)];
}

namespace {
constexpr std::int64_t sector_bytes = 512;

void write_into(Bytes& content, std::int64_t offset, ByteView bytes) {
  const auto end = static_cast<std::size_t>(offset) + bytes.size();
  if (content.size() < end) content.resize(end);
  std::copy(bytes.begin(), bytes.end(), content.begin() + offset);
}

std::string parent_of(const std::string& path) { return path.substr(0, std::max<std::size_t>(1, path.rfind('/'))); }
}  // namespace

std::uint64_t Dice::next() {  // splitmix64
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// ---- SQLite's side

struct DiskHandle {
  sqlite3_file base;
  SimulatedDisk* disk;
  int file;
  bool directory_unsynced;  // a new file: its first sync also syncs the directory, as the Unix VFS does
  bool maps;                // has asked for the WAL's index
};

struct DiskEntryPoints {
  using Kind = Event::Kind;
  static SimulatedDisk& disk(sqlite3_vfs* vfs) { return *static_cast<SimulatedDisk*>(vfs->pAppData); }
  static DiskHandle& handle(sqlite3_file* file) { return *reinterpret_cast<DiskHandle*>(file); }

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    const AtWork at_work;
    SimulatedDisk& d = disk(vfs);
    file->pMethods = nullptr;
    if (!name) return SQLITE_CANTOPEN;  // a temporary file: must never be asked for
    const auto found = d.names_.find(name);
    const bool exists = found != d.names_.end();
    if (!exists && !(flags & SQLITE_OPEN_CREATE)) return SQLITE_CANTOPEN;
    if (!exists && d.fails(Kind::create)) return SQLITE_CANTOPEN;
    DiskHandle& h = handle(file);
    h.disk = &d;
    h.file = exists ? found->second : d.create(name);
    h.directory_unsynced = !exists;
    h.maps = false;
    h.base.pMethods = &methods;
    if (out_flags) *out_flags = flags;
    return SQLITE_OK;
  }
  static int close(sqlite3_file*) { return SQLITE_OK; }
  static int read(sqlite3_file* file, void* out, int bytes, sqlite3_int64 offset) {
    DiskHandle& h = handle(file);
    if (h.disk->read_fails()) return SQLITE_IOERR_READ;
    const Bytes& content = h.disk->content(h.file);
    const auto size = static_cast<sqlite3_int64>(content.size());
    const auto got = std::clamp<sqlite3_int64>(size - offset, 0, bytes);
    if (got > 0) std::memcpy(out, content.data() + offset, static_cast<std::size_t>(got));
    std::memset(static_cast<char*>(out) + got, 0, static_cast<std::size_t>(bytes - got));
    return got == bytes ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
  }
  static int write(sqlite3_file* file, const void* in, int bytes, sqlite3_int64 offset) {
    const AtWork at_work;
    DiskHandle& h = handle(file);
    const ByteView view(static_cast<const std::uint8_t*>(in), static_cast<std::size_t>(bytes));
    if (h.disk->fails(Kind::write)) {
      if (h.disk->fault_.kind == Fault::Kind::short_write) h.disk->apply_write(h.file, offset, view.first(view.size() / 2));
      return h.disk->fault_.kind == Fault::Kind::enospc ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    h.disk->apply_write(h.file, offset, view);
    return SQLITE_OK;
  }
  static int truncate(sqlite3_file* file, sqlite3_int64 size) {
    const AtWork at_work;
    DiskHandle& h = handle(file);
    if (h.disk->fails(Kind::truncate)) return SQLITE_IOERR_TRUNCATE;
    h.disk->content(h.file).resize(static_cast<std::size_t>(size));
    h.disk->events_.push_back({Kind::truncate, h.file, {}, {}, size, {}});
    return SQLITE_OK;
  }
  static int sync(sqlite3_file* file, int) {
    const AtWork at_work;
    DiskHandle& h = handle(file);
    if (h.disk->fails(Kind::sync)) {
      if (!h.disk->dead_) h.disk->events_.push_back({Kind::failed_sync, h.file, {}, {}, 0, {}});
      return SQLITE_IOERR_FSYNC;
    }
    h.disk->events_.push_back({Kind::sync, h.file, {}, {}, 0, {}});
    if (!h.directory_unsynced) return SQLITE_OK;
    if (h.disk->fails(Kind::sync_directory)) return SQLITE_IOERR_DIR_FSYNC;
    h.disk->events_.push_back({Kind::sync_directory, -1, parent_of(h.disk->name_of(h.file)), {}, 0, {}});
    h.directory_unsynced = false;
    return SQLITE_OK;
  }
  static int size(sqlite3_file* file, sqlite3_int64* out) {
    DiskHandle& h = handle(file);
    *out = static_cast<sqlite3_int64>(h.disk->content(h.file).size());
    return SQLITE_OK;
  }
  static int no_lock(sqlite3_file*, int) { return SQLITE_OK; }
  static int no_reserved_lock(sqlite3_file*, int* out) { return *out = 0, SQLITE_OK; }
  // The index of a WAL, for those (the relay's store) that let other processes read it. One process, so locks are free.
  static int shared_map(sqlite3_file* file, int region, int bytes, int extend, void volatile** out) {
    const AtWork at_work;
    DiskHandle& h = handle(file);
    auto& [regions, users] = h.disk->shared_[h.file];
    if (!std::exchange(h.maps, true)) ++users;
    const auto wanted = static_cast<std::size_t>(region);
    while (regions.size() <= wanted && extend) regions.push_back(std::make_unique<std::uint8_t[]>(static_cast<std::size_t>(bytes)));
    *out = wanted < regions.size() ? regions[wanted].get() : nullptr;
    return SQLITE_OK;
  }
  static int shared_lock(sqlite3_file*, int, int, int) { return SQLITE_OK; }
  static void shared_barrier(sqlite3_file*) {}
  static int shared_unmap(sqlite3_file* file, int) {
    DiskHandle& h = handle(file);
    const auto at = h.disk->shared_.find(h.file);
    if (std::exchange(h.maps, false) && --at->second.users == 0) h.disk->shared_.erase(at);
    return SQLITE_OK;
  }
  static int file_control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int sector_size(sqlite3_file*) { return static_cast<int>(sector_bytes); }
  static int device_characteristics(sqlite3_file*) { return 0; }

  static int remove(sqlite3_vfs* vfs, const char* name, int sync_directory) {
    const AtWork at_work;
    SimulatedDisk& d = disk(vfs);
    if (!d.names_.contains(name)) return SQLITE_IOERR_DELETE_NOENT;
    if (d.fails(Kind::remove)) return SQLITE_IOERR_DELETE;
    d.names_.erase(name);
    d.events_.push_back({Kind::remove, -1, name, {}, 0, {}});
    if (!sync_directory) return SQLITE_OK;
    if (d.fails(Kind::sync_directory)) return SQLITE_IOERR_DIR_FSYNC;
    d.events_.push_back({Kind::sync_directory, -1, parent_of(name), {}, 0, {}});
    return SQLITE_OK;
  }
  static int access(sqlite3_vfs* vfs, const char* name, int, int* out) {
    const AtWork at_work;
    *out = disk(vfs).names_.contains(name) ? 1 : 0;
    return SQLITE_OK;
  }
  static int full_path(sqlite3_vfs*, const char* name, int bytes, char* out) {
    sqlite3_snprintf(bytes, out, "%s", name);
    return SQLITE_OK;
  }
  static int randomness(sqlite3_vfs*, int bytes, char* out) {
    sqlite3_randomness(bytes, out);
    return bytes;
  }
  static int sleep(sqlite3_vfs*, int microseconds) { return microseconds; }
  static int current_time(sqlite3_vfs*, double* out) { return *out = 2460000.5, SQLITE_OK; }

  static const sqlite3_io_methods methods;
};

const sqlite3_io_methods DiskEntryPoints::methods = [] {
  sqlite3_io_methods m{};
  m.iVersion = 2;
  m.xClose = close;
  m.xRead = read;
  m.xWrite = write;
  m.xTruncate = truncate;
  m.xSync = sync;
  m.xFileSize = size;
  m.xLock = no_lock;
  m.xUnlock = no_lock;
  m.xCheckReservedLock = no_reserved_lock;
  m.xFileControl = file_control;
  m.xSectorSize = sector_size;
  m.xDeviceCharacteristics = device_characteristics;
  m.xShmMap = shared_map;
  m.xShmLock = shared_lock;
  m.xShmBarrier = shared_barrier;
  m.xShmUnmap = shared_unmap;
  return m;
}();

SimulatedDisk::SimulatedDisk(const Image& image) {
  for (const auto& [name, bytes] : image) {
    names_[name] = static_cast<int>(contents_.size());
    contents_.push_back(bytes);
    directories_.insert(parent_of(name));
  }
  char name[40];
  sqlite3_snprintf(sizeof name, name, "simulated-%p", static_cast<void*>(this));
  vfs_name_ = name;
  vfs_.iVersion = 1;
  vfs_.szOsFile = sizeof(DiskHandle);
  vfs_.mxPathname = 512;
  vfs_.zName = vfs_name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = DiskEntryPoints::open;
  vfs_.xDelete = DiskEntryPoints::remove;
  vfs_.xAccess = DiskEntryPoints::access;
  vfs_.xFullPathname = DiskEntryPoints::full_path;
  vfs_.xRandomness = DiskEntryPoints::randomness;
  vfs_.xSleep = DiskEntryPoints::sleep;
  vfs_.xCurrentTime = DiskEntryPoints::current_time;
  sqlite3_vfs_register(&vfs_, 0);
}

SimulatedDisk::~SimulatedDisk() { sqlite3_vfs_unregister(&vfs_); }

Image SimulatedDisk::image() const {
  Image out;
  for (const auto& [name, file] : names_) out[name] = contents_[static_cast<std::size_t>(file)];
  return out;
}

std::string SimulatedDisk::name_of(int file) const {
  const auto found = std::find_if(names_.begin(), names_.end(), [file](const auto& name) { return name.second == file; });
  return found == names_.end() ? "" : found->first;
}

int SimulatedDisk::create(const std::string& name) {
  const int file = static_cast<int>(contents_.size());
  contents_.emplace_back();
  names_[name] = file;
  events_.push_back({Event::Kind::create, file, name, {}, 0, {}});
  return file;
}

void SimulatedDisk::apply_write(int file, std::int64_t offset, ByteView bytes) {
  write_into(content(file), offset, bytes);
  events_.push_back({Event::Kind::write, file, {}, {}, offset, to_bytes(bytes)});
}

// ---- Faults

void SimulatedDisk::arm(Fault fault) {
  fault_ = fault;
  fault_calls_ = 0;
}

bool SimulatedDisk::fails(Event::Kind kind) {
  if (dies_in_ != 0 && --dies_in_ == 0) dead_ = true;
  if (dead_) return true;
  const bool is_sync = kind == Event::Kind::sync || kind == Event::Kind::sync_directory;
  const bool is_write = kind == Event::Kind::write;
  bool hit = false;
  switch (fault_.kind) {
    case Fault::Kind::none: return false;
    case Fault::Kind::eio: hit = !is_sync; break;
    case Fault::Kind::enospc:
    case Fault::Kind::short_write: hit = is_write; break;
    case Fault::Kind::fsync_eio: hit = is_sync; break;
  }
  return hit && fault_now();
}

bool SimulatedDisk::fault_now() {
  ++fault_calls_;
  if (fault_calls_ < fault_.at_call || (fault_calls_ > fault_.at_call && !fault_.sticky)) return false;
  events_at_fault_ = std::min(events_at_fault_, events_.size());
  return true;
}

bool SimulatedDisk::read_fails() { return dead_ || (fault_.kind == Fault::Kind::eio && fault_now()); }

// ---- Files' side

namespace {
Error refused(const char* what, const std::string& path, bool full = false) {
  return Error(full ? Code::full : Code::io, std::string("simulated: could not ") + what + " " + path);
}
}  // namespace

Result<Bytes> SimulatedDisk::read(const std::string& path, std::size_t bytes_max) {
  const AtWork at_work;
  const auto found = names_.find(path);
  if (found == names_.end()) return Error(Code::not_found, "simulated: there is no " + path);
  if (read_fails()) return refused("read", path);
  if (content(found->second).size() > bytes_max) return Error(Code::too_large, "simulated: " + path + " is too large");
  return content(found->second);
}

Result<std::uint64_t> SimulatedDisk::size(const std::string& path) {
  const AtWork at_work;
  const auto found = names_.find(path);
  if (found == names_.end()) return Error(Code::not_found, "simulated: there is no " + path);
  return static_cast<std::uint64_t>(content(found->second).size());
}

Status SimulatedDisk::write_synced(const std::string& path, ByteView bytes) {
  const AtWork at_work;
  if (fails(Event::Kind::create)) return refused("create", path);
  const auto found = names_.find(path);
  const int file = found == names_.end() ? create(path) : found->second;
  if (found != names_.end()) {
    content(file).clear();
    events_.push_back({Event::Kind::truncate, file, {}, {}, 0, {}});
  }
  if (fails(Event::Kind::write)) {
    if (!dead_) apply_write(file, 0, bytes.first(bytes.size() / 2));
    return refused("write", path, fault_.kind == Fault::Kind::enospc);
  }
  apply_write(file, 0, bytes);
  if (fails(Event::Kind::sync)) {
    if (!dead_) events_.push_back({Event::Kind::failed_sync, file, {}, {}, 0, {}});
    return refused("sync", path);
  }
  events_.push_back({Event::Kind::sync, file, {}, {}, 0, {}});
  return {};
}

Status SimulatedDisk::rename(const std::string& from, const std::string& to) {
  const AtWork at_work;
  const auto found = names_.find(from);
  if (found == names_.end()) return Error(Code::not_found, "simulated: there is no " + from);
  if (fails(Event::Kind::rename)) return refused("rename", from);
  names_[to] = found->second;
  names_.erase(from);
  events_.push_back({Event::Kind::rename, -1, from, to, 0, {}});
  return {};
}

Status SimulatedDisk::remove(const std::string& path) {
  const AtWork at_work;
  if (!names_.contains(path)) return {};
  if (fails(Event::Kind::remove)) return refused("remove", path);
  names_.erase(path);
  events_.push_back({Event::Kind::remove, -1, path, {}, 0, {}});
  return {};
}

Status SimulatedDisk::make_directory(const std::string& path) {
  const AtWork at_work;
  if (directories_.contains(path)) return {};
  if (fails(Event::Kind::create)) return refused("create", path);
  directories_.insert(path);
  events_.push_back({Event::Kind::create, -1, path, {}, 0, {}});
  return {};
}

Status SimulatedDisk::sync_directory(const std::string& path) {
  const AtWork at_work;
  if (fails(Event::Kind::sync_directory)) return refused("sync", path);
  events_.push_back({Event::Kind::sync_directory, -1, path, {}, 0, {}});
  return {};
}

Result<std::unique_ptr<FileLock>> SimulatedDisk::lock(const std::string&) {
  const AtWork at_work;
  return std::make_unique<FileLock>();
}

// ---- Crashes

CrashWalk::CrashWalk(const Image& start, const std::vector<Event>& events) : events_(events) {
  int file = 0;  // SimulatedDisk numbers an image's files in the same order
  for (const auto& [name, bytes] : start) {
    files_[file].durable = bytes;
    durable_names_[name] = file++;
  }
}

namespace {

void apply_name(std::map<std::string, int>& names, const Event& event) {
  switch (event.kind) {
    case Event::Kind::create: names[event.name] = event.file; break;
    case Event::Kind::remove: names.erase(event.name); break;
    case Event::Kind::rename:
      if (const auto found = names.find(event.name); found != names.end()) {
        names[event.to] = found->second;
        names.erase(event.name);
      }
      break;
    default: break;
  }
}

void apply_content(Bytes& content, const Event& event) {
  if (event.kind == Event::Kind::write) write_into(content, event.offset, event.bytes);
  if (event.kind == Event::Kind::truncate) content.resize(static_cast<std::size_t>(event.offset));
}

/// The sectors that a write touches, as (offset, bytes).
std::vector<std::pair<std::int64_t, ByteView>> sectors_of(const Event& event) {
  std::vector<std::pair<std::int64_t, ByteView>> out;
  const auto end = event.offset + static_cast<std::int64_t>(event.bytes.size());
  for (std::int64_t at = event.offset; at < end;) {
    const std::int64_t next = std::min(end, (at / sector_bytes + 1) * sector_bytes);
    out.emplace_back(at, ByteView(event.bytes).subspan(static_cast<std::size_t>(at - event.offset), static_cast<std::size_t>(next - at)));
    at = next;
  }
  return out;
}

enum class Rest { old, noise, zeros };

// Each sector of a write is new, something else, or as it was.
void apply_sectors(Bytes& content, const Event& event, Dice& dice, unsigned new_percent, unsigned rest_percent, Rest rest) {
  for (const auto& [at, bytes] : sectors_of(event)) {
    const auto roll = dice.below(100);
    if (roll < new_percent) {
      write_into(content, at, bytes);
    } else if (roll < new_percent + rest_percent && rest != Rest::old) {
      Bytes other(bytes.size());
      if (rest == Rest::noise)
        for (auto& byte : other) byte = static_cast<std::uint8_t>(dice.next());
      write_into(content, at, other);
    }
  }
}

void apply_misplaced(Bytes& content, const Event& event, Dice& dice) {
  const auto sectors = sectors_of(event);
  for (const auto& [at, bytes] : sectors) {
    const ByteView from = dice.chance(30) ? sectors[dice.below(sectors.size())].second : bytes;
    write_into(content, at, from.first(std::min(from.size(), bytes.size())));
  }
}

void apply_write_damaged(Bytes& content, const Event& event, Damage damage, Dice& dice) {
  const ByteView bytes = event.bytes;
  switch (damage) {
    case Damage::all_kept:
    case Damage::reordered:
    case Damage::contents_only:
    case Damage::writes_only: return write_into(content, event.offset, bytes);
    case Damage::some_kept:
    case Damage::alternate_kept:
    case Damage::suffix_kept:
      if (dice.chance(50)) write_into(content, event.offset, bytes);
      return;
    case Damage::prefix_torn: return apply_sectors(content, event, dice, 50, 0, Rest::old);
    case Damage::sectors_kept: return apply_sectors(content, event, dice, 60, 0, Rest::old);
    case Damage::sectors_garbled: return apply_sectors(content, event, dice, 40, 30, Rest::noise);
    case Damage::sectors_zeroed: return apply_sectors(content, event, dice, 40, 30, Rest::zeros);
    case Damage::sectors_misplaced: return apply_misplaced(content, event, dice);
    case Damage::halves_old: return write_into(content, event.offset, bytes.first(bytes.size() / 2));
    case Damage::bits_flipped: {
      Bytes flipped = to_bytes(bytes);
      if (!flipped.empty()) flipped[dice.below(flipped.size())] ^= static_cast<std::uint8_t>(1u << dice.below(8));
      return write_into(content, event.offset, flipped);
    }
    case Damage::size_without_data: content.resize(std::max(content.size(), static_cast<std::size_t>(event.offset) + bytes.size())); return;
    case Damage::all_lost:
    case Damage::truncations_only:
    case Damage::names_only:
    case Damage::mixed: return;
  }
}

void apply_damaged(Bytes& content, const Event& event, Damage damage, Dice& dice) {
  if (event.kind == Event::Kind::write) return apply_write_damaged(content, event, damage, dice);
  switch (damage) {
    case Damage::all_kept:
    case Damage::reordered:
    case Damage::contents_only:
    case Damage::truncations_only: return apply_content(content, event);
    case Damage::all_lost:
    case Damage::writes_only:
    case Damage::names_only: return;
    default:
      if (dice.chance(50)) apply_content(content, event);
  }
}

/// What happens to a file's operations of which each has its place in the order.
void apply_all(Bytes& content, std::vector<const Event*> pending, Damage damage, Dice& dice) {
  const std::size_t cut = pending.empty() ? 0 : dice.below(pending.size());
  if (damage == Damage::reordered)
    for (std::size_t i = pending.size(); i > 1; --i) std::swap(pending[i - 1], pending[dice.below(i)]);
  for (std::size_t i = 0; i < pending.size(); ++i) {
    const Event& event = *pending[i];
    switch (damage) {
      case Damage::prefix_torn:
        if (i < cut) apply_content(content, event);
        if (i == cut) apply_damaged(content, event, damage, dice);
        break;
      case Damage::suffix_kept:
        if (i >= cut) apply_content(content, event);
        break;
      case Damage::alternate_kept:
        if ((i + cut) % 2 == 0) apply_content(content, event);
        break;
      case Damage::mixed: apply_damaged(content, event, static_cast<Damage>(dice.below(damage_kinds - 1)), dice); break;
      default: apply_damaged(content, event, damage, dice);
    }
  }
}

bool name_is_kept(Damage damage, Dice& dice) {
  switch (damage) {
    case Damage::all_kept:
    case Damage::prefix_torn:
    case Damage::names_only: return true;
    case Damage::all_lost:
    case Damage::contents_only: return false;
    default: return dice.chance(50);
  }
}

}  // namespace

void CrashWalk::advance_to(std::size_t count) {
  for (; at_ < count; ++at_) {
    const Event& event = events_[at_];
    switch (event.kind) {
      case Event::Kind::write:
      case Event::Kind::truncate: files_[event.file].pending.push_back(&event); break;
      case Event::Kind::sync:
        for (const Event* pending : files_[event.file].pending) apply_content(files_[event.file].durable, *pending);
        files_[event.file].pending.clear();
        break;
      case Event::Kind::failed_sync: files_[event.file].pending.clear(); break;
      case Event::Kind::sync_directory:
        std::erase_if(pending_names_, [&](const Event* pending) {
          if (parent_of(pending->name) != event.name && parent_of(pending->to) != event.name) return false;
          apply_name(durable_names_, *pending);
          return true;
        });
        break;
      case Event::Kind::create:
        if (event.file < 0) made_.insert(event.name);
        [[fallthrough]];
      default: pending_names_.push_back(&event); break;
    }
  }
}

Image CrashWalk::image(Damage damage, std::uint64_t seed) const {
  Dice dice(seed);
  std::map<std::string, int> names = durable_names_;
  for (const Event* event : pending_names_)
    if (name_is_kept(damage, dice)) apply_name(names, *event);
  Image out;
  for (const auto& [name, file] : names) {
    if (file < 0 || (made_.contains(parent_of(name)) && !names.contains(parent_of(name)))) continue;
    const auto found = files_.find(file);
    Bytes& content = out[name];
    if (found == files_.end()) continue;
    content = found->second.durable;
    apply_all(content, found->second.pending, damage, dice);
  }
  return out;
}

bool CrashWalk::at_risk() const {
  return !pending_names_.empty() ||
         std::any_of(files_.begin(), files_.end(), [](const auto& file) { return !file.second.pending.empty(); });
}

}  // namespace doorstep::fault
