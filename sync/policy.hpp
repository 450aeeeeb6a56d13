// How a field reads concurrent siblings: pure functions over a register (DESIGN section 4). Merging is done before (record.hpp);
// nothing here changes state, so a new schema can read old data another way.
#pragma once

#include <span>
#include <vector>

#include "sync/record.hpp"

namespace doorstep {

enum class Policy : std::uint8_t { latest = 0, review = 1, cautious = 2, owner = 3, furthest = 4, once = 5, set = 6 };

/// The gate that a field of this policy must carry in its id.
constexpr Gate gate_for(Policy policy) {
  switch (policy) {
    case Policy::latest:
    case Policy::set: return Gate::open;
    case Policy::review:
    case Policy::cautious:
    case Policy::furthest: return Gate::guarded;
    case Policy::owner: return Gate::owned;
    case Policy::once: return Gate::once;
  }
  return Gate::guarded;
}

/// What the schema says about a field's values. Called synchronously, must be pure. A cleared value is never asked about: it
/// ranks below every other.
class ValueOrder {
 public:
  virtual ~ValueOrder() = default;
  /// `cautious`: higher is safer. `furthest`: higher is further; two different values of one rank are incompatible ends.
  virtual int rank(const Value&) const { return 0; }
  /// `review`, among authors of equal rights: higher is nearer to the paper (scanned above typed).
  virtual int source_rank(const Record&, const Sibling&) const { return 0; }
};

struct Reading {
  const Sibling* shown = nullptr;        ///< nullptr: nothing to show. May hold no value: the field was cleared.
  std::vector<const Sibling*> distinct;  ///< The best sibling of each distinct value, best first by the policy: `shown` is the first.
  bool conflict = false;                 ///< Belongs in the inbox.
  bool unconfirmed = false;              ///< `owner`: a proposal is shown because there is no owner's value.
  bool defect = false;                   ///< `once`: a second, different value was written.
};

/// Tells whether a comes after b among concurrent siblings: confirmed time, corrected time, causal counter, dot (invariant 4).
bool comes_after(const Record& record, const Sibling& a, const Sibling& b);

/// Reads one register. `creator` is the device that the record's id commits to (for `once`), or device_unadmitted if unknown.
Reading read_register(const Record& record, const Register& reg, Policy policy, const ValueOrder* order, DeviceNumber creator);

/// The device whose mark holds the creating change; device_unadmitted if it has not arrived.
DeviceNumber creator_of(const Record& record);

/// Elements of a set that are present: their presence register (subfield 0) shows a value.
std::vector<std::string> present_elements(const Record& record, FieldId field);

}  // namespace doorstep
