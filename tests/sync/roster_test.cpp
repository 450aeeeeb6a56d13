#include "sync/roster.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <functional>

#include "sync/roster_items.hpp"
#include "tests/sync/roster_fixture.hpp"

namespace doorstep::test {
namespace {

LogId log_id(std::uint8_t byte) { return LogId{{byte}}; }
LogPosition at(std::uint8_t log, Position position) { return {log_id(log), position, hash("doorstep/test/segment", {})}; }

TEST(Roster, IsFoundedAndSaysWhatItHolds) {
  World world;
  const Roster& roster = world.roster();
  EXPECT_EQ(roster.size(), 1u);
  EXPECT_EQ(roster.space().data, roster.hash_at(0).data);
  EXPECT_EQ(roster.head(), roster.hash_at(0));
  EXPECT_EQ(roster.entry_at(0), world.founding->entry);
  EXPECT_EQ(roster.authority(), world.authority.public_key);
  EXPECT_EQ(roster.kind(), SpaceKind::village);
  EXPECT_EQ(roster.sequencer(), world.desk.id());
  EXPECT_EQ(roster.sequencer_at(1), world.desk.id());
  ASSERT_NE(roster.member(world.desk.id()), nullptr);
  EXPECT_EQ(roster.member(world.desk.id())->rights, rights_everything);
  EXPECT_EQ(roster.member_by_transport(world.desk.keys.transport), roster.member(world.desk.id()));
  EXPECT_EQ(roster.newest_epoch(), 1u);
  EXPECT_EQ(*roster.epoch_entry_hash(1), roster.head());
  EXPECT_EQ(roster.epoch(0), nullptr);
  EXPECT_EQ(roster.epoch(2), nullptr);
  EXPECT_EQ(roster.schema()->version, 1u);
  EXPECT_TRUE(roster.rights_table().has_value());
  EXPECT_FALSE(roster.rotation_due());
}

TEST(Roster, ARecoveryIdentityCanBeAMemberFromTheStart) {
  SeededRandom random(9);
  const Device recovery(random);
  auto terms = founding_terms();
  terms.others.push_back({recovery.keys, rights_read | rights_roster, "recovery", "the sheet"});
  World world(1, terms);
  EXPECT_TRUE(world.roster().member(recovery.id())->reads());
  EXPECT_TRUE(Keyring::open(world.roster(), recovery.id(), recovery.sealing).has(1));
}

TEST(Roster, AnotherReplicaReadsTheSameFromTheEntries) {
  World world;
  const Device phone = world.join();
  world.apply(
      cut_entry(world.roster(), world.keyring(), world.desk.identity, phone.id(), {at(1, 3)}, CutReason::lost, "lost", world.random));
  auto copy = Roster::found(world.roster().entry_at(0));
  ASSERT_TRUE(copy);
  for (Position i = 1; i < world.roster().size(); ++i) ASSERT_TRUE(copy->append(world.roster().entry_at(i)));
  EXPECT_EQ(copy->head(), world.roster().head());
  EXPECT_EQ(copy->members().size(), 2u);
  EXPECT_TRUE(copy->member(phone.id())->cut.has_value());
}

// ---- Damage

/// Every single-bit flip and every truncation of `entry` is refused with a sentence.
void expect_every_damage_refused(const Bytes& entry, const std::function<Status(ByteView)>& offer) {
  for (std::size_t bit = 0; bit < entry.size() * 8; ++bit) {
    Bytes damaged = entry;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    const auto status = offer(damaged);
    ASSERT_FALSE(status) << "bit " << bit;
    ASSERT_GT(status.error().message().size(), 20u);
    ASSERT_NE(status.code(), Code::internal);
  }
  for (std::size_t size = 0; size < entry.size(); ++size) ASSERT_FALSE(offer(ByteView(entry).first(size))) << size << " bytes";
  Bytes longer = entry;
  longer.push_back(0);
  ASSERT_FALSE(offer(longer));
}

TEST(RosterDamage, OfAFoundingEntryIsRefused) {
  World world;
  expect_every_damage_refused(world.founding->entry, [](ByteView bytes) -> Status {
    DOORSTEP_TRY(Roster::found(bytes));
    return {};
  });
}

TEST(RosterDamage, OfAnAdmittingEntryIsRefusedAndChangesNothing) {
  World world;
  const Device phone(world.random);
  const auto entry =
      admit_entry(world.roster(), world.keyring(), world.desk.identity, world.request(world.invite(), phone), "member", "a phone");
  ASSERT_TRUE(entry);
  const Hash head = world.roster().head();
  expect_every_damage_refused(*entry, [&](ByteView bytes) { return world.roster().append(bytes); });
  EXPECT_EQ(world.roster().head(), head);
  EXPECT_EQ(world.roster().members().size(), 1u);
  EXPECT_TRUE(world.roster().append(*entry));
  EXPECT_TRUE(refused(world.roster().append(*entry), Code::already_exists, "here already"));
}

// ---- The chain

TEST(RosterChain, RefusesAnEntryThatItsSequencerDidNotSign) {
  World world;
  const Device phone = world.join("second desk", rights_everything);
  const auto builder = RosterEntryBuilder().add(RelayItem{});
  EXPECT_TRUE(
      refused(world.roster().append(builder.build(world.roster(), phone.identity)), Code::unauthenticated, "not signed by the sequencer"));
  EXPECT_TRUE(refused(world.roster().append(builder.build(world.roster(), world.authority)), Code::unauthenticated, "not signed"));
  EXPECT_TRUE(refused(invite_entry(world.roster(), world.keyring(), phone.identity, {"member", 1, 0, {}}, world.random), Code::no_right,
                      "sequencer"));
}

TEST(RosterChain, NamesAGap) {
  World world;
  const Hash head = world.roster().head();
  const auto entry = RosterEntryBuilder().add(RelayItem{}).build_at(world.roster().space(), 2, Hash{{1}}, world.desk.identity);
  EXPECT_TRUE(refused(world.roster().append(entry), Code::conflict, "gap"));
  EXPECT_EQ(world.roster().forks_at(entry), std::nullopt);
  EXPECT_EQ(world.roster().head(), head);
}

TEST(RosterChain, NamesAForkAndKeepsItsBranch) {
  World world;
  Roster other = world.roster();
  world.join();
  const Hash head = world.roster().head();
  const auto early = RosterEntryBuilder().add(RelayItem{}).build(other, world.desk.identity);
  ASSERT_TRUE(other.append(early));
  EXPECT_TRUE(refused(world.roster().append(early), Code::conflict, "fork"));
  EXPECT_EQ(world.roster().forks_at(early), Position{1});
  const auto later = RosterEntryBuilder().add(RelayItem{}).build(other, world.desk.identity);  // in the middle of the other branch
  ASSERT_TRUE(other.append(later));
  EXPECT_TRUE(refused(world.roster().append(later), Code::conflict, "fork"));
  const auto next =
      RosterEntryBuilder().add(RelayItem{}).build(other, world.desk.identity);  // would come next here, but continues the other
  EXPECT_TRUE(refused(world.roster().append(next), Code::conflict, "fork"));
  EXPECT_EQ(world.roster().head(), head);
  EXPECT_EQ(world.roster().forks_at(world.roster().entry_at(1)), std::nullopt);
}

TEST(RosterChain, AForkThatTheSequencerDidNotSignIsNone) {
  World world;
  Roster other = world.roster();
  const Device stranger(world.random);
  const auto forged = RosterEntryBuilder().add(RelayItem{}).build(other, stranger.identity);
  world.join();
  EXPECT_TRUE(refused(world.roster().append(forged), Code::unauthenticated, "not signed"));
  EXPECT_EQ(world.roster().forks_at(forged), std::nullopt);
}

TEST(RosterChain, AnEntryOfAnotherSpaceIsRefused) {
  SeededRandom random(3);
  const auto authority = make_identity_key_pair(random);
  const Device desk(random);
  auto first = found_space(founding_terms(), authority, desk.keys, random);
  auto second = found_space(founding_terms(), authority, desk.keys, random);
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->roster.space(), second->roster.space());
  const auto entry = RosterEntryBuilder().add(RelayItem{}).build(first->roster, desk.identity);
  EXPECT_TRUE(refused(second->roster.append(entry), Code::corrupt, "another space"));
  EXPECT_TRUE(refused(second->roster.append(first->entry), Code::corrupt, "space of its own"));
  EXPECT_TRUE(refused(Roster::found(entry), Code::corrupt, "does not found"));
}

TEST(RosterChain, ANewerVersionIsNamedAsSuch) {
  World world;
  Bytes body = to_bytes(body_of_entry(world.entry(RosterEntryBuilder().add(RelayItem{}))));
  body[0] = 2;
  EXPECT_TRUE(refused(world.roster().append(sign_again(body, world.desk.identity)), Code::unsupported, "newer version"));
}

TEST(RosterChain, TheSequencerHandsOver) {
  World world;
  const Device second = world.join("second desk", rights_everything);
  const Device phone = world.join();
  EXPECT_TRUE(refused(hand_over_entry(world.roster(), world.desk.identity, phone.id()), Code::protocol, "without a sequencer"));
  EXPECT_TRUE(refused(hand_over_entry(world.roster(), world.desk.identity, DeviceId{{1}}), Code::protocol, "without a sequencer"));
  const Position before = world.roster().size();
  world.apply(hand_over_entry(world.roster(), world.desk.identity, second.id()));
  EXPECT_EQ(world.roster().sequencer(), second.id());
  EXPECT_EQ(world.roster().sequencer_at(before), world.desk.id());
  EXPECT_EQ(world.roster().sequencer_at(before + 1), second.id());
  const auto builder = RosterEntryBuilder().add(RelayItem{});
  EXPECT_TRUE(refused(world.roster().append(builder.build(world.roster(), world.desk.identity)), Code::unauthenticated, "not signed"));
  EXPECT_TRUE(world.roster().append(builder.build(world.roster(), second.identity)));
  // The successor, not the desk, may now cut the desk; and an old entry of the desk is still its own.
  const auto keys = Keyring::open(world.roster(), second.id(), second.sealing);
  const auto cut = cut_entry(world.roster(), keys, second.identity, world.desk.id(), {}, CutReason::retired, "", world.random);
  ASSERT_TRUE(cut) << cut.error().message();
  EXPECT_TRUE(world.roster().append(*cut));
  EXPECT_TRUE(refused(world.roster().append(world.roster().entry_at(1)), Code::already_exists, "here already"));
}

// ---- Items that are unknown

TEST(RosterItems, UnknownEvenOnesAreKeptUnknownOddOnesStopTheRoster) {
  World world;
  EXPECT_TRUE(
      refused(world.roster().append(world.entry(RosterEntryBuilder().add_raw(1001, view("?")))), Code::unsupported, "newer version"));
  const auto both = world.entry(RosterEntryBuilder().add(RelayItem{}).add_raw(999, {}));
  EXPECT_TRUE(refused(world.roster().append(both), Code::unsupported, "newer version"));
  EXPECT_FALSE(world.roster().relays().empty());  // nothing of it took effect
  const auto even = world.entry(RosterEntryBuilder().add_raw(1000, view("later")).add(RelayItem{}));
  EXPECT_TRUE(world.roster().append(even));
  EXPECT_TRUE(world.roster().relays().empty());
  EXPECT_EQ(world.roster().entry_at(1), even);
}

// ---- Rules of items, one line each

struct Rule {
  const char* name;
  Code code;
  const char* words;
  std::function<RosterEntryBuilder(World&, const Device& phone, const Device& stranger)> make;
};

AdmitItem admit(const Device& device, std::uint8_t rights = rights_append) {
  AdmitItem item;
  item.keys = device.keys;
  item.rights = rights;
  return item;
}
EpochItem next_epoch(World& world, const std::vector<DeviceKeys>& readers) {
  return make_epoch(world.roster(), world.keyring(), readers, world.random).item;
}

const std::vector<Rule>& rules() {
  using B = RosterEntryBuilder;
  using W = World&;
  using D = const Device&;
  static const std::vector<Rule> all = {
      {"founded twice", Code::protocol, "founded already", [](W w, D, D) { return B().add(w.roster().founding()); }},
      {"two sequencers", Code::protocol, "names two",
       [](W w, D, D) { return B().add(SequencerItem{w.desk.id()}).add(SequencerItem{w.desk.id()}); }},
      {"admitted twice", Code::protocol, "admitted before", [](W, D p, D) { return B().add(admit(p)); }},
      {"admitted twice in one entry", Code::protocol, "admitted before", [](W, D, D s) { return B().add(admit(s)).add(admit(s)); }},
      {"transport key of another", Code::protocol, "transport key",
       [](W, D p, D s) {
         auto item = admit(s);
         item.keys = certify_device(s.identity, s.sealing.public_key, p.transport.public_key);
         return B().add(item);
       }},
      {"certificate of another", Code::unauthenticated, "certify",
       [](W, D p, D s) {
         auto item = admit(s);
         item.keys.certificate = p.keys.certificate;
         return B().add(item);
       }},
      {"sealing key swapped", Code::unauthenticated, "certify",
       [](W w, D, D s) {
         auto item = admit(s);
         item.keys.sealing = w.desk.keys.sealing;
         return B().add(item);
       }},
      {"unknown rights", Code::unsupported, "newer version", [](W, D, D s) { return B().add(admit(s, 8)); }},
      {"invitation unknown", Code::protocol, "not open",
       [](W, D, D s) {
         auto item = admit(s);
         item.invite = InviteId{{1}};
         return B().add(item);
       }},
      {"invitation used", Code::protocol, "not open",
       [](W w, D p, D s) {
         auto item = admit(s);
         item.invite = w.roster().member(p.id())->invite;
         return B().add(item);
       }},
      {"invitation used twice in one entry", Code::protocol, "not open",
       [](W w, D, D s) {
         const auto invitation = w.invite();
         const Device another(w.random);
         auto first = admit(s), second = admit(another);
         first.invite = second.invite = invitation.id();
         return B().add(first).add(second);
       }},
      {"more rights than invited", Code::protocol, "more rights",
       [](W w, D, D s) {
         const auto invitation = w.invite("member", rights_append);
         auto item = admit(s, rights_append | rights_roster);
         item.invite = invitation.id();
         return B().add(item);
       }},
      {"reader without the key", Code::protocol, "no key of the newest epoch", [](W, D, D s) { return B().add(admit(s, rights_read)); }},
      {"key to no reader", Code::protocol, "may not read",
       [](W w, D, D s) { return B().add(admit(s)).add(share_epoch(w.roster(), w.keyring(), s.keys)); }},
      {"key to a stranger", Code::protocol, "may not read",
       [](W w, D, D s) { return B().add(share_epoch(w.roster(), w.keyring(), s.keys)); }},
      {"key to one who has it", Code::protocol, "has it already",
       [](W w, D p, D) { return B().add(share_epoch(w.roster(), w.keyring(), p.keys)); }},
      {"key of another epoch", Code::protocol, "only the newest",
       [](W w, D, D s) {
         auto share = share_epoch(w.roster(), w.keyring(), s.keys);
         share.number = 2;
         return B().add(admit(s, rights_read)).add(share);
       }},
      {"share of a wrong size", Code::corrupt, "wrong size",
       [](W w, D, D s) {
         auto share = share_epoch(w.roster(), w.keyring(), s.keys);
         share.box.pop_back();
         return B().add(admit(s, rights_read)).add(share);
       }},
      {"epoch skips a number", Code::protocol, "the next one is 2",
       [](W w, D p, D) {
         auto item = next_epoch(w, {w.desk.keys, p.keys});
         item.number = 3;
         return B().add(item);
       }},
      {"two epochs", Code::protocol, "begins two",
       [](W w, D p, D) {
         const auto item = next_epoch(w, {w.desk.keys, p.keys});
         return B().add(item).add(item);
       }},
      {"epoch leaves a reader out", Code::protocol, "1 of 2 readers", [](W w, D, D) { return B().add(next_epoch(w, {w.desk.keys})); }},
      {"epoch to a stranger", Code::protocol, "may not read",
       [](W w, D p, D s) {
         return B().add(next_epoch(w, {w.desk.keys, p.keys, s.keys}));
       }},
      {"epoch to the device that is cut", Code::protocol, "may not read",
       [](W w, D p, D) {
         return B().add(CutItem{p.id(), {}, 0, {}}).add(next_epoch(w, {w.desk.keys, p.keys}));
       }},
      {"epoch leaves out who is admitted beside it", Code::protocol, "2 of 3 readers",
       [](W w, D p, D s) {
         return B().add(next_epoch(w, {w.desk.keys, p.keys})).add(admit(s, rights_read));
       }},
      {"epoch and share", Code::protocol, "handed to nobody besides",
       [](W w, D p, D) {
         return B().add(next_epoch(w, {w.desk.keys, p.keys})).add(share_epoch(w.roster(), w.keyring(), p.keys));
       }},
      {"boxes twice", Code::corrupt, "out of order or given twice",
       [](W w, D p, D) {
         return B().add(next_epoch(w, {p.keys, p.keys, w.desk.keys}));
       }},
      {"box of a wrong size", Code::corrupt, "wrong size",
       [](W w, D p, D) {
         auto item = next_epoch(w, {w.desk.keys, p.keys});
         item.sealed[0].box.pop_back();
         return B().add(item);
       }},
      {"epoch without the key before", Code::corrupt, "key before it",
       [](W w, D p, D) {
         auto item = next_epoch(w, {w.desk.keys, p.keys});
         item.previous.clear();
         return B().add(item);
       }},
      {"cut of a stranger", Code::protocol, "no member",
       [](W, D, D s) {
         return B().add(CutItem{s.id(), {}, 0, {}});
       }},
      {"cut twice in one entry", Code::protocol, "cut already",
       [](W, D p, D) {
         return B().add(CutItem{p.id(), {}, 0, {}}).add(CutItem{p.id(), {}, 0, {}});
       }},
      {"cut of the sequencer", Code::protocol, "without a sequencer",
       [](W w, D, D) {
         return B().add(CutItem{w.desk.id(), {}, 0, {}});
       }},
      {"sequencer loses its right", Code::protocol, "without a sequencer",
       [](W w, D, D) {
         return B().add(RoleItem{w.desk.id(), 3, {}, {}});
       }},
      {"log at 0", Code::corrupt, "position 0",
       [](W, D p, D) {
         Encoder raw;  // the builder would leave it out
         raw.put_raw(p.id().view());
         raw.put_varint(1);
         raw.put_raw(log_id(1).view());
         raw.put_varint(0);
         raw.put_raw(Hash{}.view());
         raw(std::uint8_t{0}, SealedText{});
         return B().add_raw(CutItem::type, raw.bytes());
       }},
      {"log twice", Code::corrupt, "out of order or twice",
       [](W, D p, D) {
         return B().add(RoleItem{p.id(), 3, {}, {at(1, 1), at(1, 2)}});
       }},
      {"role of a stranger", Code::protocol, "no member",
       [](W, D, D s) {
         return B().add(RoleItem{s.id(), 1, {}, {}});
       }},
      {"role twice", Code::protocol, "twice",
       [](W, D p, D) {
         return B().add(RoleItem{p.id(), 3, {}, {}}).add(RoleItem{p.id(), 3, {}, {}});
       }},
      {"role with unknown rights", Code::unsupported, "newer version",
       [](W, D p, D) {
         return B().add(RoleItem{p.id(), 128, {}, {}});
       }},
      {"relay twice", Code::corrupt, "twice",
       [](W, D, D) {
         return B().add(RelayItem{{{{{1}}, {"a"}}, {{{1}}, {"b"}}}});
       }},
      {"relay lists twice", Code::protocol, "two lists", [](W, D, D) { return B().add(RelayItem{}).add(RelayItem{}); }},
      {"address empty", Code::corrupt, "address",
       [](W, D, D) {
         return B().add(RelayItem{{{{{1}}, {""}}}});
       }},
      {"address no text", Code::corrupt, "address",
       [](W, D, D) {
         return B().add(RelayItem{{{{{1}}, {"\xff"}}}});
       }},
      {"invitation id returns", Code::protocol, "never returns",
       [](W w, D p, D) {
         InviteItem item;
         item.id = *w.roster().member(p.id())->invite;
         return B().add(item);
       }},
      {"invitation closed that is not open", Code::protocol, "not open", [](W, D, D) { return B().add(InviteCloseItem{}); }},
      {"invitation with unknown rights", Code::unsupported, "newer version",
       [](W, D, D) {
         InviteItem item;
         item.rights = 64;
         return B().add(item);
       }},
      {"schema falls", Code::protocol, "only rise",
       [](W, D, D) {
         return B().add(SchemaItem{1, {}});
       }},
      {"schema twice", Code::protocol, "names two",
       [](W, D, D) {
         return B().add(SchemaItem{2, {}}).add(SchemaItem{3, {}});
       }},
      {"table twice", Code::protocol, "twice", [](W, D, D) { return B().add(RightsTableItem{}).add(RightsTableItem{}); }},
      {"text of an epoch to come", Code::protocol, "does not exist",
       [](W, D, D) {
         return B().add(RightsTableItem{{2, Bytes(80)}});
       }},
      {"text too short", Code::corrupt, "too short",
       [](W, D, D) {
         return B().add(RightsTableItem{{1, Bytes(39)}});
       }},
      {"text without epoch", Code::corrupt, "no epoch",
       [](W, D, D) {
         return B().add(RightsTableItem{{0, Bytes(80)}});
       }},
      {"epoch without text", Code::corrupt, "no box",
       [](W, D, D) {
         return B().add(RightsTableItem{{1, {}}});
       }},
      {"bytes after an item", Code::corrupt, "after its end", [](W, D, D) { return B().add_raw(SequencerItem::type, Bytes(33)); }},
      {"no items", Code::corrupt, "says nothing", [](W, D, D) { return B(); }},
  };
  return all;
}

TEST(RosterItems, RulesAreKeptAndARefusalChangesNothing) {
  for (const auto& rule : rules()) {
    SCOPED_TRACE(rule.name);
    World world;
    const Device phone = world.join();
    const Device stranger(world.random);
    const auto builder = rule.make(world, phone, stranger);
    const Hash head = world.roster().head();
    const auto entry = world.entry(builder);
    EXPECT_TRUE(refused(world.roster().check(entry), rule.code, rule.words));
    EXPECT_TRUE(refused(world.roster().append(entry), rule.code, rule.words));
    EXPECT_EQ(world.roster().head(), head);
    EXPECT_EQ(world.roster().members().size(), 2u);
    EXPECT_FALSE(world.roster().member(phone.id())->cut.has_value());
    EXPECT_TRUE(world.roster().append(world.entry(RosterEntryBuilder().add(RelayItem{}))));  // and the roster goes on
  }
}

TEST(RosterItems, AFoundingEntryHoldsWhatASpaceNeeds) {
  SeededRandom random(4);
  const auto authority = make_identity_key_pair(random);
  const Device desk(random);
  const FoundItem found{authority.public_key, SpaceKind::village, {}};
  const auto epoch = make_founding_epoch(found, {desk.keys}, random).item;
  const auto sequencer = SequencerItem{desk.id()};
  const auto make = [&](const RosterEntryBuilder& builder) { return Roster::found(builder.found(authority)); };
  using B = RosterEntryBuilder;
  EXPECT_TRUE(make(B().add(found).add(sequencer).add(admit(desk, 7)).add(epoch)));
  EXPECT_TRUE(refused(make(B().add(sequencer).add(found).add(admit(desk, 7)).add(epoch)), Code::protocol, "begins with"));
  EXPECT_TRUE(refused(make(B().add(found).add(found).add(sequencer).add(admit(desk, 7)).add(epoch)), Code::protocol, "only one"));
  EXPECT_TRUE(refused(make(B().add(found).add(admit(desk, 7)).add(epoch)), Code::protocol, "without a sequencer"));
  EXPECT_TRUE(refused(make(B().add(found).add(sequencer).add(epoch)), Code::protocol, "without a sequencer"));
  EXPECT_TRUE(refused(make(B().add(found).add(sequencer).add(admit(desk, 3)).add(epoch)), Code::protocol, "without a sequencer"));
  EXPECT_TRUE(refused(make(B().add(found).add(sequencer).add(admit(desk, 7))), Code::protocol, "first epoch"));
  auto second = epoch;
  second.number = 2;
  EXPECT_TRUE(refused(make(B().add(found).add(sequencer).add(admit(desk, 7)).add(second)), Code::protocol, "the next one is 1"));
  auto kind = found;
  kind.kind = SpaceKind{7};
  EXPECT_TRUE(refused(make(B().add(kind).add(sequencer).add(admit(desk, 7)).add(epoch)), Code::unsupported, "kind of space"));
  const auto other = make_identity_key_pair(random);
  EXPECT_TRUE(refused(Roster::found(B().add(found).add(sequencer).add(admit(desk, 7)).add(epoch).found(other)), Code::unauthenticated,
                      "authority"));
}

// ---- Standing, roles, relays

TEST(RosterStanding, ACutHoldsPerLogAndWhatIsNotListedStandsAtZero) {
  World world;
  const Device phone = world.join();
  using S = Roster::Standing;
  EXPECT_EQ(world.roster().standing(phone.id(), log_id(1), 99), S::stands);
  world.apply(cut_entry(world.roster(), world.keyring(), world.desk.identity, phone.id(), {at(2, 7), at(1, 5)}, CutReason::stolen,
                        "from the car", world.random));
  EXPECT_EQ(world.roster().standing(phone.id(), log_id(1), 5), S::stands);
  EXPECT_EQ(world.roster().standing(phone.id(), log_id(1), 6), S::beyond_cut);
  EXPECT_EQ(world.roster().standing(phone.id(), log_id(2), 7), S::stands);
  EXPECT_EQ(world.roster().standing(phone.id(), log_id(2), 8), S::beyond_cut);
  EXPECT_EQ(world.roster().standing(phone.id(), log_id(3), 1), S::beyond_cut);
  EXPECT_EQ(world.roster().standing(DeviceId{{5}}, log_id(1), 1), S::unknown_device);
  EXPECT_TRUE(refused(world.roster().append(world.entry(RosterEntryBuilder().add(CutItem{phone.id(), {}, 0, {}}))), Code::protocol,
                      "first cut stands"));
  EXPECT_EQ(world.roster().newest_epoch(), 2u);
  EXPECT_FALSE(world.roster().rotation_due());
  const auto& cut = *world.roster().member(phone.id())->cut;
  EXPECT_EQ(cut.logs.front().log, log_id(1));
  EXPECT_EQ(*world.keyring().open_text(cut.reason, reason_purpose(phone.id())), "from the car");
  // The device that was cut cannot read why, and does not return under the same keys.
  const auto of_phone = Keyring::open(world.roster(), phone.id(), phone.sealing);
  EXPECT_TRUE(refused(of_phone.open_text(cut.reason, reason_purpose(phone.id())), Code::waiting, "epoch 2"));
  EXPECT_TRUE(refused(world.roster().append(world.entry(RosterEntryBuilder().add(admit(phone)))), Code::protocol, "new identity"));
}

TEST(RosterStanding, ACutWithoutARotationLeavesOneDue) {
  World world;
  const Device phone = world.join();
  world.apply(world.entry(RosterEntryBuilder().add(CutItem{phone.id(), {}, 0, {}})));
  EXPECT_TRUE(world.roster().rotation_due());
  world.apply(rotate_entry(world.roster(), world.keyring(), world.desk.identity, world.random));
  EXPECT_FALSE(world.roster().rotation_due());
}

TEST(RosterStanding, ARoleHoldsFromThePositionsThatItNames) {
  World world;
  const Device phone = world.join();
  const auto role_of = [&](std::uint8_t log, Position position) {
    const auto* role = world.roster().role_at(phone.id(), log_id(log), position);
    return role ? *world.keyring().open_text(*role, role_purpose(phone.id())) : std::string("none");
  };
  world.apply(role_entry(world.roster(), world.keyring(), world.desk.identity, phone.id(), "chair", 3, {at(1, 10)}, world.random));
  world.apply(role_entry(world.roster(), world.keyring(), world.desk.identity, phone.id(), "guest", rights_read, {at(1, 20), at(2, 4)},
                         world.random));
  EXPECT_EQ(role_of(1, 10), "member");
  EXPECT_EQ(role_of(1, 11), "chair");
  EXPECT_EQ(role_of(1, 20), "chair");
  EXPECT_EQ(role_of(1, 21), "guest");
  EXPECT_EQ(role_of(2, 4), "chair");
  EXPECT_EQ(role_of(2, 5), "guest");
  EXPECT_EQ(role_of(3, 1), "guest");
  using S = Roster::Standing;
  EXPECT_EQ(world.roster().standing(phone.id(), log_id(1), 20), S::stands);
  EXPECT_EQ(world.roster().standing(phone.id(), log_id(1), 21), S::no_append_right);
  EXPECT_EQ(world.roster().member(phone.id())->rights, rights_read);
  EXPECT_EQ(world.roster().role_at(DeviceId{{1}}, log_id(1), 1), nullptr);
}

TEST(RosterStanding, LosingTheRightToReadBeginsAnEpochAndGainingItHandsTheKeyOver) {
  World world;
  const Device phone = world.join();
  world.apply(role_entry(world.roster(), world.keyring(), world.desk.identity, phone.id(), "sender", rights_append, {}, world.random));
  EXPECT_EQ(world.roster().newest_epoch(), 2u);
  EXPECT_FALSE(Keyring::open(world.roster(), phone.id(), phone.sealing).has(2));
  world.apply(role_entry(world.roster(), world.keyring(), world.desk.identity, phone.id(), "member", 3, {}, world.random));
  EXPECT_EQ(world.roster().newest_epoch(), 2u);
  EXPECT_TRUE(Keyring::open(world.roster(), phone.id(), phone.sealing).has(2));
  EXPECT_TRUE(
      refused(world.roster().append(world.entry(
                  RosterEntryBuilder().add(RoleItem{phone.id(), 2, {}, {}}).add(share_epoch(world.roster(), world.keyring(), phone.keys)))),
              Code::protocol, "may not read"));
}

TEST(RosterRelays, TheListIsReplacedAndItsHistoryKept) {
  World world;
  const TransportPublicKey first{{7}}, second{{8}};
  EXPECT_EQ(world.roster().relays().front().key, first);
  world.apply(world.entry(RosterEntryBuilder().add(RelayItem{{{second, {"10.0.0.9:7700"}}}})));
  ASSERT_EQ(world.roster().relays().size(), 1u);
  EXPECT_EQ(world.roster().relays().front().key, second);
  EXPECT_TRUE(world.roster().relay_named_by(first, 1));
  EXPECT_FALSE(world.roster().relay_named_by(second, 1));
  EXPECT_TRUE(world.roster().relay_named_by(second, 2));
  EXPECT_FALSE(world.roster().relay_named_by(first, 0));
  EXPECT_FALSE(world.roster().relay_named_by(TransportPublicKey{{9}}, 2));
}

// ---- Limits

TEST(RosterLimits, ARotationOfAFullSpaceAndACutOfEveryLogFitOneEntry) {
  SeededRandom random(6);
  auto terms = founding_terms();
  std::vector<Device> readers;
  for (std::size_t i = 1; i < 400; ++i) terms.others.push_back({readers.emplace_back(random).keys, rights_read, "r", ""});
  World world(1, terms);
  EXPECT_TRUE(world.founding->entry.size() < limits::roster_entry_bytes_max);
  while (readers.size() + 1 < roster_readers_max) {
    RosterEntryBuilder builder;
    for (int i = 0; i < 800 && readers.size() + 1 < roster_readers_max; ++i) {
      const Device& device = readers.emplace_back(random);
      builder.add(admit(device, rights_read)).add(share_epoch(world.roster(), world.keyring(), device.keys));
    }
    const auto status = world.roster().append(world.entry(builder));
    ASSERT_TRUE(status) << status.error().message();
  }
  const Device one_more(random);
  const auto builder =
      RosterEntryBuilder().add(admit(one_more, rights_read)).add(share_epoch(world.roster(), world.keyring(), one_more.keys));
  EXPECT_TRUE(refused(world.roster().append(world.entry(builder)), Code::too_large, "roster_readers_max"));
  std::vector<LogPosition> logs;
  for (std::size_t i = 0; i < roster_logs_max; ++i) logs.push_back({LogId::from(random.make<LogId>().view()), 1u << 30, {}});
  const auto cut = cut_entry(world.roster(), world.keyring(), world.desk.identity, readers[5].id(), logs, CutReason::hostile,
                             std::string(900, 'x'), random);
  ASSERT_TRUE(cut) << cut.error().message();
  EXPECT_TRUE(world.roster().append(*cut));
}

TEST(RosterLimits, DevicesAndInvitationsAreBounded) {
  World world;
  std::size_t devices = 1;
  while (devices < limits::devices_per_space_max) {
    RosterEntryBuilder builder;
    for (int i = 0; i < 1000 && devices < limits::devices_per_space_max; ++i, ++devices) builder.add(admit(Device(world.random)));
    ASSERT_TRUE(world.roster().append(world.entry(builder)));
  }
  EXPECT_TRUE(refused(world.roster().append(world.entry(RosterEntryBuilder().add(admit(Device(world.random))))), Code::too_large,
                      "devices_per_space_max"));
  RosterEntryBuilder invites;
  for (std::size_t i = 0; i < roster_invites_max; ++i) {
    InviteItem item;
    item.id = world.random.make<InviteId>();
    invites.add(item);
  }
  ASSERT_TRUE(world.roster().append(world.entry(invites)));
  InviteItem item;
  item.id = InviteId{{1}};
  const auto one_more = RosterEntryBuilder().add(item);
  EXPECT_TRUE(refused(world.roster().append(world.entry(one_more)), Code::too_large, "roster_invites_max"));
  const auto oldest = world.roster().invites().begin()->first;
  EXPECT_TRUE(world.roster().append(world.entry(RosterEntryBuilder().add(InviteCloseItem{oldest}).add(item))));
  EXPECT_TRUE(world.roster().invite_was_closed(oldest));
  EXPECT_EQ(world.roster().invite(oldest), nullptr);
}

TEST(RosterLimits, RolesOfADeviceAndTheSizeOfAnEntryAreBounded) {
  World world;
  const Device phone = world.join();
  for (std::size_t i = 1; i < roster_roles_per_device_max; ++i)
    ASSERT_TRUE(world.roster().append(world.entry(RosterEntryBuilder().add(RoleItem{phone.id(), 3, {}, {}}))));
  EXPECT_TRUE(refused(world.roster().append(world.entry(RosterEntryBuilder().add(RoleItem{phone.id(), 3, {}, {}}))), Code::too_large,
                      "roster_roles"));
  EXPECT_TRUE(refused(world.roster().append(world.entry(RosterEntryBuilder().add_raw(1000, Bytes(limits::roster_entry_bytes_max)))),
                      Code::too_large, "roster_entry_bytes_max"));
  RosterEntryBuilder many;
  for (std::size_t i = 0; i <= roster_items_max; ++i) many.add_raw(1000, {});
  EXPECT_TRUE(refused(world.roster().append(world.entry(many)), Code::corrupt, "count"));
}

// ---- Properties

template <class Fixed>
rc::Gen<Fixed> fixed() {
  return rc::gen::map(rc::gen::container<std::vector<std::uint8_t>>(Fixed::size_bytes, rc::gen::arbitrary<std::uint8_t>()),
                      [](const std::vector<std::uint8_t>& bytes) { return Fixed::from(bytes); });
}
Bytes some_bytes(std::size_t max) {
  return *rc::gen::resize(static_cast<int>(std::min<std::size_t>(max, 100)), rc::gen::arbitrary<Bytes>());
}
SealedText some_text() { return {*rc::gen::arbitrary<EpochNumber>(), some_bytes(100)}; }
std::vector<LogPosition> some_logs() {
  std::vector<LogPosition> out;
  for (int i = *rc::gen::inRange(0, 5); i > 0; --i) out.push_back({*fixed<LogId>(), *rc::gen::arbitrary<Position>(), *fixed<Hash>()});
  return out;
}
DeviceKeys some_keys() { return {*fixed<DeviceId>(), *fixed<SealingPublicKey>(), *fixed<TransportPublicKey>(), *fixed<Signature>()}; }

template <class Item>
void expect_round_trip(const Item& item) {
  const Bytes bytes = encode(item);
  const auto back = decode<Item>(bytes, "an item");
  RC_ASSERT(back.ok());
  RC_ASSERT(*back == item);
  RC_ASSERT(encode(*back) == bytes);
  // Damaged or not: what is accepted re-encodes to itself.
  Bytes damaged = bytes;
  if (!damaged.empty()) damaged[*rc::gen::inRange<std::size_t>(0, damaged.size())] = *rc::gen::arbitrary<std::uint8_t>();
  if (*rc::gen::arbitrary<bool>()) damaged.resize(*rc::gen::inRange<std::size_t>(0, damaged.size() + 1));
  if (const auto other = decode<Item>(damaged, "an item")) RC_ASSERT(encode(*other) == damaged);
}

RC_GTEST_PROP(RosterProperty, EveryItemDecodesToWhatWasEncoded, ()) {
  const auto u8 = [] { return *rc::gen::arbitrary<std::uint8_t>(); };
  const auto device = [] { return *fixed<DeviceId>(); };
  expect_round_trip(FoundItem{device(), static_cast<SpaceKind>(u8()), *fixed<FixedBytes<struct FoundSalt, 16>>()});
  expect_round_trip(SequencerItem{device()});
  AdmitItem admitted{some_keys(), u8(), some_text(), some_text(), std::nullopt};
  if (u8() % 2) admitted.invite = *fixed<InviteId>();
  expect_round_trip(admitted);
  EpochItem epoch{*rc::gen::arbitrary<EpochNumber>(), *fixed<Hash>(), {}, some_bytes(40), *fixed<SealingPublicKey>()};
  epoch.previous.resize(std::min<std::size_t>(epoch.previous.size(), epoch_previous_bytes));
  for (int i = u8() % 5; i > 0; --i) epoch.sealed.push_back({device(), some_bytes(100)});
  expect_round_trip(epoch);
  expect_round_trip(CutItem{device(), some_logs(), u8(), some_text()});
  expect_round_trip(RoleItem{device(), u8(), some_text(), some_logs()});
  RelayItem relays;
  for (int i = u8() % 4; i > 0; --i)
    relays.relays.push_back({*fixed<TransportPublicKey>(), std::vector<std::string>(u8() % 9, std::string(u8(), 'a'))});
  expect_round_trip(relays);
  expect_round_trip(InviteItem{*fixed<InviteId>(), device(), *fixed<Hash>(), u8(), some_text(), *rc::gen::arbitrary<std::int64_t>()});
  expect_round_trip(RightsTableItem{some_text()});
  expect_round_trip(SchemaItem{*rc::gen::arbitrary<std::uint32_t>(), *fixed<Hash>()});
  expect_round_trip(EpochShareItem{*rc::gen::arbitrary<EpochNumber>(), device(), some_bytes(100)});
  expect_round_trip(InviteCloseItem{*fixed<InviteId>()});
}

/// The body that these items would have had from the builder.
Bytes encoded_again(ByteView body) {
  Decoder in(body);
  in.get_u8();
  in.get_u8();
  const auto space = in.get_fixed<SpaceId>();
  const auto position = in.get_varint();
  const auto previous = in.get_fixed<Hash>();
  RosterEntryBuilder builder;
  for (auto count = in.get_count(roster_items_max); count > 0; --count) {
    const auto type = in.get_varint();
    builder.add_raw(type, in.get_bytes(limits::roster_entry_bytes_max));
  }
  SeededRandom random(1);
  return to_bytes(body_of_entry(builder.build_at(space, position, previous, make_identity_key_pair(random))));
}

/// What a malicious sequencer can send: bodies damaged at will and signed again.
RC_GTEST_PROP(RosterProperty, AHostileSequencersEntryIsRefusedOrReencodesToItself, ()) {
  static World base;
  static const Device phone = base.join();
  static const Device stranger(base.random);
  static const std::vector<Bytes> bodies = [] {
    std::vector<Bytes> out;
    const auto keep = [&](const Bytes& entry) { out.push_back(to_bytes(body_of_entry(entry))); };
    keep(base.entry(RosterEntryBuilder().add(admit(stranger, 3)).add(share_epoch(base.roster(), base.keyring(), stranger.keys))));
    keep(*cut_entry(base.roster(), base.keyring(), base.desk.identity, phone.id(), {at(1, 4)}, CutReason::lost, "x", base.random));
    keep(*role_entry(base.roster(), base.keyring(), base.desk.identity, phone.id(), "chair", 3, {at(1, 4)}, base.random));
    keep(invite_entry(base.roster(), base.keyring(), base.desk.identity, {"member", 3, 5, {}}, base.random)->entry);
    keep(base.entry(RosterEntryBuilder().add(RelayItem{{{{{1}}, {"a:1", "b:2"}}}}).add(SchemaItem{2, {}}).add_raw(40, view("?"))));
    return out;
  }();
  Bytes body = *rc::gen::elementOf(bodies);
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) {
    const auto where = *rc::gen::inRange<std::size_t>(66, body.size());  // mostly items: the chain has tests of its own
    const auto kind = *rc::gen::inRange(0, 3);
    if (kind == 0) body[where] = *rc::gen::arbitrary<std::uint8_t>();
    if (kind == 1) body.erase(body.begin() + static_cast<std::ptrdiff_t>(where));
    if (kind == 2) body.insert(body.begin() + static_cast<std::ptrdiff_t>(where), *rc::gen::arbitrary<std::uint8_t>());
  }
  Roster roster = base.roster();
  const Hash head = roster.head();
  if (roster.append(sign_again(body, base.desk.identity))) {
    RC_CLASSIFY(true, "accepted");
    RC_ASSERT(encoded_again(body) == body);
    RC_ASSERT(roster.member(roster.sequencer())->reads());
    for (const auto& keys : roster.readers()) RC_ASSERT(roster.epoch_box(roster.newest_epoch(), keys.identity).has_value());
  } else {
    RC_ASSERT(roster.head() == head);
  }
}

}  // namespace
}  // namespace doorstep::test
