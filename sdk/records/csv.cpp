#include "sdk/records/csv.hpp"

#include <algorithm>
#include <optional>

#include "sdk/records/json.hpp"
#include "sdk/records/json_value.hpp"
#include "sdk/records/text.hpp"

namespace doorstep {

namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

std::string place(std::size_t row, std::size_t column) {
  return "row " + std::to_string(row) + ", column " + std::to_string(column) + ": ";
}

}  // namespace

// ---- the parser ----------------------------------------------------------------------------------------------------
//
//   row_start    --"--> quoted   --,--> field_start (step_unquoted)   --CR--> after_return   --LF--> row_start (end_row)
//   field_start  the same, but a row has begun: "a," has two fields
//   plain        --,--> field_start   --CR, LF--> as above   --"--> failure
//   quoted       --"--> after_quote
//   after_quote  --"--> quoted (one quote kept)   --,--> field_start   --CR, LF--> as above   --other--> failure
//   after_return --LF--> row_start   --other--> failure

Error CsvParser::wrong(Code code, const std::string& what) const { return Error(code, "CSV, " + place(row_, cells_.size() + 1) + what); }

Status CsvParser::feed(std::string_view chunk) {
  if (failed_) return *failed_;
  if (!past_mark_) {
    // The mark may arrive in pieces.
    start_ += chunk;
    if (start_.size() < byte_order_mark.size() && byte_order_mark.substr(0, start_.size()) == start_) return {};
    past_mark_ = true;
    const auto whole = std::move(start_);
    start_.clear();
    const bool marked = std::string_view(whole).substr(0, byte_order_mark.size()) == byte_order_mark;
    return feed(std::string_view(whole).substr(marked ? byte_order_mark.size() : 0));
  }
  for (const char c : chunk) {
    if (auto stepped = step(c); !stepped.ok()) {
      failed_ = stepped.error();
      return *failed_;
    }
  }
  return {};
}

Status CsvParser::finish() {
  if (failed_) return *failed_;
  if (!past_mark_) {
    past_mark_ = true;
    const auto rest = std::move(start_);
    start_.clear();
    DOORSTEP_TRY(feed(rest));
  }
  if (state_ == State::quoted)
    failed_ = wrong(Code::invalid_argument, "the file ends inside quotes; close them or restore the rest of the file");
  else if (state_ != State::row_start)
    if (auto ended = end_row(); !ended.ok()) failed_ = ended.error();
  if (failed_) return *failed_;
  return {};
}

Status CsvParser::step(char c) {
  if (c == '\0') return wrong(Code::invalid_argument, "a NUL byte; save the file as UTF-8");
  switch (state_) {
    case State::row_start:
    case State::field_start:
      if (c == '"') return state_ = State::quoted, Status();
      return step_unquoted(c);
    case State::plain:
      if (c == '"') return wrong(Code::invalid_argument, "a quote inside an unquoted field; put the whole field in quotes and double it");
      return step_unquoted(c);
    case State::quoted:
      if (c == '"') return state_ = State::after_quote, Status();
      return keep(c);
    case State::after_quote:
      if (c == '"') return state_ = State::quoted, keep(c);
      if (c != ',' && c != '\r' && c != '\n')
        return wrong(Code::invalid_argument, "text after a closing quote; double the quotes inside the field");
      return step_unquoted(c);
    case State::after_return:
      if (c != '\n') return wrong(Code::invalid_argument, "a carriage return without a line feed; save with Windows or Unix line ends");
      return end_row();
  }
  return {};
}

Status CsvParser::step_unquoted(char c) {
  if (c == '\n') return end_row();
  if (c == '\r') return state_ = State::after_return, Status();
  if (c == ',') {
    DOORSTEP_TRY(end_field());
    return state_ = State::field_start, Status();
  }
  state_ = State::plain;
  return keep(c);
}

