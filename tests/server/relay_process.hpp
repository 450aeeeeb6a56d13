// doorstep-relay as a process of its own, on a free port, for tests: killed, starved, asked to stop.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

namespace doorstep::relay {

inline std::string relay_program() {
  const char* elsewhere = std::getenv("DOORSTEP_BIN_DIR");
  return std::string(elsewhere ? elsewhere : DOORSTEP_BIN_DIR) + "/doorstep-relay";
}

struct RelayTerms {
  rlim_t files = 0;    ///< Descriptors that it may have; 0: as many as we.
  std::string config;  ///< Lines of a configuration file, which will stand beside the data.
  std::string log;     ///< A file for its standard error.
  bool wait = true;    ///< Until it listens; without, there is no port.
};

class RelayProcess {
 public:
  explicit RelayProcess(const std::string& data, const RelayTerms& terms = {}) {
    int out[2];
    if (::pipe2(out, O_CLOEXEC) != 0) return;
    const std::string path = relay_program(), config = data + ".conf";
    std::ofstream(config) << terms.config;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(out[1], STDOUT_FILENO);
      ::dup2(::open(terms.log.empty() ? "/dev/null" : terms.log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), STDERR_FILENO);
      if (terms.files != 0) {
        const rlimit limit{terms.files, terms.files};
        ::setrlimit(RLIMIT_NOFILE, &limit);
      }
      ::execl(path.c_str(), path.c_str(), "serve", "--data", data.c_str(), "--listen", "127.0.0.1:0", "--log-level", "error", "--config",
              config.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(out[1]);
    out_ = out[0];
    if (terms.wait) port_ = read_port();
  }
  ~RelayProcess() {
    if (pid_ > 0) (void)end(SIGKILL);
    if (out_ >= 0) ::close(out_);
  }
  RelayProcess(const RelayProcess&) = delete;
  RelayProcess& operator=(const RelayProcess&) = delete;

  /// 0: it does not serve.
  std::uint16_t port() const { return port_; }
  pid_t pid() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }
  /// The exit code, or 128 + the signal that ended it.
  int end(int number) {
    ::kill(pid_, number);
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  std::uint16_t read_port() const {
    using std::chrono::steady_clock;
    std::string text;
    const auto start = steady_clock::now();
    while (text.find('\n') == std::string::npos && steady_clock::now() - start < std::chrono::seconds(30)) {
      pollfd wait{out_, POLLIN, 0};
      if (::poll(&wait, 1, 100) <= 0) continue;
      char byte = 0;
      if (::read(out_, &byte, 1) <= 0) break;
      text += byte;
    }
    const auto colon = text.rfind(':');
    return colon == std::string::npos ? std::uint16_t{0} : static_cast<std::uint16_t>(std::atoi(text.c_str() + colon + 1));
  }

  pid_t pid_ = -1;
  int out_ = -1;
  std::uint16_t port_ = 0;
};

}  // namespace doorstep::relay
