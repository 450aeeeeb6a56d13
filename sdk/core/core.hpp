// The core of a replica: one encrypted store, opened, and the operations on it. Internal; replica.hpp is its public face.
//
// One thread at a time: whoever calls holds `mutex` (Replica's and Link's methods take it). Every change is one SQLite
// transaction; what is kept in memory beside the tables (SpaceState) is reloaded when one fails.
//
//   core.cpp      opening, locking, spaces, transactions on the store
//   records.cpp   records in their rows: load, save, indexes, state digest, dictionary
//   merge_in.cpp  transactions into records: marks, rights, evidence, evaluation from the log
//   writing.cpp   Write: what a user action becomes
//   sealing.cpp   pending transactions into segments, and back from a store that went back in time
//   receiving.cpp rosters and segments from others
//   counters.cpp  one counter, one transaction
//   logs.cpp      logs as the session asks for them
//   reading.cpp   views, queries, history, conflicts
//   rebuild.cpp   a new database from what is left of a damaged one
//   salvaged.cpp  what a rebuild saved and sync has to make room for; what the vault remembers of the spaces
#pragma once

#include <deque>
#include <functional>
#include <set>

#include "sdk/core/known_spaces.hpp"
#include "sdk/core/space_state.hpp"
#include "sdk/driver/system_clock.hpp"
#include "sdk/driver/turn.hpp"
#include "sdk/store/database.hpp"
#include "sdk/store/vault.hpp"
#include "sync/codec.hpp"
#include "sync/compress.hpp"

namespace doorstep {

/// A record as its row holds it. `encoded` and `keys` are of the stored version, for taking them back at the next save.
struct StoredRecord {
  RecordId id;
  std::int64_t row = 0;  ///< 0: not stored yet.
  Record record;
  Bytes encoded;
  std::set<std::pair<std::int64_t, std::string>> keys;  ///< Index entries: (index_of, key).
  bool conflicted = false;
};

/// A transaction found in a segment or among the pending ones, with what judges it.
struct LocatedTransaction {
  Transaction transaction;
  DeviceId device;
  Counter first = 0;
  LogNumber log = 0;  ///< 0: pending.
  Position position = 0;
  bool checked = false;  ///< A clock check stood in the log before it, or stands in it.
  bool stands = true;    ///< Not beyond a cut, and its author may append.
  std::vector<Reference> references;
  Counter last() const { return first + std::max<std::size_t>(transaction.operation_count(), 1) - 1; }
};

using RecordPlace = std::pair<RecordId, KindId>;

/// The counters of one transaction; empty (last 0) if it cannot be read.
struct CounterRange {
  Counter first = 0, last = 0;
};

/// Segments that were sealed or merged and that links may push.
struct FreshSegments {
  SpaceId space;
  LogHead head;
  Position first = 0;
  std::vector<SharedBytes> segments;
  std::uint64_t serial = 0;
};

struct Observer {
  SpaceId space;
  std::string kind;
  std::optional<RecordId> record;
  std::function<void(const std::vector<RecordId>&)> changed;
};

/// A run of our own transactions that is in no segment, as a row of `pending`.
struct PendingRun {
  Counter first = 0, last = 0;
  std::size_t transactions = 0;
  std::int64_t oldest_ms = 0;
  Bytes refers, bytes;
};

class Salvage;

class Core : public std::enable_shared_from_this<Core> {
 public:
  static Result<std::shared_ptr<Core>> create(const ReplicaOptions& options, std::string_view passphrase);
  static Result<std::shared_ptr<Core>> open(const ReplicaOptions& options, std::string_view passphrase, const SymmetricKey* key);
  /// rebuild.cpp. Opens nothing: whoever wants the store opens it afterwards.
  static Result<RebuildReport> rebuild(const ReplicaOptions& options, std::string_view passphrase, const RebuildOptions& how);
  ~Core();

  Turn mutex;

