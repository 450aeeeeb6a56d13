// Operations and transactions: what one user action writes (DESIGN section 1), and their bytes.
#pragma once

#include <optional>
#include <vector>

#include "sync/value.hpp"

namespace doorstep {

using KindId = std::uint32_t;      ///< Record kind: built-in ones below 1000, a township's own from 1000 on.
using FieldId = std::uint32_t;     ///< number x 4 + Gate. Never reused for another meaning.
using SubfieldId = std::uint32_t;  ///< 0: the field (or element) itself.

/// Who may close what: the two lowest bits of a field id, so that a replica that does not know the field merges it
/// exactly like one that does, and a schema can never change what old data is (MERGE.md, section 3).
enum class Gate : std::uint8_t {
  open = 0,     ///< Any writer supersedes what he saw (policies `latest`, `set`).
  guarded = 1,  ///< Without the right to resolve: one agreed value, never several (`review`, `cautious`, `furthest`).
  owned = 2,    ///< Proposals supersede proposals; only who may approve supersedes an owner's value (`owner`).
  once = 3,     ///< Nothing supersedes anything (`once`).
};
constexpr FieldId field_id(std::uint32_t number, Gate gate) { return number * 4 + static_cast<std::uint32_t>(gate); }
constexpr Gate gate_of(FieldId field) { return static_cast<Gate>(field & 3); }

/// Where a register stands inside its record.
struct Address {
  FieldId field = 0;
  std::string element;  ///< Empty: the field itself. In a set of codes the code, else 8 random bytes.
  SubfieldId subfield = 0;
  auto operator<=>(const Address&) const = default;
};

/// What the author's clock said, and whether he had reason to believe it (DESIGN invariant 4).
struct TimeClaim {
  std::int64_t claimed_ms = 0;  ///< Raw wall clock; never rewritten.
  std::int64_t offset_ms = 0;   ///< Peer's clock minus own at the last check; corrected = claimed + offset.
  bool confirmed = false;       ///< Checked since the last boot or clock change; counts only if the check stands in the log.
  std::int64_t corrected_ms() const { return claimed_ms + offset_ms; }
  bool operator==(const TimeClaim&) const = default;
};

/// One assignment. Its dot is (device, first counter of the transaction + its index in it).
struct Operation {
  Address address;
  Value value;
  std::vector<Dot> supersedes;  ///< What the author saw at this address; at most limits::supersedes_max, no dot twice.
};

struct RecordChange {
  RecordId record;  ///< When `creates`: make_record_id().
  KindId kind = 0;
  bool creates = false;
  std::vector<Operation> operations;  ///< At least one.
};

/// A check of the device's clock against a peer; stands in the log before the claims that rest on it.
struct ClockCheck {
  FixedBytes<struct CheckedPeerTag, 32> peer;  ///< Relay's transport key, or the desk's DeviceId.
  std::int64_t offset_ms = 0;
};

struct Transaction {
  TimeClaim time;
  std::optional<FixedBytes<struct LinkTag, 16>> link;  ///< Ties transactions of several spaces together (invariant 10).
  std::optional<ClockCheck> clock_check;
  std::string note;  ///< The author's reason, shown in history; may be empty.
  std::vector<RecordChange> changes;

  std::size_t operation_count() const;
};

/// The id of the `nth` record (from 0) that the transaction with first counter `first` of `device` creates: known before
/// the transaction is complete, so that its records can refer to each other.
RecordId make_record_id(const DeviceId& device, Counter first, std::uint32_t nth = 0);

/// The author of a transaction, and where its counters begin.
struct Author {
  DeviceId device;
  DeviceNumber number = device_unadmitted;
  Counter first = 0;
};

/// Own dots are written as distances, so the bytes do not depend on the author's number.
void put_transaction(Encoder& encoder, const Transaction& transaction, const Author& author);
/// Fails the decoder on anything malformed, out of bounds, or that supersedes its own or a later operation.
Transaction get_transaction(Decoder& decoder, const Author& author);

/// Whether an encoded transaction holds a clock check, and whether it claims a checked clock, by a look at its flags.
bool has_clock_check(ByteView transaction);
bool claims_confirmed(ByteView transaction);

}  // namespace doorstep
