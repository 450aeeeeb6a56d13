// What a machine can see of the house rules by reading the sources. Each rule is a function from (path, text) to
// complaints, so that the last test can plant a violation of each and see it found.
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sync/limits.hpp"

namespace {

namespace fs = std::filesystem;
using Complaints = std::vector<std::string>;

// ---- Who may include what. The row with the longest matching prefix holds alone.
// "std" is any header of C++ that the row does not ban; "posix" any <unistd.h>, <sys/...> and the like.

struct Row {
  std::string_view files;
  std::vector<std::string_view> may_include;
  bool pure;  // no threads, no streams, no file system, no clock of its own: it runs where there are none (wasm32)
};

const std::vector<Row> rows = {
    // clang-format off
    {"sync/",                 {"std", "sync/"}, true},
    {"sync/crypto.",          {"std", "sync/", "sodium.h"}, true},
    {"sync/secret.",          {"std", "sync/", "sodium.h"}, true},
    {"sync/codec.",           {"std", "sync/", "cereal/"}, true},
    {"sync/compress.",        {"std", "sync/", "zstd.h", "zstd_errors.h", "zdict.h"}, true},

    {"sdk/",                  {"std", "sync/", "sdk/", "doorstep/"}, true},
    {"sdk/include/doorstep/", {"std", "sync/", "doorstep/"}, true},
    {"sdk/records/",          {"std", "sync/", "sdk/", "doorstep/", "utf8proc.h", "nlohmann/"}, true},
    {"sdk/store/",            {"std", "sync/", "sdk/", "doorstep/", "sqlite3.h"}, true},
    {"sdk/store/files.",      {"std", "sync/", "sdk/", "doorstep/", "posix"}, true},
    {"sdk/driver/",           {"std", "sync/", "sdk/", "doorstep/", "boost/", "posix"}, false},

    {"server/",               {"std", "sync/", "server/", "spdlog/", "fmt/"}, false},
    {"server/worker.",        {"std", "sync/", "server/", "spdlog/", "fmt/", "malloc.h"}, false},
    {"server/store/",         {"std", "sync/", "server/", "spdlog/", "fmt/", "sqlite3.h", "posix"}, false},
    {"server/relay.",         {"std", "sync/", "server/", "spdlog/", "fmt/", "boost/"}, false},
    {"server/hub.",           {"std", "sync/", "server/", "spdlog/", "fmt/", "boost/"}, false},
    {"server/listener.",      {"std", "sync/", "server/", "spdlog/", "fmt/", "boost/"}, false},
    {"server/connection.",    {"std", "sync/", "server/", "spdlog/", "fmt/", "boost/"}, false},
    {"server/main.",          {"std", "sync/", "server/", "spdlog/", "fmt/", "boost/", "CLI/", "posix"}, false},
    {"server/config.",        {"std", "sync/", "server/", "fmt/", "CLI/", "posix"}, false},

    {"examples/",             {"std", "doorstep/", "examples/", "CLI/", "nlohmann/", "posix"}, false},
    // clang-format on
};

const std::set<std::string_view> banned_where_pure = {"thread",  "mutex",      "shared_mutex", "condition_variable",
                                                      "future",  "stop_token", "filesystem",   "iostream",
                                                      "fstream", "sstream",    "istream",      "ostream",
                                                      "iomanip", "format",     "regex",        "random",
                                                      "ctime",   "chrono",     "locale",       "csignal",
                                                      "barrier", "semaphore",  "latch"};

constexpr std::size_t columns_max = 140;
constexpr std::size_t lines_max = 900;

// ---- Reading

const fs::path top = DOORSTEP_SOURCE_DIR;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

bool ends_with_any(std::string_view path, std::initializer_list<std::string_view> ends) {
  for (const auto end : ends)
    if (path.ends_with(end)) return true;
  return false;
}
bool is_cpp(std::string_view path) { return ends_with_any(path, {".cpp", ".hpp", ".h"}); }
bool is_text(std::string_view path) {
  return is_cpp(path) || ends_with_any(path, {".md", ".sh", ".txt", ".in", ".json", ".sql", ".ts", ".csv", ".toml", ".clang-format",
                                              ".clang-tidy", ".gitignore", ".ci/run"});
}

struct File {
  std::string path;  // from the top, with '/'
  std::string text;
};

// Every text file of the project; builds and hidden folders (but .ci) are not.
const std::vector<File>& files() {
  static const std::vector<File> all = [] {
    std::vector<File> out;
    for (auto it = fs::recursive_directory_iterator(top); it != fs::recursive_directory_iterator(); ++it) {
      const std::string name = it->path().filename().string();
      if (it->is_directory()) {
        const bool skipped = (name.starts_with(".") && name != ".ci") || name == "node_modules" ||
                             (it.depth() == 0 && (name.starts_with("build") || name == "out"));
        if (skipped) it.disable_recursion_pending();
        continue;
      }
      const std::string path = it->path().lexically_relative(top).generic_string();
      if (it->is_regular_file() && is_text(path)) out.push_back({path, read(it->path())});
    }
    return out;
  }();
  return all;
}

std::string at(std::string_view path, std::size_t line, std::string_view what) {
  return std::string(path) + ":" + std::to_string(line + 1) + ": " + std::string(what);
}

// ---- The rules

using Rule = Complaints (*)(std::string_view path, std::string_view text);

Complaints layering(std::string_view path, std::string_view text) {
  if (!is_cpp(path)) return {};
  const Row* row = nullptr;
  for (const Row& candidate : rows)
    if (path.starts_with(candidate.files) && (!row || candidate.files.size() > row->files.size())) row = &candidate;
  if (!row) return {};

  Complaints out;
  const auto lines = lines_of(text);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (!lines[i].starts_with("#include ")) continue;
    const auto from = lines[i].find_first_of("<\"") + 1;
    const std::string_view header = lines[i].substr(from, lines[i].find_first_of(">\"", from) - from);
    const bool standard = lines[i][from - 1] == '<' && header.find_first_of("./") == std::string_view::npos;
    if (standard && row->pure && banned_where_pure.contains(header))
      out.push_back(at(path, i, "<" + std::string(header) + "> in pure code"));
    static const std::set<std::string_view> posix = {"unistd.h", "fcntl.h", "termios.h", "poll.h", "signal.h", "dirent.h"};
    bool allowed = false;
    for (const auto may : row->may_include)
      allowed = allowed || (may == "std" && standard) || (may == "posix" && (posix.contains(header) || header.starts_with("sys/"))) ||
                (may.ends_with("/") ? header.starts_with(may) : header == may);
    if (!allowed) out.push_back(at(path, i, "may not include " + std::string(header)));
  }
  return out;
}