  // core.cpp
  Status lock();
  Status unlock(std::string_view passphrase);
  bool locked() const { return !database_.has_value(); }
  Status require_open() const;
  Result<SpaceState*> space(const SpaceId& id);
  std::map<SpaceId, SpaceState>& spaces() { return spaces_; }
  /// A member, as far as is known here: also of a space whose roster got lost.
  bool belongs_to(const SpaceState& space) const {
    return space.roster && space.roster->member(device()) ? true : space.invitation.empty();
  }
  Result<DeviceId> authority();
  Result<SpaceId> found(const Replica::FoundOptions& options);
  Result<std::vector<SpaceId>> join(std::string_view uri, std::string_view label, std::string_view name);
  Result<std::string> invite(SpaceState& space, const Replica::InviteOptions& options);
  Result<std::vector<JoinRequest>> applicants(SpaceState& space);
  Status admit(SpaceState& space, const DeviceId& device);
  Status append_own_entry(SpaceState& space, ByteView entry);
  /// Runs `body` in one SQLite transaction; on failure everything in memory is reloaded.
  Status change(const std::function<Status()>& body);

  const DeviceId& device() const { return identity_->public_key; }
  const IdentityKeyPair& identity() const { return *identity_; }
  const SealingKeyPair& sealing() const { return *sealing_; }
  const TransportKeyPair& transport() const { return *transport_; }
  const DeviceKeys& device_keys() const { return device_keys_; }
  Database& database() { return *database_; }
  Vault& vault() { return *vault_; }
  const Schema& schema() const { return schema_; }
  const ReplicaOptions& options() const { return options_; }
  Clock& clock() { return *clock_; }
  Random& random() { return *random_; }
  Compressor& compressor() { return compressor_; }

  // records.cpp
  Result<std::optional<StoredRecord>> load_record(SpaceState& space, const RecordId& id, KindId kind);  ///< kind 0: whichever is created
  Result<StoredRecord> load_row(SpaceState& space, std::int64_t row, const RecordId& id, ByteView body);
  Status save_record(SpaceState& space, StoredRecord& stored);
  Result<Record> decode_body(ByteView body, Bytes* encoded = nullptr);
  Result<ByteView> unpack_body(ByteView body, Bytes& space);  ///< The encoded record: in `body` or in `space`.
  /// Adds to the state digest what was created since the last time.
  Status cover_new_rows(SpaceState& space);

  // merge_in.cpp
  struct Incoming {
    Author author;
    LogNumber log = 0;
    Position position = 0;
    bool checked = false;
    const std::vector<Reference>* references = nullptr;  ///< nullptr: our own, nothing to prove.
  };
  /// Merges one transaction into its records, or says why it has to wait in quarantine.
  Result<Reason> merge(SpaceState& space, Transaction transaction, const Incoming& incoming, bool stands);
  Status merge_change(SpaceState& space, const Mark& mark, RecordChange change, std::uint32_t offset, const Incoming& incoming,
                      StoredRecord* loaded, bool quarantined = false);
  Mark mark_of(SpaceState& space, const Transaction& transaction, const RecordChange& change, const Incoming& incoming) const;
  bool may_write_all(SpaceState& space, const Transaction& transaction, const Incoming& incoming) const;
  std::uint8_t rights_of(SpaceState& space, const Incoming& incoming, KindId kind) const;
  bool arrived(SpaceState& space, const Dot& dot);
  /// The transaction that holds an operation, standing or not.
  Result<std::optional<LocatedTransaction>> find_transaction(SpaceState& space, const Dot& dot);
  /// The record from the log: of the transactions that hold `dots`, and of all that these name.
  Result<Record> evaluate(SpaceState& space, const RecordId& id, KindId kind, std::vector<Dot> dots);
  /// The stored record from the log; `more`: what may not have touched it before.
  Status evaluate_again(SpaceState& space, const RecordId& id, KindId kind, const std::vector<Dot>& more);
  /// Evaluates every record that a segment touches (after a cut, a role, a failed reference).
  Status recheck_segment(SpaceState& space, std::int64_t segment);
  bool evidence_holds(SpaceState& space, const std::vector<Reference>& references, const Dot& dot, std::map<std::int64_t, bool>& proven);
  bool proven_to_know(SpaceState& space, const std::vector<Reference>& references, std::int64_t row);
  /// Leaves out the names that stand at this address and outside the author's evidence.
  /// `proven` remembers what the references say of a segment.
  Status drop_unproven(SpaceState& space, const RecordPlace& record, Operation& operation, DeviceNumber author,
                       const std::vector<Reference>& references, std::map<std::int64_t, bool>& proven);
  static bool check_counts(const SpaceState& space, const Transaction& transaction, Position roster_size);
  void note_changed(SpaceState& space, const RecordId& id, KindId kind);

