// Single cases of the merge that were once wrong or are easily got wrong, and a record's bytes.
#include "sync/record.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <random>

#include "tests/sync/allocations.hpp"
#include "tests/sync/merge_support.hpp"
#include "tests/sync/property.hpp"

namespace doorstep::merge_test {
namespace {

using Outcome = Record::Outcome;

const Address open_field{field_id(1, Gate::open), {}, 0};
const Address guarded_field{field_id(1, Gate::guarded), {}, 0};
const Address owned_field{field_id(1, Gate::owned), {}, 0};
const Address once_field{field_id(1, Gate::once), {}, 0};

std::set<Dot> siblings(const Record& record, const Address& address) {
  std::set<Dot> out;
  if (const auto* reg = record.find(address))
    for (const auto& sibling : reg->siblings) out.insert(record.dot(sibling));
  return out;
}

// Every order of delivery ends as evaluate() says; returns that.
Record in_every_order(History history) {
  const auto whole = Record::evaluate(kind, history);
  const auto before = [](const auto& a, const auto& b) { return Dot{a.mark.device, a.mark.first} < Dot{b.mark.device, b.mark.first}; };
  std::sort(history.begin(), history.end(), before);
  do {
    Body body;
    for (const auto& transaction : history) body.deliver(transaction);
    EXPECT_EQ(body.record(), whole);
  } while (std::next_permutation(history.begin(), history.end(), before));
  return whole;
}

TEST(Record, ANewRecordIsAppliedNotReplayed) {
  auto created = one({0, 1}, open_field, number(1));
  for (std::uint32_t i = 1; i < 20; ++i) created.operations.push_back({i, {{field_id(1 + i, Gate::guarded), {}, 0}, number(i), {}}});
  Body body;
  EXPECT_EQ(body.deliver(created), Outcome::applied);
  EXPECT_EQ(body.record().registers().size(), 20u);
  EXPECT_EQ(body.deliver(created), Outcome::unchanged);
}

TEST(Record, AnOrdinaryEditIsApplied) {
  for (const auto& address : {open_field, guarded_field, owned_field}) {
    Body body;
    body.deliver(one({0, 1}, address, number(1)));
    EXPECT_EQ(body.deliver(one({1, 1}, address, number(2), {{0, 1}})), Outcome::applied);
    EXPECT_EQ(body.deliver(one({0, 2}, address, number(3), {{0, 1}})), Outcome::applied) << "concurrent, what it names is closed";
    EXPECT_EQ(siblings(body.record(), address), (std::set<Dot>{{0, 2}, {1, 1}}));
  }
}

TEST(Record, TheSecondWriteToOneAddressInATransactionHasSeenTheFirst) {
  auto twice = one({0, 1}, guarded_field, number(2), {{1, 1}});
  twice.operations.push_back({1, {guarded_field, number(3), {{1, 1}, {0, 1}}}});
  // 1.1 and 0.1 differ, so 0.2 may close neither; 0.1 alone closes 1.1.
  const auto record = in_every_order({one({1, 1}, guarded_field, number(1)), twice});
  EXPECT_EQ(siblings(record, guarded_field), (std::set<Dot>{{0, 1}, {0, 2}}));
}

TEST(Record, AClosedOperationIsNotAwaitedAgainByTheSameTransaction) {
  auto twice = one({0, 1}, open_field, number(3), {{1, 2}});
  twice.operations.push_back({1, {open_field, number(4), {{1, 1}}}});
  const auto record = in_every_order({one({1, 1}, open_field, number(1)), one({1, 2}, open_field, number(2), {{1, 1}}), twice});
  EXPECT_EQ(siblings(record, open_field), (std::set<Dot>{{0, 1}, {0, 2}}));
  EXPECT_TRUE(record.find(open_field)->awaited.empty());
}

TEST(Record, WhatIsAwaitedIsClosedWhenItComes) {
  const auto record = in_every_order({one({0, 1}, open_field, number(1)), one({1, 1}, open_field, number(2), {{0, 1}}),
                                      one({2, 1}, open_field, number(3), {{1, 1}, {0, 9}})});
  EXPECT_EQ(siblings(record, open_field), (std::set<Dot>{{2, 1}}));
  EXPECT_EQ(record.find(open_field)->awaited, (std::vector<Dot>{{0, 9}}));
  EXPECT_EQ(record.find(open_field)->siblings[0].causal, 3u);
}

TEST(Record, GuardedClosesOneAgreedValueNeverSeveral) {
  const auto a = one({0, 1}, guarded_field, number(1)), b = one({1, 1}, guarded_field, number(2)),
             same = one({1, 1}, guarded_field, number(1));
  auto edit = one({2, 1}, guarded_field, number(3), {{0, 1}, {1, 1}});
  EXPECT_EQ(siblings(in_every_order({a, b, edit}), guarded_field).size(), 3u);
  EXPECT_EQ(siblings(in_every_order({a, same, edit}), guarded_field).size(), 1u);
  edit.mark.resolves = true;
  EXPECT_EQ(siblings(in_every_order({a, b, edit}), guarded_field).size(), 1u);
}

TEST(Record, GuardedComparesClosedTargetsToo) {
  // 2.1 names 0.1, which 1.1 has closed, and 0.9 of another value: several, so 0.9 stays.
  const auto record = in_every_order({one({0, 1}, guarded_field, number(1)), one({1, 1}, guarded_field, number(2), {{0, 1}}),
                                      one({0, 9}, guarded_field, number(5)), one({2, 1}, guarded_field, number(3), {{0, 1}, {0, 9}})});
  EXPECT_EQ(siblings(record, guarded_field), (std::set<Dot>{{0, 9}, {1, 1}, {2, 1}}));
}

TEST(Record, OwnedProtectsOnlyTheOwnersValue) {
  auto owned = one({0, 1}, owned_field, number(1));
  owned.mark.approves = true;
  const auto proposal = one({1, 1}, owned_field, number(2)), second = one({2, 1}, owned_field, number(3), {{0, 1}, {1, 1}});
  EXPECT_EQ(siblings(in_every_order({owned, proposal, second}), owned_field), (std::set<Dot>{{0, 1}, {2, 1}}));
  auto decision = one({0, 5}, owned_field, number(3), {{0, 1}, {2, 1}});
  decision.mark.approves = true;
  EXPECT_EQ(siblings(in_every_order({owned, proposal, second, decision}), owned_field), (std::set<Dot>{{0, 5}}));
}

TEST(Record, OnceClosesNothing) {
  EXPECT_EQ(siblings(in_every_order({one({0, 1}, once_field, number(1)), one({0, 2}, once_field, number(2), {{0, 1}})}), once_field).size(),
            2u);
}

TEST(Record, ASupersessionCountsOnlyAtItsOwnAddress) {
  const Address other{open_field.field, "a", 0};
  const auto record =
      in_every_order({one({0, 1}, open_field, number(1)), one({1, 1}, other, number(2), {{0, 1}}), one({0, 2}, other, number(3))});
  EXPECT_EQ(siblings(record, open_field), (std::set<Dot>{{0, 1}}));
  EXPECT_EQ(record.find(other)->awaited, (std::vector<Dot>{{0, 1}}));
}

// Two that name each other need a hash collision. Both are closed, both stay in history, and the next write is an ordinary one.
TEST(Record, ACircleClosesItselfAndHarmsNothing) {
  const auto a = one({0, 1}, open_field, number(1), {{1, 1}}), b = one({1, 1}, open_field, number(2), {{0, 1}});
  EXPECT_TRUE(siblings(in_every_order({a, b}), open_field).empty());
  const auto record = in_every_order({a, b, one({2, 1}, open_field, number(3)), one({2, 2}, open_field, number(4), {{0, 1}, {2, 1}})});
  EXPECT_EQ(siblings(record, open_field), (std::set<Dot>{{2, 2}}));
  EXPECT_EQ(record.find(open_field)->siblings[0].causal, 0u);
  EXPECT_EQ(record_from(bytes_of(record)), record);
}

// DESIGN section 4: accepted operations that superseded quarantined ones still count as having seen what those saw.
TEST(Record, AQuarantinedOperationShowsNothingButWasSeen) {
  for (const auto& address : {open_field, guarded_field, owned_field}) {
    const auto before = one({0, 1}, address, number(1)), after = one({2, 1}, address, number(3), {{1, 1}});
    auto cut = one({1, 1}, address, number(2), {{0, 1}});
    cut.quarantined = true;
    EXPECT_EQ(siblings(in_every_order({before, cut}), address), (std::set<Dot>{{0, 1}})) << "what it alone closed, stands";
    EXPECT_EQ(siblings(in_every_order({before, cut, after}), address), (std::set<Dot>{{2, 1}}))
        << "what an accepted one closed through it, not";
    cut.quarantined = false;
    EXPECT_EQ(siblings(in_every_order({before, cut, after}), address), (std::set<Dot>{{2, 1}})) << "and so the cut changed nothing";
  }
}

TEST(Record, AQuarantinedOperationHasNoRights) {
  // The revoked resolver closed two different values; whoever goes on from there without the right does not close them through it.
  const History siblings_of_two{one({0, 1}, guarded_field, number(1)), one({1, 1}, guarded_field, number(2))};
  auto cut = one({2, 1}, guarded_field, number(3), {{0, 1}, {1, 1}});
  cut.mark.resolves = true;
  auto after = one({1, 5}, guarded_field, number(4), {{2, 1}});
  History history = siblings_of_two;
  history.insert(history.end(), {cut, after});
  EXPECT_EQ(siblings(in_every_order(history), guarded_field), (std::set<Dot>{{1, 5}}));
  history[2].quarantined = true;
  EXPECT_EQ(siblings(in_every_order(history), guarded_field), (std::set<Dot>{{0, 1}, {1, 1}, {1, 5}}));
}

TEST(Record, WhatNobodyNamedInQuarantineLeavesNoTrace) {
  auto cut = one({1, 1}, open_field, number(2), {{0, 1}, {0, 99}});
  cut.quarantined = true;
  const auto before = one({0, 1}, open_field, number(1));
  EXPECT_EQ(bytes_of(in_every_order({before, cut})), bytes_of(Record::evaluate(kind, {before})));
  Body body;
  body.deliver(before);
  EXPECT_EQ(body.deliver(cut), Outcome::unchanged);
}

TEST(Record, MarksGoInTheMiddle) {
  const auto record = in_every_order({one({0, 5}, open_field, number(1)), one({1, 5}, {open_field.field, "a", 0}, number(2)),
                                      one({0, 7}, {open_field.field, "b", 0}, number(3)), one({0, 1}, once_field, number(4))});
  ASSERT_EQ(record.marks().size(), 4u);
  EXPECT_EQ(record.dot(record.find(open_field)->siblings[0]), (Dot{0, 5}));
}

// ------------------------------------------------------------------------------------------------------------------------------- bytes

Record any_record(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  History history;
  std::vector<Dot> dots{{7, 7}};
  for (Counter counter = 1; counter <= 1 + random() % 12; ++counter) {
    const Dot dot{static_cast<DeviceNumber>(random() % 3), counter * 1'000'003};
    std::vector<Dot> names;
    for (const auto& each : dots)
      if (random() % 4 == 0) names.push_back(each);
    const Address address{static_cast<FieldId>(4 + random() % 6), random() % 3 ? "" : "key", static_cast<SubfieldId>(random() % 2)};
    auto transaction =
        one(dot, address, random() % 2 ? number(static_cast<std::int64_t>(random() % 3)) : Value(std::string("text")), names);
    transaction.mark.claimed_ms = static_cast<std::int64_t>(random() % 1000) - 500;
    transaction.mark.offset_ms = random() % 2 ? -7 : 0;
    transaction.mark.confirmed = random() % 2, transaction.mark.resolves = random() % 2, transaction.mark.creates = random() % 5 == 0;
    transaction.quarantined = random() % 6 == 0;
    dots.push_back(dot);
    history.push_back(std::move(transaction));
  }
  return Record::evaluate(kind, history);
}

TEST(RecordBytes, ComeBack) {
  check_property(
      [](std::uint64_t seed) {
        const auto record = any_record(seed);
        RC_ASSERT(record_from(bytes_of(record)) == record);
      },
      300);
  EXPECT_EQ(record_from(bytes_of(Record(kind))), Record(kind));
}

TEST(RecordBytes, EveryPrefixIsRefusedAndEveryFlippedBitRefusedOrCanonical) {
  check_property(
      [](std::uint64_t seed) {
        const auto bytes = bytes_of(any_record(seed));
        for (std::size_t size = 0; size < bytes.size(); ++size) RC_ASSERT(!record_from(ByteView(bytes).first(size)));
        for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
          auto flipped = bytes;
          flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ 1u << bit % 8);
          if (const auto back = record_from(flipped)) RC_ASSERT(bytes_of(*back) == flipped);
        }
      },
      60);
}

