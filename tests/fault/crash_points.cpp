#include "tests/fault/crash_points.hpp"

#include <cstdio>
#include <cstdlib>
#include <set>

#include <gtest/gtest.h>

namespace doorstep::fault {

namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

bool chosen(std::uint64_t seed) { return !std::getenv("DOORSTEP_SEED") || number_from("DOORSTEP_SEED", 0) == seed; }

// What all tests of this process tried, for the campaign and for whoever adds up the suite.
struct Total final : testing::Environment {
  static inline std::uint64_t states = 0, failures = 0;
  void TearDown() override {
    if (states != 0)
      std::printf("fault lab: states %llu, failures %llu\n", static_cast<unsigned long long>(states),
                  static_cast<unsigned long long>(failures));
  }
};
[[maybe_unused]] const auto* const total = testing::AddGlobalTestEnvironment(new Total);

}  // namespace

std::uint64_t campaign() { return std::max<std::uint64_t>(number_from("DOORSTEP_CAMPAIGN", 1), 1); }
std::uint64_t workload() { return number_from("DOORSTEP_WORKLOAD", 0); }

std::size_t thinned(std::size_t usual) {
#ifdef __SANITIZE_ADDRESS__
  return usual * 23;
#else
  return usual;
#endif
}

// ---- The oracle

Verdict examine(Subject& subject, SimulatedDisk& disk, int acknowledged, int attempted) {
  const auto bad = [](Verdict::Kind kind, int recovered, std::string what) { return Verdict{kind, recovered, std::move(what)}; };
  if (const Status opened = subject.open(disk, acknowledged < -1); !opened) return bad(Verdict::unopenable, -2, opened.error().message());
  const Result<int> recovered = subject.progress();
  if (!recovered.ok()) return bad(Verdict::damaged, -2, recovered.error().message());
  if (*recovered < acknowledged) return bad(Verdict::lost, *recovered, "acknowledged " + std::to_string(acknowledged));
  if (*recovered > attempted) return bad(Verdict::invented, *recovered, "attempted " + std::to_string(attempted));
  if (const Status whole = subject.check(*recovered); !whole) return bad(Verdict::damaged, *recovered, whole.error().message());
  if (const Status next = subject.advance(*recovered); !next) return bad(Verdict::unwritable, *recovered, next.error().message());
  return {Verdict::good, *recovered, {}, disk.events().size()};
}

bool Tally::add(const Verdict& verdict, const std::string& where) {
  ++states_;
  ++kinds_[verdict.kind];
  if (verdict.kind == Verdict::good) return true;
  if (first_.empty()) first_ = where + ": recovered " + std::to_string(verdict.recovered) + ": " + verdict.what;
  return false;
}

std::uint64_t Tally::failures() const { return states_ - kinds_[Verdict::good]; }

Tally::~Tally() {
  const auto count = [&](Verdict::Kind kind) { return static_cast<unsigned long long>(kinds_[kind]); };
  std::printf("%s: %llu states, %llu unopenable, %llu damaged, %llu lost, %llu invented, %llu unwritable\n", name_.c_str(),
              static_cast<unsigned long long>(states_), count(Verdict::unopenable), count(Verdict::damaged), count(Verdict::lost),
              count(Verdict::invented), count(Verdict::unwritable));
  Total::states += states_;
  Total::failures += failures();
}

// ---- Power cuts

int Recording::last(const std::vector<Mark>& marks, std::size_t count) {
  int out = -2;
  for (const Mark& mark : marks)
    if (mark.events <= count) out = mark.done;
  return out;
}

Recording record(const NewSubject& make, int steps, bool close_at_end) {
  Recording out;
  SimulatedDisk disk;
  out.subject = make();
  Subject& subject = *out.subject;
  const auto expect_ok = [](const Status& status) { EXPECT_TRUE(status.ok()) << status.error().message(); };
  out.attempted.push_back({0, -1});
  expect_ok(subject.open(disk, true));
  out.acknowledged.push_back({disk.events().size(), -1});
  for (int done = -1; done < steps && subject.is_open(); ++done) {
    out.attempted.push_back({disk.events().size(), done + 1});
    expect_ok(subject.advance(done));
    out.acknowledged.push_back({disk.events().size(), done + 1});
    subject.maintain(done + 1);
    if (done != steps / 2) continue;
    expect_ok(subject.close());
    expect_ok(subject.open(disk, false));
  }
  if (!close_at_end) out.end = disk.image();
  out.events = disk.events();
  (void)subject.close();
  if (close_at_end) {
    out.end = disk.image();
    out.events = disk.events();
  }
  return out;
}

namespace {

// A power cut again, while the first one is recovered from and the next step is done.
void cut_again(const Image& first, const SimulatedDisk& disk, const Subject& subject, const Verdict& verdict, int acknowledged,
               std::uint64_t seed, Tally& tally) {
  Dice dice(seed);
  const std::size_t count = dice.below(disk.events().size() + 1);
  CrashWalk walk(first, disk.events());
  walk.advance_to(count);
  SimulatedDisk again(walk.image(static_cast<Damage>(dice.below(damage_kinds)), seed));
  const bool next_done = count >= verdict.next_acknowledged_at;
  const auto after = subject.survivor(count);
  tally.add(examine(*after, again, next_done ? verdict.recovered + 1 : acknowledged, verdict.recovered + 1),
            "DOORSTEP_SEED=" + std::to_string(seed) + ", cut again at " + std::to_string(count));
}

}  // namespace

