// Uses the installed package as a stranger would: found by find_package, no header and no library of the checkout.
#include <cstdio>
#include <cstring>

#include <doorstep/version.hpp>
#include <sync/result.hpp>

int main() {
  const bool linked = std::strcmp(doorstep::code_name(doorstep::Code::wrong_key), "wrong_key") == 0;
  std::printf("doorstep %s\n", doorstep::version);
  return linked ? 0 : 1;
}