Complaints header_guard(std::string_view path, std::string_view text) {
  if (!path.ends_with(".hpp") || text.find("#pragma once\n") != std::string_view::npos) return {};
  return {std::string(path) + ": no #pragma once"};
}

Complaints sizes(std::string_view path, std::string_view text) {
  if (!is_cpp(path) && !ends_with_any(path, {".sh", "CMakeLists.txt"})) return {};
  Complaints out;
  const auto lines = lines_of(text);
  if (lines.size() > lines_max) out.push_back(std::string(path) + ": " + std::to_string(lines.size()) + " lines, more than one subject?");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::size_t columns = 0;  // in characters, not bytes
    for (const char c : lines[i]) columns += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    if (columns > columns_max) out.push_back(at(path, i, std::to_string(columns) + " columns"));
  }
  return out;
}

// The words are put together here so that this file does not contain them.
Complaints words(std::string_view path, std::string_view text) {
  static const std::vector<std::pair<std::string, std::string_view>> unwanted = {{"/wo"
                                                                                  "rk/",
                                                                                  "a path of somebody's machine"},
                                                                                 {"/ro"
                                                                                  "ot/",
                                                                                  "a path of somebody's machine"},
                                                                                 {"TO"
                                                                                  "DO",
                                                                                  "do it or say in the issue"},
                                                                                 {"FIX"
                                                                                  "ME",
                                                                                  "do it or say in the issue"}};
  Complaints out;
  const auto lines = lines_of(text);
  for (std::size_t i = 0; i < lines.size(); ++i)
    for (const auto& [word, why] : unwanted) {
      const auto found = lines[i].find(word);
      if (found == std::string_view::npos) continue;
      // "network/..." is no path of a machine.
      if (word[0] == '/' && found > 0 && (std::isalnum(static_cast<unsigned char>(lines[i][found - 1])) || lines[i][found - 1] == '_'))
        continue;
      out.push_back(at(path, i, word + ": " + std::string(why)));
    }
  return out;
}

Complaints no_sleeping(std::string_view path, std::string_view text) {
  if (!path.starts_with("tests/") || path.starts_with("tests/bench/") || !is_cpp(path)) return {};  // a workload may pause
  Complaints out;
  const auto lines = lines_of(text);
  for (std::size_t i = 0; i < lines.size(); ++i)
    for (const auto call : {"sleep"
                            "_for",
                            "sleep"
                            "_until",
                            "u"
                            "sleep(",
                            "nano"
                            "sleep("})
      if (lines[i].find(call) != std::string_view::npos && lines[i].find("// a random moment") == std::string_view::npos)
        out.push_back(at(path, i, "a test waits for an event with a deadline, it does not sleep"));
  return out;
}

