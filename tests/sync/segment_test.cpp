// Segments: whatever is done to one on its way is refused by name, and nobody's plaintext leaves under a nonce that was used.
#include "sync/segment.hpp"

#include <gtest/gtest.h>

#include <set>

#include "sync/limits.hpp"
#include "tests/sync/roster_fixture.hpp"

namespace doorstep {
namespace {

class SegmentTest : public testing::Test {
 protected:
  SegmentTest() : phone(world.join()) {
    place.log = make_log_id(world.roster().space(), phone.id(), Incarnation{{5}});
    place.position = 3;
    place.previous = hash("doorstep/test/previous", {});
    content.roster_size = 2;
    content.roster_head = shorten(world.roster().hash_at(1));
    content.references = {{LogId{{1}}, 4, ShortHash{{2}}}, {LogId{{1}}, 4, ShortHash{{3}}}, {LogId{{2}}, 1, ShortHash{{1}}}};
    content.transactions = {{7, Bytes(40, 1)}, {9, Bytes(300, 2)}, {1'000'000'000'000, Bytes(1, 3)}};
    epoch = world.roster().newest_epoch();
    epoch_entry = *world.roster().epoch_entry_hash(epoch);
  }
  SealedSegment seal() { return *seal_segment(place, epoch, epoch_entry, content, world.keyring(), phone.identity.secret_key, compressor); }
  /// What a receiver says of these bytes at this place; ok if he takes them for good.
  Code said_of(ByteView bytes, const SegmentPlace& at) {
    const auto head = parse_segment(bytes);
    if (!head) return head.code();
    const Hash* entry = world.roster().epoch_entry_hash(head->epoch);
    if (!entry) return Code::waiting;
    if (const auto verified = verify_segment(at, *head, *entry, phone.id()); !verified) return verified.code();
    return open_segment(at, *head, *entry, world.keyring(), compressor).code();
  }

  test::World world;
  test::Device phone;
  SegmentPlace place;
  SegmentContent content;
  EpochNumber epoch = 0;
  Hash epoch_entry;
  Compressor compressor;
};

TEST_F(SegmentTest, OpensToWhatWasSealed) {
  const SealedSegment segment = seal();
  const auto head = parse_segment(segment.bytes);
  ASSERT_TRUE(head);
  EXPECT_EQ(*verify_segment(place, *head, epoch_entry, phone.id()), segment.hash);
  const auto opened = open_segment(place, *head, epoch_entry, world.keyring(), compressor);
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ(opened->roster_size, content.roster_size);
  EXPECT_EQ(opened->roster_head, content.roster_head);
  EXPECT_EQ(opened->references, content.references);
  ASSERT_EQ(opened->transactions.size(), content.transactions.size());
  for (std::size_t i = 0; i < content.transactions.size(); ++i) {
    EXPECT_EQ(opened->transactions[i].first, content.transactions[i].first);
    EXPECT_EQ(opened->transactions[i].bytes, content.transactions[i].bytes);
  }
}

TEST_F(SegmentTest, EveryBitFlipIsRefusedByName) {
  const Bytes bytes = seal().bytes;
  ASSERT_EQ(said_of(bytes, place), Code::ok);
  std::set<Code> codes;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    Bytes damaged = bytes;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    const Code code = said_of(damaged, place);
    ASSERT_NE(code, Code::ok) << "bit " << bit;
    codes.insert(code);
  }
  // Version and suite, an epoch that is none or not here yet, and everything else by the signature.
  EXPECT_EQ(codes, (std::set<Code>{Code::corrupt, Code::unauthenticated, Code::unsupported, Code::waiting}));
}

TEST_F(SegmentTest, EveryTruncationAndAnExtensionIsRefusedByName) {
  const Bytes bytes = seal().bytes;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const Code code = said_of(ByteView(bytes).first(size), place);
    ASSERT_TRUE(code == Code::corrupt || code == Code::unauthenticated || code == Code::unsupported) << size << ": " << code_name(code);
  }
  Bytes longer = bytes;
  longer.push_back(0);
  EXPECT_EQ(said_of(longer, place), Code::unauthenticated);
  EXPECT_EQ(said_of(Bytes(limits::segment_bytes_max + 1, 1), place), Code::too_large);
}

TEST_F(SegmentTest, CannotBeMovedOrGivenToSomebodyElse) {
  const SealedSegment segment = seal();
  for (int what = 0; what < 3; ++what) {
    SegmentPlace other = place;
    if (what == 0) other.log = make_log_id(world.roster().space(), phone.id(), Incarnation{{6}});
    if (what == 1) ++other.position;
    if (what == 2) other.previous.data[31] ^= 1;
    EXPECT_EQ(said_of(segment.bytes, other), Code::unauthenticated) << what;
  }
  const auto head = parse_segment(segment.bytes);
  EXPECT_EQ(verify_segment(place, *head, epoch_entry, world.desk.id()).code(), Code::unauthenticated);
  Hash other_entry = epoch_entry;
  other_entry.data[0] ^= 1;
  EXPECT_EQ(verify_segment(place, *head, other_entry, phone.id()).code(), Code::unauthenticated);
}

TEST_F(SegmentTest, WithoutTheEpochsKeyItWaits) {
  const SealedSegment segment = seal();
  test::Device stranger(world.random);
  const Keyring none = Keyring::open(world.roster(), stranger.id(), stranger.sealing);
  EXPECT_EQ(open_segment(place, *parse_segment(segment.bytes), epoch_entry, none, compressor).code(), Code::waiting);
}

// A restored store writes the same position twice: the nonce follows from what is said.
TEST_F(SegmentTest, TwoContentsAtOnePlaceShareNoNonce) {
  const SealedSegment one = seal();
  EXPECT_EQ(seal().bytes, one.bytes);
  content.transactions[0].bytes[0] ^= 1;
  const SealedSegment other = seal();
  EXPECT_NE(parse_segment(one.bytes)->root, parse_segment(other.bytes)->root);
  const auto a = to_bytes(parse_segment(one.bytes)->sealed), b = to_bytes(parse_segment(other.bytes)->sealed);
  std::size_t alike = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) alike += a[i] == b[i];
  EXPECT_LT(alike, a.size() / 8);
}

TEST_F(SegmentTest, SizesAreThoseOfFewClasses) {
  std::set<std::size_t> sizes;
  for (std::size_t size = 1; size < 4096; ++size) {
    const auto padded = padded_size(size);
    ASSERT_GE(padded, size);
    ASSERT_LE(padded, size + size / 8 + 1) << size;
    ASSERT_EQ(padded_size(padded), padded);
    sizes.insert(padded);
  }
  EXPECT_LT(sizes.size(), 150u);
}

TEST_F(SegmentTest, ReferencesOutOfOrderAreRefused) {
  std::swap(content.references[0], content.references[1]);
  EXPECT_EQ(said_of(seal().bytes, place), Code::corrupt);
}

}  // namespace
}  // namespace doorstep
