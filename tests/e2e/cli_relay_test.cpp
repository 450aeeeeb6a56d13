// The tool with a relay, as people use the two: joining, offline edits, conflicts, and what goes wrong on the way.
#include <gmock/gmock.h>

#include "tests/e2e/village.hpp"

namespace doorstep::e2e {
namespace {

using testing::HasSubstr;

/// What stands in the inbox of one field; a member's entries in the office's own fields (proposals) stand there too.
std::vector<json> conflicts_at(const Device& device, const std::string& field) {
  auto out = device.values({"conflicts", "--values"});
  std::erase_if(out, [&](const json& conflict) { return conflict["field"] != field; });
  return out;
}

TEST_F(CliRelayTest, FromInvitationToOneStateWithTheConflictKept) {
  const std::string invitation = desk_->text({"invite"});
  desk_->text({"sync", "--quiet"});
  const Device phone = make_device("phone");
  phone.error({"join", "doorstep://join/nonsense", "--label", "兰"}, usage);
  phone.text({"join", invitation, "--label", "兰", "--name", "上湾村"});
  EXPECT_NE(phone.values({"space", "list"})[0]["waits_for"], "");
  const std::string early = phone.text({"put", "person", "--json", person_json("陈桂兰")});  // may write at once
  phone.text({"sync", "--quiet"});
  EXPECT_GE(phone.values({"pending"})[0]["transactions"], 1);  // but nothing leaves before admission

  desk_->error({"admit", "ffffff"}, not_found);
  desk_->error({"admit"}, usage);
  desk_->text({"sync", "--quiet"});
  const auto applicants = desk_->values({"applicants"});
  ASSERT_EQ(applicants.size(), 1u);
  EXPECT_EQ(applicants[0]["label"], "兰");
  EXPECT_EQ(applicants[0]["role"], "member");
  desk_->text({"admit", applicants[0]["device"].get<std::string>().substr(0, 8)});
  desk_->text({"sync", "--quiet"});
  phone.text({"sync", "--quiet"});
  desk_->text({"sync", "--quiet"});
  EXPECT_EQ(desk_->text({"list", "person", "--ids"}), early);
  EXPECT_EQ(phone.text({"digest"}), desk_->text({"digest"}));
  EXPECT_EQ(desk_->values({"space", "members"}).size(), 2u);

  // Offline: both change the same fields.
  phone.text({"put", "person", "--id", early, "--json", R"({"self_care":"2","tags":["甲"]})", "--note", "上门看过"});
  desk_->text({"put", "person", "--id", early, "--json", R"({"self_care":"3","tags":["乙"]})", "--note", "医院来电"});
  phone.text({"sync", "--quiet"});
  desk_->text({"sync", "--quiet"});
  phone.text({"sync", "--quiet"});
  for (const Device* device : std::vector<const Device*>{desk_.get(), &phone}) {
    EXPECT_EQ(device->text({"get", early, "--field", "self_care"}), "3");  // the cautious one
    EXPECT_EQ(lines(device->text({"get", early, "--field", "tags"})).size(), 2u);
    const auto conflicts = conflicts_at(*device, "self_care");
    ASSERT_EQ(conflicts.size(), 1u);
    EXPECT_EQ(conflicts[0]["record"], early);
    ASSERT_EQ(conflicts[0]["values"].size(), 2u);
    EXPECT_EQ(conflicts[0]["values"][0]["value"], "3");
    EXPECT_EQ(conflicts[0]["values"][1]["value"], "2");
    EXPECT_EQ(conflicts[0]["values"][1]["author"], "兰");
    EXPECT_FALSE(device->values({"conflicts"})[0].contains("values"));
    EXPECT_EQ(device->run({"conflicts", "--check"}).code, failed);
  }
  desk_->text({"resolve", early.substr(0, 8), "self_care", "--value", "3", "--note", "以医院为准"});
  const auto sent = desk_->values({"sync", "--quiet"});
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0]["transactions_sent"], 1);
  EXPECT_EQ(sent[0]["transactions_to_send"], 0);
  const auto report = phone.values({"sync", "--quiet"});
  ASSERT_EQ(report.size(), 1u);
  EXPECT_EQ(report[0]["level"], true);
  for (const char* member :
       {"transactions_sent", "transactions_received", "transactions_to_send", "bytes_sent", "bytes_received", "warnings"})
    EXPECT_TRUE(report[0].contains(member)) << member;
  EXPECT_TRUE(conflicts_at(phone, "self_care").empty());
  EXPECT_EQ(phone.values({"history", early, "self_care"}).size(), 4u);
  EXPECT_EQ(phone.text({"digest"}), desk_->text({"digest"}));
  for (const Device* device : std::vector<const Device*>{desk_.get(), &phone}) {
    EXPECT_EQ(device->run({"pending", "--check"}).code, ok);
    EXPECT_EQ(device->run({"quarantine", "--check"}).code, ok);
    device->text({"verify"});
  }
}

