#include "tests/sim/script.hpp"

#include <algorithm>
#include <sstream>

namespace doorstep::sim {

const char* act_name(Act act) {
  static constexpr const char* names[] = {"write",
                                          "edit",
                                          "pair",
                                          "bulk",
                                          "resolve",
                                          "sync",
                                          "stay",
                                          "rotate",
                                          "role",
                                          "cut",
                                          "power_cut",
                                          "power_cut_later",
                                          "close",
                                          "full",
                                          "room",
                                          "backup",
                                          "restore",
                                          "clone",
                                          "rot",
                                          "clock_off",
                                          "clock_stuck",
                                          "clock_mended",
                                          "partition",
                                          "relay_cut",
                                          "relay_cut_later",
                                          "relay_backup",
                                          "relay_restore",
                                          "relay_wipe",
                                          "relay_down",
                                          "lose"};
  static_assert(std::size(names) == acts);
  return names[static_cast<std::size_t>(act)];
}

std::string describe(const Step& step) {
  return std::to_string(step.at_ms) + " " + act_name(step.act) + " " + std::to_string(step.who) + " " + std::to_string(step.dice);
}

std::optional<Step> parse_step(const std::string& line) {
  std::istringstream in(line);
  Step out;
  std::string name;
  if (!(in >> out.at_ms >> name >> out.who >> out.dice)) return std::nullopt;
  for (std::size_t i = 0; i < acts; ++i) {
    out.act = static_cast<Act>(i);
    if (name == act_name(out.act)) return out;
  }
  return std::nullopt;
}

namespace {

constexpr std::int64_t minute_ms = 60'000, hour_ms = 60 * minute_ms, day_ms = 24 * hour_ms;

// Swarm testing (Groce et al., ISSTA 2012): each run has some of the faults, so that they do not hide each other.
struct Weights {
  std::vector<std::pair<Act, unsigned>> acts;
  unsigned total = 0;
  void add(Act act, unsigned weight) {
    if (weight == 0) return;
    acts.emplace_back(act, weight);
    total += weight;
  }
  Act draw(Dice& dice) const {
    auto roll = dice.below(total);
    for (const auto& [act, weight] : acts) {
      if (roll < weight) return act;
      roll -= weight;
    }
    return acts.back().first;
  }
};

Weights make_weights(Dice& dice, Level level, std::uint64_t seed) {
  Weights out;
  out.add(Act::write, 30);
  out.add(Act::edit, 30);
  out.add(Act::pair, 6);
  out.add(Act::bulk, 3);
  out.add(Act::resolve, 4);
  out.add(Act::sync, 45);
  const auto sometimes = [&](std::initializer_list<std::pair<Act, unsigned>> acts, unsigned percent) {
    if (!dice.chance(percent)) return;
    for (const auto& [act, weight] : acts) out.add(act, weight);
  };
  sometimes({{Act::stay, 8}}, 40);
  sometimes({{Act::rotate, 2}, {Act::role, 2}}, 30);
  sometimes({{Act::cut, 1}}, 20);
  sometimes({{Act::power_cut, 4}, {Act::power_cut_later, 6}, {Act::close, 2}}, 50);
  sometimes({{Act::full, 2}, {Act::room, 3}}, 20);
  sometimes({{Act::backup, 8}, {Act::restore, 8}}, 30);
  sometimes({{Act::clone, 1}}, 20);
  sometimes({{Act::clock_off, 3}, {Act::clock_stuck, 1}, {Act::clock_mended, 1}}, 30);
  sometimes({{Act::partition, 4}}, 40);
  sometimes({{Act::relay_cut, 3}, {Act::relay_cut_later, 3}, {Act::relay_down, 2}}, 40);
  sometimes({{Act::relay_backup, 2}, {Act::relay_restore, 2}}, 25);
  sometimes({{Act::relay_wipe, 1}}, 20);
  if (level == Level::sqlite) sometimes({{Act::rot, 1}}, 10);
  if (Dice(mixed(seed, 4)).chance(15)) out.add(Act::lose, 1);  // with dice of its own: the seeds before it keep their meaning
  return out;
}

}  // namespace

Script make_script(std::uint64_t seed, Level level) {
  Dice dice(mixed(seed, 1));
  Script out;
  out.seed = seed;
  out.level = level;
  out.real_suite = level == Level::sqlite || dice.below(20) == 0;
  out.newer_devices = dice.chance(20);
  out.newer_relays = Dice(mixed(seed, 5)).chance(10);
  out.phones = 1 + dice.below(phones_max);
  out.relays = dice.chance(20) ? 2 : 1;
  out.network.delay_ms_max = std::int64_t{5} << dice.below(9);
  if (dice.chance(50)) out.network.break_permille = 1 + static_cast<unsigned>(dice.below(60));
  if (dice.chance(25)) out.network.tamper_permille = 1 + static_cast<unsigned>(dice.below(40));
  if (dice.chance(30)) out.network.silent_percent = 50;
  out.network.slow_readers = dice.chance(15);
  const Weights weights = make_weights(dice, level, seed);
  // Mostly short lives, as many seeds find more than long ones; some long ones, for what takes many steps.
  const std::size_t count = dice.chance(75) ? 6 + dice.below(20) : 24 + dice.below(level == Level::memory ? 50 : 100);
  // Mostly a day or two, sometimes two months.
  const std::int64_t span_ms = dice.chance(10) ? 60 * day_ms : dice.chance(50) ? hour_ms : 2 * day_ms;
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::int64_t>(dice.below(static_cast<std::uint64_t>(span_ms)));
    out.steps.push_back({at, weights.draw(dice), dice.below(64), dice.next()});
  }
  std::stable_sort(out.steps.begin(), out.steps.end(), [](const Step& a, const Step& b) { return a.at_ms < b.at_ms; });
  out.end_ms = span_ms;
  return out;
}

}  // namespace doorstep::sim
