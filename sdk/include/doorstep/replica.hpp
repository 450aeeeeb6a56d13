// A replica: one person's encrypted store on one device.
//
//   auto replica = doorstep::Replica::open({.directory = "/data/store"}, passphrase);
//   auto saved = replica->transact(space, [&](doorstep::Write& write) -> doorstep::Status {
//     const auto person = write.create("person");
//     write.set(person, "name", "陈桂兰");
//     return {};
//   });                                  // returns when it is on the disk
//   auto chens = replica->query(space, {.kind = "person", .text = "陈"});
//
// Promises: a successful transact() survives a power cut; nothing that was written is ever merged away (history());
// no error at opening recreates or deletes anything; nothing on the disk is in the clear.
//
// Threads: a Replica may be used from any thread; calls take turns. Observers run where ReplicaOptions::executor puts them.
// Errors: every function returns a Result; see sync/result.hpp. No exceptions, no singletons; any number of replicas in a process.
// Without memory a call is Code::full and nothing happened; only what returns no Result (observe(), a RecordView's texts) may then
// throw std::bad_alloc, as a std::string does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "doorstep/schema.hpp"
#include "sync/crypto.hpp"
#include "sync/env.hpp"
#include "sync/ids.hpp"
#include "sync/policy.hpp"
#include "sync/record.hpp"
#include "sync/result.hpp"
#include "sync/roster.hpp"
#include "sync/value.hpp"

namespace doorstep {

struct Platform;  // sdk/store/database.hpp

/// Runs a task soon, somewhere: an app's main thread, a pool, or at once.
using Executor = std::function<void(std::function<void()>)>;

struct ReplicaOptions {
  std::string directory;                              ///< One store per directory; created with its parent present.
  std::optional<Schema> schema = {};                  ///< Record kinds; the built-in ones if empty.
  Clock* clock = nullptr;                             ///< nullptr: the system's. Must outlive the replica.
  Random* random = nullptr;                           ///< nullptr: the system's. Must outlive the replica.
  Executor executor = {};                             ///< Where observers run; empty: at once, on the thread that caused the change.
  std::size_t cache_bytes = 4u << 20;                 ///< Page cache.
  Argon2Parameters passphrase_cost = {64 * 1024, 2};  ///< At creation; a floor of 19 MiB x 2 is enforced.
  bool test_identities = false;                       ///< Accept citizen ids of the unassigned area 99 (tests and demos only).
  const Platform* platform = nullptr;                 ///< Files where there is no POSIX; nullptr: the system's. Must outlive the replica.
  bool unencrypted_for_benchmarks = false;            ///< Plain SQLite underneath: a floor to measure against, never for data.
};

using RelayAddress = RelayItem::Relay;  ///< Transport key and "host:port" addresses.

struct SpaceInfo {
  SpaceId id;
  SpaceKind kind = SpaceKind::village;
  std::string name;        ///< Local; never leaves the device.
  std::string role;        ///< Ours ("member", "town_clerk"), empty while unknown.
  bool sequencer = false;  ///< This device may admit others.
  std::string waits_for;   ///< Empty, or why nothing leaves yet: "admission", "roster fork", "keys", "roster", "rebuild" (a first sync).
  Position roster_size = 0;
  std::size_t members = 0;
  std::vector<RelayAddress> relays;
};

struct MemberInfo {
  DeviceId device;
  std::string role;
  std::string label;  ///< The person's name as the admitting desk wrote it; empty without the key.
  bool sequencer = false;
  bool cut = false;
  bool self = false;
};

/// Somebody who used an invitation and waits to be admitted.
struct Applicant {
  DeviceId device;
  std::string label;
  std::string role;
};

/// A value as somebody wrote it.
struct WrittenValue {
  Value value;
  DeviceId device;
  std::string author;  ///< Label from the roster, may be empty.
  TimeClaim time;
  bool approved = false;  ///< Written by a role that may approve.
};

/// A record as this replica shows it. A snapshot: later changes do not alter it. Cheap to copy.
class RecordView {
 public:
  const RecordId& id() const;
  const Kind* kind() const;  ///< nullptr: a kind that the schema does not know.
  KindId kind_id() const;

