// The oracles, every one of them for every run.
#include "sdk/core/verify.hpp"
#include "server/verify.hpp"
#include "tests/sim/world.hpp"

namespace doorstep::sim {

void World::judge() {
  note("judging");
  timeline_.run_until(timeline_.now_ms() + 1000);  // the last connections are forgotten
  for (auto& device : devices_) {
    if (!device->is_open()) continue;
    judge_saved(*device);
    judge_device(*device);
    if (!outcome_.ok()) return;
  }
  judge_waiting();
  judge_everywhere();
  judge_history();
  judge_cut();
  for (auto& device : devices_)
    if (device->is_open()) judge_receipts(*device);
  for (auto& relay : relays_) judge_relay(*relay);
  judge_secrets();
  if (nonces_.repeated() != 0) fail("a (key, nonce) met two plaintexts");
}

// What a program was told was saved is on its disk, whatever happened to it since.
void World::judge_saved(SimDevice& device) {
  if (device.restoring) return;
  for (const auto& saved : saved_) {
    if (saved.writer != device.number() || saved.destroyed || device.cloned || device.restored) continue;
    if (!holds(device, space_, saved))
      return fail("a device has lost what it had acknowledged", device.name() + ", " + saved.marker.substr(0, 20));
  }
}

namespace {
// Whether a transaction counts in a record: others may have written to it too.
bool marks(SimDevice& device, SpaceState& space, const Acknowledged& transaction, std::size_t record) {
  const auto loaded = device.core().load_record(space, transaction.records[record], 0);
  if (!loaded || !*loaded) return false;
  const auto& all = (*loaded)->record.marks();
  return std::any_of(all.begin(), all.end(), [&](const Mark& mark) {
    return mark.first == transaction.first && mark.device == space.number_of(transaction.author);
  });
}
}  // namespace

void World::judge_device(SimDevice& device) {
  SpaceState& space = **device.core().space(space_);
  // Every page, chain and signature: of one device in a short run in memory, of all where there are disks.
  const bool deep = script_.level == Level::sqlite || script_.seed % devices_.size() == device.number() % devices_.size();
  if (const Status whole = deep ? device.replica().verify() : Status(); !whole) {
    if (!device.rotten) return fail("a store does not verify", device.name() + ", " + whole.error().message());
    stop(device);
    return give_up(device);
  }
  for (const auto& saved : saved_) {
    if (!saved.creates || saved.records.size() != 2) continue;
    const bool first = marks(device, space, saved, 0), second = marks(device, space, saved, 1);
    if (first != second) return fail("half a transaction is shown", device.name() + ", " + found_as(device, space_, saved));
  }
  if (!is_member(device)) return;
  const auto pending = device.replica().pending(space_);
  if (!pending) return fail("a store cannot say what is pending", device.name());
  if (pending->transactions != 0 && pending->waits_for.empty())
    fail("transactions have no receipt and wait for nothing", device.name() + ", " + std::to_string(pending->transactions));
  const auto quarantine = device.replica().quarantine(space_);
  const bool expected = rights_changed_ || !cut_.empty() ||
                        std::any_of(devices_.begin(), devices_.end(), [](const auto& each) { return each->cloned || each->restored; });
  if (quarantine && !quarantine->empty() && !expected)
    fail("something stands in quarantine", device.name() + ", " + quarantine->front().reason);
  for (const auto& [n, log] : space.logs) {
    if (!log.head.name.branch) continue;
    const bool twin = std::any_of(devices_.begin(), devices_.end(), [&](const auto& each) {
      return may_fork(*each) && newborn_device(script_.level, each->number()).id == log.head.name.device;
    });
    if (!twin) fail("a log forked, though nobody was cloned", device.name());
  }
}

// Nobody is left outside, or waits for something that will not come.
void World::judge_waiting() {
  if (!desk().is_open()) return fail("the desk does not open");
  for (auto& device : devices_) {
    if (!device->is_open() || device->rotten || cut_.contains(device->number())) continue;
    const auto space = device->replica().space(space_);
    if (!space || !space->waits_for.empty())
      return fail("somebody still waits", device->name() + ", " + (space ? space->waits_for : "no space"));
  }
}

// Equal sets make equal states, and what was acknowledged anywhere is everywhere.
void World::judge_everywhere() {
  if (!desk().is_open()) return;
  const auto state = desk().replica().state_digest(space_);
  if (!state) return fail("the desk has no state digest");
  note("state " + state->hex().substr(0, 16));
  const auto of_desk = set_digest(desk_space().summary());
  for (auto& device : devices_) {
    if (!is_member(*device)) continue;
    const auto theirs = device->replica().state_digest(space_);
    const bool same_set = set_digest((*device->core().space(space_))->summary()) == of_desk;
    if (same_set && (!theirs || *theirs != *state)) return fail("equal sets, different states", device->name());
    for (auto& saved : saved_) {
      if (saved.destroyed || (cut_.contains(saved.writer) && !stands_before_cut(saved))) continue;
      if (!device->is_open()) return;
      if (!holds(*device, space_, saved))
        return fail("what was acknowledged is missing", device->name() + ", " + found_as(*device, space_, saved));
    }
  }
}

// As the desk knows it: what it had of the device's log when it cut it.
bool World::stands_before_cut(Acknowledged& saved) {
  const Member* member = desk_space().roster->member(saved.author);
  if (!member || !member->cut) return true;
  locate(desk(), space_, saved);
  const auto& logs = member->cut->logs;
  return saved.position != 0 && std::any_of(logs.begin(), logs.end(), [&](const LogPosition& each) {
           return each.log == saved.log && each.position >= saved.position;
         });
}

// What a cut device wrote beyond its cut is kept and counts for nothing.
void World::judge_cut() {
  if (!desk().is_open()) return;
  SpaceState& space = desk_space();
  for (const auto& saved : saved_) {
    const Member* member = space.roster->member(saved.author);
    if (!member || !member->cut || !saved.creates) continue;
    const auto found = desk().core().find_transaction(space, {space.number_of(saved.author), saved.first});
    if (!found || !*found || (*found)->log == 0) continue;
    const LogId root = space.logs.at((*found)->log).head.name.root_id(space_);
    const auto& logs = member->cut->logs;
    const auto listed = std::find_if(logs.begin(), logs.end(), [&](const LogPosition& each) { return each.log == root; });
    const bool beyond = (*found)->position > (listed == logs.end() ? 0 : listed->position);
    if (beyond && marks(desk(), space, saved, 0)) return fail("what lies beyond a cut counts", saved.marker.substr(0, 20));
  }
}

// No value is lost to a merge: each stands in its record's history.
void World::judge_history() {
  if (!desk().is_open() || !outcome_.ok()) return;
  std::size_t looked_at = 0;
  Dice dice(mixed(script_.seed, 3));
  for (const auto& saved : saved_) {
    if (saved.destroyed || saved.creates || !dice.chance(50) || ++looked_at > 4) continue;
    if (!holds(desk(), space_, saved)) continue;
    const auto located = desk().core().find_transaction(desk_space(), {desk_space().number_of(saved.author), saved.first});
    if (!located || !*located || !(*located)->stands) continue;
    const auto history = desk().replica().history(space_, saved.records.front());
    if (!history) return fail("a record has no history");
    const bool there = std::any_of(history->begin(), history->end(), [&](const HistoryEntry& entry) {
      const auto* text = std::get_if<std::string>(&entry.value);
      return text && *text == saved.marker;
    });
    if (!there && !rights_changed_) return fail("a value is missing in its record's history", saved.marker.substr(0, 20));
  }
}

// A receipt is a relay's word: what it covers is there, or the store has another identity by now.
void World::judge_receipts(SimDevice& device) {
  SpaceState& space = **device.core().space(space_);
  auto rows = device.core().database().prepare("SELECT log, store, position, hash FROM receipt");
  if (!rows) return fail("a store cannot read its receipts", device.name());
  for (;;) {
    const auto row = rows->step();
    if (!row || !*row) return;
    const auto store = *rows->column_id<StoreId>(1);
    const auto position = static_cast<Position>(rows->column_int(2));
    const auto hash = *rows->column_id<Hash>(3);
    const auto log = space.logs.find(rows->column_int(0));
    if (log == space.logs.end()) continue;
    for (auto& relay : relays_) {
      if (relay->store_id() != store || !relay->is_up()) continue;
      bool there = false;
      for (const auto& head : relay->ledger().heads(space_)) {
        if (head.name.root_id(space_) != log->second.head.name.root_id(space_)) continue;
        const auto at = relay->ledger().locate(space_, head.id, {{position, shorten(hash)}});
        there = there || (at && *at == position);
      }
      if (!there) return fail("a receipt covers what the relay does not hold", device.name());
    }
  }
}

void World::judge_relay(SimRelay& relay) {
  if (const auto verified = relay::verify_store(relay.store(), {}); !verified)
    fail("a relay's store does not verify", verified.error().message());
  if (relay.hub().peers() != 0) fail("a relay still counts peers", std::to_string(relay.hub().peers()));
  if (relay.hub().memory_bytes() != 0) fail("a relay still counts bytes of queues", std::to_string(relay.hub().memory_bytes()));
}

// No word that anybody wrote stands in a relay's bytes, nor in a device's files.
void World::judge_secrets() {
  constexpr std::string_view marker = "sim-marker-";
  const auto shows = [&](ByteView bytes) { return text_view(bytes).find(marker) != std::string_view::npos; };
  for (auto& relay : relays_)
    for (const auto& bytes : relay->bytes())
      if (shows(bytes)) return fail("a relay holds plaintext");
  if (script_.level == Level::memory) return;
  for (auto& device : devices_)
    for (const auto& [name, bytes] : device->image())
      if (shows(bytes)) return fail("a device's file holds plaintext", device->name() + ", " + name);
}

}  // namespace doorstep::sim
