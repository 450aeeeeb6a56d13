#include "sdk/core/core.hpp"

#include <algorithm>

#include "sync/codec.hpp"
#include "sync/limits.hpp"

namespace doorstep {

namespace {

// What the vault seals: the device's and, on a desk that founded spaces, the authority's keys.
struct VaultSecrets {
  Bytes identity_seed, sealing, authority_seed;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(bounded<32>(identity_seed), bounded<32>(sealing), bounded<32>(authority_seed));
  }
  ~VaultSecrets() { wipe(identity_seed), wipe(sealing), wipe(authority_seed); }
};

RightsTable rights_table_of(const Schema& schema) {
  std::vector<RightsTable::Row> rows;
  for (std::size_t role = 0; role < role_count; ++role) {
    const std::string name = role_name(static_cast<Role>(role));
    for (const Kind* kind : schema.kinds())
      if (kind->id < 1000) rows.push_back({name, kind->id, kind->rights[role]});
    // A township's own forms: whoever works in the field may write them, the office decides.
    const auto as = static_cast<Role>(role);
    const bool office = as == Role::town_clerk || as == Role::town_lead;
    const bool field = as == Role::member || as == Role::rehab_worker || as == Role::psych_worker;
    rows.push_back({name, 0, static_cast<std::uint8_t>(office ? 15 : field ? may_write | may_propose : 0)});
  }
  return RightsTable(std::move(rows));
}

}  // namespace

Core::Core(const ReplicaOptions& options)
    : options_(options),
      schema_(options.schema ? *options.schema : Schema::builtin()),
      clock_(options.clock ? options.clock : &system_clock_),
      random_(options.random ? options.random : &system_random_) {}

Core::~Core() = default;

Result<std::shared_ptr<Core>> Core::create(const ReplicaOptions& options, std::string_view passphrase) {
  std::shared_ptr<Core> core(new Core(options));
  DOORSTEP_ASSIGN(core->directory_, core->acquire_directory());
  DOORSTEP_TRY(core->finish_rebuild());
  DOORSTEP_TRY(Vault::exists(*core->directory_) ? core->take_up_vault(passphrase) : core->make_vault(passphrase));
  DOORSTEP_ASSIGN(const DatabaseKey key, core->vault_->database_key());
  DOORSTEP_ASSIGN(Database made, Database::create(core->directory_, key, core->database_options(), *core->random_));
  DOORSTEP_TRY(made.close());
  DOORSTEP_TRY(core->load_secrets());
  DOORSTEP_TRY(core->open_database());
  return core;
}

Status Core::make_vault(std::string_view passphrase) {
  VaultSecrets secrets;
  secrets.identity_seed.resize(32);
  random_->fill(secrets.identity_seed);
  const SealingKeyPair sealing = make_sealing_key_pair(*random_);
  secrets.sealing = to_bytes(sealing.secret_key.reveal());
  VaultPlain plain;
  plain.transport = to_bytes(make_transport_key_pair(*random_).secret_key.reveal());
  Bytes sealed = encode(secrets);
  const Bytes outside = encode_vault_plain(plain);
  DOORSTEP_ASSIGN(Vault vault, Vault::create(directory_, {view(passphrase), {}}, sealed, outside, *random_, options_.passphrase_cost));
  wipe(sealed);
  vault_ = std::move(vault);
  return {};
}

// A vault without a database: its creation was interrupted before anybody was told of the store, and goes on where it ended.
Status Core::take_up_vault(std::string_view passphrase) {
  if (Database::exists(*directory_, database_options()))
    return Error(Code::already_exists, "there is a store in this directory already: open it, or choose another directory");
  DOORSTEP_ASSIGN(Vault vault, Vault::load(directory_, *random_));
  DOORSTEP_TRY(vault.unlock({view(passphrase), {}}));
  vault_ = std::move(vault);
  return {};
}

