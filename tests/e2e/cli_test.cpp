// The tool on one store, command by command: what it prints, what it refuses, and with which exit code.
#include <gmock/gmock.h>
#include <array>
#include <ctime>

#include "tests/e2e/village.hpp"

namespace doorstep::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST_F(CliTest, HelpNamesEveryCommandAndTheExitCodes) {
  const Finished help = run({"doorstep", "--lang", "en", "--help"});
  EXPECT_EQ(help.code, ok);
  for (const char* command : {"init", "authority", "space",  "invite", "join",       "admit",     "applicants", "schema",
                              "put",  "draft",     "import", "get",    "list",       "history",   "conflicts",  "resolve",
                              "sync", "pending",   "digest", "verify", "quarantine", "demo-data", "passphrase", "rebuild"})
    EXPECT_THAT(help.out, HasSubstr(std::string("\n  ") + command)) << command;
  EXPECT_THAT(help.out, HasSubstr("Exit codes:"));
  EXPECT_THAT(run({"doorstep", "--lang", "zh", "--help"}).out, HasSubstr("退出码"));
  EXPECT_THAT(run({"doorstep", "--help"}, {}, {{"LANG", "zh_CN.UTF-8"}}).out, HasSubstr("退出码"));
  EXPECT_EQ(run({"doorstep", "--version"}).code, ok);
}

TEST_F(CliTest, WrongUseIsTwoAndASentence) {
  const Device device = make_device("a");
  EXPECT_THAT(device.error({"lits"}, usage)["message"], HasSubstr("there is no command \"lits\""));
  device.error({"put", "person"}, usage);
  device.error({"get", "00"}, usage);
  device.error({"sync", "--timeout", "never"}, usage);
  device.error({"history"}, usage);
  const Finished nothing = run({"doorstep", "--lang", "en", "digest"});
  EXPECT_EQ(nothing.code, usage);
  EXPECT_THAT(nothing.err, HasSubstr("--store"));
  EXPECT_EQ(run({"doorstep", "--lang", "fr", "digest"}).code, usage);
}

TEST_F(CliTest, PassphraseWrongChangedForgotten) {
  const Device device = make_device("a");
  const std::string other = file("other", "anders\n");
  const Device wrong(device.folder(), other);
  EXPECT_EQ(wrong.error({"space", "list"}, wrong_key)["code"], "wrong_key");
  EXPECT_EQ(device.error({"init"}, conflict)["code"], "already_exists");
  device.error({"--passphrase-file", folder_ / "nowhere", "space", "list"}, not_found);
  device.error({"--passphrase-file", file("empty", "\n"), "space", "list"}, usage);
  Device(folder_ / "nothing", folder_ / "passphrase").error({"space", "list"}, not_found);

  device.text({"passphrase", "--new-passphrase-file", other});
  device.error({"space", "list"}, wrong_key);
  wrong.text({"space", "list"});
  // In Chinese the meaning comes first.
  EXPECT_THAT(run({"doorstep", "--lang", "zh", "--store", device.folder(), "--passphrase-file", folder_ / "passphrase", "digest"}).err,
              HasSubstr("错误：口令不对"));
}

TEST_F(CliTest, PassphraseIsNotAskedWithoutATerminal) {
  const Device device = make_device("a");
  // A session of its own has no terminal, whoever runs the tests.
  const Finished done =
      run({"/usr/bin/setsid", "-w", (bin_dir() / "doorstep").string(), "--lang", "en", "--store", device.folder(), "space", "list"});
  EXPECT_EQ(done.code, usage);
  EXPECT_THAT(done.err, HasSubstr("--passphrase-file"));
}

