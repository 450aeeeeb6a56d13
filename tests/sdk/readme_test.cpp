// The samples of sdk/README.md, compiled and run. Whoever changes one changes the other.
#include <gtest/gtest.h>

#include <cctype>
#include <ctime>
#include <fstream>
#include <sstream>

#include "tests/sdk/replica_fixture.hpp"

namespace {

bool fail(const doorstep::Error& error) {
  ADD_FAILURE() << error.message();
  return false;
}

bool five_minutes(const std::string& directory, std::size_t& seen) {
  // A store is one directory. Making one takes about a second on a phone: the passphrase is stretched (Argon2id).
  auto replica = doorstep::Replica::create({.directory = directory}, "correct horse battery staple");
  if (!replica) return fail(replica.error());  // every call returns a Result: a code, a sentence, retryable or not

  // Usually a township founds the space of a village and its phones join by invitation; here we found one ourselves.
  auto village = replica->found({.name = "石桥村", .role = "member", .label = "兰"});

  const doorstep::RecordId person;  // known from before
  const doorstep::Date today{static_cast<std::int32_t>(std::time(nullptr) / 86'400)};
  doorstep::RecordId visit;
  auto saved = replica->transact(*village, [&](doorstep::Write& write) -> doorstep::Status {
    visit = write.create("home_visit");
    write.set(visit, "person_id", person).set(visit, "org_code", "990604101201").set(visit, "observed_on", today);
    write.set(visit, "visit_mode", "1").set(visit, "visit_result", "03").set(visit, "next_attempt_on", doorstep::Date{today.days + 7});
    write.add(visit, "visit_reason", "1");
    write.set(visit, "entry_mode", "2").set(visit, "consent_ref", "duty").set(visit, "status", "signed").note("家中无人");
    return {};
  });
  if (!saved) return fail(saved.error());

  auto view = replica->get(*village, visit);
  std::string result = view->text("visit_result");                   // "03"
  auto history = replica->history(*village, visit, "visit_result");  // value, author, time, what superseded it
  auto chens = replica->query(*village, {.kind = "person", .text = "陈", .order_by = "name", .limit = 20});
  EXPECT_EQ(result, "03");
  EXPECT_EQ(history->size(), 1u);
  EXPECT_EQ(history->front().note, "家中无人");
  EXPECT_TRUE(chens->empty());

  auto watching = replica->observe(*village, "home_visit", [&](const std::vector<doorstep::RecordId>& changed) { seen += changed.size(); });
  for (const auto& conflict : *replica->conflicts(*village))
    if (auto done = replica->resolve(*village, conflict.record, conflict.field, conflict.values.front().value, "电话核实"); !done)
      return fail(done.error());
  return replica
      ->transact(*village,
                 [&](doorstep::Write& write) -> doorstep::Status {
                   write.add(visit, "note", "邻居说去了县里");
                   return {};
                 })
      .ok();
}

TEST(ReadmeTest, FiveMinutes) {
  doorstep::TemporaryDirectory directory;
  std::size_t seen = 0;
  EXPECT_TRUE(five_minutes(directory / "store", seen));
  EXPECT_EQ(seen, 1u);
}

TEST(ReadmeTest, TheSamplesAreTheReadmes) {
  const auto read = [](const std::string& path) {
    std::ifstream in(std::string(DOORSTEP_SOURCE_DIR) + path);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
  };
  const std::string readme = read("/sdk/README.md"), test = read("/tests/sdk/readme_test.cpp");
  // clang-format may break lines and align comments in the test: white space does not count.
  const auto squeezed = [](std::string text) {
    std::erase_if(text, [](unsigned char c) { return std::isspace(c) != 0; });
    return text;
  };
  const std::string squeezed_test = squeezed(test);
  std::istringstream lines(readme);
  bool code = false;
  std::size_t compared = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      code = line == "```cpp";
      continue;
    }
    if (!code || line.find_first_not_of(" ") == std::string::npos) continue;
    ++compared;
    EXPECT_NE(squeezed_test.find(squeezed(line)), std::string::npos) << line;
  }
  EXPECT_GT(compared, 15u);
}

}  // namespace