Result<std::shared_ptr<Core>> Core::open(const ReplicaOptions& options, std::string_view passphrase, const SymmetricKey* key) {
  std::shared_ptr<Core> core(new Core(options));
  DOORSTEP_ASSIGN(core->directory_, core->acquire_directory());
  DOORSTEP_TRY(core->finish_rebuild());
  DOORSTEP_ASSIGN(Vault vault, Vault::load(core->directory_, *core->random_));
  core->vault_ = std::move(vault);
  DOORSTEP_TRY(key ? core->vault_->open_with_key(*key) : core->vault_->unlock({view(passphrase), {}}));
  DOORSTEP_TRY(core->load_secrets());
  DOORSTEP_TRY(core->open_database());
  return core;
}

Result<std::shared_ptr<StoreDirectory>> Core::acquire_directory() const {
  return StoreDirectory::acquire(options_.directory, options_.platform ? *options_.platform->files : system_files());
}

DatabaseOptions Core::database_options() const {
  DatabaseOptions out;
  out.cache_bytes = options_.cache_bytes;
  out.plain = options_.unencrypted_for_benchmarks;
  if (!options_.platform) return out;
  out.below = options_.platform->vfs;
  out.hooks = options_.platform->hooks;
  return out;
}

Status Core::load_secrets() {
  DOORSTEP_ASSIGN(const ByteView sealed, vault_->secrets());
  DOORSTEP_ASSIGN(const VaultSecrets secrets, decode<VaultSecrets>(sealed, "vault secrets"));
  DOORSTEP_ASSIGN(const VaultPlain plain, decode_vault_plain(vault_->plain()));
  if (secrets.identity_seed.size() != 32 || secrets.sealing.size() != 32 || plain.transport.size() != 32)
    return Error(Code::corrupt, "the vault's keys are incomplete");
  identity_ = identity_key_pair_from_seed(std::span<const std::uint8_t, 32>(secrets.identity_seed));
  const auto pair = transport_key_pair_from_secret(std::span<const std::uint8_t, 32>(secrets.sealing));
  sealing_.emplace();
  sealing_->public_key = SealingPublicKey::from(pair.public_key.view());
  sealing_->secret_key = SealingSecretKey(std::span<const std::uint8_t, 32>(secrets.sealing));
  transport_ = transport_key_pair_from_secret(std::span<const std::uint8_t, 32>(plain.transport));
  device_keys_ = certify_device(*identity_, sealing_->public_key, transport_->public_key);
  return load_known_spaces(plain.spaces);
}

Result<DeviceId> Core::authority() {
  DOORSTEP_ASSIGN(const ByteView sealed, vault_->secrets());
  DOORSTEP_ASSIGN(VaultSecrets secrets, decode<VaultSecrets>(sealed, "vault secrets"));
  if (secrets.authority_seed.empty()) {
    secrets.authority_seed.resize(32);
    random_->fill(secrets.authority_seed);
    Bytes changed = encode(secrets);
    const Status stored = vault_->set_secrets(changed);
    wipe(changed);
    DOORSTEP_TRY(stored);
  }
  return identity_key_pair_from_seed(std::span<const std::uint8_t, 32>(secrets.authority_seed)).public_key;
}

Status Core::open_database() {
  DOORSTEP_ASSIGN(const DatabaseKey key, vault_->database_key());
  DOORSTEP_ASSIGN(Database opened, Database::open(directory_, key, database_options(), *random_));
  database_ = std::move(opened);
  Status loaded = without_throwing([this]() -> Status {
    DOORSTEP_TRY(database_->migrate(store_migrations()));
    return load_all();
  });
  if (!loaded)
    database_.reset();
  else
    remember_spaces();
  return loaded;
}

