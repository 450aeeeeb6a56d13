// What the tests of sdk/records share: a generator of bytes that repeats, and the way from JSON to problems.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "sdk/records/calendar.hpp"
#include "sdk/records/json.hpp"
#include "sdk/records/validation.hpp"

namespace doorstep::test {

/// The day on which these tests play.
inline const Date today = date_of({2026, 3, 14});

class CountingRandom : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(next_++ * 37 + 11);
  }

 private:
  unsigned next_ = 1;
};

inline const Kind& builtin_kind(std::string_view name) {
  const auto* kind = Schema::builtin().kind(name);
  EXPECT_NE(kind, nullptr);
  return *kind;
}

/// A record under construction: written through JSON, validated as the replica does.
class Draft {
 public:
  explicit Draft(std::string_view kind, Date day = today) : kind_(builtin_kind(kind)) {
    context.today = day;
    context.allow_test_ids = true;
    context.creates = true;
  }

  /// Writes and validates. Later writes are updates.
  std::vector<Problem> write(const std::string& json) {
    auto assignments = assignments_from_json(kind_, json, random_, &values);
    EXPECT_TRUE(assignments.ok()) << (assignments.ok() ? "" : assignments.error().message());
    if (!assignments.ok()) return {};
    std::vector<Address> changed;
    for (auto& [address, value] : *assignments) {
      changed.push_back(address);
      values[address] = value;
    }
    auto problems = validate(kind_, values, changed, context);
    context.creates = false;
    return problems;
  }

  const Kind& kind() const { return kind_; }
  ShownValues values;
  ValidationContext context;

 private:
  const Kind& kind_;
  CountingRandom random_;
};

inline bool has(const std::vector<Problem>& problems, std::string_view code, std::string_view field = {}) {
  return std::any_of(problems.begin(), problems.end(),
                     [&](const Problem& problem) { return problem.code == code && (field.empty() || problem.field == field); });
}

inline std::string listed(const std::vector<Problem>& problems) {
  std::string out;
  for (const auto& problem : problems)
    out += problem.field + " [" + problem.code + (problem.blocks ? "] " : ", warning] ") + problem.en + "\n";
  return out;
}

/// A complete dossier, ready for a test to add to.
inline std::string person_json(const std::string& more = {}) {
  return R"({"name": "陈桂兰", "sex": "2", "birth_date": "1965-11-07", "id_number": "990102196511070022", "hukou_type": "1",
    "hukou_org_code": "990604101201", "residence_org_code": "990604101201", "address_text": "上湾组12号",
    "disability_category": "4", "disability_level": "3", "phones": [{"number": "13900001111"}], "comm_needs": ["2"],
    "living_situation": ["2"], "self_care": "1", "bedridden": false, "low_income_status": ["6"],
    "family_doctor": {"signed": false}, "life_status": "1", "employment_status": "0", "org_code": "990604101201",
    "entry_mode": "2", "consent_ref": "duty")" +
         (more.empty() ? "" : ", " + more) + "}";
}

inline std::string visit_json(const std::string& status, const std::string& more) {
  return R"({"person_id": "00112233445566778899aabbccddeeff", "observed_on": "2026-03-13", "org_code": "990604101201", "status": ")" +
         status + R"(", "entry_mode": "2", "consent_ref": "duty", "visit_mode": "1", "visit_reason": ["1"])" +
         (more.empty() ? "" : ", " + more) + "}";
}

/// What a met person adds.
inline const char* const met = R"("visit_result": "01", "met_persons": ["1"], "general_state": "1", )"
                               R"("home_safety": ["0"], "no_problems": true, "confirmed_by": {"method": "1"})";

inline std::string session_json(const std::string& more) {
  return R"({"person_id": "00112233445566778899aabbccddeeff", "observed_on": "2026-03-13", "org_code": "990604101201", "status": "signed",
    "entry_mode": "2", "consent_ref": "duty", "plan_ref": "ffeeddccbbaa99887766554433221100", "place": "1",
    "start_time": "2026-03-13T10:00:00+08:00", "provider": "ffeeddccbbaa99887766554433221101")" +
         (more.empty() ? "" : ", " + more) + "}";
}

inline const char* const session_done =
    R"("duration_min": 40, "response": "1", "adverse_event": "none", "subject_confirm": {"method": "2"})";

}  // namespace doorstep::test
