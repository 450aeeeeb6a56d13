// doorstep-sim: runs seeds, replays one, minimises a failing one. README.md tells how to read what it prints.
//
//   doorstep-sim --level memory|sqlite --seed N [--trace]           one run; a failing one is minimised
//   doorstep-sim --level memory|sqlite --from N --budget SECONDS    as many as fit, from N on (or --count)
//   doorstep-sim --level memory|sqlite --from N --count N --twice   each twice, and the same must happen
//
// Exit code 1: an oracle was not content. The last line is `seeds N, failures N, seeds/s/core X`.
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "sync/lab.hpp"
#include "tests/sim/world.hpp"

namespace doorstep::sim {
namespace {

struct Options {
  Level level = Level::memory;
  std::uint64_t from = 1, count = 1;
  double budget_s = 0;
  bool trace = false, twice = false, minimise = false;
};

Outcome run(const Script& script, bool trace) {
  seed_process(script.seed);
#ifdef DOORSTEP_LAB
  lab::seams.cheap = !script.real_suite;
  lab::seams.cheap_passphrases = true;
#endif
  World world(script, trace);
  return world.run();
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

const char* level_name(Level level) { return level == Level::memory ? "memory" : "sqlite"; }

void explain(const Script& script, const Outcome& outcome) {
  std::printf("seed %llu FAILED: %s (%s)\n  replay: doorstep-sim --level %s --seed %llu --trace\n",
              static_cast<unsigned long long>(script.seed), outcome.failure.c_str(), outcome.where.c_str(), level_name(script.level),
              static_cast<unsigned long long>(script.seed));
  const Script less = minimised(script, outcome.failure);
  std::printf("  %zu of %zu steps are enough:\n", less.steps.size(), script.steps.size());
  for (const auto& step : less.steps) std::printf("    %s\n", describe(step).c_str());
  std::fflush(stdout);
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
      out.from = number(value), out.minimise = true, ++i;
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
                 "usage: doorstep-sim --level memory|sqlite (--seed N [--trace] | --from N (--count N [--twice] | --budget SECONDS))\n");
    return 2;
  }
  spdlog::set_level(spdlog::level::off);
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  std::uint64_t seeds = 0, failures = 0, events = 0, transactions = 0, destroyed = 0, sessions = 0, power_cuts = 0;
  for (std::uint64_t seed = options.from; seeds < options.count && (options.budget_s == 0 || seconds() < options.budget_s); ++seed) {
    const Script script = make_script(seed, options.level);
    Outcome outcome = run(script, options.trace);
    if (options.twice && outcome.ok() && run(script, false).digest != outcome.digest) outcome.failure = "two runs of one seed differ";
    ++seeds;
    events += outcome.events, transactions += outcome.transactions, destroyed += outcome.destroyed;
    sessions += outcome.sessions, power_cuts += outcome.power_cuts;
    if (outcome.ok()) continue;
    if (++failures <= 5) explain(script, outcome);
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
