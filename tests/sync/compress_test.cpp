#include "sync/compress.hpp"

#include <gtest/gtest.h>

namespace doorstep {
namespace {

TEST(Compress, WhatWouldUnpackToTooMuchIsRefusedBeforeMemoryIsSpent) {
  Compressor compressor;
  const Bytes bomb = compressor.compress(Bytes(1u << 20, 0));
  ASSERT_LT(bomb.size(), 200u);
  EXPECT_EQ(compressor.decompress(bomb, (1u << 20) - 1).code(), Code::too_large);
  EXPECT_EQ(compressor.decompress(bomb, 1u << 20)->size(), 1u << 20);
  // RFC 8878, 3.1.1: magic, a descriptor that announces eight bytes of size, and all of them.
  const Bytes endless{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x01, 0x00, 0x00};
  EXPECT_EQ(compressor.decompress(endless, 2u << 20).code(), Code::too_large);
}

TEST(Compress, AFrameThatDoesNotSayItsSizeIsNotOurs) {
  // A window instead of a size, and one empty block: a frame as zstd's streams write it.
  const Bytes frame{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x01, 0x00, 0x00};
  EXPECT_EQ(Compressor().decompress(frame, 1000).code(), Code::corrupt);
  EXPECT_EQ(Compressor().decompress({}, 1000).code(), Code::corrupt);
}

TEST(Compress, EveryTruncationIsCorrupt) {
  Compressor compressor;
  const Bytes plain = to_bytes(view("one visit after the other, and one visit after the other"));
  const Bytes whole = compressor.compress(plain);
  EXPECT_EQ(*compressor.decompress(whole, 1000), plain);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(compressor.decompress(ByteView(whole).first(size), 1000).code(), Code::corrupt) << size;
}

TEST(Compress, ADictionaryKeepsTheSameBounds) {
  Compressor compressor;
  const Dictionary dictionary(view("a village, a person, a visit, a need"));
  const Bytes plain = to_bytes(view("a person, a visit"));
  Bytes packed, out;
  dictionary.compress(compressor, plain, packed);
  ASSERT_TRUE(dictionary.decompress(compressor, packed, plain.size(), out).ok());
  EXPECT_EQ(out, plain);
  EXPECT_EQ(dictionary.decompress(compressor, packed, plain.size() - 1, out).code(), Code::too_large);
  EXPECT_EQ(dictionary.decompress(compressor, ByteView(packed).first(packed.size() - 1), plain.size(), out).code(), Code::corrupt);
}

}  // namespace
}  // namespace doorstep
