// The schema: record kinds, fields, code lists, rules, policies and labels, as a versioned document (DESIGN section 5).
//
// A document is JSON (sdk/records/SCHEMA.md describes it member by member). One is built in; an app or a township
// registers more in the same form. A Schema is immutable, cheap to copy, and its pointers live as long as any copy of it.
//
// How a field becomes registers (Address = field, element, subfield):
//   a single value          {field, "", 0} = value
//   a structure             {field, "", k} = value of subfield k; {field, "", 0} is not used
//   a set of codes          {field, code, 0} = true        and {field, code, k} = subfield k, if it has subfields
//   a set of other scalars  {field, 8 random bytes, 0} = value
//   a set of structures     {field, 8 random bytes, 0} = true and {field, same key, k} = subfield k
// Register 0 of an element is its presence: removing clears only register 0, and whoever edits the inside writes
// register 0 again, so that an edit concurrent with a removal brings the whole element back.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sync/operation.hpp"
#include "sync/policy.hpp"

namespace doorstep {

const char* policy_name(Policy policy);

/// What a register holds; `structure` only has subfields.
enum class Type : std::uint8_t { boolean, integer, decimal, text, code, date, timestamp, record, bytes, structure };
const char* type_name(Type type);

/// Where a value came from, as far as `review` ranks it.
enum class Source : std::uint8_t { owner, desk, scanned, hand };

/// Checks that need more than a length (validation.hpp).
enum class Pattern : std::uint8_t { none, person_name, phone, citizen_id, certificate, org_code };

/// DOMAIN 3.18 (CL-33), least sensitive first: contact, identity, disability and benefits, health, severe.
enum class Sensitivity : std::uint8_t { p1, p2, s1, s2, s3 };
const char* sensitivity_name(Sensitivity sensitivity);

enum class Role : std::uint8_t {
  member,
  chair,
  rehab_worker,
  psych_worker,
  town_clerk,
  town_lead,
  district_officer,
  auditor,
};
inline constexpr std::size_t role_count = 8;
const char* role_name(Role role);
std::optional<Role> role_from_name(std::string_view name);

/// What a role may do with a kind; the bits of Schema::rights. Reading is decided by membership of the space.
namespace rights {
inline constexpr std::uint8_t write = 1;    ///< Create records and assign fields.
inline constexpr std::uint8_t propose = 2;  ///< Write proposals, where an owner decides.
inline constexpr std::uint8_t resolve = 4;  ///< Close several siblings at once (the conflict inbox).
inline constexpr std::uint8_t approve = 8;  ///< Write the owner's value of an `owner` field.
}  // namespace rights

struct Label {
  std::string zh;
  std::string en;
};

struct CodeEntry {
  std::string code;
  Label label;
};

/// Codes are never re-used; a code that a newer peer knows and we do not is shown as "code nn (new)" and kept.
struct CodeList {
  std::string id;
  std::uint32_t version = 1;
  std::string source;            ///< The standard, form or document it was taken from.
  std::vector<CodeEntry> codes;  ///< In document order, for menus.
  const CodeEntry* find(std::string_view code) const;

  std::vector<std::uint32_t> by_code;  ///< Indexes into `codes`, sorted by code.
};

/// What a value at one register has to look like. Fields and subfields are slots.
struct Slot {
  std::string name;
  Label label;
  Type type = Type::text;
  const CodeList* codes = nullptr;       ///< For Type::code.
  bool required = false;                 ///< In a field: when signed (or created). In a subfield: in every element.
  std::optional<std::int64_t> min, max;  ///< Integers and decimals; for dates and timestamps not used.
  std::uint32_t length_min = 0;          ///< Texts: code points after NFC.
  std::uint32_t length_max = 2000;       ///< Texts: code points after NFC. Bytes: bytes.
  Pattern pattern = Pattern::none;
  std::string unit;
  std::vector<std::pair<std::string, int>> order;  ///< (code or "true"/"false", rank), sorted by code.

