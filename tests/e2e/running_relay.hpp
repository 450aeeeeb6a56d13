// A relay in this process, on a port of its own, over a store in a directory.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "doorstep/doorstep.hpp"
#include "server/relay.hpp"
#include "server/store/sqlite_store.hpp"

namespace doorstep {

class RunningRelay {
 public:
  RunningRelay(const std::string& directory, const std::vector<DeviceId>& authorities, std::uint16_t port = 0) : directory_(directory) {
    if (!std::filesystem::exists(directory)) {
      SystemRandom random;
      const Status made = relay::SqliteStore::create(directory, authorities, false, random);
      EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message());
    }
    auto store = relay::SqliteStore::open(directory, relay::SqliteStore::Mode::serve);
    EXPECT_TRUE(store.ok()) << (store.ok() ? "" : store.error().message());
    relay::Relay::Options options;
    options.config.listen = "127.0.0.1:" + std::to_string(port);
    options.config.log_level = "error";
    auto started = relay::Relay::start(std::move(*store), options);
    EXPECT_TRUE(started.ok()) << (started.ok() ? "" : started.error().message());
    relay_ = std::move(*started);
  }
  RelayAddress address() const { return {relay_->transport_key(), {"127.0.0.1:" + std::to_string(relay_->port())}}; }
  std::string where() const { return "127.0.0.1:" + std::to_string(relay_->port()); }
  relay::Relay& operator*() { return *relay_; }

 private:
  std::string directory_;
  std::unique_ptr<relay::Relay> relay_;
};

}  // namespace doorstep
