#include "tests/fault/replica_subject.hpp"

#include "sdk/core/core.hpp"
#include "sync/invite.hpp"
#include "tests/fault/crash_points.hpp"
#include "tests/fault/store_subject.hpp"

namespace doorstep::fault {

namespace {

constexpr std::string_view secret = "passphrase";

const Schema& schema() {
  static const Schema out = *Schema::parse(R"({"doorstep_schema": 1, "id": "fault", "version": 1, "kinds": [
    {"id": 1000, "name": "thing", "sensitivity": "p1", "fields": [
      {"number": 1, "name": "n", "type": "int", "index": true}, {"number": 2, "name": "step", "type": "int", "index": true},
      {"number": 3, "name": "title", "type": "text", "search": true}, {"number": 4, "name": "body", "type": "bytes"}]},
    {"id": 1001, "name": "counter", "sensitivity": "p1", "fields": [{"number": 1, "name": "n", "type": "int"}]}]})");
  return out;
}

// ---- What step i does to the things

int shape_of(int i) { return workload() == 0 ? i % 6 : static_cast<int>(Dice(workload() * 1000 + static_cast<std::uint64_t>(i)).below(6)); }
int created_by(int i) {
  switch (shape_of(i)) {
    case 1: return 0;
    case 2: return 3;
    case 3: return 2;
    default: return 1;
  }
}
int created_before(int i) {
  int out = 0;
  for (int step = 2; step < i; ++step) out += created_by(step);
  return out;
}
bool updates(int i) { return shape_of(i) == 1 || shape_of(i) == 5; }
int updated_by(int i) { return created_before(i) == 0 ? -1 : i * 7 % created_before(i); }

/// The step that wrote each thing last.
std::vector<std::int64_t> things_after(int done) {
  std::vector<std::int64_t> out;
  for (int i = 2; i <= done; ++i) {
    if (updates(i) && updated_by(i) >= 0) out[static_cast<std::size_t>(updated_by(i))] = i;
    for (int k = 0; k < created_by(i); ++k) out.push_back(i);
  }
  return out;
}

Bytes body_of(int n, int i) {
  Bytes out(shape_of(i) == 2 ? 2000 : shape_of(i) == 4 ? 40'000 : 60);
  Dice dice(static_cast<std::uint64_t>(n) + 77);
  for (auto& byte : out) byte = static_cast<std::uint8_t>(dice.next());
  return out;
}

}  // namespace

ReplicaSubject::ReplicaSubject() {
  static DiceRandom random(41);
  author_ = std::make_shared<test::Device>(random);
  relay_ = std::make_shared<MemoryRelay>(random);
  author_log_.device = author_->id();
  author_log_.incarnation = random.make<Incarnation>();
}

ReplicaSubject::ReplicaSubject(const ReplicaSubject& other, Survivor)
    : author_(other.author_),
      relay_(other.relay_),
      key_(other.key_),
      author_log_(other.author_log_),
      author_hashes_(other.author_hashes_),
      promises_(other.promises_) {}

// ---- Opening

ReplicaOptions ReplicaSubject::options() const {
  ReplicaOptions out = cheap_options(store_path, clock_.get());
  out.schema = schema();
  out.platform = platform_.get();
  out.cache_bytes = 256 << 10;
  return out;
}

Status ReplicaSubject::open(SimulatedDisk& disk, bool may_be_new) {
  disk_ = &disk;
  platform_->files = &disk;
  platform_->vfs = disk.vfs();
  const ReplicaOptions options = this->options();
  Result<Replica> opened = Error(Code::wrong_key, "the key is not known yet");
  if (key_) opened = Replica::open_with_key(options, *key_);
  if (opened.code() == Code::wrong_key) opened = Replica::open(options, secret);
  if (opened.code() == Code::not_found && may_be_new) opened = Replica::create(options, secret);
  if (!opened) return opened.error();
  replica_.emplace(std::move(*opened));
  auto key = replica_->database_key();
  if (!key) return key.error();
  key_ = std::make_shared<const SymmetricKey>(std::move(*key));
  return {};
}

