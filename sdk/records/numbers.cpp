#include "sdk/records/numbers.hpp"

#include <algorithm>
#include <array>

#include "sdk/records/calendar.hpp"

namespace doorstep {

namespace {

constexpr std::array<int, 17> weights = {7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_province(int prefix) {
  // GB/T 2260, first two digits. Old counties stay on people's numbers, so nothing finer is asked.
  constexpr std::array<int, 36> provinces = {11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43,
                                             44, 45, 46, 50, 51, 52, 53, 54, 61, 62, 63, 64, 65, 71, 81, 82, 83, 0};
  return prefix != 0 && std::find(provinces.begin(), provinces.end(), prefix) != provinces.end();
}

int number_at(std::string_view text, std::size_t at, std::size_t digits) {
  int out = 0;
  for (std::size_t i = at; i < at + digits; ++i) out = out * 10 + (text[i] - '0');
  return out;
}

CivilDay birth_in(std::string_view id) { return {number_at(id, 6, 4), number_at(id, 10, 2), number_at(id, 12, 2)}; }

}  // namespace

bool is_credible_today(Date today) { return today >= date_of({2025, 1, 1}); }

char citizen_id_check_character(std::string_view first_17) {
  int sum = 0;
  for (std::size_t i = 0; i < 17; ++i) sum += (first_17[i] - '0') * weights[i];
  return "10X98765432"[sum % 11];
}

IdFault check_citizen_id(std::string_view id, Date today, bool allow_test_ids) {
  if (id.size() != 18) return IdFault::length;
  if (!std::all_of(id.begin(), id.begin() + 17, is_digit) || (!is_digit(id[17]) && id[17] != 'X')) return IdFault::characters;
  const int prefix = number_at(id, 0, 2);
  if (!is_province(prefix) && !(prefix == 99 && allow_test_ids)) return IdFault::area;
  const auto civil = birth_in(id);
  if (!is_real_day(civil)) return IdFault::date;
  if (is_credible_today(today)) {
    const auto birth = date_of(civil);
    if (birth > today || age_on(birth, today) > 120) return IdFault::date;
  }
  return citizen_id_check_character(id) == id[17] ? IdFault::none : IdFault::checksum;
}

const char* id_fault_name(IdFault fault) {
  constexpr std::array<const char*, 6> names = {"ok", "id_length", "id_characters", "id_area", "id_date", "id_checksum"};
  return names.at(static_cast<std::size_t>(fault));
}

const char* id_fault_zh(IdFault fault) {
  switch (fault) {
    case IdFault::none: return "";
    case IdFault::length: return "公民身份号码应为18位，请核对。";
    case IdFault::characters: return "公民身份号码前17位应为数字，末位为数字或X，请核对。";
    case IdFault::area: return "公民身份号码前两位不是有效的省级代码，请核对。";
    case IdFault::date: return "公民身份号码中的出生日期不正确，请核对第7至14位。";
    case IdFault::checksum: return "公民身份号码校验位不符，可能有一位输错，请逐位核对。";
  }
  return "";
}

const char* id_fault_en(IdFault fault) {
  switch (fault) {
    case IdFault::none: return "";
    case IdFault::length: return "A citizen ID has 18 characters: check it.";
    case IdFault::characters: return "A citizen ID is 17 digits and a last digit or X: check it.";
    case IdFault::area: return "The first two digits of the citizen ID are no province: check them.";
    case IdFault::date: return "The citizen ID contains no possible date of birth: check digits 7 to 14.";
    case IdFault::checksum: return "The citizen ID's check character does not fit: one digit may be mistyped.";
  }
  return "";
}

Date citizen_id_birth(std::string_view id) { return date_of(birth_in(id)); }

bool citizen_id_is_male(std::string_view id) { return (id[16] - '0') % 2 == 1; }

bool is_certificate_shape(std::string_view certificate) {
  if (certificate.size() != 20 && certificate.size() != 22) return false;
  if (!std::all_of(certificate.begin(), certificate.begin() + 17, is_digit)) return false;
  if (!is_digit(certificate[17]) && certificate[17] != 'X') return false;
  if (certificate[18] < '1' || certificate[18] > '7' || certificate[19] < '1' || certificate[19] > '4') return false;
  return certificate.size() == 20 || (certificate[20] == 'B' && certificate[21] >= '1' && certificate[21] <= '9');
}

}  // namespace doorstep
