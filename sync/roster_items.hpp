// The bytes of a roster's items, in the notation of codec.hpp, in the order of their fields. Private to sync/ and its tests.
//
//   sealed text   epoch number, box 0..4096 bytes
//   device keys   identity 32, sealing 32, transport 32, certificate 64
//   logs          count 0..512, (log 16, position, hash 32), ascending by log, position >= 1
//    1 found          authority 32, kind u8, salt 16
//    3 sequencer      device 32
//    5 admit          device keys, rights, role sealed text, label sealed text, optional invite 16
//    7 epoch          number, commitment 32, count 1..1600 (device 32, box 112 bytes) ascending by device, previous 0 or 48 bytes,
//                     public key 32
//    9 cut            device 32, logs, reason class, reason sealed text
//   11 role           device 32, rights, role sealed text, logs
//   12 relays         count 0..16 (key 32, count 0..8 addresses of 1..255 bytes)
//   13 invite         id 16, proof key 32, connect psk 32, rights, role sealed text, expires_ms zigzag
//   15 rights table   sealed text
//   16 schema         version, hash 32
//   17 epoch share    number, device 32, box 112 bytes
//   19 invite close   id 16
#pragma once

#include "sync/codec.hpp"
#include "sync/roster.hpp"

namespace doorstep {

template <class Archive>
void serialize(Archive& archive, SealedText& text) {
  archive(text.epoch, bounded<sealed_text_box_bytes_max>(text.box));
}
template <class Archive>
void serialize(Archive& archive, LogPosition& at) {
  archive(at.log, at.position, at.hash);
}
template <class Archive>
void serialize(Archive& archive, FoundItem& item) {
  archive(item.authority, enumerated<SpaceKind{255}>(item.kind), item.salt);  // roster.cpp names an unknown kind
}
template <class Archive>
void serialize(Archive& archive, SequencerItem& item) {
  archive(item.device);
}
template <class Archive>
void serialize(Archive& archive, AdmitItem& item) {
  archive(item.keys, item.rights, item.role, item.label, item.invite);
}
template <class Archive>
void serialize(Archive& archive, EpochItem::Sealed& sealed) {
  archive(sealed.device, bounded<epoch_box_bytes>(sealed.box));
}
template <class Archive>
void serialize(Archive& archive, EpochItem& item) {
  archive(item.number, item.commitment, bounded<roster_readers_max>(item.sealed), bounded<epoch_previous_bytes>(item.previous),
          item.public_key);
}
template <class Archive>
void serialize(Archive& archive, CutItem& item) {
  archive(item.device, bounded<roster_logs_max>(item.logs), item.reason_class, item.reason);
}
template <class Archive>
void serialize(Archive& archive, RoleItem& item) {
  archive(item.device, item.rights, item.role, bounded<roster_logs_max>(item.from));
}
template <class Archive>
void serialize(Archive& archive, RelayItem::Relay& relay) {
  archive(relay.key);
  // A vector of texts: the bound of each text is set here, for codec.hpp bounds only the vector.
  if constexpr (std::is_same_v<Archive, Encoder>) {
    DOORSTEP_CHECK(relay.addresses.size() <= roster_relay_addresses_max);
    archive.put_varint(relay.addresses.size());
  } else {
    relay.addresses.resize(archive.get_count(roster_relay_addresses_max));
  }
  for (auto& address : relay.addresses) archive(bounded<roster_relay_address_bytes_max>(address));
}
template <class Archive>
void serialize(Archive& archive, RelayItem& item) {
  archive(bounded<roster_relays_max>(item.relays));
}
template <class Archive>
void serialize(Archive& archive, InviteItem& item) {
  archive(item.id, item.proof_key, item.connect_psk, item.rights, item.role, item.expires_ms);
}
template <class Archive>
void serialize(Archive& archive, RightsTableItem& item) {
  archive(item.table);
}
template <class Archive>
void serialize(Archive& archive, SchemaItem& item) {
  archive(item.version, item.hash);
}
template <class Archive>
void serialize(Archive& archive, EpochShareItem& item) {
  archive(item.number, item.device, bounded<epoch_box_bytes>(item.box));
}
template <class Archive>
void serialize(Archive& archive, InviteCloseItem& item) {
  archive(item.id);
}

}  // namespace doorstep