Status Core::load_all() {
  spaces_.clear();
  opened_.clear();
  opened_chunk_ = {};
  dictionaries_.clear();
  dictionary_samples_.clear();
  {
    DOORSTEP_ASSIGN(Statement rows, database_->prepare("SELECT n, bytes FROM dictionary"));
    for (;;) {
      DOORSTEP_ASSIGN(const bool row, rows.step());
      if (!row) break;
      dictionaries_.emplace(rows.column_int(0), Dictionary(rows.column_blob(1)));
    }
  }
  std::vector<SpaceState> found;
  {
    DOORSTEP_ASSIGN(Statement rows, database_->prepare("SELECT n, id, name, invitation, label, own_log, fresh_log, rebuilt FROM space"));
    for (;;) {
      DOORSTEP_ASSIGN(const bool row, rows.step());
      if (!row) break;
      SpaceState space;
      space.n = rows.column_int(0);
      DOORSTEP_ASSIGN(space.id, rows.column_id<SpaceId>(1));
      space.name = rows.column_text(2);
      space.invitation = rows.column_text(3);
      space.label = rows.column_text(4);
      space.own_log = rows.column_int(5);
      space.fresh_log = rows.column_int(6) != 0;
      space.rebuilt = rows.column_int(7) != 0;
      for (const auto& known : known_spaces_)
        if (known.id == space.id) space.known_relays = known.relays, space.known_roster_size = known.roster_size;
      found.push_back(std::move(space));
    }
  }
  for (auto& space : found) {
    DOORSTEP_TRY(load_space(space));
    const SpaceId id = space.id;
    spaces_.emplace(id, std::move(space));
  }
  return load_check();
}

// The highest counter of ours that anything here uses; what we wrote last is pending or in a log.
Result<Counter> Core::last_own_counter(const SpaceState& space) {
  const auto key = space.n << 32 | space.number_of(device());
  Counter last = 0;
  for (const auto& [sql, which] : {std::pair("SELECT last FROM pending WHERE space = ? ORDER BY n DESC LIMIT 1", space.n),
                                   std::pair("SELECT last FROM span WHERE device = ? ORDER BY first DESC LIMIT 1", key),
                                   std::pair("SELECT max(last) FROM void WHERE device = ?", key)}) {
    DOORSTEP_ASSIGN(Statement statement, database_->prepare(sql));
    statement.bind(1, which);
    DOORSTEP_ASSIGN(const bool row, statement.step());
    if (row) last = std::max(last, static_cast<Counter>(statement.column_int(0)));
  }
  return last;
}

Status Core::load_digest(SpaceState& space) {
  DOORSTEP_ASSIGN(Statement state, database_->prepare("SELECT lanes, covered FROM state_digest WHERE space = ?"));
  state.bind(1, space.n);
  DOORSTEP_ASSIGN(const bool row, state.step());
  if (!row) return Error(Code::corrupt, "a space has no state digest");
  DOORSTEP_ASSIGN(space.digest, MultisetHash::from_state(state.column_blob(0)));
  Decoder covered(state.column_blob(1));
  while (!covered.failed() && covered.remaining() != 0) {
    const auto kind = static_cast<KindId>(covered.get_varint());
    space.covered[kind] = static_cast<std::int64_t>(covered.get_varint());
  }
  return covered.finish("a state digest");
}

