// Who talks to whom, and the healing at the end.
#include "tests/sim/world.hpp"

#include "sync/lab.hpp"

namespace doorstep::sim {

namespace {
constexpr std::uint64_t never_calls = UINT64_MAX;
}

std::int64_t World::partitioned_until(const SimDevice& device, const SimRelay& relay, bool up) const {
  std::int64_t out = 0;
  for (const auto& partition : partitions_)
    if (devices_[partition.device].get() == &device && relays_[partition.relay].get() == &relay && (up ? partition.up : partition.down) &&
        partition.until_ms > timeline_.now_ms())
      out = std::max(out, partition.until_ms);
  return out;
}

void World::connect(SimDevice& device, SimRelay& relay, bool stays, Link::As as, int depth) {
  if (!device.is_open() || !relay.is_up() || relay.broken()) return;
  if (partitioned_until(device, relay, true) != 0 && partitioned_until(device, relay, false) != 0) return;
  for (const auto& connection : connections_)
    if (!connection->over() && &connection->device() == &device && &connection->relay() == &relay) return;
  const bool joining = as == Link::As::newcomer_first && !device.replica().space(space_)->waits_for.empty();
#ifdef DOORSTEP_LAB
  lab::seams.newer_protocol = script_.newer_devices && device.number() % 2 == 1;
#endif
  auto link = Link::start(device.replica(), relay.address(), as);
#ifdef DOORSTEP_LAB
  lab::seams.newer_protocol = false;
#endif
  if (!link) return;
  ++outcome_.sessions;
  const auto number = ++connection_count_;
  auto ended = [this, &device, &relay, stays, joining, depth](const std::string& why) {
    if (!why.empty()) note(device.name() + " is cut off: " + why);
    timeline_.after(1, [this, &device, &relay, stays, joining, depth] {
      look_after(device);
      if (relay.disk() && (relay.broken() || relay.disk()->dead())) power_cut(relay, 2);
      if (&device == &desk()) admit();
      if (joining && depth < 2) connect(device, relay, stays && !healing_, Link::As::claimant, depth + 1);
    });
  };
  auto partitioned = [this, &device, &relay](bool up) { return partitioned_until(device, relay, up); };
  connections_.push_back(std::make_unique<Connection>(timeline_, Connection::Ends{device, relay}, std::move(*link), stays, network_,
                                                      mixed(script_.seed, 1000 + number), std::move(partitioned), std::move(ended)));
  connections_.back()->begin();
}

void World::cut_connections(const SimDevice* device, const SimRelay* relay) {
  for (auto& connection : connections_)
    if (&connection->device() == device || &connection->relay() == relay) connection->cut();
  std::erase_if(connections_, [&](const auto& each) { return &each->device() == device || &each->relay() == relay; });
}

// Connections that are over go, and whoever's disk has died meanwhile is found out.
void World::sweep() {
  std::erase_if(connections_, [](const auto& each) { return each->over(); });
  for (std::size_t i = 0; i < devices_.size(); ++i) look_after(*devices_[i]);
  for (auto& relay : relays_) {
    if (relay->is_up() && relay->disk() && (relay->broken() || relay->disk()->dead())) power_cut(*relay, 3);
    if (relay->is_up() && relay->hub().memory_bytes() > relay->config().memory_bytes_max) fail("a relay's queues are above their bound");
  }
}

// ---- Healing -----------------------------------------------------------------------------------------------------------

void World::heal() {
  note("healing");
  healing_ = true;
  for (auto& connection : connections_) connection->cut();
  connections_.clear();
  partitions_.clear();
  network_ = {};
  sweep();  // whose disk died in the last moment is noticed too
  for (auto& relay : relays_) {
    if (!bring_up(*relay)) return;
    if (relay->disk() && !relay->disk()->dead()) relay->disk()->die_at_call(never_calls);
  }
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    SimDevice& device = *devices_[i];
    device.full = false;
    device.disk().arm({});
    if (!device.disk().dead()) device.disk().die_at_call(never_calls);
    device.clock.mend();
    for (int attempt = 0; attempt < 2 && !device.is_open() && !device.lost; ++attempt) (void)ensure_open(device);
    look_after(device);
    if (!outcome_.ok()) return;
  }
  // First everybody who was invited comes in: asking, being admitted, and hearing of it take their turns.
  constexpr int admission_rounds = 3, rounds_max = 3;
  const auto waiting = [&] {
    return std::any_of(devices_.begin(), devices_.end(), [&](const auto& device) {
      return device->is_open() && !cut_.contains(device->number()) && device->replica().space(space_)->waits_for == "admission";
    });
  };
  for (int round = 0; round < admission_rounds && waiting() && outcome_.ok(); ++round) sync_everybody();
  for (outcome_.rounds = 1; outcome_.rounds <= rounds_max && outcome_.ok(); ++outcome_.rounds) {
    sync_everybody();
    if (is_level()) return;
  }
  if (outcome_.ok()) fail("not level after three rounds", who_is_not_level());
}

