// Transactions as bytes: round trips, every truncation and flipped bit, and each bound refused by name.
#include "sync/operation.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <random>

#include "sync/codec.hpp"
#include "sync/limits.hpp"
#include "tests/sync/allocations.hpp"
#include "tests/sync/property.hpp"

namespace doorstep {
namespace {

Author author(Counter first = 1000, DeviceNumber number = 3) {
  Author out;
  out.device.data[0] = 9;
  out.number = number;
  out.first = first;
  return out;
}

Bytes encoded(const Transaction& transaction, const Author& by = author()) {
  Encoder out;
  put_transaction(out, transaction, by);
  return out.take();
}

Result<Transaction> decoded(ByteView bytes, const Author& by = author()) {
  Decoder in(bytes);
  auto out = get_transaction(in, by);
  DOORSTEP_TRY(in.finish("a transaction"));
  return out;
}

std::string refusal(ByteView bytes, const Author& by = author()) {
  const auto out = decoded(bytes, by);
  return out.ok() ? "" : out.error().message();
}

// Any transaction that an honest writer could make, from a seed.
class Writer {
 public:
  explicit Writer(std::uint64_t seed) : random_(seed) {}

  Transaction transaction(const Author& by) {
    Transaction out;
    out.time = {time(), below(2) ? time() : 0, below(2) == 1};
    if (below(4) == 0) out.link.emplace().data[5] = byte();
    if (below(4) == 0) {
      auto& check = out.clock_check.emplace();
      check.peer.data[31] = byte();
      check.offset_ms = time();
    }
    if (below(3) == 0) out.note = text(1, 40);
    Counter counter = by.first;
    std::uint32_t created = 0;
    for (auto changes = below(4); changes > 0; --changes) {
      auto& change = out.changes.emplace_back();
      change.kind = 1 + below(2000);
      change.creates = below(2) == 1;
      change.record.data = {byte(), static_cast<std::uint8_t>(changes)};
      if (change.creates) change.record = make_record_id(by.device, by.first, created++);
      for (auto operations = 1 + below(4); operations > 0; --operations) change.operations.push_back(operation(by, counter++));
    }
    return out;
  }

