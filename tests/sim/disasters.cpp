// Processes that end, disks that die, copies of directories that come back.
#include "tests/sim/world.hpp"

namespace doorstep::sim {

// ---- Devices -----------------------------------------------------------------------------------------------------------

bool World::ensure_open(SimDevice& device) {
  if (device.is_open()) return true;
  if (device.lost) return false;
  const Status opened = device.open();
  if (opened && device.disk().dead()) {  // it died late in the opening, of which nobody has been told yet
    power_cut(device, 1);
    return false;
  }
  if (opened && device.rotten && !device.replica().space(space_)) {  // its log ended at the rot, before it had joined
    note(device.name() + " has forgotten all");
    stop(device);
    give_up(device);
    return false;
  }
  if (opened) {
    judge_saved(device);
    return device.is_open();
  }
  note(device.name() + " does not open: " + code_name(opened.code()));
  if (device.disk().dead()) {
    power_cut(device, 1);
  } else if (opened.code() == Code::corrupt && device.rotten) {
    give_up(device);
  } else if (!(device.full && opened.code() == Code::full)) {
    fail("a store does not open", device.name() + ", " + opened.error().message());
  }
  return false;
}

// After anything that may have touched its disk.
void World::look_after(SimDevice& device) {
  if (device.disk().dead()) return power_cut(device, 1);
  if (!device.is_open()) return;
  device.core().notify();
  if (!device.core().locked() && !device.core().database().poison()) return;
  stop(device);
  if (device.rotten)
    give_up(device);
  else
    fail("a store is poisoned, though its disk is whole", device.name());
}

void World::stop(SimDevice& device) {
  cut_connections(&device, nullptr);
  device.close();
}

void World::power_cut(SimDevice& device, std::uint64_t seed) {
  ++outcome_.power_cuts;
  cut_connections(&device, nullptr);
  device.power_cut(mixed(seed, outcome_.power_cuts));
}

void World::clone(SimDevice& device, const Step& step) {
  if (devices_.size() >= script_.phones + 3 || device.lost || &device == &desk()) return;
  auto twin = device.clone(device.name() + "'", step.dice);
  for (auto& each : devices_)
    if (each->number() == device.number()) each->cloned = true;
  twin->cloned = true;
  twin->rotten = device.rotten;
  devices_.push_back(std::move(twin));
}

// (Not the desk: a roster that was written on from an old copy forks, which people have to mend.)
void World::restore(SimDevice& device, const Step&) {
  if (!device.backup || &device == &desk() || !ensure_open(device)) return;
  cut_connections(&device, nullptr);
  const auto before = held_by(device);
  device.disk().die_at_call(0);
  device.close();
  device.full = false;  // there was room for the copy
  device.replace_disk(*device.backup);
  for (auto& each : devices_)
    if (each->number() == device.number()) each->restored = true;
  device.restoring = true;
  const bool open = ensure_open(device);
  device.restoring = false;
  if (open || device.is_open()) destroyed_with(device, before);
}

// Some bytes of its files change. What it holds alone counts as destroyed: the program may say so, or may not see what it does not
// read, or may take the end of its log for a torn write.
void World::rot(SimDevice& device, const Step& step) {
  if (device.lost || &device == &desk() || !ensure_open(device)) return;
  cut_connections(&device, nullptr);
  const auto before = held_by(device);
  device.close();
  for (auto& saved : saved_)
    if (before.contains(&saved) && !held_elsewhere(saved, &device, nullptr)) saved.destroyed = true;
  auto image = device.image();
  Dice dice(step.dice);
  for (auto& [name, bytes] : image) {
    if (bytes.empty() || name.find("main.db") == std::string::npos) continue;
    for (auto n = 1 + dice.below(4); n > 0; --n) bytes[dice.below(bytes.size())] ^= static_cast<std::uint8_t>(1 + dice.below(255));
  }
  device.replace_disk(image);
  device.rotten = true;
  for (auto& each : devices_)
    if (each->number() == device.number()) each->cloned = true;
}

// The phone falls into the river, with what was not handed in. (Not the desk: nobody else admits.)
void World::lose(SimDevice& device) {
  if (device.lost || &device == &desk() || !ensure_open(device)) return;
  for (auto& saved : saved_) locate(device, space_, saved);
  stop(device);
  give_up(device);
}

void World::give_up(SimDevice& device) {
  device.lost = true;
  for (auto& saved : saved_)
    if (saved.writer == device.number() && !saved.destroyed && !held_elsewhere(saved, &device, nullptr)) saved.destroyed = true;
}

// ---- Relays ------------------------------------------------------------------------------------------------------------

void World::stop(SimRelay& relay) {
  cut_connections(nullptr, &relay);
  relay.stop();
}

bool World::bring_up(SimRelay& relay) {
  if (relay.is_up()) return true;
  if (relay.disk() && relay.disk()->dead()) relay.power_cut(mixed(4, ++outcome_.power_cuts));
  if (relay.start()) return true;
  if (relay.disk() && relay.disk()->dead()) relay.power_cut(mixed(5, ++outcome_.power_cuts));  // it died while it was starting
  if (relay.is_up() || relay.start()) return true;
  fail("a relay does not start");
  return false;
}

void World::power_cut(SimRelay& relay, std::uint64_t seed) {
  ++outcome_.power_cuts;
  cut_connections(nullptr, &relay);
  relay.power_cut(mixed(seed, outcome_.power_cuts));
  if (!bring_up(relay) || relay.went_back) return;
  for (auto& device : devices_)  // a relay signs a receipt only after its own disk has it
    if (device->is_open()) judge_receipts(*device);
}

void World::relay_step(SimRelay& relay, const Step& step) {
  const auto index = step.who % relays_.size();
  switch (step.act) {
    case Act::relay_cut: return power_cut(relay, step.dice);
    case Act::relay_cut_later:
      if (relay.disk()) relay.disk()->die_at_call(1 + Dice(step.dice).below(40));
      return;
    case Act::relay_backup: relay_backups_[index] = relay.copy(); return;
    case Act::relay_down:
      if (relay.is_up())
        stop(relay);
      else
        bring_up(relay);
      return;
    default: break;
  }
  // Old bytes come back, or none.
  const bool wipes = step.act == Act::relay_wipe;
  if (!wipes && !relay_backups_.contains(index)) return;
  if (!bring_up(relay)) return;
  cut_connections(nullptr, &relay);
  std::set<const Acknowledged*> before;
  for (auto& saved : saved_) {
    for (auto& device : devices_) locate(*device, space_, saved);
    if (holds(relay, space_, saved)) before.insert(&saved);
  }
  if (relay.disk()) relay.disk()->die_at_call(0);
  relay.stop();
  const bool new_identity = wipes || Dice(step.dice).chance(50);
  relay.restore(wipes ? std::nullopt : relay_backups_[index], new_identity);
  relay.went_back = relay.went_back || !new_identity;
  relays_lost_ = true;
  if (!bring_up(relay)) return;
  for (auto& saved : saved_)
    if (before.contains(&saved) && !holds(relay, space_, saved) && !held_elsewhere(saved, nullptr, &relay)) saved.destroyed = true;
}

// ---- Who holds what ----------------------------------------------------------------------------------------------------

std::set<const Acknowledged*> World::held_by(SimDevice& device) {
  std::set<const Acknowledged*> out;
  for (auto& saved : saved_) {
    locate(device, space_, saved);
    if (holds(device, space_, saved)) out.insert(&saved);
  }
  return out;
}

void World::destroyed_with(SimDevice& device, const std::set<const Acknowledged*>& before) {
  for (auto& saved : saved_)
    if (before.contains(&saved) && !holds(device, space_, saved) && !held_elsewhere(saved, &device, nullptr)) saved.destroyed = true;
}

bool World::held_elsewhere(const Acknowledged& transaction, const SimDevice* but_not_device, const SimRelay* but_not_relay) {
  for (auto& device : devices_)
    if (device.get() != but_not_device && !device->lost && ensure_open(*device) && holds(*device, space_, transaction)) return true;
  for (auto& relay : relays_) {
    if (relay.get() == but_not_relay) continue;
    if (!bring_up(*relay)) return true;
    if (holds(*relay, space_, transaction)) return true;
  }
  return false;
}

}  // namespace doorstep::sim