TEST_F(CliRelayTest, WhatHappensWhileThePhoneWatchesArrivesByItself) {
  const Device phone = join_phone("phone", "兰");
  Process watcher(phone.command({"--json", "sync", "--watch"}));
  const std::string id = desk_->text({"put", "person", "--json", person_json("陈桂兰")});
  desk_->text({"sync", "--quiet"});
  // Progress is told as it comes; ending it is no failure.
  const auto progressed = [&] {
    for (int i = 0; i < 100; ++i) {
      const auto said = watcher.error_line(30'000);
      if (!said) return false;
      const auto progress = json::parse(*said, nullptr, false);
      if (progress.is_object() && progress.value("transactions_received", 0) >= 1) return true;
    }
    return false;
  };
  EXPECT_TRUE(progressed());
  watcher.kill(SIGINT);
  EXPECT_EQ(watcher.finish().code, ok);
  EXPECT_EQ(phone.text({"get", id, "--field", "name"}), "陈桂兰");
}

TEST_F(CliRelayTest, ARelayThatIsDownOrIsAnotherOne) {
  const Device phone = join_phone("phone", "兰");
  phone.text({"put", "person", "--json", person_json("陈桂兰")});
  relay_->kill(SIGTERM);
  EXPECT_EQ(phone.error({"sync", "--quiet", "--timeout", "5"}, unreachable)["code"], "unreachable");
  EXPECT_EQ(phone.values({"pending"})[0]["transactions"], 1);
  // Somebody else's relay on the way is not the one whose key the roster names.
  RelayProcess other(folder_ / "other", desk_->text({"authority"}));
  const json error = phone.error({"sync", "--quiet", "--timeout", "5", "--proxy", other.listen()}, peer);
  EXPECT_THAT(error["code"], testing::AnyOf("unauthenticated", "protocol"));
  EXPECT_EQ(phone.values({"pending"})[0]["transactions"], 1);
  relay_->start();
  phone.text({"sync", "--quiet"});
  EXPECT_EQ(phone.values({"pending"})[0]["transactions"], 0);
}

TEST_F(CliRelayTest, AClockYearsOffIsToldAndRefusesNothing) {
  const Device phone = join_phone("phone", "兰");
  const std::map<std::string, std::string> future = {{"DOORSTEP_CLOCK_OFFSET_MS", std::to_string(20LL * 365 * 24 * 3600 * 1000)}};
  const std::string id = phone.text({"put", "person", "--json", person_json("陈桂兰")}, {}, future);
  const Finished synced = phone.run({"sync", "--quiet"}, {}, future);
  EXPECT_EQ(synced.code, ok) << synced.err;
  EXPECT_THAT(synced.err, HasSubstr("hint:"));  // the person should set the clock
  desk_->text({"sync", "--quiet"});
  EXPECT_EQ(desk_->text({"get", id, "--field", "name"}), "陈桂兰");
  // What the desk writes now, having seen it, is newer, whatever the phone's clock said.
  desk_->text({"put", "person", "--id", id, "--json", R"({"mobility_outdoors":"2"})"});
  desk_->text({"sync", "--quiet"});
  phone.text({"sync", "--quiet"}, {}, future);
  EXPECT_EQ(phone.text({"get", id, "--field", "mobility_outdoors"}), "2");
  EXPECT_EQ(phone.text({"digest"}), desk_->text({"digest"}));
}

TEST_F(CliRelayTest, ADamagedPhoneIsRebuiltAndTheRelayBringsTheRest) {
  const Device phone = join_phone("phone", "兰");
  const std::string sent = phone.text({"put", "person", "--json", person_json("陈桂兰")});
  phone.text({"sync", "--quiet"});
  phone.error({"rebuild"}, usage);  // it is whole
  const std::filesystem::path database = std::filesystem::path(phone.folder()) / "main.db";
  const std::string zeros(std::filesystem::file_size(database), '\0');
  write_file(database, zeros);
  EXPECT_EQ(phone.error({"list", "person"}, corrupt)["code"], "corrupt");
  const auto report = phone.values({"rebuild"});
  ASSERT_EQ(report.size(), 1u);
  EXPECT_EQ(report[0]["spaces"], 1);
  EXPECT_EQ(report[0]["kept"], "damaged-1");
  EXPECT_EQ(report[0]["pages_damaged"], report[0]["pages"]);
  EXPECT_EQ(read_file(std::filesystem::path(phone.folder()) / "damaged-1" / "main.db"), zeros);
  EXPECT_EQ(phone.values({"space", "list"})[0]["waits_for"], "rebuild");
  phone.text({"sync", "--quiet"});
  EXPECT_EQ(phone.text({"get", sent, "--field", "name"}), "陈桂兰");
  EXPECT_EQ(phone.values({"space", "list"})[0]["waits_for"], "");
  phone.text({"verify"});
  phone.text({"put", "person", "--json", person_json("王小明")});
  phone.text({"sync", "--quiet"});
  desk_->text({"sync", "--quiet"});
  EXPECT_EQ(phone.text({"digest"}), desk_->text({"digest"}));
  // The first page cut off, told to a person.
  write_file(database, read_file(database).substr(1));
  const Finished told = phone.run({"--lang", "zh", "rebuild"});
  EXPECT_EQ(told.code, ok);
  EXPECT_THAT(told.out, HasSubstr("损坏的原文件在 damaged-2"));
}

TEST_F(CliRelayTest, AMemberMayNotAdmitOrInvite) {
  const Device phone = join_phone("phone", "兰");
  phone.error({"invite"}, no_right);
  phone.error({"admit", "--all"}, not_found);
}

}  // namespace
}  // namespace doorstep::e2e