// g++ 12 destroys temporaries of a co_await expression twice: a capturing lambda, or an aggregate in braces.
// A heuristic: from co_await to the end of its full expression, no `[x]` that begins a lambda, no `{` inside parentheses.
Complaints co_await_temporaries(std::string_view path, std::string_view text) {
  if (!is_cpp(path)) return {};
  static constexpr std::string_view keyword =
      "co_"
      "await ";
  Complaints out;
  for (auto found = text.find(keyword); found != std::string_view::npos; found = text.find(keyword, found + 1)) {
    const auto line_start = text.rfind('\n', found) + 1;
    const auto line = static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(found), '\n'));
    if (text.substr(line_start, found - line_start).find("//") != std::string_view::npos) continue;
    int depth = 0;
    char before = ' ';  // last character that is no space
    for (auto i = found + keyword.size(); i < text.size(); ++i) {
      const char c = text[i];
      if (c == '"') {
        for (++i; i < text.size() && text[i] != '"'; ++i)
          if (text[i] == '\\') ++i;
        before = '"';
        continue;
      }
      if (c == '(') ++depth;
      if (c == ')' && --depth < 0) break;
      if (c == ';') break;
      const bool subscript = std::isalnum(static_cast<unsigned char>(before)) || before == '_' || before == ')' || before == ']';
      if (c == '[' && !subscript && i + 1 < text.size() && text[i + 1] != ']') {
        out.push_back(at(path, line, "a capturing lambda in a co_await expression: name it first"));
        break;
      }
      if (c == '{' && depth > 0) {
        out.push_back(at(path, line, "braces in a co_await expression: name the object first"));
        break;
      }
      if (!std::isspace(static_cast<unsigned char>(c))) before = c;
    }
  }
  return out;
}

const std::map<std::string, Rule> rules = {
    {"layering", layering}, {"header_guard", header_guard}, {"sizes", sizes},
    {"words", words},       {"no_sleeping", no_sleeping},   {"co_await_temporaries", co_await_temporaries}};

class TidyRule : public testing::TestWithParam<std::string> {};

TEST_P(TidyRule, HoldsInEveryFile) {
  for (const File& file : files())
    for (const std::string& complaint : rules.at(GetParam())(file.path, file.text)) ADD_FAILURE() << complaint;
}

INSTANTIATE_TEST_SUITE_P(Tidy, TidyRule,
                         testing::Values("layering", "header_guard", "sizes", "words", "no_sleeping", "co_await_temporaries"),
                         [](const auto& rule) { return rule.param; });

TEST(Tidy, ReadsTheWholeProject) {
  std::set<std::string> folders;
  for (const File& file : files()) folders.insert(file.path.substr(0, file.path.find('/')));
  for (const char* folder : {"sync", "sdk", "server", "examples", "tests", ".ci"}) EXPECT_TRUE(folders.contains(folder)) << folder;
}

// CMake takes tests/<dir>/*.cpp of the folders with a *_test.cpp, tests/sim/*.cpp, tests/bench/*_bench.cpp, tests/bench/village/*.cpp and
// tests/fuzz/*_fuzz.cpp.
TEST(Tidy, EveryTestFileIsCompiled) {
  std::set<std::string> tested;
  for (const File& file : files())
    if (file.path.starts_with("tests/") && file.path.ends_with("_test.cpp"))
      tested.insert(fs::path(file.path).parent_path().generic_string());
  for (const File& file : files()) {
    if (!file.path.starts_with("tests/") || !file.path.ends_with(".cpp")) continue;
    const std::string folder = fs::path(file.path).parent_path().generic_string();
    const bool compiled = (tested.contains(folder) && fs::path(folder).parent_path() == "tests") || file.path == "tests/test_main.cpp" ||
                          folder == "tests/bench/village" || folder == "tests/sim" ||
                          (folder == "tests/bench" && file.path.ends_with("_bench.cpp")) ||
                          (folder == "tests/fuzz" && file.path.ends_with("_fuzz.cpp")) || file.path == "tests/consumer/main.cpp";
    EXPECT_TRUE(compiled) << file.path << " is in no executable (see tests/CMakeLists.txt)";
  }
}

