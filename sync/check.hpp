// DOORSTEP_CHECK: a state that no input can reach, so our bug. Always compiled in; aborts.
// Never reachable from peer bytes, disk bytes or a caller's arguments: those get an Error (result.hpp).
#pragma once

namespace doorstep {
[[noreturn]] void check_failed(const char* what, const char* file, int line);
}

#define DOORSTEP_CHECK(condition)                                               \
  do {                                                                          \
    if (!(condition)) ::doorstep::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)
