// Values as text and back, for tools: what somebody typed becomes a value, a value becomes what JSON shows.
#pragma once

#include <string>
#include <string_view>

#include "doorstep/schema.hpp"
#include "sync/value.hpp"

namespace doorstep {

/// One value as JSON ("2026-03-14" with its quotes, 7.30 as it was typed); `null` for none.
std::string json_from_value(const Value& value);
/// One value from text as typed: codes also by their label in either language, dates also as 2026/3/14, truth as
/// true/false, 是/否, 1/0. Code::invalid_record says what is wrong, never the text.
Result<Value> value_from_text(const Slot& slot, std::string_view text);

}  // namespace doorstep
