#include "doorstep/replica.hpp"

#include "sdk/core/index_key.hpp"
#include "sdk/core/verify.hpp"
#include "sdk/core/view.hpp"

namespace doorstep {

namespace {

// Every call: takes its turn, and throws nothing.
template <class Work>
auto in_turn(Core& core, Work&& work) -> decltype(work()) {
  return without_throwing([&] {
    const TakeTurn<Turn> guard(core.mutex);
    return work();
  });
}

template <class Work>
auto in_open_store(Core& core, Work&& work) -> decltype(work()) {
  return in_turn(core, [&]() -> decltype(work()) {
    DOORSTEP_TRY(core.require_open());
    return work();
  });
}

// Finds the space, does the work, then tells observers without holding the turn.
template <class T, class Work>
Result<T> with_space(Core& core, const SpaceId& id, Work&& work) {
  auto out = in_turn(core, [&]() -> Result<T> {
    DOORSTEP_ASSIGN(SpaceState * space, core.space(id));
    return work(*space);
  });
  core.notify();
  return out;
}

SpaceInfo info_of(Core& core, const SpaceState& space) {
  SpaceInfo info;
  info.id = space.id;
  info.name = space.name;
  info.waits_for = space.waits_for(core.device());
  if (!space.roster) return info;
  info.kind = space.roster->kind();
  info.role = space.role_of(core.device());
  info.sequencer = space.roster->sequencer() == core.device();
  info.roster_size = space.roster->size();
  info.members = space.roster->members().size();
  info.relays = space.relays();
  return info;
}

}  // namespace

Replica::Replica(std::shared_ptr<Core> core) : core_(std::move(core)) {}
Replica::Replica(Replica&&) noexcept = default;
Replica& Replica::operator=(Replica&&) noexcept = default;
Replica::~Replica() = default;

Result<Replica> Replica::create(const ReplicaOptions& options, std::string_view passphrase) {
  return without_throwing([&]() -> Result<Replica> {
    DOORSTEP_ASSIGN(auto core, Core::create(options, passphrase));
    return Replica(std::move(core));
  });
}
Result<Replica> Replica::open(const ReplicaOptions& options, std::string_view passphrase) {
  return without_throwing([&]() -> Result<Replica> {
    DOORSTEP_ASSIGN(auto core, Core::open(options, passphrase, nullptr));
    return Replica(std::move(core));
  });
}
Result<RebuildReport> Replica::rebuild(const ReplicaOptions& options, std::string_view passphrase, const RebuildOptions& how) {
  return Core::rebuild(options, passphrase, how);
}
Result<Replica> Replica::open_with_key(const ReplicaOptions& options, const SymmetricKey& key) {
  return without_throwing([&]() -> Result<Replica> {
    DOORSTEP_ASSIGN(auto core, Core::open(options, {}, &key));
    return Replica(std::move(core));
  });
}

Status Replica::lock() {
  return in_turn(*core_, [&]() -> Status { return core_->lock(); });
}
Status Replica::unlock(std::string_view passphrase) {
  return in_turn(*core_, [&]() -> Status { return core_->unlock(passphrase); });
}
bool Replica::locked() const {
  const TakeTurn<Turn> guard(core_->mutex);
  return core_->locked();
}
Status Replica::change_passphrase(std::string_view old_passphrase, std::string_view new_passphrase) {
  return in_turn(*core_, [&]() -> Status {
    return core_->vault().change_credentials({view(old_passphrase), {}}, {view(new_passphrase), {}}, core_->options().passphrase_cost);
  });
}
Result<SymmetricKey> Replica::database_key() const {
  return in_turn(*core_, [&]() -> Result<SymmetricKey> {
    DOORSTEP_ASSIGN(const DatabaseKey key, core_->vault().database_key());
    return key.key.duplicate();
  });
}
DeviceId Replica::device() const {
  const TakeTurn<Turn> guard(core_->mutex);
  return core_->device_keys().identity;
}
const Schema& Replica::schema() const { return core_->schema(); }

Result<DeviceId> Replica::authority() {
  return in_open_store(*core_, [&]() -> Result<DeviceId> { return core_->authority(); });
}
Result<SpaceId> Replica::found(const FoundOptions& options) {
  return in_open_store(*core_, [&]() -> Result<SpaceId> { return core_->found(options); });
}
Result<std::vector<SpaceInfo>> Replica::spaces() {
  return in_open_store(*core_, [&]() -> Result<std::vector<SpaceInfo>> {
    std::vector<SpaceInfo> out;
    for (const auto& [id, space] : core_->spaces()) out.push_back(info_of(*core_, space));
    return out;
  });
}
Result<SpaceInfo> Replica::space(const SpaceId& id) {
  return with_space<SpaceInfo>(*core_, id, [&](SpaceState& space) -> Result<SpaceInfo> { return info_of(*core_, space); });
}
Result<std::vector<MemberInfo>> Replica::members(const SpaceId& id) {
  return with_space<std::vector<MemberInfo>>(*core_, id, [&](SpaceState& space) -> Result<std::vector<MemberInfo>> {
    std::vector<MemberInfo> out;
    for (const auto& device : space.devices) {
      const Member* member = space.roster->member(device);
      out.push_back({device, space.role_of(device), space.label_of(device), device == space.roster->sequencer(), member->cut.has_value(),
                     device == core_->device()});
    }
    return out;
  });
}
Status Replica::set_relays(const SpaceId& id, const std::vector<RelayAddress>& relays) {
  const auto done = with_space<int>(*core_, id, [&](SpaceState& space) -> Result<int> {
    if (!space.roster || space.roster->sequencer() != core_->device())
      return Error(Code::no_right, "only the sequencer's device may change the relays");
    RosterEntryBuilder builder;
    builder.add(RelayItem{relays});
    DOORSTEP_TRY(core_->append_own_entry(space, builder.build(*space.roster, core_->identity())));
    return 0;
  });
  return done ? Status() : Status(done.error());
}
Result<std::string> Replica::invite(const SpaceId& id, const InviteOptions& options) {
  return with_space<std::string>(*core_, id, [&](SpaceState& space) { return core_->invite(space, options); });
}
Result<std::vector<SpaceId>> Replica::join(std::string_view uri, std::string_view label, std::string_view name) {
  return in_open_store(*core_, [&]() -> Result<std::vector<SpaceId>> { return core_->join(uri, label, name); });
}
Result<std::vector<Applicant>> Replica::applicants(const SpaceId& id) {
  return with_space<std::vector<Applicant>>(*core_, id, [&](SpaceState& space) -> Result<std::vector<Applicant>> {
    DOORSTEP_ASSIGN(const auto requests, core_->applicants(space));
    std::vector<Applicant> out;
    for (const auto& request : requests) {
      auto label = open_label(request, core_->sealing());
      const InviteItem* invite = space.roster->invite(request.invite);
      auto role = space.keys.open_text(invite->role, invite_role_purpose(invite->id));
      out.push_back({request.keys.identity, label ? label->label : std::string(), role ? *role : std::string()});
    }
    return out;
  });
}
Status Replica::admit(const SpaceId& id, const DeviceId& device) {
  const auto done = with_space<int>(*core_, id, [&](SpaceState& space) -> Result<int> {
    DOORSTEP_TRY(core_->admit(space, device));
    return 0;
  });
  return done ? Status() : Status(done.error());
}

Result<Replica::Saved> Replica::transact(const SpaceId& id, const std::function<Status(Write&)>& body) {
  return with_space<Saved>(*core_, id, [&](SpaceState& space) { return core_->transact(space, body); });
}

Status Replica::resolve(const SpaceId& id, const RecordId& record, std::string_view field, const Value& value, std::string_view note) {
  const auto saved = with_space<Saved>(*core_, id, [&](SpaceState& space) -> Result<Saved> {
    DOORSTEP_ASSIGN(const auto stored, core_->load_record(space, record, 0));
    if (!stored) return Error(Code::not_found, "there is no such record in this space");
    const auto rights = space.rights(core_->device(), LogId{}, UINT64_MAX, stored->record.kind());
    if ((rights & (may_resolve | may_approve)) == 0)
      return Error(Code::no_right, "the role of this device may not decide conflicts: the supervisor does");
    return core_->transact(space, [&](Write& write) -> Status {
      write.set(record, field, value);
      write.note(note);
      return {};
    });
  });
  return saved ? Status() : Status(saved.error());
}

// ---- Drafts ------------------------------------------------------------------------------------------------------------------

RecordId Replica::new_draft_id() {
  const TakeTurn<Turn> guard(core_->mutex);
  return core_->random().make<RecordId>();
}
Status Replica::save_draft(const RecordId& draft, std::string_view kind, std::string_view json) {
  return in_open_store(*core_, [&]() -> Status {
    if (!core_->schema().kind(kind))
      return Error(Code::invalid_record, "there is no record kind \"" + std::string(kind) + "\" in the schema");
    return core_->database().run("INSERT OR REPLACE INTO draft(id, kind, json) VALUES(?, ?, ?)", draft, kind, json);
  });
}
Result<std::vector<std::pair<RecordId, std::string>>> Replica::drafts(std::string_view kind) {
  return in_open_store(*core_, [&]() -> Result<std::vector<std::pair<RecordId, std::string>>> {
    DOORSTEP_ASSIGN(Statement rows, core_->database().prepare("SELECT id, json FROM draft WHERE kind = ? ORDER BY id"));
    rows.bind(1, kind);
    std::vector<std::pair<RecordId, std::string>> out;
    for (;;) {
      DOORSTEP_ASSIGN(const bool row, rows.step());
      if (!row) return out;
      DOORSTEP_ASSIGN(const RecordId id, rows.column_id<RecordId>(0));
      out.emplace_back(id, rows.column_text(1));
    }
  });
}
Status Replica::discard_draft(const RecordId& draft) {
  return in_open_store(*core_, [&]() -> Status { return core_->database().run("DELETE FROM draft WHERE id = ?", draft); });
}

// ---- Reading -----------------------------------------------------------------------------------------------------------------

Result<RecordView> Replica::get(const SpaceId& id, const RecordId& record) {
  return with_space<RecordView>(*core_, id, [&](SpaceState& space) -> Result<RecordView> {
    DOORSTEP_ASSIGN(auto found, read_record(*core_, space, record));
    if (!found) return Error(Code::not_found, "there is no such record in this space");
    const KindId kind = kind_of(*found);
    return RecordView(
        std::make_shared<const RecordView::Data>(core_->schema(), authors_of(space, core_->device()), record, kind, std::move(*found)));
  });
}
Result<std::vector<RecordView>> Replica::query(const SpaceId& id, const Query& query) {
  return with_space<std::vector<RecordView>>(*core_, id, [&](SpaceState& space) { return run_query(*core_, space, query); });
}
Result<std::size_t> Replica::count(const SpaceId& id, std::string_view kind_name) {
  return with_space<std::size_t>(*core_, id, [&](SpaceState& space) -> Result<std::size_t> {
    const Kind* kind = core_->schema().kind(kind_name);
    if (!kind) return Error(Code::invalid_argument, "there is no record kind \"" + std::string(kind_name) + "\" in the schema");
    DOORSTEP_ASSIGN(const std::int64_t count,
                    core_->database().query_int("SELECT count(*) FROM record WHERE n BETWEEN ? AND ?", record_row(space.n, kind->id, 0),
                                                record_row(space.n, kind->id, record_serial_max)));
    return static_cast<std::size_t>(count);
  });
}
Result<std::vector<HistoryEntry>> Replica::history(const SpaceId& id, const RecordId& record, std::string_view field) {
  return with_space<std::vector<HistoryEntry>>(*core_, id, [&](SpaceState& space) { return history_of(*core_, space, record, field); });
}
Result<std::vector<Conflict>> Replica::conflicts(const SpaceId& id) {
  return with_space<std::vector<Conflict>>(*core_, id, [&](SpaceState& space) { return conflicts_in(*core_, space); });
}

namespace {
Subscription subscribe(const std::shared_ptr<Core>& core, std::shared_ptr<Observer> observer) {
  const TakeTurn<Turn> guard(core->mutex);
  const int number = core->next_callback++;
  core->observers[number] = std::move(observer);
  return Subscription(std::shared_ptr<void>(nullptr, [weak = std::weak_ptr<Core>(core), number](void*) {
    if (const auto alive = weak.lock()) {
      const TakeTurn<Turn> inner(alive->mutex);
      alive->observers.erase(number);
    }
  }));
}
}  // namespace

Subscription Replica::observe(const SpaceId& space, std::string_view kind, std::function<void(const std::vector<RecordId>&)> changed) {
  return subscribe(core_, std::make_shared<Observer>(Observer{space, std::string(kind), std::nullopt, std::move(changed)}));
}
Subscription Replica::observe(const SpaceId& space, const RecordId& record, std::function<void()> changed) {
  return subscribe(core_, std::make_shared<Observer>(
                              Observer{space, {}, record, [changed = std::move(changed)](const std::vector<RecordId>&) { changed(); }}));
}

Subscription Replica::observe(const SpaceId& space, Query query, std::function<void(const std::vector<RecordView>&)> answer) {
  const std::string kind = query.kind;
  // The observer lives in the core: it must not keep it alive.
  auto ask = [weak = std::weak_ptr<Core>(core_), space, query = std::move(query),
              answer = std::move(answer)](const std::vector<RecordId>&) {
    const auto core = weak.lock();
    if (!core) return;
    const auto found = in_turn(*core, [&]() -> Result<std::vector<RecordView>> {
      DOORSTEP_ASSIGN(SpaceState * state, core->space(space));
      return run_query(*core, *state, query);
    });
    if (found) answer(*found);
  };
  auto observer = std::make_shared<Observer>(Observer{space, kind, std::nullopt, std::move(ask)});
  auto subscription = subscribe(core_, observer);
  auto first = [observer] { observer->changed({}); };
  if (core_->options().executor)
    core_->options().executor(std::move(first));
  else
    first();
  return subscription;
}

// ---- What is where -------------------------------------------------------------------------------------------------------------

Result<Pending> Replica::pending(const SpaceId& id) {
  return with_space<Pending>(*core_, id, [&](SpaceState& space) { return pending_in(*core_, space); });
}
Result<Hash> Replica::state_digest(const SpaceId& id) {
  return with_space<Hash>(*core_, id, [&](SpaceState& space) -> Result<Hash> {
    DOORSTEP_TRY(core_->cover_new_rows(space));
    return space.digest.digest();
  });
}
Result<std::vector<QuarantineInfo>> Replica::quarantine(const SpaceId& id) {
  return with_space<std::vector<QuarantineInfo>>(*core_, id, [&](SpaceState& space) -> Result<std::vector<QuarantineInfo>> {
    std::map<std::int64_t, std::size_t> counts;
    for (const auto& [n, log] : space.logs)
      for (const char* sql :
           {"SELECT reason, count(*) FROM quarantine WHERE segment BETWEEN ? AND ? GROUP BY reason",
            "SELECT reason, sum(max(transactions, 1)) FROM segment WHERE reason <> 0 AND n BETWEEN ? AND ? GROUP BY reason"}) {
        DOORSTEP_ASSIGN(Statement rows, core_->database().prepare(sql));
        rows.bind(1, segment_row(n, 0)).bind(2, segment_row(n + 1, 0) - 1);
        for (;;) {
          DOORSTEP_ASSIGN(const bool row, rows.step());
          if (!row) break;
          counts[rows.column_int(0)] += static_cast<std::size_t>(rows.column_int(1));
        }
      }
    // What a rebuild saved from behind a gap waits for what stands before it.
    DOORSTEP_ASSIGN(const std::int64_t behind_gap,
                    core_->database().query_int("SELECT count(*) FROM salvaged WHERE space = ? AND log <> x''", space.n));
    if (behind_gap != 0) counts[static_cast<std::int64_t>(Reason::missing_parent)] += static_cast<std::size_t>(behind_gap);
    std::vector<QuarantineInfo> out;
    for (const auto& [reason, count] : counts) out.push_back({reason_name(static_cast<Reason>(reason)), count});
    return out;
  });
}
Status Replica::verify(const std::function<void(std::size_t, std::size_t)>& progress) {
  return in_open_store(*core_, [&]() -> Status { return verify_store(*core_, progress); });
}

}  // namespace doorstep
