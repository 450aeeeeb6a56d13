// A record as conditions and checks see it, and the named checks: what rules as data cannot say (validation.hpp).
#pragma once

#include "sdk/records/validation.hpp"

namespace doorstep {

class CheckedRecord {
 public:
  CheckedRecord(const Kind& kind, const ShownValues& values) : kind_(kind), values_(values) {}

  const Kind& kind() const { return kind_; }
  /// nullptr if the register shows nothing, or stands in an element that is not present.
  const Value* value(const Address& address) const;
  /// True if the register holds something in an element that is not present.
  bool in_absent_element(const Address& address) const;
  /// Of a single field, by name; nullptr if the kind has no such field.
  const Value* value(std::string_view field_name) const;
  const std::string* text(std::string_view field_name) const;
  std::optional<Date> date(std::string_view field_name) const;
  /// The code at a single field; empty if there is none.
  std::string_view code(FieldId field) const;
  std::string_view code(std::string_view field_name) const;

  /// Keys of the elements that are present; for a structure that holds something, the one empty key.
  std::vector<std::string> elements(const Field& field) const;
  /// Subfield 0: the value, some element, or some subfield of a structure.
  bool present(FieldId field, SubfieldId subfield) const;
  bool holds(const Condition& condition, Date today) const;

 private:
  /// Every value at (field, subfield); a set of codes gives its keys as codes. Stops when `seen` returns true.
  template <class Seen>
  bool any_value(FieldId field, SubfieldId subfield, Seen seen) const;
  bool test(const Condition& condition, Date today) const;

  const Kind& kind_;
  const ShownValues& values_;
};

struct CheckProblem {
  FieldId field = 0;
  std::string code;
  bool blocks = true;
  bool when_signed = false;
  std::string zh, en;
};

/// Returns the fields that the check looks at; an unknown name does nothing (Schema::parse refuses it).
std::vector<FieldId> run_check(std::string_view name, const CheckedRecord& record, Date today, std::vector<CheckProblem>& found);

}  // namespace doorstep
