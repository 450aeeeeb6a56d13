// Stores in a temporary directory, opened cheaply, with a clock and a village of made-up people.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "doorstep/doorstep.hpp"
#include "sdk/records/demo_data.hpp"

namespace doorstep {

class FakeClock final : public Clock {
 public:
  std::int64_t wall_ms() override { return wall += 1; }
  std::int64_t steady_ms() override { return steady += 1; }
  std::int64_t wall = 1'773'500'000'000;  // 2026-03-14
  std::int64_t steady = 1'000'000;
};

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "doorstep-test-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline ReplicaOptions cheap_options(const std::string& directory, Clock* clock) {
  ReplicaOptions options;
  options.directory = directory;
  options.passphrase_cost = {19 * 1024, 2};
  options.clock = clock;
  options.test_identities = true;
  return options;
}

#define ASSERT_OK(expression)                                                                                                       \
  do {                                                                                                                              \
    const auto& result_of_assert = (expression);                                                                                    \
    ASSERT_TRUE(result_of_assert.ok()) << code_name(result_of_assert.error().code()) << ": " << result_of_assert.error().message(); \
  } while (false)

inline const DemoVillage& demo_village() {
  static const DemoVillage village(DemoOptions{.seed = 1, .today = Date{20525}, .persons = 30, .months = 2});
  return village;
}

/// A person of the demo village, written whole.
inline RecordId put_person(Replica& replica, const SpaceId& space, std::size_t index) {
  RecordId id;
  const auto saved = replica.transact(space, [&](Write& write) -> Status {
    id = write.create("person");
    write.set_json(id, demo_village().person_json(index));
    return {};
  });
  EXPECT_TRUE(saved.ok()) << (saved.ok() ? "" : saved.error().message());
  return id;
}

inline Status set_field(Replica& replica, const SpaceId& space, const RecordId& record, const std::string& field, Value value) {
  const auto saved = replica.transact(space, [&](Write& write) -> Status {
    write.set(record, field, std::move(value));
    return {};
  });
  return saved ? Status() : Status(saved.error());
}

}  // namespace doorstep
