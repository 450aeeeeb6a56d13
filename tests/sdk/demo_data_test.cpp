#include "sdk/records/demo_data.hpp"

#include <set>

#include "sdk/records/csv.hpp"
#include "sdk/records/demo_figures.hpp"
#include "sdk/records/numbers.hpp"
#include "sdk/records/text.hpp"
#include "tests/sdk/records_fixture.hpp"

namespace doorstep {
namespace {

using test::Draft;
using test::listed;
using test::today;

DemoOptions options(std::uint32_t seed = 1, std::size_t persons = 105) { return {seed, today, persons, 6}; }

/// Writes and validates; only warnings are allowed.
void expect_valid(std::string_view kind, const std::string& json, Date day = today) {
  Draft draft(kind, day);
  const auto problems = draft.write(json);
  EXPECT_FALSE(blocks(problems)) << listed(problems) << json;
}

TEST(DemoData, EverythingItMakesIsValid) {
  for (const std::uint32_t seed : {1u, 2u, 77u}) {
    const DemoVillage village(options(seed));
    ASSERT_EQ(village.size(), 105u);
    for (std::size_t i = 0; i < village.size(); ++i) expect_valid("person", village.person_json(i));
    EXPECT_GT(village.history().size(), 150u);
    const RecordId person = *RecordId::parse("00112233445566778899aabbccddeeff");
    for (const auto& fact : village.history()) expect_valid(fact.kind, fact.json_with(person));
    for (const auto& fact : village.ordinary_day(today)) expect_valid(fact.kind, fact.json_with(person));
  }
}

TEST(DemoData, TheSameSeedMakesTheSameVillage) {
  const DemoVillage a(options()), b(options()), other(options(2));
  EXPECT_EQ(a.persons_csv(), b.persons_csv());
  EXPECT_NE(a.persons_csv(), other.persons_csv());
  ASSERT_EQ(a.history().size(), b.history().size());
  for (std::size_t i = 0; i < a.history().size(); ++i) EXPECT_EQ(a.history()[i].json, b.history()[i].json);
  // The same on every machine and with every compiler: FNV-1a over all of it. Changes only when the generator is changed.
  std::uint64_t hash = 14695981039346656037u;
  const auto mix = [&](const std::string& text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  };
  mix(a.persons_csv());
  for (const auto& fact : a.history()) mix(fact.json);
  for (const auto& fact : a.ordinary_day(today)) mix(fact.json);
  EXPECT_EQ(hash, 2439148627764106166u) << "0x" << std::hex << hash;
}

TEST(DemoData, NobodyInItCanExist) {
  const DemoVillage village(options());
  std::set<std::string> ids;
  const auto& kind = *Schema::builtin().kind("person");
  for (std::size_t i = 0; i < village.size(); ++i) {
    Draft draft("person");
    draft.write(village.person_json(i));
    const auto id = std::get<std::string>(draft.values.at({kind.field("id_number")->id, "", 0}));
    EXPECT_TRUE(ids.insert(id).second) << "two people with one number";
    EXPECT_TRUE(id.starts_with("990604"));
    EXPECT_EQ(check_citizen_id(id, today, false), IdFault::area);
    for (const auto& [address, value] : draft.values)
      if (address.field == kind.field("phones")->id && address.subfield == 1) {
        const auto& number = std::get<std::string>(value);
        ASSERT_EQ(number.size(), 11u);
        EXPECT_EQ(number.substr(2, 5), "00000");
        EXPECT_TRUE(is_phone(number));
      }
  }
}

TEST(DemoData, FiguresAreNearTheGivenShares) {
  namespace figures = demo_figures;
  const DemoVillage village(options(1, 1000));
  const auto& kind = *Schema::builtin().kind("person");
  std::map<std::string, int> count;
  for (std::size_t i = 0; i < village.size(); ++i) {
    Draft draft("person");
    draft.write(village.person_json(i));
    const auto code = [&](const char* name) {
      const auto at = draft.values.find({kind.field(name)->id, "", 0});
      return at == draft.values.end() ? std::string() : std::get<CodeText>(at->second).text;
    };
    const auto is_set = [&](const char* name, const char* element) { return draft.values.count({kind.field(name)->id, element, 0}) != 0; };
    ++count["category " + code("disability_category")];
    count["severe"] += code("disability_level") == "1" || code("disability_level") == "2";
    count["male"] += code("sex") == "1";
    ++count["care " + code("self_care")];
    count["low income"] += is_set("low_income_status", "1");
    count["alone"] += is_set("living_situation", "1");
    count["phone"] += code("no_phone_reason").empty();
    count["doctor"] += std::get<bool>(draft.values.at({kind.field("family_doctor")->id, "", 1}));
    count["agricultural"] += code("hukou_type") == "1";
  }
  const auto near = [&](const std::string& what, int in_10000, int tolerance) {
    EXPECT_NEAR(count[what] * 10, in_10000, tolerance) << what;
  };
  near("category 4", figures::category[3], 150);
  near("category 6", figures::category[5], 150);
  near("severe", figures::severe_share, 150);
  near("male", figures::male, 20);
  near("care 2", figures::self_care[1], 20);
  near("low income", figures::low_income, 20);
  near("alone", figures::lives_alone, 60);
  near("phone", figures::has_phone, 20);
  near("doctor", figures::family_doctor, 20);
  near("agricultural", figures::agricultural, 20);
}

TEST(DemoData, VisitsFollowTheTiersAndOneCarriesWhatADayDoes) {
  const DemoVillage village(options());
  std::map<char, int> persons, visits;
  for (std::size_t i = 0; i < village.size(); ++i) ++persons[village.tier(i)];
  int sessions = 0;
  Date last{0};
  for (const auto& fact : village.history()) {
    EXPECT_LE(last, fact.day);
    EXPECT_LT(fact.day, today);
    last = fact.day;
    if (fact.kind == "home_visit") ++visits[village.tier(fact.person)];
    sessions += fact.kind == "rehab_session";
  }
  EXPECT_GT(persons['A'], 3);
  EXPECT_NEAR(visits['A'], persons['A'] * 6 * 0.86, persons['A'] * 1.5);
  EXPECT_NEAR(visits['B'], persons['B'] * 2 * 0.90, persons['B'] * 0.7);
  EXPECT_NEAR(sessions, 16 * 6, 16);
  const auto day = village.ordinary_day(today);
  ASSERT_EQ(day.size(), 7u);
  EXPECT_NE(day[0].json.find(R"("visit_result": "03")"), std::string::npos);
  EXPECT_EQ(day[5].kind, "rehab_session");
  EXPECT_EQ(day[6].person, day[5].person) << "both were there, and neither record waits for the other";
}

TEST(DemoData, TheCsvIsWhatTheImportReads) {
  const DemoVillage village(options());
  std::vector<std::string> read;
  const auto status =
      read_csv_records(*Schema::builtin().kind("person"), village.persons_csv(), [&](std::size_t, const std::string& json) -> Status {
        read.push_back(json);
        return {};
      });
  ASSERT_TRUE(status.ok()) << status.error().message();
  ASSERT_EQ(read.size(), village.size());
  for (std::size_t i = 0; i < read.size(); ++i) EXPECT_EQ(read[i], village.person_json(i));
}

TEST(DemoData, SecretsAreInTheRecordsAndNamesAreNamesakesSometimes) {
  const DemoVillage village(options());
  const auto secrets = village.secrets();
  EXPECT_GT(secrets.size(), 250u);
  std::set<std::string> names;
  for (std::size_t i = 0; i < village.size(); ++i) names.insert(village.name(i));
  EXPECT_LT(names.size(), village.size());
  EXPECT_GE(names.size(), village.size() - 4);
  for (const auto& secret : secrets) EXPECT_GE(secret.size(), 6u) << "too short to search for: " << secret;
}

TEST(DemoData, SmallAndLargeVillages) {
  for (const std::size_t persons : {1u, 2u, 8u, 340u}) {
    const DemoVillage village(options(3, persons));
    EXPECT_EQ(village.size(), persons);
    for (std::size_t i = 0; i < village.size(); ++i) expect_valid("person", village.person_json(i));
    EXPECT_FALSE(village.ordinary_day(today).empty());
  }
}

}  // namespace
}  // namespace doorstep