Status CsvParser::keep(char c) {
  if (++row_bytes_ > csv_limits::row_bytes_max)
    return wrong(Code::too_large, "a row longer than " + std::to_string(csv_limits::row_bytes_max) + " bytes; is a quote left open?");
  if (field_.size() == csv_limits::field_bytes_max)
    return wrong(Code::too_large, "a field longer than " + std::to_string(csv_limits::field_bytes_max) + " bytes; is a quote left open?");
  field_.push_back(c);
  return {};
}

Status CsvParser::end_field() {
  if (cells_.size() == csv_limits::columns_max)
    return wrong(Code::too_large, "more than " + std::to_string(csv_limits::columns_max) + " columns");
  if (!is_utf8(field_)) return wrong(Code::invalid_argument, "not UTF-8; save the file as UTF-8 (in WPS or Excel: CSV UTF-8)");
  cells_.push_back(std::move(field_));
  field_.clear();
  return {};
}

Status CsvParser::end_row() {
  DOORSTEP_TRY(end_field());
  const bool is_empty = cells_.size() == 1 && cells_[0].empty();  // a blank line, as after the last row
  if (!is_empty) DOORSTEP_TRY(on_row_(row_, cells_));
  cells_.clear();
  row_bytes_ = 0;
  ++row_;
  state_ = State::row_start;
  return {};
}

// ---- rows to records -----------------------------------------------------------------------------------------------

namespace {

const Field* field_called(const Kind& kind, std::string_view name) {
  if (const auto* field = kind.field(name)) return field;
  for (const auto& field : kind.fields)
    if (field.label.zh == name) return &field;
  return nullptr;
}

const Subfield* subfield_called(const Field& field, std::string_view name) {
  if (const auto* sub = field.subfield(name)) return sub;
  for (const auto& sub : field.subfields)
    if (sub.label.zh == name) return &sub;
  return nullptr;
}

/// "a;b；c" in its parts, trimmed; empty parts stay, because columns are read side by side.
std::vector<std::string> parts_of(std::string_view cell) {
  constexpr std::string_view wide = "；";
  std::vector<std::string> out;
  std::string part;
  for (std::size_t at = 0; at < cell.size(); ++at) {
    const bool is_wide = cell.compare(at, wide.size(), wide) == 0;
    if (cell[at] != ';' && !is_wide) {
      part.push_back(cell[at]);
      continue;
    }
    out.push_back(trimmed(part));
    part.clear();
    if (is_wide) at += wide.size() - 1;
  }
  out.push_back(trimmed(part));
  return out;
}

void put_name(std::string& out, std::string_view name) {
  if (out.back() != '{') out += ", ";
  append_json_text(out, name);
  out += ": ";
}

}  // namespace

Result<CsvMapping> CsvMapping::from_header(const Kind& kind, const CsvRow& header) {
  CsvMapping out;
  out.kind_ = &kind;
  for (std::size_t i = 0; i < header.size(); ++i) {
    const auto name = trimmed(header[i]);
    const auto dot = name.find('.');
    Column column;
    column.header = name;
    column.field = field_called(kind, std::string_view(name).substr(0, dot));
    if (!column.field)
      return Error(Code::invalid_record,
                   "CSV, " + place(1, i + 1) + "kind " + kind.name + " has no such field; remove the column or rename it");
    const auto* sub = dot == name.npos ? nullptr : subfield_called(*column.field, std::string_view(name).substr(dot + 1));
    if (dot != name.npos && !sub)
      return Error(Code::invalid_record,
                   "CSV, " + place(1, i + 1) + "field " + column.field->name + " has no such subfield; remove the column or rename it");
    // "phones" alone means the number.
    if (!sub && column.field->type == Type::structure) sub = &column.field->subfields.front();
    column.subfield = sub ? sub->id : 0;
    column.slot = sub ? static_cast<const Slot*>(sub) : column.field;
    for (const auto& earlier : out.columns_)
      if (earlier.field == column.field && earlier.subfield == column.subfield)
        return Error(Code::invalid_record, "CSV, " + place(1, i + 1) + "this column stands twice; remove one");
    out.columns_.push_back(std::move(column));
  }
  return out;
}

