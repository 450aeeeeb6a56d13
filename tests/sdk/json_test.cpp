#include "sdk/records/json.hpp"

#include "sdk/records/json_value.hpp"
#include "tests/sdk/records_fixture.hpp"

namespace doorstep {
namespace {

using test::builtin_kind;
using test::CountingRandom;

class RecordJson : public ::testing::Test {
 protected:
  Status write(const std::string& json) {
    auto assignments = assignments_from_json(kind_, json, random_, &values_);
    if (!assignments.ok()) return assignments.error();
    for (auto& [address, value] : *assignments) values_[address] = value;
    return {};
  }
  std::string refused(const std::string& json) {
    const auto status = write(json);
    return status.ok() ? std::string() : status.error().message();
  }
  std::string shown() const { return json_from_shown(kind_, values_); }

  const Kind& kind_ = builtin_kind("person");
  CountingRandom random_;
  ShownValues values_;
};

TEST_F(RecordJson, EveryTypeGoesThereAndBack) {
  ASSERT_TRUE(write(R"({"name": "陈桂兰", "birth_date": "1965-11-07", "sex": "2", "bedridden": false, "onset_year": 1970,
    "household_id": "00112233445566778899aabbccddeeff", "family_doctor": {"signed": true, "team": "一组"}})")
                  .ok());
  EXPECT_EQ(
      shown(),
      R"({"name": "陈桂兰", "sex": "2", "birth_date": "1965-11-07", "bedridden": false, "family_doctor": {"signed": true, "team": "一组"}, )"
      R"("onset_year": 1970, "household_id": "00112233445566778899aabbccddeeff"})");
  const auto before = values_;
  values_.clear();
  ASSERT_TRUE(write(json_from_shown(kind_, before)).ok());
  EXPECT_EQ(values_, before);
}

TEST_F(RecordJson, SetsAddAndRemoveOnlyWhatWasSeen) {
  ASSERT_TRUE(write(R"({"comm_needs": ["1", "2"], "tags": ["孤儿"], "low_income_status": [{"code": "1", "from": "2024-01-01"}]})").ok());
  ASSERT_TRUE(write(R"({"comm_needs": ["3"], "tags": ["孤儿", "留守"]})").ok());
  EXPECT_EQ(shown(),
            R"({"comm_needs": ["1", "2", "3"], "low_income_status": [{"code": "1", "from": "2024-01-01"}], "tags": ["孤儿", "留守"]})");
  ASSERT_TRUE(write(R"({"comm_needs": {"remove": ["1"], "add": ["9"]}, "tags": {"remove": ["孤儿"]}})").ok());
  EXPECT_EQ(shown(), R"({"comm_needs": ["2", "3", "9"], "low_income_status": [{"code": "1", "from": "2024-01-01"}], "tags": ["留守"]})");
  EXPECT_NE(refused(R"({"comm_needs": {"remove": ["5"]}})").find("no such element"), std::string::npos);
  ASSERT_TRUE(write(R"({"comm_needs": null, "tags": null, "low_income_status": null})").ok());
  EXPECT_EQ(shown(), "{}");
}

TEST_F(RecordJson, StructuresInASetAreEditedByTheirKey) {
  ASSERT_TRUE(write(R"({"phones": [{"number": "139-0000-1111"}, {"number": "13800002222", "owner": "儿子"}]})").ok());
  const auto& phones = *kind_.field("phones");
  std::vector<std::string> keys;
  for (const auto& [address, value] : values_)
    if (address.subfield == 0) keys.push_back(to_hex(view(address.element)));
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0].size(), 16u);
  const auto edits = assignments_from_json(kind_, R"({"phones": [{"_key": ")" + keys[0] + R"(", "works": false}]})", random_, &values_);
  ASSERT_TRUE(edits.ok());
  // The inner edit writes the presence again, so that a concurrent removal does not win over it.
  ASSERT_EQ(edits->size(), 2u);
  EXPECT_EQ((*edits)[0].address, (Address{phones.id, (*edits)[1].address.element, 0}));
  EXPECT_EQ((*edits)[0].value, Value(true));
  ASSERT_TRUE(write(R"({"phones": {"remove": [")" + keys[1] + R"("]}})").ok());
  ASSERT_TRUE(write(R"({"phones": [{"_key": ")" + keys[0] + R"(", "works": false}]})").ok());
  EXPECT_EQ(shown(), R"({"phones": [{"_key": ")" + keys[0] + R"(", "number": "13900001111", "works": false}]})");
}

