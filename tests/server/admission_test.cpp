// Everything wrong is refused, and by its own name.
#include "server/admission.hpp"

#include <gtest/gtest.h>

#include "tests/server/village.hpp"

namespace doorstep::relay {
namespace {

class AdmissionTest : public testing::Test {
 protected:
  AdmissionTest() : village(authority, desk, {&worker}), writer(village, worker) {}

  SegmentPlace next() const {
    return {writer.name.root_id(village.id()), writer.hashes.size() + 1, writer.hashes.empty() ? Hash{} : writer.hashes.back()};
  }
  // Writes one segment and judges it where it belongs.
  Result<Hash> judge_next(std::size_t bytes = 100) {
    const auto place = next();
    return admit_segment(village.roster, writer.name, place, writer.write(bytes));
  }

  IdentityKeyPair authority = make_identity_key_pair(dice());
  Device desk, worker, stranger;
  Village village;
  Writer writer;
};

TEST_F(AdmissionTest, TakesWhatIsRight) {
  for (int i = 0; i < 5; ++i) {
    const auto hash = judge_next();
    ASSERT_TRUE(hash) << hash.error().message();
    EXPECT_EQ(*hash, writer.hashes.back());
  }
}

TEST_F(AdmissionTest, FoundingByAnAllowedAuthorityOnly) {
  const auto& entry = village.entries.front();
  EXPECT_TRUE(admit_founding(village.id(), entry, {authority.public_key}, false));
  EXPECT_TRUE(admit_founding(village.id(), entry, {}, true));
  EXPECT_EQ(admit_founding(village.id(), entry, {}, false).code(), Code::no_right);
  EXPECT_EQ(admit_founding(village.id(), entry, {desk.id()}, false).code(), Code::no_right);
  EXPECT_EQ(admit_founding(dice().make<SpaceId>(), entry, {authority.public_key}, true).code(), Code::corrupt);
}

TEST_F(AdmissionTest, EveryFlippedBitOfAFoundingEntryIsRefused) {
  const auto& entry = village.entries.front();
  for (std::size_t bit = 0; bit < entry.size() * 8; ++bit) {
    Bytes bad = entry;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    ASSERT_FALSE(admit_founding(village.id(), bad, {authority.public_key}, false)) << bit;
  }
  for (std::size_t size = 0; size < entry.size(); ++size)
    ASSERT_FALSE(admit_founding(village.id(), ByteView(entry).first(size), {authority.public_key}, false)) << size;
}

TEST_F(AdmissionTest, EveryFlippedBitAndTruncationOfASegmentIsRefused) {
  ASSERT_TRUE(judge_next());
  const auto place = next();
  const Bytes good = writer.write(40);
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    const auto refused = admit_segment(village.roster, writer.name, place, bad);
    ASSERT_FALSE(refused) << bit;
    const auto code = refused.code();
    ASSERT_TRUE(code == Code::unauthenticated || code == Code::unsupported || code == Code::corrupt || code == Code::waiting) << bit;
    if (bit >= 8 * 3) { ASSERT_EQ(code, Code::unauthenticated) << bit; }
  }
  for (std::size_t size = 0; size < good.size(); ++size)
    ASSERT_FALSE(admit_segment(village.roster, writer.name, place, ByteView(good).first(size))) << size;
}

TEST_F(AdmissionTest, WrongChainIsRefused) {
  ASSERT_TRUE(judge_next());
  auto place = next();
  const Bytes good = writer.write(40);
  auto elsewhere = place;
  elsewhere.previous = dice().make<Hash>();
  EXPECT_EQ(admit_segment(village.roster, writer.name, elsewhere, good).code(), Code::unauthenticated);
  elsewhere = place;
  elsewhere.position += 1;
  EXPECT_EQ(admit_segment(village.roster, writer.name, elsewhere, good).code(), Code::unauthenticated);
  elsewhere = place;
  elsewhere.log = dice().make<LogId>();
  EXPECT_EQ(admit_segment(village.roster, writer.name, elsewhere, good).code(), Code::unauthenticated);
}

TEST_F(AdmissionTest, WrongSignatureIsRefused) {
  // Sealed rightly, but signed by another member.
  Writer forger(village, desk);
  forger.name.device = worker.id();
  const auto place = SegmentPlace{forger.name.root_id(village.id()), 1, {}};
  EXPECT_EQ(admit_segment(village.roster, forger.name, place, forger.write(50)).code(), Code::unauthenticated);
}

TEST_F(AdmissionTest, UnknownDeviceIsRefused) {
  Writer outsider(village, stranger);
  const auto place = SegmentPlace{outsider.name.root_id(village.id()), 1, {}};
  EXPECT_EQ(admit_segment(village.roster, outsider.name, place, outsider.write(50)).code(), Code::no_right);
  EXPECT_EQ(admit_log(village.roster, outsider.name, 0, 0).code(), Code::no_right);
}

TEST_F(AdmissionTest, ReaderMayNotAppend) {
  Device reader;
  Village other(authority, desk, {&reader}, rights_read);
  Writer writes(other, reader);
  const auto place = SegmentPlace{writes.name.root_id(other.id()), 1, {}};
  EXPECT_EQ(admit_segment(other.roster, writes.name, place, writes.write(50)).code(), Code::no_right);
}

TEST_F(AdmissionTest, UnknownEpochWaits) {
  const Roster before = village.roster;
  village.append(rotate_entry(village.roster, village.founding.keyring, desk.identity, dice()));
  const auto place = next();
  const auto& bytes = writer.write(50);
  EXPECT_EQ(admit_segment(before, writer.name, place, bytes).code(), Code::waiting);
  EXPECT_TRUE(admit_segment(village.roster, writer.name, place, bytes));
}

TEST_F(AdmissionTest, BeyondACutIsRefused) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(judge_next());
  const LogId log = writer.id();
  const auto all = writer.forked_at(3);
  village.append(cut_entry(village.roster, village.founding.keyring, desk.identity, worker.id(), {{log, 2, writer.hashes[1]}},
                           CutReason::lost, "", dice()));
  const auto at = [&](Position position) {
    return SegmentPlace{all.name.root_id(village.id()), position, position == 1 ? Hash{} : all.hashes[position - 2]};
  };
  EXPECT_TRUE(admit_segment(village.roster, all.name, at(1), all.segments[0]));
  EXPECT_TRUE(admit_segment(village.roster, all.name, at(2), all.segments[1]));
  EXPECT_EQ(admit_segment(village.roster, all.name, at(3), all.segments[2]).code(), Code::no_right);
  const auto standing = standing_of(village.roster, worker.transport.public_key, std::nullopt);
  EXPECT_TRUE(standing.known);
  EXPECT_TRUE(standing.appendable);
  EXPECT_FALSE(standing.readable);
}

