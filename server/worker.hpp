// Worker: the one thread that touches the disk. It takes everything that is queued as one batch: judges and writes it in one
// transaction of the store, commits once, signs the receipts after the commit, then answers what only reads. The network thread
// gets the whole batch's answers in one call.
//
// Invariants:
// 1. No receipt is signed and no answer says "stored" before commit() returned ok. If it did not, every write of the batch is
//    answered with the reason and nothing of it stands.
// 2. Answers come in the order of the jobs, but that reads see the whole batch.
// 3. No waiting for more to come: what is queued when the thread is free is the batch. (While one batch is on its way to the disk the
//    next one gathers: that is what groups the commits.)
// 4. After Code::io or Code::corrupt nothing is written any more; on_broken is called once.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <variant>

#include "server/ledger.hpp"

namespace doorstep::relay {

namespace job {
struct AppendSegments {
  TransportPublicKey carrier;  ///< Who hands it in.
  SpaceId space;
  LogName name;
  Position first = 0;
  std::vector<SharedBytes> segments;
};
struct AppendRoster {
  SpaceId space;
  Position first;
  std::vector<Bytes> entries;
};
struct Split {
  SpaceId space;
  LogId log;
  Position position;
};
struct PutProposal {
  SpaceId space;
  Proposer from;
  Bytes bytes;
};
struct LoadSegments {
  SpaceId space;
  LogId log;
  Position after;
  std::optional<ShortHash> expect;
  std::size_t bytes_max;
};
struct LoadRoster {
  SpaceId space;
  Position from;
  std::size_t bytes_max;
};
struct LoadProposals {
  SpaceId space;
};
struct MakeLocator {
  SpaceId space;
  LogId log;
};
struct Locate {
  SpaceId space;
  LogId log;
  std::vector<std::pair<Position, ShortHash>> locator;
};
/// The connection is gone. Not answered.
struct Forget {};
}  // namespace job

struct Job {
  ConnectionId connection = 0;
  std::variant<job::AppendSegments, job::AppendRoster, job::Split, job::PutProposal, job::LoadSegments, job::LoadRoster, job::LoadProposals,
               job::MakeLocator, job::Locate, job::Forget>
      what;
  /// What it holds in memory while it waits.
  std::size_t bytes() const;
};

namespace done {
struct SegmentsAppended {
  SpaceId space;
  LogName name;
  Session::Stored stored;
  Position first_new = 0;  ///< 0: nothing new.
  std::vector<SharedBytes> new_segments;
  LogHead head;                                   ///< After them. Only if something is new.
  std::optional<std::vector<LogHead>> all_heads;  ///< If a log was split: the space's logs under their new names.
  std::string why;
};
struct RosterAppended {
  SpaceId space;
  Status status;
  SharedRoster roster;
  std::size_t appended = 0;
};
struct Splitted {
  SpaceId space;
  std::vector<LogHead> all_heads;
  Code failed = Code::ok;
};
struct ProposalPut {
  SpaceId space;
  Status status;
  Bytes bytes;
};
struct SegmentsLoaded {
  SpaceId space;
  LogId log;
  Position after;
  std::size_t bytes_max;  ///< That were asked for.
  Ledger::Loaded loaded;
  Code failed = Code::ok;
};
struct RosterLoaded {
  SpaceId space;
  Position from;
  std::vector<Bytes> entries;
};
struct ProposalsLoaded {
  SpaceId space;
  std::vector<Bytes> proposals;
};
struct LocatorMade {
  SpaceId space;
  LogId log;
  std::vector<std::pair<Position, ShortHash>> locator;
  Code failed = Code::ok;
};
struct Located {
  SpaceId space;
  LogId log;
  Position position = 0;
  Code failed = Code::ok;
};
}  // namespace done

struct Answer {
  ConnectionId connection = 0;
  std::variant<done::SegmentsAppended, done::RosterAppended, done::Splitted, done::ProposalPut, done::SegmentsLoaded, done::RosterLoaded,
               done::ProposalsLoaded, done::LocatorMade, done::Located>
      what;
};

class Worker {
 public:
  struct Seams {
    std::function<void(std::vector<Answer>, std::size_t job_bytes)> on_answers;  ///< Called on the worker's thread.
    std::function<void(const Error&)> on_broken;                                 ///< Likewise.
  };
  struct Counts {
    std::uint64_t batches = 0, segments = 0, segment_bytes = 0;
  };

  /// The store and the ledger (loaded) must outlive it; nobody else uses them while it runs.
  Worker(LogStore& store, Ledger& ledger, StoreId store_id, const IdentitySecretKey& receipt_key, Seams seams);
  ~Worker();

  void start();
  /// Instead of start(), where there are no threads (the simulator): one batch, now. False: nothing was queued.
  bool work();
  /// Any thread. Who submits bounds what it submits (Hub counts the bytes).
  void submit(Job job);
  /// Finishes what is queued, checkpoints, and joins.
  void stop();
  Counts counts() const;

 private:
  struct Batch;
  void run();
  std::deque<Job> take_batch();
  void process(std::deque<Job> jobs);
  Status write(Batch& batch);
  Status write_one(Batch& batch, std::size_t index);
  void refuse_all(Batch& batch, const Error& error);
  void sign_receipts(Batch& batch);
  void read_one(Batch& batch, std::size_t index);
  void broken(const Error& error);

  LogStore& store_;
  Ledger& ledger_;
  const StoreId store_id_;
  const IdentitySecretKey& receipt_key_;
  Seams seams_;
  std::optional<Error> broken_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;
  Counts counts_;
  bool stopping_ = false;
  bool uncommitted_ = false;  // only ever with a planted bug (lab.hpp)
  std::thread thread_;
};

}  // namespace doorstep::relay
