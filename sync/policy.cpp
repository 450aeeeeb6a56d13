#include "sync/policy.hpp"

#include <algorithm>
#include <set>
#include <tuple>

namespace doorstep {

namespace {

auto latest_key(const Record& record, const Sibling& sibling) {
  const Mark& mark = record.marks()[sibling.mark];
  return std::tuple(mark.confirmed, mark.corrected_ms(), sibling.causal, record.dot(sibling));
}

// Cleared values rank below all others, and the schema is not asked about them.
std::pair<bool, int> value_rank(const ValueOrder* order, const Sibling& sibling) {
  if (!has_value(sibling.value)) return {false, 0};
  return {true, order ? order->rank(sibling.value) : 0};
}

// How a policy ranks a sibling before time is asked: the higher comes first, ties are read as by `latest`.
using Rank = std::tuple<bool, bool, int>;

Rank rank_of(const Record& record, const Sibling& sibling, Policy policy, const ValueOrder* order, DeviceNumber creator) {
  const Mark& mark = record.marks()[sibling.mark];
  switch (policy) {
    case Policy::latest: return {};
    case Policy::review: return {mark.approves, mark.resolves, order ? order->source_rank(record, sibling) : 0};
    case Policy::cautious:
    case Policy::furthest: {
      const auto [present, rank] = value_rank(order, sibling);
      return {present, false, rank};
    }
    case Policy::owner: return {mark.approves, false, 0};
    case Policy::once: return {mark.device == creator, false, 0};
    case Policy::set: return {has_value(sibling.value), false, 0};
  }
  return {};
}

struct Ranked {
  Rank rank;
  const Sibling* sibling;
};

// All siblings, best first: a total order, since no two share a dot.
std::vector<Ranked> best_first(const Record& record, const Register& reg, Policy policy, const ValueOrder* order, DeviceNumber creator) {
  std::vector<Ranked> out;
  out.reserve(reg.siblings.size());
  for (const auto& sibling : reg.siblings) out.push_back({rank_of(record, sibling, policy, order, creator), &sibling});
  std::sort(out.begin(), out.end(), [&](const Ranked& a, const Ranked& b) {
    if (a.rank != b.rank) return a.rank > b.rank;
    if (policy == Policy::once) return record.dot(*a.sibling) < record.dot(*b.sibling);
    return comes_after(record, *a.sibling, *b.sibling);
  });
  return out;
}

// Adds the best sibling of each further value. Not by comparing all with all: nothing bounds how many siblings an author can make.
void keep_distinct(std::vector<const Sibling*>& distinct, const std::vector<Ranked>& ranked) {
  const auto before = [](const Value* a, const Value* b) { return *a < *b; };
  std::set<const Value*, decltype(before)> seen({&ranked.front().sibling->value}, before);
  for (const auto& each : ranked)
    if (seen.insert(&each.sibling->value).second) distinct.push_back(each.sibling);
}

// `owner`: something waits for who may approve. Without an owner's value that is any proposal of a value; with one, any other value,
// be it a proposal or a second owner's.
bool owner_must_look(const Reading& reading) {
  if (!reading.unconfirmed) return reading.distinct.size() > 1;
  return std::any_of(reading.distinct.begin(), reading.distinct.end(), [](const Sibling* each) { return has_value(each->value); });
}

bool is_conflict(const Reading& reading, Policy policy, const std::vector<Ranked>& ranked) {
  switch (policy) {
    case Policy::latest:
    case Policy::set: return false;
    case Policy::review:
    case Policy::cautious:
    case Policy::once: return reading.distinct.size() > 1;
    case Policy::owner: return owner_must_look(reading);
    case Policy::furthest:  // incompatible ends: another value as far as the one shown
      return std::any_of(ranked.begin(), ranked.end(), [&](const Ranked& each) {
        return each.rank == ranked.front().rank && each.sibling->value != reading.shown->value;
      });
  }
  return false;
}

}  // namespace

bool comes_after(const Record& record, const Sibling& a, const Sibling& b) { return latest_key(record, a) > latest_key(record, b); }

Reading read_register(const Record& record, const Register& reg, Policy policy, const ValueOrder* order, DeviceNumber creator) {
  Reading out;
  const auto ranked = best_first(record, reg, policy, order, creator);
  if (ranked.empty()) return out;
  out.distinct.push_back(ranked.front().sibling);
  if (ranked.size() > 1) keep_distinct(out.distinct, ranked);
  out.shown = ranked.front().sibling;
  out.unconfirmed = policy == Policy::owner && !record.marks()[out.shown->mark].approves;
  out.defect = policy == Policy::once && out.distinct.size() > 1;
  out.conflict = is_conflict(out, policy, ranked);
  return out;
}

DeviceNumber creator_of(const Record& record) {
  for (const auto& mark : record.marks())
    if (mark.creates) return mark.device;
  return device_unadmitted;
}

std::vector<std::string> present_elements(const Record& record, FieldId field) {
  std::vector<std::string> out;
  for (const auto& reg : record.field(field)) {
    if (reg.address.element.empty() || reg.address.subfield != 0) continue;
    if (std::any_of(reg.siblings.begin(), reg.siblings.end(), [](const Sibling& each) { return has_value(each.value); }))
      out.push_back(reg.address.element);
  }
  return out;
}

}  // namespace doorstep
