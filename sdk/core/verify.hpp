// `verify`: every page, chain, signature and record of a store, checked against the logs.
#pragma once

#include "sdk/core/core.hpp"

namespace doorstep {

/// Names the first thing that is wrong. Reads everything, changes nothing.
Status verify_store(Core& core, const std::function<void(std::size_t done, std::size_t total)>& progress);

}  // namespace doorstep