TEST_F(AdmissionTest, AnotherBranchThanTheCutsIsRefused) {
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(judge_next());
  auto other = writer.forked_at(1);
  other.write(70);
  village.append(cut_entry(village.roster, village.founding.keyring, desk.identity, worker.id(), {{writer.id(), 2, writer.hashes[1]}},
                           CutReason::stolen, "", dice()));
  const SegmentPlace place{other.name.root_id(village.id()), 2, other.hashes[0]};
  EXPECT_EQ(admit_segment(village.roster, other.name, place, other.segments[1]).code(), Code::no_right);
}

TEST_F(AdmissionTest, TooLargeIsRefused) {
  const Bytes huge(limits::segment_bytes_max + 1, 1);
  EXPECT_EQ(admit_segment(village.roster, writer.name, next(), huge).code(), Code::too_large);
}

TEST_F(AdmissionTest, LogsAreBounded) {
  EXPECT_TRUE(admit_log(village.roster, writer.name, limits::incarnations_per_device_max - 1, 0));
  EXPECT_EQ(admit_log(village.roster, writer.name, limits::incarnations_per_device_max, 0).code(), Code::full);
  EXPECT_EQ(admit_log(village.roster, writer.name, 0, limits::logs_per_space_max).code(), Code::full);
  auto odd = writer.name;
  odd.starts_after = 7;
  EXPECT_EQ(admit_log(village.roster, odd, 0, 0).code(), Code::protocol);
}

TEST_F(AdmissionTest, ProposalsComeFromTheInvitationsHolder) {
  const auto invitation = village.invite();
  const auto request = JoinRequest::make(invitation, village.id(), stranger.identity, stranger.keys, {"Li", "rehab_worker"});
  ASSERT_TRUE(request);
  const auto bytes = request->encode();
  const Proposer holder{stranger.transport.public_key, invitation.id(), false};
  EXPECT_TRUE(admit_proposal(village.roster, holder, bytes));
  EXPECT_TRUE(admit_proposal(village.roster, {worker.transport.public_key, std::nullopt, true}, bytes));  // carried by a member
  EXPECT_EQ(admit_proposal(village.roster, {stranger.transport.public_key, std::nullopt, false}, bytes).code(), Code::no_right);
  EXPECT_EQ(admit_proposal(village.roster, {stranger.transport.public_key, dice().make<InviteId>(), false}, bytes).code(), Code::no_right);
  EXPECT_EQ(admit_proposal(village.roster, {dice().make<TransportPublicKey>(), invitation.id(), false}, bytes).code(), Code::no_right);
  EXPECT_EQ(admit_proposal(village.roster, holder, Bytes(join_request_bytes_max + 1)).code(), Code::too_large);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    Bytes bad = bytes;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    ASSERT_FALSE(admit_proposal(village.roster, holder, bad)) << bit;
  }
  EXPECT_FALSE(proposal_is_answered(village.roster, bytes));
  village.append(admit_entry(village.roster, village.founding.keyring, desk.identity, *request, "rehab_worker", "Li"));
  EXPECT_TRUE(proposal_is_answered(village.roster, bytes));
  EXPECT_FALSE(admit_proposal(village.roster, holder, bytes));
}

TEST_F(AdmissionTest, StandingFollowsTheRoster) {
  EXPECT_EQ(standing_of(village.roster, stranger.transport.public_key, std::nullopt), Standing{});
  EXPECT_EQ(standing_of(village.roster, stranger.transport.public_key, dice().make<InviteId>()), Standing{});
  EXPECT_EQ(standing_of(village.roster, worker.transport.public_key, std::nullopt), (Standing{true, true, true, false}));
  EXPECT_EQ(standing_of(village.roster, desk.transport.public_key, std::nullopt), (Standing{true, true, true, true}));
  const auto invitation = village.invite();
  EXPECT_EQ(standing_of(village.roster, stranger.transport.public_key, invitation.id()), (Standing{true, false, false, false}));
  village.append(close_invite_entry(village.roster, desk.identity, invitation.id()));
  EXPECT_EQ(standing_of(village.roster, stranger.transport.public_key, invitation.id()), Standing{});
}

}  // namespace
}  // namespace doorstep::relay