  /// The value that a field shows by its policy; no value (std::monostate) if nothing does. `name` may be "pre_check.bp_sys".
  Value value(std::string_view name) const;
  /// As text: texts and codes as they are, other types as they are written in JSON; empty if there is none.
  std::string text(std::string_view name) const;
  /// Keys of the elements present in a set field, ascending; for a set of codes these are the codes.
  std::vector<std::string> elements(std::string_view name) const;
  Value element_value(std::string_view name, std::string_view element, std::string_view subfield = {}) const;
  /// More than one distinct value stands and a person should decide.
  bool conflicted(std::string_view name) const;
  /// All values that stand at a field, the shown one first; more than one distinct: concurrent.
  std::vector<WrittenValue> standing(std::string_view name) const;
  /// Shown values in the schema's order, as one JSON object (field names, codes; "id" and "kind" first).
  std::string json() const;
  /// The registers, for tools.
  const Record& record() const;

  struct Data;  ///< Internal.
  explicit RecordView(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

 private:
  std::shared_ptr<const Data> data_;
};

struct QueryCondition {
  enum class Op : std::uint8_t { equal, at_least, at_most, less, greater, contains };
  std::string field;
  Op op = Op::equal;
  Value value;  ///< `contains`: a text, or a code or record of a set.
};

struct Query {
  std::string kind;
  std::vector<QueryCondition> where = {};  ///< All must hold, on shown values.
  std::string text = {};                   ///< Contained in some searchable field, after NFC; Chinese names included.
  std::string order_by = {};               ///< Empty: as created. Records without the field come last.
  bool descending = false;
  std::size_t limit = SIZE_MAX;
  std::size_t offset = 0;
};

struct HistoryEntry {
  std::string field;  ///< Name, or "#number" if the schema does not know it.
  std::string element;
  std::string subfield;
  Value value;
  DeviceId device;
  std::string author;
  TimeClaim time;
  std::string note;  ///< The transaction's.
  Dot dot;
  std::vector<Dot> supersedes;
  std::vector<Dot> superseded_by;  ///< Empty: it stands.
  bool pending = false;            ///< Not sealed into a segment yet.
};

struct Conflict {
  RecordId record;
  std::string kind;
  std::string field;
  std::string element;
  std::string subfield;
  std::vector<WrittenValue> values;  ///< Distinct ones, the shown one first.
};

struct Pending {
  std::size_t transactions = 0;  ///< Durable here, not at the office: without a relay's receipt.
  std::size_t unsealed = 0;      ///< Of them, not yet in a segment.
  std::size_t bytes = 0;
  std::int64_t oldest_ms = 0;  ///< Claimed time of the oldest; 0 if there is none.
  std::string waits_for;       ///< As SpaceInfo::waits_for.
};

struct QuarantineInfo {
  std::string reason;  ///< "unknown key", "no right", "beyond a cut", "corrupt", "forked", "missing parent", "unknown encoding"
  std::size_t transactions = 0;
};

/// What one user action writes, until transact() returns. Assignments supersede what this replica shows now.
/// A mistake (unknown field, wrong type) is remembered, makes transact() fail and nothing is written.
class Write {
 public:
  RecordId create(std::string_view kind);
  /// `name` may be "field" or "field.subfield" of a structure. std::monostate clears.
  Write& set(const RecordId& record, std::string_view name, Value value);
  Write& set(const RecordId& record, std::string_view name, const char* text) { return set(record, name, Value(std::string(text))); }
  /// A code list's value, for a field of type code, is given as text too: set(person, "sex", "2").
  Write& clear(const RecordId& record, std::string_view name) { return set(record, name, Value{}); }
  /// Sets: adds a code, a scalar, or a structure (subfield name, value); returns the element's key.
  std::string add(const RecordId& record, std::string_view field, Value value);
  std::string add(const RecordId& record, std::string_view field, const std::vector<std::pair<std::string, Value>>& subfields);
  Write& set_element(const RecordId& record, std::string_view field, std::string_view element, std::string_view subfield, Value value);
  Write& remove(const RecordId& record, std::string_view field, std::string_view element);
  /// From a JSON object of field names (as RecordView::json writes them). Sets are added to; null clears.
  Write& set_json(const RecordId& record, std::string_view json);
  /// The author's reason; shown in history.
  Write& note(std::string_view text);
  /// Assigns an address as it is, checked only against protocol limits: for tools and tests.
  Write& assign(const RecordId& record, KindId kind, Address address, Value value);
  /// Ends this user action and begins another one in the same durable commit: one sync to disk for a whole import.
  Write& next_transaction();
  /// A mistake was made, so that nothing will be written: a long import may stop here, and knows its row after next_transaction().
  bool failed() const;

