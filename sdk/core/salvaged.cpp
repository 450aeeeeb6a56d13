// What a rebuild saved and could not place (FORMAT.md, "Rebuilding"), and what the vault remembers of the spaces.
//
// `salvaged` holds roster entries and segments. An entry or segment leaves it when
//   what stands before it is here    it is appended like any that comes from a relay
//   it is here already               it is dropped
//   it is ours and behind a gap      its transactions become pending: what is in front of it may be gone for ever. Should a relay have
//                                    the segment after all, they are pending no more (Core::forget_pending)
// All others wait. Placing is done after the rebuild, and each time that everything which a relay has is here.
#include <algorithm>

#include "sdk/core/core.hpp"
#include "sync/limits.hpp"

namespace doorstep {

// ---- What the vault remembers

Status Core::load_known_spaces(ByteView sealed) {
  known_spaces_.clear();
  known_encoded_.clear();
  DOORSTEP_ASSIGN(const DatabaseKey key, vault_->database_key());
  // A spare copy: a store does not fail for it.
  auto encoded = open_known_spaces(sealed, key, compressor_);
  auto spaces = encoded ? decode_known_spaces(*encoded) : Result<std::vector<KnownSpace>>(encoded.error());
  if (!spaces) return {};
  known_spaces_ = std::move(*spaces);
  known_encoded_ = std::move(*encoded);
  return {};
}

std::vector<KnownSpace> Core::spaces_to_remember() const {
  std::vector<KnownSpace> out;
  for (const auto& [id, space] : spaces_) {
    KnownSpace known{space.n, id, space.name, space.label, space.invitation, space.relays(), space.known_roster_size, {}};
    if (space.roster) known.roster_size = std::max(known.roster_size, space.roster->size());
    for (const auto& [n, log] : space.logs)
      if (const LogName& name = log.head.name; name.device == device())
        known.own_logs.push_back({n, name.incarnation, name.branch, name.starts_after});
    out.push_back(std::move(known));
  }
  for (const auto& known : known_spaces_)
    if (!spaces_.contains(known.id)) out.push_back(known);
  return out;
}

// The change that it follows stands already, so it fails nobody: without memory the vault is told at the next change.
void Core::remember_spaces() {
  if (rebuilding_ || options_.unencrypted_for_benchmarks) return;
  const Status told = without_throwing([this]() -> Status { return tell_vault_of_spaces(), Status(); });
  if (!told) spaces_changed_ = true;
}

void Core::tell_vault_of_spaces() {
  auto spaces = spaces_to_remember();
  Bytes encoded = encode_known_spaces(spaces);
  if (encoded == known_encoded_) return;
  const auto key = vault_->database_key();
  if (!key) return;
  auto sealed = seal_known_spaces(encoded, *key, compressor_, *random_);
  while (sealed.code() == Code::too_large && !spaces.empty()) {  // as many as the vault has room for
    spaces.resize(spaces.size() * 3 / 4);
    sealed = seal_known_spaces(encode_known_spaces(spaces), *key, compressor_, *random_);
  }
  if (!sealed) return;
  const VaultPlain plain{to_bytes(transport_->secret_key.reveal()), std::move(*sealed)};
  Bytes outside = encode_vault_plain(plain);
  if (vault_->set_plain(outside)) {
    known_spaces_ = std::move(spaces);
    known_encoded_ = std::move(encoded);
  }
  wipe(outside);
}

// ---- Placing what was saved

// A change that fails reloads the spaces, so they are looked up anew behind each.
Status Core::place_salvaged(const SpaceId& id, const std::function<void()>& placed) {
  DOORSTEP_TRY(place_salvaged_roster(id));
  DOORSTEP_ASSIGN(const SpaceState* const with_roster, space(id));
  if (!with_roster->roster) return {};
  std::vector<LogName> names;
  {
    DOORSTEP_ASSIGN(Statement rows, database_->prepare("SELECT DISTINCT name FROM salvaged WHERE space = ? AND log <> x''"));
    rows.bind(1, with_roster->n);
    for (;;) {
      DOORSTEP_ASSIGN(const bool row, rows.step());
      if (!row) break;
      DOORSTEP_ASSIGN(LogName name, decode<LogName>(rows.column_blob(0), "the name of a log"));
      names.push_back(std::move(name));
    }
  }
  // A branch after what it leaves.
  std::sort(names.begin(), names.end(), [](const LogName& a, const LogName& b) { return a.starts_after < b.starts_after; });
  for (const auto& name : names) DOORSTEP_TRY(place_salvaged_log(id, name, placed));
  DOORSTEP_ASSIGN(SpaceState* const state, space(id));
  return reseal_salvaged(*state);
}

Status Core::place_salvaged_roster(const SpaceId& id) {
  for (;;) {
    DOORSTEP_ASSIGN(SpaceState* const state, space(id));
    const Position size = state->roster ? state->roster->size() : 0;
    DOORSTEP_TRY(
        database_->run("DELETE FROM salvaged WHERE space = ? AND log = x'' AND position < ?", state->n, static_cast<std::int64_t>(size)));
    Bytes next;
    {
      DOORSTEP_ASSIGN(Statement row, database_->prepare("SELECT bytes FROM salvaged WHERE space = ? AND log = x'' AND position = ?"));
      row.bind(1, state->n).bind(2, static_cast<std::int64_t>(size));
      DOORSTEP_ASSIGN(const bool found, row.step());
      if (!found) return {};
      next = to_bytes(row.column_blob(0));
    }
    const auto added = append_roster(*state, size, {next});
    if (!added && (added.code() == Code::io || added.code() == Code::full)) return added.error();
    if (!added) return {};  // it waits for a newer version, or belongs to another history: it stays
  }
}

Status Core::place_salvaged_log(const SpaceId& id, const LogName& name, const std::function<void()>& placed) {
  constexpr std::size_t batch_bytes = 1u << 20;
  const LogId log = name.id(id);
  for (;;) {
    DOORSTEP_ASSIGN(SpaceState* const state, space(id));
    const auto at = state->log_by_id.find(log);
    const Position head = at == state->log_by_id.end() ? name.starts_after : state->logs.at(at->second).head.position;
    DOORSTEP_TRY(database_->run("DELETE FROM salvaged WHERE space = ? AND log = ? AND position <= ?", state->n, log,
                                static_cast<std::int64_t>(head)));
    std::vector<Bytes> run;
    {
      DOORSTEP_ASSIGN(Statement rows,
                      database_->prepare("SELECT position, bytes FROM salvaged WHERE space = ? AND log = ? ORDER BY position"));
      rows.bind(1, state->n).bind(2, log);
      for (std::size_t bytes = 0; bytes < batch_bytes; bytes += run.back().size()) {
        DOORSTEP_ASSIGN(const bool row, rows.step());
        if (!row || static_cast<Position>(rows.column_int(0)) != head + 1 + run.size()) break;
        run.push_back(to_bytes(rows.column_blob(1)));
      }
    }
    if (run.empty()) return {};
    const auto stored = append_segments(*state, name, head + 1, run, nullptr);
    if (stored.refused == Code::io || stored.refused == Code::full)
      return Error(stored.refused, "what a rebuild saved could not be stored: free some space and try again");
    if (placed)
      for (Position position = head; position < stored.position; ++position) placed();
    if (stored.position <= head) return {};  // no key or no parent yet, or of another branch: it stays
  }
}

// A segment that was sealed here names the hash of the one before it, so that it opens although that one is lost.
Result<std::optional<SegmentContent>> Core::open_salvaged(SpaceState& space, const LogName& name, Position position, ByteView previous,
                                                          ByteView bytes) {
  SegmentPlace place{name.root_id(space.id), position, {}};
  if (previous.size() == Hash::size_bytes) {
    place.previous = Hash::from(previous);
  } else if (const auto at = space.log_by_id.find(name.id(space.id)); at != space.log_by_id.end()) {
    DOORSTEP_ASSIGN(const std::optional<Hash> before, hash_at(space, space.logs.at(at->second), position - 1));
    if (before) place.previous = *before;
  }
  const auto head = parse_segment(bytes);
  const Hash* epoch_entry = head ? space.roster->epoch_entry_hash(head->epoch) : nullptr;
  if (!epoch_entry || !verify_segment(place, *head, *epoch_entry, name.device)) return std::optional<SegmentContent>();
  auto content = open_segment(place, *head, *epoch_entry, space.keys, compressor_);
  if (!content) return std::optional<SegmentContent>();
  return std::optional(std::move(*content));
}

// Our own segments behind a gap: their transactions go into new ones.
Status Core::reseal_salvaged(SpaceState& space) {
  std::vector<PendingRun> runs;
  std::vector<std::pair<LogId, Position>> read;
  {
    DOORSTEP_ASSIGN(
        Statement rows,
        database_->prepare("SELECT name, position, previous, bytes FROM salvaged WHERE space = ? AND log <> x'' ORDER BY log, position"));
    rows.bind(1, space.n);
    for (;;) {
      DOORSTEP_ASSIGN(const bool row, rows.step());
      if (!row) break;
      DOORSTEP_ASSIGN(const LogName name, decode<LogName>(rows.column_blob(0), "the name of a log"));
      if (name.device != device()) continue;
      const auto position = static_cast<Position>(rows.column_int(1));
      DOORSTEP_ASSIGN(const auto content, open_salvaged(space, name, position, rows.column_blob(2), rows.column_blob(3)));
      if (!content) continue;
      for (const auto& numbered : content->transactions) {
        Decoder in(numbered.bytes);
        const Transaction transaction = get_transaction(in, {device(), space.number_of(device()), numbered.first});
        if (!in.finish("transaction")) continue;
        const Counter last = numbered.first + std::max<std::size_t>(transaction.operation_count(), 1) - 1;
        runs.push_back({numbered.first, last, 1, transaction.time.claimed_ms, {}, encode_chunk({numbered}, compressor_)});
      }
      read.emplace_back(name.id(space.id), position);
    }
  }
  if (read.empty()) return {};
  return change([&]() -> Status {
    for (const auto& [log, position] : read)
      DOORSTEP_TRY(database_->run("DELETE FROM salvaged WHERE space = ? AND log = ? AND position = ?", space.n, log,
                                  static_cast<std::int64_t>(position)));
    return add_pending(space, std::move(runs));
  });
}

// ---- Pending again

// The transactions of `runs` that stand neither in a segment nor in `held`, which they join. A run of which some are known is taken
// apart: one row claims all counters from its first to its last.
Result<std::vector<PendingRun>> Core::not_here_yet(SpaceState& space, std::vector<PendingRun> runs, std::set<Counter>& held) {
  const DeviceNumber number = space.number_of(device());
  std::vector<PendingRun> out;
  for (auto& run : runs) {
    DOORSTEP_ASSIGN(const auto transactions, decode_chunk(run.bytes, compressor_));
    std::vector<PendingRun> single;
    for (const auto& numbered : transactions) {
      const auto counter = static_cast<std::int64_t>(numbered.first);
      const auto last = database_->query_int("SELECT last FROM span WHERE device = ? AND first <= ? ORDER BY first DESC LIMIT 1",
                                             space.n << 32 | number, counter);
      if (!last && last.code() != Code::not_found) return last.error();
      if ((last && *last >= counter) || !held.insert(numbered.first).second) continue;
      Decoder in(numbered.bytes);
      const Transaction transaction = get_transaction(in, {device(), number, numbered.first});
      DOORSTEP_TRY(in.finish("transaction"));
      const Counter end = numbered.first + std::max<std::size_t>(transaction.operation_count(), 1) - 1;
      single.push_back({numbered.first, end, 1, transaction.time.claimed_ms, run.refers, encode_chunk({numbered}, compressor_)});
    }
    if (single.size() == transactions.size())
      out.push_back(std::move(run));
    else
      std::move(single.begin(), single.end(), std::back_inserter(out));
  }
  return out;
}

// Pending rows stand in the order of their counters, which are older than what was written since.
Status Core::add_pending(SpaceState& space, std::vector<PendingRun> runs) {
  std::vector<PendingRun> present;
  {
    DOORSTEP_ASSIGN(
        Statement rows,
        database_->prepare("SELECT first, last, transactions, oldest_ms, refers, bytes FROM pending WHERE space = ? ORDER BY n"));
    rows.bind(1, space.n);
    for (;;) {
      DOORSTEP_ASSIGN(const bool row, rows.step());
      if (!row) break;
      present.push_back({static_cast<Counter>(rows.column_int(0)), static_cast<Counter>(rows.column_int(1)),
                         static_cast<std::size_t>(rows.column_int(2)), rows.column_int(3), to_bytes(rows.column_blob(4)),
                         to_bytes(rows.column_blob(5))});
    }
  }
  std::set<Counter> held;
  DOORSTEP_ASSIGN(auto all, not_here_yet(space, std::move(present), held));
  DOORSTEP_ASSIGN(auto more, not_here_yet(space, std::move(runs), held));
  std::move(more.begin(), more.end(), std::back_inserter(all));
  std::sort(all.begin(), all.end(), [](const PendingRun& a, const PendingRun& b) { return a.first < b.first; });
  DOORSTEP_TRY(database_->run("DELETE FROM pending WHERE space = ?", space.n));
  opened_chunk_ = {};
  for (const auto& run : all) {
    DOORSTEP_TRY(
        database_->run("INSERT INTO pending(space, first, last, transactions, oldest_ms, refers, bytes) VALUES(?, ?, ?, ?, ?, ?, ?)",
                       space.n, static_cast<std::int64_t>(run.first), static_cast<std::int64_t>(run.last),
                       static_cast<std::int64_t>(run.transactions), run.oldest_ms, run.refers, run.bytes));
    space.last_counter = std::max(space.last_counter, run.last);
  }
  return readmit_pending(space);
}

// Now everything that was seen before the damage is here again, so that what was written then may refer to all of it. (Which logs it had
// seen is not known any more. To name a log too many says nothing wrong: what an operation supersedes stands in the operation.)
Result<bool> Core::settle(const SpaceId& id) {
  DOORSTEP_ASSIGN(const SpaceState* const before, space(id));
  DOORSTEP_ASSIGN(const std::int64_t waiting, database_->query_int("SELECT count(*) FROM salvaged WHERE space = ?", before->n));
  if (!before->roster || (!before->rebuilt && waiting == 0)) return false;
  DOORSTEP_TRY(place_salvaged(id));
  DOORSTEP_ASSIGN(SpaceState* const state, space(id));
  if (!state->rebuilt) return true;
  DOORSTEP_TRY(change([&]() -> Status {
    // Entries of the sequencer's own roster behind one that no relay has: nobody can fill that gap, and what they did is done again by
    // a person. (The damaged files keep them.)
    if (state->roster->sequencer() == device())
      DOORSTEP_TRY(database_->run("DELETE FROM salvaged WHERE space = ? AND log = x''", state->n));
    Bytes logs;
    std::size_t left = limits::references_per_segment_max / 2;  // so that a segment may hold more than one such transaction
    for (auto log = state->logs.rbegin(); log != state->logs.rend() && left != 0; ++log, --left)
      put_varint(logs, static_cast<std::uint64_t>(log->first));
    DOORSTEP_TRY(database_->run("UPDATE pending SET refers = ? WHERE space = ?", logs, state->n));
    DOORSTEP_TRY(database_->run("UPDATE space SET rebuilt = 0 WHERE n = ?", state->n));
    state->rebuilt = false;
    state->known_roster_size = 0;  // what nobody has, nobody will miss
    spaces_changed_ = true;
    return {};
  }));
  return true;
}

}  // namespace doorstep
