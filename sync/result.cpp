#include "sync/result.hpp"

#include <cstdio>
#include <cstdlib>

namespace doorstep {

const char* code_name(Code code) {
  switch (code) {
    case Code::ok: return "ok";
    case Code::invalid_argument: return "invalid_argument";
    case Code::not_found: return "not_found";
    case Code::already_exists: return "already_exists";
    case Code::invalid_record: return "invalid_record";
    case Code::no_right: return "no_right";
    case Code::wrong_key: return "wrong_key";
    case Code::locked: return "locked";
    case Code::busy: return "busy";
    case Code::corrupt: return "corrupt";
    case Code::full: return "full";
    case Code::io: return "io";
    case Code::unreachable: return "unreachable";
    case Code::timeout: return "timeout";
    case Code::protocol: return "protocol";
    case Code::unauthenticated: return "unauthenticated";
    case Code::unsupported: return "unsupported";
    case Code::too_large: return "too_large";
    case Code::cancelled: return "cancelled";
    case Code::conflict: return "conflict";
    case Code::waiting: return "waiting";
    case Code::internal: return "internal";
  }
  return "unknown";
}

namespace {
const std::string no_memory = "there is not enough memory. Nothing was changed by this step: close other programs and try again";
}

const std::string& Error::message() const { return message_.empty() ? no_memory : message_; }

bool Error::retryable() const {
  switch (code_) {
    case Code::busy:
    case Code::full:
    case Code::io:
    case Code::unreachable:
    case Code::timeout:
    case Code::conflict:
    case Code::waiting: return true;
    default: return false;
  }
}

void check_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "doorstep: check failed: %s (%s:%d)\n", what, file, line);
  std::abort();
}

}  // namespace doorstep