Status Core::load_space(SpaceState& space) {
  DOORSTEP_TRY(load_digest(space));
  DOORSTEP_ASSIGN(Statement entries, database_->prepare("SELECT entry FROM roster WHERE space = ? ORDER BY position"));
  entries.bind(1, space.n);
  for (;;) {
    DOORSTEP_ASSIGN(const bool row, entries.step());
    if (!row) break;
    if (!space.roster) {
      DOORSTEP_ASSIGN(Roster roster, Roster::found(entries.column_blob(0)));
      space.roster = std::move(roster);
    } else {
      DOORSTEP_TRY(space.roster->append(entries.column_blob(0)));
    }
  }
  space.roster_changed(device(), *sealing_);
  DOORSTEP_ASSIGN(
      Statement logs,
      database_->prepare("SELECT n, device, incarnation, branch, starts_after, position, hash, checked, parent FROM log WHERE space = ?"));
  logs.bind(1, space.n);
  for (;;) {
    DOORSTEP_ASSIGN(const bool row, logs.step());
    if (!row) break;
    LogState log;
    log.n = logs.column_int(0);
    DOORSTEP_ASSIGN(log.head.name.device, logs.column_id<DeviceId>(1));
    DOORSTEP_ASSIGN(log.head.name.incarnation, logs.column_id<Incarnation>(2));
    if (!logs.column_is_null(3)) { DOORSTEP_ASSIGN(log.head.name.branch, logs.column_id<Hash>(3)); }
    log.head.name.starts_after = static_cast<Position>(logs.column_int(4));
    log.head.position = static_cast<Position>(logs.column_int(5));
    DOORSTEP_ASSIGN(log.head.hash, logs.column_id<Hash>(6));
    log.checked = logs.column_int(7) != 0;
    log.parent = logs.column_int(8);
    log.head.id = log.head.name.id(space.id);
    space.log_by_id[log.head.id] = log.n;
    space.logs.emplace(log.n, std::move(log));
  }
  DOORSTEP_ASSIGN(space.last_counter, last_own_counter(space));
  return {};
}

Status Core::require_open() const {
  if (database_) return {};
  return Error(Code::locked, "the store is locked: unlock it with the passphrase first");
}

Result<SpaceState*> Core::space(const SpaceId& id) {
  DOORSTEP_TRY(require_open());
  const auto at = spaces_.find(id);
  if (at == spaces_.end()) return Error(Code::not_found, "this store has no such space: found it or join it first");
  return &at->second;
}

Status Core::change(const std::function<Status()>& body) {
  DOORSTEP_TRY(require_open());
  const auto published = fresh_serial;
  DOORSTEP_ASSIGN(DatabaseTransaction transaction, DatabaseTransaction::begin(*database_));
  const Status done = without_throwing([&]() -> Status {
    DOORSTEP_TRY(body());
    return transaction.commit();
  });
  if (done) {
    if (std::exchange(spaces_changed_, false)) remember_spaces();
    return {};
  }
  spaces_changed_ = false;
  transaction.rollback();
  changed_.clear();
  // What memory holds may be ahead of the tables now. The error of the change is the one to tell.
  // Nothing that was not committed may leave.
  while (!fresh.empty() && fresh.back().serial > published) fresh.pop_back();
  const auto before = std::exchange(spaces_, {});
  if (Status loaded = without_throwing([&] { return load_all(); }); !loaded) {
    database_.reset();  // locked, as half a memory would be wrong
    return loaded;
  }
  for (auto& [id, space] : spaces_) {
    const auto at = before.find(id);
    if (at == before.end()) continue;
    // What is no table's: counters once stepped over stay unused, and a fork that was seen is not unseen.
    space.jumped = at->second.jumped;
    space.last_counter = std::max(space.last_counter, at->second.last_counter);
    space.roster_fork = at->second.roster_fork;
    space.seen_roster_size = at->second.seen_roster_size;
  }
  return done;
}

Status Core::write_digest(SpaceState& space) {
  if (!std::exchange(space.digest_changed, false)) return {};
  const std::map<KindId, std::int64_t> covered(space.covered.begin(), space.covered.end());
  Encoder out;
  for (const auto& [kind, serial] : covered) out.put_varint(kind), out.put_varint(static_cast<std::uint64_t>(serial));
  return database_->run("UPDATE state_digest SET lanes = ?, covered = ? WHERE space = ?", space.digest.state(), out.bytes(), space.n);
}

Status Core::lock() {
  if (!database_) return {};
  // What was never offered may leave later from a locked phone only if it is sealed now.
  for (auto& [id, space] : spaces_)
    if (space.waits_for(device()).empty() && live[id] > 0) DOORSTEP_TRY(change([this, &state = space] { return seal_pending(state); }));
  const Status closed = database_->close();
  database_.reset();
  spaces_.clear();
  opened_.clear();
  opened_chunk_ = {};
  dictionaries_.clear();
  dictionary_samples_.clear();
  fresh.clear();
  vault_->lock();
  identity_.reset();
  sealing_.reset();
  return closed;
}

