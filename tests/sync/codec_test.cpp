// The archive: one value has one encoding, nothing is believed before it is there, nothing is left unread.
#include "sync/codec.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/sync/allocations.hpp"
#include "tests/sync/property.hpp"

namespace doorstep {
namespace {

using Id = FixedBytes<struct CodecTestTag, 4>;
enum class Colour : std::uint8_t { red = 0, green = 1, blue = 2 };

struct Everything {
  std::uint8_t small = 0;
  std::uint64_t large = 0;
  std::int32_t signed_small = 0;
  std::int64_t signed_large = 0;
  bool flag = false;
  Colour colour = Colour::red;
  Id id;
  std::string text;
  Bytes bytes;
  std::vector<std::uint32_t> numbers;
  std::optional<std::int64_t> maybe;
  bool operator==(const Everything&) const = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(small, large, signed_small, signed_large, flag, enumerated<Colour::blue>(colour), id, bounded<40>(text), bounded<40>(bytes),
            bounded<20>(numbers), maybe);
  }
};

// The probe inputs of cereal's own archives (research, F.1), as types of ours.
struct Blob {
  Bytes bytes;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(bounded<(std::size_t{1} << 31)>(bytes));
  }
};
struct Texts {
  std::vector<std::string> texts;
  template <class Archive>
  void save(Archive& archive) const {
    archive.put_varint(texts.size());
    for (const auto& text : texts) archive.put_bytes(view(text));
  }
  template <class Archive>
  void load(Archive& archive) {
    const auto count = archive.get_count(std::size_t{1} << 26);
    for (std::size_t i = 0; i < count && !archive.failed(); ++i) texts.emplace_back(text_view(archive.get_bytes(1000)));
  }
};
struct Nothing {
  template <class Archive>
  void serialize(Archive&) {}
};
struct Nothings {
  std::vector<Nothing> all;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(bounded<(std::size_t{1} << 32)>(all));
  }
};
struct Flag {
  bool truth = false;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(truth);
  }
};

struct Small {
  std::uint8_t value = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(value);
  }
};
struct Signed {
  std::int32_t value = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(value);
  }
};
struct TwoVectors {
  std::vector<std::uint32_t> first, second;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(bounded<10>(first), bounded<10>(second));
  }
};

Bytes hex(std::string_view text) { return from_hex(text).value(); }

template <class T>
std::string refusal(ByteView bytes) {
  const auto out = decode<T>(bytes, "a thing");
  return out.ok() ? "" : out.error().message();
}

Everything any_everything() {
  Everything out;
  out.small = *rc::gen::arbitrary<std::uint8_t>();
  out.large = *rc::gen::arbitrary<std::uint64_t>() >> *rc::gen::inRange(0, 64);
  out.signed_small = *rc::gen::arbitrary<std::int32_t>();
  out.signed_large = *rc::gen::arbitrary<std::int64_t>() >> *rc::gen::inRange(0, 64);
  out.flag = *rc::gen::arbitrary<bool>();
  out.colour = static_cast<Colour>(*rc::gen::inRange(0, 3));
  out.id.data = *rc::gen::arbitrary<std::array<std::uint8_t, 4>>();
  out.text = *rc::gen::resize(40, rc::gen::arbitrary<std::string>());
  out.bytes = *rc::gen::resize(40, rc::gen::arbitrary<Bytes>());
  out.numbers = *rc::gen::resize(20, rc::gen::arbitrary<std::vector<std::uint32_t>>());
  if (*rc::gen::arbitrary<bool>()) out.maybe = *rc::gen::arbitrary<std::int64_t>();
  return out;
}

TEST(Codec, EveryValueComesBack) {
  check_property(
      [] {
        const auto value = any_everything();
        const auto back = decode<Everything>(encode(value), "a thing");
        RC_ASSERT(back.ok());
        RC_ASSERT(*back == value);
      },
      300);
}

TEST(Codec, EveryPrefixIsRefusedAndEveryFlippedBitRefusedOrCanonical) {
  check_property(
      [] {
        const auto bytes = encode(any_everything());
        for (std::size_t size = 0; size < bytes.size(); ++size) RC_ASSERT(!decode<Everything>(ByteView(bytes).first(size), "a thing").ok());
        for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
          auto flipped = bytes;
          flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ 1u << bit % 8);
          const auto back = decode<Everything>(flipped, "a thing");
          if (back.ok()) RC_ASSERT(encode(*back) == flipped);
        }
      },
      60);
}

TEST(Codec, AnyBytesAreRefusedOrCanonical) {
  check_property(
      [](const Bytes& bytes) {
        const auto back = decode<Everything>(bytes, "a thing");
        if (back.ok()) RC_ASSERT(encode(*back) == bytes);
        Decoder in(bytes);
        const auto number = in.get_varint();
        if (in.failed()) return;
        Encoder out;
        out.put_varint(number);
        RC_ASSERT(equal(out.bytes(), ByteView(bytes).first(in.position())));
      },
      1000);
}

TEST(Codec, VarintsHaveOneForm) {
  const auto read = [](std::string_view text) {
    const auto bytes = hex(text);
    Decoder in(bytes);
    const auto value = in.get_varint();
    return std::pair(value, in.finish("a number").ok());
  };
  EXPECT_EQ(read("00"), std::pair(std::uint64_t{0}, true));
  EXPECT_EQ(read("7f"), std::pair(std::uint64_t{127}, true));
  EXPECT_EQ(read("8001"), std::pair(std::uint64_t{128}, true));
  EXPECT_EQ(read("ffffffffffffffffff01"), std::pair(UINT64_MAX, true));
  for (const auto* text : {"", "80", "8000", "ff00", "ffffffffffffffffff02", "ffffffffffffffffffff01", "80808080808080808000", "0000"})
    EXPECT_FALSE(read(text).second) << text;
}

