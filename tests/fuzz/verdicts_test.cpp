// The committed corpus in every build: no input breaks a promise, and every build comes to the same verdicts. A change that is meant:
//   DOORSTEP_REWRITE=1 build/dev/bin/tests_fuzz      writes the seeds that are missing, and verdicts.txt anew
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "tests/fuzz/target.hpp"

namespace doorstep::fuzz {
namespace {

const std::filesystem::path folder = std::filesystem::path(DOORSTEP_TEST_DATA) / "fuzz";
constexpr std::size_t file_bytes_max = 4096;

bool rewrite() { return std::getenv("DOORSTEP_REWRITE") != nullptr; }

Bytes read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void write_seeds(const Target& target) {
  if (!target.seeds) return;
  std::filesystem::create_directories(folder / "corpus" / target.name);
  for (const auto& seed : target.seeds()) {
    const auto path = folder / "corpus" / target.name / seed.name;
    if (std::filesystem::exists(path)) continue;
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(seed.bytes.data()), static_cast<std::streamsize>(seed.bytes.size()));
  }
}

std::string text_of(const Verdict& verdict) {
  char out[17];
  std::snprintf(out, sizeof out, "%016llx", static_cast<unsigned long long>(verdict.number()));
  return out;
}

/// "name/file" to verdict.
std::map<std::string, std::string> verdicts(const Target& target) {
  std::map<std::string, std::string> out;
  for (const auto& file : std::filesystem::directory_iterator(folder / "corpus" / target.name)) {
    const Bytes input = read(file.path());
    const auto name = target.name + "/" + file.path().filename().string();
    EXPECT_LE(input.size(), file_bytes_max) << name << " is too large for a corpus";
    Verdict first, second;
    target.run(input, first);
    target.run(input, second);
    EXPECT_EQ(first.number(), second.number()) << name << ": a second run judges it differently";
    out[name] = text_of(first);
  }
  return out;
}

TEST(FuzzCorpus, EveryBuildComesToTheSameVerdicts) {
  std::map<std::string, std::string> found, expected;
  for (const auto& target : targets()) {
    if (rewrite()) write_seeds(target);
    found.merge(verdicts(target));
  }
  if (rewrite()) {
    std::ofstream out(folder / "verdicts.txt");
    for (const auto& [name, verdict] : found) out << name << " " << verdict << "\n";
    return;
  }
  std::ifstream in(folder / "verdicts.txt");
  for (std::string name, verdict; in >> name >> verdict;) expected[name] = verdict;
  EXPECT_EQ(found.size(), expected.size()) << "a corpus file has no line in verdicts.txt, or the other way round";
  for (const auto& [name, verdict] : found) EXPECT_EQ(expected[name], verdict) << name;
}

TEST(FuzzCorpus, EveryTargetHasSeeds) {
  EXPECT_GE(targets().size(), 16u);
  for (const auto& target : targets()) {
    const auto corpus = folder / "corpus" / target.name;
    EXPECT_TRUE(std::filesystem::is_directory(corpus) && !std::filesystem::is_empty(corpus)) << target.name;
  }
}

}  // namespace
}  // namespace doorstep::fuzz
