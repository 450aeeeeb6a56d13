// A whole replica (sdk) as a subject: vault, database, records, sealing and a relay that it syncs with.
//
// Beside the steps it is held to what it gave out of its hands: a segment that was offered stands at its position, the same, for ever;
// what it acknowledged of others it holds; no receipt says more than the relay has; and it becomes level with the relay again without
// a second log.
#pragma once

#include "tests/fault/memory_relay.hpp"
#include "tests/fault/subject.hpp"
#include "tests/sdk/replica_fixture.hpp"
#include "tests/sync/roster_fixture.hpp"

namespace doorstep::fault {

class ReplicaSubject final : public Subject {
 public:
  ReplicaSubject();
  struct Survivor {};
  /// Knows what `other` knows, and has nothing open.
  ReplicaSubject(const ReplicaSubject& other, Survivor);
  Status open(SimulatedDisk& disk, bool may_be_new) override;
  bool is_open() const override { return replica_.has_value(); }
  Status close() override;
  Result<int> progress() override;
  Status advance(int done) override;
  void maintain(int done) override;
  Status check(int done) override;
  /// A call that failed for the disk leaves a store that only opening again makes usable.
  bool is_fatal(const Error& error) override { return error.code() == Code::io || error.code() == Code::locked; }
  std::unique_ptr<Subject> survivor(std::size_t events) const override;

  Replica& replica() { return *replica_; }
  /// What it is opened with, as long as the subject and its disk live.
  ReplicaOptions options() const;
  const SymmetricKey& key() const { return *key_; }
  /// Syncs, with something new of another member at the relay.
  Status sync();

 private:
  /// What the relay had when the disk had seen so many events.
  struct Promise {
    std::size_t events = 0;
    std::map<LogId, LogHead> relay;
    Position roster_size = 0;
    Position author_acknowledged = 0;  ///< Of the other member's log: what the replica said it has.
  };
  Result<SpaceId> space();
  Status admit_author();
  Status transact(int i);
  Status write_step(Write& write, int i, const std::map<int, RecordId>& known, const std::optional<RecordId>& counter);
  Status check_records(int done);
  Status check_promises();
  Status check_resync();
  Result<std::map<int, RecordId>> things();
  Result<std::optional<RecordId>> counter_record();
  void author_writes();
  void note_promise();

  std::shared_ptr<const test::Device> author_;
  std::shared_ptr<MemoryRelay> relay_;
  std::shared_ptr<const SymmetricKey> key_;
  LogName author_log_;
  std::vector<Hash> author_hashes_;
  std::vector<Promise> promises_;

  std::shared_ptr<FakeClock> clock_ = std::make_shared<FakeClock>();
  std::shared_ptr<Platform> platform_ = std::make_shared<Platform>();
  SimulatedDisk* disk_ = nullptr;
  std::optional<Replica> replica_;
};

}  // namespace doorstep::fault
