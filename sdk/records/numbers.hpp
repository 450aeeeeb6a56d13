// Citizen ID and disability certificate numbers (DOMAIN 3.3, 3.4): the checks that one number allows by itself.
// Messages never repeat the number: they may be logged (DOMAIN 3.3, C8).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sync/value.hpp"

namespace doorstep {

enum class IdFault : std::uint8_t {
  none = 0,
  length,      ///< I1: not 18 characters.
  characters,  ///< I2: not 17 digits and a digit or X.
  area,        ///< I3: the first two digits are no province (99: only in tests).
  date,        ///< I4: no real day, in the future, or more than 120 years ago.
  checksum,    ///< I5.
};

/// The check character of the first 17 digits (ISO 7064 MOD 11-2).
char citizen_id_check_character(std::string_view first_17);
/// I1 to I5, on the stored form (compact_number). Prefix 99 belongs to nobody and passes only with `allow_test_ids`.
/// `today` before 2025 is a clock that was never set, and is not asked about the future.
IdFault check_citizen_id(std::string_view id, Date today, bool allow_test_ids);
const char* id_fault_name(IdFault fault);
const char* id_fault_zh(IdFault fault);
const char* id_fault_en(IdFault fault);

/// Of a number whose shape is right.
Date citizen_id_birth(std::string_view id);
bool citizen_id_is_male(std::string_view id);

/// C1: `^\d{17}[0-9X][1-7][1-4](B[1-9])?$`.
bool is_certificate_shape(std::string_view certificate);

/// True if `today` can be believed about what lies in the future.
bool is_credible_today(Date today);

}  // namespace doorstep
