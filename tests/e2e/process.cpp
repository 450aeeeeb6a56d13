#include "tests/e2e/process.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace doorstep::e2e {

namespace fs = std::filesystem;

namespace {

class Deadline {
 public:
  explicit Deadline(int ms) : end_(std::chrono::steady_clock::now() + std::chrono::milliseconds(ms)) {}
  int left_ms() const {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end_ - std::chrono::steady_clock::now()).count();
    return left > 0 ? static_cast<int>(left) : 0;
  }

 private:
  std::chrono::steady_clock::time_point end_;
};

void close_file(int& file) {
  if (file >= 0) close(file);
  file = -1;
}

}  // namespace

fs::path bin_dir() {
  const char* chosen = std::getenv("DOORSTEP_BIN_DIR");
  return chosen && *chosen ? chosen : DOORSTEP_BIN_DIR;
}

TempFolder::TempFolder() {
  std::string name = (fs::temp_directory_path() / "doorstep-e2e-XXXXXX").string();
  if (!mkdtemp(name.data())) std::abort();
  path_ = name;
}
TempFolder::~TempFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

Process::Process(const std::vector<std::string>& command, const std::map<std::string, std::string>& environment) {
  // Made before the fork: afterwards only system calls are safe.
  std::vector<std::string> words = command;
  if (words.front().find('/') == std::string::npos) words.front() = (bin_dir() / words.front()).string();
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::vector<std::string> settings;
  for (char** at = environ; *at; ++at) {
    const std::string_view setting = *at;
    // Of the person who runs the tests, nothing may leak in.
    if (!setting.starts_with("DOORSTEP_") && !setting.starts_with("LC_") && !setting.starts_with("LANG")) settings.emplace_back(setting);
  }
  settings.emplace_back("DOORSTEP_TEST_IDENTITIES=true");
  for (const auto& [name, value] : environment) settings.push_back(name + "=" + value);
  std::vector<char*> variables;
  for (std::string& setting : settings) variables.push_back(setting.data());
  variables.push_back(nullptr);

  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) std::abort();
  pid_ = fork();
  if (pid_ == 0) {
    dup2(in[0], 0), dup2(out[1], 1), dup2(err[1], 2);
    signal(SIGPIPE, SIG_DFL);
    execve(arguments[0], arguments.data(), variables.data());
    _exit(127);
  }
  close(in[0]), close(out[1]), close(err[1]);
  in_ = in[1], out_ = out[0], err_ = err[0];
  for (const int file : {out_, err_}) fcntl(file, F_SETFL, O_NONBLOCK);
}

Process::~Process() {
  if (!reaped_) {
    kill(SIGKILL);
    reap(60'000);
  }
  close_file(in_), close_file(out_), close_file(err_);
}

bool Process::write(std::string_view text) {
  signal(SIGPIPE, SIG_IGN);
  while (!text.empty() && in_ >= 0) {
    const ssize_t wrote = ::write(in_, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return text.empty();
}

void Process::close_input() { close_file(in_); }

void Process::kill(int signal) const {
  if (pid_ > 0 && !reaped_) ::kill(pid_, signal);
}

bool Process::pump(Wanted wanted, int deadline_ms) {
  const Deadline deadline(deadline_ms);
  for (;;) {
    if (wanted == Wanted::line && finished_.out.find('\n', read_) != std::string::npos) return true;
    if (wanted == Wanted::error_line && finished_.err.find('\n', error_read_) != std::string::npos) return true;
    if (out_ < 0 && err_ < 0) return wanted == Wanted::end;
    std::array<pollfd, 2> files = {{{out_, POLLIN, 0}, {err_, POLLIN, 0}}};
    const int ready = poll(files.data(), files.size(), deadline.left_ms());
    if (ready == 0) return false;
    if (ready < 0) continue;
    std::array<char, 65536> part{};
    for (std::size_t i = 0; i < 2; ++i) {
      int& file = i == 0 ? out_ : err_;
      if (file < 0 || !files[i].revents) continue;
      const ssize_t got = read(file, part.data(), part.size());
      if (got > 0)
        (i == 0 ? finished_.out : finished_.err).append(part.data(), static_cast<std::size_t>(got));
      else if (got == 0)
        close_file(file);
    }
  }
}

std::optional<std::string> Process::line(int deadline_ms) {
  if (!pump(Wanted::line, deadline_ms)) return std::nullopt;
  const std::size_t end = finished_.out.find('\n', read_);
  std::string out = finished_.out.substr(read_, end - read_);
  read_ = end + 1;
  return out;
}

std::optional<std::string> Process::error_line(int deadline_ms) {
  if (!pump(Wanted::error_line, deadline_ms)) return std::nullopt;
  const std::size_t end = finished_.err.find('\n', error_read_);
  std::string out = finished_.err.substr(error_read_, end - error_read_);
  error_read_ = end + 1;
  return out;
}

bool Process::reap(int deadline_ms) {
  if (reaped_) return true;
  const int watched = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  pollfd file{watched, POLLIN, 0};
  const bool ended = watched < 0 || poll(&file, 1, deadline_ms) > 0;
  if (watched >= 0) close(watched);
  if (!ended) return false;
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
  finished_.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return reaped_ = true;
}

Finished Process::finish(int deadline_ms) {
  close_input();
  const Deadline deadline(deadline_ms);
  pump(Wanted::end, deadline_ms);
  if (!reap(deadline.left_ms())) {
    kill(SIGKILL);
    reap(60'000);
  }
  return finished_;
}

Finished run(const std::vector<std::string>& command, std::string_view input, const std::map<std::string, std::string>& environment) {
  Process process(command, environment);
  process.write(input);
  return process.finish();
}

std::vector<std::string> lines(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

void write_file(const fs::path& path, std::string_view text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
}
std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace doorstep::e2e
