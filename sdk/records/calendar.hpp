// Days and times as people write them. Records use Asia/Shanghai days; China has had no summer time since 1991, so the
// offset is a constant and no time-zone table is needed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sync/value.hpp"

namespace doorstep {

struct CivilDay {
  int year = 1970;
  int month = 1;
  int day = 1;
};

Date date_of(CivilDay civil);
CivilDay civil_of(Date date);
/// True if the calendar has that day (2026-02-30 is not one), years 1800 to 2200.
bool is_real_day(CivilDay civil);

/// "2026-03-14", exactly.
std::optional<Date> date_from_text(std::string_view text);
std::string date_text(Date date);

/// "2026-03-14T09:30:00+08:00", with optional milliseconds, and `Z` or another offset.
std::optional<Timestamp> timestamp_from_text(std::string_view text);
/// In +08:00; milliseconds only if there are any.
std::string timestamp_text(Timestamp time);

/// The Asia/Shanghai day of a moment.
Date day_of(Timestamp time);
/// Whole years from `birth` to `day`; negative if born later.
int age_on(Date birth, Date day);

}  // namespace doorstep
