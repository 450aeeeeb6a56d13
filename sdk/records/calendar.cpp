#include "sdk/records/calendar.hpp"

#include <cstdio>

namespace doorstep {

namespace {

constexpr std::int64_t shanghai_ms = 8 * 3'600'000;
constexpr std::int64_t day_ms = 86'400'000;

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

/// Exactly `digits` digits at the front, which are removed.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int out = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    out = out * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return out;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<Date> take_date(std::string_view& text) {
  const auto year = take_number(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const auto month = take_number(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const auto day = take_number(text, 2);
  if (!day || !is_real_day({*year, *month, *day})) return std::nullopt;
  return date_of({*year, *month, *day});
}

/// "Z", "+08:00", "-03:30": milliseconds to subtract.
std::optional<std::int64_t> take_offset(std::string_view& text) {
  if (take(text, 'Z')) return 0;
  const bool west = !text.empty() && text[0] == '-';
  if (!take(text, west ? '-' : '+')) return std::nullopt;
  const auto hours = take_number(text, 2);
  if (!hours || *hours > 14 || !take(text, ':')) return std::nullopt;
  const auto minutes = take_number(text, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  const std::int64_t offset = (*hours * 60LL + *minutes) * 60'000;
  return west ? -offset : offset;
}

}  // namespace

// Howard Hinnant's days-from-civil: counts from 1 March, so that the leap day is the last of its year.
Date date_of(CivilDay civil) {
  const int y = civil.month <= 2 ? civil.year - 1 : civil.year;
  const int era = (y >= 0 ? y : y - 399) / 400;
  const int year_of_era = y - era * 400;
  const int day_of_year = (153 * (civil.month + (civil.month > 2 ? -3 : 9)) + 2) / 5 + civil.day - 1;
  const int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return Date{era * 146'097 + day_of_era - 719'468};
}

CivilDay civil_of(Date date) {
  const std::int64_t z = std::int64_t{date.days} + 719'468;
  const std::int64_t era = floor_div(z, 146'097);
  const std::int64_t day_of_era = z - era * 146'097;
  const std::int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted = (5 * day_of_year + 2) / 153;
  const int day = static_cast<int>(day_of_year - (153 * shifted + 2) / 5 + 1);
  const int month = static_cast<int>(shifted < 10 ? shifted + 3 : shifted - 9);
  return {static_cast<int>(year_of_era + era * 400 + (month <= 2 ? 1 : 0)), month, day};
}

bool is_real_day(CivilDay civil) {
  if (civil.year < 1800 || civil.year > 2200 || civil.month < 1 || civil.month > 12 || civil.day < 1 || civil.day > 31) return false;
  const auto back = civil_of(date_of(civil));
  return back.month == civil.month && back.day == civil.day;
}

std::optional<Date> date_from_text(std::string_view text) {
  const auto date = take_date(text);
  return text.empty() ? date : std::nullopt;
}

std::string date_text(Date date) {
  const auto civil = civil_of(date);
  char out[32];
  std::snprintf(out, sizeof out, "%04d-%02d-%02d", civil.year, civil.month, civil.day);
  return out;
}

std::optional<Timestamp> timestamp_from_text(std::string_view text) {
  const auto date = take_date(text);
  if (!date || !take(text, 'T')) return std::nullopt;
  const auto hour = take_number(text, 2);
  if (!hour || *hour > 23 || !take(text, ':')) return std::nullopt;
  const auto minute = take_number(text, 2);
  if (!minute || *minute > 59 || !take(text, ':')) return std::nullopt;
  const auto second = take_number(text, 2);
  if (!second || *second > 59) return std::nullopt;
  int ms = 0;
  if (take(text, '.')) {
    const auto fraction = take_number(text, 3);
    if (!fraction) return std::nullopt;
    ms = *fraction;
  }
  const auto offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  return Timestamp{date->days * day_ms + (*hour * 3600LL + *minute * 60 + *second) * 1000 + ms - *offset};
}

std::string timestamp_text(Timestamp time) {
  // A moment outside the calendar (a clock that counts from somewhere else) is shown as its number.
  if (time.ms < -5'000'000'000'000 || time.ms > 7'000'000'000'000) return std::to_string(time.ms);
  const auto local = time.ms + shanghai_ms;
  const auto in_day = local - floor_div(local, day_ms) * day_ms;
  const auto seconds = static_cast<int>(in_day / 1000);
  const auto ms = static_cast<int>(in_day % 1000);
  char out[48];
  std::snprintf(out, sizeof out, "T%02d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
  auto text = date_text(day_of(time)) + out;
  if (ms != 0) {
    std::snprintf(out, sizeof out, ".%03d", ms);
    text += out;
  }
  return text + "+08:00";
}

Date day_of(Timestamp time) {
  // In two steps: a moment near the end of the range must not overflow.
  const auto utc_day = floor_div(time.ms, day_ms);
  const auto later = (time.ms - utc_day * day_ms + shanghai_ms) / day_ms;
  return Date{static_cast<std::int32_t>(utc_day + later)};
}

int age_on(Date birth, Date day) {
  const auto b = civil_of(birth);
  const auto d = civil_of(day);
  const bool had_birthday = d.month > b.month || (d.month == b.month && d.day >= b.day);
  return d.year - b.year - (had_birthday ? 0 : 1);
}

}  // namespace doorstep