  // sealing.cpp
  Status seal_pending(SpaceState& space);
  Result<LogNumber> ensure_own_log(SpaceState& space);
  /// The peer knows more of our own log than we do: this store went back in time (invariant 5).
  Status own_log_regressed(SpaceState& space);
  Status readmit_pending(SpaceState& space);
  Result<std::vector<NumberedTransaction>> pending_chunk(std::int64_t row);
  static Bytes encode_chunk(const std::vector<NumberedTransaction>& transactions, Compressor& compressor);
  static Result<std::vector<NumberedTransaction>> decode_chunk(ByteView bytes, Compressor& compressor);

  // receiving.cpp
  Result<std::size_t> append_roster(SpaceState& space, Position first, const std::vector<Bytes>& entries);
  Session::Stored append_segments(SpaceState& space, const LogName& name, Position first, const std::vector<Bytes>& segments,
                                  std::size_t* merged);
  Status retry_quarantine(SpaceState& space);

  // logs.cpp
  Status split(SpaceState& space, const LogId& log, Position position);
  Result<std::vector<SharedBytes>> load_segments(SpaceState& space, const LogId& log, Position after, std::size_t bytes_max,
                                                 const std::optional<ShortHash>& expect, bool* diverged);
  static const LogState* holder_of(const SpaceState& space, const LogState& log, Position position);
  Result<std::optional<Hash>> hash_at(SpaceState& space, const LogState& log, Position position);
  Result<bool> checked_after(SpaceState& space, const LogState& log, Position position);
  std::vector<std::pair<Position, ShortHash>> locator(SpaceState& space, const LogId& log);
  Position locate(SpaceState& space, const LogId& log, const std::vector<std::pair<Position, ShortHash>>& locator);
  Status store_receipt(SpaceState& space, const LogId& log, Position position, const Receipt& receipt, const DeviceId& receipt_key);
  Status receipts_fall_back(const StoreId& store);
  Status store_proposal(SpaceState& space, ByteView proposal);
  void clock_checked(const TransportPublicKey& peer, std::int64_t offset_ms);

  // salvaged.cpp
  /// Puts in what waits in `salvaged` and can be placed by now. `placed` is told of each segment.
  Status place_salvaged(const SpaceId& id, const std::function<void()>& placed = {});
  /// Everything that a relay has of the space is here: a rebuilt space goes on as any other. True if something changed.
  Result<bool> settle(const SpaceId& id);

  // writing.cpp
  Result<Replica::Saved> transact(SpaceState& space, const std::function<Status(Write&)>& body);
  TimeClaim claim_time();
  /// The last clock check, once: it stands in the log before the claims that rest on it.
  std::optional<ClockCheck> take_unlogged_check(const SpaceId& space);

  // reading.cpp
  Result<Pending> pending(SpaceState& space);

  // Links and observers
  std::deque<FreshSegments> fresh;  ///< The newest; links remember the serial that they have seen.
  std::uint64_t fresh_serial = 0;
  std::uint64_t roster_serial = 0;  ///< Rises when a roster changed here.
  std::map<SpaceId, int> live;      ///< Links that are ready in a space: commit and seal are one then.
  std::map<int, std::function<void()>> work_callbacks;
  int next_callback = 0;
  void publish(SpaceState& space, LogNumber log, Position first, std::vector<SharedBytes> segments);
  /// Tells observers and links what changed since the last call. Call without the mutex.
  void notify();
  std::map<int, std::shared_ptr<Observer>> observers;

