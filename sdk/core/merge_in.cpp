// Transactions into records. The simple way is one transaction on top of a stored record (Record::apply); where that is not
// sure, the record is evaluated from every transaction that ever touched it (Record::evaluate, MERGE.md).
#include <algorithm>

#include "sdk/core/core.hpp"
#include "sync/codec.hpp"
#include "sync/lab.hpp"
#include "sync/limits.hpp"

namespace doorstep {

namespace {
constexpr std::uint8_t writes_or_proposes = may_write | may_propose;
constexpr std::size_t opened_segments_max = 3;

// The operation of that name, if it writes to that record.
const Operation* operation_at(const LocatedTransaction& located, const RecordPlace& record, const Dot& dot) {
  auto index = dot.counter - located.first;
  for (const auto& change : located.transaction.changes) {
    if (index < change.operations.size()) return RecordPlace(change.record, change.kind) == record ? &change.operations[index] : nullptr;
    index -= change.operations.size();
  }
  return nullptr;
}
}  // namespace

std::uint8_t Core::rights_of(SpaceState& space, const Incoming& incoming, KindId kind) const {
  // Before admission our role is not known: we write at once, and it is judged when the roster says what we are.
  if (incoming.author.number == device_unadmitted) return writes_or_proposes;
  if (incoming.log == 0) return space.rights(incoming.author.device, LogId{}, UINT64_MAX, kind);
  const auto& log = space.logs.at(incoming.log);
  return space.rights(incoming.author.device, log.head.name.root_id(space.id), incoming.position, kind);
}

Mark Core::mark_of(SpaceState& space, const Transaction& transaction, const RecordChange& change, const Incoming& incoming) const {
  const auto rights = rights_of(space, incoming, change.kind);
  Mark mark;
  mark.device = incoming.author.number;
  mark.first = incoming.author.first;
  mark.claimed_ms = transaction.time.claimed_ms;
  mark.offset_ms = transaction.time.offset_ms;
  mark.confirmed = transaction.time.confirmed && incoming.checked;
  mark.resolves = rights & may_resolve;
  mark.approves = rights & may_approve;
  mark.creates = change.creates;
  return mark;
}

bool Core::arrived(SpaceState& space, const Dot& dot) {
  if (dot.device == space.number_of(device()) || dot.device == device_unadmitted) {
    if (dot.counter > space.last_counter) return false;
    auto pending = database_->query_int("SELECT count(*) FROM pending WHERE space = ? AND first <= ? AND last >= ?", space.n,
                                        static_cast<std::int64_t>(dot.counter), static_cast<std::int64_t>(dot.counter));
    if (pending && *pending != 0) return true;
  }
  auto last = database_->query_int("SELECT last FROM span WHERE device = ? AND first <= ? ORDER BY first DESC LIMIT 1",
                                   space.n << 32 | dot.device, static_cast<std::int64_t>(dot.counter));
  return last && static_cast<Counter>(*last) >= dot.counter;
}

// A supersession of another device's operation counts if the author's segment proves that he had seen it: it names the log that
// holds the operation, up to a position not before it, by a hash that is on a chain through the operation (invariant 5). While no
// such chain reaches that position the author is believed.
bool Core::evidence_holds(SpaceState& space, const std::vector<Reference>& references, const Dot& dot,
                          std::map<std::int64_t, bool>& proven) {
  auto row = database_->query_int(
      "SELECT segment FROM (SELECT segment, last FROM span WHERE device = ? AND first <= ? "
      "ORDER BY first DESC LIMIT 1) WHERE last >= ?",
      space.n << 32 | dot.device, static_cast<std::int64_t>(dot.counter), static_cast<std::int64_t>(dot.counter));
  if (!row) return true;  // not arrived: remembered, and judged when it comes
  const auto known = proven.find(*row);
  if (known != proven.end()) return known->second;
  return proven[*row] = proven_to_know(space, references, *row);
}

bool Core::proven_to_know(SpaceState& space, const std::vector<Reference>& references, std::int64_t row) {
  const LogState& log = space.logs.at(log_of_segment(row));
  const Position position = position_of_segment(row);
  const LogId root = log.head.name.root_id(space.id);
  const auto first =
      std::lower_bound(references.begin(), references.end(), root, [](const Reference& r, const LogId& id) { return r.log < id; });
  for (auto reference = first; reference != references.end() && reference->log == root; ++reference) {
    if (reference->position < position) continue;
    bool reached = false;
    const auto proven_on = [&](const LogState& chain) {
      if (reference->position > chain.head.position) return false;
      reached = true;
      const auto hash = hash_at(space, chain, reference->position);
      return hash && *hash && shorten(**hash) == reference->hash;
    };
    if (proven_on(log)) return true;
    for (const auto& [n, branch] : space.logs)
      if (branch.parent != 0 && branch.head.name.incarnation == log.head.name.incarnation && holder_of(space, branch, position) == &log &&
          proven_on(branch))
        return true;
    if (!reached) return true;
  }
  return false;
}

// A name without evidence counts for nothing, but only where its operation stands at the address in question: what is elsewhere
// closes nothing anyway, and must not make the state depend on what arrived first (MERGE.md, section 1).
Status Core::drop_unproven(SpaceState& space, const RecordPlace& record, Operation& operation, DeviceNumber author,
                           const std::vector<Reference>& references, std::map<std::int64_t, bool>& proven) {
  for (auto at = operation.supersedes.begin(); at != operation.supersedes.end();) {
    bool drop = at->device != author && !evidence_holds(space, references, *at, proven);
    if (drop) {
      DOORSTEP_ASSIGN(const auto located, find_transaction(space, *at));
      const Operation* named = located ? operation_at(*located, record, *at) : nullptr;
      drop = named && named->address == operation.address;
    }
    at = drop ? operation.supersedes.erase(at) : at + 1;
  }
  return {};
}

Result<Reason> Core::merge(SpaceState& space, Transaction transaction, const Incoming& incoming, bool stands) {
  const bool allowed = may_write_all(space, transaction, incoming);
  std::uint32_t offset = 0;
  for (auto& change : transaction.changes) {
    const Mark mark = mark_of(space, transaction, change, incoming);
    const auto operations = static_cast<std::uint32_t>(change.operations.size());
    DOORSTEP_TRY(merge_change(space, mark, std::move(change), offset, incoming, nullptr, !stands || !allowed));
    offset += operations;
    if (DOORSTEP_PLANTED(half_transaction)) break;
  }
  return allowed ? Reason::none : Reason::no_right;
}

bool Core::may_write_all(SpaceState& space, const Transaction& transaction, const Incoming& incoming) const {
  return std::all_of(transaction.changes.begin(), transaction.changes.end(),
                     [&](const RecordChange& change) { return (rights_of(space, incoming, change.kind) & writes_or_proposes) != 0; });
}

Status Core::merge_change(SpaceState& space, const Mark& mark, RecordChange change, std::uint32_t offset, const Incoming& incoming,
                          StoredRecord* loaded, bool quarantined) {
  StoredRecord local;
  if (!loaded) {
    // A record of ours that is created right now cannot be there; anybody else's might (its edits may come first).
    std::optional<StoredRecord> found;
    if (!(change.creates && incoming.references == nullptr)) { DOORSTEP_ASSIGN(found, load_record(space, change.record, change.kind)); }
    if (found) {
      local = std::move(*found);
    } else {
      local.id = change.record;
      local.record = Record(change.kind);
    }
    loaded = &local;
  }
  std::map<std::int64_t, bool> proven;
  MarkedOperations marked;
  marked.mark = mark;
  marked.quarantined = quarantined;
  marked.operations.reserve(change.operations.size());
  for (auto& operation : change.operations) {
    marked.operations.push_back({offset++, std::move(operation)});
    if (incoming.references)
      DOORSTEP_TRY(drop_unproven(space, {change.record, change.kind}, marked.operations.back().operation, mark.device, *incoming.references,
                                 proven));
  }
  const auto outcome = loaded->record.apply(std::move(marked), [&](const Dot& dot) { return arrived(space, dot); });
  if (outcome == Record::Outcome::unchanged) return {};
  if (outcome == Record::Outcome::replay) {
    std::vector<Dot> dots{{mark.device, mark.first}};
    for (const auto& known : loaded->record.marks()) dots.push_back({known.device, known.first});
    DOORSTEP_ASSIGN(Record evaluated, evaluate(space, change.record, change.kind, std::move(dots)));
    loaded->record = std::move(evaluated);
  }
  DOORSTEP_TRY(save_record(space, *loaded));
  note_changed(space, change.record, change.kind);
  return {};
}

Result<const SegmentContent*> Core::opened_segment(SpaceState& space, std::int64_t row) {
  for (auto& opened : opened_)
    if (opened.row == row) return &opened.content;
  DOORSTEP_ASSIGN(Statement statement, database_->prepare("SELECT bytes FROM segment WHERE n = ?"));
  statement.bind(1, row);
  DOORSTEP_ASSIGN(const bool found, statement.step());
  if (!found) return Error(Code::corrupt, "a segment that the index names is missing");
  const auto& log = space.logs.at(log_of_segment(row));
  SegmentPlace place{log.head.name.root_id(space.id), position_of_segment(row), {}};
  if (place.position > 1) {
    DOORSTEP_ASSIGN(const std::optional<Hash> previous, hash_at(space, log, place.position - 1));
    if (!previous) return Error(Code::corrupt, "a segment's predecessor is missing");
    place.previous = *previous;
  }
  DOORSTEP_ASSIGN(const SegmentHead head, parse_segment(statement.column_blob(0)));
  const Hash* epoch_entry = space.roster->epoch_entry_hash(head.epoch);
  if (!epoch_entry) return Error(Code::waiting, "a segment's epoch is not in the roster");
  DOORSTEP_ASSIGN(SegmentContent content, open_segment(place, head, *epoch_entry, space.keys, compressor_));
  if (opened_.size() == opened_segments_max) opened_.pop_back();
  opened_.push_front({row, std::move(content)});
  return &opened_.front().content;
}

// The transaction of a segment that holds a counter: the last that begins at or before it, unless that one is void.
Result<std::optional<LocatedTransaction>> Core::find_in_segment(SpaceState& space, const Dot& dot, std::int64_t row) {
  const LogState& log = space.logs.at(log_of_segment(row));
  const auto position = position_of_segment(row);
  LocatedTransaction out;
  out.device = log.head.name.device;
  out.log = log.n;
  out.position = position;
  out.stands = judge(space, log, position) == Reason::none;
  DOORSTEP_ASSIGN(const std::int64_t checked, database_->query_int("SELECT checked FROM segment WHERE n = ?", row));
  DOORSTEP_ASSIGN(const SegmentContent* content, opened_segment(space, row));
  const auto& transactions = content->transactions;
  const auto above = std::upper_bound(transactions.begin(), transactions.end(), dot.counter,
                                      [](Counter counter, const NumberedTransaction& t) { return counter < t.first; });
  for (auto at = above; at != transactions.begin();) {
    --at;
    Decoder in(at->bytes);
    out.first = at->first;
    out.transaction = get_transaction(in, {out.device, dot.device, at->first});
    if (!in.finish("transaction") || out.last() < dot.counter) continue;
    DOORSTEP_ASSIGN(const std::int64_t lost,
                    database_->query_int("SELECT count(*) FROM void WHERE device = ? AND first = ? AND segment = ?",
                                         space.n << 32 | dot.device, static_cast<std::int64_t>(at->first), row));
    if (lost != 0) continue;
    out.references = content->references;
    out.checked = checked != 0 || check_counts(space, out.transaction, content->roster_size);
    for (auto earlier = transactions.begin(); earlier != at && !out.checked; ++earlier) {
      if (!has_clock_check(earlier->bytes)) continue;
      Decoder check(earlier->bytes);
      const Transaction transaction = get_transaction(check, {out.device, dot.device, earlier->first});
      out.checked = check.finish("transaction") && check_counts(space, transaction, content->roster_size);
    }
    return std::optional(std::move(out));
  }
  return std::optional<LocatedTransaction>();
}

Result<std::optional<LocatedTransaction>> Core::find_transaction(SpaceState& space, const Dot& dot) {
  const DeviceNumber own = space.number_of(device());
  const auto counter = static_cast<std::int64_t>(dot.counter);
  {
    DOORSTEP_ASSIGN(Statement span,
                    database_->prepare("SELECT segment, last FROM span WHERE device = ? AND first <= ? ORDER BY first DESC LIMIT 1"));
    span.bind(1, space.n << 32 | dot.device).bind(2, counter);
    DOORSTEP_ASSIGN(const bool in_segment, span.step());
    if (in_segment && span.column_int(1) >= counter) return find_in_segment(space, dot, span.column_int(0));
  }
  if (dot.device != own && dot.device != device_unadmitted) return std::optional<LocatedTransaction>();
  DOORSTEP_ASSIGN(Statement pending, database_->prepare("SELECT n FROM pending WHERE space = ? AND first <= ? AND last >= ?"));
  pending.bind(1, space.n).bind(2, counter).bind(3, counter);
  DOORSTEP_ASSIGN(const bool waits, pending.step());
  if (!waits) return std::optional<LocatedTransaction>();
  DOORSTEP_ASSIGN(auto chunk, pending_chunk(pending.column_int(0)));
  const auto above =
      std::upper_bound(chunk.begin(), chunk.end(), dot.counter, [](Counter c, const NumberedTransaction& t) { return c < t.first; });
  if (above == chunk.begin()) return std::optional<LocatedTransaction>();
  LocatedTransaction out;
  out.device = device();
  out.checked = true;
  out.first = std::prev(above)->first;
  Decoder in(std::prev(above)->bytes);
  out.transaction = get_transaction(in, {device(), own, out.first});
  DOORSTEP_TRY(in.finish("transaction"));
  if (out.last() < dot.counter) return std::optional<LocatedTransaction>();
  return std::optional(std::move(out));
}

// What one transaction writes to a record, with names that are not proven left out.
Result<std::optional<MarkedOperations>> Core::marked_operations(SpaceState& space, const RecordPlace& record, DeviceNumber number,
                                                                const LocatedTransaction& located) {
  const Incoming incoming{{located.device, number, located.first},
                          located.log,
                          located.position,
                          located.checked,
                          located.log == 0 ? nullptr : &located.references};
  std::uint32_t offset = 0;
  for (const auto& change : located.transaction.changes) {
    if (RecordPlace(change.record, change.kind) != record) {
      offset += static_cast<std::uint32_t>(change.operations.size());
      continue;
    }
    std::map<std::int64_t, bool> proven;
    MarkedOperations marked;
    marked.mark = mark_of(space, located.transaction, change, incoming);
    marked.quarantined = !located.stands || !may_write_all(space, located.transaction, incoming);
    for (const auto& operation : change.operations) {
      marked.operations.push_back({offset++, operation});
      if (incoming.references)
        DOORSTEP_TRY(drop_unproven(space, record, marked.operations.back().operation, number, located.references, proven));
    }
    return std::optional(std::move(marked));
  }
  return std::optional<MarkedOperations>();
}

Result<Record> Core::evaluate(SpaceState& space, const RecordId& id, KindId kind, std::vector<Dot> dots) {
  std::vector<MarkedOperations> transactions;
  std::map<Dot, Counter> seen;  // first counter of each transaction looked at -> last
  const auto was_seen = [&](const Dot& dot) {
    const auto after = seen.upper_bound(dot);
    return after != seen.begin() && std::prev(after)->first.device == dot.device && std::prev(after)->second >= dot.counter;
  };
  const DeviceNumber own = space.number_of(device());
  // What is named may stand in quarantine, where no mark leads: it counts once somebody who counts has closed it.
  for (std::size_t i = 0; i < dots.size(); ++i) {
    Dot dot = dots[i];
    if (dot.device == device_unadmitted) dot.device = own;
    if (was_seen(dot)) continue;
    DOORSTEP_ASSIGN(const auto located, find_transaction(space, dot));
    if (!located) continue;
    seen[{dot.device, located->first}] = located->last();
    DOORSTEP_ASSIGN(auto marked, marked_operations(space, {id, kind}, dot.device, *located));
    if (!marked) continue;
    for (const auto& placed : marked->operations)
      dots.insert(dots.end(), placed.operation.supersedes.begin(), placed.operation.supersedes.end());
    transactions.push_back(std::move(*marked));
  }
  return Record::evaluate(kind, std::move(transactions));
}

Status Core::evaluate_again(SpaceState& space, const RecordId& id, KindId kind, const std::vector<Dot>& more) {
  DOORSTEP_ASSIGN(auto stored, load_record(space, id, kind));
  if (!stored) {
    if (more.empty()) return {};
    stored.emplace();
    stored->id = id;
  }
  std::vector<Dot> dots = more;
  for (const auto& mark : stored->record.marks()) dots.push_back({mark.device, mark.first});
  DOORSTEP_ASSIGN(stored->record, evaluate(space, id, kind, std::move(dots)));
  DOORSTEP_TRY(save_record(space, *stored));
  note_changed(space, id, kind);
  return {};
}

// The records that transactions write to, each with those that do.
void Core::note_touched(const std::vector<NumberedTransaction>& transactions, const DeviceId& author, DeviceNumber number,
                        std::map<RecordPlace, std::vector<Dot>>& touched) const {
  for (const auto& numbered : transactions) {
    Decoder in(numbered.bytes);
    const Transaction transaction = get_transaction(in, {author, number, numbered.first});
    if (!in.finish("transaction")) continue;
    for (const auto& change : transaction.changes) touched[{change.record, change.kind}].push_back({number, numbered.first});
  }
}

Status Core::recheck_segment(SpaceState& space, std::int64_t segment) {
  const auto opened = opened_segment(space, segment);
  if (!opened) return opened.code() == Code::waiting || opened.code() == Code::corrupt ? Status() : Status(opened.error());
  const auto& author = space.logs.at(log_of_segment(segment)).head.name.device;
  std::map<RecordPlace, std::vector<Dot>> touched;  // each record once, however many transactions write to it
  note_touched((*opened)->transactions, author, space.number_of(author), touched);
  for (const auto& [record, dots] : touched) DOORSTEP_TRY(evaluate_again(space, record.first, record.second, dots));
  return {};
}

// A check counts if it was against a relay that the roster named when the author wrote (DESIGN invariant 4).
bool Core::check_counts(const SpaceState& space, const Transaction& transaction, Position roster_size) {
  return transaction.clock_check &&
         space.roster->relay_named_by(TransportPublicKey::from(transaction.clock_check->peer.view()), roster_size);
}

void Core::note_changed(SpaceState& space, const RecordId& id, KindId kind) {
  if (!observers.empty()) changed_[space.id][id] = kind;
}

}  // namespace doorstep
