// Transactions into records. The simple way is one transaction on top of a stored record (Record::apply); where that is not
// sure, the record is evaluated from every transaction that ever touched it (Record::evaluate, MERGE.md).
#include <algorithm>

#include "sdk/core/core.hpp"
#include "sync/codec.hpp"
#include "sync/limits.hpp"

namespace doorstep {

namespace {
constexpr std::uint8_t writes_or_proposes = may_write | may_propose;
constexpr std::size_t opened_segments_max = 3;
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

// A supersession of another device's operation counts if the author's segment proves that he had seen it: it names a log that
// holds the operation, up to a position not before it, by a hash that is on that log's chain (invariant 5). A position
// that has not arrived is believed until it does (`unchecked`).
bool Core::evidence_holds(SpaceState& space, const std::vector<Reference>& references, const Dot& dot) {
  auto row = database_->query_int(
      "SELECT segment FROM (SELECT segment, last FROM span WHERE device = ? AND first <= ? "
      "ORDER BY first DESC LIMIT 1) WHERE last >= ?",
      space.n << 32 | dot.device, static_cast<std::int64_t>(dot.counter), static_cast<std::int64_t>(dot.counter));
  if (!row) return true;  // not arrived: remembered, and judged when it comes
  const auto at = space.logs.find(log_of_segment(*row));
  if (at == space.logs.end()) return true;
  const LogState& log = at->second;
  const LogId root = log.head.name.root_id(space.id);
  for (const auto& reference : references) {
    if ((reference.log != log.head.id && reference.log != root) || reference.position < position_of_segment(*row)) continue;
    if (reference.position > log.head.position) return true;
    auto hash = hash_at(space, log, reference.position);
    if (hash && *hash && shorten(**hash) == reference.hash) return true;
  }
  return false;
}

Result<Reason> Core::merge(SpaceState& space, Transaction transaction, const Incoming& incoming) {
  for (const auto& change : transaction.changes)
    if ((rights_of(space, incoming, change.kind) & writes_or_proposes) == 0) return Reason::no_right;
  std::uint32_t offset = 0;
  for (auto& change : transaction.changes) {
    const Mark mark = mark_of(space, transaction, change, incoming);
    const auto operations = static_cast<std::uint32_t>(change.operations.size());
    DOORSTEP_TRY(merge_change(space, mark, std::move(change), offset, incoming, nullptr));
    offset += operations;
  }
  return Reason::none;
}

Status Core::merge_change(SpaceState& space, const Mark& mark, RecordChange change, std::uint32_t offset, const Incoming& incoming,
                          StoredRecord* loaded) {
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
  MarkedOperations marked;
  marked.mark = mark;
  marked.operations.reserve(change.operations.size());
  for (auto& operation : change.operations) {
    marked.operations.push_back({offset++, std::move(operation)});
    if (incoming.references)
      std::erase_if(marked.operations.back().operation.supersedes,
                    [&](const Dot& dot) { return dot.device != mark.device && !evidence_holds(space, *incoming.references, dot); });
  }
  const auto outcome = loaded->record.apply(marked, [&](const Dot& dot) { return arrived(space, dot); });
  if (outcome == Record::Outcome::unchanged) return {};
  if (outcome == Record::Outcome::replay) {
    std::vector<Dot> firsts{{mark.device, mark.first}};
    for (const auto& known : loaded->record.marks()) firsts.push_back({known.device, known.first});
    DOORSTEP_ASSIGN(Record evaluated, evaluate(space, change.record, change.kind, std::move(firsts)));
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

Result<std::optional<LocatedTransaction>> Core::find_transaction(SpaceState& space, const Dot& first) {
  const auto same_first = [&](const NumberedTransaction& t) { return t.first == first.counter; };
  LocatedTransaction out;
  out.first = first.counter;
  const DeviceNumber own = space.number_of(device());
  const auto decode_one = [&](const NumberedTransaction& numbered, const Author& author) -> Status {
    Decoder in(numbered.bytes);
    out.transaction = get_transaction(in, author);
    return in.finish("transaction");
  };
  DOORSTEP_ASSIGN(Statement span,
                  database_->prepare("SELECT segment, last FROM span WHERE device = ? AND first <= ? ORDER BY first DESC LIMIT 1"));
  span.bind(1, space.n << 32 | first.device).bind(2, static_cast<std::int64_t>(first.counter));
  DOORSTEP_ASSIGN(const bool in_segment, span.step());
  if (in_segment && static_cast<Counter>(span.column_int(1)) >= first.counter) {
    const auto row = span.column_int(0);
    DOORSTEP_ASSIGN(const SegmentContent* content, opened_segment(space, row));
    const auto at = std::find_if(content->transactions.begin(), content->transactions.end(), same_first);
    if (at == content->transactions.end()) return std::optional<LocatedTransaction>();
    const auto item = at - content->transactions.begin();
    auto quarantined =
        database_->query_int("SELECT count(*) FROM quarantine WHERE segment = ? AND item = ?", row, static_cast<std::int64_t>(item));
    auto reason = database_->query_int("SELECT reason FROM segment WHERE n = ?", row);
    if ((quarantined && *quarantined != 0) || (reason && *reason != 0)) return std::optional<LocatedTransaction>();
    const auto& log = space.logs.at(log_of_segment(row));
    out.device = log.head.name.device;
    out.log = log.n;
    out.position = position_of_segment(row);
    out.references = content->references;
    auto checked = database_->query_int("SELECT checked FROM segment WHERE n = ?", row);
    out.checked = checked && *checked != 0;
    const Author author{out.device, first.device, first.counter};
    for (auto earlier = content->transactions.begin(); earlier != at && !out.checked; ++earlier) {
      if (!has_clock_check(earlier->bytes)) continue;
      Decoder in(earlier->bytes);
      out.checked = check_counts(space, get_transaction(in, {out.device, first.device, earlier->first}), content->roster_size);
    }
    const Position roster_size = content->roster_size;
    DOORSTEP_TRY(decode_one(*at, author));
    out.checked = out.checked || check_counts(space, out.transaction, roster_size);
    return std::optional(std::move(out));
  }
  if (first.device != own && first.device != device_unadmitted) return std::optional<LocatedTransaction>();
  DOORSTEP_ASSIGN(Statement pending, database_->prepare("SELECT n FROM pending WHERE space = ? AND first <= ? AND last >= ?"));
  pending.bind(1, space.n).bind(2, static_cast<std::int64_t>(first.counter)).bind(3, static_cast<std::int64_t>(first.counter));
  DOORSTEP_ASSIGN(const bool waits, pending.step());
  if (!waits) return std::optional<LocatedTransaction>();
  DOORSTEP_ASSIGN(auto chunk, pending_chunk(pending.column_int(0)));
  const auto at = std::find_if(chunk.begin(), chunk.end(), same_first);
  if (at == chunk.end()) return std::optional<LocatedTransaction>();
  out.device = device();
  out.checked = true;
  DOORSTEP_TRY(decode_one(*at, {device(), own, first.counter}));
  return std::optional(std::move(out));
}

Result<Record> Core::evaluate(SpaceState& space, const RecordId& id, KindId kind, std::vector<Dot> firsts) {
  std::vector<MarkedOperations> transactions;
  const DeviceNumber own = space.number_of(device());
  for (auto first : firsts) {
    if (first.device == device_unadmitted) first.device = own;
    DOORSTEP_ASSIGN(auto located, find_transaction(space, first));
    if (!located) continue;
    const Incoming incoming{{located->device, first.device, first.counter},
                            located->log,
                            located->position,
                            located->checked,
                            located->log == 0 ? nullptr : &located->references};
    bool allowed = true;
    for (const auto& change : located->transaction.changes)
      allowed = allowed && (rights_of(space, incoming, change.kind) & writes_or_proposes) != 0;
    std::uint32_t offset = 0;
    for (const auto& change : located->transaction.changes) {
      if (allowed && change.record == id && change.kind == kind) {
        auto& marked = transactions.emplace_back();
        marked.mark = mark_of(space, located->transaction, change, incoming);
        for (std::uint32_t i = 0; i < change.operations.size(); ++i) {
          marked.operations.push_back({offset + i, change.operations[i]});
          if (incoming.references)
            std::erase_if(marked.operations.back().operation.supersedes,
                          [&](const Dot& dot) { return dot.device != first.device && !evidence_holds(space, located->references, dot); });
        }
      }
      offset += static_cast<std::uint32_t>(change.operations.size());
    }
  }
  return Record::evaluate(kind, std::move(transactions));
}

Status Core::evaluate_again(SpaceState& space, const RecordId& id, KindId kind) {
  DOORSTEP_ASSIGN(auto stored, load_record(space, id, kind));
  if (!stored) return {};
  std::vector<Dot> firsts;
  for (const auto& mark : stored->record.marks()) firsts.push_back({mark.device, mark.first});
  DOORSTEP_ASSIGN(stored->record, evaluate(space, id, kind, std::move(firsts)));
  DOORSTEP_TRY(save_record(space, *stored));
  note_changed(space, id, kind);
  return {};
}

Status Core::recheck_segment(SpaceState& space, std::int64_t segment) {
  DOORSTEP_ASSIGN(const SegmentContent* opened, opened_segment(space, segment));
  const auto transactions = opened->transactions;
  const auto& author = space.logs.at(log_of_segment(segment)).head.name.device;
  for (const auto& numbered : transactions) {
    Decoder in(numbered.bytes);
    const Transaction transaction = get_transaction(in, {author, space.number_of(author), numbered.first});
    if (in.failed()) continue;
    for (const auto& change : transaction.changes) DOORSTEP_TRY(evaluate_again(space, change.record, change.kind));
  }
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
