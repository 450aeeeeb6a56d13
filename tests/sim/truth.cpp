#include "tests/sim/truth.hpp"

#include "sync/lab.hpp"

namespace doorstep::sim {

namespace {

SpaceState* space_of(SimDevice& device, const SpaceId& id) {
  if (!device.is_open()) return nullptr;
  auto space = device.core().space(id);
  return space ? *space : nullptr;
}

// A number names it once its author is admitted; before that only his own store has it.
Dot dot_of(const SpaceState& space, const Acknowledged& transaction) { return {space.number_of(transaction.author), transaction.first}; }

}  // namespace

bool holds(SimDevice& device, const SpaceId& id, const Acknowledged& transaction) {
  SpaceState* space = space_of(device, id);
  if (!space) return false;
  const auto found = device.core().find_transaction(*space, dot_of(*space, transaction));
  return found && *found && (*found)->first == transaction.first && (*found)->device == transaction.author;
}

bool holds(SimRelay& relay, const SpaceId& id, const Acknowledged& transaction) {
  if (transaction.position == 0 || !relay.is_up()) return false;
  for (const auto& head : relay.ledger().heads(id)) {
    if (head.name.root_id(id) != transaction.log) continue;
    const auto at = relay.ledger().locate(id, head.id, {{transaction.position, transaction.hash}});
    if (at && *at == transaction.position) return true;
  }
  return false;
}

void locate(SimDevice& device, const SpaceId& id, Acknowledged& transaction) {
  SpaceState* space = space_of(device, id);
  if (!space || transaction.position != 0) return;
  const auto found = device.core().find_transaction(*space, dot_of(*space, transaction));
  if (!found || !*found || (*found)->log == 0) return;
  const LogState& log = space->logs.at((*found)->log);
  const auto hash = device.core().hash_at(*space, log, (*found)->position);
  if (!hash || !*hash) return;
  transaction.log = log.head.name.root_id(id);
  transaction.position = (*found)->position;
  transaction.hash = shorten(**hash);
}

std::string found_as(SimDevice& device, const SpaceId& id, const Acknowledged& transaction) {
  std::string out = transaction.marker.substr(0, 16) + ": ";
  SpaceState* space = space_of(device, id);
  if (!space) return out + "not open";
  const Dot dot = dot_of(*space, transaction);
  out += std::to_string(dot.device) + "." + std::to_string(dot.counter);
  const auto found = device.core().find_transaction(*space, dot);
  if (!found) return out + " " + found.error().message();
  if (!*found) return out + " not there";
  out += " log " + std::to_string((*found)->log) + " position " + std::to_string((*found)->position) +
         ((*found)->stands ? "" : " (does not stand)");
  for (const auto& record : transaction.records) out += device.replica().get(id, record) ? " shown" : " hidden";
  auto reason = device.core().database().query_int("SELECT reason FROM quarantine WHERE segment = ? LIMIT 1",
                                                   segment_row((*found)->log, (*found)->position));
  if (reason) out += std::string(", quarantined: ") + reason_name(static_cast<Reason>(*reason));
  return out;
}

// ---- Nonces ------------------------------------------------------------------------------------------------------------

namespace {

thread_local std::function<void(ByteView, ByteView, ByteView)> noting;

std::uint64_t word_at(ByteView bytes, std::size_t at) {
  std::uint64_t out = 0;
  if (at < bytes.size()) std::memcpy(&out, bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at));
  return out;
}
std::uint64_t sum_of(ByteView bytes) {
  std::uint64_t out = bytes.size();
  for (std::size_t at = 0; at < bytes.size(); at += 8) out = (out ^ word_at(bytes, at)) * 0x9E3779B97F4A7C15u, out ^= out >> 29;
  return out;
}

}  // namespace

NonceBook::NonceBook() {
#ifdef DOORSTEP_LAB
  noting = [this](ByteView key, ByteView nonce, ByteView plain) { note(key, nonce, plain); };
  lab::seams.on_seal = [](std::span<const std::uint8_t> key, std::span<const std::uint8_t> nonce, std::span<const std::uint8_t> plain) {
    noting(key, nonce, plain);
  };
#endif
}

NonceBook::~NonceBook() {
#ifdef DOORSTEP_LAB
  lab::seams.on_seal = nullptr;
#endif
  noting = nullptr;
}

// Keys and nonces are random or rise: these bytes of them are as good as all.
void NonceBook::note(ByteView key, ByteView nonce, ByteView plain) {
  ++sealed_;
  const Name name{word_at(key, 0) ^ word_at(nonce, 0) * 31, word_at(key, 8) ^ word_at(nonce, 4) * 37 ^ word_at(nonce, 16) * 41};
  const auto sum = sum_of(plain);
  const auto [at, fresh] = seen_.emplace(name, sum);
  if (!fresh && at->second != sum) ++repeated_;
}

}  // namespace doorstep::sim
