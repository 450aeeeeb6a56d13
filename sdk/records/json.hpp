// Records as JSON, for tools, imports and demos: field names instead of addresses, codes and dates as text.
//
//   {"name": "陈桂兰", "birth_date": "1965-11-07", "self_care": "2", "bedridden": false,
//    "comm_needs": ["1", "2"],                                  a set of codes
//    "low_income_status": [{"code": "1", "from": "2024-01-01"}], a set of codes with subfields
//    "phones": [{"number": "13900001111", "owner": "本人"}],     a set of structures
//    "family_doctor": {"signed": true, "team": "一组"},          a structure: only the named subfields are written
//    "allergy_note": null}                                      clears
//
// An array adds: elements that are not named stay, because what the writer did not see cannot be his to remove. To remove:
//   "comm_needs": {"add": ["3"], "remove": ["2"]},  "phones": {"remove": ["<_key>"]},  "tags": {"remove": ["孤儿"]}
// An element of a set of structures is shown with its "_key"; writing it with that key edits it. Decimals are kept digit for
// digit and may be texts; timestamps are "2026-03-14T09:30:00+08:00" or milliseconds; references and bytes are hexadecimal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "doorstep/schema.hpp"
#include "doorstep/values.hpp"
#include "sdk/records/validation.hpp"
#include "sync/env.hpp"

namespace doorstep {

struct Assignment {
  Address address;
  Value value;  ///< std::monostate clears.
  bool operator==(const Assignment&) const = default;
};

/// The writes that a JSON object asks for, normalized. `existing`: the record as shown now, nullptr for a new one.
/// Code::invalid_argument for text that is no JSON object; Code::invalid_record names field, what and why, never the value.
Result<std::vector<Assignment>> assignments_from_json(const Kind& kind, std::string_view json, Random& random,
                                                      const ShownValues* existing = nullptr);

/// The record as a JSON object in one line, fields in schema order. Elements that are not present are left out; fields that
/// the schema does not know are counted in "_unknown_fields".
std::string json_from_shown(const Kind& kind, const ShownValues& values);

}  // namespace doorstep
