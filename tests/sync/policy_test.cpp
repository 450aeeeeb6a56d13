// How fields read concurrent siblings: each policy of DESIGN section 4 by name, and DOMAIN section 9.6.
#include "sync/policy.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/sync/merge_support.hpp"
#include "tests/sync/property.hpp"

namespace doorstep::merge_test {
namespace {

constexpr DeviceNumber desk = 0, phone = 1, other_phone = 2;
const std::int64_t day = 86'400'000;

class NumberOrder final : public ValueOrder {
 public:
  int rank(const Value& value) const override {
    EXPECT_TRUE(has_value(value)) << "the schema is asked about a cleared value";
    const auto* number = std::get_if<std::int64_t>(&value);
    return number ? static_cast<int>(*number) : 0;
  }
};
// done and cancelled are both ends: 3 and -3 are as far as each other.
class StateOrder final : public ValueOrder {
 public:
  int rank(const Value& value) const override { return static_cast<int>(std::abs(std::get<std::int64_t>(value))); }
};
class ScanOrder final : public ValueOrder {
 public:
  int source_rank(const Record& record, const Sibling& sibling) const override {
    const auto* source = record.find({record.registers().front().address.field, {}, 9});
    if (!source) return 0;
    for (const auto& each : source->siblings)
      if (each.mark == sibling.mark) return each.value == Value(CodeText{"scanned"}) ? 1 : 0;
    return 0;
  }
};

// One field, written by several who have not seen each other, each in a transaction of its own.
class Field {
 public:
  explicit Field(Policy policy) : policy_(policy), address_{field_id(1, gate_for(policy)), {}, 0} {}

  struct By {
    DeviceNumber device = phone;
    std::int64_t at_ms = 0;
    bool confirmed = false, resolves = false, approves = false;
    std::vector<Dot> names = {};
  };
  Dot write(Value value, const By& by) {
    const Dot dot{by.device, next_++};
    auto transaction = one(dot, address_, std::move(value), by.names);
    transaction.mark.claimed_ms = by.at_ms;
    transaction.mark.confirmed = by.confirmed;
    transaction.mark.resolves = by.resolves;
    transaction.mark.approves = by.approves;
    history_.push_back(std::move(transaction));
    return dot;
  }
  Reading read(const ValueOrder* order = nullptr, DeviceNumber creator = device_unadmitted) {
    record_ = Record::evaluate(kind, history_);
    return read_register(record_, record_.registers().front(), policy_, order, creator);
  }
  MarkedOperations& last() { return history_.back(); }
  const Record& record() const { return record_; }