Status Core::unlock(std::string_view passphrase) {
  if (database_) return {};
  DOORSTEP_TRY(vault_->unlock({view(passphrase), {}}));
  DOORSTEP_TRY(load_secrets());
  return open_database();
}

// ---- Spaces and people ---------------------------------------------------------------------------------------------------

Status Core::insert_space(SpaceState& space) {
  if (spaces_.size() >= static_cast<std::size_t>(space_number_max)) return Error(Code::full, "this store holds as many spaces as it can");
  DOORSTEP_TRY(
      database_->run("INSERT INTO space(n, id, name, invitation, label, own_log, fresh_log) VALUES(nullif(?, 0), ?, ?, ?, ?, 0, 0)",
                     space.n, space.id, space.name, space.invitation, space.label));
  space.n = database_->last_insert_row_id();
  DOORSTEP_TRY(database_->run("INSERT INTO state_digest(space, lanes, covered) VALUES(?, ?, x'')", space.n, space.digest.state()));
  return {};
}

Result<SpaceId> Core::found(const Replica::FoundOptions& options) {
  DOORSTEP_TRY(authority());
  DOORSTEP_ASSIGN(const ByteView sealed, vault_->secrets());
  DOORSTEP_ASSIGN(const VaultSecrets secrets, decode<VaultSecrets>(sealed, "vault secrets"));
  const IdentityKeyPair authority_keys = identity_key_pair_from_seed(std::span<const std::uint8_t, 32>(secrets.authority_seed));
  FoundingTerms terms;
  terms.kind = options.kind;
  terms.role = options.role;
  terms.label = options.label;
  terms.rights = rights_table_of(schema_);
  terms.relays = options.relays;
  DOORSTEP_ASSIGN(Founding founding, found_space(terms, authority_keys, device_keys_, *random_));
  SpaceState space;
  space.id = founding.roster.space();
  space.name = options.name;
  space.label = options.label;
  const SpaceId id = space.id;
  DOORSTEP_TRY(change([&]() -> Status {
    DOORSTEP_TRY(insert_space(space));
    DOORSTEP_TRY(database_->run("INSERT INTO roster(space, position, entry) VALUES(?, 0, ?)", space.n, founding.entry));
    space.roster = std::move(founding.roster);
    space.roster_changed(device(), *sealing_);
    spaces_.emplace(id, std::move(space));
    return {};
  }));
  remember_spaces();
  ++roster_serial;
  return id;
}

Result<std::vector<SpaceId>> Core::join(std::string_view uri, std::string_view label, std::string_view name) {
  DOORSTEP_ASSIGN(const Invitation invitation, Invitation::from_uri(uri));
  std::vector<SpaceId> joined;
  std::vector<SpaceState> states;
  for (const auto& id : invitation.spaces) {
    if (spaces_.contains(id)) return Error(Code::already_exists, "this store has joined that space already");
    auto& space = states.emplace_back();
    space.id = id;
    space.name = name;
    space.invitation = std::string(uri);
    space.label = label;
    joined.push_back(id);
  }
  if (label.size() > label_bytes_max) return Error(Code::invalid_argument, "the name is too long: at most 256 bytes");
  DOORSTEP_TRY(change([&]() -> Status {
    for (auto& space : states) {
      DOORSTEP_TRY(insert_space(space));
      const SpaceId id = space.id;
      spaces_.emplace(id, std::move(space));
    }
    return {};
  }));
  remember_spaces();
  ++roster_serial;
  return joined;
}