TEST(Tidy, EveryFuzzerHasACorpus) {
  for (const File& file : files()) {
    if (!file.path.starts_with("tests/fuzz/") || !file.path.ends_with("_fuzz.cpp")) continue;
    std::string name = fs::path(file.path).stem().string();
    name.resize(name.size() - std::string_view("_fuzz").size());
    const fs::path corpus = top / "tests/fuzz/corpus" / name;
    EXPECT_TRUE(fs::is_directory(corpus) && !fs::is_empty(corpus)) << file.path << " has nothing to replay in tests/fuzz/corpus/" << name;
  }
}

// ---- Documents equal code

// The rows `| `name` | value |` of a Markdown document.
std::map<std::string, std::uint64_t> table_rows(std::string_view document) {
  std::map<std::string, std::uint64_t> out;
  for (const auto line : lines_of(document)) {
    if (!line.starts_with("| `")) continue;
    const auto end = line.find('`', 3);
    const auto bar = line.find('|', end == std::string_view::npos ? 0 : end);
    if (end == std::string_view::npos || bar == std::string_view::npos) continue;
    std::string digits;
    for (const char c : line.substr(bar + 1, line.find('|', bar + 1) - bar - 1)) {
      if (c >= '0' && c <= '9')
        digits += c;
      else if (c != ' ')
        digits += 'x';
    }
    if (!digits.empty() && digits.size() < 20 && digits.find('x') == std::string::npos)
      out[std::string(line.substr(3, end - 3))] = std::stoull(digits);
  }
  return out;
}

// Written by CMake from sync/limits.hpp: {"name", doorstep::limits::name}, for each constant there.
const std::vector<std::pair<std::string_view, std::uint64_t>> limits_of_the_code = {
#include "limits_table.inc"
};

TEST(Tidy, LimitsInTheProtocolDocumentEqualTheCode) {
  const std::string header = read(top / "sync/limits.hpp");
  std::size_t constants = 0;
  for (const auto line : lines_of(header)) constants += line.starts_with("inline constexpr ");
  ASSERT_EQ(limits_of_the_code.size(), constants) << "CMake did not understand every constant of sync/limits.hpp";

  const auto documented = table_rows(read(top / "sync/PROTOCOL.md"));
  for (const auto& [name, value] : limits_of_the_code) {
    const auto row = documented.find(std::string(name));
    if (row == documented.end())
      ADD_FAILURE() << "sync/PROTOCOL.md has no row | `" << name << "` | " << value << " |";
    else
      EXPECT_EQ(row->second, value) << "sync/PROTOCOL.md, row " << name;
  }
}

TEST(Tidy, ProtocolVersionInTheDocumentEqualsTheCode) {
  std::vector<std::uint64_t> in_code;
  for (const File& file : files()) {
    if (!file.path.starts_with("sync/") || !file.path.ends_with(".hpp")) continue;
    for (const auto line : lines_of(file.text)) {
      const auto found = line.find(" protocol_version = ");
      if (line.starts_with("inline constexpr ") && found != std::string_view::npos)
        in_code.push_back(std::stoull(std::string(line.substr(found + std::string_view(" protocol_version = ").size()))));
    }
  }
  ASSERT_EQ(in_code.size(), 1u) << "one `inline constexpr ... protocol_version = N;` in sync/*.hpp";
  const auto documented = table_rows(read(top / "sync/PROTOCOL.md"));
  ASSERT_TRUE(documented.contains("protocol_version")) << "sync/PROTOCOL.md has no row | `protocol_version` | " << in_code[0] << " |";
  EXPECT_EQ(documented.at("protocol_version"), in_code[0]);
}

TEST(Tidy, EveryCodeHasItsNumberAndItsName) {
  const std::string header = read(top / "sync/result.hpp"), source = read(top / "sync/result.cpp");
  std::set<std::string> numbers;
  bool inside = false;
  for (auto line : lines_of(header)) {
    if (line.starts_with("enum class Code")) inside = true;
    if (line.starts_with("};")) inside = false;
    const auto equals = line.find(" = ");
    if (!inside || !line.starts_with("  ") || equals == std::string_view::npos) continue;
    const std::string name(line.substr(2, equals - 2)), number(line.substr(equals + 3, line.find(',') - equals - 3));
    EXPECT_TRUE(numbers.insert(number).second) << "number " << number << " is used twice";
    EXPECT_NE(source.find("case Code::" + name + ": return \"" + name + "\";"), std::string::npos) << "code_name does not know " << name;
  }
  EXPECT_GT(numbers.size(), 20u) << "did not understand enum class Code";
}

