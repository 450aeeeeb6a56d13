// What goes to standard output: lines of JSON, or tables whose columns stand straight with Chinese text in them.
// Standard output is for what was asked, standard error for progress, hints and errors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace doorstep::cli {

/// `text` as a JSON string with its quotes. Chinese stays as it is.
std::string json_text(std::string_view text);

/// A JSON object being written, member by member: numbers stay as they were typed (7.30), which a parser would not keep.
class Json {
 public:
  Json& add(std::string_view name, std::string_view text) { return raw(name, json_text(text)); }
  Json& add(std::string_view name, const char* text) { return raw(name, json_text(text)); }
  Json& add(std::string_view name, bool value) { return raw(name, value ? "true" : "false"); }
  Json& add(std::string_view name, std::int64_t number) { return raw(name, std::to_string(number)); }
  Json& add(std::string_view name, std::uint64_t number) { return raw(name, std::to_string(number)); }
  Json& add(std::string_view name, const std::vector<std::string>& texts);
  /// `json` is JSON already.
  Json& raw(std::string_view name, std::string_view json);
  std::string object() const { return "{" + members_ + "}"; }

 private:
  std::string members_;
};

/// Each item is JSON already.
std::string json_array(const std::vector<std::string>& items);

/// Columns that `text` takes on a terminal: two for a Chinese character, none for a combining mark.
std::size_t display_width(std::string_view text);
/// `text` with spaces up to `width` columns.
std::string padded(std::string_view text, std::size_t width);
/// At most `width` columns, the end replaced by "…".
std::string shortened(std::string_view text, std::size_t width);

class Table {
 public:
  explicit Table(std::vector<std::string> head) { rows_.push_back(std::move(head)); }
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::size_t rows() const { return rows_.size() - 1; }
  /// Lines with a rule below the head; no cell wider than `cell_max`.
  std::string text(std::size_t cell_max = 48) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// Writes one line to standard output and flushes it: whoever reads it may rely on what it says.
/// False if it could not be written (a full disk behind a redirection).
bool print_line(std::string_view line);
/// One line to standard error.
void print_note(std::string_view line);

}  // namespace doorstep::cli
