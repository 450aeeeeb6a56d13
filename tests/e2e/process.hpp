// Programs as processes, for tests: started, fed, read, killed; every wait has a deadline. And a folder that goes away.
#pragma once

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace doorstep::e2e {

/// The folder of the programs: the environment's DOORSTEP_BIN_DIR, or this build's.
std::filesystem::path bin_dir();

class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string operator/(std::string_view name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

struct Finished {
  int code = -1;  ///< The exit code; 128 + n if signal n ended it.
  std::string out, err;
};

class Process {
 public:
  /// The program of that name in bin_dir(), or at a path. Throws only what std::string throws; a program that is not there exits 127.
  explicit Process(const std::vector<std::string>& command, const std::map<std::string, std::string>& environment = {});
  ~Process();  ///< Kills what still runs.
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  /// False if the process no longer reads.
  bool write(std::string_view text);
  void close_input();
  /// The next line of standard output without its end; nullopt after `deadline_ms` or at the end.
  std::optional<std::string> line(int deadline_ms = 60'000);
  /// The same of standard error.
  std::optional<std::string> error_line(int deadline_ms = 60'000);
  void kill(int signal) const;
  /// Waits for the end; kills it after the deadline (code 128 + 9).
  Finished finish(int deadline_ms = 120'000);

 private:
  enum class Wanted : std::uint8_t { line, error_line, end };
  bool pump(Wanted wanted, int deadline_ms);
  bool reap(int deadline_ms);

  pid_t pid_ = -1;
  int in_ = -1, out_ = -1, err_ = -1;
  std::size_t read_ = 0, error_read_ = 0;  ///< Of finished_, by line() and error_line().
  Finished finished_;
  bool reaped_ = false;
};

/// Runs a program to its end.
Finished run(const std::vector<std::string>& command, std::string_view input = {},
             const std::map<std::string, std::string>& environment = {});

/// The lines of a text, without empty ones.
std::vector<std::string> lines(std::string_view text);
void write_file(const std::filesystem::path& path, std::string_view text);
std::string read_file(const std::filesystem::path& path);

}  // namespace doorstep::e2e
