// Bugs planted on purpose, for tests/mutants.sh: each must be killed by a suite, or the suites prove less than they say. Only the
// build preset `lab` has them; everywhere else DOORSTEP_PLANTED is false, and the compiler leaves nothing of it.
#pragma once

#ifdef DOORSTEP_LAB

#include <cstdlib>
#include <cstring>

namespace doorstep::lab {
/// The environment names at most one bug, DOORSTEP_PLANT=skip_fsync.
inline const char* planted() {
  static const char* const name = std::getenv("DOORSTEP_PLANT");
  return name ? name : "";
}
}  // namespace doorstep::lab

/// True if this is the planted bug. The names stand in tests/mutants.txt.
#define DOORSTEP_PLANTED(bug)                                                            \
  ([] {                                                                                  \
    static const bool planted_here = std::strcmp(::doorstep::lab::planted(), #bug) == 0; \
    return planted_here;                                                                 \
  }())

#else

#define DOORSTEP_PLANTED(bug) false

#endif