  /// `cautious`: larger is safer. `furthest`: larger is further along, and two different values of one rank are
  /// incompatible ends. -1 for what the order does not name (also a newer peer's code), 0 if there is no order.
  int rank(const Value& value) const;
};

struct Subfield : Slot {
  SubfieldId id = 0;
};

/// When something applies: a small expression over the record's shown values (SCHEMA.md).
struct Condition {
  enum class Op : std::uint8_t { all, any, negate, one_of, present, absent, at_least, at_most, count_at_least, age_below, age_at_least };
  Op op = Op::all;
  FieldId field = 0;                ///< For everything but all, any, negate.
  SubfieldId subfield = 0;          ///< 0: the value, or the elements of a set.
  std::vector<std::string> values;  ///< one_of: codes, "true"/"false".
  std::int64_t number = 0;          ///< The bound, count or age.
  std::vector<Condition> parts;     ///< all, any, negate.
};

struct Field : Slot {
  FieldId id = 0;  ///< number * 4 + gate; never reused.
  Policy policy = Policy::latest;
  bool is_set = false;
  bool indexed = false;     ///< Queries by equality and range.
  bool searchable = false;  ///< Text search.
  Sensitivity sensitivity = Sensitivity::s1;
  std::vector<Source> sources;  ///< `review`: the highest first; empty: as `latest`.
  std::optional<Condition> required_when;
  std::vector<Subfield> subfields;

  std::uint32_t number() const { return id / 4; }
  bool keyed_by_code() const { return is_set && type == Type::code; }
  const Subfield* subfield(SubfieldId subfield_id) const;
  const Subfield* subfield(std::string_view subfield_name) const;
  /// What register `subfield_id` holds: the subfield's slot, or the field's own; nullptr if there is none.
  const Slot* slot(SubfieldId subfield_id) const;
};

/// "When `when` holds, `require` must": what one field cannot say alone.
struct Rule {
  std::string id;
  FieldId field = 0;         ///< Where a form shows it.
  bool blocks = true;        ///< false: a warning, the write goes through.
  bool when_signed = false;  ///< Only checked on a record that is or becomes signed.
  std::optional<Condition> when;
  Condition require;
  Label sentence;
};

struct Kind {
  KindId id = 0;
  std::string name;
  Label label;
  Sensitivity sensitivity = Sensitivity::s1;
  std::vector<Field> fields;  ///< In document order, for forms and output.
  std::array<std::uint8_t, role_count> rights{};
  std::vector<Rule> rules;
  std::vector<std::string> checks;     ///< Named checks of validation.cpp ("citizen_id", "certificate").
  std::vector<std::uint32_t> retired;  ///< Field numbers that must never come back.
  FieldId status_field = 0;            ///< 0: none, the record counts as signed from its creation.

  const Field* field(FieldId field_id) const;
  const Field* field(std::string_view field_name) const;
  /// By number, whatever the gate: for schema checks.
  const Field* field_numbered(std::uint32_t number) const;

  std::vector<std::uint32_t> by_number, by_name;  ///< Indexes into `fields`, sorted.
};

class Schema {
 public:
  /// The kinds of DOMAIN.md that this build knows. Parsed once.
  static const Schema& builtin();
  /// Reads a document. Code lists that it names and does not contain are taken from `base`.
  /// Code::invalid_argument names the place ("kinds[0].fields[3].policy") and what to do; Code::too_large names the bound.
  static Result<Schema> parse(std::string_view json, const Schema* base = nullptr);
  /// `base` with the kinds and code lists of `extra`. A kind that both have must be compatible, and `extra` newer.
  static Result<Schema> combine(const Schema& base, const Schema& extra);
  /// Ok if everything that `older` can read means the same here: no field changed its gate, type or shape, none vanished
  /// without being retired, no code was dropped, and the version rose (or the documents are equal).
  Status compatible_with(const Schema& older) const;

  std::uint32_t version() const;
  const Kind* kind(KindId id) const;
  const Kind* kind(std::string_view name) const;
  const std::vector<const Kind*>& kinds() const;  ///< By rising id.
  const CodeList* code_list(std::string_view id) const;
  std::vector<const CodeList*> code_lists() const;  ///< By id.
  /// Bits of doorstep::rights; 0 for an unknown kind.
  std::uint8_t rights(Role role, KindId kind) const;
  /// The document again, as JSON (of a combined schema: the merged document).
  std::string to_json() const;

  struct Data;  ///< Internal.

 private:
  explicit Schema(std::shared_ptr<const Data> data);
  std::shared_ptr<const Data> data_;
};

}  // namespace doorstep
