// Result<T>: how every public function of Doorstep reports failure. Nothing throws across a public interface.
//
// Three situations, three words:
//   expected failure (offline, full, wrong passphrase)   -> Result with a Code; the caller decides
//   bytes from a peer or a disk that break the rules     -> Result with Code::protocol or Code::corrupt;
//                                                           that session or file stops, the process does not
//   a state that no input can reach (our bug)            -> DOORSTEP_CHECK (check.hpp)
#pragma once

#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "sync/check.hpp"

namespace doorstep {

/// Stable numeric codes: they travel through the C interface, exit codes and logs, so a number is never reused.
enum class Code : std::uint16_t {
  ok = 0,
  invalid_argument = 1,  ///< The caller passed something that can never work.
  not_found = 2,         ///< No such record, space, store or file.
  already_exists = 3,    ///< It is there already, and this call would not overwrite it.
  invalid_record = 4,    ///< The schema refuses what was written; the message names the field.
  no_right = 5,          ///< The roster gives this device no right to do that.
  wrong_key = 6,         ///< The passphrase is wrong (the file is whole).
  locked = 7,            ///< The store is locked: unlock it first.
  busy = 8,              ///< Another process has the store open.
  corrupt = 9,           ///< Stored bytes fail their check; nothing was changed or recreated.
  full = 10,             ///< The disk or a quota is full; nothing was half-written.
  io = 11,               ///< The operating system refused a file operation.
  unreachable = 12,      ///< No connection to the peer.
  timeout = 13,          ///< The peer did not answer in time.
  protocol = 14,         ///< The peer sent bytes that break the protocol; that session ended.
  unauthenticated = 15,  ///< The peer could not prove who it is, or does not know us.
  unsupported = 16,      ///< A version, algorithm or option that this build does not have.
  too_large = 17,        ///< Above a limit of limits.hpp; the message names the limit.
  cancelled = 18,        ///< The caller cancelled it.
  conflict = 19,         ///< Somebody changed it first; read again and retry.
  waiting = 20,          ///< Not possible yet; the message names what it waits for.
  internal = 21,         ///< A defect of Doorstep. Report it; the data is untouched.
};

/// The code's stable name, as printed by tools ("wrong_key").
const char* code_name(Code code);

/// A failure: a stable code, and a sentence for a person that says what was wrong and what to do.
/// Never contains personal data, keys or passphrases, so it may be logged.
class [[nodiscard]] Error {
 public:
  Error(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  /// Memory is short. Takes none itself, so that it can always be said.
  static Error out_of_memory() noexcept { return Error(); }
  Code code() const { return code_; }
  const std::string& message() const;
  /// True if the same call may work later without anybody changing anything (network, busy, disk full).
  bool retryable() const;

 private:
  Error() noexcept : code_(Code::full) {}
  Code code_;
  std::string message_;  ///< Empty: of out_of_memory().
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)
  explicit operator bool() const { return value_.has_value(); }
  bool ok() const { return value_.has_value(); }
  T& value() & {
    DOORSTEP_CHECK(ok());
    return *value_;
  }
  const T& value() const& {
    DOORSTEP_CHECK(ok());
    return *value_;
  }
  T value() && {
    DOORSTEP_CHECK(ok());
    return *std::move(value_);
  }  // a value, so that `for (auto& x : *f())` is safe
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const {
    DOORSTEP_CHECK(!ok());
    return *error_;
  }
  Code code() const { return ok() ? Code::ok : error_->code(); }

 private:
  std::optional<T> value_;
  std::optional<Error> error_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)
  explicit operator bool() const { return !error_.has_value(); }
  bool ok() const { return !error_.has_value(); }
  const Error& error() const {
    DOORSTEP_CHECK(!ok());
    return *error_;
  }
  Code code() const { return ok() ? Code::ok : error_->code(); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

/// Carries out a call of a public interface, across which nothing throws: of what others throw only the lack of memory is expected.
/// Whoever has begun something undoes it on the way here, by its destructors.
template <class Call>
auto without_throwing(Call&& call) -> decltype(call()) {
  try {
    return call();
  } catch (const std::bad_alloc&) { return Error::out_of_memory(); }
}

}  // namespace doorstep

#define DOORSTEP_CONCAT2(a, b) a##b
#define DOORSTEP_CONCAT(a, b) DOORSTEP_CONCAT2(a, b)

/// DOORSTEP_TRY(expr): returns the error of a Status (or Result) from the enclosing function.
#define DOORSTEP_TRY(expr)                                                                                            \
  do {                                                                                                                \
    if (auto DOORSTEP_CONCAT(doorstep_status_, __LINE__) = (expr); !DOORSTEP_CONCAT(doorstep_status_, __LINE__).ok()) \
      return DOORSTEP_CONCAT(doorstep_status_, __LINE__).error();                                                     \
  } while (false)

/// DOORSTEP_ASSIGN(auto name, expr): declares `name` from a Result, or returns its error.
#define DOORSTEP_ASSIGN(decl, expr)                                                                                  \
  auto DOORSTEP_CONCAT(doorstep_result_, __LINE__) = (expr);                                                         \
  if (!DOORSTEP_CONCAT(doorstep_result_, __LINE__).ok()) return DOORSTEP_CONCAT(doorstep_result_, __LINE__).error(); \
  decl = std::move(DOORSTEP_CONCAT(doorstep_result_, __LINE__)).value()
