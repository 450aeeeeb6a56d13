// Uses the installed package as a stranger would: found by find_package, no header and no library of the checkout.
// Founding a space needs SQLite, libsodium, zstd and utf8proc, so it proves that the package brings all of them.
#include <doorstep/doorstep.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

int main() {
  char directory[] = "/tmp/doorstep-consumer-XXXXXX";
  if (!mkdtemp(directory)) return 1;
  int failures = 1;
  {
    auto replica = doorstep::Replica::create({.directory = std::string(directory) + "/store"}, "correct horse battery staple");
    auto space = replica ? replica->found({.name = "石桥村", .role = "member", .label = "兰"}) : replica.error();
    if (space)
      failures = 0;
    else
      std::fprintf(stderr, "%s\n", space.error().message().c_str());
  }
  std::filesystem::remove_all(directory);
  std::printf("doorstep %s\n", doorstep::version);
  return failures;
}