 private:
  Policy policy_;
  Address address_;
  Counter next_ = 1;
  History history_;
  Record record_;
};

TEST(Policy, AnEmptyRegisterShowsNothing) {
  const Record record(kind);
  const Register reg;
  for (const auto policy : {Policy::latest, Policy::review, Policy::cautious, Policy::owner, Policy::furthest, Policy::once, Policy::set}) {
    const auto reading = read_register(record, reg, policy, nullptr, desk);
    EXPECT_EQ(reading.shown, nullptr);
    EXPECT_FALSE(reading.conflict || reading.unconfirmed || reading.defect);
  }
}

TEST(Policy, TheOrderOfInvariantFour) {
  Field field(Policy::latest);
  field.write(number(1), {.device = phone, .at_ms = 20 * 365 * day});  // a clock twenty years ahead
  field.write(number(2), {.device = desk, .at_ms = 2 * day, .confirmed = true});
  const auto early = field.write(number(3), {.device = other_phone, .at_ms = day, .confirmed = true});
  EXPECT_EQ(field.read().shown->value, number(2)) << "a confirmed time comes after any other";
  field.write(number(4), {.device = other_phone, .at_ms = 2 * day, .confirmed = true, .names = {early}});
  EXPECT_EQ(field.read().shown->value, number(4)) << "at one time, the higher causal counter";
  field.write(number(5), {.device = phone, .at_ms = 2 * day, .confirmed = true, .names = {{9, 9}}});
  EXPECT_EQ(field.read().shown->value, number(4)) << "what is only awaited lifts nothing above it";
  const auto reading = field.read();
  ASSERT_EQ(reading.distinct.size(), 4u);
  EXPECT_EQ(reading.distinct.back()->value, number(1));
  EXPECT_FALSE(reading.conflict);
}

TEST(Policy, CorrectedTimeCountsNotClaimed) {
  Field field(Policy::latest);
  field.write(number(1), {.device = phone, .at_ms = 5 * day, .confirmed = true});
  field.last().mark.offset_ms = -4 * day;
  field.write(number(2), {.device = desk, .at_ms = 2 * day, .confirmed = true});
  EXPECT_EQ(field.read().shown->value, number(2));
}

TEST(Policy, EqualConcurrentValuesAgree) {
  for (const auto policy : {Policy::latest, Policy::review, Policy::cautious, Policy::furthest, Policy::once}) {
    Field field(policy);
    field.write(number(7), {.device = desk, .resolves = true});
    field.write(number(7), {.device = phone});
    const auto reading = field.read(nullptr, desk);
    EXPECT_EQ(reading.distinct.size(), 1u);
    EXPECT_FALSE(reading.conflict || reading.defect);
  }
}

TEST(Policy, ReviewShowsTheHighestSource) {
  Field field(Policy::review);
  field.write(number(1), {.device = phone, .at_ms = 9 * day, .confirmed = true});
  EXPECT_FALSE(field.read().conflict);
  field.write(number(2), {.device = desk, .at_ms = day, .resolves = true});
  EXPECT_EQ(field.read().shown->value, number(2)) << "who may resolve, before any clock";
  field.write(number(3), {.device = other_phone, .approves = true});
  const auto reading = field.read();
  EXPECT_EQ(reading.shown->value, number(3)) << "the owner before the desk";
  EXPECT_EQ(reading.distinct.size(), 3u);
  EXPECT_TRUE(reading.conflict);
  EXPECT_EQ(reading.shown, reading.distinct.front());
}

TEST(Policy, ReviewAsksTheSchemaAboutTheSource) {
  Field field(Policy::review);  // DOMAIN 9.1: the birth date of paper and scan differ; the scan is shown
  field.write(Date{-1500}, {.device = phone, .at_ms = day});
  field.last().operations.push_back({1, {{field.last().operations[0].operation.address.field, {}, 9}, CodeText{"scanned"}, {}}});
  field.write(Date{-1499}, {.device = other_phone, .at_ms = 9 * day});
  const ScanOrder order;
  EXPECT_EQ(field.read(&order).shown->value, Value(Date{-1500}));
  EXPECT_TRUE(field.read(&order).conflict);
  EXPECT_EQ(field.read().shown->value, Value(Date{-1499}));
}

TEST(Policy, CautiousShowsTheSaferValue) {
  const NumberOrder order;
  Field field(Policy::cautious);
  field.write(number(4), {.device = phone, .at_ms = day});
  field.write(number(2), {.device = desk, .at_ms = 9 * day, .confirmed = true, .resolves = true});
  field.write(std::monostate{}, {.device = other_phone, .at_ms = 10 * day});
  const auto reading = field.read(&order);
  EXPECT_EQ(reading.shown->value, number(4));
  EXPECT_EQ(reading.distinct.size(), 3u) << "a cleared value competes as a value";
  EXPECT_TRUE(reading.conflict);
  EXPECT_TRUE(has_value(field.read().shown->value)) << "without an order any value is safer than none";
}

TEST(Policy, ACautiousFieldOnceSettledStaysSettled) {
  const NumberOrder order;
  Field field(Policy::cautious);
  const auto a = field.write(number(4), {.device = phone}), b = field.write(number(2), {.device = other_phone});
  field.write(number(3), {.device = phone, .names = {a, b}});
  EXPECT_TRUE(field.read(&order).conflict) << "without the right to resolve, several are not closed";
  EXPECT_EQ(field.read(&order).shown->value, number(4));
  field.write(number(3), {.device = desk, .resolves = true, .names = {a, b, {phone, 3}}});
  EXPECT_FALSE(field.read(&order).conflict);
  EXPECT_EQ(field.read(&order).shown->value, number(3));
}

TEST(Policy, OwnerShowsOnlyWhatTheOwnerWrote) {
  Field field(Policy::owner);
  const auto proposal = field.write(number(2), {.device = phone, .at_ms = 9 * day});
  auto reading = field.read();
  EXPECT_EQ(reading.shown->value, number(2));
  EXPECT_TRUE(reading.unconfirmed && reading.conflict) << "no owner's value yet: the proposal, unconfirmed, waits";

  const auto owned = field.write(number(3), {.device = desk, .at_ms = day, .approves = true});
  reading = field.read();
  EXPECT_EQ(reading.shown->value, number(3));
  EXPECT_FALSE(reading.unconfirmed);
  EXPECT_TRUE(reading.conflict) << "an open proposal that differs";

  field.write(number(3), {.device = phone, .names = {proposal, owned}});
  reading = field.read();
  EXPECT_EQ(reading.shown->value, number(3));
  EXPECT_FALSE(reading.conflict) << "proposals supersede proposals, and this one says what the owner says";

  field.write(std::monostate{}, {.device = desk, .approves = true, .names = {owned, {phone, 3}}});
  reading = field.read();
  EXPECT_FALSE(has_value(reading.shown->value)) << "the owner cleared it";
  EXPECT_FALSE(reading.conflict || reading.unconfirmed);
}

TEST(Policy, TwoOwnersConcurrentlyAreAConflictToo) {
  Field field(Policy::owner);
  field.write(number(3), {.device = desk, .approves = true});
  field.write(number(2), {.device = other_phone, .at_ms = day, .approves = true});
  EXPECT_EQ(field.read().shown->value, number(2));
  EXPECT_TRUE(field.read().conflict);
}

TEST(Policy, ProposingNothingWhereNothingIsWaitsForNobody) {
  Field field(Policy::owner);
  field.write(std::monostate{}, {.device = phone});
  EXPECT_TRUE(field.read().unconfirmed);
  EXPECT_FALSE(field.read().conflict);
}

TEST(Policy, FurthestReviewsOnlyIncompatibleEnds) {
  const StateOrder order;
  Field field(Policy::furthest);
  field.write(number(1), {.device = desk, .at_ms = 9 * day, .resolves = true});
  field.write(number(3), {.device = phone});
  auto reading = field.read(&order);
  EXPECT_EQ(reading.shown->value, number(3));
  EXPECT_EQ(reading.distinct.size(), 2u);
  EXPECT_FALSE(reading.conflict);
  field.write(number(-3), {.device = other_phone, .at_ms = day});
  reading = field.read(&order);
  EXPECT_EQ(reading.shown->value, number(-3)) << "as far: the later";
  EXPECT_TRUE(reading.conflict);
}

TEST(Policy, OnceIsWhatTheCreatorWroteFirst) {
  Field field(Policy::once);
  field.write(number(9), {.device = desk, .approves = true});  // counter 1, but another's
  field.write(number(5), {.device = phone, .at_ms = 9 * day});
  EXPECT_EQ(field.read(nullptr, phone).shown->value, number(5));
  field.write(number(6), {.device = phone, .at_ms = day, .names = {{phone, 2}}});
  const auto reading = field.read(nullptr, phone);
  EXPECT_EQ(reading.shown->value, number(5)) << "nothing supersedes it, and time does not matter";
  EXPECT_TRUE(reading.conflict && reading.defect);
  EXPECT_EQ(field.read().shown->value, number(9)) << "creator unknown: the lowest dot, until it is";
}

TEST(Policy, ASetElementIsPresentWhileAnyoneAddsIt) {
  Field field(Policy::set);
  const auto added = field.write(true, {.device = phone});
  field.write(std::monostate{}, {.device = desk, .at_ms = 9 * day, .names = {added}});
  EXPECT_FALSE(has_value(field.read().shown->value));
  field.write(true, {.device = other_phone, .names = {added}});  // an inner edit re-asserts presence
  EXPECT_TRUE(has_value(field.read().shown->value)) << "an add wins over a concurrent removal";
  EXPECT_FALSE(field.read().conflict);
}

TEST(Policy, GatesBelongToPolicies) {
  EXPECT_EQ(gate_for(Policy::latest), Gate::open);
  EXPECT_EQ(gate_for(Policy::set), Gate::open);
  EXPECT_EQ(gate_for(Policy::review), Gate::guarded);
  EXPECT_EQ(gate_for(Policy::cautious), Gate::guarded);
  EXPECT_EQ(gate_for(Policy::furthest), Gate::guarded);
  EXPECT_EQ(gate_for(Policy::owner), Gate::owned);
  EXPECT_EQ(gate_for(Policy::once), Gate::once);
}

TEST(Policy, PresentElementsAndCreator) {
  const auto phones = field_id(3, Gate::open), another = field_id(4, Gate::open);
  History history{one({phone, 1}, {phones, "a", 0}, true), one({phone, 2}, {phones, "b", 0}, true),
                  one({phone, 3}, {phones, "c", 5}, true), one({desk, 1}, {phones, "b", 0}, std::monostate{}, {{phone, 2}}),
                  one({desk, 2}, {another, "d", 0}, true), one({desk, 3}, {phones, {}, 0}, true)};
  EXPECT_EQ(creator_of(Record::evaluate(kind, history)), device_unadmitted);
  EXPECT_FALSE(Record::evaluate(kind, history).created());
  history[1].mark.creates = true;
  const auto record = Record::evaluate(kind, history);
  EXPECT_EQ(present_elements(record, phones), std::vector<std::string>{"a"});
  EXPECT_EQ(creator_of(record), phone);
  EXPECT_TRUE(record.created());
}

// DOMAIN 9.6. Clerk Wu changes self_care 2 -> 3 after a hospital call; member Fu, offline since before, writes 2 with a reason and adds
// a second phone.
TEST(Policy, Domain96SupervisorCorrectsWhileTheMemberEditsOffline) {
  const NumberOrder order;
  const Address self_care{field_id(31, Gate::guarded), {}, 0};
  const auto phones = field_id(30, Gate::open);
  const Address son{phones, "son", 0}, son_number{phones, "son", 1}, wife{phones, "wife", 0};
  auto before = one({phone, 1}, self_care, number(2));
  before.operations.push_back({1, {wife, true, {}}});
  auto wu = one({desk, 1}, self_care, number(3), {{phone, 1}});
  wu.mark.resolves = true;
  wu.mark.claimed_ms = 2 * day;
  auto fu = one({phone, 3}, self_care, number(2), {{phone, 1}});
  fu.operations.push_back({1, {son, true, {}}});
  fu.operations.push_back({2, {son_number, std::string("139 0000 2222"), {}}});
  fu.mark.claimed_ms = 3 * day;

  auto record = Record::evaluate(kind, {before, wu, fu});
  EXPECT_EQ(present_elements(record, phones), (std::vector<std::string>{"son", "wife"})) << "phones: union";
  auto reading = read_register(record, *record.find(self_care), Policy::cautious, &order, phone);
  EXPECT_EQ(reading.shown->value, number(3)) << "the more cautious is shown to all";
  ASSERT_TRUE(reading.conflict);
  EXPECT_EQ(reading.distinct.size(), 2u);

  // Wu resolves with 3; then an edit of Fu's arrives, made before he saw that.
  auto resolution = one({desk, 2}, self_care, number(3), {{desk, 1}, {phone, 3}});
  resolution.mark.resolves = true;
  record = Record::evaluate(kind, {before, wu, fu, resolution});
  EXPECT_FALSE(read_register(record, *record.find(self_care), Policy::cautious, &order, phone).conflict);
  const auto late = one({phone, 10}, self_care, number(1), {{phone, 3}});
  record = Record::evaluate(kind, {before, wu, fu, resolution, late});
  reading = read_register(record, *record.find(self_care), Policy::cautious, &order, phone);
  EXPECT_TRUE(reading.conflict) << "it opens again; no winner is declared";
  EXPECT_EQ(reading.shown->value, number(3));

  // If Fu's value had been Wu's, there would have been no conflict.
  fu.operations[0].operation.value = number(3);
  record = Record::evaluate(kind, {before, wu, fu});
  EXPECT_FALSE(read_register(record, *record.find(self_care), Policy::cautious, &order, phone).conflict);
}

struct Shape {
  const Sibling* shown;
  std::vector<Value> distinct;
  bool conflict, unconfirmed, defect;
};

// Pure, and independent of the order in which siblings happen to stand.
TEST(Policy, ReadingDependsOnNothingButTheSiblings) {
  check_property(
      [](const std::vector<std::array<std::uint8_t, 4>>& writers, std::uint8_t which, bool with_order, DeviceNumber creator) {
        const NumberOrder order;
        const auto policy = static_cast<Policy>(which % 7);
        History history;
        for (const auto& [device, value, time, rights] : writers) {
          auto transaction =
              one({device % 4u, 1 + history.size()}, {field_id(1, Gate::open), {}, 0}, value % 4 == 0 ? Value() : number(value % 4));
          transaction.mark.claimed_ms = time % 4;
          transaction.mark.confirmed = rights & 1, transaction.mark.resolves = rights & 2, transaction.mark.approves = rights & 4;
          history.push_back(std::move(transaction));
        }
        const auto record = Record::evaluate(kind, history);
        if (record.registers().empty()) return;
        const auto read = [&](const Register& reg) {
          const auto out = read_register(record, reg, policy, with_order ? &order : nullptr, creator % 4);
          Shape shape{nullptr, {}, out.conflict, out.unconfirmed, out.defect};
          for (const auto* each : out.distinct) shape.distinct.push_back(each->value);
          RC_ASSERT(out.shown == out.distinct.front());
          RC_ASSERT(std::set<Value>(shape.distinct.begin(), shape.distinct.end()).size() == shape.distinct.size());
          if (out.distinct.size() == 1 && policy != Policy::owner) RC_ASSERT(!out.conflict);
          shape.shown = out.shown;
          return std::pair(shape, record.dot(*out.shown));
        };
        Register reg = record.registers().front();
        const auto [shape, shown] = read(reg);
        std::reverse(reg.siblings.begin(), reg.siblings.end());
        const auto [reversed, shown_reversed] = read(reg);
        RC_ASSERT(shown == shown_reversed);
        RC_ASSERT(shape.distinct == reversed.distinct);
        RC_ASSERT(shape.conflict == reversed.conflict && shape.unconfirmed == reversed.unconfirmed && shape.defect == reversed.defect);
      },
      500);
}

}  // namespace
}  // namespace doorstep::merge_test
