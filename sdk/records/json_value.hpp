// JSON at the edges: a bounded reader that keeps numbers exactly as they were written, and a writer for text.
// The only place that knows nlohmann-json is json_value.cpp; a hand-written lexer would be one more thing to fuzz.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sync/result.hpp"

namespace doorstep {

struct JsonValue {
  enum class Kind : std::uint8_t { null, boolean, number, text, array, object };
  Kind kind = Kind::null;
  bool truth = false;
  std::string text;              ///< A text's content, or a number as written ("7.30").
  std::string name;              ///< Inside an object: the member's name.
  std::vector<JsonValue> items;  ///< Elements of an array, members of an object, in document order.

  bool is(Kind wanted) const { return kind == wanted; }
  const JsonValue* member(std::string_view member_name) const;
};

struct JsonLimits {
  std::size_t bytes_max = 1u << 20;
  std::size_t depth_max = 24;
  std::size_t values_max = 200'000;
  std::size_t members_max = 1024;  ///< Of one object: looking for duplicates costs their square.
};

/// Code::invalid_argument on anything but one JSON value in UTF-8 without duplicate members; Code::too_large above a limit.
Result<JsonValue> parse_json(std::string_view text, const JsonLimits& bounds);

/// For messages: "an array".
const char* json_kind_name(JsonValue::Kind kind);

/// Appends `text` in quotes, escaped. Non-ASCII stays as it is.
void append_json_text(std::string& out, std::string_view text);

}  // namespace doorstep
