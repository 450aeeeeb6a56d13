#include "examples/cli/app.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

namespace doorstep::cli {

namespace {

class OffsetClock : public Clock {
 public:
  explicit OffsetClock(std::int64_t offset_ms) : offset_ms_(offset_ms) {}
  std::int64_t wall_ms() override {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count() + offset_ms_;
  }
  std::int64_t steady_ms() override {
    using namespace std::chrono;
    return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
  }

 private:
  std::int64_t offset_ms_;
};

/// The terminal without echo, until it goes; also Ctrl-C while typing must give the echo back.
class QuietTerminal {
 public:
  QuietTerminal() : file_(open("/dev/tty", O_RDWR | O_CLOEXEC)) {
    if (file_ < 0 || tcgetattr(file_, &before_) != 0) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ISIG);
    changed_ = tcsetattr(file_, TCSAFLUSH, &quiet) == 0;
  }
  ~QuietTerminal() {
    if (changed_) tcsetattr(file_, TCSAFLUSH, &before_);
    if (file_ >= 0) close(file_);
  }
  QuietTerminal(const QuietTerminal&) = delete;
  QuietTerminal& operator=(const QuietTerminal&) = delete;
  bool there() const { return changed_; }

  Result<std::string> ask(std::string_view prompt) {
    static_cast<void>(!write(file_, prompt.data(), prompt.size()));
    std::string out;
    out.reserve(1024);  // no copy of it stays behind in a smaller buffer
    char c = 0;
    while (read(file_, &c, 1) == 1 && c != '\n') {
      if (c == '\x03' || out.size() == 1024) return Error(Code::cancelled, "no passphrase was typed");
      out += c;
    }
    static_cast<void>(!write(file_, "\n", 1));
    return out;
  }

 private:
  int file_;
  bool changed_ = false;
  termios before_{};
};

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c); });
}
std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

}  // namespace

void Passphrase::wipe() {
  explicit_bzero(text_.data(), text_.size());
  text_.clear();
}

Result<Passphrase> read_passphrase(const std::string& file, Text prompt, bool twice, Language language) {
  if (!file.empty()) {
    std::ifstream in(file, std::ios::binary);
    std::string line(1025, '\0');
    in.read(line.data(), static_cast<std::streamsize>(line.size()));
    if (in.bad() || (!in && !in.eof())) return Error(Code::not_found, "the passphrase file " + file + " cannot be read");
    line.resize(std::min(static_cast<std::size_t>(in.gcount()), line.find_first_of("\r\n")));
    if (line.empty() || line.size() > 1024) return Error(Code::invalid_argument, "the first line of " + file + " is empty or too long");
    return Passphrase(std::move(line));
  }
  QuietTerminal terminal;
  if (!terminal.there()) return Error(Code::invalid_argument, "there is no terminal to type the passphrase at: use --passphrase-file");
  DOORSTEP_ASSIGN(std::string first, terminal.ask(std::string(prompt.in(language)) + ": "));
  Passphrase out(std::move(first));
  if (out.reveal().empty()) return Error(Code::cancelled, "no passphrase was typed");
  if (twice) {
    DOORSTEP_ASSIGN(std::string second, terminal.ask(std::string(Text{"再输入一次", "the same again"}.in(language)) + ": "));
    const Passphrase again(std::move(second));
    if (again.reveal() != out.reveal()) return Error(Code::invalid_argument, "the two passphrases differ");
  }
  return out;
}

Result<std::string> read_input(const std::string& name) {
  constexpr std::size_t bytes_max = 256u << 20;
  std::ifstream file;
  if (name != "-") {
    file.open(name, std::ios::binary);
    if (!file) return Error(Code::not_found, "the file " + name + " cannot be read: " + std::strerror(errno));
  }
  std::istream& in = name == "-" ? std::cin : file;
  std::string out;
  std::array<char, 65536> part{};
  while (in.read(part.data(), part.size()) || in.gcount() > 0) {
    out.append(part.data(), static_cast<std::size_t>(in.gcount()));
    if (out.size() > bytes_max) return Error(Code::too_large, "the input is larger than 256 MiB");
  }
  return out;
}

Clock* clock_of_environment() {
  const char* text = std::getenv("DOORSTEP_CLOCK_OFFSET_MS");
  if (!text || !*text) return nullptr;
  static OffsetClock clock(std::strtoll(text, nullptr, 10));
  return &clock;
}

