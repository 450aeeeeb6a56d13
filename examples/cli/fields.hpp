// Fields and values as people read and type them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "examples/cli/app.hpp"

namespace doorstep::cli {

/// The field that "phones.number" or "self_care" names, and the slot of its value. Code::not_found names what is unknown.
struct NamedSlot {
  const Field* field = nullptr;
  const Slot* slot = nullptr;
};
Result<NamedSlot> find_slot(const Kind& kind, std::string_view name);

/// The kind of that name; Code::not_found lists the ones there are.
Result<const Kind*> find_kind(const Schema& schema, std::string_view name);

/// A value without quotes; a code with its label: "3 完全不能自理".
std::string value_text(const Value& value, const Slot* slot, Language language);
/// A value without quotes or label, for scripts.
std::string plain_text(const Value& value);
/// What a record shows at "self_care", "guardian", "family_doctor.team": sets and structures in one line, "(!)" behind a conflict.
std::string field_text(const RecordView& view, std::string_view name, Language language);
/// The same as plain values, one for each element of a set (of a set of structures: the first subfield).
std::vector<std::string> field_values(const RecordView& view, std::string_view name);

/// "field", "field[element]", "field[element].subfield", as history and conflicts show an address.
std::string address_text(std::string_view field, std::string_view element, std::string_view subfield);

/// f=v f>=v f<=v f<v f>v f~v (~: contains).
Result<QueryCondition> parse_condition(const Kind& kind, std::string_view text);

/// {"at": …, "claimed_ms": …, "offset_ms": …, "confirmed": …}
std::string time_json(const TimeClaim& time);
/// "2026-11-23 09:30", with a "?" behind a time that nobody confirmed.
std::string time_text(const TimeClaim& time);

}  // namespace doorstep::cli
