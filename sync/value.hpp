// What a register can hold: one scalar. Structures are fields with subfields, sets are fields with elements (MERGE.md).
// There is no floating point: measurements are Decimal, so that every replica holds the same bytes.
#pragma once

#include <string>
#include <variant>

#include "sync/ids.hpp"

namespace doorstep {

class Encoder;
class Decoder;

/// A calendar day, counted from 1970-01-01, without a time zone (records use Asia/Shanghai days).
struct Date {
  std::int32_t days = 0;
  auto operator<=>(const Date&) const = default;
};
/// Milliseconds since 1970-01-01T00:00Z as somebody's clock said.
struct Timestamp {
  std::int64_t ms = 0;
  auto operator<=>(const Timestamp&) const = default;
};
/// mantissa x 10^-scale, scale 0..9; 7.30 and 7.3 are different values on purpose (what was typed is kept).
struct Decimal {
  std::int64_t mantissa = 0;
  std::uint8_t scale = 0;
  auto operator<=>(const Decimal&) const = default;
};
/// A code of a code list ("01"); its list stands in the schema.
struct CodeText {
  std::string text;
  auto operator<=>(const CodeText&) const = default;
};

/// std::monostate: no value (a field that was cleared, an element that was removed).
using Value = std::variant<std::monostate, bool, std::int64_t, Decimal, std::string, CodeText, Date, Timestamp, RecordId, Bytes>;

inline bool has_value(const Value& value) { return value.index() != 0; }

/// Tag byte and payload (PROTOCOL.md, section 3).
void put_value(Encoder& encoder, const Value& value);
/// Fails the decoder on an unknown tag or a value out of bounds.
Value get_value(Decoder& decoder);

}  // namespace doorstep