Status ReplicaSubject::close() {
  if (!replica_) return {};
  const Status out = replica_->lock();
  replica_.reset();
  return out;
}

Result<SpaceId> ReplicaSubject::space() {
  DOORSTEP_ASSIGN(const auto spaces, replica_->spaces());
  if (spaces.empty()) return Error(Code::not_found, "no space was founded");
  return spaces.front().id;
}

// ---- Steps: 0 the space, 1 another member in it, from 2 on user actions

Result<std::optional<RecordId>> ReplicaSubject::counter_record() {
  DOORSTEP_ASSIGN(const SpaceId id, space());
  DOORSTEP_ASSIGN(const auto counters, replica_->query(id, {.kind = "counter"}));
  if (counters.empty()) return std::optional<RecordId>();
  return std::optional(counters.front().id());
}

Result<int> ReplicaSubject::progress() {
  DOORSTEP_ASSIGN(const auto spaces, replica_->spaces());
  if (spaces.empty()) return -1;
  if (spaces.front().members < 2) return 0;
  DOORSTEP_ASSIGN(const auto counter, counter_record());
  if (!counter) return 1;
  DOORSTEP_ASSIGN(const RecordView view, replica_->get(spaces.front().id, *counter));
  const Value value = view.value("n");
  const auto* number = std::get_if<std::int64_t>(&value);
  if (!number) return Error(Code::corrupt, "the counter holds no number");
  return static_cast<int>(*number);
}

Status ReplicaSubject::admit_author() {
  DOORSTEP_ASSIGN(const SpaceId id, space());
  Core& core = *replica_->core();
  DOORSTEP_ASSIGN(const std::string uri, replica_->invite(id, {.role = "member"}));
  DOORSTEP_ASSIGN(const Invitation invitation, Invitation::from_uri(uri));
  DOORSTEP_ASSIGN(const JoinRequest request, JoinRequest::make(invitation, id, author_->identity, author_->keys, {"x", ""}));
  SpaceState& state = core.spaces().at(id);
  DOORSTEP_ASSIGN(const Bytes entry, admit_entry(*state.roster, state.keys, core.identity(), request, "member", "x"));
  return core.append_own_entry(state, entry);
}

Result<std::map<int, RecordId>> ReplicaSubject::things() {
  DOORSTEP_ASSIGN(const SpaceId id, space());
  DOORSTEP_ASSIGN(const auto views, replica_->query(id, {.kind = "thing"}));
  std::map<int, RecordId> out;
  for (const auto& view : views) {
    const Value value = view.value("n");
    const auto* number = std::get_if<std::int64_t>(&value);
    if (!number) return Error(Code::corrupt, "a thing has no number: a transaction came in part");
    if (!out.emplace(static_cast<int>(*number), view.id()).second) return Error(Code::corrupt, "a thing is there twice");
  }
  return out;
}

Status ReplicaSubject::write_step(Write& write, int i, const std::map<int, RecordId>& known, const std::optional<RecordId>& counter) {
  int n = created_before(i);
  for (int k = 0; k < created_by(i); ++k, ++n) {
    if (k > 0 && shape_of(i) == 3) write.next_transaction();
    const RecordId thing = write.create("thing");
    write.set(thing, "n", std::int64_t{n}).set(thing, "step", std::int64_t{i});
    write.set(thing, "title", "thing " + std::to_string(n)).set(thing, "body", body_of(n, i));
  }
  if (updates(i) && updated_by(i) >= 0) {
    const auto at = known.find(updated_by(i));
    if (at == known.end()) return Error(Code::corrupt, "a thing is missing");
    write.set(at->second, "step", std::int64_t{i});
  }
  write.set(counter ? *counter : write.create("counter"), "n", std::int64_t{i});
  return {};
}

Status ReplicaSubject::transact(int i) {
  DOORSTEP_ASSIGN(const SpaceId id, space());
  DOORSTEP_ASSIGN(const auto known, things());
  DOORSTEP_ASSIGN(const auto counter, counter_record());
  const auto saved = replica_->transact(id, [&](Write& write) { return write_step(write, i, known, counter); });
  return saved ? Status() : Status(saved.error());
}

