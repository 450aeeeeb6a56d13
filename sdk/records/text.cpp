#include "sdk/records/text.hpp"

#include <utf8proc.h>

#include <cstdlib>

namespace doorstep {

namespace {

/// The next code point, or -1 for invalid bytes (then one byte is skipped).
std::int32_t next_code_point(std::string_view text, std::size_t& at) {
  utf8proc_int32_t point = -1;
  const auto left = static_cast<utf8proc_ssize_t>(text.size() - at);
  const auto used = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at, left, &point);
  if (used <= 0) return ++at, -1;
  at += static_cast<std::size_t>(used);
  return point;
}

/// What one look at a text says. `plain`: it is made only of code points that NFC never touches: ASCII, common punctuation, CJK
/// ideographs of the basic block, half- and full-width forms. Nearly everything people write here; utf8proc is ten times slower.
struct Look {
  bool plain = false;
  std::size_t code_points = 0;  ///< If plain.
};

Look look_at(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = at + text.size();
  std::size_t points = 0;
  const auto continues = [](unsigned byte) { return (byte & 0xC0) == 0x80; };
  while (at != end) {
    const unsigned first = *at;
    if (first - 1 < 0x7F) {
      ++at;
    } else if (end - at >= 3 && first - 0xE5 <= 0xE9 - 0xE5 && continues(at[1]) && continues(at[2])) {  // U+5000..U+9FFF
      at += 3;
    } else if (end - at >= 2 && first == 0xC2 && at[1] == 0xB7) {  // the middle dot
      at += 2;
    } else {
      if (end - at < 3 || (first & 0xF0) != 0xE0 || !continues(at[1]) || !continues(at[2])) return {};
      const auto point = (first & 15) << 12 | (at[1] & 63u) << 6 | (at[2] & 63u);
      const bool plain = (point >= 0x4E00 && point <= 0x9FFF) || (point >= 0x2010 && point <= 0x2027) ||
                         (point >= 0x3000 && point <= 0x3029) || (point >= 0xFF01 && point <= 0xFF5E);
      if (!plain) return {};
      at += 3;
    }
    ++points;
  }
  return {true, points};
}

bool all_digits(std::string_view text) {
  for (const char c : text)
    if (c < '0' || c > '9') return false;
  return !text.empty();
}

}  // namespace

std::optional<std::string> nfc(std::string_view text) {
  if (look_at(text).plain) return std::string(text);
  if (text.find('\0') != text.npos) return std::nullopt;
  utf8proc_uint8_t* mapped = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()), &mapped, options);
  if (size < 0) return std::nullopt;
  std::string out(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size));
  std::free(mapped);  // utf8proc allocates with malloc
  return out;
}

bool is_nfc(std::string_view text) {
  if (look_at(text).plain) return true;
  const auto composed = nfc(text);
  return composed && *composed == text;
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto point = next_code_point(text, at);
    if (point <= 0) return false;
  }
  return true;
}

std::size_t code_points(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) next_code_point(text, at);
  return count;
}

std::optional<std::size_t> code_points_if_nfc(std::string_view text) {
  if (const Look look = look_at(text); look.plain) return look.code_points;
  return is_nfc(text) ? std::optional(code_points(text)) : std::nullopt;
}

std::string half_width(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto start = at;
    const auto point = next_code_point(text, at);
    if (point >= 0xFF01 && point <= 0xFF5E)
      out.push_back(static_cast<char>(point - 0xFF01 + '!'));
    else if (point == 0x3000)
      out.push_back(' ');
    else
      out.append(text.substr(start, at - start));
  }
  return out;
}

std::string trimmed(std::string_view text) { return std::string(without_margins(text)); }

