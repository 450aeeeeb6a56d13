#include "examples/cli/output.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace doorstep::cli {

namespace {

struct Range {
  char32_t first, last;
};
// East Asian Width W and F (UAX #11), as far as people's names and notes use them.
constexpr std::array<Range, 14> wide = {{{0x1100, 0x115F},
                                         {0x2E80, 0x303E},
                                         {0x3041, 0x33FF},
                                         {0x3400, 0x4DBF},
                                         {0x4E00, 0x9FFF},
                                         {0xA000, 0xA4CF},
                                         {0xAC00, 0xD7A3},
                                         {0xF900, 0xFAFF},
                                         {0xFE30, 0xFE4F},
                                         {0xFF00, 0xFF60},
                                         {0xFFE0, 0xFFE6},
                                         {0x1F300, 0x1F64F},
                                         {0x20000, 0x2FFFD},
                                         {0x30000, 0x3FFFD}}};
constexpr std::array<Range, 4> combining = {{{0x0300, 0x036F}, {0x200B, 0x200F}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}}};

template <std::size_t N>
bool within(const std::array<Range, N>& ranges, char32_t c) {
  return std::any_of(ranges.begin(), ranges.end(), [&](Range range) { return c >= range.first && c <= range.last; });
}

/// The character at `at`, which moves behind it. A broken byte counts as one character.
char32_t next_character(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  const std::size_t size = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
  if (size == 1 || at + size > text.size()) return ++at, lead;
  char32_t out = lead & (0xFFu >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) out = out << 6 | (byte(at + i) & 0x3Fu);
  at += size;
  return out;
}

std::size_t width_of(char32_t c) { return within(combining, c) ? 0 : within(wide, c) ? 2 : 1; }

}  // namespace

std::string json_text(std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\u00";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

Json& Json::raw(std::string_view name, std::string_view json) {
  if (!members_.empty()) members_ += ',';
  members_ += json_text(name);
  members_ += ':';
  members_ += json;
  return *this;
}

Json& Json::add(std::string_view name, const std::vector<std::string>& texts) {
  std::vector<std::string> items;
  items.reserve(texts.size());
  for (const std::string& text : texts) items.push_back(json_text(text));
  return raw(name, json_array(items));
}

std::string json_array(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) {
    if (out.size() > 1) out += ',';
    out += item;
  }
  return out + ']';
}

std::size_t display_width(std::string_view text) {
  std::size_t out = 0;
  for (std::size_t at = 0; at < text.size();) out += width_of(next_character(text, at));
  return out;
}

std::string padded(std::string_view text, std::size_t width) {
  const std::size_t have = display_width(text);
  return std::string(text) + std::string(width > have ? width - have : 0, ' ');
}

std::string shortened(std::string_view text, std::size_t width) {
  if (display_width(text) <= width) return std::string(text);
  std::size_t have = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t before = at;
    have += width_of(next_character(text, at));
    if (have + 1 > width) return std::string(text.substr(0, before)) + "…";
  }
  return std::string(text);
}

std::string Table::text(std::size_t cell_max) const {
  // A control character in somebody's note must not move the cursor.
  const auto cell = [&](std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, ' ');
    return shortened(text, cell_max);
  };
  std::vector<std::size_t> widths;
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], display_width(cell(row[i])));
    }
  std::string out;
  const auto line = [&](const std::vector<std::string>& row) {
    std::string text;
    for (std::size_t i = 0; i < row.size(); ++i) text += (i ? "  " : "") + padded(cell(row[i]), widths[i]);
    while (text.ends_with(' ')) text.pop_back();
    out += text + "\n";
  };
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    line(rows_[r]);
    if (r > 0) continue;
    std::string rule;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      rule += i ? "  " : "";
      for (std::size_t k = 0; k < widths[i]; ++k) rule += "─";
    }
    out += rule + "\n";
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool print_line(std::string_view line) {
  // One write for a line, so that lines of several processes in one file stay whole.
  std::string out(line);
  out += '\n';
  const bool written = std::fwrite(out.data(), 1, out.size(), stdout) == out.size();
  return std::fflush(stdout) == 0 && written;
}

void print_note(std::string_view line) {
  std::string out(line);
  out += '\n';
  std::fwrite(out.data(), 1, out.size(), stderr);
}

}  // namespace doorstep::cli