  struct Data;  ///< Internal.
  explicit Write(Data& data) : data_(data) {}
  Write(const Write&) = delete;
  Write& operator=(const Write&) = delete;

 private:
  Data& data_;
};

struct RebuildOptions {
  /// If the vault is damaged too: take the copy before it (`vault.prev`). It may lack what was changed last, and whoever could damage
  /// the vault may have wanted just that; so nobody falls back to it without being told.
  bool restore_vault = false;
  std::function<void(std::size_t done, std::size_t total)> progress = {};
};

/// What a rebuild found and saved.
struct RebuildReport {
  bool vault_restored = false;
  bool finished_earlier = false;  ///< A rebuild that was interrupted is finished now. It was not counted again.
  std::string kept;               ///< The folder in the store's directory that holds the damaged files; empty: there were none.
  std::size_t pages = 0, pages_damaged = 0;
  std::size_t log_records_lost = 0;  ///< Of the database's write-ahead log, in its middle.
  std::size_t spaces = 0;
  std::size_t roster_entries = 0, roster_entries_waiting = 0;
  std::size_t segments = 0, segments_waiting = 0;  ///< Waiting: a gap before them is filled by the next sync.
  std::size_t segments_unnamed = 0;     ///< Left behind: the page that names their log is damaged. Not ours, so a relay had them.
  std::size_t transactions_unsent = 0;  ///< In no segment: they leave with the next sync.
  std::size_t drafts = 0;
  std::size_t rows_unreadable = 0;  ///< Unsent work of which a part stood in a damaged page, and the rest makes no sense without it.
};

class Link;
class Core;

/// Stops observing when destroyed.
class [[nodiscard]] Subscription {
 public:
  Subscription() = default;
  explicit Subscription(std::shared_ptr<void> token) : token_(std::move(token)) {}

 private:
  std::shared_ptr<void> token_;
};

class Replica {
 public:
  /// Makes a new store with a new device. Code::already_exists if there is one. Takes about a second on a phone (Argon2id).
  /// A creation that a power cut interrupted (open() says not_found) is called again, with the same passphrase.
  static Result<Replica> create(const ReplicaOptions& options, std::string_view passphrase);
  /// Code::not_found, wrong_key, corrupt, busy (another process has it), each with a sentence.
  static Result<Replica> open(const ReplicaOptions& options, std::string_view passphrase);
  /// With the key that database_key() gave, e.g. from the phone's key store: no Argon2id.
  static Result<Replica> open_with_key(const ReplicaOptions& options, const SymmetricKey& key);
  /// A damaged store (Code::corrupt, or its main.db gone): makes a new database of everything that can still be read, and keeps the
  /// damaged files. What is missing comes with the next sync. Nobody may have the store open. Code::invalid_argument: it is whole.
  /// After an error or a crash the store is as it was, or rebuilt. Needs about as much free space as the store has.
  static Result<RebuildReport> rebuild(const ReplicaOptions& options, std::string_view passphrase, const RebuildOptions& how = {});
  Replica(Replica&&) noexcept;
  Replica& operator=(Replica&&) noexcept;
  ~Replica();

  /// Seals what may be sealed, drops keys and plaintext from memory. Everything but unlock() answers Code::locked.
  Status lock();
  Status unlock(std::string_view passphrase);
  bool locked() const;
  Status change_passphrase(std::string_view old_passphrase, std::string_view new_passphrase);
  /// A copy of the unwrapped key, for open_with_key().
  Result<SymmetricKey> database_key() const;
  DeviceId device() const;
  const Schema& schema() const;

  // Spaces and people ------------------------------------------------------------------------------------------------------

