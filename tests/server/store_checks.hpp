// What a relay's store holds, read beside the relay.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "server/store/sqlite_store.hpp"
#include "server/verify.hpp"

namespace doorstep::relay {

/// Everything in the store proves itself.
inline void expect_sound(const std::string& directory) {
  const auto store = SqliteStore::open(directory, SqliteStore::Mode::read_only);
  ASSERT_TRUE(store);
  const auto verified = verify_store(**store, [](const Verified&) {});
  EXPECT_TRUE(verified) << verified.error().message();
}

/// The position up to which a log is on the disk; 0: not at all.
inline Position durable(const std::string& directory, const LogId& log) {
  const auto store = SqliteStore::open(directory, SqliteStore::Mode::read_only);
  const auto logs = (*store)->logs();
  for (const auto& one : *logs)
    if (one.id == log) return one.position;
  return 0;
}

}  // namespace doorstep::relay