// A round: everybody syncs once with every relay.
void World::sync_everybody() {
  constexpr std::int64_t round_ms = 120'000;
  for (std::size_t i = devices_.size(); i-- > 0;) {
    for (auto& relay : relays_) {
      SimDevice& device = *devices_[i];
      if (!device.is_open()) continue;
      connect(device, *relay, false, Link::As::newcomer_first);
      const auto until = timeline_.now_ms() + round_ms;
      while (timeline_.now_ms() < until && !connections_.empty()) {
        timeline_.run_until(timeline_.now_ms() + 200);
        sweep();
      }
    }
  }
}

bool World::is_member(SimDevice& device) {
  return device.is_open() && !cut_.contains(device.number()) && device.replica().space(space_)->waits_for.empty() &&
         desk_space().roster->member(device.core().device());
}

std::string World::who_is_not_level() {
  std::string out;
  const auto heads = [&](const std::string& name, Position roster, const std::vector<LogHead>& logs) {
    out += "\n    " + name + ": roster " + std::to_string(roster);
    for (const auto& log : logs)
      out += ", " + log.name.device.hex().substr(0, 4) + "/" + log.id.hex().substr(0, 4) +
             (log.name.branch ? " branch " + log.name.branch->hex().substr(0, 4) + " " : " ") + std::to_string(log.position) + "=" +
             log.hash.hex().substr(0, 4);
  };
  for (auto& relay : relays_) heads("relay", summary_of(*relay).roster_size, relay->ledger().heads(space_));
  for (auto& device : devices_) {
    if (!is_member(*device)) continue;
    const auto pending = device->replica().pending(space_);
    if (pending && pending->transactions != 0) out += device->name() + " has " + std::to_string(pending->transactions) + " pending, ";
    const auto summary = (*device->core().space(space_))->summary();
    heads(device->name(), summary.roster_size, summary.logs);
  }
  return out;
}

// What somebody holds, for comparing: without the logs of a device that was cut, as a relay refuses what lies beyond a cut that it knows
// (PROTOCOL.md, section 8), so that who has it depends on who came first.
ShortHash World::held(SpaceSummary summary) const {
  summary.space = space_;
  std::erase_if(summary.logs, [&](const LogHead& head) {
    return std::any_of(cut_.begin(), cut_.end(), [&](std::size_t n) { return newborn_device(script_.level, n).id == head.name.device; });
  });
  return set_digest(summary);
}

SpaceSummary World::summary_of(SimRelay& relay) const {
  SpaceSummary out;
  if (const auto roster = relay.ledger().roster(space_)) out.roster_size = roster->size(), out.roster_head = roster->head();
  out.logs = relay.ledger().heads(space_);
  return out;
}

bool World::is_level() {
  if (!desk().is_open()) return true;
  const auto of_desk = held(desk_space().summary());
  const auto level = [&](const auto& device) {
    if (!is_member(*device)) return true;
    const auto pending = device->replica().pending(space_);
    return held((*device->core().space(space_))->summary()) == of_desk && pending && pending->transactions == 0;
  };
  return std::all_of(relays_.begin(), relays_.end(), [&](const auto& relay) { return held(summary_of(*relay)) == of_desk; }) &&
         std::all_of(devices_.begin(), devices_.end(), level);
}

}  // namespace doorstep::sim