Status Core::append_own_entry(SpaceState& space, ByteView entry) {
  // Two entries at one position would be a fork of the roster, which nobody can mend: first what a relay has of it must be here.
  if (space.seen_roster_size > space.roster->size() || (!space.roster_is_whole() && !space.relays().empty()))
    return Error(Code::waiting, "a relay may have a longer roster than this store: sync first, then try again");
  DOORSTEP_TRY(change([&]() -> Status {
    spaces_changed_ = true;
    DOORSTEP_TRY(space.roster->append(entry));
    DOORSTEP_TRY(database_->run("INSERT INTO roster(space, position, entry) VALUES(?, ?, ?)", space.n,
                                static_cast<std::int64_t>(space.roster->size() - 1), entry));
    space.roster_changed(device(), *sealing_);
    return {};
  }));
  ++roster_serial;
  work_ = true;
  return {};
}

Result<std::string> Core::invite(SpaceState& space, const Replica::InviteOptions& options) {
  if (!space.roster) return Error(Code::waiting, "this space waits for admission: sync first");
  if (!role_from_name(options.role))
    return Error(Code::invalid_argument, "unknown role: use member, rehab_worker, town_clerk, ... (DOMAIN 1.2)");
  InviteTerms terms;
  terms.role = options.role;
  terms.expires_ms = clock_->wall_ms() + options.valid_ms;
  DOORSTEP_ASSIGN(const Invited invited, invite_entry(*space.roster, space.keys, *identity_, terms, *random_));
  std::string uri = invited.invitation.to_uri();  // before the entry stands, so that nobody is left with half an invitation
  DOORSTEP_TRY(append_own_entry(space, invited.entry));
  return uri;
}

Result<std::vector<JoinRequest>> Core::applicants(SpaceState& space) {
  std::vector<JoinRequest> out;
  if (!space.roster) return out;
  DOORSTEP_ASSIGN(Statement rows, database_->prepare("SELECT bytes FROM proposal WHERE space = ?"));
  rows.bind(1, space.n);
  for (;;) {
    DOORSTEP_ASSIGN(const bool row, rows.step());
    if (!row) break;
    auto request = JoinRequest::decode(rows.column_blob(0));
    if (request && verify(*request, *space.roster)) out.push_back(std::move(*request));
  }
  return out;
}

Status Core::admit(SpaceState& space, const DeviceId& device) {
  DOORSTEP_ASSIGN(const auto requests, applicants(space));
  const auto at = std::find_if(requests.begin(), requests.end(), [&](const JoinRequest& r) { return r.keys.identity == device; });
  if (at == requests.end())
    return Error(Code::not_found, "nobody with that device waits for admission here: sync, then look at the applicants");
  DOORSTEP_ASSIGN(const JoinLabel label, open_label(*at, *sealing_));
  const InviteItem* invite = space.roster->invite(at->invite);
  DOORSTEP_ASSIGN(const std::string role, space.keys.open_text(invite->role, invite_role_purpose(invite->id)));
  DOORSTEP_ASSIGN(const Bytes entry, admit_entry(*space.roster, space.keys, *identity_, *at, role, label.label));
  const Hash answered = hash("doorstep/1/proposal", {ByteView(at->encode())});
  DOORSTEP_TRY(append_own_entry(space, entry));
  // If this fails nothing is amiss: what the roster has answered is not listed any more.
  (void)without_throwing([&] { return database_->run("DELETE FROM proposal WHERE space = ? AND hash = ?", space.n, answered); });
  return {};
}

Status Core::store_proposal(SpaceState& space, ByteView proposal) {
  auto request = JoinRequest::decode(proposal);
  if (!request || !space.roster || !verify(*request, *space.roster)) return {};  // nobody's business: answered, or not for us
  constexpr std::int64_t proposals_max = 256;
  DOORSTEP_ASSIGN(const std::int64_t held, database_->query_int("SELECT count(*) FROM proposal WHERE space = ?", space.n));
  if (held >= proposals_max) return {};
  return database_->run("INSERT OR IGNORE INTO proposal(space, hash, bytes) VALUES(?, ?, ?)", space.n,
                        hash("doorstep/1/proposal", {proposal}), proposal);
}

// ---- What others hear ------------------------------------------------------------------------------------------------------