TEST(Tidy, VersionIsTheSameEverywhere) {
  const std::string header = read(top / "sdk/include/doorstep/version.hpp");
  std::string version;
  for (const auto line : lines_of(header))
    if (line.starts_with("#define DOORSTEP_VERSION_"))
      version += (version.empty() ? "" : ".") + std::string(line.substr(line.rfind(' ') + 1));
  EXPECT_NE(header.find("version = \"" + version + "\""), std::string::npos) << version;
}

// ---- The rules themselves

TEST(Tidy, FindsWhatIsPlanted) {
  const auto finds = [](const char* rule, const char* path, const std::string& text) { return rules.at(rule)(path, text).size() == 1; };
  const auto is_quiet = [](const char* rule, const char* path, const std::string& text) { return rules.at(rule)(path, text).empty(); };

  EXPECT_TRUE(finds("layering", "sync/merge.cpp", "#include <sodium.h>\n"));
  EXPECT_TRUE(finds("layering", "sync/merge.cpp", "#include \"sdk/replica.hpp\"\n"));
  EXPECT_TRUE(finds("layering", "sync/merge.cpp", "#include <mutex>\n"));
  EXPECT_TRUE(finds("layering", "sync/merge.cpp", "#include \"merge.hpp\"\n"));
  EXPECT_TRUE(finds("layering", "sdk/replica.cpp", "#include \"server/hub.hpp\"\n"));
  EXPECT_TRUE(finds("layering", "sdk/include/doorstep/doorstep.hpp", "#include \"sdk/replica.hpp\"\n"));
  EXPECT_TRUE(finds("layering", "server/store/sqlite_store.cpp", "#include <boost/asio.hpp>\n"));
  EXPECT_TRUE(finds("layering", "examples/cli/main.cpp", "#include \"sync/ids.hpp\"\n"));
  EXPECT_TRUE(is_quiet("layering", "sync/crypto.cpp", "#include <sodium.h>\n#include <vector>\n#include \"sync/ids.hpp\"\n"));
  EXPECT_TRUE(is_quiet("layering", "sdk/driver/driver.cpp", "#include <boost/asio/ip/tcp.hpp>\n#include <thread>\n"));

  EXPECT_TRUE(finds("header_guard", "sync/a.hpp", "int x;\n"));
  EXPECT_TRUE(finds("sizes", "sync/a.cpp", std::string(141, 'x') + "\n"));
  EXPECT_TRUE(finds("sizes", "sync/a.cpp", [] {
    std::string text;
    for (int i = 0; i < 901; ++i) text += "x\n";
    return text;
  }()));
  EXPECT_TRUE(is_quiet("sizes", "sync/a.cpp", [] {
    std::string text = "// ";
    for (int i = 0; i < 100; ++i) text += "\xE6\x9D\x91";
    return text + "\n";
  }()));
  EXPECT_TRUE(finds("words", "README.md", std::string("see /wo") + "rk/main\n"));
  EXPECT_TRUE(finds("words", "sync/a.cpp", std::string("// TO") + "DO: later\n"));
  EXPECT_TRUE(is_quiet("words", "README.md", std::string("netwo") + "rk/transport\n"));
  EXPECT_TRUE(finds("no_sleeping", "tests/sdk/a_test.cpp", std::string("std::this_thread::sleep") + "_for(1s);\n"));

  const std::string await = std::string("co_") + "await ";
  const auto in_coroutine = [&](const char* expression) { return "  " + await + expression + ";\n"; };
  EXPECT_TRUE(finds("co_await_temporaries", "sdk/driver/a.cpp", in_coroutine("f([x] { return x; })")));
  EXPECT_TRUE(finds("co_await_temporaries", "sdk/driver/a.cpp", in_coroutine("f(Options{.a = 1})")));
  EXPECT_TRUE(finds("co_await_temporaries", "sdk/driver/a.cpp", in_coroutine("f({a, b})")));
  EXPECT_TRUE(finds("co_await_temporaries", "sdk/driver/a.cpp", in_coroutine("f(names[i], \"{\", [] { return 1; }())")));
  EXPECT_TRUE(is_quiet("co_await_temporaries", "sdk/driver/a.cpp", in_coroutine("f(names[i], \"{\", g()[0])")));
  EXPECT_TRUE(is_quiet("co_await_temporaries", "sdk/driver/a.cpp", "  if (" + await + "f(x)) { g({1}); }\n"));

  EXPECT_EQ(table_rows("| `frame_bytes_max` | 65535 |\n| `other` | about 5 |\n"),
            (std::map<std::string, std::uint64_t>{{"frame_bytes_max", 65535}}));
}

}  // namespace