 private:
  Core(const ReplicaOptions& options);
  Status load_all();
  Status load_space(SpaceState& space);
  Status load_digest(SpaceState& space);
  Result<Counter> last_own_counter(const SpaceState& space);
  void tell_observers();
  Status make_vault(std::string_view passphrase);
  Status take_up_vault(std::string_view passphrase);
  Status open_database();
  Result<std::shared_ptr<StoreDirectory>> acquire_directory() const;
  DatabaseOptions database_options() const;
  Status load_secrets();
  Status insert_space(SpaceState& space);
  Status choose_dictionary(KindId kind, ByteView sample);
  Status write_digest(SpaceState& space);
  bool is_covered(const SpaceState& space, std::int64_t row) const;
  Status cover_row(SpaceState& space, std::int64_t row, const RecordId& id, ByteView body);
  void collect_keys(SpaceState& space, const StoredRecord& stored, std::set<std::pair<std::int64_t, std::string>>& keys) const;
  bool has_conflict(const Record& record) const;
  Result<std::int64_t> next_row(SpaceState& space, KindId kind);
  Status delete_record(SpaceState& space, StoredRecord& stored);

  // rebuild.cpp
  Status load_vault(std::string_view passphrase, const RebuildOptions& how, RebuildReport& report);
  Result<bool> finish_rebuild(std::string* kept = nullptr);
  Result<Salvage> look_for_damage(const RebuildOptions& how);
  Status build(Salvage& salvage, const RebuildOptions& how, RebuildReport& report);
  Status fill(Salvage& salvage, const RebuildOptions& how, RebuildReport& report);
  bool readable(const SpaceState& space, const PendingRun& run);

  // salvaged.cpp
  Status load_known_spaces(ByteView sealed);
  /// Brings the vault's list of spaces up to date. Best effort: the next change or opening tries again.
  void remember_spaces();
  void tell_vault_of_spaces();
  std::vector<KnownSpace> spaces_to_remember() const;
  Status place_salvaged_roster(const SpaceId& id);
  Status place_salvaged_log(const SpaceId& id, const LogName& name, const std::function<void()>& placed);
  Status reseal_salvaged(SpaceState& space);
  Result<std::optional<SegmentContent>> open_salvaged(SpaceState& space, const LogName& name, Position position, ByteView previous,
                                                      ByteView bytes);
  Status add_pending(SpaceState& space, std::vector<PendingRun> runs);
  Result<std::vector<PendingRun>> not_here_yet(SpaceState& space, std::vector<PendingRun> runs, std::set<Counter>& held);

  // logs.cpp
  Status split_off(SpaceState& space, LogState& log, Position position);
  Status refer_to_branch(SpaceState& space, LogNumber log, LogNumber branch);

  // sealing.cpp
  void note_touched(const std::vector<NumberedTransaction>& transactions, const DeviceId& author, DeviceNumber number,
                    std::map<RecordPlace, std::vector<Dot>>& touched) const;
  Status claim_own(SpaceState& space, LogState& log, std::int64_t row, const SegmentContent& content,
                   const std::vector<CounterRange>& ranges);

  // receiving.cpp
  Status store_entry(SpaceState& space, const SpaceId& id, Position position, const Bytes& entry, std::size_t* added);
  Status judge_again(SpaceState& space, LogNumber n, Position after);
  static bool is_closed(const SpaceState& space, const LogState& log);
  static Reason judge(const SpaceState& space, const LogState& log, Position position);
  Result<const LogState*> parent_of(SpaceState& space, const LogName& name, ByteView first_segment);
  Status leave_log(SpaceState& space, const LogName& name);
  Result<LogNumber> begin_log(SpaceState& space, const LogName& name, ByteView first_segment);
  Status insert_log(SpaceState& space, LogState& log);
  /// `checked`: a clock check that counts stands in the log before it.
  /// `previous`: of segments that were sealed here.
  Status insert_segment(std::int64_t row, const Hash& hash, std::size_t transactions, Reason reason, bool checked, ByteView bytes,
                        const Hash* previous = nullptr);
  Result<SegmentContent> read_segment(SpaceState& space, const SegmentPlace& place, const SegmentHead& head, Reason* reason);
  Result<Code> append_segment(SpaceState& space, LogState& log, const Bytes& bytes, std::size_t* merged);
  Result<bool> take_in(SpaceState& space, const LogState& log, std::int64_t row, const Hash& hash, const SegmentContent& content,
                       bool checked, std::size_t* merged);
  Status remember_references(std::int64_t row, const std::vector<Reference>& references);
  Status judge_references_to(SpaceState& space, const LogState& log, Position position, const Hash& hash);
  Status retry_segment(SpaceState& space, std::int64_t row);
  Status check_reaches(SpaceState& space, LogState& log, Position position);

