// What every command needs: the options before the command's name, the store, the space, the records that a prefix names.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "doorstep/doorstep.hpp"
#include "examples/cli/messages.hpp"
#include "examples/cli/output.hpp"

namespace CLI {
class App;
}

namespace doorstep::cli {

struct Options {
  std::string store;
  std::string passphrase_file;
  std::string space;  ///< Hex prefix or name; empty: the only one.
  Language language = Language::en;
  bool json = false;
  bool test_identities = false;  ///< Accept citizen ids of the unassigned area 99.
};

/// A passphrase, wiped when it goes.
class Passphrase {
 public:
  explicit Passphrase(std::string text) : text_(std::move(text)) {}
  Passphrase(Passphrase&& other) noexcept : text_(other.text_) { other.wipe(); }
  Passphrase& operator=(Passphrase&&) = delete;
  ~Passphrase() { wipe(); }
  std::string_view reveal() const { return text_; }

 private:
  void wipe();
  std::string text_;
};

/// From the first line of `file`, or, if that is empty, typed at the terminal without echo (twice if `twice`).
Result<Passphrase> read_passphrase(const std::string& file, Text prompt, bool twice, Language language);

/// All of a file, or of standard input if `name` is "-".
Result<std::string> read_input(const std::string& name);

/// Without echo or clock of its own: the system's time plus DOORSTEP_CLOCK_OFFSET_MS, for tests of wrong clocks.
Clock* clock_of_environment();

class App {
 public:
  explicit App(Options options) : options_(std::move(options)) {}

  const Options& options() const { return options_; }
  Language language() const { return options_.language; }
  bool json() const { return options_.json; }
  std::string_view say(Text text) const { return text.in(options_.language); }

  ReplicaOptions replica_options() const;
  Result<Replica> open() const;
  /// The space that --space names, or the only one.
  Result<SpaceInfo> space(Replica& replica) const;
  /// The spaces that --space leaves: one, or all.
  Result<std::vector<SpaceInfo>> spaces(Replica& replica) const;

  struct Place {
    SpaceId space;
    RecordId record;
  };
  /// The record that a full id or a prefix of at least 6 digits names, in one of spaces(). Code::not_found; Code::conflict names
  /// the candidates of an ambiguous prefix.
  Result<Place> place(Replica& replica, std::string_view id) const;

  /// Prints a result: the JSON with --json, else the text. Code::full if standard output takes no more.
  Status print(const Json& json, std::string_view text) const;
  Status print_line(std::string_view line) const;
  void hint(Text text) const;

 private:
  Options options_;
};

/// What a command does; the value is its exit code.
using Runner = std::function<Result<int>(App&)>;

/// Moments as people read them: 2026-11-23 09:30, in China's time.
std::string local_time(std::int64_t ms);
/// A prefix long enough to name something among a few thousand.
inline std::string short_id(std::string_view hex) { return std::string(hex.substr(0, 8)); }

}  // namespace doorstep::cli