void enumerate_power_cuts(const Recording& recording, std::size_t part, std::size_t parts, int variants, Tally& tally) {
  CrashWalk walk({}, recording.events);
  for (std::size_t count = part; count <= recording.events.size(); count += thinned(parts)) {
    walk.advance_to(count);
    const std::size_t various = walk.at_risk() ? static_cast<std::size_t>(variants) * campaign() : 1;
    for (std::size_t variant = 0; variant < various; ++variant) {
      const auto seed = (workload() << 40) + count * 1000 + variant;
      if (!chosen(seed)) continue;
      const auto damage = static_cast<Damage>((count + variant) % damage_kinds);
      const Image image = walk.image(damage, seed);
      SimulatedDisk disk(image);
      const int acknowledged = recording.acknowledged_at(count);
      const auto survivor = recording.subject->survivor(count);
      const Verdict verdict = examine(*survivor, disk, acknowledged, recording.attempted_at(count));
      const bool good = tally.add(verdict, "DOORSTEP_SEED=" + std::to_string(seed) + ", at event " + std::to_string(count) + " of " +
                                               std::to_string(recording.events.size()) + ", " + damage_name(damage));
      if (good && variant % 3 == 0) cut_again(image, disk, *survivor, verdict, acknowledged, seed, tally);
    }
  }
}

// ---- Failing disks

namespace {

// A program that goes on as well as it can: opens again when it must, and gives up after eight errors in a row.
void live_with(Subject& subject, SimulatedDisk& disk, int steps, Recording& life) {
  int acknowledged = -2, attempted = -2;
  const auto attempt = [&](int step) {
    if (step > attempted) life.attempted.push_back({disk.events().size(), attempted = step});
  };
  attempt(-1);
  for (int errors = 0; errors < 8;) {
    if (!subject.is_open()) {
      if (!subject.open(disk, acknowledged < -1)) {
        ++errors;
        continue;
      }
    }
    const Result<int> done = subject.progress();
    if (done.ok() && *done >= steps) return;
    if (done.ok()) attempt(*done + 1);
    const Status next = done.ok() ? subject.advance(*done) : Status(done.error());
    if (next.ok()) {
      acknowledged = *done + 1;
      life.acknowledged.push_back({disk.events().size(), acknowledged});
      errors = 0;
      subject.maintain(*done + 1);
      continue;
    }
    ++errors;
    if (subject.is_fatal(next.error()) || errors % 2 == 0) (void)subject.close();
  }
}

}  // namespace

namespace {

void print_events(const std::vector<Event>& events) {
  static constexpr const char* kinds[] = {"create", "write", "truncate", "sync", "FAILED SYNC", "rename", "remove", "sync directory"};
  for (std::size_t i = 0; i < events.size(); ++i)
    std::printf("%5zu %s %s%s %s file %d at %lld, %zu bytes\n", i, kinds[static_cast<std::size_t>(events[i].kind)], events[i].name.c_str(),
                events[i].to.empty() ? "" : " ->", events[i].to.c_str(), events[i].file, static_cast<long long>(events[i].offset),
                events[i].bytes.size());
}

}  // namespace

void fail_each_call(const NewSubject& make, int steps, Fault::Kind kind, bool sticky, std::size_t stride, Tally& tally) {
  const std::uint64_t only = number_from("DOORSTEP_CALL", 0);
  for (std::uint64_t n = only ? only : 1;; n += stride) {
    SimulatedDisk disk;
    disk.arm({kind, n, sticky});
    const auto subject = make();
    Recording life;
    live_with(*subject, disk, steps, life);
    const std::size_t first_fault = disk.events_at_fault();
    const bool reached = disk.calls_hit_by_fault() >= n && only == 0;
    if (only) print_events(disk.events());
    const std::string where = std::string(sticky ? "for good" : "once") + ", DOORSTEP_CALL=" + std::to_string(n);
    // As the same machine goes on; and after a power cut, at the end and at some moments since the call failed.
    const std::size_t end = disk.events().size();
    std::set<std::size_t> cuts = {end};
    Dice dice(n);
    // After a failed fsync the moments that matter are few: while the store is opened again.
    const bool sync_failed = kind == Fault::Kind::fsync_eio;
    const int moments = !sync_failed ? 4 : subject->may_lose_power_while_reopened() ? 40 : 0;
    for (int i = 0; i < moments && first_fault < end; ++i) cuts.insert(first_fault + dice.below(end - first_fault));
    CrashWalk walk({}, disk.events());
    for (const std::size_t count : cuts) {
      walk.advance_to(count);
      const Damage damage = n % 2 ? Damage::all_lost : Damage::mixed;
      SimulatedDisk cut(walk.image(damage, n));
      tally.add(examine(*subject->survivor(count), cut, life.acknowledged_at(count), life.attempted_at(count)),
                where + ", then a power cut after event " + std::to_string(count) + ", " + damage_name(damage));
    }
    const auto going_on = subject->survivor(SIZE_MAX);
    (void)subject->close();
    disk.arm({});
    tally.add(examine(*going_on, disk, life.acknowledged_at(SIZE_MAX), life.attempted_at(SIZE_MAX)), where);
    if (!reached) return;
  }
}

}  // namespace doorstep::fault
