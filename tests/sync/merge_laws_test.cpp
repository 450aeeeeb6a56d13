// The laws of MERGE.md, section 5, three ways: every history of a few operations, honest devices that meet at random, and writers
// who name whatever they like. DOORSTEP_CAMPAIGN=n (default 1) multiplies the random ones and enlarges the exhaustive ones.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <random>

#include "sync/limits.hpp"
#include "tests/sync/merge_support.hpp"
#include "tests/sync/property.hpp"

namespace doorstep::merge_test {
namespace {

using Outcome = Record::Outcome;

Address field_address(Gate gate, std::uint32_t number = 1) { return {field_id(number, gate), {}, 0}; }

// ---------------------------------------------------------------------------------------------------------------- every small history

// A history is n operations, numbered in the order of their counters. Whatever the order of delivery, the state after delivering a set
// must be evaluate() of that set. So it is enough to look at each set and each step out of it: every order of delivery, with duplicates
// anywhere, is a path of such steps.
struct Domain {
  const char* name;
  std::size_t operations;
  DeviceNumber devices;
  bool rights_by_operation;  ///< else by device: the first bits of the number below
  bool any_name;             ///< an operation may name any other, later ones too; else only earlier ones, as honest devices do
  bool quarantine;           ///< each operation may stand in quarantine
  std::size_t addresses;
  bool grouped;  ///< neighbours of one device also as one transaction

  friend void PrintTo(const Domain& domain, std::ostream* out) { *out << domain.name; }
};

struct Tally {
  std::uint64_t histories = 0, steps = 0, replays = 0, orders = 0;
};

std::uint64_t factorial(std::size_t n) { return n < 2 ? 1 : n * factorial(n - 1); }

std::string describe(const History& history) {
  std::string out;
  for (const auto& transaction : history) {
    out += transaction.quarantined ? "\n  quarantined" : "\n  transaction";
    out += std::string(transaction.mark.resolves ? " resolves" : "") + (transaction.mark.approves ? " approves" : "");
    for (const auto& placed : transaction.operations) {
      const auto dot = dot_of(transaction, placed);
      out += "\n    " + std::to_string(dot.device) + "." + std::to_string(dot.counter) + " field " +
             std::to_string(placed.operation.address.field) + " value " + std::to_string(placed.operation.value.index()) + " names";
      for (const auto& named : placed.operation.supersedes) out += " " + std::to_string(named.device) + "." + std::to_string(named.counter);
    }
  }
  return out;
}

// What is wrong with the states of a history's subsets, or nothing. state[set] is evaluate() of it.
std::string check_states(const History& history, std::vector<Record>& state) {
  const std::size_t n = history.size();
  state.resize(std::size_t{1} << n);
  for (std::size_t set = 0; set < state.size(); ++set) {
    History held;
    for (std::size_t i = 0; i < n; ++i)
      if (set >> i & 1) held.push_back(history[i]);
    state[set] = Record::evaluate(kind, held);
    // Of four, the definition of the smaller sets is held against the smaller domains only: it is slow.
    if ((n < 4 || set + 1 == state.size()) && shape_of(state[set]) != define(held))
      return "evaluate() is not the definition" + describe(held);
  }
  History held(history.rbegin(), history.rend());
  held.push_back(held.front());
  if (Record::evaluate(kind, std::move(held)) != state.back()) return "evaluate() depends on order or duplicates" + describe(history);
  return {};
}

std::string check_step(const History& history, std::vector<Record>& state, std::size_t set, std::size_t i, Tally& tally) {
  const auto arrived = [&](const Dot& dot) {
    for (std::size_t k = 0; k < history.size(); ++k)
      if (set >> k & 1)
        for (const auto& placed : history[k].operations)
          if (dot_of(history[k], placed) == dot) return true;
    return false;
  };
  ++tally.steps;
  if ((set >> i & 1) && !history[i].quarantined)
    return state[set].apply(history[i], arrived) == Outcome::unchanged ? "" : "a duplicate is not recognised" + describe(history);
  Record record = state[set];
  const auto outcome = record.apply(history[i], arrived);
  tally.replays += outcome == Outcome::replay;
  if (outcome == Outcome::replay) return record == state[set] ? "" : "apply() refused and changed the record" + describe(history);
  if (record == state[set | std::size_t{1} << i]) return {};
  return "apply() of transaction " + std::to_string(i) + " on set " + std::to_string(set) + " is not evaluate()" + describe(history);
}

std::string check_history(const History& history, Tally& tally) {
  std::vector<Record> state;
  if (auto wrong = check_states(history, state); !wrong.empty()) return wrong;
  for (std::size_t set = 0; set < state.size(); ++set)
    for (std::size_t i = 0; i < history.size(); ++i)
      if (auto wrong = check_step(history, state, set, i, tally); !wrong.empty()) return wrong;
  ++tally.histories;
  tally.orders += factorial(history.size());
  return {};
}

// Counts through a number with a base of its own for each digit.
class Counting {
 public:
  explicit Counting(std::vector<std::size_t> bases) : bases_(std::move(bases)), digits_(bases_.size(), 0) {}
  std::size_t operator[](std::size_t i) const { return digits_[i]; }
  bool next() {
    for (std::size_t i = 0; i < digits_.size(); ++i) {
      if (++digits_[i] < bases_[i]) return true;
      digits_[i] = 0;
    }
    return false;
  }

