#include "tests/e2e/village.hpp"

namespace doorstep::e2e {

std::string person_json(const std::string& name, const std::string& more) {
  return R"({"name":")" + name +
         R"(","sex":"2","birth_date":"1960-01-02","id_absent_reason":"2","hukou_type":"1","hukou_org_code":"990604101201",)"
         R"("residence_org_code":"990604101201","address_text":"上湾组1号","disability_category":"4","disability_level":"3",)"
         R"("no_phone_reason":"1","comm_needs":["2"],"living_situation":["2"],"self_care":"1","bedridden":false,"low_income_status":["6"],)"
         R"("family_doctor":{"signed":false},"life_status":"1","org_code":"990604101201","entry_mode":"2","consent_ref":"duty",)"
         R"("employment_status":"0")" +
         (more.empty() ? "" : "," + more) + "}";
}

// ---- Device

std::vector<std::string> Device::command(const std::vector<std::string>& arguments) const {
  std::vector<std::string> out = {"doorstep", "--lang", "en", "--store", folder_, "--passphrase-file", passphrase_file_};
  out.insert(out.end(), arguments.begin(), arguments.end());
  return out;
}

Finished Device::run(const std::vector<std::string>& arguments, std::string_view input,
                     const std::map<std::string, std::string>& environment) const {
  return e2e::run(command(arguments), input, environment);
}

std::string Device::text(const std::vector<std::string>& arguments, std::string_view input,
                         const std::map<std::string, std::string>& environment) const {
  Finished done = run(arguments, input, environment);
  EXPECT_EQ(done.code, 0) << testing::PrintToString(arguments) << "\n" << done.err;
  while (done.out.ends_with('\n')) done.out.pop_back();
  return done.out;
}

std::vector<json> Device::values(const std::vector<std::string>& arguments) const {
  std::vector<std::string> with = {"--json"};
  with.insert(with.end(), arguments.begin(), arguments.end());
  std::vector<json> out;
  for (const std::string& line : lines(text(with))) {
    out.push_back(json::parse(line, nullptr, false));
    EXPECT_FALSE(out.back().is_discarded()) << testing::PrintToString(arguments) << ": " << line;
  }
  return out;
}

json Device::error(const std::vector<std::string>& arguments, int code, std::string_view input) const {
  std::vector<std::string> with = {"--json"};
  with.insert(with.end(), arguments.begin(), arguments.end());
  const Finished done = run(with, input);
  EXPECT_EQ(done.code, code) << testing::PrintToString(arguments) << "\n" << done.err;
  const auto said = lines(done.err);
  json out = said.empty() ? json() : json::parse(said.back(), nullptr, false);
  EXPECT_TRUE(out.is_object() && out.size() == 3 && out.contains("code") && out.contains("message") && out.contains("retryable"))
      << testing::PrintToString(arguments) << "\n"
      << done.err;
  return out;
}

// ---- CliTest

void CliTest::SetUp() { file("passphrase", "三个 词 open\n"); }

std::string CliTest::file(const std::string& name, std::string_view content) const {
  write_file(folder_.path() / name, content);
  return folder_ / name;
}

Device CliTest::make_device(const std::string& name) const {
  Device device(folder_ / name, folder_ / "passphrase");
  EXPECT_EQ(device.text({"init"}).size(), 64u);
  return device;
}

Device CliTest::make_desk(const std::vector<std::string>& found_options) const {
  Device desk = make_device("desk");
  std::vector<std::string> found = {"space", "found", "--name", "上湾村", "--label", "吴"};
  found.insert(found.end(), found_options.begin(), found_options.end());
  EXPECT_EQ(desk.text(found).size(), 64u);
  return desk;
}

// ---- RelayProcess

RelayProcess::RelayProcess(std::string folder, const std::string& authority) : folder_(std::move(folder)) {
  const Finished made = run({"doorstep-relay", "init", "--data", folder_, "--authority", authority});
  EXPECT_EQ(made.code, 0) << made.err;
  start();
}

void RelayProcess::start() {
  // The port that devices know, once there is one.
  process_ = std::make_unique<Process>(
      std::vector<std::string>{"doorstep-relay", "serve", "--data", folder_, "--listen", address_.empty() ? "127.0.0.1:0" : listen()});
  for (;;) {
    const auto line = process_->line();
    ASSERT_TRUE(line.has_value()) << "the relay did not start: " << process_->finish(1000).err;
    if (!line->starts_with("relay ")) continue;
    address_ = line->substr(6);
    return;
  }
}

void RelayProcess::kill(int signal) {
  process_->kill(signal);
  process_->finish();
}

// ---- CliRelayTest

void CliRelayTest::SetUp() {
  CliTest::SetUp();
  desk_ = std::make_unique<Device>(make_device("desk"));
  relay_ = std::make_unique<RelayProcess>(folder_ / "relay", desk_->text({"authority"}));
  ASSERT_FALSE(HasFailure());
  desk_->text({"space", "found", "--name", "上湾村", "--label", "吴", "--relay", relay_->address()});
}

Device CliRelayTest::join_phone(const std::string& name, const std::string& label) {
  const std::string invitation = desk_->text({"invite"});
  desk_->text({"sync", "--quiet"});
  Device phone = make_device(name);
  phone.text({"join", "-", "--label", label, "--name", "上湾村"}, invitation);
  phone.text({"sync", "--quiet"});
  desk_->text({"sync", "--quiet"});
  desk_->text({"admit", "--all"});
  desk_->text({"sync", "--quiet"});
  phone.text({"sync", "--quiet"});
  return phone;
}

}  // namespace doorstep::e2e
