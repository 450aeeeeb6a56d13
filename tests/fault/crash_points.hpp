// The two experiments of the fault lab, for any Subject: the power cut at every moment, and the n-th call to the disk that fails.
//
// The oracle is the same: it opens, it is whole, acknowledged <= recovered <= attempted, it is exactly what `recovered` steps make,
// and the next step works.
//
//   DOORSTEP_CAMPAIGN=n   n times as many damaged disks
//   DOORSTEP_WORKLOAD=n   another workload, and other damage
//   DOORSTEP_SEED=n       only the power cut with that seed, as a failure printed it
//   DOORSTEP_CALL=n       only the n-th call fails, and what the disk was asked to do is printed
#pragma once

#include <string>

#include "tests/fault/subject.hpp"

namespace doorstep::fault {

std::uint64_t campaign();
std::uint64_t workload();
/// Every so manieth of what is enumerated in an optimized build: under sanitizers a state costs fifteen times as much.
std::size_t thinned(std::size_t usual);

struct Verdict {
  enum Kind { good, unopenable, damaged, lost, invented, unwritable };
  Kind kind = good;
  int recovered = -2;
  std::string what = {};
  std::size_t next_acknowledged_at = 0;  ///< Events of the disk when the next step had returned.
};

/// Opens what is on `disk`, checks everything, and does one step more. `acknowledged`, `attempted`: -2 nothing, -1 made, i step i.
Verdict examine(Subject& subject, SimulatedDisk& disk, int acknowledged, int attempted);

/// Verdicts counted. Every state counts into the total that the program prints at its end.
class Tally {
 public:
  explicit Tally(std::string name) : name_(std::move(name)) {}
  ~Tally();
  Tally(const Tally&) = delete;
  bool add(const Verdict& verdict, const std::string& where);
  std::uint64_t states() const { return states_; }
  std::uint64_t failures() const;
  /// The first failure, and how to see it again.
  const std::string& first() const { return first_; }

 private:
  std::string name_;
  std::uint64_t states_ = 0;
  std::uint64_t kinds_[6] = {};
  std::string first_;
};

/// One life, its disk's events, and what had been promised when.
struct Recording {
  struct Mark {
    std::size_t events;
    int done;  ///< -1 made, i step i
  };
  std::unique_ptr<Subject> subject;
  std::vector<Event> events;
  std::vector<Mark> attempted, acknowledged;
  Image end;  ///< When the life ended.

  int acknowledged_at(std::size_t count) const { return last(acknowledged, count); }
  int attempted_at(std::size_t count) const { return last(attempted, count); }

 private:
  static int last(const std::vector<Mark>& marks, std::size_t count);
};

/// Lives for `steps` steps, and is closed and opened again in the middle. `close_at_end`: closed well, else as a killed process leaves it.
Recording record(const NewSubject& make, int steps, bool close_at_end = true);

/// A power cut after every event (of those, every `parts`-th from `part` on), `variants` damaged disks each, the kinds of damage in turn;
/// after every third of these another one, while the first is recovered from.
void enumerate_power_cuts(const Recording& recording, std::size_t part, std::size_t parts, int variants, Tally& tally);

/// A life of `steps` steps for each n in which the n-th call to the disk fails, until there is no n-th call.
void fail_each_call(const NewSubject& make, int steps, Fault::Kind kind, bool sticky, std::size_t stride, Tally& tally);

}  // namespace doorstep::fault