TEST_F(CliTest, RecordsAreWrittenFoundEditedAndTheirHistoryKept) {
  const Device desk = make_desk();
  const std::string chen = desk.text({"put", "person", "--json", person_json("陈桂兰")});
  const std::string wang = desk.text({"put", "person", "--json", person_json("王小明", R"("note":["怕狗"])")});
  ASSERT_EQ(chen.size(), 32u);

  EXPECT_EQ(desk.text({"list", "person", "--count"}), "2");
  EXPECT_EQ(desk.text({"list", "person", "--text", "陈", "--ids"}), chen);
  EXPECT_EQ(desk.text({"list", "person", "--where", "name=王小明", "--ids"}), wang);
  EXPECT_EQ(desk.text({"list", "person", "--where", "self_care>=2", "--count"}), "0");
  EXPECT_EQ(desk.text({"list", "person", "--where", "birth_date<1961-01-01", "--order", "name", "--desc", "--limit", "1", "--ids"}).size(),
            32u);
  EXPECT_EQ(desk.text({"list", "person", "--where", "comm_needs~2", "--count"}), "2");
  EXPECT_THAT(desk.text({"list", "person", "--columns", "name,self_care"}), HasSubstr("1 independent"));

  desk.text({"put", "person", "--id", chen.substr(0, 8), "--json", R"({"self_care":"2"})", "--note", "上门看过"});
  EXPECT_EQ(desk.text({"get", chen, "--field", "self_care"}), "2");
  const auto shown = desk.values({"get", chen.substr(0, 12)});
  ASSERT_EQ(shown.size(), 1u);
  EXPECT_EQ(shown[0]["id"], chen);
  EXPECT_EQ(shown[0]["kind"], "person");
  EXPECT_EQ(shown[0]["name"], "陈桂兰");

  const auto history = desk.values({"history", chen, "self_care"});
  ASSERT_EQ(history.size(), 2u);
  for (const char* member : {"record", "field", "element", "subfield", "value", "device", "note", "time", "author", "dot", "supersedes",
                             "superseded_by", "pending"})
    EXPECT_TRUE(history[0].contains(member)) << member;
  EXPECT_EQ(history[0]["value"], "1");
  EXPECT_EQ(history[1]["value"], "2");
  EXPECT_EQ(history[1]["note"], "上门看过");
  EXPECT_EQ(history[1]["author"], "吴");
  EXPECT_EQ(history[0]["superseded_by"][0], history[1]["dot"]);
  EXPECT_GT(desk.values({"history", "--all"}).size(), 40u);

  desk.text({"resolve", chen, "self_care", "--value", "完全不能自理", "--note", "医院来电"});
  EXPECT_EQ(desk.text({"get", chen, "--field", "self_care"}), "3");
  desk.error({"resolve", chen, "self_care"}, usage);
  desk.error({"resolve", chen, "self_care", "--value", "9"}, invalid_record);
}

TEST_F(CliTest, WhatIsRefusedNamesTheFieldAndWritesNothing) {
  const Device desk = make_desk();
  const std::string before = desk.text({"digest"});
  EXPECT_THAT(desk.error({"put", "person", "--json", R"({"name":"x1"})"}, invalid_record)["message"], HasSubstr("name"));
  EXPECT_THAT(desk.error({"put", "person", "--json", R"({"nme":"陈"})"}, invalid_record)["message"], HasSubstr("nme"));
  // An error may be logged: it never repeats what somebody typed into a field.
  EXPECT_THAT(desk.error({"put", "person", "--json", person_json("陈桂兰0000")}, invalid_record)["message"].get<std::string>(),
              Not(HasSubstr("陈桂兰0000")));
  desk.error({"put", "person", "--json", R"({"name":)"}, usage);
  desk.error({"put", "person", "--json", "[]"}, usage);
  desk.error({"put", "persn", "--json", "{}"}, not_found);
  desk.error({"put", "person", "--json", "{}", "--id", std::string(32, '0')}, not_found);
  desk.error({"get", "000000"}, not_found);
  desk.error({"list", "person", "--where", "nobody=1"}, not_found);
  desk.error({"list", "person", "--where", "self_care"}, usage);
  desk.error({"list", "person", "--space", "下湾村"}, not_found);
  // The desk may correct and decide, but visits are written by those who go.
  desk.error({"put", "home_visit", "--json",
              R"({"person_id":"00000000000000000000000000000001","observed_on":"2026-11-01","org_code":"990604101201","status":"draft",)"
              R"("entry_mode":"2","consent_ref":"duty"})"},
             no_right);
  EXPECT_EQ(desk.text({"digest"}), before);
  EXPECT_EQ(desk.text({"list", "person", "--count"}), "0");
}