void Core::publish(SpaceState& space, LogNumber log, Position first, std::vector<SharedBytes> segments) {
  constexpr std::size_t kept = 64;
  fresh.push_back({space.id, space.logs.at(log).head, first, std::move(segments), ++fresh_serial});
  if (fresh.size() > kept) fresh.pop_front();
  work_ = true;
}

// A change stands whether or not there is memory to tell of it.
void Core::notify() {
  (void)without_throwing([this]() -> Status {
    tell_observers();
    return {};
  });
}

void Core::tell_observers() {
  std::vector<std::pair<std::shared_ptr<Observer>, std::vector<RecordId>>> calls;
  std::vector<std::function<void()>> callbacks;
  {
    const TakeTurn<Turn> guard(mutex);
    for (const auto& [id, observer] : observers) {
      const auto at = changed_.find(observer->space);
      if (at == changed_.end()) continue;
      std::vector<RecordId> ids;
      for (const auto& [record, kind_id] : at->second) {
        const Kind* kind = schema_.kind(kind_id);
        if (observer->record ? *observer->record == record : observer->kind.empty() || (kind && kind->name == observer->kind))
          ids.push_back(record);
      }
      if (!ids.empty()) calls.emplace_back(observer, std::move(ids));
    }
    if (work_)
      for (const auto& [number, callback] : work_callbacks) callbacks.push_back(callback);
    work_ = false;
    changed_.clear();
  }
  for (const auto& callback : callbacks) callback();
  for (auto& [observer, ids] : calls) {
    auto call = [observer = observer, ids = std::move(ids)] { observer->changed(ids); };
    if (options_.executor)
      options_.executor(std::move(call));
    else
      call();
  }
}

// ---- Time --------------------------------------------------------------------------------------------------------------------

namespace {
constexpr std::int64_t clock_jump_ms = 5000;
}

TimeClaim Core::claim_time() {
  TimeClaim claim;
  claim.claimed_ms = clock_->wall_ms();
  if (!check_) return claim;
  // A restart or somebody's hand on the clock shows as wall time and steady time drifting apart.
  const auto wall = claim.claimed_ms - check_->wall_ms, steady = clock_->steady_ms() - check_->steady_ms;
  if (steady < 0 || std::abs(wall - steady) > clock_jump_ms) return claim;
  claim.offset_ms = check_->offset_ms;
  claim.confirmed = true;
  return claim;
}

std::optional<ClockCheck> Core::take_unlogged_check(const SpaceId& space) {
  if (!check_ || !check_->logged.insert(space).second) return std::nullopt;
  return ClockCheck{decltype(ClockCheck::peer)::from(check_->peer.view()), check_->offset_ms};
}

void Core::clock_checked(const TransportPublicKey& peer, std::int64_t offset_ms) {
  constexpr std::int64_t noise_ms = 1000;  // what a slow network adds is no news
  if (std::abs(offset_ms) < noise_ms) offset_ms = 0;
  check_ = Check{peer, offset_ms, clock_->wall_ms(), clock_->steady_ms(), {}};
  Encoder out;
  out.put_raw(peer.data);
  out.put_zigzag(check_->offset_ms);
  out.put_zigzag(check_->wall_ms);
  out.put_zigzag(check_->steady_ms);
  (void)database_->run("INSERT OR REPLACE INTO meta(name, value) VALUES('clock', ?)", out.bytes());
}

Status Core::load_check() {
  check_.reset();
  DOORSTEP_ASSIGN(Statement row, database_->prepare("SELECT value FROM meta WHERE name = 'clock'"));
  DOORSTEP_ASSIGN(const bool found, row.step());
  if (!found) return {};
  Decoder in(row.column_blob(0));
  Check check;
  check.peer = in.get_fixed<TransportPublicKey>();
  check.offset_ms = in.get_zigzag();
  check.wall_ms = in.get_zigzag();
  check.steady_ms = in.get_zigzag();
  if (!in.failed()) check_ = check;
  return {};
}

}  // namespace doorstep
