#include "sdk/records/schema.hpp"

#include <gtest/gtest.h>

#include <optional>

namespace doorstep {
namespace {

std::string app(const std::string& fields, const std::string& more = {}, int version = 1) {
  return R"({"doorstep_schema": 1, "id": "app", "version": )" + std::to_string(version) +
         R"(, "code_lists": [{"id": "levels", "source": "test", "codes": [["1", "低", "low"], ["2", "中", "middle"], ["3", "高", "high"]]}],
         "kinds": [{"id": 1000, "name": "thing", "sensitivity": "s1", )" +
         more + R"("fields": [)" + fields + "]}]}";
}

std::string failure(const std::string& json) {
  const auto parsed = Schema::parse(json, &Schema::builtin());
  return parsed.ok() ? std::string() : parsed.error().message();
}

TEST(Schema, TheBuiltInDocumentParsesAndWritesItselfAgain) {
  const auto parsed = Schema::parse(builtin_document());
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  const auto again = Schema::parse(parsed->to_json());
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again->to_json(), parsed->to_json());
  EXPECT_TRUE(again->compatible_with(*parsed).ok());
}

TEST(Schema, FindsKindsAndFieldsBothWays) {
  const auto& schema = Schema::builtin();
  ASSERT_EQ(schema.kinds().size(), 3u);
  for (const auto* kind : schema.kinds()) {
    EXPECT_EQ(schema.kind(kind->id), kind);
    EXPECT_EQ(schema.kind(kind->name), kind);
    for (const auto& field : kind->fields) {
      EXPECT_EQ(kind->field(field.id), &field);
      EXPECT_EQ(kind->field(field.name), &field);
      EXPECT_EQ(gate_of(field.id), gate_for(field.policy)) << field.name;
      EXPECT_EQ(kind->field(field.id ^ 1u), nullptr) << "another gate is another field";
    }
  }
  EXPECT_EQ(schema.kind("person")->id, 1u);
  EXPECT_EQ(schema.kind("home_visit")->id, 5u);
  EXPECT_EQ(schema.kind("rehab_session")->id, 9u);
  EXPECT_EQ(schema.kind(2), nullptr);
  EXPECT_EQ(schema.kind("person")->field("nmae"), nullptr);
}

TEST(Schema, PoliciesOfDomainK01) {
  const auto& person = *Schema::builtin().kind("person");
  const auto policy = [&](const char* name) { return person.field(name)->policy; };
  EXPECT_EQ(policy("name"), Policy::review);
  EXPECT_EQ(policy("cert_number"), Policy::owner);
  EXPECT_EQ(policy("self_care"), Policy::cautious);
  EXPECT_EQ(policy("marital_status"), Policy::latest);
  EXPECT_EQ(policy("phones"), Policy::set);
  EXPECT_EQ(policy("guardian"), Policy::review);
  EXPECT_TRUE(person.field("guardian")->is_set);
  EXPECT_EQ(policy("org_code"), Policy::once);
  EXPECT_EQ(person.field("smd_registered"), nullptr) << "it lives in the clinical space";
  for (const char* kind : {"home_visit", "rehab_session"}) {
    EXPECT_EQ(Schema::builtin().kind(kind)->field("status")->policy, Policy::furthest);
    EXPECT_EQ(Schema::builtin().kind(kind)->field("duration_min")->policy, Policy::once);
  }
}

TEST(Schema, TheSaferValueRanksHigher) {
  const auto& person = *Schema::builtin().kind("person");
  const auto* care = person.field("self_care");
  EXPECT_GT(care->rank(CodeText{"3"}), care->rank(CodeText{"2"}));
  EXPECT_GT(care->rank(CodeText{"2"}), care->rank(CodeText{"1"}));
  EXPECT_EQ(care->rank(CodeText{"9"}), -1) << "a newer peer's code";
  EXPECT_GT(person.field("bedridden")->rank(true), person.field("bedridden")->rank(false));
  const auto* life = person.field("life_status");
  EXPECT_GT(life->rank(CodeText{"1"}), life->rank(CodeText{"2"})) << "alive until accepted";
  EXPECT_GT(person.field("visit_tier")->subfield("tier")->rank(CodeText{"A"}),
            person.field("visit_tier")->subfield("tier")->rank(CodeText{"C"}));
  const auto* status = Schema::builtin().kind("home_visit")->field("status");
  EXPECT_LT(status->rank(CodeText{"draft"}), status->rank(CodeText{"signed"}));
  EXPECT_LT(status->rank(CodeText{"signed"}), status->rank(CodeText{"voided"}));
  EXPECT_EQ(status->rank(CodeText{"corrected"}), status->rank(CodeText{"voided"})) << "incompatible ends";
}

TEST(Schema, RightsOfDomain13) {
  const auto& schema = Schema::builtin();
  EXPECT_EQ(schema.rights(Role::member, 1), rights::write | rights::propose);
  EXPECT_EQ(schema.rights(Role::chair, 1), 0);
  EXPECT_EQ(schema.rights(Role::rehab_worker, 1), rights::propose);
  EXPECT_EQ(schema.rights(Role::town_clerk, 1), rights::write | rights::propose | rights::resolve | rights::approve);
  EXPECT_EQ(schema.rights(Role::member, 5), rights::write);
  EXPECT_EQ(schema.rights(Role::town_clerk, 5), rights::resolve | rights::approve);
  EXPECT_EQ(schema.rights(Role::rehab_worker, 9), rights::write);
  EXPECT_EQ(schema.rights(Role::auditor, 9), 0);
  EXPECT_EQ(schema.rights(Role::member, 77), 0);
  for (std::size_t i = 0; i < role_count; ++i) EXPECT_EQ(role_from_name(role_name(static_cast<Role>(i))), static_cast<Role>(i));
  EXPECT_EQ(role_from_name("sysadmin"), std::nullopt);
}

TEST(Schema, EverythingHasItsLabelsAndClass) {
  for (const auto* kind : Schema::builtin().kinds())
    for (const auto& field : kind->fields) {
      EXPECT_NE(field.label.zh, field.name) << field.name << " needs a Chinese label";
      for (const auto& sub : field.subfields) EXPECT_NE(sub.label.zh, sub.name) << field.name << "." << sub.name;
    }
  for (const auto* list : Schema::builtin().code_lists()) {
    EXPECT_FALSE(list->source.empty()) << list->id;
    for (const auto& entry : list->codes) {
      EXPECT_FALSE(entry.label.zh.empty()) << list->id;
      EXPECT_FALSE(entry.label.en.empty()) << list->id;
      EXPECT_EQ(list->find(entry.code), &entry);
    }
  }
  EXPECT_EQ(Schema::builtin().code_list("CL-10")->codes.size(), 58u);
  EXPECT_EQ(Schema::builtin().code_list("CL-10")->find("33")->label.zh, "羌族");
}

TEST(Schema, AnAppRegistersAKindInAFewLines) {
  const auto own = Schema::parse(
      app(R"({"number": 1, "name": "title", "type": "text"}, {"number": 2, "name": "level", "type": "code", "codes": "levels"},
                                        {"number": 3, "name": "sex", "type": "code", "codes": "CL-05"})"),
      &Schema::builtin());
  ASSERT_TRUE(own.ok()) << own.error().message();
  EXPECT_EQ(own->kind("thing")->field("title")->policy, Policy::latest);
  EXPECT_EQ(own->rights(Role::member, 1000), rights::write | rights::propose);
  const auto both = Schema::combine(Schema::builtin(), *own);
  ASSERT_TRUE(both.ok()) << both.error().message();
  EXPECT_NE(both->kind("person"), nullptr);
  ASSERT_NE(both->kind(1000), nullptr);
  EXPECT_EQ(both->kind("thing")->field("sex")->codes->find("1")->label.zh, "男");
  EXPECT_TRUE(Schema::parse(both->to_json()).ok());
}

TEST(Schema, ACombinedSchemaOutlivesItsParts) {
  std::optional<Schema> both;
  {
    const auto own = Schema::parse(app(R"({"number": 1, "name": "sex", "type": "code", "codes": "CL-05"})"), &Schema::builtin());
    const auto base = Schema::parse(builtin_document());
    both = *Schema::combine(*base, *own);
  }
  EXPECT_NE(both->kind("thing")->field("sex")->codes->find("2"), nullptr);
  EXPECT_NE(both->kind("person")->field("sex")->codes->find("2"), nullptr);
}

TEST(Schema, NamesThePlaceOfAMistake) {
  const std::string title = R"({"number": 1, "name": "title", "type": "text"})";
  const auto says = [](const std::string& message, const std::string& part) { return message.find(part) != std::string::npos; };
  EXPECT_EQ(failure(app(title)), "");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{", "not valid at byte"},
      {"[]", "expected an object"},
      {R"({"doorstep_schema": 2})", "update the app"},
      {app(R"({"number": 1, "name": "title", "type": "text", "polcy": "latest"})"), "unknown member \"polcy\""},
      {app(R"({"number": 1, "name": "title", "type": "text", "policy": "newest"})"),
       "kinds[0].fields[0].policy: \"newest\" is none of latest"},
      {app(R"({"number": 1, "name": "Title", "type": "text"})"), "is not a name"},
      {app(R"({"number": 0, "name": "title", "type": "text"})"), "kinds[0].fields[0].number: 0 is not a whole number"},
      {app(R"({"number": 1.5, "name": "title", "type": "text"})"), "is not a whole number"},
      {app(title + "," + title), "field number 1 stands twice"},
      {app(R"({"number": 1, "name": "x", "type": "code", "codes": "none"})"), "no such code list"},
      {app(R"({"number": 1, "name": "x", "type": "code"})"), "\"codes\" belongs to type code"},
      {app(R"({"number": 1, "name": "x", "type": "code", "codes": "levels", "policy": "cautious"})"), "needs an \"order\""},
      {app(R"({"number": 1, "name": "x", "type": "code", "codes": "levels", "policy": "cautious", "order": ["1", "2"]})"),
       "must name every value"},
      {app(R"({"number": 1, "name": "x", "type": "code", "codes": "levels", "policy": "cautious", "order": ["1", "2", "9"]})"), "order[2]"},
      {app(R"({"number": 1, "name": "x", "type": "text", "policy": "furthest"})"), "policy furthest needs"},
      {app(R"({"number": 1, "name": "x", "type": "text", "policy": "set"})"), "needs \"set\": true"},
      {app(R"({"number": 1, "name": "x", "type": "structure"})"), "needs subfields"},
      {app(R"({"number": 1, "name": "x", "type": "int", "min": 5, "max": 1})"), "above"},
      {app(R"({"number": 1, "name": "x", "type": "text", "length": [1, 100000]})"), "length[1]"},
      {app(title, R"("retired": [1], )"), "is retired"},
      {app(title, R"("status": "title", )"), "workflow field"},
      {app(title, R"("rights": {"boss": ["write"]}, )"), "not a role"},
      {app(title, R"("rights": {"member": ["read"]}, )"), "none of write, propose"},
      {app(title, R"("checks": ["telepathy"], )"), "no such check"},
      {app(title, R"("rules": [{"id": "r", "field": "title", "require": {"field": "nope", "present": true}, "sentence": ["一", "a"]}], )"),
       "no field \"nope\""},
      {app(title, R"("rules": [{"id": "r", "field": "title", "require": {}, "sentence": ["一", "a"]}], )"), "write one of all, any, not"},
      {R"({"doorstep_schema": 1, "id": "a", "version": 1, "kinds": [{"id": 1000, "name": "t", "fields": []}]})", "states its sensitivity"},
      {R"({"id": 1, "id": 2})", "stands twice"},
  };
  for (const auto& [json, part] : cases) EXPECT_TRUE(says(failure(json), part)) << json << "\n -> " << failure(json);
}

TEST(Schema, BoundsWhatItReads) {
  EXPECT_EQ(Schema::parse(std::string(2u << 20, ' ')).code(), Code::too_large);
  EXPECT_EQ(Schema::parse(std::string(100, '[') + std::string(100, ']')).code(), Code::too_large);
  std::string fields;
  for (int i = 1; i <= 300; ++i)
    fields += (i > 1 ? "," : "") + std::string(R"({"number": )") + std::to_string(i) + R"(, "name": "f)" + std::to_string(i) +
              R"(", "type": "text"})";
  EXPECT_EQ(Schema::parse(app(fields), nullptr).code(), Code::too_large);
  std::string deep = R"({"field": "f", "present": true})";
  for (int i = 0; i < 8; ++i) deep = R"({"not": )" + deep + "}";
  const auto rule = R"("rules": [{"id": "r", "field": "f", "require": )" + deep + R"(, "sentence": ["一", "a"]}], )";
  EXPECT_EQ(Schema::parse(app(R"({"number": 1, "name": "f", "type": "text"})", rule), nullptr).code(), Code::too_large);
  std::string members = "{";
  for (int i = 0; i < 3000; ++i) members += (i ? "," : "") + std::string("\"m") + std::to_string(i) + "\":1";
  EXPECT_EQ(Schema::parse(members + "}").code(), Code::too_large);
}