TEST_F(CliTest, PutReadsManyFromStandardInputAndPrintsEachIdWhenItIsDurable) {
  const Device desk = make_desk();
  Process writer(desk.command({"put", "person", "--json", "-"}));
  for (int i = 0; i < 3; ++i) {
    // Objects may share a line or break over several.
    ASSERT_TRUE(writer.write(i == 1 ? person_json("甲乙") + " \n\n" : person_json("甲丙") + (i == 0 ? "" : "\n")));
    const auto id = writer.line();
    ASSERT_TRUE(id.has_value());
    EXPECT_EQ(id->size(), 32u);
  }
  ASSERT_TRUE(writer.write(R"({"name": )"));
  const Finished done = writer.finish();
  EXPECT_EQ(done.code, usage);
  EXPECT_THAT(done.err, HasSubstr("does not end"));
  EXPECT_EQ(desk.text({"list", "person", "--count"}), "3");
}

TEST_F(CliTest, TwoProcessesOnOneStore) {
  const Device desk = make_desk();
  Process writer(desk.command({"put", "person", "--json", "-"}));
  ASSERT_TRUE(writer.write(person_json("甲乙")));
  ASSERT_TRUE(writer.line().has_value());
  const json error = desk.error({"list", "person"}, busy);
  EXPECT_EQ(error["code"], "busy");
  EXPECT_EQ(error["retryable"], true);
  ASSERT_TRUE(writer.write(person_json("甲丙")));
  ASSERT_TRUE(writer.line().has_value());
  EXPECT_EQ(writer.finish().code, ok);
  EXPECT_EQ(desk.text({"list", "person", "--count"}), "2");
}

TEST_F(CliTest, ImportIsAllOrNothingAndNamesTheRow) {
  const Device desk = make_desk();
  const std::string csv = folder_ / "persons.csv";
  desk.text({"demo-data", "--persons", "20", "--today", "2026-11-23", "--out", csv, "--secrets", folder_ / "secrets"});
  EXPECT_GT(lines(read_file(folder_ / "secrets")).size(), 40u);
  const std::string good = read_file(csv);
  const auto rows = lines(good);
  ASSERT_EQ(rows.size(), 21u);

  std::string broken;
  for (std::size_t i = 0; i < rows.size(); ++i) broken += (i == 7 ? "1" : "") + rows[i] + "\n";  // a digit before a name
  const std::string bad = file("bad.csv", broken);
  EXPECT_THAT(desk.error({"import", bad}, invalid_record)["message"], HasSubstr("row 8"));
  EXPECT_EQ(desk.text({"list", "person", "--count"}), "0");
  EXPECT_EQ(desk.run({"import", bad, "--keep-going"}).code, invalid_record);
  EXPECT_EQ(desk.text({"list", "person", "--count"}), "19");
  desk.error({"import", folder_ / "nothing.csv"}, not_found);
  desk.error({"import", file("odd.csv", "姓名,星座\n甲乙,狮子\n")}, invalid_record);

  const Device again = Device(folder_ / "again", folder_ / "passphrase");
  again.text({"init"});
  again.text({"space", "found", "--name", "村"});
  EXPECT_EQ(again.values({"import", csv})[0]["imported"], 20);
  EXPECT_EQ(again.text({"pending", "--json"}), again.text({"-j", "pending"}));
}

TEST_F(CliTest, DemoDataGoesIntoAStoreWhoseRoleMayWriteIt) {
  const Device desk = make_desk({"--role", "member"});
  // Today, as records of other days would be late entries without a reason.
  const std::time_t now = std::time(nullptr);
  std::array<char, 16> today{};
  std::strftime(today.data(), today.size(), "%Y-%m-%d", std::localtime(&now));
  const std::vector<std::string> village = {"demo-data", "--persons", "12", "--months", "2", "--today", today.data()};
  const auto with = [&](const std::string& part) {
    auto out = village;
    out.insert(out.end(), {"--write", part});
    return out;
  };
  desk.error(with("history"), conflict);  // no persons yet
  const auto written = desk.values(with("persons,history,day"));
  ASSERT_EQ(written.size(), 3u);
  EXPECT_EQ(written[0]["written"], 12);
  EXPECT_GT(written[1]["written"], 2);
  EXPECT_GT(written[2]["written"], 2);
  desk.text({"verify"});
}

