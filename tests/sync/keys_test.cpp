#include "sync/keys.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "tests/sync/roster_fixture.hpp"

namespace doorstep::test {
namespace {

// ---- The rights table

TEST(RightsTable, AnswersByRoleAndKindWithKindZeroForTheRest) {
  const RightsTable table({{"member", 3, may_write}, {"member", 0, may_propose}, {"chair", 3, may_write | may_resolve}});
  EXPECT_EQ(table.rights("member", 3), may_write);
  EXPECT_EQ(table.rights("member", 4), may_propose);
  EXPECT_EQ(table.rights("chair", 3), may_write | may_resolve);
  EXPECT_EQ(table.rights("chair", 4), 0);
  EXPECT_EQ(table.rights("nobody", 3), 0);
  EXPECT_EQ(RightsTable().rights("member", 3), 0);
}

TEST(RightsTable, OfSeveralRowsForOnePairTheLastCounts) {
  const RightsTable table({{"member", 3, 1}, {"member", 3, 2}});
  EXPECT_EQ(table.rights("member", 3), 2);
  EXPECT_EQ(table.rows().size(), 1u);
}

TEST(RightsTable, RefusesWhatItWouldNotHaveWritten) {
  const Bytes good = RightsTable({{"a", 1, 1}, {"a", 2, 1}, {"b", 1, 1}}).encode();
  EXPECT_TRUE(RightsTable::decode(good));
  const auto with = [&](std::size_t index, std::uint8_t byte) {
    Bytes out = good;
    out[index] = byte;
    return out;
  };
  EXPECT_TRUE(refused(RightsTable::decode(with(0, 2)), Code::unsupported, "newer version"));
  EXPECT_TRUE(refused(RightsTable::decode(with(3, 'c')), Code::corrupt, "roles are out of order"));
  EXPECT_TRUE(refused(RightsTable::decode(with(5, 2)), Code::corrupt, "kinds are out of order"));
  EXPECT_TRUE(refused(RightsTable::decode(with(1, 65)), Code::corrupt, "above its bound"));
  EXPECT_TRUE(refused(RightsTable::decode(with(2, 0)), Code::corrupt, "the rights table"));
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(RightsTable::decode(ByteView(good).first(size))) << size;
}

RC_GTEST_PROP(RightsTableProperty, DecodesToWhatWasEncodedAndReencodesToItself, ()) {
  std::vector<RightsTable::Row> rows;
  for (int i = *rc::gen::inRange(0, 20); i > 0; --i)
    rows.push_back(
        {std::string(1, *rc::gen::elementOf(std::string("abcd"))), *rc::gen::arbitrary<KindId>() % 9, *rc::gen::arbitrary<std::uint8_t>()});
  const RightsTable table(rows);
  Bytes bytes = table.encode();
  const auto back = RightsTable::decode(bytes);
  RC_ASSERT(back.ok());
  RC_ASSERT(*back == table);
  for (const auto& row : rows) RC_ASSERT(back->rights(row.role, row.kind) == table.rights(row.role, row.kind));
  bytes[*rc::gen::inRange<std::size_t>(0, bytes.size())] = *rc::gen::arbitrary<std::uint8_t>();
  if (const auto other = RightsTable::decode(bytes)) RC_ASSERT(other->encode() == bytes);
}

// ---- Texts

struct Texts : testing::Test {
  Texts() { keyring.add(1, make_symmetric_key(random)); }
  SeededRandom random{5};
  Keyring keyring;
};

TEST_F(Texts, OpenForTheirPurposeOnly) {
  const auto sealed = keyring.seal_text(1, "role a", "town_clerk");
  EXPECT_EQ(*keyring.open_text(sealed, "role a"), "town_clerk");
  EXPECT_TRUE(refused(keyring.open_text(sealed, "role b"), Code::corrupt, "another purpose"));
  EXPECT_EQ(sealed.box, keyring.seal_text(1, "role a", "town_clerk").box);
  EXPECT_NE(sealed.box, keyring.seal_text(1, "role b", "town_clerk").box);
  EXPECT_EQ(*keyring.open_text(SealedText{}, "role a"), "");
  EXPECT_TRUE(refused(keyring.open_text({2, sealed.box}, "role a"), Code::waiting, "epoch 2"));
  for (const std::size_t size : {0u, 23u, 24u, 40u, 71u})
    EXPECT_TRUE(refused(keyring.open_text({1, Bytes(sealed.box.begin(), sealed.box.begin() + static_cast<std::ptrdiff_t>(size))}, "role a"),
                        Code::corrupt, "damaged"));
}

TEST_F(Texts, OfARoleDoNotShowItByTheirLengthOrTheirBytes) {
  SeededRandom other(8);
  const Device a(random), b(other);
  const auto first = keyring.seal_text(1, role_purpose(a.id()), "member");
  EXPECT_EQ(first.box.size(), keyring.seal_text(1, role_purpose(a.id()), "clinical_supervisor").box.size());
  EXPECT_NE(first.box, keyring.seal_text(1, role_purpose(b.id()), "member").box);
}

TEST_F(Texts, WithAnotherNonceOrPaddingThanTheirOwnAreRefused) {
  // A member can seal anything under the names key; only the one form that seal_text makes opens.
  const auto names = derive_key(keyring.epoch_key(1), "doorstep/1/names-key");
  const auto forge = [&](const Nonce& nonce, Bytes padded) {
    SealedText out{1, to_bytes(nonce.view())};
    append(out.box, aead_seal(names, nonce, padded, view("p")));
    return out;
  };
  const auto nonce_of = [&](const Bytes& padded) {
    return Nonce::from(keyed_hash(keyring.epoch_key(1), "doorstep/1/names-nonce", {view("p"), ByteView(padded)}).view().first(24));
  };
  Bytes good(32, 0), no_mark(32, 0), too_long(64, 0);
  good[2] = too_long[2] = 0x80;
  EXPECT_TRUE(keyring.open_text(forge(nonce_of(good), good), "p"));
  EXPECT_FALSE(keyring.open_text(forge(Nonce{}, good), "p"));
  EXPECT_FALSE(keyring.open_text(forge(nonce_of(no_mark), no_mark), "p"));
  EXPECT_FALSE(keyring.open_text(forge(nonce_of(too_long), too_long), "p"));
}

RC_GTEST_FIXTURE_PROP(Texts, OpenToWhatWasSealed, ()) {
  const auto text = *rc::gen::arbitrary<std::string>();
  const auto sealed = keyring.seal_text(1, "p", text);
  RC_ASSERT(sealed.box.size() % 32 == 40 % 32);
  RC_ASSERT(*keyring.open_text(sealed, "p") == text);
}

TEST_F(Texts, OfTheLargestSizeFitTheirBox) {
  const std::string text(sealed_text_bytes_max, 'x');
  const auto sealed = keyring.seal_text(1, "p", text);
  EXPECT_LE(sealed.box.size(), sealed_text_box_bytes_max);
  EXPECT_EQ(*keyring.open_text(sealed, "p"), text);
}

// ---- Epochs

bool same_key(const Keyring& a, const Keyring& b, EpochNumber number) {
  return equal_secret(a.epoch_key(number).reveal(), b.epoch_key(number).reveal()) &&
         equal_secret(a.segment_key(number).reveal(), b.segment_key(number).reveal()) &&
         equal_secret(a.salt_key(number).reveal(), b.salt_key(number).reveal());
}

TEST(Epochs, TheFoundersKeysAreThoseThatTheRosterOpensTo) {
  World world;
  const auto opened = Keyring::open(world.roster(), world.desk.id(), world.desk.sealing);
  ASSERT_TRUE(opened.has(1));
  EXPECT_TRUE(same_key(opened, world.keyring(), 1));
  EXPECT_TRUE(opened.faults().empty());
  EXPECT_EQ(opened.newest(), 1u);
  EXPECT_FALSE(opened.has(0));
  EXPECT_FALSE(opened.has(2));
  const auto table = RightsTable::decode(view(*opened.open_text(*world.roster().rights_table(), rights_table_purpose)));
  ASSERT_TRUE(table);
  EXPECT_EQ(*table, founding_terms().rights);
}

TEST(Epochs, ANewcomerReadsTheHistoryBackToTheFirst) {
  World world;
  for (int i = 0; i < 4; ++i) world.apply(rotate_entry(world.roster(), world.keyring(), world.desk.identity, world.random));
  const Device phone = world.join();
  const auto keys = Keyring::open(world.roster(), phone.id(), phone.sealing);
  EXPECT_TRUE(keys.faults().empty());
  for (EpochNumber number = 1; number <= 5; ++number) {
    ASSERT_TRUE(keys.has(number)) << number;
    EXPECT_TRUE(same_key(keys, world.keyring(), number));
  }
  EXPECT_FALSE(equal_secret(keys.epoch_key(1).reveal(), keys.epoch_key(2).reveal()));
  const auto* role = world.roster().role_at(phone.id(), LogId{}, 1);
  EXPECT_EQ(*keys.open_text(*role, role_purpose(phone.id())), "member");
  EXPECT_EQ(*keys.open_text(world.roster().member(phone.id())->label, label_purpose(phone.id())), "a phone");
}

TEST(Epochs, WhoWasCutReadsNothingLaterAndKeepsWhatHeHad) {
  World world;
  const Device phone = world.join();
  world.apply(cut_entry(world.roster(), world.keyring(), world.desk.identity, phone.id(), {}, CutReason::lost, "", world.random));
  world.apply(rotate_entry(world.roster(), world.keyring(), world.desk.identity, world.random));
  const auto keys = Keyring::open(world.roster(), phone.id(), phone.sealing);
  EXPECT_TRUE(keys.has(1));
  EXPECT_FALSE(keys.has(2));
  EXPECT_FALSE(keys.has(3));
  EXPECT_TRUE(keys.faults().empty());
}

TEST(Epochs, OpenNothingForAStrangerForAnAppenderOrWithOtherKeys) {
  World world;
  const Device appender = world.join("sender", rights_append);
  const Device stranger(world.random);
  EXPECT_EQ(Keyring::open(world.roster(), stranger.id(), stranger.sealing).newest(), 0u);
  EXPECT_EQ(Keyring::open(world.roster(), appender.id(), appender.sealing).newest(), 0u);
  const auto wrong = Keyring::open(world.roster(), world.desk.id(), stranger.sealing);
  EXPECT_EQ(wrong.newest(), 0u);
  ASSERT_EQ(wrong.faults().size(), 1u);
  EXPECT_NE(wrong.faults()[0].what.find("does not open"), std::string::npos);
}

TEST(Epochs, AppendOnlyWritersSealToTheEpochsPublicKey) {
  World world;
  const auto sealed = box_seal(world.roster().epoch(1)->public_key, view("for the readers"));
  const auto opened = box_open(world.keyring().sealing_keys(1), sealed);
  ASSERT_TRUE(opened);
  EXPECT_EQ(text_view(*opened), "for the readers");
}

/// A sequencer that lies in an epoch: the item is what make_epoch made, then changed.
struct LyingSequencer : testing::Test {
  LyingSequencer() : phone(world.join()), item(make_epoch(world.roster(), world.keyring(), world.roster().readers(), world.random).item) {}
  Bytes& box_of(const Device& device) {
    for (auto& sealed : item.sealed)
      if (sealed.device == device.id()) return sealed.box;
    std::abort();
  }
  void replace_box(const Device& to, const SymmetricKey& key, const Hash& context) {
    Bytes plain = to_bytes(key.reveal());
    append(plain, context.view());
    box_of(to) = box_seal(to.keys.sealing, plain);
  }
  Keyring after(const Device& device) {
    const auto status = world.roster().append(world.entry(RosterEntryBuilder().add(item)));
    EXPECT_TRUE(status) << status.error().message();  // nobody but the member can tell
    return Keyring::open(world.roster(), device.id(), device.sealing);
  }
  void expect_fault(const Keyring& keys, std::string_view words) {
    ASSERT_EQ(keys.faults().size(), 1u);
    EXPECT_NE(keys.faults()[0].what.find(words), std::string::npos) << keys.faults()[0].what;
  }

