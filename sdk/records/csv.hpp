// CSV as RFC 4180 has it, and the way from its rows to records: what a township exports from its spreadsheets.
//
// The parser is fed chunks of any size and calls back row by row, so that a file larger than memory passes. UTF-8 with or
// without a byte-order mark; rows end in CRLF or LF; a quoted field may contain commas, line ends and doubled quotes.
//
// The header names fields by their name or their Chinese label; "guardian.phone" or "监护人.电话" names a subfield. A set's
// cell holds its elements divided by `;` (or `；`); columns of subfields of one set are read side by side: the second
// guardian.phone belongs to the second guardian.name. A set of structures without a subfield means its first subfield.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "doorstep/csv.hpp"

namespace doorstep {

namespace csv_limits {
inline constexpr std::size_t field_bytes_max = 64u << 10;
inline constexpr std::size_t row_bytes_max = 1u << 20;
inline constexpr std::size_t columns_max = 512;
inline constexpr std::size_t elements_per_cell_max = 64;
}  // namespace csv_limits

using CsvRow = std::vector<std::string>;

class CsvParser {
 public:
  /// Called with each row and its number, counted from 1 (the header is row 1). A failure ends the parse.
  using OnRow = std::function<Status(std::size_t row, const CsvRow& cells)>;
  explicit CsvParser(OnRow on_row) : on_row_(std::move(on_row)) {}

  /// Code::invalid_argument names row and column; Code::too_large names the bound. After a failure only failures follow.
  Status feed(std::string_view chunk);
  /// The end of the input: a last row without a line end is a row, an open quote is a failure.
  Status finish();

 private:
  enum class State : std::uint8_t { row_start, field_start, plain, quoted, after_quote, after_return };
  Status step(char c);
  Status step_unquoted(char c);
  Status keep(char c);
  Status end_field();
  Status end_row();
  Error wrong(Code code, const std::string& what) const;

  OnRow on_row_;
  State state_ = State::row_start;
  CsvRow cells_;
  std::string field_;
  std::string start_;  ///< Up to three bytes, until it is known whether they are a byte-order mark.
  bool past_mark_ = false;
  std::size_t row_ = 1;
  std::size_t row_bytes_ = 0;
  std::optional<Error> failed_;
};

/// A CSV row as the JSON object that assignments_from_json reads.
class CsvMapping {
 public:
  /// Code::invalid_record names the column that the kind has no field for, or that stands twice.
  static Result<CsvMapping> from_header(const Kind& kind, const CsvRow& header);
  /// Empty cells are left out. Code::invalid_record names row, column and what is wrong, never the cell's content.
  Result<std::string> to_json(std::size_t row, const CsvRow& cells) const;

 private:
  struct Column {
    const Field* field = nullptr;
    const Slot* slot = nullptr;
    SubfieldId subfield = 0;  ///< 0: the value, or the key of a set of codes.
    std::string header;
  };
  CsvMapping() = default;
  Result<std::string> cell_json(std::size_t row, const Column& column, std::string_view cell) const;
  Result<std::string> set_json(std::size_t row, const Field& field, const CsvRow& cells) const;
  Result<std::string> structure_json(std::size_t row, const Field& field, const CsvRow& cells) const;

  const Kind* kind_ = nullptr;
  std::vector<Column> columns_;
};

}  // namespace doorstep