ReplicaOptions App::replica_options() const {
  ReplicaOptions out{.directory = options_.store};
  out.clock = clock_of_environment();
  out.test_identities = options_.test_identities;
  return out;
}

Result<Replica> App::open() const {
  if (options_.store.empty()) return Error(Code::invalid_argument, "which store? give --store DIR or set DOORSTEP_STORE");
  DOORSTEP_ASSIGN(const Passphrase passphrase, read_passphrase(options_.passphrase_file, {"口令", "passphrase"}, false, options_.language));
  return Replica::open(replica_options(), passphrase.reveal());
}

Result<std::vector<SpaceInfo>> App::spaces(Replica& replica) const {
  DOORSTEP_ASSIGN(auto all, replica.spaces());
  if (all.empty()) return Error(Code::not_found, "this store has no space yet: found one or join one");
  if (options_.space.empty()) return all;
  std::vector<SpaceInfo> found;
  for (const auto& info : all)
    if (info.name == options_.space) found.push_back(info);
  if (found.empty() && is_hex(options_.space))
    for (const auto& info : all)
      if (info.id.hex().starts_with(lower(options_.space))) found.push_back(info);
  if (found.empty()) return Error(Code::not_found, "no space has the name or id \"" + options_.space + "\"; `space list` shows them");
  if (found.size() > 1) return Error(Code::conflict, "\"" + options_.space + "\" names several spaces; give more digits of the id");
  return found;
}

Result<SpaceInfo> App::space(Replica& replica) const {
  DOORSTEP_ASSIGN(auto found, spaces(replica));
  if (found.size() == 1) return std::move(found.front());
  std::string ids;
  for (const auto& info : found) ids += " " + short_id(info.id.hex());
  return Error(Code::invalid_argument, "this store has several spaces; choose with --space:" + ids);
}

Result<App::Place> App::place(Replica& replica, std::string_view id) const {
  const std::string wanted = lower(id);
  constexpr std::size_t digits = 2 * RecordId::size_bytes;
  if (!is_hex(wanted) || wanted.size() < 6 || wanted.size() > digits)
    return Error(Code::invalid_argument,
                 "\"" + std::string(id.substr(0, 40)) + "\" is no record id: 32 hexadecimal digits, or the first 6 or more");
  DOORSTEP_ASSIGN(const auto where, spaces(replica));
  if (wanted.size() == digits) {
    DOORSTEP_ASSIGN(const RecordId record, RecordId::parse(wanted));
    for (const auto& info : where) {
      const auto view = replica.get(info.id, record);
      if (view) return Place{info.id, record};
      if (view.code() != Code::not_found) return view.error();
    }
    return Error(Code::not_found, "no record " + wanted + " here");
  }
  std::vector<Place> found;
  for (const auto& info : where)
    for (const Kind* kind : replica.schema().kinds()) {
      DOORSTEP_ASSIGN(const auto records, replica.query(info.id, {.kind = kind->name}));
      for (const auto& record : records)
        if (record.id().hex().starts_with(wanted)) found.push_back({info.id, record.id()});
    }
  if (found.empty()) return Error(Code::not_found, "no record begins with " + wanted);
  if (found.size() == 1) return found.front();
  std::string ids;
  for (std::size_t i = 0; i < std::min<std::size_t>(found.size(), 5); ++i) ids += " " + found[i].record.hex();
  return Error(Code::conflict, wanted + " names " + std::to_string(found.size()) + " records; give more digits:" + ids);
}

Status App::print(const Json& json, std::string_view text) const { return print_line(options_.json ? json.object() : text); }

Status App::print_line(std::string_view line) const {
  if (cli::print_line(line)) return {};
  return Error(Code::full, std::string("standard output cannot be written: ") + std::strerror(errno));
}

void App::hint(Text text) const { print_note(say(text)); }

std::string local_time(std::int64_t ms) {
  using namespace std::chrono;
  const std::int64_t minutes = floor<std::chrono::minutes>(milliseconds(ms)).count() + 8 * 60;
  const sys_days day{floor<days>(std::chrono::minutes(minutes))};
  const year_month_day date(day);
  const auto of_day = minutes - duration_cast<std::chrono::minutes>(day.time_since_epoch()).count();
  std::array<char, 64> out{};
  std::snprintf(out.data(), out.size(), "%04d-%02u-%02u %02d:%02d", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(of_day / 60), static_cast<int>(of_day % 60));
  return out.data();
}

}  // namespace doorstep::cli