 private:
  Operation operation(const Author& by, Counter counter) {
    Operation out;
    out.address.field = 1 + below(500);
    if (below(3) == 0) out.address.element = bytes_text(1, 32);
    if (below(3) == 0) out.address.subfield = 1 + below(300);
    for (auto names = below(4); names > 0; --names) {
      const Dot dot =
          below(2) ? Dot{by.number, 1 + random_() % (counter - 1)} : Dot{by.number + 1 + below(5), 1 + random_() % (Counter{1} << 40)};
      if (std::find(out.supersedes.begin(), out.supersedes.end(), dot) == out.supersedes.end()) out.supersedes.push_back(dot);
    }
    out.value = value();
    return out;
  }
  Value value() {
    switch (below(11)) {
      case 0: return std::monostate{};
      case 1: return false;
      case 2: return true;
      case 3: return static_cast<std::int64_t>(random_()) >> below(64);
      case 4: return Decimal{static_cast<std::int64_t>(random_()) >> below(64), static_cast<std::uint8_t>(below(10))};
      case 5: return text(0, 60);
      case 6: return CodeText{text(0, 8)};
      case 7: return Date{static_cast<std::int32_t>(random_())};
      case 8: return Timestamp{time()};
      case 9: return RecordId::from(view(bytes_text(16, 16)));
      default: return to_bytes(view(bytes_text(0, 40)));
    }
  }
  std::string text(std::uint32_t least, std::uint32_t most) {
    std::string out;
    for (auto size = least + below(most - least + 1); size > 0; --size) out += below(4) ? "a" : "\xE8\xAE\xBF";
    return out;
  }
  std::string bytes_text(std::uint32_t least, std::uint32_t most) {
    std::string out;
    for (auto size = least + below(most - least + 1); size > 0; --size) out += static_cast<char>(byte());
    return out;
  }
  std::int64_t time() { return static_cast<std::int64_t>(random_()) >> (11 + below(50)); }
  std::uint8_t byte() { return static_cast<std::uint8_t>(random_()); }
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }
  std::mt19937_64 random_;
};

bool same(const Operation& a, const Operation& b) { return a.address == b.address && a.value == b.value && a.supersedes == b.supersedes; }
bool same(const RecordChange& a, const RecordChange& b) {
  return a.record == b.record && a.kind == b.kind && a.creates == b.creates &&
         std::equal(a.operations.begin(), a.operations.end(), b.operations.begin(), b.operations.end(),
                    [](const Operation& x, const Operation& y) { return same(x, y); });
}
bool same(const Transaction& a, const Transaction& b) {
  const bool checks =
      a.clock_check.has_value() == b.clock_check.has_value() &&
      (!a.clock_check || (a.clock_check->peer == b.clock_check->peer && a.clock_check->offset_ms == b.clock_check->offset_ms));
  return a.time == b.time && a.link == b.link && a.note == b.note && checks &&
         std::equal(a.changes.begin(), a.changes.end(), b.changes.begin(), b.changes.end(),
                    [](const RecordChange& x, const RecordChange& y) { return same(x, y); });
}

TEST(Operation, EveryTransactionComesBack) {
  check_property(
      [](std::uint64_t seed) {
        const auto transaction = Writer(seed).transaction(author());
        const auto bytes = encoded(transaction);
        const auto back = decoded(bytes);
        RC_ASSERT(back.ok());
        RC_ASSERT(same(*back, transaction));
        RC_ASSERT(encoded(*back) == bytes);
        RC_ASSERT(has_clock_check(bytes) == transaction.clock_check.has_value());
      },
      500);
}

// A device writes before it knows its number; the bytes stay what they are when it is admitted.
TEST(Operation, TheBytesDoNotDependOnTheAuthorsNumber) {
  check_property(
      [](std::uint64_t seed) {
        const auto transaction = Writer(seed).transaction(author(1000, 3));
        const auto bytes = encoded(transaction);
        const auto unadmitted = decoded(bytes, author(1000, device_unadmitted));
        RC_ASSERT(unadmitted.ok());
        RC_ASSERT(encoded(*unadmitted, author(1000, device_unadmitted)) == bytes);
        for (const auto& change : unadmitted->changes)
          for (const auto& operation : change.operations)
            for (const auto& dot : operation.supersedes) RC_ASSERT(dot.device != 3u);
      },
      100);
}

TEST(Operation, EveryPrefixIsRefusedAndEveryFlippedBitRefusedOrCanonical) {
  std::uint64_t flips = 0, accepted = 0;
  check_property(
      [&](std::uint64_t seed) {
        const auto bytes = encoded(Writer(seed).transaction(author()));
        for (std::size_t size = 0; size < bytes.size(); ++size) RC_ASSERT(!decoded(ByteView(bytes).first(size)).ok());
        for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
          auto flipped = bytes;
          flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ 1u << bit % 8);
          const auto back = decoded(flipped);
          ++flips;
          if (!back.ok()) continue;
          ++accepted;
          RC_ASSERT(encoded(*back) == flipped);
        }
      },
      60);
  std::printf("  %llu flipped bits, %llu still a transaction, each its own canonical form\n", static_cast<unsigned long long>(flips),
              static_cast<unsigned long long>(accepted));
}

TEST(Operation, AnyBytesAreRefusedOrCanonical) {
  check_property(
      [](const Bytes& bytes) {
        const auto back = decoded(bytes);
        if (back.ok()) RC_ASSERT(encoded(*back) == bytes);
      },
      500);
}

