#include "tests/sim/world.hpp"

#include <cstdio>

#include "sync/lab.hpp"

namespace doorstep::sim {

World::World(const Script& script, bool trace) : script_(script), trace_(trace), network_(script.network) {}

World::~World() {
  for (auto& connection : connections_) connection->cut();
  connections_.clear();
}

void World::note(const std::string& what, std::uint64_t number) {
  for (const char c : what) outcome_.digest = (outcome_.digest ^ static_cast<std::uint8_t>(c)) * 1099511628211u;
  outcome_.digest = (outcome_.digest ^ number) * 1099511628211u;
  if (!trace_) return;
  std::printf("%10.3f  %s", static_cast<double>(timeline_.now_ms()) / 1000, what.c_str());
  if (number != 0) std::printf(" %llu", static_cast<unsigned long long>(number));
  std::printf("\n");
}

void World::fail(std::string what, const std::string& where) {
  note("FAILURE " + what + " (" + where + ")");
  if (!outcome_.ok()) return;
  outcome_.failure = std::move(what);
  outcome_.where = where;
}

Outcome World::run() {
  found();
  for (const auto& step : script_.steps) {
    timeline_.run_until(step.at_ms);
    sweep();
    act(step);
    if (!outcome_.ok()) break;
  }
  if (outcome_.ok()) {
    timeline_.run_until(script_.end_ms);
    heal();
  }
  if (outcome_.ok()) judge();
  outcome_.events = timeline_.events();
  outcome_.transactions = saved_.size();
  for (const auto& saved : saved_) outcome_.destroyed += saved.destroyed;
  note("end", outcome_.events);
  return outcome_;
}

// ---- The village -------------------------------------------------------------------------------------------------------

void World::found() {
  devices_.push_back(std::make_unique<SimDevice>(timeline_, script_.level, 0, "desk", mixed(script_.seed, 10)));
  DOORSTEP_CHECK(desk().open().ok());
  const DeviceId authority = *desk().replica().authority();
  Replica::FoundOptions options;
  options.name = "village";
  for (std::size_t i = 0; i < script_.relays; ++i) {
    relays_.push_back(std::make_unique<SimRelay>(timeline_, script_.level, i, mixed(script_.seed, 100 + i), authority));
    relays_.back()->newer = script_.newer_relays;
    DOORSTEP_CHECK(relays_.back()->start());
    options.relays.push_back(relays_.back()->address());
  }
  space_ = *desk().replica().found(options);
  Dice dice(mixed(script_.seed, 2));
  for (std::size_t i = 1; i <= script_.phones; ++i) {
    const auto link = desk().replica().invite(space_, {.role = dice.chance(25) ? "town_clerk" : "member"});
    DOORSTEP_CHECK(link.ok());
    devices_.push_back(std::make_unique<SimDevice>(timeline_, script_.level, i, "phone" + std::to_string(i), mixed(script_.seed, 10 + i)));
    DOORSTEP_CHECK(devices_.back()->open().ok());
    DOORSTEP_CHECK(devices_.back()->replica().join(*link, "p").ok());
  }
  // Mostly everybody is admitted before the bad days begin.
  if (dice.chance(80)) {
    network_ = {};
    for (int i = 0; i < 2; ++i) sync_everybody();
    network_ = script_.network;
  }
}

// ---- What people do ----------------------------------------------------------------------------------------------------

std::string World::next_marker(Dice& dice) {
  std::string out = "sim-marker-" + std::to_string(saved_.size()) + "-";
  out.append(dice.chance(5) ? 3000 : 1 + dice.below(30), static_cast<char>('a' + dice.below(26)));
  return out;
}

void World::act(const Step& step) {
  SimDevice& device = device_of(step);
  SimRelay& relay = *relays_[step.who % relays_.size()];
  note(device.name() + ": " + act_name(step.act));
  Dice dice(step.dice);
  switch (step.act) {
    case Act::write:
    case Act::pair:
    case Act::bulk:
    case Act::edit: return write(device, step);
    case Act::resolve: return resolve(dice);
    case Act::sync:
    case Act::stay:
      if (ensure_open(device)) connect(device, *relays_[dice.below(relays_.size())], step.act == Act::stay, Link::As::newcomer_first);
      return;
    case Act::rotate:
    case Act::role:
    case Act::cut: return desk_entry(step);
    case Act::power_cut: return power_cut(device, step.dice);
    case Act::power_cut_later: return device.disk().die_at_call(1 + dice.below(60));
    case Act::close: return stop(device);
    case Act::full:
    case Act::room:
      device.full = step.act == Act::full;
      return device.disk().arm({device.full ? fault::Fault::Kind::enospc : fault::Fault::Kind::none, 1, true});
    case Act::backup: device.backup = device.image(); return;
    case Act::restore: return restore(device, step);
    case Act::clone: return clone(device, step);
    case Act::lose: return lose(device);
    case Act::rot: return rot(device, step);
    case Act::clock_off: {
      constexpr std::int64_t year_ms = 365LL * 86'400'000;
      device.clock.offset_ms = static_cast<std::int64_t>(dice.below(40 * year_ms)) - 20 * year_ms;
      return;
    }
    case Act::clock_stuck: return device.clock.stick();
    case Act::clock_mended: return device.clock.mend();
    case Act::partition: {
      const auto shape = dice.below(3);
      const auto span = static_cast<std::int64_t>(dice.below(10) == 0 ? 60LL * 86'400'000 : 1000 + dice.below(3'600'000));
      partitions_.push_back({step.who % devices_.size(), dice.below(relays_.size()), shape != 1, shape != 2, timeline_.now_ms() + span});
      return;
    }
    default: return relay_step(relay, step);
  }
}

void World::write(SimDevice& device, const Step& step) {
  if (!ensure_open(device)) return;
  Dice dice(step.dice);
  if (step.act == Act::edit && !records_.empty()) {
    edit(device, dice);
    return look_after(device);
  }
  const Counter before = (*device.core().space(space_))->last_counter;
  const auto marker = next_marker(dice);
  std::vector<RecordId> records;
  const std::size_t count = step.act == Act::pair ? 2 : step.act == Act::bulk ? 10 + dice.below(30) : 1;
  const auto saved = device.replica().transact(space_, [&](Write& write) -> Status {
    for (std::size_t i = 0; i < count; ++i) {
      if (step.act == Act::bulk && i > 0) write.next_transaction();
      records.push_back(write.create("note"));
      write.set(records.back(), "latest", Value(marker)).set(records.back(), "review", Value(marker));
      if (dice.chance(30)) write.add(records.back(), "many", Value(marker));
    }
    return {};
  });
  const bool bulk = saved && step.act == Act::bulk;
  note_saved(device, saved, before, marker, bulk ? std::vector{records.front()} : records, true);
  if (bulk) note_rest(device, before, *saved, marker, records);
  look_after(device);
}

void World::edit(SimDevice& device, Dice& dice) {
  const RecordId record = records_[dice.below(std::min<std::size_t>(records_.size(), 4))];  // few, so that people meet
  if (!device.replica().get(space_, record)) return;
  const Counter before = (*device.core().space(space_))->last_counter;
  const auto marker = next_marker(dice);
  const auto saved = device.replica().transact(space_, [&](Write& write) -> Status {
    constexpr const char* fields[] = {"latest", "review", "owner", "once"};
    if (dice.chance(20))
      write.add(record, "many", Value(marker));
    else
      write.set(record, fields[dice.below(4)], Value(marker));
    return {};
  });
  note_saved(device, saved, before, marker, {record}, false);
}

void World::note_saved(SimDevice& device, const Result<Replica::Saved>& saved, Counter last_before, std::string marker,
                       std::vector<RecordId> records, bool creates) {
  if (!saved) return note("refused: " + std::string(code_name(saved.code())));
  const SpaceState& space = **device.core().space(space_);
  if (space.last_counter == last_before) return;  // it said what stood there already
  Acknowledged out;
  out.writer = device.number();
  out.author = device.core().device();
  out.records = records;
  out.creates = creates;
  out.marker = std::move(marker);
  out.first = space.last_counter - saved->operations + 1;
  for (const auto& record : records)
    if (creates) records_.push_back(record);
  saved_.push_back(std::move(out));
  note("saved", saved_.size());
}

// Of a commit of many transactions the first is noted already: one in the middle and the last stand for the others.
void World::note_rest(SimDevice& device, Counter last_before, const Replica::Saved& saved, const std::string& marker,
                      const std::vector<RecordId>& records) {
  SpaceState& space = **device.core().space(space_);
  if (space.last_counter == last_before) return;
  const Counter first = space.last_counter - saved.operations + 1;
  for (const Counter counter : {first + saved.operations / 2, space.last_counter}) {
    const auto found = device.core().find_transaction(space, {space.number_of(device.core().device()), counter});
    if (!found || !*found) return fail("a commit is not in its own store", device.name());
    Acknowledged out{device.number(), device.core().device(), (*found)->first, {records.back()}, true, marker, false, {}, 0, {}};
    saved_.push_back(std::move(out));
  }
}

void World::resolve(Dice& dice) {
  if (!ensure_open(desk())) return;
  const auto conflicts = desk().replica().conflicts(space_);
  if (!conflicts || conflicts->empty()) return look_after(desk());
  const auto& conflict = (*conflicts)[dice.below(conflicts->size())];
  if (!conflict.element.empty() || conflict.values.empty()) return;
  (void)desk().replica().resolve(space_, conflict.record, conflict.field, conflict.values.back().value);
  look_after(desk());
}

// What the desk writes into the roster besides admissions.
void World::desk_entry(const Step& step) {
  if (!ensure_open(desk())) return;
  SpaceState& space = desk_space();
  Core& core = desk().core();
  Dice dice(step.dice);
  DiceRandom random(step.dice);
  if (!space.waits_for(core.device()).empty()) return;
  Result<Bytes> entry = rotate_entry(*space.roster, space.keys, core.identity(), random);
  std::optional<std::size_t> whom_to_cut;
  if (step.act != Act::rotate) {
    if (devices_.size() < 2) return;
    const SimDevice& whom = *devices_[1 + step.who % script_.phones];
    const DeviceId device = newborn_device(script_.level, whom.number()).id;
    const Member* member = space.roster->member(device);
    if (!member || member->cut) return;
    std::vector<LogPosition> logs;
    for (const auto& [n, log] : space.logs)
      if (log.head.name.device == device && !log.head.name.branch && log.head.position != 0)
        logs.push_back({log.head.id, log.head.position, log.head.hash});
    std::sort(logs.begin(), logs.end(), [](const auto& a, const auto& b) { return a.log < b.log; });
    if (step.act == Act::role) {
      entry = role_entry(*space.roster, space.keys, core.identity(), device, dice.chance(50) ? "member" : "town_clerk",
                         rights_read | rights_append, logs, random);
      rights_changed_ = true;
    } else {
      if (!cut_.empty()) return;
      entry = cut_entry(*space.roster, space.keys, core.identity(), device, logs, CutReason::lost, "", random);
      whom_to_cut = whom.number();
    }
  }
  const bool appended = entry && core.append_own_entry(space, *entry).ok();
  if (entry && !appended) note("entry refused");
  if (appended && whom_to_cut) cut_.insert(*whom_to_cut);
  if (!desk().is_open()) return;
  core.notify();
  look_after(desk());
}

void World::admit() {
  if (!desk().is_open()) return;
  const auto applicants = desk().replica().applicants(space_);
  if (!applicants) return;
  for (const auto& applicant : *applicants)
    if (desk().replica().admit(space_, applicant.device)) note("admitted");
  look_after(desk());
}

}  // namespace doorstep::sim