TEST(Schema, ANewerVersionCannotChangeWhatOldDataIs) {
  const auto parse = [](const std::string& json) { return *Schema::parse(json, &Schema::builtin()); };
  const std::string title = R"({"number": 1, "name": "title", "type": "text", "policy": "latest"})";
  const std::string level = R"({"number": 2, "name": "level", "type": "code", "codes": "levels"})";
  const auto old = parse(app(title + "," + level));
  const auto refused = [&](const std::string& json) {
    const auto status = parse(json).compatible_with(old);
    return status.ok() ? std::string() : status.error().message();
  };
  EXPECT_EQ(refused(app(title + "," + level)), "") << "the same document again";
  EXPECT_EQ(refused(app(title + "," + level + R"(, {"number": 3, "name": "more", "type": "int"})", "", 2)), "");
  EXPECT_EQ(refused(app(level, R"("retired": [1], )", 2)), "");
  EXPECT_NE(refused(app(title, "", 1)), "") << "changed without a higher version";
  EXPECT_NE(refused(app(level, "", 2)).find("\"retired\""), std::string::npos);
  EXPECT_NE(refused(app(R"({"number": 1, "name": "title", "type": "text", "policy": "review"},)" + level, "", 2)).find("another gate"),
            std::string::npos);
  EXPECT_EQ(refused(app(R"({"number": 1, "name": "headline", "type": "text", "policy": "latest"},)" + level, "", 2)), "")
      << "a name may change";
  EXPECT_NE(refused(app(R"({"number": 1, "name": "title", "type": "int"},)" + level, "", 2)).find("type"), std::string::npos);
  EXPECT_NE(refused(app(R"({"number": 1, "name": "title", "type": "text", "set": true},)" + level, "", 2)).find("single value"),
            std::string::npos);
  auto fewer = app(title + "," + level, "", 2);
  fewer.replace(fewer.find(R"(, ["3", "高", "high"])"), std::string(R"(, ["3", "高", "high"])").size(), "");
  EXPECT_NE(refused(fewer).find("lost code 3"), std::string::npos);
}

TEST(Schema, CombineProtectsWhatIsThere) {
  const auto same_name =
      Schema::parse(R"({"doorstep_schema": 1, "id": "a", "version": 9, "kinds": [{"id": 1000, "name": "person", "sensitivity": "s1",
    "fields": [{"number": 1, "name": "x", "type": "text"}]}]})");
  EXPECT_EQ(Schema::combine(Schema::builtin(), *same_name).code(), Code::invalid_argument);
  auto newer = builtin_document();
  newer.replace(newer.find("\"version\": 1"), 12, "\"version\": 2");
  const auto township = Schema::parse(newer);
  ASSERT_TRUE(township.ok());
  const auto combined = Schema::combine(Schema::builtin(), *township);
  ASSERT_TRUE(combined.ok()) << combined.error().message();
  EXPECT_EQ(combined->version(), 2u);
  EXPECT_EQ(Schema::combine(*combined, Schema::builtin()).code(), Code::invalid_argument) << "versions only rise";
}

}  // namespace
}  // namespace doorstep