// One change of kind 5 with one operation on field 4, spelled out so that one thing at a time can be wrong.
struct Spelled {
  std::string flags = "00", time = "00", extras, changes = "01", head = "0b", record, count = "01", field = "04", shape = "00", address,
              dots, value = "00";
  Bytes bytes() const {
    return from_hex(flags + time + extras + changes + head + record + count + field + shape + address + dots + value).value();
  }
};

TEST(Operation, TheSpelledTransactionIsGood) {
  EXPECT_EQ(refusal(Spelled().bytes()), "");
  EXPECT_EQ(refusal(from_hex("000000").value()), "") << "no changes: a clock check may stand alone";
}

struct Refused {
  std::string why;
  Spelled bytes;
};

TEST(Operation, EachRuleIsRefusedByName) {
  const std::string time_max_plus_1 = "8280808080808020", element_33 = "21" + std::string(66, '1');
  const Refused all[] = {
      {"a transaction has unknown flags", {.flags = "20"}},
      {"a time is out of range", {.time = time_max_plus_1}},
      {"an offset of zero is written out", {.flags = "02", .extras = "00"}},
      {"a time is out of range", {.flags = "02", .extras = time_max_plus_1}},
      {"a note is empty or not valid UTF-8", {.flags = "10", .extras = "00"}},
      {"a note is empty or not valid UTF-8", {.flags = "10", .extras = "01ff"}},
      {"a length is above its bound", {.flags = "10", .extras = "8108"}},
      {"a count is above its bound", {.changes = "818001"}},
      {"a count is larger than the input", {.changes = "8040"}},
      {"a record kind is out of range", {.head = "01"}},
      {"a record kind is out of range", {.head = "8180808020"}},
      {"a change has no operation", {.count = "00"}},
      {"a count is above its bound", {.count = "818001"}},
      {"a field id is out of range", {.field = "00"}},
      {"a field id is out of range", {.field = "8080808010"}},
      {"an operation supersedes more than 64 dots", {.shape = "8402"}},
      {"an element key is empty", {.shape = "01", .address = "00"}},
      {"a length is above its bound", {.shape = "01", .address = element_33}},
      {"a subfield id is out of range", {.shape = "02", .address = "00"}},
      {"a dot names no operation", {.shape = "04", .dots = "0000"}},
      {"a dot names no operation", {.shape = "04", .dots = "0200"}},
      {"a dot names no operation", {.shape = "04", .dots = "808080801001"}},
      {"an operation supersedes itself or a later one", {.shape = "04", .dots = "00e807"}},
      {"an own dot is not written as a distance", {.shape = "04", .dots = "0401"}},
      {"an operation supersedes a dot twice", {.shape = "08", .dots = "02010201"}},
      {"an operation supersedes a dot twice", {.shape = "08", .dots = "00010001"}},
      {"a value has an unknown type", {.value = "0b"}},
      {"a decimal has more than nine places", {.value = "040a00"}},
      {"a text is not valid UTF-8", {.value = "0502c328"}},
      {"a text is not valid UTF-8", {.value = "0602c328"}},
      {"a length is above its bound", {.value = "05818004"}},
      {"a length is above its bound", {.value = "0621" + std::string(66, '1')}},
      {"a date is out of range", {.value = "078080808020"}},
      {"a length is above its bound", {.value = "0a818004"}},
      {"ends too early", {.value = "0900"}},
      {"has bytes after its end", {.value = "0000"}},
  };
  for (const auto& [why, spelled] : all) {
    const auto message = refusal(spelled.bytes());
    EXPECT_TRUE(message.starts_with("a transaction: " + why + " (byte ")) << "wanted: " << why << "\n   got: " << message;
  }
}

