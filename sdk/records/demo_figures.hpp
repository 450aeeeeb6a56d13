// The figures behind the demo village, taken over from the project's table of township numbers, version 1.0 (synthetic
// generator parameters). Every line names the source that the table gives; "assumed" is the table's own word.
// Shares are whole numbers of 1/10,000: there is no floating point, so every machine makes the same village.
#pragma once

#include <array>
#include <string_view>

namespace doorstep::demo_figures {

// ---- people --------------------------------------------------------------------------------------------------------
// CL-01 1..7. CDPF table 3-1 of 2016-2020: persons receiving targeted rehabilitation in 2020 (sum 1063.6 x 10,000).
inline constexpr std::array<int, 7> category = {1077, 767, 48, 5103, 812, 1677, 516};
// CL-02 1..4 by category. Assumed; limb levels 1+2 derived from one district's plan (1500 of 9800 x 0.5103).
inline constexpr std::array<std::array<int, 4>, 7> level = {{{3000, 1400, 1400, 4200},
                                                             {1800, 2200, 2800, 3200},
                                                             {3000, 1500, 2500, 3000},
                                                             {800, 2200, 3300, 3700},
                                                             {1200, 3300, 3800, 1700},
                                                             {500, 5000, 3800, 700},
                                                             {4500, 3500, 1500, 500}}};
inline constexpr int severe_share = 3261;  // Derived: nursing subsidy 3196 of 9800 holders, district plan S0.
// Pairs inside category 7. Assumed.
inline constexpr std::array<std::string_view, 6> multi_pairs = {"4;6", "4;5", "2;3", "1;4", "5;6", "1;2"};
inline constexpr std::array<int, 6> multi_pair_share = {2000, 2200, 2200, 1200, 1400, 1000};
// Ages 0-6, 7-17, 18-44, 45-59, 60-74, 75+. Assumed (no source found).
inline constexpr std::array<int, 6> age_band = {100, 250, 1750, 2900, 3200, 1800};
inline constexpr std::array<int, 7> age_band_from = {0, 7, 18, 45, 60, 75, 93};
inline constexpr int male = 5155;                                    // National sample survey of 2006, disabled population.
inline constexpr int several_disabled = 1243;                        // The same survey: of households with a disabled person.
inline constexpr int lives_alone = 900;                              // Assumed.
inline constexpr int two_elderly = 1400;                             // Assumed.
inline constexpr int agricultural = 8000;                            // Assumed for S0.
inline constexpr int low_income = 1760;                              // Derived: living subsidy 1725 of 9800 holders, S0.
inline constexpr int no_certificate = 100;                           // Assumed.
inline constexpr int certificate_expired = 300;                      // Assumed.
inline constexpr int hukou_elsewhere = 800;                          // Assumed.
inline constexpr int family_doctor = 7500;                           // Assumed.
inline constexpr int medical_insured = 9600;                         // S0, value of 2020.
inline constexpr int pension_insured = 9600;                         // S0, value of 2020.
inline constexpr int has_phone = 9300;                               // Assumed.
inline constexpr int shared_phone = 2200;                            // Assumed.
inline constexpr std::array<int, 3> self_care = {5500, 3000, 1500};  // CL-35 1..3. Assumed.
inline constexpr int bedridden = 350;                                // Assumed.
inline constexpr int namesakes = 300;                                // Assumed: share of a village that shares its name.
inline constexpr int full_width_per_1000 = 5;                        // Assumed: entries typed with full-width digits.

// Assumed; a two-character surname, a name with a middle dot and a rare character are there on purpose.
inline constexpr std::array<std::string_view, 12> surnames = {"赵", "钱", "孙", "李", "周",   "吴",
                                                              "郑", "王", "冯", "陈", "欧阳", "买买提·"};
inline constexpr std::array<std::string_view, 10> given = {"桂兰", "秀英", "建国", "小军", "玉珍", "志强", "春花", "德福", "䶮", "招娣"};

// ---- visits --------------------------------------------------------------------------------------------------------
inline constexpr std::array<int, 3> visits_a_year = {12, 4, 1};        // Tier A, B, C. B: one community's rule; A, C assumed.
inline constexpr std::array<int, 3> compliance = {8600, 9000, 9500};   // Assumed.
inline constexpr std::array<int, 5> mode = {8600, 900, 300, 150, 50};  // CL-14 1..5. Assumed.
// CL-15 01..12, on an attempt at home. Assumed.
inline constexpr std::array<int, 12> result = {7400, 1200, 700, 100, 350, 100, 30, 30, 20, 5, 15, 50};
// Assumed: lognormal with median 18 and 90th percentile 45 minutes, here as its 20 middle quantiles.
inline constexpr std::array<int, 20> visit_minutes = {4, 6, 8, 9, 10, 11, 12, 14, 15, 17, 19, 21, 23, 26, 29, 33, 38, 44, 53, 73};
inline constexpr std::array<int, 7> weekday = {1700, 1800, 1700, 1700, 1600, 1000, 500};  // Monday to Sunday. Assumed.
inline constexpr int problem_per_visit = 800;                                             // Assumed.

// ---- rehabilitation at home ----------------------------------------------------------------------------------------
inline constexpr int home_rehab = 1531;     // Derived: roster of 1500 of 9800 holders, S0.
inline constexpr int sessions_a_year = 12;  // A provincial service standard: limb training at least once a month.
// CL-20. Assumed mix.
inline constexpr std::array<std::string_view, 10> technique = {"01", "03", "02", "04", "06", "07", "09", "11", "12", "13"};
inline constexpr std::array<int, 10> technique_share = {3400, 1400, 800, 700, 600, 500, 600, 900, 500, 600};
inline constexpr std::array<int, 10> session_minutes = {30, 30, 30, 35, 40, 40, 45, 45, 50, 60};  // 30 minimum, median 40 (assumed).
inline constexpr int attempt_failed = 800;                                                        // Assumed.
inline constexpr int adverse_event = 20;                                                          // Assumed.

}  // namespace doorstep::demo_figures
