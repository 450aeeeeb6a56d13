// A roster against bytes that anybody can send, and against bodies that only a malicious sequencer can (signed here, so that the
// fuzzer gets past the signature). First byte: what the rest is.
#include "sync/roster.hpp"

#include "sync/codec.hpp"
#include "sync/founding.hpp"

namespace {

using namespace doorstep;

class CountingRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(next_ += 37);
  }

 private:
  std::uint8_t next_ = 0;
};

struct Base {
  CountingRandom random;
  IdentityKeyPair authority = make_identity_key_pair(random);
  IdentityKeyPair desk = make_identity_key_pair(random);
  SealingKeyPair sealing = make_sealing_key_pair(random);
  DeviceKeys keys = certify_device(desk, sealing.public_key, make_transport_key_pair(random).public_key);
  Founding founding = found();

  Founding found() {
    FoundingTerms terms;
    terms.role = "town_clerk";
    terms.relays = {{TransportPublicKey{{1}}, {"relay:1"}}};
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
  DOORSTEP_CHECK(roster.member(roster.sequencer()) && roster.member(roster.sequencer())->reads());
  for (const auto& keys : roster.readers()) DOORSTEP_CHECK(roster.epoch_box(roster.newest_epoch(), keys.identity));
  for (const auto& [device, member] : roster.members()) {
    DOORSTEP_CHECK(roster.member_by_transport(member.keys.transport) == &member);
    (void)roster.standing(device, LogId{}, 1);
    DOORSTEP_CHECK(roster.role_at(device, LogId{}, 1) != nullptr);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Base base;
  if (size == 0) return 0;
  const ByteView rest(data + 1, size - 1);
  if (data[0] % 3 == 0) {
    if (const auto roster = Roster::found(rest)) check_what_an_accepted_roster_keeps(*roster);
    if (const auto roster = Roster::found(signed_body(rest, base.authority))) check_what_an_accepted_roster_keeps(*roster);
    return 0;
  }
  Roster roster = base.founding.roster;
  const Bytes entry = data[0] % 3 == 1 ? to_bytes(rest) : next_entry(roster, rest, base.desk);
  (void)roster.forks_at(entry);
  const bool fine = roster.check(entry).ok();
  DOORSTEP_CHECK(roster.append(entry).ok() == fine);
  DOORSTEP_CHECK(roster.size() == (fine ? 2u : 1u));
  check_what_an_accepted_roster_keeps(roster);
  if (fine) {
    const auto keys = Keyring::open(roster, base.keys.identity, base.sealing);
    DOORSTEP_CHECK(keys.has(1));
    for (const auto& [device, member] : roster.members()) (void)keys.open_text(member.label, label_purpose(device));
  }
  return 0;
}
