// Memory that runs out at the n-th allocation, for every n, once and for good, ours (operator new) and SQLite's.
//
// Every call then answers Code::full or nothing has happened; nothing is thrown across the public interface; what stands is what
// stood before, and the next call works.
#include <cstdio>

#include <gtest/gtest.h>

#include "sync/invite.hpp"
#include "sync/record.hpp"
#include "tests/fault/crash_points.hpp"
#include "tests/fault/failing_heap.hpp"
#include "tests/fault/relay_subject.hpp"
#include "tests/fault/replica_subject.hpp"
#include "tests/fault/store_subject.hpp"

namespace doorstep::fault {
namespace {

class Memory : public testing::TestWithParam<std::tuple<Heap, bool>> {
 protected:
  Heap heap() const { return std::get<0>(GetParam()); }
  bool for_good() const { return std::get<1>(GetParam()); }

  /// Does `call` with the n-th allocation failing, for n = 1, 1 + stride …, until there is no n-th (a campaign tries every one). Then, with
  /// memory: `stands` looks at what is there after a call that failed; `done` hears of one that worked all the same (SQLite can do without
  /// some of its memory).
  void fail_each(const char* what, std::size_t stride, const std::function<Status()>& call, const std::function<void()>& stands,
                 const std::function<void()>& done) {
    std::uint64_t failed = 0;
    for (std::uint64_t n = 1; !HasFailure(); n += std::max<std::uint64_t>(thinned(stride) / campaign(), 1)) {
      Status status;
      bool happened = false, thrown = false;
      {
        const ShortOfMemory memory(heap(), n, for_good());
        try {
          status = call();
        } catch (const std::bad_alloc&) { thrown = true; }
        happened = ShortOfMemory::happened();
      }
      SCOPED_TRACE(std::string(what) + ", allocation " + std::to_string(n));
      EXPECT_FALSE(thrown) << "an exception crossed the interface";
      if (!status.ok()) {
        ++failed;
        EXPECT_TRUE(status.code() == Code::full || status.code() == Code::locked)
            << code_name(status.code()) << ": " << status.error().message();
      }
      if (!status.ok() || thrown)
        stands();
      else
        done();
      if (!happened) {
        EXPECT_TRUE(status.ok()) << status.error().message();
        break;
      }
    }
    std::printf("%s: %llu calls failed for memory\n", what, static_cast<unsigned long long>(failed));
  }
};

// ---- A replica

// What a replica holds, as its owner sees it.
std::string fingerprint(Replica& replica) {
  std::string out;
  const auto spaces = replica.spaces();
  if (!spaces) return "closed: " + spaces.error().message();
  for (const auto& space : *spaces) {
    const auto digest = replica.state_digest(space.id);
    const auto pending = replica.pending(space.id);
    const auto things = replica.count(space.id, "thing");
    out += digest ? digest->hex() : digest.error().message();
    out += " " + std::to_string(space.roster_size) + " " + std::to_string(pending ? pending->transactions : 9999) + " " +
           std::to_string(things ? *things : 9999);
  }
  const auto drafts = replica.drafts("thing");
  return out + " " + std::to_string(drafts ? drafts->size() : 9999);
}

TEST_P(Memory, AReplicaLosesAndInventsNothing) {
  SimulatedDisk disk;
  ReplicaSubject subject;
  ASSERT_OK(subject.open(disk, true));
  for (int done = -1; done < 7; ++done) {
    ASSERT_OK(subject.advance(done));
    subject.maintain(done + 1);
  }
  const SpaceId space = subject.replica().spaces()->front().id;
  const RecordId thing = subject.replica().query(space, {.kind = "thing"})->front().id();
  std::string before = fingerprint(subject.replica());
  const auto stood = [&] {
    // Without memory to read itself again a replica locks; opening it shows what stands.
    if (subject.replica().locked()) {
      (void)subject.close();
      ASSERT_OK(subject.open(disk, false));
    }
    ASSERT_EQ(fingerprint(subject.replica()), before);
  };
  const auto try_call = [&](const char* what, std::size_t stride, const std::function<Status()>& call) {
    fail_each(what, stride, call, stood, [&] { before = fingerprint(subject.replica()); });
    ASSERT_FALSE(HasFailure());
    const Status whole = subject.replica().verify();
    ASSERT_TRUE(whole.ok()) << what << ": " << whole.error().message();
  };
  const auto status_of = [](const auto& result) { return result ? Status() : Status(result.error()); };

  const std::function<Status(Write&)> creates = [&](Write& write) -> Status {
    const RecordId made = write.create("thing");
    write.set(made, "n", std::int64_t{1000})
        .set(made, "title", "a title that is longer than a few words")
        .set(made, "body", Bytes(3000, 7));
    return {};
  };
  std::int64_t step = 0;
  const std::function<Status(Write&)> updates = [&](Write& write) -> Status {
    write.set(thing, "step", ++step).set(thing, "title", "another title that is longer than a few words");
    return {};
  };
  try_call("transact, a new record", 1, [&] { return status_of(subject.replica().transact(space, creates)); });
  try_call("transact, an edit", 1, [&] { return status_of(subject.replica().transact(space, updates)); });
  try_call("get", 1, [&] { return status_of(subject.replica().get(space, thing)); });
  try_call("query", 1, [&] { return status_of(subject.replica().query(space, {.kind = "thing", .text = "title", .order_by = "n"})); });
  try_call("history", 3, [&] { return status_of(subject.replica().history(space, thing)); });
  try_call("conflicts", 1, [&] { return status_of(subject.replica().conflicts(space)); });
  try_call("pending", 1, [&] { return status_of(subject.replica().pending(space)); });
  try_call("members", 1, [&] { return status_of(subject.replica().members(space)); });
  const RecordId draft = subject.replica().new_draft_id();
  try_call("save_draft", 1,
           [&] { return subject.replica().save_draft(draft, "thing", R"({"title": "a draft that is not short at all"})"); });
  try_call("drafts", 1, [&] { return status_of(subject.replica().drafts("thing")); });
  try_call("verify", 17, [&] { return subject.replica().verify(); });
  try_call("invite", 1, [&] { return status_of(subject.replica().invite(space, {})); });
  try_call("found", 3, [&] { return status_of(subject.replica().found({.name = "another", .label = "somebody"})); });
}

// A link ends where memory does; the next one brings both sides level.
TEST_P(Memory, ASyncThatEndsIsMadeUpByTheNext) {
  SimulatedDisk disk;
  ReplicaSubject subject;
  ASSERT_OK(subject.open(disk, true));
  for (int done = -1; done < 4; ++done) ASSERT_OK(subject.advance(done));
  std::uint64_t failed = 0;
  int done = 4;
  for (std::uint64_t n = 1;; n += thinned(11)) {
    SCOPED_TRACE(n);
    ASSERT_OK(subject.advance(done));
    ++done;
    Status status;
    bool happened = false;
    {
      const ShortOfMemory memory(heap(), n, for_good());
      status = without_throwing([&] { return subject.sync(); });
      happened = ShortOfMemory::happened();
    }
    failed += status.ok() ? 0 : 1;
    if (subject.replica().locked()) {
      (void)subject.close();
      ASSERT_OK(subject.open(disk, false));
    }
    const Status whole = subject.check(done);
    ASSERT_TRUE(whole.ok()) << whole.error().message();
    if (!happened) break;
  }
  ASSERT_OK(subject.sync());
  EXPECT_EQ(subject.replica().pending(subject.replica().spaces()->front().id)->transactions, 0u);
  std::printf("sync: %llu failed for memory\n", static_cast<unsigned long long>(failed));
}

TEST_P(Memory, OpeningFailsWholeOrWorks) {
  SimulatedDisk disk;
  ReplicaSubject subject;
  ASSERT_OK(subject.open(disk, true));
  for (int done = -1; done < 5; ++done) ASSERT_OK(subject.advance(done));
  const std::string before = fingerprint(subject.replica());
  (void)subject.close();
  const ReplicaOptions options = subject.options();
  const auto stands = [&] {
    ASSERT_OK(subject.open(disk, false));
    ASSERT_EQ(fingerprint(subject.replica()), before);
    (void)subject.close();
  };
  const auto open = [&]() -> Status {
    const auto opened = Replica::open_with_key(options, subject.key());
    return opened ? Status() : Status(opened.error());
  };
  fail_each("open", 3, open, stands, stands);
}

// ---- The sealed database by itself, the relay's store and its ledger

/// Step after step of a subject, whose own code may throw where the product does not.
void expect_steps_whole(
    Subject& subject, int done, int steps,
    const std::function<void(const std::function<Status()>&, const std::function<void()>&, const std::function<void()>&)>& fail_each_of) {
  const auto stands = [&] {
    const auto now = subject.progress();
    ASSERT_OK(now);
    ASSERT_EQ(*now, done);
    ASSERT_OK(subject.check(done));
  };
  for (const int end = done + steps; done < end && !testing::Test::HasFailure();)
    fail_each_of([&] { return without_throwing([&] { return subject.advance(done); }); }, stands, [&] { ++done; });
  stands();
}

TEST_P(Memory, TheDatabaseLosesAndInventsNothing) {
  SimulatedDisk disk;
  StoreSubject subject(Spilling::no);
  ASSERT_OK(subject.open(disk, true));
  ASSERT_OK(subject.advance(-1));
  expect_steps_whole(subject, 0, 24,
                     [&](const auto& call, const auto& stands, const auto& done) { fail_each("database", 1, call, stands, done); });
  ASSERT_OK(subject.close());
}

TEST_P(Memory, TheRelaysLedgerLosesAndInventsNothing) {
  SimulatedDisk disk;
  RelaySubject subject;
  ASSERT_OK(subject.open(disk, true));
  expect_steps_whole(subject, -1, 20,
                     [&](const auto& call, const auto& stands, const auto& done) { fail_each("relay", 3, call, stands, done); });
}

// ---- Decoders: no result is better than half of one

constexpr std::string_view small_schema = R"({"doorstep_schema": 1, "id": "fair", "version": 1, "kinds": [
  {"id": 1000, "name": "stall", "sensitivity": "p1", "fields": [{"number": 1, "name": "title", "type": "text"}]}]})";

