// What the tool says to people, in Chinese or English. Sentences stand as pairs where they are used; what several files need
// stands here: the sentence and the exit code that belong to an error code.
#pragma once

#include <string>
#include <string_view>

#include "doorstep/doorstep.hpp"

namespace doorstep::cli {

enum class Language : std::uint8_t { zh, en };

/// From LC_ALL, LC_MESSAGES or LANG, as every program does.
Language language_of_environment();

/// One thing to say, in both languages.
struct Text {
  std::string_view zh;
  std::string_view en;
  std::string_view in(Language language) const { return language == Language::zh ? zh : en; }
};

/// Exit codes; README.md lists them, and a number is never reused.
enum Exit : int {
  exit_ok = 0,
  exit_failed = 1,  ///< A check failed, or a failure that has no code of its own below.
  exit_usage = 2,
  exit_not_found = 3,
  exit_invalid_record = 4,
  exit_no_right = 5,
  exit_wrong_key = 6,
  exit_busy = 7,
  exit_corrupt = 8,
  exit_disk = 9,
  exit_unreachable = 10,
  exit_waiting = 11,
  exit_conflict = 12,
  exit_peer = 13,
  exit_unsupported = 14,
  exit_cancelled = 15,
};
int exit_code(Code code);

/// What the code means, as a short sentence without its last mark.
std::string_view meaning(Code code, Language language);

/// The sentence for a person: in Chinese the meaning with the message behind it, in English the message.
std::string sentence(const Error& error, Language language);

/// {"code": …, "message": …, "retryable": …}, one line.
std::string error_json(const Error& error, Language language);

}  // namespace doorstep::cli
