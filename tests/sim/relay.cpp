#include "tests/sim/relay.hpp"

#include "sync/lab.hpp"

namespace doorstep::sim {

namespace {

constexpr char relay_directory[] = "/relay";
constexpr std::int64_t worker_ms = 2;

const fault::Image& newborn_relay(const DeviceId& authority, std::size_t n) {
  static std::map<std::pair<DeviceId, std::size_t>, fault::Image> made;
  const auto [at, fresh] = made.try_emplace({authority, n});
  if (!fresh) return at->second;
  DiceRandom random(9000 + n);
  fault::SimulatedDisk disk;
  const Status created = relay::SqliteStore::create(relay_directory, {authority}, false, random, disk.vfs()->zName);
  DOORSTEP_CHECK(created.ok());
  return at->second = disk.image();
}

}  // namespace

SimRelay::SimRelay(Timeline& timeline, Level level, std::size_t number, std::uint64_t seed, const DeviceId& authority)
    : clock(timeline), timeline_(timeline), level_(level), number_(number), random_(seed), authority_(authority) {
  DiceRandom keys(9100 + number);
  identity_.store = keys.make<StoreId>();
  identity_.receipts = make_identity_key_pair(keys);
  identity_.transport = make_transport_key_pair(keys);
  restore({}, false);
}

SimRelay::~SimRelay() {
  if (disk_) disk_->die_at_call(0);
  stop();
}

RelayAddress SimRelay::address() const { return {identity_.transport.public_key, {"relay" + std::to_string(number_) + ":1"}}; }

void SimRelay::replace_disk(const fault::Image& image) {
  born_from_ = image;
  disk_ = std::make_unique<fault::SimulatedDisk>(image);
}

bool SimRelay::start() {
  DOORSTEP_CHECK(!hub_);
  broken_ = false;
  clock.boot();
  if (disk_) {
    auto opened = relay::SqliteStore::open(relay_directory, relay::SqliteStore::Mode::serve, disk_->vfs()->zName);
    if (!opened) return false;
    store_ = std::move(*opened);
  }
  ledger_.emplace(*store_, relay::Quotas{});
  if (!ledger_->load()) {
    stop();
    return false;
  }
  hub_.emplace(config_, [this](relay::Job job) { worker_->submit(std::move(job)), kick(); });
  for (const auto& space : ledger_->spaces()) {
    hub_->set_roster(space, ledger_->roster(space));
    hub_->set_heads(space, ledger_->heads(space));
  }
  relay::Worker::Seams seams;
  seams.on_answers = [this](std::vector<relay::Answer> answers, std::size_t bytes) { hub_->on_answers(std::move(answers), bytes); };
  seams.on_broken = [this](const Error&) { broken_ = true; };
  worker_.emplace(*store_, *ledger_, identity_.store, identity_.receipts.secret_key, std::move(seams));
  shared_.emplace(relay::Shared{config_, *hub_, clock, random_, identity_});
  return true;
}

void SimRelay::stop() {
  shared_.reset();
  worker_.reset();
  hub_.reset();
  ledger_.reset();
  if (disk_) store_.reset();
  *std::exchange(alive_, std::make_shared<bool>(true)) = false;
  kicked_ = false;
}

void SimRelay::power_cut(std::uint64_t seed) {
  if (disk_) disk_->die_at_call(0);
  stop();
  if (!disk_) return;
  fault::CrashWalk walk(born_from_, disk_->events());
  walk.advance_to(disk_->events().size());
  replace_disk(walk.image(static_cast<fault::Damage>(Dice(seed).below(fault::damage_kinds)), seed));
}

void SimRelay::kick() {
  if (std::exchange(kicked_, true)) return;
  timeline_.after(worker_ms, [this, alive = alive_] {
    if (!*alive) return;
    kicked_ = false;
    if (worker_ && !broken_ && worker_->work()) kick();
  });
}

SimRelay::Copy SimRelay::copy() const {
  if (disk_) return {disk_->image(), nullptr};
  return {{}, std::make_shared<const relay::MemoryStore>(static_cast<const relay::MemoryStore&>(*store_))};
}

void SimRelay::restore(const std::optional<Copy>& copy, bool new_identity) {
  if (new_identity) identity_.store = random_.make<StoreId>();
  if (level_ == Level::sqlite) {
    replace_disk(copy ? copy->disk : newborn_relay(authority_, number_));
  } else if (copy) {
    store_ = std::make_unique<relay::MemoryStore>(*copy->memory);
  } else {
    store_ = std::make_unique<relay::MemoryStore>();
    (void)store_->allow(authority_);
  }
}

std::vector<Bytes> SimRelay::bytes() const {
  std::vector<Bytes> out;
  if (disk_) {
    for (auto& [name, content] : disk_->image()) out.push_back(std::move(content));
    return out;
  }
  if (!ledger_) return out;
  for (const auto& space : ledger_->spaces()) {
    for (auto& entry : ledger_->load_roster(space, 0, SIZE_MAX)) out.push_back(std::move(entry));
    auto logs = store_->logs();
    for (const auto& log : *logs)
      for (auto& segment : *store_->segments(log.number, 0, SIZE_MAX)) out.push_back(std::move(segment.bytes));
  }
  return out;
}

}  // namespace doorstep::sim
