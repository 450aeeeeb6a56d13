// A record as its policies show it.
#pragma once

#include "sdk/records/validation.hpp"
#include "sync/record.hpp"

namespace doorstep {

/// One value a register, registers without a value left out.
ShownValues shown_values(const Schema& schema, const Record& record);

}  // namespace doorstep