  /// The public key of this store's authority (the township), made at the first call: what a relay is told to serve.
  Result<DeviceId> authority();
  struct FoundOptions {
    SpaceKind kind = SpaceKind::village;
    std::string name;
    std::string role = "town_clerk";
    std::string label = {};  ///< Our person's name, sealed for members.
    std::vector<RelayAddress> relays = {};
  };
  Result<SpaceId> found(const FoundOptions& options);
  Result<std::vector<SpaceInfo>> spaces();
  Result<SpaceInfo> space(const SpaceId& space);
  Result<std::vector<MemberInfo>> members(const SpaceId& space);
  Status set_relays(const SpaceId& space, const std::vector<RelayAddress>& relays);
  struct InviteOptions {
    std::string role = "member";
    std::int64_t valid_ms = 7LL * 24 * 3600 * 1000;  ///< A reminder for people; time never decides acceptance.
  };
  /// A one-time invitation as a link (or QR). Only the sequencer; sync afterwards, so that the relay lets the newcomer in.
  Result<std::string> invite(const SpaceId& space, const InviteOptions& options);
  /// Accepts an invitation: the space may be written to at once; it leaves this device after admission.
  Result<std::vector<SpaceId>> join(std::string_view uri, std::string_view label, std::string_view name = {});
  Result<std::vector<Applicant>> applicants(const SpaceId& space);
  Status admit(const SpaceId& space, const DeviceId& device);

  // Writing ----------------------------------------------------------------------------------------------------------------

  struct Saved {
    std::vector<RecordId> created;
    std::size_t operations = 0;
    std::vector<std::string> warnings;  ///< Validation's, in the schema's zh-CN.
  };
  /// One user action: applied whole or not at all, here and on every replica. Durable on return.
  /// Code::invalid_record names the field and the rule; Code::no_right the role.
  Result<Saved> transact(const SpaceId& space, const std::function<Status(Write&)>& body);
  /// Decides a conflict: supersedes every value that stands at the field. Needs the right to resolve.
  Status resolve(const SpaceId& space, const RecordId& record, std::string_view field, const Value& value, std::string_view note = {});

  /// Drafts stay on the device: durable, never sealed, never pending, never counted.
  Status save_draft(const RecordId& draft, std::string_view kind, std::string_view json);
  Result<std::vector<std::pair<RecordId, std::string>>> drafts(std::string_view kind);
  Status discard_draft(const RecordId& draft);
  RecordId new_draft_id();

  // Reading ----------------------------------------------------------------------------------------------------------------

  /// Code::not_found if this replica does not have it.
  Result<RecordView> get(const SpaceId& space, const RecordId& record);
  Result<std::vector<RecordView>> query(const SpaceId& space, const Query& query);
  Result<std::size_t> count(const SpaceId& space, std::string_view kind);
  /// Every value ever written to the record (or one field), oldest first by causality, then time.
  Result<std::vector<HistoryEntry>> history(const SpaceId& space, const RecordId& record, std::string_view field = {});
  Result<std::vector<Conflict>> conflicts(const SpaceId& space);

  /// `changed` is called after every commit or merge that touched a record of the kind (empty: any kind), with the records' ids.
  Subscription observe(const SpaceId& space, std::string_view kind, std::function<void(const std::vector<RecordId>&)> changed);
  Subscription observe(const SpaceId& space, const RecordId& record, std::function<void()> changed);
  /// `answer` is called with the query's answer: once now, and after every commit or merge that touched a record of its kind.
  Subscription observe(const SpaceId& space, Query query, std::function<void(const std::vector<RecordView>&)> answer);

  // What is where ----------------------------------------------------------------------------------------------------------

  Result<Pending> pending(const SpaceId& space);
  /// Equal for replicas with equal sets, keys and encodings.
  Result<Hash> state_digest(const SpaceId& space);
  Result<std::vector<QuarantineInfo>> quarantine(const SpaceId& space);
  /// Re-checks every page, chain, signature and record against the log; names the first thing that is wrong.
  Status verify(const std::function<void(std::size_t done, std::size_t total)>& progress = {});

  /// The inside, for Link and the driver.
  const std::shared_ptr<Core>& core() const { return core_; }

 private:
  explicit Replica(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;
};

}  // namespace doorstep