  // counters.cpp
  /// A segment's transactions claim their counters: `reasons` tells those that lose one, `again` the records that have to be
  /// evaluated because another lost.
  Status claim_counters(SpaceState& space, DeviceNumber device, std::int64_t row, const Hash& hash, const std::vector<CounterRange>& ranges,
                        std::vector<Reason>& reasons, std::set<RecordPlace>& again);
  Result<bool> claim_contested(SpaceState& space, DeviceNumber device, std::int64_t row, const Hash& hash, const CounterRange& range,
                               std::set<RecordPlace>& again);
  Status make_void(SpaceState& space, DeviceNumber device, std::int64_t row, const CounterRange& range, std::set<RecordPlace>& again);
  /// Pending transactions of ours that a segment of another life of this store holds.
  Status forget_pending(SpaceState& space, const SegmentContent& content, std::set<RecordPlace>& again);

  ReplicaOptions options_;
  Schema schema_;
  SystemClock system_clock_;
  SystemRandom system_random_;
  Clock* clock_;
  Random* random_;
  std::shared_ptr<StoreDirectory> directory_;
  std::optional<Vault> vault_;
  std::optional<IdentityKeyPair> identity_;
  std::optional<SealingKeyPair> sealing_;
  std::optional<TransportKeyPair> transport_;
  DeviceKeys device_keys_;
  std::optional<Database> database_;
  std::map<SpaceId, SpaceState> spaces_;
  Compressor compressor_;

  // The dictionaries that pack record bodies, one a kind (its number is the kind's): made of the first such records here.
  std::map<std::int64_t, Dictionary> dictionaries_;
  struct DictionarySample {
    Bytes bytes;
    std::vector<std::size_t> sizes;
    ~DictionarySample() { wipe(bytes); }
  };
  std::map<KindId, DictionarySample> dictionary_samples_;

  // Memory that one save leaves to the next.
  Encoder plain_{1024};
  Bytes body_;

  // The last segments that were opened: evaluation and history often ask for neighbours.
  struct OpenedSegment {
    std::int64_t row = 0;
    SegmentContent content;
  };
  std::deque<OpenedSegment> opened_;
  Result<const SegmentContent*> opened_segment(SpaceState& space, std::int64_t row);
  struct OpenedChunk {
    std::int64_t row = 0;
    std::vector<NumberedTransaction> transactions;
  };
  OpenedChunk opened_chunk_;
  Result<std::optional<LocatedTransaction>> find_in_segment(SpaceState& space, const Dot& dot, std::int64_t row);
  Result<std::optional<MarkedOperations>> marked_operations(SpaceState& space, const RecordPlace& record, DeviceNumber number,
                                                            const LocatedTransaction& located);

  // The last clock check (DESIGN invariant 4).
  struct Check {
    TransportPublicKey peer;
    std::int64_t offset_ms = 0, wall_ms = 0, steady_ms = 0;
    std::set<SpaceId> logged;  ///< The spaces in whose log it stands.
  };
  std::optional<Check> check_;
  Status load_check();

  // What the vault keeps of the spaces, and as it was last written.
  std::vector<KnownSpace> known_spaces_;
  Bytes known_encoded_;
  bool spaces_changed_ = false;  ///< In this change: relays, or a log of ours.
  bool rebuilding_ = false;      ///< The database is not the store's yet: the vault keeps what belongs to that one.

  std::map<SpaceId, std::map<RecordId, KindId>> changed_;
  bool work_ = false;
};

}  // namespace doorstep
