// The merge: a record as a set of registers, each a dotted multi-value register (MERGE.md).
//
// State is a pure function of the set of operations and their authors' standing. Two ways lead to it:
//   Record::evaluate   from all operations at once: the definition, short enough to read as one;
//   Record::apply      one transaction on top of a state, for the nine hundred ninety-nine of a thousand that are simple.
//                      Whatever it is not sure of it refuses (`Outcome::replay`), and the body evaluates from the log.
// tests/sync/merge_laws_test.cpp holds the two against each other.
#pragma once

#include <functional>
#include <vector>

#include "sync/operation.hpp"

namespace doorstep {

/// A transaction that touched the record: who, which counters, when, and what its author might close here.
struct Mark {
  DeviceNumber device = 0;
  Counter first = 0;  ///< Of the transaction, not of this record's operations in it.
  std::int64_t claimed_ms = 0;
  std::int64_t offset_ms = 0;
  bool confirmed = false;  ///< By the rule of DESIGN invariant 4, decided when it was applied.
  bool resolves = false;   ///< The author's role may resolve this kind at that position.
  bool approves = false;   ///< ... may approve it: an owner's value, not a proposal.
  bool creates = false;    ///< It holds the record's creating change.

  std::int64_t corrected_ms() const { return claimed_ms + offset_ms; }
  bool operator==(const Mark&) const = default;
};

/// An operation with its place in the transaction; names without evidence (MERGE.md, section 1) are already left out.
struct PlacedOperation {
  std::uint32_t offset = 0;  ///< counter - mark.first
  Operation operation;
};

/// All that one transaction wrote to one record. The body (sdk/core) answers for: dots unique in the space, counters at most
/// limits::counter_max, no dot named twice by one operation. A transaction void for a collision of dots is not passed at all.
struct MarkedOperations {
  Mark mark;
  std::vector<PlacedOperation> operations;
  /// It stands in quarantine and can be read: it shows nothing and has no rights, but once an accepted operation has closed
  /// one of these, what that one had closed stays closed (DESIGN section 4). Not among Record::marks().
  bool quarantined = false;
};

struct Superseded {
  Dot dot;
  std::uint32_t causal = 0;  ///< Its causal counter; 0 while it has not arrived, or does not count (quarantined).
  bool operator==(const Superseded&) const = default;
};

struct Sibling {
  std::uint32_t mark = 0;  ///< Index into Record::marks().
  std::uint32_t offset = 0;
  std::uint32_t causal = 1;  ///< One above the highest it names; never claimed (invariant 4). 0 in or behind a circle.
  Value value;
  std::vector<Superseded> supersedes;
  bool operator==(const Sibling&) const = default;
};

struct Register {
  Address address;
  std::vector<Sibling> siblings;  ///< What nothing that counts has closed, by dot. Empty only if operations name each other in a circle.
  std::vector<Dot> awaited;       ///< Named here and not arrived here, by dot.
  bool operator==(const Register&) const = default;
};

class Record {
 public:
  enum class Outcome : std::uint8_t {
    applied,
    unchanged,  ///< The transaction was here already, or is quarantined and nobody named it.
    replay,     ///< Not sure: evaluate from the log. The record was not changed.
  };
  /// Has the operation arrived in this space, accepted or readable in quarantine, at whatever address? May say yes when unsure;
  /// what it says of the operations of the transaction being applied does not matter.
  using Arrived = std::function<bool(const Dot&)>;

  Record() = default;
  explicit Record(KindId kind) : kind_(kind) {}

  /// The same state as evaluate() of what made this one and `transaction`, or Outcome::replay. A change of standing (a cut, a role,
  /// an adoption) is not an arrival: the body evaluates again.
  Outcome apply(MarkedOperations transaction, const Arrived& arrived);
  /// Any order, duplicates welcome.
  static Record evaluate(KindId kind, std::vector<MarkedOperations> transactions);

  KindId kind() const { return kind_; }
  /// Every accepted transaction that touched the record, superseded ones too: the index from record to log.
  const std::vector<Mark>& marks() const { return marks_; }
  /// By address.
  const std::vector<Register>& registers() const { return registers_; }
  const Register* find(const Address& address) const;
  /// All registers of a field: the field itself, its elements and subfields.
  std::span<const Register> field(FieldId field) const;
  /// Its creating change has arrived (anything else may come first).
  bool created() const;
  Dot dot(const Sibling& sibling) const { return {marks_[sibling.mark].device, marks_[sibling.mark].first + sibling.offset}; }

  /// The same bytes on every replica that holds the same operations and the same roster.
  void encode(Encoder& out) const;
  /// Fails the decoder on anything that encode() would not have written.
  static Record decode(Decoder& in);

  bool operator==(const Record&) const = default;

 private:
  Register& at(Address address);
  const Sibling* sibling(const Register& reg, const Dot& named) const;
  std::uint32_t causal(const Register& reg, const Dot& named) const;
  bool is_awaited(const MarkedOperations& transaction) const;
  bool can_apply(const MarkedOperations& transaction, const Arrived& arrived) const;
  void apply_operation(std::uint32_t mark, PlacedOperation& placed);
  Register get_register(Decoder& in) const;

  KindId kind_ = 0;
  std::vector<Mark> marks_;
  std::vector<Register> registers_;
};

/// Of encoded records, without taking them apart.
KindId kind_of(ByteView encoded_record);
bool is_created(ByteView encoded_record);

/// The record's element in the state digest.
Hash record_digest(const RecordId& id, ByteView encoded_record);

}  // namespace doorstep