Status ReplicaSubject::advance(int done) {
  if (done == -1) {
    const auto founded = replica_->found({.name = "村", .role = "town_clerk", .label = "吴", .relays = {relay_->address()}});
    return founded ? Status() : Status(founded.error());
  }
  return done == 0 ? admit_author() : transact(done + 1);
}

// ---- Between steps: syncing

void ReplicaSubject::author_writes() {
  const auto id = space();
  if (!id) return;
  SpaceState& state = replica_->core()->spaces().at(*id);
  const auto held = relay_->ledger().roster(*id);
  if (!held || !held->member(author_->id())) return;
  SegmentContent content;
  content.roster_size = held->size();
  content.roster_head = shorten(held->head());
  Transaction transaction;
  transaction.time = {clock_->wall_ms(), 0, false};
  const Counter first = 1 + author_hashes_.size() * 10;
  const DeviceNumber number = state.number_of(author_->id());
  RecordChange change;
  change.kind = schema().kind("thing")->id;
  change.creates = true;
  change.record = make_record_id(author_->id(), first, 0);
  change.operations.push_back(
      {{schema().kind("thing")->field("n")->id, {}, 0}, static_cast<std::int64_t>(-1 - static_cast<int>(first)), {}});
  transaction.changes.push_back(std::move(change));
  Encoder bytes;
  put_transaction(bytes, transaction, {author_->id(), number, first});
  content.transactions.push_back({first, bytes.take()});
  const EpochNumber epoch = held->newest_epoch();
  const SegmentPlace place{author_log_.root_id(*id), author_hashes_.size() + 1, author_hashes_.empty() ? Hash{} : author_hashes_.back()};
  Compressor compressor;
  auto sealed = seal_segment(place, epoch, *held->epoch_entry_hash(epoch), content, state.keys, author_->identity.secret_key, compressor);
  if (!sealed) return;
  const auto put = relay_->put_segments(author_->transport.public_key, *id, author_log_, place.position,
                                        {std::make_shared<const Bytes>(std::move(sealed->bytes))});
  if (put) author_hashes_.push_back(sealed->hash);
}

void ReplicaSubject::note_promise() {
  Promise promise;
  promise.events = disk_->events().size();
  const auto spaces = relay_->ledger().spaces();
  if (spaces.empty()) return;
  for (const LogHead& head : relay_->ledger().heads(spaces.front())) promise.relay[head.id] = head;
  promise.roster_size = relay_->ledger().roster(spaces.front())->size();
  const auto acknowledged = relay_->acknowledged.find(author_log_.id(spaces.front()));
  if (acknowledged != relay_->acknowledged.end()) promise.author_acknowledged = acknowledged->second;
  promises_.push_back(std::move(promise));
}

Status ReplicaSubject::sync() {
  {
    const AtWork at_work;
    author_writes();
  }
  return relay_->sync(*replica_, [this] { note_promise(); });
}

void ReplicaSubject::maintain(int done) {
  if (done >= 2 && done % 3 == 2) (void)sync();
}

// ---- What must hold

Status ReplicaSubject::check_records(int done) {
  DOORSTEP_ASSIGN(const auto known, things());
  const auto expected = things_after(done);
  DOORSTEP_ASSIGN(const SpaceId id, space());
  std::size_t own = 0;
  for (const auto& [n, record] : known) {
    if (n < 0) continue;  // the other member's
    ++own;
    DOORSTEP_ASSIGN(const RecordView view, replica_->get(id, record));
    if (static_cast<std::size_t>(n) >= expected.size()) return Error(Code::corrupt, "a thing that no step has made");
    if (view.value("step") != Value(expected[static_cast<std::size_t>(n)])) return Error(Code::corrupt, "a thing is of another step");
  }
  if (own != expected.size()) return Error(Code::corrupt, std::to_string(own) + " things instead of " + std::to_string(expected.size()));
  return {};
}

