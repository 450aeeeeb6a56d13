#include "tests/sim/device.hpp"

#include <map>

#include "sync/lab.hpp"

namespace doorstep::sim {

namespace {

constexpr char directory[] = "/store";

constexpr char schema_document[] = R"({"doorstep_schema": 1, "id": "sim", "version": 1, "kinds": [
  {"id": 1000, "name": "note", "sensitivity": "p1",
   "rights": {"member": ["write", "propose"], "town_clerk": ["write", "propose", "resolve", "approve"]},
   "fields": [{"number": 1, "name": "latest", "type": "text"},
              {"number": 2, "name": "review", "type": "text", "policy": "review"},
              {"number": 3, "name": "owner", "type": "text", "policy": "owner"},
              {"number": 4, "name": "once", "type": "text", "policy": "once"},
              {"number": 5, "name": "many", "type": "text", "set": true}]}]})";

ReplicaOptions options_for(const Platform& platform, Clock& clock, Random& random, Level level) {
  ReplicaOptions out;
  out.directory = directory;
  out.schema = sim_schema();
  out.clock = &clock;
  out.random = &random;
  out.platform = &platform;
  out.passphrase_cost = argon2_floor;
  out.cache_bytes = 1u << 20;
  out.unencrypted_for_benchmarks = level == Level::memory;
  return out;
}

}  // namespace

const Schema& sim_schema() {
  static const Schema schema = [] {
    auto parsed = Schema::parse(schema_document);
    DOORSTEP_CHECK(parsed.ok());
    return std::move(*parsed);
  }();
  return schema;
}

const DeviceImage& newborn_device(Level level, std::size_t n) {
  static std::map<std::tuple<Level, bool, std::size_t>, DeviceImage> made;
  const auto [at, fresh] = made.try_emplace({level, bool{DOORSTEP_LAB_SEAM(cheap)}, n});
  if (!fresh) return at->second;
  const Timeline timeline;
  DeviceClock clock(timeline);
  DiceRandom random(7000 + n);
  fault::SimulatedDisk disk;
  Platform platform{&disk, disk.vfs(), nullptr};
  {
    auto replica = Replica::create(options_for(platform, clock, random, level), "sim");
    DOORSTEP_CHECK(replica.ok());
    DOORSTEP_CHECK(replica->authority().ok());
    auto key = replica->database_key();
    DOORSTEP_CHECK(key.ok());
    at->second.id = replica->device();
    at->second.key = std::make_shared<const SymmetricKey>(std::move(*key));
  }
  at->second.disk = disk.image();
  return at->second;
}

SimDevice::SimDevice(const Timeline& timeline, Level level, std::size_t number, std::string name, std::uint64_t seed)
    : clock(timeline), timeline_(timeline), level_(level), number_(number), name_(std::move(name)), random_(seed) {
  replace_disk(newborn_device(level, number).disk);
}

SimDevice::~SimDevice() {
  if (disk_) disk_->die_at_call(0);
}

void SimDevice::replace_disk(const fault::Image& image) {
  DOORSTEP_CHECK(!replica_);
  born_from_ = image;
  disk_ = std::make_unique<fault::SimulatedDisk>(image);
  platform_ = {disk_.get(), disk_->vfs(), nullptr};
  if (full) disk_->arm({fault::Fault::Kind::enospc, 1, true});
}

Status SimDevice::open() {
  clock.boot();
  auto opened = Replica::open_with_key(options_for(platform_, clock, random_, level_), *newborn_device(level_, number_).key);
  if (!opened) return opened.error();
  replica_.emplace(std::move(*opened));
  return {};
}

void SimDevice::close() { replica_.reset(); }

void SimDevice::power_cut(std::uint64_t seed) {
  disk_->die_at_call(0);
  replica_.reset();
  fault::CrashWalk walk(born_from_, disk_->events());
  walk.advance_to(disk_->events().size());
  const auto damage = level_ == Level::memory ? fault::Damage::all_lost : static_cast<fault::Damage>(Dice(seed).below(fault::damage_kinds));
  replace_disk(walk.image(damage, seed));
}

std::unique_ptr<SimDevice> SimDevice::clone(std::string name, std::uint64_t seed) const {
  auto out = std::make_unique<SimDevice>(timeline_, level_, number_, std::move(name), seed);
  out->replace_disk(disk_->image());
  return out;
}

}  // namespace doorstep::sim
