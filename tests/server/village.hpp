// A township on paper: an authority, a desk, devices, their spaces, and segments that they seal. Random, so that nothing is shared
// between tests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sync/founding.hpp"
#include "sync/session.hpp"

namespace doorstep::relay {

inline SystemRandom& dice() {
  static SystemRandom random;
  return random;
}

struct Device {
  Device() : keys(certify_device(identity, sealing.public_key, transport.public_key)) {}
  IdentityKeyPair identity = make_identity_key_pair(dice());
  SealingKeyPair sealing = make_sealing_key_pair(dice());
  TransportKeyPair transport = make_transport_key_pair(dice());
  DeviceKeys keys;
  const DeviceId& id() const { return identity.public_key; }
};

/// One space with its roster. The desk founds it and is its sequencer.
struct Village {
  Village(const IdentityKeyPair& authority, Device& desk_, const std::vector<Device*>& members,
          std::uint8_t rights = rights_read | rights_append)
      : desk(desk_), founding(make(authority, desk_, members, rights)), roster(founding.roster), entries{founding.entry} {}

  static Founding make(const IdentityKeyPair& authority, Device& desk, const std::vector<Device*>& members, std::uint8_t rights) {
    FoundingTerms terms;
    terms.role = "town_clerk";
    for (const auto* member : members) terms.others.push_back({member->keys, rights, "rehab_worker", ""});
    auto made = found_space(terms, authority, desk.keys, dice());
    if (!made) throw std::runtime_error(made.error().message());
    return std::move(*made);
  }
  const SpaceId& id() const { return roster.space(); }
  void append(const Result<Bytes>& entry) {
    ASSERT_TRUE(entry) << entry.error().message();
    const auto status = roster.append(*entry);
    ASSERT_TRUE(status) << status.error().message();
    entries.push_back(*entry);
    founding.keyring = Keyring::open(roster, desk.id(), desk.sealing);
  }
  Invitation invite() {
    auto invited =
        invite_entry(roster, founding.keyring, desk.identity, InviteTerms{"rehab_worker", rights_read | rights_append, 0, {}}, dice());
    EXPECT_TRUE(invited) << invited.error().message();
    append(invited->entry);
    return std::move(invited->invitation);
  }

  Device& desk;
  Founding founding;
  Roster roster;
  std::vector<Bytes> entries;
};

/// The segments that one incarnation of a device writes.
struct Writer {
  Writer(const Village& village_, const Device& device_) : village(village_), device(device_) {
    name.device = device.id();
    name.incarnation = dice().make<Incarnation>();
  }
  /// The next segment, of about `bytes`.
  const Bytes& write(std::size_t bytes) {
    SegmentContent content;
    content.roster_size = village.roster.size();
    content.roster_head = shorten(village.roster.head());
    NumberedTransaction transaction;
    transaction.first = ++counter;
    transaction.bytes.resize(bytes);
    dice().fill(transaction.bytes);
    content.transactions.push_back(std::move(transaction));
    const EpochNumber epoch = village.roster.newest_epoch();
    const SegmentPlace place{name.root_id(village.id()), hashes.size() + 1, hashes.empty() ? Hash{} : hashes.back()};
    auto sealed = seal_segment(place, epoch, *village.roster.epoch_entry_hash(epoch), content, village.founding.keyring,
                               device.identity.secret_key, compressor);
    if (!sealed) throw std::runtime_error(sealed.error().message());
    hashes.push_back(sealed->hash);
    segments.push_back(std::move(sealed->bytes));
    return segments.back();
  }
  /// The same log up to `position`, about to go on differently.
  Writer forked_at(Position position) const {
    Writer out(village, device);
    out.name = name;
    out.hashes.assign(hashes.begin(), hashes.begin() + static_cast<std::ptrdiff_t>(position));
    out.segments.assign(segments.begin(), segments.begin() + static_cast<std::ptrdiff_t>(position));
    out.counter = counter + 1000;
    return out;
  }
  LogId id() const { return name.id(village.id()); }

  const Village& village;
  const Device& device;
  LogName name;
  std::vector<Hash> hashes;
  std::vector<Bytes> segments;
  Counter counter = 0;
  Compressor compressor;
};

}  // namespace doorstep::relay