TEST_F(RecordJson, NullClears) {
  ASSERT_TRUE(write(R"({"cause": "车祸", "family_doctor": {"signed": true, "team": "一组"}})").ok());
  ASSERT_TRUE(write(R"({"cause": null, "family_doctor": {"team": null}})").ok());
  EXPECT_EQ(shown(), R"({"family_doctor": {"signed": true}})");
  ASSERT_TRUE(write(R"({"family_doctor": null})").ok());
  EXPECT_EQ(shown(), "{}");
}

TEST_F(RecordJson, SaysWhichFieldWhatAndWhyButNeverTheValue) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"([1])", "object of fields"},
      {R"({"nmae": "x"})", "nmae: kind person has no such field"},
      {R"({"sex": 2})", "sex: expected code, got a number; a code is written in quotes"},
      {R"({"sex": "7"})", "sex: is not a code of CL-05"},
      {R"({"birth_date": "1965-02-30"})", "birth_date: is not a day of the calendar"},
      {R"({"birth_date": 1965})", "birth_date: expected date, got a number"},
      {R"({"bedridden": "true"})", "bedridden: expected bool, got a text"},
      {R"({"onset_year": 1.5})", "onset_year: expected int"},
      {R"({"household_id": "12"})", "household_id: is not a record id"},
      {R"({"phones": {"number": "1"}})", "phones: write an array, or"},
      {R"({"phones": "1"})", "phones: is a set"},
      {R"({"phones": ["13900001111"]})", "phones[0]: expected an object"},
      {R"({"phones": [{"nummer": "1"}]})", "phones[0].nummer: no such subfield"},
      {R"({"phones": [{"_key": "zz", "number": "1"}]})", "phones[0]: \"_key\""},
      {R"({"phones": [{"_key": "0011223344556677", "works": true}, {"_key": "0011223344556677", "works": true}]})", "written twice"},
      {R"({"comm_needs": ["1", "1"]})", "comm_needs[1]: this code stands twice"},
      {R"({"family_doctor": true})", "family_doctor: expected an object of subfields"},
      {R"({"name": "a\u0000b"})", "name: contains a NUL"},
  };
  for (const auto& [json, part] : cases) EXPECT_NE(refused(json).find(part), std::string::npos) << json << "\n -> " << refused(json);
  EXPECT_EQ(refused(R"({"sex": "秘密"})").find("秘密"), std::string::npos);
}

TEST(JsonValues, DecimalsKeepTheirDigits) {
  Slot slot;
  slot.name = "score";
  slot.type = Type::decimal;
  const std::vector<std::pair<std::string, Decimal>> good = {
      {"7.30", {730, 2}}, {"7.3", {73, 1}}, {"-0.05", {-5, 2}}, {"12", {12, 0}}, {"0.000000001", {1, 9}}};
  for (const auto& [text, decimal] : good) {
    const auto value = value_from_text(slot, text);
    ASSERT_TRUE(value.ok()) << text;
    EXPECT_EQ(*value, Value(decimal)) << text;
    EXPECT_EQ(json_from_value(*value), text);
  }
  for (const char* bad : {"", "-", ".", ".5", "5.", "1e3", "1.2.3", "0.0000000001", "99999999999999999999"})
    EXPECT_FALSE(value_from_text(slot, bad).ok()) << bad;
  // Through JSON a number keeps what was typed, too: no double in between.
  const auto& session = builtin_kind("rehab_session");
  CountingRandom random;
  const auto written = assignments_from_json(session, R"({"measures": [{"scale": "MBI", "score": 7.30}]})", random);
  ASSERT_TRUE(written.ok()) << written.error().message();
  EXPECT_EQ(written->back().value, Value(Decimal{730, 2}));
}

