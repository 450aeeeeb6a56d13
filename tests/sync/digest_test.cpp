// The state digest: a multiset hash over record_digest(id, encoded record).
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "sync/crypto.hpp"
#include "tests/sync/merge_support.hpp"
#include "tests/sync/property.hpp"

namespace doorstep::merge_test {
namespace {

Hash element(std::uint8_t number) { return hash("test", {ByteView(&number, 1)}); }

TEST(Digest, AddingAndRemovingCommute) {
  check_property(
      [](const std::vector<std::uint8_t>& numbers, unsigned seed) {
        MultisetHash forward, shuffled;
        for (auto number : numbers) forward.add(element(number));
        auto order = numbers;
        std::uint32_t state = seed;
        for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[(state = state * 1664525u + 1013904223u) % i]);
        for (auto number : order) shuffled.remove(element(static_cast<std::uint8_t>(~number)));  // removed before it is added
        for (auto number : order) shuffled.add(element(number));
        for (auto number : numbers) shuffled.add(element(static_cast<std::uint8_t>(~number)));
        RC_ASSERT(forward == shuffled);
        RC_ASSERT(forward.digest() == shuffled.digest());
      },
      50);
}

TEST(Digest, AMultisetIsNotASet) {
  MultisetHash one, two;
  one.add(element(1));
  two.add(element(1));
  two.add(element(1));
  EXPECT_NE(one.digest(), two.digest());
  two.remove(element(1));
  EXPECT_EQ(one.digest(), two.digest());
  two.remove(element(1));
  EXPECT_EQ(two, MultisetHash());
}

TEST(Digest, TheStateComesBack) {
  MultisetHash set;
  for (std::uint8_t i = 0; i < 20; ++i) set.add(element(i));
  const auto back = MultisetHash::from_state(set.state());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, set);
  EXPECT_EQ(MultisetHash::from_state(Bytes(2047)).code(), Code::corrupt);
  EXPECT_EQ(MultisetHash::from_state(Bytes()).code(), Code::corrupt);
}

// Kept for ever: replicas of different builds compare these.
TEST(Digest, KnownAnswers) {
  EXPECT_EQ(MultisetHash().digest().hex(), "c1bbece62eecab455530b09a9333e59c6ea83e0c4f8f1f0ebcab49c9d909ddd1");
  MultisetHash set;
  set.add(Hash{});
  EXPECT_EQ(to_hex(ByteView(set.state()).first(16)), "76b8e0ada0f13d90405d6ae55386bd28")
      << "ChaCha20 under a key and nonce of zeros, RFC 8439 A.1";
  EXPECT_EQ(set.digest().hex(), "9d73aabe7f98fcf5aea0aab8f2d79aa7ed6abe7a4a0b2764e97535b759ced295");
  RecordId id;
  id.data[0] = 1;
  auto created = one({0, 5}, {field_id(1, Gate::guarded), {}, 0}, std::string("Lan"));
  created.mark.creates = true;
  created.mark.claimed_ms = 1'700'000'000'000;
  const auto record = Record::evaluate(kind, {created, one({1, 9}, {field_id(3, Gate::open), "a", 2}, Date{19000}, {{0, 7}})});
  EXPECT_EQ(to_hex(bytes_of(record)), "070208000580a0abfef9620001090002050000000005034c616e0c0701610201000200070007f0a802010007");
  set.add(record_digest(id, bytes_of(record)));
  EXPECT_EQ(set.digest().hex(), "2c452417a06abbce057ff6d157ce949cc68dc61a512fc47f594c0b3ea588504e");
}

TEST(Digest, RecordsOfDifferentIdsDiffer) {
  const Bytes bytes{1, 2, 3};
  RecordId a, b;
  b.data[15] = 1;
  EXPECT_NE(record_digest(a, bytes), record_digest(b, bytes));
  EXPECT_NE(record_digest(a, bytes), record_digest(a, ByteView(bytes).first(2)));
}

}  // namespace
}  // namespace doorstep::merge_test
