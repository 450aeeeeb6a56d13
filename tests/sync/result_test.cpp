#include "sync/result.hpp"

#include <gtest/gtest.h>

#include <set>

#include "sync/bytes.hpp"

namespace doorstep {
namespace {

constexpr int codes = static_cast<int>(Code::internal) + 1;

TEST(Result, EveryCodeHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int code = 0; code < codes; ++code) names.insert(code_name(static_cast<Code>(code)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(codes));
  EXPECT_FALSE(names.contains("unknown"));
  EXPECT_STREQ(code_name(static_cast<Code>(codes)), "unknown") << "of a newer peer";
}

TEST(Result, WhatMayBeTriedAgainIsWhatChangesByItself) {
  std::set<std::string> again;
  for (int code = 1; code < codes; ++code)
    if (const Error error(static_cast<Code>(code), "why"); error.retryable()) again.insert(code_name(error.code()));
  EXPECT_EQ(again, (std::set<std::string>{"busy", "full", "io", "unreachable", "timeout", "conflict", "waiting"}));
}

TEST(ResultDeathTest, AValueThatIsNotThereEndsTheProcessAndSaysWhere) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  Result<int> none = Error(Code::not_found, "nothing");
  EXPECT_DEATH((void)none.value(), "doorstep: check failed: .*result\\.hpp:[0-9]+");
}

}  // namespace
}  // namespace doorstep
