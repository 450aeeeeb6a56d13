// Verify: re-checks everything that a store holds, as if it had just arrived: rosters by chain and signature, logs by chain, name and
// signature. Reads only, so it may run beside a serving relay.
#pragma once

#include <functional>

#include "server/store/log_store.hpp"

namespace doorstep::relay {

struct Verified {
  std::uint64_t spaces = 0, roster_entries = 0, logs = 0, segments = 0, bytes = 0;
};

/// The error names the first thing that is wrong: space, log (first 8 digits), position. `progress` is called now and then.
Result<Verified> verify_store(LogStore& store, const std::function<void(const Verified&)>& progress);

}  // namespace doorstep::relay
