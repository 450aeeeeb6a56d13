// Text as people type it, made comparable: NFC, half-width digits, lengths in code points (DOMAIN 2.0, 3.10).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace doorstep {

/// NFC; nullopt if the bytes are not UTF-8 or contain NUL. Rare characters and `·` stay as they are.
std::optional<std::string> nfc(std::string_view text);
/// Valid UTF-8 without NUL.
bool is_utf8(std::string_view text);
/// True if `text` is valid UTF-8 in NFC already.
bool is_nfc(std::string_view text);
/// Unicode code points; invalid bytes count as one each.
std::size_t code_points(std::string_view text);
/// The same, if the text is valid UTF-8 in NFC: one look tells both of nearly all texts.
std::optional<std::size_t> code_points_if_nfc(std::string_view text);
/// Full-width ASCII forms (U+FF01..U+FF5E: digits, letters, punctuation) and the ideographic space to their half-width forms.
std::string half_width(std::string_view text);
/// Without spaces at both ends (ASCII and ideographic).
std::string trimmed(std::string_view text);
/// The same, as a part of `text`.
std::string_view without_margins(std::string_view text);
/// An identity or certificate number as stored: half-width, without spaces and hyphens, letters upper-case.
std::string compact_number(std::string_view text);
/// A phone number as stored (DOMAIN 3.10): digits only, an extension after one `-`, as in 08381234567-801.
std::string compact_phone(std::string_view text);
/// Shown grouped: 139 0000 1111; a landline 0838-1234567; others as they are.
std::string grouped_phone(std::string_view stored);
/// Mobile, landline with area code and optional extension, or one of the body numbers.
bool is_phone(std::string_view stored);
/// Chinese characters, `·`, Latin letters with spaces, hyphens and apostrophes between; no digits.
bool is_person_name(std::string_view text);

}  // namespace doorstep