TEST_P(Memory, DecodersAnswerTheSameAfterwards) {
  if (heap() == Heap::sqlite) GTEST_SKIP() << "they know nothing of SQLite";
  test::World world(3);
  test::Device phone = world.join();
  const Bytes entry = world.roster().entry_at(0);
  const Invitation invitation = world.invite();
  const std::string uri = invitation.to_uri();
  const Bytes request = world.request(invitation, phone).encode();
  const auto fail_decoder = [&](const char* what, const std::function<Status()>& decode) {
    fail_each(
        what, 1, [&] { return without_throwing(decode); }, [&] { ASSERT_OK(decode()); }, [] {});
  };
  const auto status_of = [](const auto& result) { return result ? Status() : Status(result.error()); };
  fail_decoder("Roster::found", [&] { return status_of(Roster::found(entry)); });
  fail_decoder("Roster::append", [&]() -> Status {
    DOORSTEP_ASSIGN(Roster roster, Roster::found(entry));
    return roster.append(world.roster().entry_at(1));
  });
  fail_decoder("Invitation::from_uri", [&] { return status_of(Invitation::from_uri(uri)); });
  fail_decoder("JoinRequest::decode", [&] { return status_of(JoinRequest::decode(request)); });
  fail_decoder("Schema::parse", [&] { return status_of(Schema::parse(small_schema)); });
}

INSTANTIATE_TEST_SUITE_P(RunsOut, Memory, testing::Combine(testing::Values(Heap::ours, Heap::sqlite), testing::Bool()),
                         [](const auto& one) {
                           return std::string(std::get<0>(one.param) == Heap::ours ? "ours" : "sqlites") +
                                  (std::get<1>(one.param) ? "_for_good" : "_once");
                         });

}  // namespace
}  // namespace doorstep::fault