TEST_F(CliTest, DraftsStayOnTheDevice) {
  const Device desk = make_desk();
  const std::string before = desk.text({"digest"});
  const std::string id = desk.text({"draft", "save", "home_visit", "--json", R"({"visit_mode":"1"})"});
  desk.text({"draft", "save", "home_visit", "--id", id, "--json", R"({"visit_mode":"2"})"});
  const auto drafts = desk.values({"draft", "list", "home_visit", "--full"});
  ASSERT_EQ(drafts.size(), 1u);
  EXPECT_EQ(drafts[0]["draft"], id);
  EXPECT_EQ(drafts[0]["content"]["visit_mode"], "2");
  EXPECT_THAT(desk.text({"draft", "list"}), Not(HasSubstr("visit_mode")));
  EXPECT_EQ(desk.text({"digest"}), before);
  EXPECT_EQ(desk.values({"pending"})[0]["transactions"], 0);
  desk.text({"draft", "discard", id});
  EXPECT_EQ(desk.text({"draft", "list"}), "");
  desk.error({"draft", "list", "nothing"}, not_found);
}

TEST_F(CliTest, SchemaIsShownAndChecked) {
  EXPECT_THAT(run({"doorstep", "--lang", "zh", "schema", "show"}).out, HasSubstr("走访探视记录"));
  const auto fields = lines(run({"doorstep", "--json", "schema", "show", "home_visit"}).out);
  EXPECT_GT(fields.size(), 30u);
  for (const auto& line : fields) EXPECT_TRUE(json::parse(line).contains("policy"));
  EXPECT_THAT(run({"doorstep", "--lang", "en", "schema", "show", "CL-35"}).out, HasSubstr("independent"));
  EXPECT_EQ(lines(run({"doorstep", "--json", "schema", "show"}).out).size(), 1u);
  const std::string own = R"({"doorstep_schema":1,"id":"town","version":1,"kinds":[{"id":1000,"name":"meal","label":["送餐","meal"],)"
                          R"("sensitivity":"s1","rights":{"member":["write"]},"fields":[{"number":1,"name":"brought_on",)"
                          R"("label":["日期","date"],"type":"date","policy":"once","required":true}]}]})";
  const Finished good = run({"doorstep", "schema", "check", file("own.json", own)});
  EXPECT_EQ(good.code, ok) << good.err;
  EXPECT_EQ(run({"doorstep", "schema", "check", file("wrong.json", "{}")}).code, failed);
  EXPECT_EQ(run({"doorstep", "schema", "check", folder_ / "nothing.json"}).code, not_found);
  EXPECT_EQ(run({"doorstep", "schema", "show", "nothing"}).code, not_found);
}

TEST_F(CliTest, SpacesAreChosenByNameOrPrefix) {
  const Device desk = make_desk();
  const std::string second = desk.text({"space", "found", "--name", "下湾村", "--kind", "village"});
  desk.error({"list", "person"}, usage);
  EXPECT_EQ(desk.text({"list", "person", "--count", "--space", "下湾村"}), "0");
  const std::string id = desk.text({"put", "person", "--json", person_json("甲乙"), "--space", second.substr(0, 10)});
  // A record is found in whichever space it is.
  EXPECT_EQ(desk.text({"get", id, "--field", "name"}), "甲乙");
  EXPECT_EQ(lines(desk.text({"digest"})).size(), 2u);
  const auto spaces = desk.values({"space", "list"});
  ASSERT_EQ(spaces.size(), 2u);
  for (const auto& space : spaces) EXPECT_EQ(space["sequencer"], true);
  const auto members = desk.values({"space", "members", "--space", "下湾村"});
  ASSERT_EQ(members.size(), 1u);
  EXPECT_EQ(members[0]["role"], "town_clerk");
  desk.error({"space", "found", "--name", "x", "--relay", "nowhere"}, usage);
}

