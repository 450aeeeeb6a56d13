#include "sdk/records/validation.hpp"

#include "sdk/records/numbers.hpp"
#include "tests/sdk/records_fixture.hpp"

namespace doorstep {
namespace {

using test::builtin_kind;
using test::Draft;
using test::has;
using test::listed;
using test::met;
using test::person_json;
using test::session_done;
using test::session_json;
using test::today;
using test::visit_json;

// ---- DOMAIN 3.4, 3.3: the worked examples ------------------------------------------------------------------------

TEST(Numbers, CitizenIdsAsWorkedInTheDomain) {
  EXPECT_EQ(citizen_id_check_character("99010119800101001"), '4');
  EXPECT_EQ(citizen_id_check_character("99010219651107009"), 'X');
  for (const char* id : {"990101198001010014", "99010219651107009X"}) {
    EXPECT_EQ(check_citizen_id(id, today, true), IdFault::none) << id;
    EXPECT_EQ(check_citizen_id(id, today, false), IdFault::area) << "99 belongs to nobody outside tests";
  }
  for (const char* id : {"11010519491231002X", "440524188001010014"})  // printed with the standard; the second was born in 1880
    EXPECT_EQ(check_citizen_id(id, date_of({1999, 1, 1}), false), IdFault::none) << id;
  EXPECT_EQ(check_citizen_id("440524188001010014", today, false), IdFault::date) << "older than 120";
  EXPECT_TRUE(citizen_id_is_male("990101198001010014"));
  EXPECT_EQ(citizen_id_birth("99010219651107009X"), date_of({1965, 11, 7}));
}

TEST(Numbers, EveryChangedDigitOfACitizenIdIsNoticed) {
  const std::string id = "99010219651107009X";
  for (std::size_t at = 0; at < 17; ++at)
    for (char digit = '0'; digit <= '9'; ++digit) {
      auto wrong = id;
      wrong[at] = digit;
      EXPECT_EQ(check_citizen_id(wrong, today, true) == IdFault::none, wrong == id) << wrong;
    }
  for (const char* bad : {"", "99010219651107009", "99010219651107009XX"}) EXPECT_EQ(check_citizen_id(bad, today, true), IdFault::length);
  EXPECT_EQ(check_citizen_id("9901021965110700X9", today, true), IdFault::characters);
  EXPECT_EQ(check_citizen_id("99010219651107009x", today, true), IdFault::characters) << "the stored form is upper-case";
  EXPECT_EQ(check_citizen_id("990102196513070091", today, true), IdFault::date);
  EXPECT_EQ(check_citizen_id("990102202702280016", today, true), IdFault::date) << "not born yet";
  EXPECT_EQ(check_citizen_id("990102202702280016", date_of({2000, 1, 1}), true), IdFault::checksum)
      << "a clock that was never set judges no future";
  EXPECT_EQ(check_citizen_id("000102196511070091", today, true), IdFault::area);
}

TEST(Numbers, CertificatesAsWorkedInTheDomain) {
  for (const char* good : {"99010119800101001442", "99010219651107009X63", "99010219651107009X63B1"})
    EXPECT_TRUE(is_certificate_shape(good)) << good;
  for (const char* bad : {"", "99010119800101001482", "99010119800101001445", "99010119800101001402", "99010219651107009X63B",
                          "99010219651107009X63B0", "99010219651107009X63C1", "99010219651107009x63"})
    EXPECT_FALSE(is_certificate_shape(bad)) << bad;
}

// ---- K01 -----------------------------------------------------------------------------------------------------------

TEST(PersonValidation, ACompleteDossierPasses) {
  Draft draft("person");
  const auto problems = draft.write(person_json());
  EXPECT_TRUE(problems.empty()) << listed(problems);
}

TEST(PersonValidation, CreatingAsksForWhatTheDomainRequires) {
  Draft draft("person");
  const auto problems = draft.write(R"({"name": "陈桂兰"})");
  for (const char* field :
       {"sex", "birth_date", "id_number", "phones", "comm_needs", "self_care", "bedridden", "family_doctor", "life_status", "consent_ref"})
    EXPECT_TRUE(has(problems, "required", field)) << field;
  EXPECT_FALSE(has(problems, "required", "cert_status")) << "only with a certificate";
  EXPECT_TRUE(blocks(problems));
  const auto error = to_error(draft.kind(), problems);
  EXPECT_EQ(error.code(), Code::invalid_record);
  EXPECT_NE(error.message().find("必填"), std::string::npos);
  EXPECT_EQ(error.message().find("陈桂兰"), std::string::npos) << "a message may be logged";
}

TEST(PersonValidation, AnUpdateIsOnlyAskedForWhatItChanges) {
  Draft draft("person");
  draft.write(R"({"name": "陈桂兰"})");
  EXPECT_TRUE(draft.write(R"({"marital_status": "20"})").empty());
  EXPECT_TRUE(has(draft.write(R"({"name": null})"), "required", "name"));
  EXPECT_TRUE(draft.write(R"({"id_absent_reason": "2"})").empty()) << "which also releases id_number";
}

TEST(PersonValidation, IdBirthAndSexBelongTogether) {
  Draft draft("person");
  draft.write(person_json());
  EXPECT_TRUE(has(draft.write(R"({"birth_date": "1965-11-08"})"), "id_birth"));
  const auto flagged = draft.write(R"({"birth_date": "1965-11-07", "sex": "1"})");
  EXPECT_TRUE(has(flagged, "id_sex"));
  EXPECT_FALSE(blocks(flagged)) << "or be flagged: DOMAIN K01";
  draft.context.allow_test_ids = false;
  EXPECT_TRUE(has(draft.write(R"({"id_number": "990102196511070022"})"), "id_area"));
  EXPECT_TRUE(has(draft.write(R"({"id_number": "990102196511070023"})"), "id_area"));
  draft.context.allow_test_ids = true;
  EXPECT_TRUE(has(draft.write(R"({"id_number": "990102196511070023"})"), "id_checksum", "id_number"));
}

TEST(PersonValidation, FullWidthAndLowerCaseAreRepaired) {
  Draft draft("person");
  auto json = person_json(R"("cert_number": "９９０１０２１９６５１１０７００９ｘ６３", "cert_status": "1")");
  const auto problems = draft.write(json);
  EXPECT_FALSE(has(problems, "certificate_shape")) << listed(problems);
  const auto* field = draft.kind().field("cert_number");
  EXPECT_EQ(std::get<std::string>(draft.values.at({field->id, "", 0})), "99010219651107009X63");
}

TEST(PersonValidation, CertificateC1ToC5) {
  Draft draft("person");
  draft.write(person_json());
  EXPECT_TRUE(draft.write(R"({"cert_number": "99010219651107002243", "cert_status": "1"})").empty());
  EXPECT_TRUE(has(draft.write(R"({"cert_number": "9901021965110700224"})"), "certificate_shape"));
  auto problems = draft.write(R"({"cert_number": "99010219651107002143"})");
  EXPECT_TRUE(has(problems, "certificate_id")) << listed(problems);
  EXPECT_TRUE(blocks(problems));
  problems = draft.write(R"({"cert_override_reason": "纸质证件如此"})");
  EXPECT_TRUE(has(problems, "certificate_id"));
  EXPECT_FALSE(blocks(problems)) << "C2: the paper says so";
  problems = draft.write(R"({"cert_number": "99010219651107009X63"})");
  EXPECT_TRUE(has(problems, "certificate_other_id"));
  EXPECT_TRUE(has(problems, "certificate_digits"));
  EXPECT_FALSE(blocks(problems)) << "C3, C4: kept, the desk reviews";
  EXPECT_TRUE(has(draft.write(R"({"disability_category": "7", "multi_categories": ["4"]})"), "multi_two"));
  EXPECT_TRUE(has(draft.write(R"({"multi_categories": ["7"]})"), "multi_single"));
  EXPECT_FALSE(has(draft.write(R"({"multi_categories": {"add": ["5"], "remove": ["7"]}})"), "multi_two"));
}

TEST(PersonValidation, GuardiansTierAAndAges) {
  Draft draft("person");
  auto problems = draft.write(person_json(R"("id_absent_reason": "3", "note": ["n"])"));
  EXPECT_TRUE(problems.empty()) << listed(problems);
  problems = draft.write(R"({"disability_category": "5"})");
  EXPECT_TRUE(has(problems, "required", "guardian"));
  problems = draft.write(R"({"guardian": [{"name": "陈建国", "relation": "2", "phone": "139 0000 2222"}]})");
  EXPECT_TRUE(problems.empty()) << listed(problems);
  EXPECT_TRUE(has(draft.write(R"({"guardian": [{"relation": "2"}]})"), "required", "guardian.name"));
  problems = draft.write(R"({"disability_level": "1", "living_situation": ["1"]})");
  EXPECT_TRUE(has(problems, "required", "emergency_contact")) << listed(problems);
  EXPECT_TRUE(has(draft.write(R"({"life_status": "2"})"), "required", "life_status_on"));
  EXPECT_TRUE(has(draft.write(R"({"autism_flag": true})"), "autism_category"));
  EXPECT_TRUE(has(draft.write(R"({"birth_date": "1899-12-31"})"), "birth_date_range"));
  EXPECT_TRUE(has(draft.write(R"({"onset_year": 2027})"), "onset_year_future"));
  EXPECT_TRUE(has(draft.write(R"({"low_income_status": ["1"]})"), "no_assistance_alone"));
  EXPECT_TRUE(has(draft.write(R"({"insurance": [{"type": "2", "year": 2026}, {"type": "2", "year": 2026}]})"), "insurance_twice"));
}

TEST(PersonValidation, ChildrenAndAdultsAreAskedDifferently) {
  Draft child("person");
  auto json = person_json(R"("id_absent_reason": "3")");
  json.replace(json.find("1965-11-07"), 10, "2018-05-01");
  json.replace(json.find(R"("id_number": "990102196511070022",)"), 34, "");
  json.replace(json.find(R"("employment_status": "0",)"), 25, "");
  const auto problems = child.write(json);
  EXPECT_TRUE(has(problems, "required", "school_status"));
  EXPECT_TRUE(has(problems, "required", "guardian"));
  EXPECT_FALSE(has(problems, "required", "employment_status"));
  EXPECT_FALSE(has(problems, "required", "id_number"));
}

TEST(PersonValidation, FormOfValues) {
  Draft draft("person");
  draft.write(person_json());
  EXPECT_TRUE(has(draft.write(R"({"name": "陈2"})"), "person_name"));
  EXPECT_TRUE(has(draft.write(R"({"name": "陈"})"), "length"));
  EXPECT_TRUE(has(draft.write(R"({"phones": [{"number": "12900001111"}]})"), "phone", "phones.number"));
  EXPECT_TRUE(has(draft.write(R"({"onset_year": 1800})"), "range"));
  EXPECT_TRUE(has(draft.write(R"({"residence_org_code": "99060410120"})"), "org_code"));
  std::string long_note = "\"";
  for (int i = 0; i < 501; ++i) long_note += "字";
  EXPECT_TRUE(has(draft.write(R"({"note": [)" + long_note + R"("]})"), "length"));
}

TEST(PersonValidation, WritesPastTheConversionAreCheckedToo) {
  const auto& kind = builtin_kind("person");
  const auto id = [&](const char* name) { return kind.field(name)->id; };
  ValidationContext context;
  context.today = today;
  const auto write = [&](Address address, Value value) { return validate(kind, {{address, value}}, {address}, context); };
  EXPECT_TRUE(has(write({4 * 900, "", 0}, std::int64_t{1}), "unknown_field"));
  EXPECT_TRUE(has(write({id("name"), "", 0}, std::int64_t{1}), "type"));
  EXPECT_TRUE(has(write({id("name"), "", 0}, std::string("e\u0301e\u0301")), "not_normalized"));
  EXPECT_TRUE(has(write({id("name"), "", 0}, std::string("\xff\xff")), "encoding"));
  EXPECT_TRUE(has(write({id("name"), "k", 0}, std::string("陈桂兰")), "shape"));
  EXPECT_TRUE(has(write({id("sex"), "", 0}, CodeText{"7"}), "unknown_code"));
  EXPECT_TRUE(has(write({id("comm_needs"), "77", 0}, true), "unknown_code"));
  EXPECT_TRUE(has(write({id("comm_needs"), "1", 0}, false), "type"));
  EXPECT_TRUE(has(write({id("phones"), "short", 0}, true), "element_key"));
  EXPECT_TRUE(has(write({id("phones"), "12345678", 1}, std::string("13900001111")), "shape")) << "without register 0 nobody would see it";
  EXPECT_TRUE(has(write({id("id_number"), "", 0}, std::string("99010219651107002 2")), "not_normalized"));
  EXPECT_TRUE(has(write({id("birth_date"), "", 0}, Date{2'000'000'000}), "date"));
}

// ---- K05 -----------------------------------------------------------------------------------------------------------

TEST(VisitValidation, ADraftIsOnlyAskedForItsForm) {
  Draft draft("home_visit");
  EXPECT_TRUE(draft.write(R"({"status": "draft", "visit_result": "01"})").empty());
  EXPECT_TRUE(has(draft.write(R"({"duration_min": 481})"), "range", "duration_min"));
  const auto signing = draft.write(R"({"status": "signed", "duration_min": 20})");
  for (const char* field :
       {"person_id", "observed_on", "visit_mode", "visit_reason", "met_persons", "general_state", "confirmed_by", "problems_found"})
    EXPECT_TRUE(has(signing, "required", field)) << field;
  EXPECT_TRUE(has(signing, "result_seen"));
  Draft without("home_visit");
  EXPECT_TRUE(has(without.write(R"({"visit_mode": "1"})"), "required", "status"));
}

TEST(VisitValidation, ASignedVisitPasses) {
  Draft draft("home_visit");
  const auto problems = draft.write(visit_json("signed", met));
  EXPECT_TRUE(problems.empty()) << listed(problems);
}

TEST(VisitValidation, WhoWasMetFitsTheResult) {
  const auto problems_of = [](const std::string& more) { return Draft("home_visit").write(visit_json("signed", more)); };
  std::string other = met;
  other.replace(other.find("[\"1\"]"), 5, "[\"3\"]");
  EXPECT_TRUE(has(problems_of(other), "result_seen"));
  auto not_seen = other;
  not_seen.replace(not_seen.find("\"01\""), 4, "\"02\"");
  EXPECT_TRUE(problems_of(not_seen).empty()) << listed(problems_of(not_seen));
  std::string seen_as_02 = met;
  seen_as_02.replace(seen_as_02.find("\"01\""), 4, "\"02\"");
  EXPECT_TRUE(has(problems_of(seen_as_02), "result_not_seen"));
  EXPECT_TRUE(has(problems_of(R"("visit_result": "03")"), "next_attempt"));
  EXPECT_TRUE(problems_of(R"("visit_result": "03", "next_attempt_on": "2026-03-20")").empty());
  EXPECT_TRUE(has(problems_of(R"("visit_result": "03", "next_attempt_on": "2026-03-20", "met_persons": ["4"])"), "result_not_met"));
  const auto died = problems_of(R"("visit_result": "09")");
  EXPECT_TRUE(has(died, "moved_or_died"));
  EXPECT_FALSE(blocks(died));
}

TEST(VisitValidation, DangerAsksForAReport) {
  const auto problems_of = [](const std::string& more) { return Draft("home_visit").write(visit_json("signed", more)); };
  std::string critical = met;
  critical.replace(critical.find("\"general_state\": \"1\""), 20, "\"general_state\": \"4\"");
  EXPECT_TRUE(has(problems_of(critical), "critical_problem"));
  EXPECT_TRUE(has(problems_of(std::string(met) + R"(, "medication_supply": "3")"), "medicine_problem"));
  EXPECT_TRUE(has(problems_of(std::string(met) + R"(, "carer_state": "4")"), "carer_problem"));
  EXPECT_TRUE(has(problems_of(std::string(met) + R"(, "bedsore_or_injury": {"state": "2"})"), "bedsore_site"));
  EXPECT_TRUE(has(problems_of(std::string(met) + R"(, "problems_found": ["00112233445566778899aabbccddeeff"])"), "no_problems_alone"));
  std::string both = met;
  both.replace(both.find("[\"0\"]"), 5, "[\"0\", \"1\"]");
  EXPECT_TRUE(has(problems_of(both), "no_danger_alone"));
  std::string nobody = met;
  nobody.replace(nobody.find("{\"method\": \"1\"}"), 15, "{\"method\": \"5\"}");
  EXPECT_TRUE(has(problems_of(nobody), "unconfirmed_reason"));
}

TEST(VisitValidation, DatesAgainstTheClock) {
  const auto on = [](const std::string& day, Date clock, const std::string& more = {}) {
    auto json = visit_json("signed", met + more);
    json.replace(json.find("2026-03-13"), 10, day);
    return Draft("home_visit", clock).write(json);
  };
  EXPECT_TRUE(on("2026-03-15", today).empty()) << "tomorrow is allowed";
  EXPECT_TRUE(has(on("2026-03-16", today), "observed_future"));
  EXPECT_TRUE(on("2026-02-12", today).empty());
  EXPECT_TRUE(has(on("2026-02-11", today), "late_reason"));
  EXPECT_TRUE(on("2026-02-11", today, R"(, "late_reason": "住院后补记")").empty());
  EXPECT_TRUE(on("2026-03-16", date_of({2006, 1, 1})).empty()) << "a clock that was never set refuses nothing";
  auto behalf = visit_json("signed", met);
  behalf.replace(behalf.find("\"entry_mode\": \"2\""), 17, "\"entry_mode\": \"4\"");
  EXPECT_TRUE(has(Draft("home_visit").write(behalf), "required", "on_behalf_of"));
}

// ---- K09 -----------------------------------------------------------------------------------------------------------

TEST(SessionValidation, TechniquesAndProviders) {
  const auto problems_of = [](const std::string& more) { return Draft("rehab_session").write(session_json(session_done + (", " + more))); };
  const std::string checked = R"(, "pre_check": {"skin": "1", "fever": false})";
  auto problems = problems_of(R"("provider_type": "4", "items_done": [{"item": "01"}])");
  EXPECT_TRUE(problems.empty()) << listed(problems);
  problems = problems_of(R"("provider_type": "4", "items_done": [{"item": "02"}])");
  EXPECT_TRUE(has(problems, "licensed_only"));
  EXPECT_TRUE(has(problems, "required", "provider_licence"));
  EXPECT_TRUE(problems_of(R"("provider_type": "2", "provider_licence": "TCM-1234", "items_done": [{"item": "02"}])").empty());
  for (const std::string item : {"03", "04", "06", "09"}) {
    const auto items = R"("provider_type": "3", "items_done": [{"item": ")" + item + R"("}])";
    EXPECT_TRUE(has(problems_of(items), "pre_check_needed")) << item;
    EXPECT_TRUE(problems_of(items + checked).empty()) << listed(problems_of(items + checked));
    EXPECT_TRUE(has(problems_of(items + R"(, "pre_check": {"skin": "2", "fever": false})"), "pre_check_blocks")) << item;
    EXPECT_TRUE(has(problems_of(items + R"(, "pre_check": {"skin": "1", "fever": true})"), "pre_check_blocks")) << item;
  }
  EXPECT_TRUE(has(problems_of(R"("provider_type": "3", "items_done": [{"item": "01"}], "pre_check": {"bp_sys": 80, "bp_dia": 120})"),
                  "blood_pressure"));
  EXPECT_TRUE(
      has(problems_of(R"("provider_type": "3", "items_done": [{"item": "01"}], "pre_check": {"bp_sys": 270, "bp_dia": 90})"), "range"));
  EXPECT_TRUE(has(problems_of(R"("provider_type": "3")"), "required", "items_done"));
}

TEST(SessionValidation, AnAttemptIsNoSession) {
  auto problems = Draft("rehab_session").write(session_json(R"("provider_type": "3", "not_done_reason": "1")"));
  EXPECT_TRUE(problems.empty()) << listed(problems);
  problems = Draft("rehab_session")
                 .write(session_json(std::string(session_done) +
                                     R"(, "provider_type": "3", "not_done_reason": "1", "items_done": [{"item": "01"}])"));
  EXPECT_TRUE(has(problems, "done_or_not"));
}

TEST(SessionValidation, AdverseEventsAreTold) {
  const auto with = [](const std::string& response, const std::string& more) {
    return Draft("rehab_session")
        .write(session_json(R"("duration_min": 20, "subject_confirm": {"method": "5", "reason": "手抖"}, "provider_type": "3",
      "items_done": [{"item": "01"}], "response": ")" +
                            response + "\", " + more));
  };
  EXPECT_TRUE(has(with("1", R"("adverse_event": "burn", "adverse_note": "烫红")"), "adverse_response"));
  EXPECT_TRUE(has(with("2", R"("adverse_event": "burn")"), "adverse_text"));
  EXPECT_TRUE(has(with("3", R"("adverse_event": "none")"), "discomfort_text"));
  const auto short_one = with("2", R"("adverse_event": "none")");
  EXPECT_TRUE(has(short_one, "thirty_minutes"));
  EXPECT_FALSE(blocks(short_one)) << listed(short_one);
}

}  // namespace
}  // namespace doorstep
