#include "server/worker.hpp"
#include "sync/lab.hpp"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <chrono>
#include <map>

namespace doorstep::relay {

namespace {

constexpr std::size_t batch_bytes_max = 8u << 20;
constexpr std::size_t batch_jobs_max = 1024;
/// Of silence, after which the journal moves into the database.
constexpr std::chrono::milliseconds quiet{300};

// What was allocated for one thread and freed by another, glibc keeps for itself, after a bad hour nearly all of it.
void give_memory_back() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

bool writes(const Job& job) { return job.what.index() <= 3; }
static_assert(std::is_same_v<std::variant_alternative_t<3, decltype(Job::what)>, job::PutProposal>);

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

}  // namespace

std::size_t Job::bytes() const {
  constexpr std::size_t around = 256;
  return std::visit(Overloaded{[](const job::AppendSegments& append) {
                                 std::size_t out = around;
                                 for (const auto& segment : append.segments) out += segment->size() + 64;
                                 return out;
                               },
                               [](const job::AppendRoster& append) {
                                 std::size_t out = around;
                                 for (const auto& entry : append.entries) out += entry.size() + 64;
                                 return out;
                               },
                               [](const job::LoadSegments& load) { return around + load.bytes_max; },
                               [](const job::PutProposal& put) { return around + put.bytes.size(); }, [](const auto&) { return around; }},
                    what);
}

struct Worker::Batch {
  std::deque<Job> jobs;
  std::vector<std::optional<Answer>> answers;
  std::size_t segments = 0, segment_bytes = 0;
};

Worker::Worker(LogStore& store, Ledger& ledger, StoreId store_id, const IdentitySecretKey& receipt_key, Seams seams)
    : store_(store), ledger_(ledger), store_id_(store_id), receipt_key_(receipt_key), seams_(std::move(seams)) {}

Worker::~Worker() { stop(); }

void Worker::start() { thread_ = std::thread(&Worker::run, this); }

void Worker::submit(Job job) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Worker::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Worker::Counts Worker::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

// With the mutex held.
std::deque<Job> Worker::take_batch() {
  std::deque<Job> jobs;
  std::size_t bytes = 0;
  while (!queue_.empty() && bytes < batch_bytes_max && jobs.size() < batch_jobs_max) {
    bytes += queue_.front().bytes();
    jobs.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return jobs;
}

bool Worker::work() {
  std::deque<Job> jobs;
  {
    const std::lock_guard lock(mutex_);
    jobs = take_batch();
  }
  if (jobs.empty()) return false;
  process(std::move(jobs));
  return true;
}

void Worker::run() {
  bool checkpointed = true;
  for (;;) {
    std::deque<Job> jobs;
    {
      std::unique_lock lock(mutex_);
      const auto something = [&] { return stopping_ || !queue_.empty(); };
      if (checkpointed)
        wake_.wait(lock, something);
      else
        wake_.wait_for(lock, quiet, something);
      if (queue_.empty() && stopping_) break;
      jobs = take_batch();
    }
    if (jobs.empty()) {
      if (!broken_) (void)store_.checkpoint();  // if it is busy or full: the next quiet moment will do
      give_memory_back();
      checkpointed = true;
      continue;
    }
    checkpointed = false;
    process(std::move(jobs));
  }
  if (!broken_) (void)store_.checkpoint();
}

void Worker::process(std::deque<Job> jobs) {
  Batch batch{std::move(jobs), {}};
  batch.answers.resize(batch.jobs.size());
  std::size_t bytes = 0;
  bool any_writes = false;
  for (const auto& job : batch.jobs) {
    bytes += job.bytes();
    any_writes = any_writes || writes(job);
  }
  if (any_writes) {
    if (const auto status = broken_ ? Status(*broken_) : write(batch); !status) {
      refuse_all(batch, status.error());
      if (!broken_ && (status.code() == Code::io || status.code() == Code::corrupt)) broken(status.error());
    } else {
      sign_receipts(batch);
      const std::lock_guard lock(mutex_);
      ++counts_.batches;
      counts_.segments += batch.segments;
      counts_.segment_bytes += batch.segment_bytes;
    }
  }
  for (std::size_t i = 0; i < batch.jobs.size(); ++i)
    if (!writes(batch.jobs[i]))  // without memory there is no answer: the peer asks again in its next session
      (void)without_throwing([&]() -> Status { return read_one(batch, i), Status(); });
  std::vector<Answer> answers;
  answers.reserve(batch.answers.size());
  for (auto& answer : batch.answers)
    if (answer) answers.push_back(std::move(*answer));
  batch = {};
  seams_.on_answers(std::move(answers), bytes);
}

// ---- Writing -----------------------------------------------------------------------------------------------------------

Status Worker::write(Batch& batch) {
  if (DOORSTEP_PLANTED(ack_before_commit) && std::exchange(uncommitted_, false)) DOORSTEP_TRY(ledger_.commit());
  DOORSTEP_TRY(ledger_.begin());
  for (std::size_t i = 0; i < batch.jobs.size(); ++i) {
    if (!writes(batch.jobs[i])) continue;
    if (auto status = without_throwing([&] { return write_one(batch, i); }); !status) {
      ledger_.rollback();
      return status;
    }
  }
  if (DOORSTEP_PLANTED(ack_before_commit)) return uncommitted_ = true, Status();
  return ledger_.commit();
}

Status Worker::write_one(Batch& batch, std::size_t index) {
  const auto connection = batch.jobs[index].connection;
  auto& answer = batch.answers[index];
  const auto& what = batch.jobs[index].what;
  if (const auto* append = std::get_if<job::AppendSegments>(&what)) {
    DOORSTEP_ASSIGN(auto result,
                    ledger_.append_segments(connection, append->carrier, append->space, append->name, append->first, append->segments));
    done::SegmentsAppended done{append->space, append->name, result.stored, result.first_new, {}, {}, {}, std::move(result.why)};
    if (result.new_count != 0) {
      const auto from = append->segments.begin() + static_cast<std::ptrdiff_t>(result.new_from);
      done.new_segments.assign(from, from + static_cast<std::ptrdiff_t>(result.new_count));
      // Not the ledger's head: later jobs of the batch may have moved on.
      done.head = {append->name, append->name.id(append->space), result.stored.position, result.stored.hash};
      batch.segments += result.new_count;
      for (const auto& segment : done.new_segments) batch.segment_bytes += segment->size();
    }
    if (result.split) done.all_heads = ledger_.heads(append->space);
    answer = Answer{connection, std::move(done)};
  } else if (const auto* roster = std::get_if<job::AppendRoster>(&what)) {
    DOORSTEP_ASSIGN(auto result, ledger_.append_roster(roster->space, roster->first, roster->entries));
    answer = Answer{connection, done::RosterAppended{roster->space, result.status, ledger_.roster(roster->space), result.appended}};
  } else if (const auto* split = std::get_if<job::Split>(&what)) {
    DOORSTEP_TRY(ledger_.split(split->space, split->log, split->position));
    answer = Answer{connection, done::Splitted{split->space, ledger_.heads(split->space)}};
  } else if (const auto* put = std::get_if<job::PutProposal>(&what)) {
    DOORSTEP_ASSIGN(auto result, ledger_.put_proposal(put->space, put->from, put->bytes));
    answer = Answer{connection, done::ProposalPut{put->space, result.status, put->bytes}};
  }
  return {};
}

void Worker::refuse_all(Batch& batch, const Error& error) {
  const Code code = error.code() == Code::full ? Code::full : Code::io;
  for (std::size_t i = 0; i < batch.jobs.size(); ++i) {
    const auto connection = batch.jobs[i].connection;
    auto& answer = batch.answers[i];
    std::visit(
        Overloaded{[&](const job::AppendSegments& append) {
                     Session::Stored stored;
                     stored.refused = code;
                     for (const auto& segment : append.segments) stored.bytes += segment->size();
                     ledger_.note_refused(connection, append.space, append.name, code);
                     answer = Answer{connection, done::SegmentsAppended{append.space, append.name, stored, 0, {}, {}, {}, error.message()}};
                   },
                   [&](const job::AppendRoster& append) {
                     answer = Answer{connection,
                                     done::RosterAppended{append.space, Error(code, error.message()), ledger_.roster(append.space), 0}};
                   },
                   [&](const job::Split& split) {
                     answer = Answer{connection, done::Splitted{split.space, ledger_.heads(split.space), code}};
                   },
                   [&](const job::PutProposal& put) {
                     answer = Answer{connection, done::ProposalPut{put.space, Error(code, error.message()), {}}};
                   },
                   [](const auto&) {}},
        batch.jobs[i].what);
  }
}

// One receipt for each log and peer, on its last answer; a place that several peers reached is signed once.
void Worker::sign_receipts(Batch& batch) {
  std::map<std::pair<ConnectionId, LogId>, std::size_t> last;
  for (std::size_t i = 0; i < batch.answers.size(); ++i) {
    if (!batch.answers[i]) continue;
    const auto* done = std::get_if<done::SegmentsAppended>(&batch.answers[i]->what);
    if (done && done->stored.position != 0) last[{batch.answers[i]->connection, done->name.id(done->space)}] = i;
  }
  std::map<std::pair<LogId, Position>, Signature> signed_here;
  for (const auto& [of, index] : last) {
    auto& done = std::get<done::SegmentsAppended>(batch.answers[index]->what);
    const auto [at, first] = signed_here.try_emplace({of.second, done.stored.position});
    if (first) at->second = sign_receipt(receipt_key_, store_id_, done.space, of.second, done.stored.position, done.stored.hash);
    done.stored.receipt = at->second;
  }
}

// ---- Reading -----------------------------------------------------------------------------------------------------------

void Worker::read_one(Batch& batch, std::size_t index) {
  const auto connection = batch.jobs[index].connection;
  auto& answer = batch.answers[index];
  std::visit(Overloaded{[&](const job::LoadSegments& load) {
                          auto loaded = ledger_.load_segments(load.space, load.log, load.after, load.expect, load.bytes_max);
                          done::SegmentsLoaded done{load.space, load.log, load.after, load.bytes_max, {}, loaded.code()};
                          if (loaded) done.loaded = std::move(*loaded);
                          answer = Answer{connection, std::move(done)};
                        },
                        [&](const job::LoadRoster& load) {
                          auto entries = ledger_.load_roster(load.space, load.from, load.bytes_max);
                          answer = Answer{connection, done::RosterLoaded{load.space, load.from, std::move(entries)}};
                        },
                        [&](const job::LoadProposals& load) {
                          auto proposals = ledger_.proposals(load.space);
                          done::ProposalsLoaded done{load.space, {}};
                          if (proposals) done.proposals = std::move(*proposals);
                          answer = Answer{connection, std::move(done)};
                        },
                        [&](const job::MakeLocator& make) {
                          auto locator = ledger_.locator(make.space, make.log);
                          done::LocatorMade done{make.space, make.log, {}, locator.code()};
                          if (locator) done.locator = std::move(*locator);
                          answer = Answer{connection, std::move(done)};
                        },
                        [&](const job::Locate& locate) {
                          const auto position = ledger_.locate(locate.space, locate.log, locate.locator);
                          answer = Answer{connection, done::Located{locate.space, locate.log, position ? *position : 0, position.code()}};
                        },
                        [&](const job::Forget&) { ledger_.forget(connection); }, [](const auto&) {}},
             batch.jobs[index].what);
}

void Worker::broken(const Error& error) {
  broken_ = error;
  seams_.on_broken(error);
}

}  // namespace doorstep::relay
