// What the merge's tests and its fuzz target share: a body that applies where it can and evaluates where it must, and the
// definition of MERGE.md once more, written as sets and without any care for speed.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sync/codec.hpp"
#include "sync/record.hpp"

namespace doorstep::merge_test {

using History = std::vector<MarkedOperations>;
inline constexpr KindId kind = 7;

inline Value number(std::int64_t value) { return value; }

inline Bytes bytes_of(const Record& record) {
  Encoder out;
  record.encode(out);
  return out.take();
}

inline std::optional<Record> record_from(ByteView bytes) {
  Decoder in(bytes);
  Record record = Record::decode(in);
  if (!in.finish("a record").ok()) return std::nullopt;
  return record;
}

/// A history of one operation at a time: `at` field, by device, counter.
inline MarkedOperations one(Dot dot, Address address, Value value, std::vector<Dot> supersedes = {}) {
  MarkedOperations out;
  out.mark.device = dot.device;
  out.mark.first = dot.counter;
  out.operations.push_back({0, {std::move(address), std::move(value), std::move(supersedes)}});
  return out;
}

inline Dot dot_of(const MarkedOperations& transaction, const PlacedOperation& placed) {
  return {transaction.mark.device, transaction.mark.first + placed.offset};
}

/// What a store does with a record: applies, and evaluates from its log when apply() is not sure.
class Body {
 public:
  /// Which answer to Record::Arrived to give where several are allowed.
  enum class Arrived : std::uint8_t { exact, with_own, always };
  explicit Body(Arrived mode = Arrived::exact) : mode_(mode) {}

  Record::Outcome deliver(const MarkedOperations& transaction) {
    const auto answer = [&](const Dot& dot) {
      if (mode_ == Arrived::always || arrived_.contains(dot)) return true;
      return mode_ == Arrived::with_own && std::any_of(transaction.operations.begin(), transaction.operations.end(),
                                                       [&](const auto& placed) { return dot_of(transaction, placed) == dot; });
    };
    const auto outcome = record_.apply(transaction, answer);
    if (held_.insert({transaction.mark.device, transaction.mark.first}).second) log_.push_back(transaction);
    for (const auto& placed : transaction.operations) arrived_.insert(dot_of(transaction, placed));
    if (outcome == Record::Outcome::replay) record_ = Record::evaluate(record_.kind(), log_);
    return outcome;
  }
  /// Closes the store and opens it again. false: what was stored could not be read back.
  bool reopen() {
    auto stored = record_from(bytes_of(record_));
    if (!stored || *stored != record_) return false;
    record_ = *std::move(stored);
    return true;
  }
  bool holds(Dot transaction) const { return held_.contains(transaction); }
  const Record& record() const { return record_; }
  const History& log() const { return log_; }

 private:
  Arrived mode_;
  Record record_{kind};
  History log_;
  std::set<Dot> held_, arrived_;
};

/// One register as MERGE.md, section 2 defines it.
struct Expected {
  std::map<Dot, Value> siblings;
  std::set<Dot> awaited;
  bool operator==(const Expected&) const = default;
};

namespace detail {

struct Known {
  const Operation* operation;
  Mark mark;
  bool stands;
};

inline bool permits(const Known& author, Gate gate, const std::vector<const Known*>& named, const Known& target) {
  if (gate == Gate::open) return true;
  if (gate == Gate::once) return false;
  if (gate == Gate::owned) return (author.stands && author.mark.approves) || !(target.stands && target.mark.approves);
  std::set<Value> values;
  for (const Known* each : named) values.insert(each->operation->value);
  return (author.stands && author.mark.resolves) || values.size() <= 1;
}

inline Expected define(Gate gate, const std::map<Dot, Known>& here) {
  std::set<Dot> closed, counts;
  for (const auto& [dot, known] : here)
    if (known.stands) counts.insert(dot);
  for (bool changed = true; changed;) {  // the least fixed point
    changed = false;
    for (const auto& author : std::set<Dot>(counts)) {
      std::vector<const Known*> named;
      for (const auto& dot : here.at(author).operation->supersedes)
        if (here.contains(dot)) named.push_back(&here.at(dot));
      for (const auto& dot : here.at(author).operation->supersedes)
        if (here.contains(dot) && permits(here.at(author), gate, named, here.at(dot)) && closed.insert(dot).second)
          counts.insert(dot), changed = true;
    }
  }
  Expected out;
  for (const auto& dot : counts) {
    if (!closed.contains(dot)) out.siblings.emplace(dot, here.at(dot).operation->value);
    for (const auto& named : here.at(dot).operation->supersedes)
      if (!here.contains(named)) out.awaited.insert(named);
  }
  return out;
}

}  // namespace detail

/// The whole record by definition. No two transactions may share a dot, and none may stand in `history` twice.
inline std::map<Address, Expected> define(const History& history) {
  std::map<Address, std::map<Dot, detail::Known>> by_address;
  for (const auto& transaction : history)
    for (const auto& placed : transaction.operations)
      by_address[placed.operation.address].insert(
          {dot_of(transaction, placed), {&placed.operation, transaction.mark, !transaction.quarantined}});
  std::map<Address, Expected> out;
  for (const auto& [address, here] : by_address) {
    auto expected = detail::define(gate_of(address.field), here);
    const bool any_stands = std::any_of(here.begin(), here.end(), [](const auto& each) { return each.second.stands; });
    if (any_stands) out.emplace(address, std::move(expected));
  }
  return out;
}

/// The same shape, read from a record.
inline std::map<Address, Expected> shape_of(const Record& record) {
  std::map<Address, Expected> out;
  for (const auto& reg : record.registers()) {
    auto& expected = out[reg.address];
    for (const auto& sibling : reg.siblings) expected.siblings.emplace(record.dot(sibling), sibling.value);
    expected.awaited.insert(reg.awaited.begin(), reg.awaited.end());
  }
  return out;
}

}  // namespace doorstep::merge_test