TEST(JsonValues, DaysAndTimes) {
  EXPECT_EQ(date_text(Date{0}), "1970-01-01");
  for (int days = -60'000; days < 80'000; days += 7) EXPECT_EQ(date_from_text(date_text(Date{days})), Date{days});
  EXPECT_TRUE(date_from_text("2024-02-29").has_value());
  for (const char* bad : {"2023-02-29", "2026-13-01", "2026-00-10", "2026-3-14", "2026-03-14 ", "", "26-03-14"})
    EXPECT_FALSE(date_from_text(bad).has_value()) << bad;
  const auto time = timestamp_from_text("2026-03-14T09:30:00+08:00");
  ASSERT_TRUE(time.has_value());
  EXPECT_EQ(timestamp_from_text("2026-03-14T01:30:00Z"), time);
  EXPECT_EQ(timestamp_text(*time), "2026-03-14T09:30:00+08:00");
  EXPECT_EQ(timestamp_text(Timestamp{time->ms + 7}), "2026-03-14T09:30:00.007+08:00");
  EXPECT_EQ(date_text(day_of(*timestamp_from_text("2026-03-14T16:00:00Z"))), "2026-03-15") << "a Shanghai day";
  EXPECT_EQ(day_of(Timestamp{-1}), Date{0});
  EXPECT_EQ(age_on(date_of({2008, 2, 29}), date_of({2026, 2, 28})), 17);
  EXPECT_EQ(age_on(date_of({2008, 2, 29}), date_of({2026, 3, 1})), 18);
  for (const auto ms : {INT64_MIN, INT64_MAX}) EXPECT_FALSE(timestamp_text(Timestamp{ms}).empty());
}

TEST(JsonValues, TextAsPeopleTypeIt) {
  const auto& person = builtin_kind("person");
  EXPECT_EQ(*value_from_text(*person.field("sex"), " 女 "), Value(CodeText{"2"}));
  EXPECT_EQ(*value_from_text(*person.field("sex"), "２"), Value(CodeText{"2"}));
  EXPECT_EQ(*value_from_text(*person.field("sex"), "female"), Value(CodeText{"2"}));
  EXPECT_EQ(*value_from_text(*person.field("bedridden"), "否"), Value(false));
  for (const char* day : {"1965-11-07", "1965/11/7", "1965.11.07", "19651107"})
    EXPECT_EQ(*value_from_text(*person.field("birth_date"), day), Value(date_of({1965, 11, 7}))) << day;
  EXPECT_FALSE(value_from_text(*person.field("birth_date"), "1965年").ok());
}

TEST(JsonText, ReadsOnlyWholeValuesWithinItsBounds) {
  const auto code = [](std::string_view text, JsonLimits bounds = {}) { return parse_json(text, bounds).code(); };
  EXPECT_EQ(code("[1, 2.50, \"a\", null, {\"b\": true}]"), Code::ok);
  EXPECT_EQ(parse_json("2.50", {})->text, "2.50");
  for (const char* bad : {"", " ", "[1,]", "{\"a\":1,}", "[1] 2", "nul", "\"\xff\"", "{\"a\":1,\"a\":2}", "1e999", "'a'", "[", "}"})
    EXPECT_EQ(code(bad), Code::invalid_argument) << bad;
  EXPECT_EQ(code("[[[1]]]", {1000, 2, 100, 100}), Code::too_large);
  EXPECT_EQ(code("[1,2,3,4]", {1000, 5, 3, 100}), Code::too_large);
  EXPECT_EQ(code("{\"a\":1,\"b\":1,\"c\":1}", {1000, 5, 100, 2}), Code::too_large);
  EXPECT_EQ(code(std::string(1'000'000, '['), {2'000'000, 24, 100, 100}), Code::too_large);
  std::string out;
  append_json_text(out, "a\"\\\n\x01陈");
  EXPECT_EQ(out, "\"a\\\"\\\\\\n\\u0001陈\"");
  EXPECT_EQ(parse_json(out, {})->text, "a\"\\\n\x01陈");
}

}  // namespace
}  // namespace doorstep
