#include "sync/invite.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "tests/sync/roster_fixture.hpp"

namespace doorstep::test {
namespace {

bool same(const Invitation& a, const Invitation& b) {
  return a.spaces == b.spaces && a.relays == b.relays && equal_secret(a.secret.reveal(), b.secret.reveal()) &&
         a.expires_ms == b.expires_ms && a.sequencer_sealing == b.sequencer_sealing && a.authority == b.authority;
}

// ---- The link

TEST(InvitationUri, GoesRoundAndToleratesWhiteSpaceAroundIt) {
  World world;
  const auto invitation = world.invite();
  const auto uri = invitation.to_uri();
  EXPECT_EQ(uri.substr(0, 16), "doorstep://join/");
  EXPECT_LT(uri.size(), 400u);
  const auto back = Invitation::from_uri(uri);
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_TRUE(same(*back, invitation));
  EXPECT_EQ(back->to_uri(), uri);
  EXPECT_EQ(back->spaces.front(), world.roster().space());
  EXPECT_EQ(back->authority, world.authority.public_key);
  EXPECT_TRUE(Invitation::from_uri(" \r\n\t" + uri + "\n"));
}

TEST(InvitationUri, EverySingleBitFlipAndTruncationIsNamed) {
  World world;
  const auto uri = world.invite().to_uri();
  for (std::size_t bit = 0; bit < uri.size() * 8; ++bit) {
    std::string damaged = uri;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    EXPECT_TRUE(refused(Invitation::from_uri(damaged), Code::invalid_argument, "invitation")) << "bit " << bit;
  }
  for (std::size_t size = 0; size < uri.size(); ++size)
    EXPECT_TRUE(refused(Invitation::from_uri(uri.substr(0, size)), Code::invalid_argument, "invitation")) << size;
  EXPECT_TRUE(refused(Invitation::from_uri(uri + "A"), Code::invalid_argument, "invitation"));
  EXPECT_TRUE(refused(Invitation::from_uri("https://example.org"), Code::invalid_argument, "doorstep://join/"));
  EXPECT_TRUE(refused(Invitation::from_uri(""), Code::invalid_argument, "not an invitation"));
  EXPECT_TRUE(refused(Invitation::from_uri(uri + std::string(100'000, 'A')), Code::invalid_argument, "longer"));
}

TEST(InvitationUri, TwoSwappedCharactersAreNamed) {
  World world;
  auto uri = world.invite().to_uri();
  std::size_t i = 30;
  while (uri[i] == uri[i + 1]) ++i;
  std::swap(uri[i], uri[i + 1]);
  EXPECT_TRUE(refused(Invitation::from_uri(uri), Code::invalid_argument, "mistyped"));
}

TEST(InvitationUri, HoldsTheFirstAddressesAndEightSpaces) {
  auto terms = founding_terms();
  terms.relays.clear();
  for (std::uint8_t r = 0; r < 16; ++r)
    terms.relays.push_back({TransportPublicKey{{r}}, std::vector<std::string>(8, std::string(255, 'a'))});
  World world(1, terms);
  auto invitation = world.invite();
  ASSERT_EQ(invitation.relays.size(), 1u);
  EXPECT_EQ(invitation.relays[0].addresses.size(), 1u);
  while (invitation.spaces.size() < invitation_spaces_max) invitation.spaces.push_back(world.random.make<SpaceId>());
  const auto back = Invitation::from_uri(invitation.to_uri());
  ASSERT_TRUE(back);
  EXPECT_TRUE(same(*back, invitation));
}

RC_GTEST_PROP(InvitationProperty, DecodesToWhatWasEncoded, (std::uint64_t seed)) {
  SeededRandom random(seed);
  Invitation invitation;
  for (int i = *rc::gen::inRange(1, 9); i > 0; --i) invitation.spaces.push_back(random.make<SpaceId>());
  for (int i = *rc::gen::inRange(0, 3); i > 0; --i)
    invitation.relays.push_back({random.make<TransportPublicKey>(), {"relay.example.org:7700", "b"}});
  random.fill(invitation.secret.reveal_mutable());
  invitation.expires_ms = *rc::gen::arbitrary<std::int64_t>();
  invitation.authority = random.make<DeviceId>();
  auto uri = invitation.to_uri();
  const auto back = Invitation::from_uri(uri);
  RC_ASSERT(back.ok());
  RC_ASSERT(same(*back, invitation));
  uri[*rc::gen::inRange<std::size_t>(16, uri.size())] = *rc::gen::arbitrary<char>();
  if (const auto other = Invitation::from_uri(uri)) RC_ASSERT(other->to_uri() == uri.substr(0, other->to_uri().size()));
}

TEST(Invitation, ItsHalvesAreApart) {
  World world;
  const auto invitation = world.invite();
  const auto* item = world.roster().invite(invitation.id());
  ASSERT_NE(item, nullptr);
  EXPECT_EQ(item->proof_key, invitation.proof_keys().public_key);
  EXPECT_TRUE(equal(item->connect_psk.view(), invitation.connect_psk().reveal()));
  EXPECT_EQ(*world.keyring().open_text(item->role, invite_role_purpose(item->id)), "member");
  // Nothing that a relay holds contains the secret or the secret half of the proof key.
  const auto holds = [&](std::span<const std::uint8_t> secret) {
    const auto& entry = world.roster().entry_at(1);
    return std::search(entry.begin(), entry.end(), secret.begin(), secret.end()) != entry.end();
  };
  EXPECT_FALSE(holds(invitation.secret.reveal()));
  EXPECT_FALSE(holds(invitation.proof_keys().secret_key.reveal().first(32)));
  EXPECT_TRUE(holds(invitation.connect_psk().reveal()));
}

// ---- Join requests

TEST(JoinRequest, IsAdmittedAndUsesTheInvitationUp) {
  World world;
  const auto invitation = world.invite();
  const Device first(world.random), second(world.random);
  const auto one = world.request(invitation, first), two = world.request(invitation, second);
  EXPECT_TRUE(verify(one, world.roster()));
  EXPECT_TRUE(verify(two, world.roster()));
  world.apply(admit_entry(world.roster(), world.keyring(), world.desk.identity, one, "member", "a phone"));
  EXPECT_EQ(world.roster().invite(invitation.id()), nullptr);
  EXPECT_TRUE(world.roster().invite_was_closed(invitation.id()));
  EXPECT_EQ(world.roster().member(first.id())->invite, invitation.id());
  EXPECT_EQ(world.roster().member(first.id())->rights, rights_read | rights_append);
  EXPECT_TRUE(refused(verify(one, world.roster()), Code::already_exists, "used"));
  EXPECT_TRUE(refused(verify(two, world.roster()), Code::already_exists, "used"));
  EXPECT_TRUE(refused(admit_entry(world.roster(), world.keyring(), world.desk.identity, two, "member", ""), Code::already_exists, "used"));
}

TEST(JoinRequest, NamesWhatIsWrong) {
  World world;
  const auto invitation = world.invite();
  const Device phone(world.random), other(world.random);
  const auto good = world.request(invitation, phone);
  const auto expect = [&](const JoinRequest& request, Code code, std::string_view words) {
    EXPECT_TRUE(refused(verify(request, world.roster()), code, words));
    EXPECT_FALSE(admit_entry(world.roster(), world.keyring(), world.desk.identity, request, "member", ""));
  };
  auto request = good;
  request.space = SpaceId{{1}};
  expect(request, Code::protocol, "another space");
  request = good;
  request.invite = InviteId{{1}};
  expect(request, Code::not_found, "never made");
  request = good;
  request.by_invite = good.by_identity;
  expect(request, Code::unauthenticated, "holds the invitation");
  request = good;
  request.by_identity = good.by_invite;
  expect(request, Code::unauthenticated, "identity");
  request = good;
  request.keys = other.keys;  // a relay that swaps the keys
  expect(request, Code::unauthenticated, "holds the invitation");
  request = good;
  request.sealed_label.clear();
  expect(request, Code::unauthenticated, "holds the invitation");
  // The bearer himself, with keys that are not his.
  auto keys = phone.keys;
  keys.transport = other.keys.transport;
  expect(*JoinRequest::make(invitation, world.roster().space(), phone.identity, keys, {}), Code::unauthenticated, "certificate");
  keys = certify_device(phone.identity, phone.keys.sealing, world.desk.keys.transport);
  expect(*JoinRequest::make(invitation, world.roster().space(), phone.identity, keys, {}), Code::already_exists, "transport key");
  expect(*JoinRequest::make(invitation, world.roster().space(), world.desk.identity, world.desk.keys, {}), Code::already_exists,
         "admitted before");
  EXPECT_TRUE(verify(good, world.roster()));
}

TEST(JoinRequest, CannotBeMadeByARelayThatKnowsTheRoster) {
  World world;
  const auto invitation = world.invite();
  const Device evil(world.random);
  Invitation guess;  // everything that the roster says, and the psk in place of the secret
  guess.spaces = invitation.spaces;
  guess.secret = invitation.connect_psk();
  guess.sequencer_sealing = invitation.sequencer_sealing;
  auto request = world.request(guess, evil);
  request.invite = invitation.id();
  EXPECT_TRUE(refused(verify(request, world.roster()), Code::unauthenticated, "holds the invitation"));
}

TEST(JoinRequest, ReplayedToAnotherSpaceOfTheInvitationIsRefused) {
  World world;
  SeededRandom random(55);
  auto second = found_space(founding_terms(), world.authority, world.desk.keys, random);
  ASSERT_TRUE(second);
  auto invitation = world.invite();
  const auto also = invite_also_entry(second->roster, second->keyring, world.desk.identity, {"member", rights_append, 0, {}}, invitation);
  ASSERT_TRUE(also) << also.error().message();
  ASSERT_TRUE(second->roster.append(*also));
  ASSERT_EQ(invitation.spaces.size(), 2u);
  const Device phone(random);
  auto request = world.request(invitation, phone);
  EXPECT_TRUE(refused(verify(request, second->roster), Code::protocol, "another space"));
  request.space = second->roster.space();
  EXPECT_TRUE(refused(verify(request, second->roster), Code::unauthenticated, "holds the invitation"));
  const auto own = JoinRequest::make(invitation, second->roster.space(), phone.identity, phone.keys, {"", ""});
  ASSERT_TRUE(own);
  const auto entry = admit_entry(second->roster, second->keyring, world.desk.identity, *own, "member", "");
  ASSERT_TRUE(entry) << entry.error().message();
  ASSERT_TRUE(second->roster.append(*entry));
  EXPECT_EQ(second->roster.member(phone.id())->rights, rights_append);
  EXPECT_TRUE(
      refused(JoinRequest::make(invitation, SpaceId{{1}}, phone.identity, phone.keys, {}), Code::invalid_argument, "not for this space"));
  World stranger(99);
  EXPECT_TRUE(refused(invite_also_entry(stranger.roster(), stranger.keyring(), stranger.desk.identity, {"member", 3, 0, {}}, invitation),
                      Code::invalid_argument, "one authority"));
}

TEST(JoinRequest, AClosedInvitationAdmitsNobody) {
  World world;
  const auto invitation = world.invite();
  const Device phone(world.random);
  const auto request = world.request(invitation, phone);
  world.apply(close_invite_entry(world.roster(), world.desk.identity, invitation.id()));
  EXPECT_TRUE(refused(verify(request, world.roster()), Code::already_exists, "closed"));
}

TEST(JoinRequest, ItsLabelIsForTheSequencerAlone) {
  World world;
  const auto invitation = world.invite();
  const Device phone(world.random), other(world.random);
  const auto request = world.request(invitation, phone);
  EXPECT_EQ(*open_label(request, world.desk.sealing), (JoinLabel{"Wang Fang", "member"}));
  EXPECT_TRUE(refused(open_label(request, phone.sealing), Code::unauthenticated, "another device"));
  auto stolen = world.request(invitation, other);
  stolen.sealed_label = request.sealed_label;
  EXPECT_TRUE(refused(open_label(stolen, world.desk.sealing), Code::unauthenticated, "another device"));
  stolen.sealed_label.clear();
  EXPECT_EQ(*open_label(stolen, world.desk.sealing), JoinLabel{});
  const JoinLabel short_one{"A", ""}, long_one{"Abdurahman", "m"};
  EXPECT_EQ(JoinRequest::make(invitation, world.roster().space(), phone.identity, phone.keys, short_one)->sealed_label.size(),
            JoinRequest::make(invitation, world.roster().space(), phone.identity, phone.keys, long_one)->sealed_label.size());
  const JoinLabel too_long{std::string(257, 'x'), ""};
  EXPECT_TRUE(
      refused(JoinRequest::make(invitation, world.roster().space(), phone.identity, phone.keys, too_long), Code::invalid_argument, "256"));
  stolen.sealed_label = box_seal(world.desk.keys.sealing, Bytes(40, 0xff));
  EXPECT_FALSE(open_label(stolen, world.desk.sealing));
}

TEST(JoinRequest, EveryDamageOfItsBytesIsRefused) {
  World world;
  const Device phone(world.random);
  const auto request = world.request(world.invite(), phone);
  const Bytes bytes = request.encode();
  EXPECT_LE(bytes.size(), limits::handshake_payload_bytes_max);  // it may travel in the handshake
  ASSERT_TRUE(JoinRequest::decode(bytes));
  EXPECT_EQ(*JoinRequest::decode(bytes), request);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    Bytes damaged = bytes;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    const auto other = JoinRequest::decode(damaged);
    if (!other) continue;
    EXPECT_EQ(other->encode(), damaged);
    ASSERT_FALSE(verify(*other, world.roster())) << "bit " << bit;
  }
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(JoinRequest::decode(ByteView(bytes).first(size)));
  EXPECT_TRUE(refused(JoinRequest::decode(Bytes(join_request_bytes_max + 1)), Code::too_large, "join_request_bytes_max"));
  Bytes newer = bytes;
  newer[0] = 2;
  EXPECT_TRUE(refused(JoinRequest::decode(newer), Code::unsupported, "newer"));
}

// ---- Whole actions say what is wrong

TEST(Founding, RefusesWhatCannotTravel) {
  SeededRandom random(1);
  const auto authority = make_identity_key_pair(random);
  const Device desk(random);
  const auto found = [&](const FoundingTerms& terms) { return found_space(terms, authority, desk.keys, random); };
  auto terms = founding_terms();
  terms.role = "";
  EXPECT_TRUE(refused(found(terms), Code::invalid_argument, "role"));
  terms = founding_terms();
  terms.label = std::string(257, 'x');
  EXPECT_TRUE(refused(found(terms), Code::invalid_argument, "label"));
  terms = founding_terms();
  std::vector<RightsTable::Row> rows;
  for (KindId kind = 0; kind < 1000; ++kind)
    for (const char* role : {"a", "b", "c"}) rows.push_back({role, kind, 1});
  terms.rights = RightsTable(rows);
  EXPECT_TRUE(refused(found(terms), Code::too_large, "rights table"));
  terms = founding_terms();
  terms.rights = RightsTable({{std::string(33, 'r'), 0, 1}});
  EXPECT_TRUE(refused(found(terms), Code::invalid_argument, "role"));
  terms = founding_terms();
  terms.relays[0].addresses.push_back(std::string(256, 'a'));
  EXPECT_TRUE(refused(found(terms), Code::invalid_argument, "relays"));
  terms = founding_terms();
  auto keys = desk.keys;
  keys.certificate = Signature{};
  EXPECT_TRUE(refused(found_space(terms, authority, keys, random), Code::unauthenticated, "certify"));
}

TEST(Founding, WithoutTheNewestKeyASequencerWaits) {
  World world;
  const Device phone = world.join();
  EXPECT_TRUE(refused(rotate_entry(world.roster(), Keyring(), world.desk.identity, world.random), Code::waiting, "newest epoch"));
  EXPECT_TRUE(refused(cut_entry(world.roster(), world.keyring(), phone.identity, world.desk.id(), {}, CutReason::lost, "", world.random),
                      Code::no_right, "sequencer"));
  EXPECT_TRUE(refused(cut_entry(world.roster(), world.keyring(), world.desk.identity, DeviceId{{1}}, {}, CutReason::lost, "", world.random),
                      Code::protocol, "no member"));
}

TEST(Sizes, AreWhatTheProtocolDocumentSays) {
  World world;
  const Device phone(world.random);
  const auto invited =
      invite_entry(world.roster(), world.keyring(), world.desk.identity, {"member", 3, 1'800'000'000'000, {}}, world.random);
  ASSERT_TRUE(invited);
  ASSERT_TRUE(world.roster().append(invited->entry));
  const auto request = world.request(invited->invitation, phone);
  const auto admitted = admit_entry(world.roster(), world.keyring(), world.desk.identity, request, "member", "a phone");
  ASSERT_TRUE(admitted);
  ASSERT_TRUE(world.roster().append(*admitted));
  const auto rotated = rotate_entry(world.roster(), world.keyring(), world.desk.identity, world.random);
  const auto cut = cut_entry(world.roster(), world.keyring(), world.desk.identity, phone.id(), {{LogId{{1}}, 300, {}}}, CutReason::lost,
                             "lost", world.random);
  ASSERT_TRUE(rotated && cut);
  EXPECT_EQ(world.founding->entry.size(), 933u);
  EXPECT_EQ(invited->entry.size(), 296u);
  EXPECT_EQ(admitted->size(), 610u);
  EXPECT_EQ(rotated->size(), 540u);
  EXPECT_EQ(cut->size(), 556u);
  EXPECT_EQ(invited->invitation.to_uri().size(), 303u);
  EXPECT_EQ(request.encode().size(), 451u);
}

}  // namespace
}  // namespace doorstep::test