 private:
  std::vector<std::size_t> bases_, digits_;
};

// Which other operations number i may name, as dots.
std::vector<Dot> names_from(std::size_t bits, std::size_t i, bool any_name, const std::vector<Dot>& dots) {
  std::vector<Dot> out;
  for (std::size_t k = 0, bit = 0; k < (any_name ? dots.size() : i); ++k) {
    if (k == i) continue;
    if (bits >> bit++ & 1) out.push_back(dots[k]);
  }
  return out;
}

History group(const History& singles) {
  History out;
  for (const auto& single : singles) {
    const bool joins = !out.empty() && out.back().mark.device == single.mark.device && out.back().mark.resolves == single.mark.resolves &&
                       out.back().mark.approves == single.mark.approves && out.back().quarantined == single.quarantined;
    if (!joins) {
      out.push_back(single);
      continue;
    }
    const auto offset = static_cast<std::uint32_t>(single.mark.first - out.back().mark.first);
    out.back().operations.push_back({offset, single.operations.front().operation});
  }
  return out;
}

std::string check_domain(const Domain& domain, Gate gate, Tally& tally) {
  const std::size_t n = domain.operations;
  const bool rights = gate == Gate::guarded || gate == Gate::owned;
  // Digits: per operation device, value, names, address, quarantine, right; or rights per device at the end.
  std::vector<std::size_t> bases;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t nameable = domain.any_name ? n - 1 : i;
    // The first value is fixed, since values are only compared; of four operations the first device too, since three tried them all.
    bases.insert(bases.end(), {i == 0 && n == 4 ? 1u : domain.devices, i == 0 ? 1u : 2u, std::size_t{1} << nameable, domain.addresses,
                               domain.quarantine ? 2u : 1u, rights && domain.rights_by_operation ? 2u : 1u});
  }
  bases.push_back(rights && !domain.rights_by_operation ? std::size_t{1} << domain.devices : 1);
  Counting at(bases);
  do {
    std::vector<Dot> dots;
    for (std::size_t i = 0; i < n; ++i) dots.push_back({static_cast<DeviceNumber>(at[6 * i]), i + 1});
    History history;
    for (std::size_t i = 0; i < n; ++i) {
      auto operation = one(dots[i], field_address(gate, static_cast<std::uint32_t>(1 + at[6 * i + 3])), at[6 * i + 1] == 1,
                           names_from(at[6 * i + 2], i, domain.any_name, dots));
      operation.quarantined = at[6 * i + 4] == 1;
      const bool right = at[6 * i + 5] == 1 || (at[6 * n] >> dots[i].device & 1) != 0;
      operation.mark.resolves = right && gate == Gate::guarded;
      operation.mark.approves = right && gate == Gate::owned;
      history.push_back(std::move(operation));
    }
    if (auto wrong = check_history(history, tally); !wrong.empty()) return wrong;
    if (!domain.grouped) continue;
    const auto groups = group(history);
    if (groups.size() == n) continue;
    if (auto wrong = check_history(groups, tally); !wrong.empty()) return wrong;
  } while (at.next());
  return {};
}

class EveryHistory : public testing::TestWithParam<Domain> {};

TEST_P(EveryHistory, MergesAlikeInEveryOrder) {
  Tally tally;
  for (const Gate gate : {Gate::open, Gate::guarded, Gate::owned, Gate::once}) {
    const auto wrong = check_domain(GetParam(), gate, tally);
    ASSERT_EQ(wrong, "") << "gate " << static_cast<int>(gate);
  }
  std::printf("  %s: %llu histories, %llu orders of delivery, %llu steps (%llu of them replays)\n", GetParam().name,
              static_cast<unsigned long long>(tally.histories), static_cast<unsigned long long>(tally.orders),
              static_cast<unsigned long long>(tally.steps), static_cast<unsigned long long>(tally.replays));
}

std::vector<Domain> domains() {
  //  name                     operations devices rights-by-op any-name quarantine addresses grouped
  std::vector<Domain> out{
      {"honest_1", 1, 3, true, false, false, 2, true},   {"honest_2", 2, 3, true, false, false, 2, true},
      {"honest_3", 3, 3, true, false, false, 1, true},   {"honest_3_two_addresses", 3, 2, false, false, false, 2, true},
      {"honest_4", 4, 2, false, false, false, 1, false}, {"any_name_2", 2, 2, true, true, true, 2, true},
      {"any_name_3", 3, 2, false, true, false, 1, true}, {"quarantine_3", 3, 2, false, false, true, 1, false},
  };
  if (campaign() > 1) {
    out.push_back({"honest_4_grouped", 4, 2, true, false, false, 1, true});
    out.push_back({"honest_4_three_devices", 4, 3, false, false, false, 1, false});
    out.push_back({"quarantine_4", 4, 2, false, false, true, 1, false});
    out.push_back({"any_name_3_two_addresses", 3, 2, true, true, false, 2, true});
    out.push_back({"any_name_3_quarantine", 3, 2, true, true, true, 1, true});
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Merge, EveryHistory, testing::ValuesIn(domains()), [](const auto& it) { return std::string(it.param.name); });

// ----------------------------------------------------------------------------------------------------------------------- random ones

const std::array<Address, 9>& addresses() {
  static const std::array<Address, 9> all{
      field_address(Gate::open),
      field_address(Gate::guarded),
      field_address(Gate::owned),
      field_address(Gate::once),
      field_address(Gate::guarded, 2),
      field_address(Gate::owned, 2),
      Address{field_id(3, Gate::open), "a", 0},
      Address{field_id(3, Gate::open), "a", 4},
      Address{field_id(3, Gate::open), "b", 0},
  };
  return all;
}

Value value_of(unsigned number) {
  switch (number % 4) {
    case 0: return std::monostate{};
    case 1: return std::int64_t{1};
    case 2: return std::string("two");
    default: return CodeText{"03"};
  }
}

Address address_of(unsigned number) { return addresses()[number % addresses().size()]; }

// Delivers all of `history` to three new bodies in random orders, with duplicates, reopening now and then, and compares bytes.
void any_order_merges_alike(const History& history, unsigned seed) {
  const auto whole = Record::evaluate(kind, history);
  RC_ASSERT(shape_of(whole) == define(history));
  std::mt19937 random(seed);
  for (const auto mode : {Body::Arrived::exact, Body::Arrived::with_own, Body::Arrived::always}) {
    std::vector<const MarkedOperations*> order;
    for (const auto& each : history) {
      order.push_back(&each);
      if (random() % 3 == 0) order.push_back(&each);
    }
    std::shuffle(order.begin(), order.end(), random);
    Body body(mode);
    for (const auto* each : order) {
      const bool held = body.holds({each->mark.device, each->mark.first});
      const auto before = body.record();
      const auto outcome = body.deliver(*each);
      if (held) RC_ASSERT(body.record() == before);
      if (outcome == Record::Outcome::applied) RC_ASSERT(body.record() == Record::evaluate(kind, body.log()));
      if (random() % 4 == 0) RC_ASSERT(body.reopen());
    }
    RC_ASSERT(bytes_of(body.record()) == bytes_of(whole));
  }
}

// Nothing leaves the siblings unless something that counts names it: the definition in its weakest and plainest form.
void nothing_is_lost(const History& history) {
  const auto shape = shape_of(Record::evaluate(kind, history));
  std::set<std::pair<Address, Dot>> named;
  for (const auto& transaction : history)
    for (const auto& placed : transaction.operations)
      for (const auto& dot : placed.operation.supersedes) named.insert({placed.operation.address, dot});
  for (const auto& transaction : history)
    for (const auto& placed : transaction.operations) {
      if (transaction.quarantined) continue;
      const auto dot = dot_of(transaction, placed);
      const auto& reg = shape.at(placed.operation.address);
      RC_ASSERT(reg.siblings.contains(dot) || named.contains({placed.operation.address, dot}));
    }
}

// Devices that keep the rules: they name what they see, and meet now and then.
class World {
 public:
  using Step = std::array<std::uint8_t, 4>;

  explicit World(const std::vector<Step>& steps) {
    for (const auto& [what, who, a, b] : steps) step(what, who % devices, a, b);
  }
  History everything() const {
    History out;
    for (const auto& log : logs_) out.insert(out.end(), log.begin(), log.end());
    return out;
  }
  // One device sees all and settles everything with every right.
  MarkedOperations settle() {
    for (DeviceNumber from = 0; from < devices; ++from) meet(0, from, 255);
    auto transaction = begin(0, 1);
    transaction.mark.resolves = transaction.mark.approves = true;
    for (const auto& reg : bodies_[0].record().registers())
      add(transaction, reg.address, std::string("settled"), seen(0, reg.address, false));
    write(0, transaction);
    return transaction;
  }

 private:
  static constexpr DeviceNumber devices = 3;

  void step(unsigned what, DeviceNumber who, unsigned a, unsigned b) {
    auto transaction = begin(who, b);
    const Address address = address_of(a), other = address_of(a + b + 1);
    switch (what % 10) {
      case 0:
      case 1:
      case 2: add(transaction, address, value_of(b), seen(who, address, false)); break;
      case 3: add(transaction, address, value_of(b), seen(who, address, true)); break;
      case 4:
        add(transaction, address, value_of(b), seen(who, address, false));
        if (other != address) add(transaction, other, value_of(b / 4), seen(who, other, false));
        break;
      case 5: {  // twice in one transaction: the second has seen the first
        auto names = seen(who, address, false);
        add(transaction, address, value_of(b), names);
        names.resize(std::min<std::size_t>(names.size(), limits::supersedes_max - 1));
        names.push_back({who, transaction.mark.first});
        add(transaction, address, value_of(b / 4), names);
        break;
      }
      case 6: may_resolve_[who] = a % 2 == 0, may_approve_[who] = b % 2 == 0; return;
      default: meet(who, a % devices, b % 4 + 1); return;
    }
    write(who, transaction);
  }

  MarkedOperations begin(DeviceNumber who, unsigned b) {
    MarkedOperations out;
    out.mark.device = who;
    out.mark.first = next_[who] + b % 5 * 1000;
    out.mark.claimed_ms = b;
    out.mark.offset_ms = b % 3 == 0 ? -5 : 0;
    out.mark.confirmed = b % 2 == 0;
    out.mark.resolves = may_resolve_[who];
    out.mark.approves = may_approve_[who];
    out.mark.creates = logs_[who].empty() && who == 0;
    return out;
  }
  static void add(MarkedOperations& transaction, const Address& address, Value value, std::vector<Dot> names) {
    const auto offset = static_cast<std::uint32_t>(transaction.operations.size());
    transaction.operations.push_back({offset, {address, std::move(value), std::move(names)}});
  }
  std::vector<Dot> seen(DeviceNumber who, const Address& address, bool own_only) const {
    std::vector<Dot> out;
    const auto& record = bodies_[who].record();
    if (const auto* reg = record.find(address))
      for (const auto& sibling : reg->siblings)
        if (out.size() < limits::supersedes_max && (!own_only || record.dot(sibling).device == who)) out.push_back(record.dot(sibling));
    return out;
  }
  void write(DeviceNumber who, const MarkedOperations& transaction) {
    next_[who] = transaction.mark.first + transaction.operations.size();
    logs_[who].push_back(transaction);
    deliver(who, who, 1);
  }
  // `to` gets the next transactions of each log that `from` holds: logs go in order, and not all equally far.
  void meet(DeviceNumber to, DeviceNumber from, std::size_t most) {
    for (DeviceNumber log = 0; log < devices; ++log)
      deliver(to, log, std::min(most, held_[from][log] > held_[to][log] ? held_[from][log] - held_[to][log] : 0));
  }
  void deliver(DeviceNumber to, DeviceNumber log, std::size_t count) {
    for (; count > 0; --count) {
      bodies_[to].deliver(logs_[log][held_[to][log]++]);
      RC_ASSERT(bodies_[to].record() == Record::evaluate(kind, bodies_[to].log()));
    }
  }

  std::array<Body, devices> bodies_;
  std::array<History, devices> logs_;
  std::array<std::array<std::size_t, devices>, devices> held_{};  // [who][log]
  std::array<Counter, devices> next_{1, 1, 1};
  std::array<bool, devices> may_resolve_{true, false, false}, may_approve_{true, false, false};
};

TEST(MergeLaws, HonestDevicesConverge) {
  check_property(
      [](const std::vector<World::Step>& steps, unsigned seed) {
        World world(steps);
        const auto history = world.everything();
        any_order_merges_alike(history, seed);
        nothing_is_lost(history);
      },
      150);
}

TEST(MergeLaws, WhoMayAndHasSeenAllSettlesAll) {
  check_property(
      [](const std::vector<World::Step>& steps) {
        World world(steps);
        const auto settling = world.settle();
        const auto history = world.everything();
        const auto record = Record::evaluate(kind, history);
        for (const auto& reg : record.registers()) {
          RC_ASSERT(reg.awaited.empty());
          if (gate_of(reg.address.field) == Gate::once || reg.siblings.size() >= limits::supersedes_max) continue;
          RC_ASSERT(reg.siblings.size() == 1u);
          RC_ASSERT(record.dot(reg.siblings[0]).device == settling.mark.device);
          RC_ASSERT(reg.siblings[0].value == Value(std::string("settled")));
        }
      },
      60);
}

// A cut: what one device wrote after some point is quarantined. Who superseded it has still seen what it had superseded.
TEST(MergeLaws, ACutMergesAlikeAndBringsNothingBackThatWasSettled) {
  check_property(
      [](const std::vector<World::Step>& steps, DeviceNumber device, std::uint8_t beyond, unsigned seed) {
        World world(steps);
        const auto settling = world.settle();
        auto history = world.everything();
        std::size_t position = 0;
        for (auto& transaction : history) {
          const bool last = transaction.mark == settling.mark;
          if (transaction.mark.device == device % 3 && ++position > beyond % 8 && !last) transaction.quarantined = true;
        }
        any_order_merges_alike(history, seed);
        const auto record = Record::evaluate(kind, history);
        for (const auto& reg : record.registers())
          if (gate_of(reg.address.field) == Gate::open && reg.siblings.size() < limits::supersedes_max)
            RC_ASSERT(reg.siblings.size() == 1u);
      },
      60);
}

// Writers who name what they like: their own later operations, what stands at other addresses, what never was, themselves.
TEST(MergeLaws, AdversariesChangeNoLaw) {
  using Step = std::array<std::uint8_t, 6>;
  check_property(
      [](std::vector<Step> steps, unsigned seed) {
        steps.resize(std::min<std::size_t>(steps.size(), 40));
        std::vector<Dot> dots;
        for (std::size_t i = 0; i < steps.size(); ++i) dots.push_back({steps[i][0] % 4u, 1 + i});
        History history;
        for (std::size_t i = 0; i < steps.size(); ++i) {
          const auto [who, where, value, names, flags, joins] = steps[i];
          std::set<Dot> named;  // about one in eight never was
          for (unsigned k = 0; k < names % 5u; ++k)
            named.insert((names * 7 + k) % 8u == 0 ? Dot{9, k + 1} : dots[(names * 13u + k * 5u + where) % dots.size()]);
          PlacedOperation placed{0, {address_of(where % 5u), value_of(value), {named.begin(), named.end()}}};
          if (joins % 3 == 0 && !history.empty() && history.back().mark.device == dots[i].device) {
            placed.offset = static_cast<std::uint32_t>(dots[i].counter - history.back().mark.first);
            history.back().operations.push_back(std::move(placed));
            continue;
          }
          auto& transaction = history.emplace_back();
          transaction.mark = {
              .device = dots[i].device, .first = dots[i].counter, .resolves = (flags & 1) != 0, .approves = (flags & 2) != 0};
          transaction.quarantined = flags % 16 > 12;
          transaction.operations.push_back(std::move(placed));
        }
        any_order_merges_alike(history, seed);
        nothing_is_lost(history);
      },
      300);
}

}  // namespace
}  // namespace doorstep::merge_test