TEST(Codec, NumbersAreRefusedAboveTheirType) {
  EXPECT_EQ(refusal<Small>(hex("ff01")), "");
  EXPECT_EQ(refusal<Small>(hex("8002")), "a thing: a number is too large (byte 2)");
  EXPECT_EQ(refusal<Signed>(hex("ffffffff0f")), "");
  EXPECT_EQ(refusal<Signed>(hex("8080808010")), "a thing: a number is too large (byte 5)");
}

TEST(Codec, RefusalsSayWhatAndWhere) {
  Everything value;
  value.text = "abc";
  const auto good = encode(value);
  ASSERT_EQ(to_hex(good),
            "00000000000000000000"
            "03616263"
            "000000");
  const auto with = [&](std::size_t at, std::uint8_t byte) {
    auto out = good;
    out[at] = byte;
    return refusal<Everything>(out);
  };
  EXPECT_EQ(with(4, 7), "a thing: a bool is neither 0 nor 1 (byte 5)");
  EXPECT_EQ(with(5, 3), "a thing: an enumerated value is unknown (byte 6)");
  EXPECT_EQ(with(10, 41), "a thing: a length is above its bound (byte 11)");
  EXPECT_EQ(with(10, 40), "a thing: ends too early (byte 11)");
  EXPECT_EQ(with(15, 21), "a thing: a count is above its bound (byte 16)");
  EXPECT_EQ(with(15, 20), "a thing: a count is larger than the input (byte 16)");
  EXPECT_EQ(with(16, 2), "a thing: a bool is neither 0 nor 1 (byte 17)");
  auto longer = good;
  longer.resize(longer.size() + 100);
  EXPECT_EQ(refusal<Everything>(longer), "a thing: has bytes after its end (byte 17)");
  EXPECT_EQ(decode<Everything>(longer, "a thing").code(), Code::corrupt);
}

TEST(Codec, AFailedDecoderReadsZerosAndKeepsTheFirstFailure) {
  const auto bytes = hex("05");
  Decoder in(bytes);
  in.fail("first");
  in.fail("second");
  EXPECT_EQ(in.get_u8(), 0);
  EXPECT_EQ(in.get_varint(), 0u);
  EXPECT_EQ(in.get_zigzag(), 0);
  EXPECT_TRUE(in.get_raw(0).empty());
  EXPECT_TRUE(in.get_bytes(10).empty());
  EXPECT_EQ(in.get_count(10), 0u);
  EXPECT_TRUE(in.get_fixed<Id>().is_zero());
  EXPECT_EQ(in.finish("it").error().message(), "it: first (byte 0)");
}

TEST(Codec, LengthBombsAllocateNothing) {
  const auto bytes_2g = hex("8080808008"), count_2_26 = hex("8080802001"), count_2_32 = hex("808080801001"),
             everything = hex("ffffffffffffffffff01");
  AllocationCounter counter;
  const bool accepted[] = {decode<Blob>(bytes_2g, "a").ok(), decode<Texts>(count_2_26, "a").ok(), decode<Nothings>(count_2_32, "a").ok(),
                           decode<Blob>(everything, "a").ok()};
  // What is allocated is the text of four errors.
  EXPECT_LT(counter.bytes(), 1000u);
  EXPECT_LT(counter.largest(), 200u);
  for (const bool each : accepted) EXPECT_FALSE(each);
}

TEST(Codec, AllocationIsBoundedByTheInput) {
  // A count that the input can just pay for, in every vector of Everything: reserved is at most what one byte an element buys.
  check_property(
      [](const Bytes& bytes) {
        AllocationCounter counter;
        const auto out = decode<Everything>(bytes, "a thing");
        RC_ASSERT(counter.bytes() <= 20 * sizeof(std::uint32_t) + 2 * 41 + 400);
      },
      500);
}

TEST(Codec, ABoolOfSevenIsRefused) { EXPECT_NE(refusal<Flag>(hex("07")), ""); }

TEST(Codec, ElementsHaveABudget) {
  const auto bytes = hex("0301020303010203");
  Decoder enough(bytes, 6), too_few(bytes, 5);
  TwoVectors numbers;
  enough(numbers);
  EXPECT_TRUE(enough.finish("numbers").ok());
  too_few(numbers);
  EXPECT_EQ(too_few.finish("numbers").error().message(), "numbers: more elements than one input may hold (byte 5)");
}

TEST(Codec, TextIsUtf8InItsShortestFormWithoutNul) {
  for (const std::string_view text :
       {"", "abc", "\xC3\xA9", "\xE6\xAE\x8B\xE8\x81\x94", "\xF0\xA0\x80\x80", "\xF4\x8F\xBF\xBF", "\xEF\xBF\xBF"})
    EXPECT_TRUE(is_valid_text(text)) << to_hex(view(text));
  using namespace std::string_view_literals;
  for (const auto text :
       {"a\0b"sv, "\x80"sv, "\xC0\x80"sv, "\xC1\xBF"sv, "\xC3"sv, "\xC3("sv, "\xE0\x80\xAF"sv, "\xED\xA0\x80"sv, "\xED\xBF\xBF"sv,
        "\xF0\x80\x80\xAF"sv, "\xF4\x90\x80\x80"sv, "\xF5\x80\x80\x80"sv, "\xFF"sv, "\xE6\xAE"sv, "ok\xF0\xA0\x80"sv})
    EXPECT_FALSE(is_valid_text(text)) << to_hex(view(text));
}

}  // namespace
}  // namespace doorstep