TEST(RecordBytes, EachRuleIsRefusedByName) {
  // kind 7; one mark: device 0, counter 5, time 0; one register: field 4, one sibling of mark 0: offset 0, names nothing, no value
  const std::string head = "07", mark = "00000500", mark_9 = "00000900",
                    reg =
                        "0400"
                        "00000000",
                    reg_6 =
                        "0600"
                        "00000000";
  const std::pair<std::string, std::string> all[] = {
      {"", head + "01" + mark + "01" + reg},
      {"", head + "02" + mark + mark_9 + "02" + reg + reg_6},
      {"a mark has unknown flags", head +
                                       "0120000500"
                                       "01" +
                                       reg},
      {"a dot names no operation", head +
                                       "0100000000"
                                       "01" +
                                       reg},
      {"a counter is out of range", head +
                                        "0100"
                                        "00"
                                        "818080808080808040"
                                        "00"
                                        "01" +
                                        reg},
      {"a time is out of range", head +
                                     "01000005"
                                     "8280808080808020"
                                     "01" +
                                     reg},
      {"an offset of zero is written out", head +
                                               "0110000500"
                                               "00"
                                               "01" +
                                               reg},
      {"marks are out of order", head + "02" + mark + mark + "01" + reg},
      {"marks are out of order", head + "02" + mark_9 + mark + "01" + reg},
      {"registers are out of order", head + "01" + mark + "02" + reg + reg},
      {"registers are out of order", head + "01" + mark + "02" + reg_6 + reg},
      {"a register has an unknown shape", head + "01" + mark +
                                              "01"
                                              "0410"
                                              "00000000"},
      {"an element key is empty", head + "01" + mark +
                                      "01"
                                      "0401"
                                      "00"
                                      "00000000"},
      {"a subfield of zero is written out", head + "01" + mark +
                                                "01"
                                                "0402"
                                                "00"
                                                "00000000"},
      {"a count of one sibling is written out", head + "01" + mark +
                                                    "01"
                                                    "0408"
                                                    "01"
                                                    "00000000"},
      {"siblings are out of order", head + "01" + mark +
                                        "01"
                                        "0408"
                                        "02"
                                        "00000000"
                                        "00000000"},
      {"siblings are out of order", head + "02" + mark + mark_9 +
                                        "01"
                                        "0408"
                                        "02"
                                        "01000000"
                                        "00000000"},
      {"a sibling names no mark", head + "01" + mark +
                                      "01"
                                      "0400"
                                      "01000000"},
      {"a sibling supersedes too many", head + "01" + mark +
                                            "01"
                                            "0400"
                                            "0000"
                                            "8201"
                                            "00"},
      {"a causal counter of one is written out", head + "01" + mark +
                                                     "01"
                                                     "0400"
                                                     "0000"
                                                     "01"
                                                     "01"
                                                     "00"},
      {"a count of no awaited dots is written out", head + "01" + mark +
                                                        "01"
                                                        "0404"
                                                        "00000000"
                                                        "00"},
      {"awaited dots are out of order", head + "01" + mark +
                                            "01"
                                            "0404"
                                            "00000000"
                                            "02"
                                            "0101"
                                            "0101"},
      {"a count is larger than the input", head + "ffff03" + mark},
      {"a count is larger than the input", head + "01" + mark + "ffff03" + reg},
      {"has bytes after its end", head + "01" + mark + "01" + reg + "00"},
  };
  for (const auto& [why, text] : all) {
    const auto bytes = from_hex(text).value();
    Decoder in(bytes);
    const auto record = Record::decode(in);
    const auto status = in.finish("r");
    if (why.empty()) {
      EXPECT_TRUE(status.ok()) << text << ": " << status.error().message();
      EXPECT_EQ(to_hex(bytes_of(record)), text);
    } else {
      EXPECT_TRUE(!status.ok() && status.error().message().starts_with("r: " + why + " ("))
          << why << ": " << (status.ok() ? "accepted" : status.error().message());
    }
  }
}

TEST(RecordBytes, LengthBombsAllocateLittle) {
  for (const auto* text : {"07ffff03", "070100000500ffff03",
                           "0701000005000104"
                           "08"
                           "ffff03",
                           "07010000050001040404"
                           "00000000"
                           "ffff03",
                           "0701000005000104000000"
                           "8001"}) {
    const auto bytes = from_hex(text).value();
    AllocationCounter counter;
    Decoder in(bytes);
    const auto record = Record::decode(in);
    EXPECT_LT(counter.bytes(), 4096u) << text;
    EXPECT_TRUE(in.failed()) << text;
  }
}

}  // namespace
}  // namespace doorstep::merge_test