TEST(Operation, BoundsAreKeptOnBothSides) {
  // time 2^53 either side, 64 dots, an element of 32 bytes, distances up to the first counter
  EXPECT_EQ(refusal(Spelled{.time = "8080808080808020"}.bytes()), "");
  EXPECT_EQ(refusal(Spelled{.time = "ffffffffffffff1f"}.bytes()), "");
  EXPECT_EQ(refusal(Spelled{.shape = "04", .dots = "00e707"}.bytes()), "");
  EXPECT_EQ(refusal(Spelled{.shape = "01", .address = "20" + std::string(64, '1')}.bytes()), "");
  std::string dots;
  for (int i = 1; i <= 64; ++i) dots += "02" + to_hex(Bytes{static_cast<std::uint8_t>(i)});
  EXPECT_EQ(refusal(Spelled{.shape = "8002", .dots = dots}.bytes()), "");
}

TEST(Operation, CountersThatCouldOverflowAreRefused) {
  const auto bytes = Spelled().bytes();
  EXPECT_EQ(refusal(bytes, author(limits::counter_max)), "");
  EXPECT_TRUE(refusal(bytes, author(limits::counter_max + 1)).starts_with("a transaction: a counter is out of range"));
  EXPECT_TRUE(refusal(bytes, author(0)).starts_with("a transaction: a counter is out of range"));
}

TEST(Operation, OperationsOfATransactionAreBoundedTogether) {
  Transaction transaction;
  transaction.changes.resize(2);
  transaction.changes[1].record.data[0] = 1;
  for (auto& change : transaction.changes) {
    change.kind = 5;
    change.operations.resize(limits::operations_per_transaction_max / 2);
    for (auto& operation : change.operations) operation.address.field = 4;
  }
  EXPECT_EQ(refusal(encoded(transaction)), "");
  transaction.changes[1].operations.emplace_back().address.field = 4;
  EXPECT_TRUE(refusal(encoded(transaction)).starts_with("a transaction: a transaction has too many operations"));
}

TEST(Operation, ARecordIsChangedOnce) {
  Transaction transaction;
  transaction.changes.resize(3);
  for (auto& change : transaction.changes) {
    change.kind = 5;
    change.operations.resize(1);
    change.operations[0].address.field = 4;
  }
  transaction.changes[1].record.data[0] = 1;
  transaction.changes[2].kind = 6;  // the same id under another kind is another record
  EXPECT_EQ(refusal(encoded(transaction)), "");
  transaction.changes[2].kind = 5;
  EXPECT_TRUE(refusal(encoded(transaction)).starts_with("a transaction: a transaction changes a record twice"));
  transaction.changes[0].creates = true;
  transaction.changes[2].record = make_record_id(author().device, author().first);
  EXPECT_TRUE(refusal(encoded(transaction)).starts_with("a transaction: a transaction changes a record twice"));
}

TEST(Operation, LengthBombsAllocateLittle) {
  const Bytes bombs[] = {
      Spelled{.flags = "10", .extras = "8008"}.bytes(),  // a note of 1 KiB
      Spelled{.changes = "808001"}.bytes(),              // 16,384 changes
      Spelled{.count = "808001"}.bytes(),                // 16,384 operations
      Spelled{.value = "05808004"}.bytes(),              // a text of 64 KiB
      Spelled{.value = "0a808004"}.bytes(),              // bytes of 64 KiB
      Spelled{.shape = "8002"}.bytes(),                  // 64 dots
  };
  for (const auto& bomb : bombs) {
    const auto by = author();
    AllocationCounter counter;
    const bool accepted = decoded(bomb, by).ok();
    EXPECT_LT(counter.bytes(), 8192u) << to_hex(bomb);
    EXPECT_FALSE(accepted);
  }
}

TEST(Operation, RecordIdsCommitToTheirAuthor) {
  const auto a = author().device;
  auto b = a;
  b.data[31] = 1;
  EXPECT_EQ(make_record_id(a, 7), make_record_id(a, 7, 0));
  EXPECT_NE(make_record_id(a, 7), make_record_id(b, 7));
  EXPECT_NE(make_record_id(a, 7), make_record_id(a, 8));
  EXPECT_NE(make_record_id(a, 7, 0), make_record_id(a, 7, 1));
}

}  // namespace
}  // namespace doorstep