Result<std::string> CsvMapping::cell_json(std::size_t row, const Column& column, std::string_view cell) const {
  const auto value = value_from_text(*column.slot, cell);
  if (!value.ok())
    return Error(value.code(), "CSV, " + place(row, static_cast<std::size_t>(&column - columns_.data()) + 1) + column.header + ": " +
                                   value.error().message());
  return json_from_value(*value);
}

Result<std::string> CsvMapping::structure_json(std::size_t row, const Field& field, const CsvRow& cells) const {
  std::string out = "{";
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].field != &field || trimmed(cells[i]).empty()) continue;
    DOORSTEP_ASSIGN(const std::string value, cell_json(row, columns_[i], cells[i]));
    put_name(out, columns_[i].slot->name);
    out += value;
  }
  return out.size() == 1 ? std::string() : out + "}";
}

Result<std::string> CsvMapping::set_json(std::size_t row, const Field& field, const CsvRow& cells) const {
  std::vector<std::string> elements;
  const bool objects = field.type == Type::structure || !field.subfields.empty();
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const auto& column = columns_[i];
    if (column.field != &field || trimmed(cells[i]).empty()) continue;
    const auto parts = parts_of(cells[i]);
    if (parts.size() > csv_limits::elements_per_cell_max)
      return Error(Code::too_large,
                   "CSV, " + place(row, i + 1) + "more than " + std::to_string(csv_limits::elements_per_cell_max) + " elements");
    if (elements.size() < parts.size()) elements.resize(parts.size(), objects ? "{" : "");
    for (std::size_t k = 0; k < parts.size(); ++k) {
      if (parts[k].empty()) continue;
      DOORSTEP_ASSIGN(const std::string value, cell_json(row, column, parts[k]));
      if (!objects) {
        elements[k] = value;
      } else {
        put_name(elements[k], column.subfield == 0 ? std::string_view("code") : std::string_view(column.slot->name));
        elements[k] += value;
      }
    }
  }
  std::string out;
  for (const auto& element : elements) {
    if (element.empty() || element == "{") continue;
    out += (out.empty() ? "" : ", ") + element + (objects ? "}" : "");
  }
  return out.empty() ? out : "[" + out + "]";
}

Result<std::string> CsvMapping::to_json(std::size_t row, const CsvRow& cells) const {
  if (cells.size() != columns_.size())
    return Error(Code::invalid_record, "CSV, " + place(row, cells.size()) + std::to_string(cells.size()) + " cells under " +
                                           std::to_string(columns_.size()) + " columns; a comma inside a cell needs quotes");
  std::string out = "{";
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const auto& field = *columns_[i].field;
    // A field of several columns is written where its first column stands.
    const auto first = std::find_if(columns_.begin(), columns_.end(), [&](const Column& column) { return column.field == &field; });
    if (first != columns_.begin() + static_cast<std::ptrdiff_t>(i)) continue;
    std::string value;
    if (field.is_set) {
      DOORSTEP_ASSIGN(value, set_json(row, field, cells));
    } else if (field.type == Type::structure) {
      DOORSTEP_ASSIGN(value, structure_json(row, field, cells));
    } else if (!trimmed(cells[i]).empty()) {
      DOORSTEP_ASSIGN(value, cell_json(row, columns_[i], cells[i]));
    }
    if (value.empty()) continue;
    put_name(out, field.name);
    out += value;
  }
  return out + "}";
}

Status read_csv_records(const Kind& kind, std::string_view csv,
                        const std::function<Status(std::size_t row, const std::string& json)>& on_record) {
  std::optional<CsvMapping> mapping;
  CsvParser parser([&](std::size_t row, const CsvRow& cells) -> Status {
    if (!mapping) {
      DOORSTEP_ASSIGN(mapping, CsvMapping::from_header(kind, cells));
      return {};
    }
    DOORSTEP_ASSIGN(const std::string json, mapping->to_json(row, cells));
    return on_record(row, json);
  });
  DOORSTEP_TRY(parser.feed(csv));
  DOORSTEP_TRY(parser.finish());
  if (!mapping) return Error(Code::invalid_record, "CSV: the file is empty; its first row names the fields");
  return {};
}

std::string csv_cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

}  // namespace doorstep
