// doorstep-sim: runs seeds, replays one, minimises a failing one. README.md tells how to read what it prints.
//
//   doorstep-sim --level memory|sqlite --seed N [--trace]           one run; a failing one is minimised
//   doorstep-sim --level memory|sqlite --seed N --steps FILE        that seed's village living through other steps, in the form that is
//   printed doorstep-sim --level memory|sqlite --from N --budget SECONDS    as many as fit, from N on (or --count) doorstep-sim --level
//   memory|sqlite --from N --count N --twice   each twice, and the same must happen
//
// A run that crashes, or takes longer than a minute, ends the process with the command that replays it.
// Exit code 1: an oracle was not content. The last line is `seeds N, failures N, seeds/s/core X`.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <string_view>

#include "sync/lab.hpp"
#include "tests/sim/world.hpp"

namespace doorstep::sim {
namespace {

struct Options {
  Level level = Level::memory;
  std::uint64_t from = 1, count = 1;
  double budget_s = 0;
  std::string steps;  // a file's name
  bool trace = false, twice = false;
};

const char* level_name(Level level) { return level == Level::memory ? "memory" : "sqlite"; }

// ---- What ends the process in the middle of a run

std::array<char, 160> replay{};  // as it is to be printed by a signal's handler

void name_run(const Script& script) {
  std::snprintf(replay.data(), replay.size(), "  replay: build/lab/bin/doorstep-sim --level %s --seed %llu --trace\n",
                level_name(script.level), static_cast<unsigned long long>(script.seed));
}

void on_signal(int signal) {
  constexpr std::string_view hangs = "FAILED: a run takes longer than a minute\n", crashes = "FAILED: a run crashed\n";
  for (const std::string_view line : {signal == SIGALRM ? hangs : crashes, std::string_view(replay.data())})
    (void)!::write(STDOUT_FILENO, line.data(), line.size());
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

constexpr unsigned run_s_max = 60;

Outcome run(const Script& script, bool trace) {
#ifdef DOORSTEP_LAB
  lab::seams.cheap = !script.real_suite;
  lab::seams.cheap_passphrases = true;
#endif
  for (std::size_t n = 0; n <= phones_max; ++n) (void)newborn_device(script.level, n);  // not from this run's dice
  seed_process(script.seed);
  name_run(script);
  ::alarm(run_s_max);
  World world(script, trace);
  const Outcome out = world.run();
  ::alarm(0);
  return out;
}

// Leaves out as many steps as it can, larger parts first (Zeller's ddmin), while the run still fails in the same way.
Script minimised(Script script, const std::string& failure) {
  for (std::size_t part = script.steps.size() / 2; part >= 1; part /= 2) {
    for (std::size_t at = 0; at < script.steps.size();) {
      Script less = script;
      const auto first = less.steps.begin() + static_cast<std::ptrdiff_t>(at);
      less.steps.erase(first, first + static_cast<std::ptrdiff_t>(std::min(part, script.steps.size() - at)));
      if (run(less, false).failure == failure)
        script = std::move(less);
      else
        at += part;
    }
  }
  return script;
}

void explain(const Script& script, const Outcome& outcome, bool shortest) {
  name_run(script);
  std::printf("seed %llu FAILED: %s (%s)\n%s", static_cast<unsigned long long>(script.seed), outcome.failure.c_str(), outcome.where.c_str(),
              replay.data());
  if (!shortest) return;
  const Script less = minimised(script, outcome.failure);
  std::printf("  %zu of %zu steps are enough:\n", less.steps.size(), script.steps.size());
  for (const auto& step : less.steps) std::printf("    %s\n", describe(step).c_str());
  std::fflush(stdout);
}

// Lines as describe() makes them.
bool read_steps(const std::string& path, Script& script) {
  std::ifstream in(path);
  script.steps.clear();
  for (std::string line; std::getline(in, line);) {
    if (line.find_first_not_of(' ') == std::string::npos) continue;
    const auto step = parse_step(line);
    if (!step) {
      std::fprintf(stderr, "%s: a step is `milliseconds act who dice`, not: %s\n", path.c_str(), line.c_str());
      return false;
    }
    script.steps.push_back(*step);
    script.end_ms = std::max(script.end_ms, step->at_ms);
  }
  if (script.steps.empty()) std::fprintf(stderr, "%s: there are no steps in it\n", path.c_str());
  return !script.steps.empty();
}

std::uint64_t number(const char* text) { return std::strtoull(text, nullptr, 10); }

bool parse(int argc, char** argv, Options& out) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (name == "--trace")
      out.trace = true;
    else if (name == "--twice")
      out.twice = true;
    else if (!value)
      return false;
    else if (name == "--seed")
      out.from = number(value), ++i;
    else if (name == "--steps")
      out.steps = value, ++i;
    else if (name == "--from")
      out.from = number(value), ++i;
    else if (name == "--count")
      out.count = number(value), ++i;
    else if (name == "--budget")
      out.budget_s = std::strtod(value, nullptr), out.count = UINT64_MAX, ++i;
    else if (name == "--level")
      out.level = std::strcmp(value, "sqlite") == 0 ? Level::sqlite : Level::memory, ++i;
    else
      return false;
  }
  return true;
}

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr,
                 "usage: doorstep-sim --level memory|sqlite (--seed N [--trace] [--steps FILE] | --from N (--count N [--twice] | --budget "
                 "SECONDS))\n");
    return 2;
  }
  spdlog::set_level(spdlog::level::off);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what happened before a crash is to be seen
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGALRM}) std::signal(signal, on_signal);
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  std::uint64_t seeds = 0, failures = 0, events = 0, transactions = 0, destroyed = 0, sessions = 0, power_cuts = 0;
  for (std::uint64_t seed = options.from; seeds < options.count && (options.budget_s == 0 || seconds() < options.budget_s); ++seed) {
    Script script = make_script(seed, options.level);
    if (!options.steps.empty() && !read_steps(options.steps, script)) return 2;
    Outcome outcome = run(script, options.trace);
    if (options.twice && outcome.ok() && run(script, false).digest != outcome.digest) outcome.failure = "two runs of one seed differ";
    ++seeds;
    events += outcome.events, transactions += outcome.transactions, destroyed += outcome.destroyed;
    sessions += outcome.sessions, power_cuts += outcome.power_cuts;
    if (outcome.ok()) continue;
    explain(script, outcome, ++failures <= 5);
  }
  const double cpu_s = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;  // of this process: one core's work
  const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf("%s: events %llu, transactions %llu (%llu destroyed by the script), sessions %llu, power cuts %llu\n",
              level_name(options.level), n(events), n(transactions), n(destroyed), n(sessions), n(power_cuts));
  std::printf("seeds %llu, failures %llu, seeds/s/core %.1f\n", n(seeds), n(failures), static_cast<double>(seeds) / cpu_s);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace doorstep::sim

int main(int argc, char** argv) { return doorstep::sim::main(argc, argv); }
