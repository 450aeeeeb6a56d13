// A roster against bytes that anybody can send, and against bodies that only a malicious sequencer can (signed here, so that the
// fuzzer gets past the signature). First byte: what the rest is.
#include "sync/roster.hpp"

#include "sync/codec.hpp"
#include "sync/founding.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;

struct Base {
  CountingRandom random;
  IdentityKeyPair authority = make_identity_key_pair(random);
  IdentityKeyPair desk = make_identity_key_pair(random);
  SealingKeyPair sealing = make_sealing_key_pair(random);
  DeviceKeys keys = certify_device(desk, sealing.public_key, make_transport_key_pair(random).public_key);
  DeviceKeys phone = other_device();
  DeviceKeys newcomer = other_device();
  Founding founding = found();

  DeviceKeys other_device() {
    const auto identity = make_identity_key_pair(random);
    return certify_device(identity, make_sealing_key_pair(random).public_key, make_transport_key_pair(random).public_key);
  }

  Founding found() {
    FoundingTerms terms;
    terms.role = "town_clerk";
    terms.relays = {{TransportPublicKey{{1}}, {"relay:1"}}};
    terms.others = {{phone, rights_read | rights_append, "member", "a phone"}};
    return found_space(terms, authority, keys, random).value();
  }
};

Bytes signed_body(ByteView body, const IdentityKeyPair& signer) {
  Bytes out = to_bytes(body);
  append(out, sign(signer.secret_key, "doorstep/1/roster", body).view());
  return out;
}

/// Items as the input has them, in the place where the next entry belongs.
Bytes next_entry(const Roster& roster, ByteView items, const IdentityKeyPair& signer) {
  Encoder body;
  body.put_u8(roster_version);
  body.put_u8(suite_libsodium);
  body(roster.space(), roster.size(), roster.head());
  body.put_raw(items);  // with their count
  return signed_body(body.bytes(), signer);
}

void check_what_an_accepted_roster_keeps(const Roster& roster) {
  require(roster.member(roster.sequencer()) && roster.member(roster.sequencer())->reads());
  for (const auto& keys : roster.readers()) require(roster.epoch_box(roster.newest_epoch(), keys.identity).has_value());
  for (const auto& [device, member] : roster.members()) {
    require(roster.member_by_transport(member.keys.transport) == &member);
    (void)roster.standing(device, LogId{}, 1);
    require(roster.role_at(device, LogId{}, 1) != nullptr);
  }
}

Base& the_base() {
  static Base out;
  return out;
}

void run(ByteView input, Verdict& verdict) {
  Base& base = the_base();
  if (input.empty()) return;
  const ByteView rest = input.subspan(1);
  if (input[0] % 3 == 0) {
    for (const Bytes& entry : {to_bytes(rest), signed_body(rest, base.authority)}) {
      const auto roster = Roster::found(entry);
      verdict.note(roster.code());
      if (roster) check_what_an_accepted_roster_keeps(*roster);
    }
    return;
  }
  Roster roster = base.founding.roster;
  const Bytes entry = input[0] % 3 == 1 ? to_bytes(rest) : next_entry(roster, rest, base.desk);
  (void)roster.forks_at(entry);
  const auto checked = roster.check(entry);
  verdict.note(checked);
  require(roster.append(entry).code() == checked.code());
  require(roster.size() == (checked.ok() ? 2u : 1u));
  check_what_an_accepted_roster_keeps(roster);
  if (!checked.ok()) return;
  const auto keys = Keyring::open(roster, base.keys.identity, base.sealing);
  require(keys.has(1));
  for (const auto& [device, member] : roster.members()) verdict.note(keys.open_text(member.label, label_purpose(device)).code());
}

/// What the desk would say next, item for item. Boxes are new in every run, so the files that were written once stay.
std::vector<Seed> seeds() {
  Base& base = the_base();
  const Roster& roster = base.founding.roster;
  const Keyring& keys = base.founding.keyring;
  constexpr std::size_t before_items = 1 + 1 + 32 + 1 + 32, signature = 64;
  std::vector<Seed> out;
  const auto entry = [&](const char* name, const Bytes& bytes) {
    Bytes seed{2};
    append(seed, ByteView(bytes).subspan(before_items, bytes.size() - before_items - signature));
    out.push_back({name, seed});
  };
  Bytes founding{0}, body{0};
  append(founding, base.founding.entry);
  append(body, ByteView(base.founding.entry).first(base.founding.entry.size() - signature));
  out.push_back({"founding", founding});
  out.push_back({"founding_body", body});
  entry("invite", invite_entry(roster, keys, base.desk, {.role = "member"}, base.random)->entry);
  entry("rotate", rotate_entry(roster, keys, base.desk, base.random).value());
  entry("cut",
        cut_entry(roster, keys, base.desk, base.phone.identity, {{LogId{{1}}, 3, Hash{{2}}}}, CutReason::lost, "in the river", base.random)
            .value());
  entry("role",
        role_entry(roster, keys, base.desk, base.phone.identity, "chair", rights_read, {{LogId{{1}}, 3, Hash{{2}}}}, base.random).value());
  AdmitItem admit{base.newcomer, rights_read | rights_append, keys.seal_text(1, role_purpose(base.newcomer.identity), "member"), {}, {}};
  RosterEntryBuilder builder;
  builder.add(admit).add(share_epoch(roster, keys, base.newcomer));
  entry("admit_share", builder.build(roster, base.desk));
  entry("relays_schema", RosterEntryBuilder()
                             .add(RelayItem{{{TransportPublicKey{{7}}, {"relay.example.org:7340", "[::1]:1"}}}})
                             .add(SchemaItem{2, Hash{{3}}})
                             .add_raw(20, view("a newer item"))
                             .build(roster, base.desk));
  return out;
}

const Registration registration({"roster", run, seeds});

}  // namespace
