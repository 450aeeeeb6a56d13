// Talking to the relays. Progress goes to standard error; Ctrl-C ends cleanly.
#include <atomic>
#include <csignal>
#include <ctime>
#include <thread>

#include <unistd.h>

#include <CLI/CLI.hpp>

#include "examples/cli/commands.hpp"

namespace doorstep::cli {

namespace {

/// Cancels when SIGINT or SIGTERM arrives. A handler may do next to nothing, hence a thread that waits for the signals.
/// Made before any other thread, so that those inherit the mask.
class SignalWatch {
 public:
  explicit SignalWatch(CancelToken& token) {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    thread_ = std::thread([this, &token] {
      const timespec moment{0, 100'000'000};
      while (!ended_)
        if (sigtimedwait(&signals_, nullptr, &moment) > 0) token.cancel();
    });
  }
  ~SignalWatch() {
    ended_ = true;
    thread_.join();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  sigset_t signals_{}, before_{};
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

Json progress_json(const SyncProgress& progress) {
  return Json()
      .add("level", progress.level)
      .add("transactions_sent", progress.transactions_sent)
      .add("transactions_received", progress.transactions_received)
      .add("transactions_to_send", progress.transactions_to_send)
      .add("bytes_sent", progress.bytes_sent)
      .add("bytes_received", progress.bytes_received);
}

std::string progress_text(const SyncProgress& progress, Language language) {
  const auto number = [](auto count) { return std::to_string(count); };
  const bool zh = language == Language::zh;
  return (zh ? "已送出 " : "sent ") + number(progress.transactions_sent) + (zh ? "，收到 " : ", received ") +
         number(progress.transactions_received) + (zh ? "，还未送到 " : ", still to send ") + number(progress.transactions_to_send) +
         (zh ? "；字节 ↑" : "; bytes up ") + number(progress.bytes_sent) + (zh ? " ↓" : " down ") + number(progress.bytes_received) +
         (progress.level ? (zh ? "；已一致" : "; level") : "");
}

}  // namespace

Runner define_sync(CLI::App& command, Language language) {
  struct Arguments {
    bool watch = false, quiet = false;
    std::string proxy;
    std::int64_t timeout_s = 30;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_flag("--watch", arguments->watch,
                   help(language, {"保持连接，直到 Ctrl-C 或连接中断", "stay connected until Ctrl-C or until the connection breaks"}));
  command.add_option("--proxy", arguments->proxy,
                     help(language, {"改连 HOST:PORT（测试、测量用）", "connect to HOST:PORT instead (tests, measurements)"}));
  command
      .add_option("--timeout", arguments->timeout_s,
                  help(language, {"多少秒没有进展就放弃", "give up after so many seconds without progress"}))
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  command.add_flag("--quiet", arguments->quiet, help(language, {"不显示进度", "no progress"}));
  return [arguments](App& app) -> Result<int> {
    CancelToken cancel;
    const SignalWatch watch(cancel);
    DOORSTEP_ASSIGN(Replica replica, app.open());
    const bool terminal = isatty(STDERR_FILENO) != 0;
    bool line_open = false;
    SyncOptions options;
    options.watch = arguments->watch;
    options.proxy = arguments->proxy;
    options.timeout_ms = arguments->timeout_s * 1000;
    options.cancel = &cancel;
    if (!arguments->quiet) {
      options.progress = [&](const SyncProgress& progress) {
        if (app.json()) return print_note(progress_json(progress).object());
        const std::string text = progress_text(progress, app.language());
        if (!terminal) return print_note(text);
        std::fprintf(stderr, "\r\033[K%s", text.c_str());
        line_open = true;
      };
    }
    const auto report = sync(replica, options);
    if (line_open) std::fputc('\n', stderr);
    // Being told to stop is how watching ends.
    if (!report && report.code() == Code::cancelled && arguments->watch) return 0;
    if (!report) return report.error();
    if (!app.json())
      for (const std::string& warning : report->warnings) print_note(std::string(app.say({"提示：", "hint: "})) + warning);
    DOORSTEP_TRY(app.print(progress_json(*report).add("warnings", report->warnings), progress_text(*report, app.language())));
    return 0;
  };
}

}  // namespace doorstep::cli
