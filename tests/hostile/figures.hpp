// What the kernel says about a process.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

namespace doorstep::hostile {

/// A line of /proc/PID/status, in bytes: VmRSS is what it holds now, VmHWM the most since forget_peak().
inline std::size_t memory_bytes(pid_t pid, const char* what) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(what)) return std::stoul(line.substr(std::strlen(what) + 1)) << 10;
  return 0;
}
inline std::size_t rss_bytes(pid_t pid) { return memory_bytes(pid, "VmRSS"); }
inline std::size_t rss_peak_bytes(pid_t pid) { return memory_bytes(pid, "VmHWM"); }
inline void forget_peak(pid_t pid) { std::ofstream("/proc/" + std::to_string(pid) + "/clear_refs") << 5; }

/// Processor time that it has used, of all its threads.
inline std::int64_t cpu_ms(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const auto name_end = text.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 2));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  std::int64_t user = 0, system = 0;
  fields >> user >> system;
  return (user + system) * 1000 / ::sysconf(_SC_CLK_TCK);
}

inline std::size_t descriptors(pid_t pid) {
  std::error_code failed;
  const std::filesystem::directory_iterator all("/proc/" + std::to_string(pid) + "/fd", failed);
  return failed ? 0 : static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace doorstep::hostile