Status ReplicaSubject::check_promises() {
  if (promises_.empty()) return {};
  const Promise& last = promises_.back();
  DOORSTEP_ASSIGN(const SpaceId id, space());
  Core& core = *replica_->core();
  SpaceState& state = core.spaces().at(id);
  if (state.roster->size() < last.roster_size) return Error(Code::corrupt, "a roster entry is lost that was handed over");
  for (const auto& [log_id, head] : last.relay) {
    const bool own = head.name.device == core.device();
    const Position floor = own ? head.position : last.author_acknowledged;
    if (floor == 0) continue;
    const auto at = state.log_by_id.find(log_id);
    if (at == state.log_by_id.end()) return Error(Code::corrupt, "a log is lost that was offered or acknowledged");
    const LogState& log = state.logs.at(at->second);
    if (log.head.position < floor) return Error(Code::corrupt, "segments are lost that were offered or acknowledged");
    if (!own) continue;
    DOORSTEP_ASSIGN(const auto hash, core.hash_at(state, log, head.position));
    if (!hash || *hash != head.hash) return Error(Code::corrupt, "a segment that was offered stands here differently");
  }
  DOORSTEP_ASSIGN(Statement receipts, core.database().prepare("SELECT log, position FROM receipt"));
  for (;;) {
    DOORSTEP_ASSIGN(const bool row, receipts.step());
    if (!row) return {};
    const auto log = last.relay.find(state.logs.at(receipts.column_int(0)).head.id);
    if (log == last.relay.end() || static_cast<Position>(receipts.column_int(1)) > log->second.position)
      return Error(Code::corrupt, "a receipt says more than the relay has");
  }
}

// With the relay as it was: level at the first attempt, and our log goes on.
Status ReplicaSubject::check_resync() {
  if (promises_.empty()) return {};
  const Promise last = promises_.back();
  DOORSTEP_ASSIGN(const SpaceId id, space());
  const std::shared_ptr<MemoryRelay> relay = relay_->emptied();
  relay->acknowledged[author_log_.id(id)] = last.author_acknowledged;  // not what was acknowledged after the power cut
  const auto full = relay_->ledger().load_roster(id, 0, SIZE_MAX);
  DOORSTEP_TRY(relay->put_roster(id, {full.begin(), full.begin() + static_cast<std::ptrdiff_t>(last.roster_size)}));
  for (const auto& [log_id, head] : last.relay) {
    DOORSTEP_ASSIGN(auto loaded, relay_->ledger().load_segments(id, log_id, 0, std::nullopt, SIZE_MAX));
    loaded.segments.resize(head.position);
    DOORSTEP_TRY(relay->put_segments(author_->transport.public_key, id, head.name, 1, loaded.segments));
  }
  relay_ = relay;  // what it hears now is promised too
  DOORSTEP_TRY(relay_->sync(*replica_, [this] { note_promise(); }));
  std::size_t own_logs = 0;
  for (const LogHead& head : relay->ledger().heads(id)) own_logs += head.name.device == replica_->core()->device() ? 1 : 0;
  if (own_logs > 1) return Error(Code::corrupt, "the replica began a second log");
  DOORSTEP_ASSIGN(const Pending pending, replica_->pending(id));
  if (pending.transactions != 0) return Error(Code::corrupt, "level, and not everything has a receipt");
  return {};
}

Status ReplicaSubject::check(int done) {
  DOORSTEP_TRY(replica_->verify());
  if (done < 2) return {};
  DOORSTEP_TRY(check_records(done));
  DOORSTEP_TRY(check_promises());
  static std::uint64_t states = 0;
  if (++states % 16 != 0) return {};
  DOORSTEP_TRY(check_resync());
  return replica_->verify();
}

std::unique_ptr<Subject> ReplicaSubject::survivor(std::size_t events) const {
  auto out = std::make_unique<ReplicaSubject>(*this, Survivor{});
  std::erase_if(out->promises_, [&](const Promise& promise) { return promise.events > events; });
  for (Promise& promise : out->promises_) promise.events = 0;
  return out;
}

}  // namespace doorstep::fault