  World world;
  Device phone;
  EpochItem item;
};

TEST_F(LyingSequencer, WhoTellsTwoMembersDifferentKeysIsFoundOut) {
  replace_box(phone, make_symmetric_key(world.random), epoch_context(world.roster().space(), 2, phone.id()));
  const auto keys = after(phone);
  EXPECT_FALSE(keys.has(2));
  EXPECT_TRUE(keys.has(1));  // the first epoch is sealed to the phone as well
  expect_fault(keys, "others were told another");
  EXPECT_TRUE(Keyring::open(world.roster(), world.desk.id(), world.desk.sealing).has(2));
}

TEST_F(LyingSequencer, WhoCommitsToAThirdKeyIsFoundOutByAll) {
  item.commitment = hash("doorstep/1/epoch-commitment", {view("something else")});
  EXPECT_FALSE(after(phone).has(2));
  expect_fault(Keyring::open(world.roster(), world.desk.id(), world.desk.sealing), "commits to");
}

TEST_F(LyingSequencer, CannotReuseABoxOfAnotherSpaceEpochOrDevice) {
  replace_box(phone, world.keyring().epoch_key(1), epoch_context(world.roster().space(), 1, phone.id()));
  expect_fault(after(phone), "another space, epoch or device");
}

TEST_F(LyingSequencer, WhoLeavesRubbishIsNamed) {
  box_of(phone) = Bytes(epoch_box_bytes, 0);
  expect_fault(after(phone), "does not open");
}

TEST_F(LyingSequencer, WhoPutsAnotherKeyUnderTheNewOneIsFoundOut) {
  item.previous[0] ^= 1;
  const auto keys = after(phone);
  EXPECT_TRUE(keys.has(2));
  EXPECT_TRUE(keys.has(1));  // by its own box
  expect_fault(keys, "stands under");
}

TEST_F(LyingSequencer, WhoPublishesAForeignPublicKeyIsFoundOut) {
  item.public_key = phone.keys.sealing;
  expect_fault(after(world.desk), "public key");
}

TEST(Epochs, AFoundingBoxOpensNothingInAnotherSpace) {
  // A founder copies the box and the commitment of somebody else's space: the box was made for another founding.
  World honest;
  SeededRandom random(77);
  const auto authority = make_identity_key_pair(random);
  const FoundItem found{authority.public_key, SpaceKind::village, {}};
  AdmitItem admitted;
  admitted.keys = honest.desk.keys;
  admitted.rights = rights_everything;
  const auto entry =
      RosterEntryBuilder().add(found).add(SequencerItem{honest.desk.id()}).add(admitted).add(*honest.roster().epoch(1)).found(authority);
  const auto roster = Roster::found(entry);
  ASSERT_TRUE(roster) << roster.error().message();
  const auto keys = Keyring::open(*roster, honest.desk.id(), honest.desk.sealing);
  EXPECT_FALSE(keys.has(1));
  ASSERT_EQ(keys.faults().size(), 1u);
}

TEST(Epochs, AsManyAsASpaceMayHaveAreWalkedBack) {
  World world;
  while (world.roster().newest_epoch() < roster_epochs_max) {
    auto next = make_epoch(world.roster(), world.keyring(), world.roster().readers(), world.random);
    const auto number = next.item.number;
    ASSERT_TRUE(world.roster().append(world.entry(RosterEntryBuilder().add(next.item))));
    world.keyring().add(number, std::move(next.key));
  }
  EXPECT_TRUE(
      refused(rotate_entry(world.roster(), world.keyring(), world.desk.identity, world.random), Code::too_large, "roster_epochs_max"));
  const Device phone = world.join();
  const auto keys = Keyring::open(world.roster(), phone.id(), phone.sealing);
  EXPECT_TRUE(keys.has(1));
  EXPECT_TRUE(keys.faults().empty());
}

}  // namespace
}  // namespace doorstep::test
