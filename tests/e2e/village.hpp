// Stores, a relay and the tool between them, as processes, for tests.
#pragma once

#include <memory>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/e2e/process.hpp"

namespace doorstep::e2e {

using nlohmann::json;

/// Exit codes of the tool, as its README gives them.
enum Exit : int {
  ok = 0,
  failed = 1,
  usage = 2,
  not_found = 3,
  invalid_record = 4,
  no_right = 5,
  wrong_key = 6,
  busy = 7,
  corrupt = 8,
  disk_full = 9,
  unreachable = 10,
  waiting = 11,
  conflict = 12,
  peer = 13,
  unsupported = 14,
  cancelled = 15,
};

/// What a person has to have; `name` tells them apart.
std::string person_json(const std::string& name, const std::string& more = {});

/// One device's store and the tool on it.
class Device {
 public:
  Device(std::string folder, std::string passphrase_file) : folder_(std::move(folder)), passphrase_file_(std::move(passphrase_file)) {}
  const std::string& folder() const { return folder_; }
  std::vector<std::string> command(const std::vector<std::string>& arguments) const;
  Finished run(const std::vector<std::string>& arguments, std::string_view input = {},
               const std::map<std::string, std::string>& environment = {}) const;
  /// Its standard output without the last line end; a failure of the test if it does not exit with 0.
  std::string text(const std::vector<std::string>& arguments, std::string_view input = {},
                   const std::map<std::string, std::string>& environment = {}) const;
  /// Each line of what it prints with --json, parsed; a failure of the test if a line is not one JSON value.
  std::vector<json> values(const std::vector<std::string>& arguments) const;
  /// The error object of a command that fails with `code`.
  json error(const std::vector<std::string>& arguments, int code, std::string_view input = {}) const;

 private:
  std::string folder_, passphrase_file_;
};

/// A folder with a passphrase file, and devices in it.
class CliTest : public testing::Test {
 protected:
  void SetUp() override;
  /// Made, without a space.
  Device make_device(const std::string& name) const;
  /// Made, with a space of its own.
  Device make_desk(const std::vector<std::string>& found_options = {}) const;
  std::string file(const std::string& name, std::string_view content) const;

  TempFolder folder_;
};

/// doorstep-relay on a free port, restarted on the same port after a kill.
class RelayProcess {
 public:
  RelayProcess(std::string folder, const std::string& authority);
  void start();
  void kill(int signal);
  /// HOST:PORT#KEY
  const std::string& address() const { return address_; }
  std::string listen() const { return address_.substr(0, address_.find('#')); }

 private:
  std::string folder_, address_;
  std::unique_ptr<Process> process_;
};

/// A desk, a relay and one admitted phone, level.
class CliRelayTest : public CliTest {
 protected:
  void SetUp() override;
  /// Invites, joins, admits.
  Device join_phone(const std::string& name, const std::string& label);

  std::unique_ptr<RelayProcess> relay_;
  std::unique_ptr<Device> desk_;
};

}  // namespace doorstep::e2e