std::string_view without_margins(std::string_view text) {
  constexpr std::string_view wide_space = "\u3000";
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  for (;;) {
    if (!text.empty() && is_space(text.front()))
      text.remove_prefix(1);
    else if (text.substr(0, wide_space.size()) == wide_space)
      text.remove_prefix(wide_space.size());
    else
      break;
  }
  for (;;) {
    if (!text.empty() && is_space(text.back()))
      text.remove_suffix(1);
    else if (text.size() >= wide_space.size() && text.substr(text.size() - wide_space.size()) == wide_space)
      text.remove_suffix(wide_space.size());
    else
      break;
  }
  return text;
}

std::string compact_number(std::string_view text) {
  std::string out;
  for (const char c : half_width(text)) {
    if (c == ' ' || c == '-' || c == '\t') continue;
    out.push_back(c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
  }
  return out;
}

std::string compact_phone(std::string_view text) {
  const auto half = trimmed(half_width(text));
  // "0838-1234567-801", "0838 1234567 转 801": the last part is an extension only after an area code and a number.
  std::string out, extension;
  bool in_extension = false;
  std::size_t hyphens = 0;
  constexpr std::string_view turn = "转";
  for (std::size_t at = 0; at < half.size(); ++at) {
    const char c = half[at];
    if (half.compare(at, turn.size(), turn) == 0) {
      in_extension = true;
      at += turn.size() - 1;
    } else if (c == '-') {
      if (++hyphens == 2 && out.size() >= 10 && out[0] == '0') in_extension = true;
    } else if (c == '+' || c == ' ' || c == '(' || c == ')') {
      continue;
    } else {
      (in_extension ? extension : out).push_back(c);
    }
  }
  if (out.size() == 13 && out.starts_with("861")) out.erase(0, 2);  // +86 139 0000 1111
  return extension.empty() ? out : out + "-" + extension;
}

bool is_phone(std::string_view stored) {
  std::string_view number = stored, extension;
  if (const auto dash = stored.find('-'); dash != stored.npos) {
    number = stored.substr(0, dash);
    extension = stored.substr(dash + 1);
    if (!all_digits(extension) || extension.size() > 6 || number.empty() || number[0] != '0') return false;
  }
  if (!all_digits(number)) return false;
  for (const std::string_view body : {"12385", "12345", "110", "119", "120"})
    if (number == body) return true;
  if (number.size() == 11 && number[0] == '1') return number[1] >= '3';
  // Area code of 3 or 4 digits and 7 or 8 more: 10 to 12 digits that start with 0 and a digit that is not 0.
  return number.size() >= 10 && number.size() <= 12 && number[0] == '0' && number[1] != '0';
}

std::string grouped_phone(std::string_view stored) {
  if (stored.size() == 11 && stored[0] == '1' && all_digits(stored))
    return std::string(stored.substr(0, 3)) + " " + std::string(stored.substr(3, 4)) + " " + std::string(stored.substr(7));
  if (stored.size() >= 10 && stored[0] == '0') {
    // 010 and 02x are the area codes of three digits.
    const std::size_t area = stored[1] == '1' || stored[1] == '2' ? 3 : 4;
    return std::string(stored.substr(0, area)) + "-" + std::string(stored.substr(area));
  }
  return std::string(stored);
}

bool is_person_name(std::string_view text) {
  bool letters = false;
  bool last_was_joint = true;  // No joint at the start, at the end, or after another.
  for (std::size_t at = 0; at < text.size();) {
    const auto point = next_code_point(text, at);
    if (point < 0) return false;
    const bool joint = point == 0xB7 || point == ' ' || point == '-' || point == '\'' || point == '.';
    if (joint && last_was_joint) return false;
    if (!joint) {
      const auto category = utf8proc_category(point);
      const bool letter = category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT ||
                          category == UTF8PROC_CATEGORY_LM || category == UTF8PROC_CATEGORY_LO || category == UTF8PROC_CATEGORY_MN ||
                          category == UTF8PROC_CATEGORY_MC;
      // 〇 is a letter-number in Unicode and a surname character in China.
      if (!letter && point != 0x3007) return false;
      letters = true;
    }
    last_was_joint = joint;
  }
  return letters && !last_was_joint;
}

}  // namespace doorstep