TEST_F(CliTest, WhatSaysNothingAboutPeoplePrintsNoPersonalData) {
  const Device desk = make_desk();
  const std::string csv = folder_ / "persons.csv";
  desk.text({"demo-data", "--persons", "20", "--today", "2026-11-23", "--out", csv, "--secrets", folder_ / "secrets"});
  const auto secrets = lines(read_file(folder_ / "secrets"));
  const std::vector<std::vector<std::string>> commands = {{"import", csv}, {"space", "list"}, {"pending"},   {"digest"},
                                                          {"verify"},      {"quarantine"},    {"conflicts"}, {"draft", "list"}};
  for (const auto& command : commands) {
    const Finished done = desk.run(command);
    for (const auto& secret : secrets) ASSERT_THAT(done.out + done.err, Not(HasSubstr(secret))) << command.front();
  }
}

TEST_F(CliTest, EveryPrintedLineIsOneJsonValue) {
  const Device desk = make_desk();
  const std::string id = desk.text({"put", "person", "--json", person_json("甲乙", R"("note":["引号\" 和\n换行"])")});
  const std::vector<std::vector<std::string>> commands = {
      {"authority"},  {"space", "list"}, {"space", "members"}, {"invite"},
      {"applicants"}, {"get", id},       {"list", "person"},   {"history", id},
      {"conflicts"},  {"pending"},       {"digest"},           {"verify"},
      {"quarantine"}, {"draft", "list"}, {"schema", "show"},   {"schema", "show", "person"}};
  for (const auto& command : commands) desk.values(command);
  EXPECT_THAT(desk.values({"get", id})[0]["note"].dump(), HasSubstr("换行"));
}

TEST_F(CliTest, AClockYearsOffRefusesNothing) {
  const Device desk = make_desk();
  const std::string years = std::to_string(20LL * 365 * 24 * 3600 * 1000);
  const std::string future = desk.text({"put", "person", "--json", person_json("甲乙")}, {}, {{"DOORSTEP_CLOCK_OFFSET_MS", years}});
  const std::string past = desk.text({"put", "person", "--json", person_json("甲丙")}, {}, {{"DOORSTEP_CLOCK_OFFSET_MS", "-" + years}});
  desk.text({"put", "person", "--id", future, "--json", R"({"self_care":"2"})"}, {}, {{"DOORSTEP_CLOCK_OFFSET_MS", "-" + years}});
  EXPECT_EQ(desk.text({"get", future, "--field", "self_care"}), "2");  // what was seen is superseded, whatever the clocks say
  EXPECT_EQ(desk.values({"history", future, "self_care"}).size(), 2u);
  EXPECT_EQ(desk.text({"list", "person", "--count"}), "2");
  desk.text({"verify"});
}

TEST_F(CliTest, ADamagedStoreIsNamedAndLeftAsItIs) {
  const Device desk = make_desk();
  desk.text({"put", "person", "--json", person_json("甲乙")});
  std::string bytes = read_file(std::filesystem::path(desk.folder()) / "vault");
  ASSERT_GT(bytes.size(), 100u);
  bytes[80] = static_cast<char>(bytes[80] ^ 1);
  write_file(std::filesystem::path(desk.folder()) / "vault", bytes);
  EXPECT_EQ(desk.error({"list", "person"}, corrupt)["code"], "corrupt");
  EXPECT_EQ(read_file(std::filesystem::path(desk.folder()) / "vault"), bytes);
}

TEST_F(CliTest, AnUnreachableRelayIsASentenceAndNothingIsLost) {
  const Device desk = make_desk({"--relay", "127.0.0.1:1#" + std::string(64, 'a')});
  desk.text({"put", "person", "--json", person_json("甲乙")});
  const json error = desk.error({"sync", "--quiet", "--timeout", "5"}, unreachable);
  EXPECT_EQ(error["retryable"], true);
  EXPECT_EQ(desk.values({"pending"})[0]["transactions"], 1);
  EXPECT_EQ(desk.run({"pending", "--check"}).code, failed);
  const Device lonely = make_device("lonely");
  lonely.error({"sync"}, not_found);
}

}  // namespace
}  // namespace doorstep::e2e
