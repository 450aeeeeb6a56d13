// A small township for the tests of rosters, keys and invitations: a desk that founded a space, and devices that join it.
// Everything but sealed boxes comes from a seed.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sync/founding.hpp"

namespace doorstep::test {

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : seed_(seed) {}
  void fill(std::span<std::uint8_t> out) override {
    for (std::size_t at = 0; at < out.size(); at += 32) {
      const std::array<std::uint64_t, 2> input = {seed_, counter_++};
      const Hash block = hash("doorstep/test/random", {ByteView(reinterpret_cast<const std::uint8_t*>(input.data()), sizeof input)});
      std::copy_n(block.data.begin(), std::min<std::size_t>(32, out.size() - at), out.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }

 private:
  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
};

struct Device {
  explicit Device(Random& random)
      : identity(make_identity_key_pair(random)),
        sealing(make_sealing_key_pair(random)),
        transport(make_transport_key_pair(random)),
        keys(certify_device(identity, sealing.public_key, transport.public_key)) {}
  const DeviceId& id() const { return identity.public_key; }

  IdentityKeyPair identity;
  SealingKeyPair sealing;
  TransportKeyPair transport;
  DeviceKeys keys;
};

inline constexpr std::uint8_t rights_everything = rights_read | rights_append | rights_roster;

inline FoundingTerms founding_terms() {
  FoundingTerms terms;
  terms.role = "town_clerk";
  terms.label = "the desk";
  terms.rights = RightsTable({{"member", 0, may_write}, {"town_clerk", 0, may_write | may_resolve | may_approve}, {"member", 14, 0}});
  terms.schema = SchemaItem{1, hash("doorstep/test/schema", {})};
  terms.relays = {{TransportPublicKey{{7}}, {"relay.example.org:7700", "192.168.1.20:7700"}}};
  return terms;
}

/// A space with its desk (authority's keys at hand), and the desk's view of it.
struct World {
  explicit World(std::uint64_t seed = 1, const FoundingTerms& terms = founding_terms())
      : random(seed), authority(make_identity_key_pair(random)), desk(random), founding(found_space(terms, authority, desk.keys, random)) {
    EXPECT_TRUE(founding) << founding.error().message();
  }
  Roster& roster() { return founding->roster; }
  Keyring& keyring() { return founding->keyring; }

  /// Appends what the desk made, and opens the keys anew.
  void apply(Result<Bytes> entry) {
    ASSERT_TRUE(entry) << entry.error().message();
    const auto status = roster().append(*entry);
    ASSERT_TRUE(status) << status.error().message();
    keyring() = Keyring::open(roster(), desk.id(), desk.sealing);
  }
  Invitation invite(const std::string& role = "member", std::uint8_t rights = rights_read | rights_append) {
    auto invited = invite_entry(roster(), keyring(), desk.identity, {role, rights, 1'800'000'000'000, {}}, random);
    EXPECT_TRUE(invited) << invited.error().message();
    apply(invited->entry);
    return std::move(invited->invitation);
  }
  JoinRequest request(const Invitation& invitation, const Device& device) {
    auto made = JoinRequest::make(invitation, roster().space(), device.identity, device.keys, {"Wang Fang", "member"});
    EXPECT_TRUE(made);
    return *std::move(made);
  }
  Device join(const std::string& role = "member", std::uint8_t rights = rights_read | rights_append) {
    Device device(random);
    apply(admit_entry(roster(), keyring(), desk.identity, request(invite(role, rights), device), role, "a phone"));
    return device;
  }
  /// Signs these items as the desk; a share or box is not added.
  Bytes entry(const RosterEntryBuilder& builder) { return builder.build(roster(), desk.identity); }

  SeededRandom random;
  IdentityKeyPair authority;
  Device desk;
  Result<Founding> founding;
};

/// The refusal has this code and a sentence that contains `words`.
inline testing::AssertionResult refused(const Error* error, Code code, std::string_view words) {
  if (!error) return testing::AssertionFailure() << "was accepted";
  if (error->code() != code) return testing::AssertionFailure() << code_name(error->code()) << ": " << error->message();
  if (error->message().find(words) == std::string::npos) return testing::AssertionFailure() << "says: " << error->message();
  return testing::AssertionSuccess();
}
template <class T>
testing::AssertionResult refused(const Result<T>& result, Code code, std::string_view words) {
  return refused(result ? nullptr : &result.error(), code, words);
}

/// An entry with another body, signed again.
inline Bytes sign_again(ByteView body, const IdentityKeyPair& signer) {
  Bytes out = to_bytes(body);
  append(out, sign(signer.secret_key, "doorstep/1/roster", body).view());
  return out;
}
inline ByteView body_of_entry(ByteView entry) { return entry.first(entry.size() - 64); }

}  // namespace doorstep::test
