// What a person may write. Validation binds those who write, never what arrives (DESIGN section 5): it is called with the
// record as it would be shown after the write, and with what the write changes; what was already odd elsewhere in the
// record is not the writer's business.
//
//   value form (type, code, length, pattern)   for every changed register
//   required fields                            when the record becomes signed (kinds without status: when it is created),
//                                              and when a change clears one afterwards
//   rules, named checks                        the same, and whenever a field they mention changes
// A draft is only asked for the form of what it holds.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "doorstep/schema.hpp"

namespace doorstep {

/// A record as its policies show it: one value a register, registers without a value left out.
using ShownValues = std::map<Address, Value>;

struct Problem {
  Address address;     ///< Where a form shows it.
  std::string field;   ///< "phones.number".
  std::string code;    ///< Stable: "required", "id_checksum", a rule's id ...
  bool blocks = true;  ///< false: a warning; the write goes through.
  std::string zh;      ///< What is wrong and what to do. Without the value: it may be logged.
  std::string en;
};

struct ValidationContext {
  Date today;                   ///< As the device believes. Before 2025: nothing is asked about the future.
  bool creates = false;         ///< The write creates the record.
  bool allow_test_ids = false;  ///< The test switch: citizen IDs with prefix 99.
};

/// Problems in schema order; empty if the write is fine.
std::vector<Problem> validate(const Kind& kind, const ShownValues& after, const std::vector<Address>& changed,
                              const ValidationContext& context);
/// No rules, checks, workflow, required fields, sets or structures: what else the record shows does not matter.
bool asks_only_forms(const Kind& kind);
/// validate() for such a kind, without making the shown values first.
std::vector<Problem> validate_forms(const Kind& kind, const std::vector<Operation>& operations, const ValidationContext& context);
bool blocks(const std::vector<Problem>& problems);
/// Code::invalid_record, with the blocking problems as sentences in both languages. Call only if blocks().
Error to_error(const Kind& kind, const std::vector<Problem>& problems);

/// The form in which a value is stored: NFC, phones and numbers compact. What cannot be repaired is left for validate().
Value normalized(const Slot& slot, Value value);

/// For Schema::parse: the names that Kind::checks may contain.
bool is_known_check(std::string_view name);

}  // namespace doorstep
