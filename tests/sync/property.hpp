// A RapidCheck property as a GoogleTest assertion. DOORSTEP_CAMPAIGN=n (default 1) multiplies its cases; a failure prints the
// RC_PARAMS that reproduces it.
#pragma once

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <utility>

namespace doorstep {

inline int campaign() {
  const char* text = std::getenv("DOORSTEP_CAMPAIGN");
  return text ? std::max(1, std::atoi(text)) : 1;
}

template <class Property>
void check_property(Property&& property, int cases = 100) {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  rc::detail::TestMetadata metadata;
  metadata.id = std::string(info->test_suite_name()) + "/" + info->name();
  metadata.description = info->name();
  auto params = rc::detail::configuration().testParams;
  params.maxSuccess = cases * campaign();
  const auto result = rc::detail::checkTestable(std::forward<Property>(property), metadata, params);
  if (result.template is<rc::detail::SuccessResult>()) return;
  std::ostringstream text;
  rc::detail::printResultMessage(result, text);
  ADD_FAILURE() << text.str();
}

}  // namespace doorstep
