// Whole actions of a sequencer, each one roster entry. No format of its own: roster.hpp, keys.hpp and invite.hpp hold them.
#include "sync/founding.hpp"

#include <algorithm>

#include "sync/codec.hpp"

namespace doorstep {

namespace {

/// What the addresses of an invitation may take, so that its QR code stays easy to scan.
constexpr std::size_t invitation_relay_bytes_goal = 200;

Status may_sign(const Roster& roster, const IdentityKeyPair& signer) {
  if (signer.public_key != roster.sequencer())
    return Error(Code::no_right, "only the sequencer of the space changes its roster: propose it to that device");
  return {};
}

Status ready(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer) {
  DOORSTEP_TRY(may_sign(roster, signer));
  if (!keyring.has(roster.newest_epoch())) return Error(Code::waiting, "the key of the newest epoch is not here yet");
  return {};
}

Status check_words(const std::string& role, const std::string& label) {
  if (role.empty() || role.size() > role_bytes_max || !is_valid_text(role))
    return Error(Code::invalid_argument, "a role is text of 1 to 32 bytes");
  if (label.size() > label_bytes_max || !is_valid_text(label)) return Error(Code::invalid_argument, "a label is text of at most 256 bytes");
  return {};
}

Status check_table(const RightsTable& table) {
  for (const auto& row : table.rows()) DOORSTEP_TRY(check_words(row.role, ""));
  const Bytes bytes = table.encode();
  if (auto back = RightsTable::decode(bytes); !back) return Error(Code::invalid_argument, back.error().message());
  if (bytes.size() > sealed_text_bytes_max)
    return Error(Code::too_large,
                 "the rights table is too large to travel in a roster (sealed_text_bytes_max): use kind 0 for the common case");
  return {};
}

Status check_relays(const std::vector<RelayItem::Relay>& relays) {
  bool fits = relays.size() <= roster_relays_max;
  for (const auto& relay : relays) {
    fits = fits && relay.addresses.size() <= roster_relay_addresses_max;
    for (const auto& address : relay.addresses)
      fits = fits && !address.empty() && address.size() <= roster_relay_address_bytes_max && is_valid_text(address);
  }
  if (!fits) return Error(Code::invalid_argument, "a space has at most 16 relays with 8 addresses of 1 to 255 bytes each");
  return {};
}

Status check_log_count(const std::vector<LogPosition>& logs) {
  if (logs.size() > roster_logs_max) return Error(Code::too_large, "an entry lists at most 512 logs of a device (roster_logs_max)");
  return {};
}

/// As many relays and addresses as fit the goal, the first ones first, at least one of each.
std::vector<RelayItem::Relay> first_relays(const std::vector<RelayItem::Relay>& relays) {
  std::vector<RelayItem::Relay> out;
  std::size_t left = invitation_relay_bytes_goal;
  for (const auto& relay : relays) {
    if (out.size() == invitation_relays_max || relay.addresses.empty()) break;
    RelayItem::Relay taken{relay.key, {}};
    std::size_t size = 33;
    for (const auto& address : relay.addresses) {
      if (size + 1 + address.size() > left && !(out.empty() && taken.addresses.empty())) break;
      size += 1 + address.size();
      taken.addresses.push_back(address);
    }
    if (taken.addresses.empty()) break;
    out.push_back(std::move(taken));
    left -= std::min(left, size);
  }
  return out;
}

Result<Bytes> checked(const Roster& roster, Bytes entry) {
  DOORSTEP_TRY(roster.check(entry));
  return entry;
}

AdmitItem admission(const Keyring& keyring, EpochNumber epoch, const DeviceKeys& keys, std::uint8_t rights, const std::string& role,
                    const std::string& label) {
  AdmitItem item;
  item.keys = keys;
  item.rights = rights;
  item.role = keyring.seal_text(epoch, role_purpose(keys.identity), role);
  item.label = keyring.seal_text(epoch, label_purpose(keys.identity), label);
  return item;
}

std::vector<DeviceKeys> readers_without(const Roster& roster, const DeviceId& device) {
  auto out = roster.readers();
  std::erase_if(out, [&](const DeviceKeys& keys) { return keys.identity == device; });
  return out;
}

InviteItem invite_item(const Roster& roster, const Keyring& keyring, const InviteTerms& terms, const Invitation& invitation) {
  InviteItem item;
  item.id = invitation.id();
  item.proof_key = invitation.proof_keys().public_key;
  item.connect_psk = Hash::from(invitation.connect_psk().reveal());
  item.rights = terms.rights;
  item.role = keyring.seal_text(roster.newest_epoch(), invite_role_purpose(item.id), terms.role);
  item.expires_ms = terms.expires_ms;
  return item;
}

}  // namespace

Result<Founding> found_space(const FoundingTerms& terms, const IdentityKeyPair& authority, const DeviceKeys& device, Random& random) {
  DOORSTEP_TRY(check_words(terms.role, terms.label));
  DOORSTEP_TRY(check_table(terms.rights));
  DOORSTEP_TRY(check_relays(terms.relays));
  const FoundItem found{authority.public_key, terms.kind, random.make<FixedBytes<struct FoundSalt, 16>>()};
  std::vector<DeviceKeys> readers{device};
  for (const auto& other : terms.others) {
    DOORSTEP_TRY(check_words(other.role, other.label));
    if ((other.rights & rights_read) != 0) readers.push_back(other.keys);
  }
  if (readers.size() > roster_readers_max) return Error(Code::too_large, "a space has at most 1600 readers (roster_readers_max)");
  auto epoch = make_founding_epoch(found, readers, random);
  Keyring keyring;
  keyring.add(1, std::move(epoch.key));

  RosterEntryBuilder builder;
  builder.add(found).add(SequencerItem{device.identity});
  builder.add(admission(keyring, 1, device, rights_read | rights_append | rights_roster, terms.role, terms.label));
  for (const auto& other : terms.others) builder.add(admission(keyring, 1, other.keys, other.rights, other.role, other.label));
  builder.add(epoch.item);
  const Bytes table = terms.rights.encode();
  builder.add(RightsTableItem{keyring.seal_text(1, rights_table_purpose, text_view(table))});
  if (terms.schema) builder.add(*terms.schema);
  if (!terms.relays.empty()) builder.add(RelayItem{terms.relays});
  Bytes entry = builder.found(authority);
  DOORSTEP_ASSIGN(Roster roster, Roster::found(entry));
  return Founding{std::move(entry), std::move(roster), std::move(keyring)};
}

Result<Invited> invite_entry(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer, const InviteTerms& terms,
                             Random& random) {
  DOORSTEP_TRY(ready(roster, keyring, signer));
  DOORSTEP_TRY(check_words(terms.role, ""));
  DOORSTEP_TRY(check_relays(terms.relays));
  Invitation invitation;
  invitation.spaces = {roster.space()};
  invitation.relays = first_relays(terms.relays.empty() ? roster.relays() : terms.relays);
  random.fill(invitation.secret.reveal_mutable());
  invitation.expires_ms = terms.expires_ms;
  invitation.sequencer_sealing = roster.member(roster.sequencer())->keys.sealing;
  invitation.authority = roster.authority();
  const auto item = invite_item(roster, keyring, terms, invitation);
  DOORSTEP_ASSIGN(Bytes entry, checked(roster, RosterEntryBuilder().add(item).build(roster, signer)));
  return Invited{std::move(entry), std::move(invitation)};
}

Result<Bytes> invite_also_entry(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer, const InviteTerms& terms,
                                Invitation& invitation) {
  DOORSTEP_TRY(ready(roster, keyring, signer));
  DOORSTEP_TRY(check_words(terms.role, ""));
  if (invitation.spaces.size() >= invitation_spaces_max)
    return Error(Code::too_large, "an invitation names at most 8 spaces: make a second one");
  if (invitation.authority != roster.authority() || invitation.sequencer_sealing != roster.member(roster.sequencer())->keys.sealing)
    return Error(Code::invalid_argument,
                 "an invitation is for spaces of one authority and one sequencer: make a second one for this space");
  const auto item = invite_item(roster, keyring, terms, invitation);
  DOORSTEP_ASSIGN(Bytes entry, checked(roster, RosterEntryBuilder().add(item).build(roster, signer)));
  invitation.spaces.push_back(roster.space());
  return entry;
}

Result<Bytes> close_invite_entry(const Roster& roster, const IdentityKeyPair& signer, const InviteId& invite) {
  DOORSTEP_TRY(may_sign(roster, signer));
  return checked(roster, RosterEntryBuilder().add(InviteCloseItem{invite}).build(roster, signer));
}

Result<Bytes> admit_entry(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer, const JoinRequest& request,
                          const std::string& role, const std::string& label) {
  DOORSTEP_TRY(ready(roster, keyring, signer));
  DOORSTEP_TRY(check_words(role, label));
  DOORSTEP_TRY(verify(request, roster));
  const std::uint8_t rights = roster.invite(request.invite)->rights;
  AdmitItem item = admission(keyring, roster.newest_epoch(), request.keys, rights, role, label);
  item.invite = request.invite;
  RosterEntryBuilder builder;
  builder.add(item);
  if ((rights & rights_read) != 0) builder.add(share_epoch(roster, keyring, request.keys));
  return checked(roster, builder.build(roster, signer));
}

Result<Bytes> cut_entry(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer, const DeviceId& device,
                        const std::vector<LogPosition>& logs, CutReason reason_class, const std::string& reason, Random& random) {
  DOORSTEP_TRY(ready(roster, keyring, signer));
  DOORSTEP_TRY(check_log_count(logs));
  if (reason.size() > reason_bytes_max || !is_valid_text(reason))
    return Error(Code::invalid_argument, "a reason is text of at most 1024 bytes");
  const Member* member = roster.member(device);
  const EpochNumber newest = roster.newest_epoch();
  std::optional<NewEpoch> epoch;
  if (member && (member->reads() || roster.rotation_due())) epoch = make_epoch(roster, keyring, readers_without(roster, device), random);
  CutItem cut;
  cut.device = device;
  cut.logs = logs;
  cut.reason_class = static_cast<std::uint8_t>(reason_class);
  RosterEntryBuilder builder;
  if (epoch) {
    Keyring next;  // why it was cut is not for the device that was cut
    next.add(newest + 1, std::move(epoch->key));
    if (!reason.empty()) cut.reason = next.seal_text(newest + 1, reason_purpose(device), reason);
    builder.add(epoch->item);
  } else if (!reason.empty()) {
    cut.reason = keyring.seal_text(newest, reason_purpose(device), reason);
  }
  builder.add(cut);
  return checked(roster, builder.build(roster, signer));
}

Result<Bytes> role_entry(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer, const DeviceId& device,
                         const std::string& role, std::uint8_t rights, const std::vector<LogPosition>& from, Random& random) {
  DOORSTEP_TRY(ready(roster, keyring, signer));
  DOORSTEP_TRY(check_words(role, ""));
  DOORSTEP_TRY(check_log_count(from));
  const EpochNumber newest = roster.newest_epoch();
  RosterEntryBuilder builder;
  builder.add(RoleItem{device, rights, keyring.seal_text(newest, role_purpose(device), role), from});
  if (const Member* member = roster.member(device); member && !member->cut) {
    const bool will_read = (rights & rights_read) != 0;
    if (member->reads() && !will_read) builder.add(make_epoch(roster, keyring, readers_without(roster, device), random).item);
    if (will_read && !roster.epoch_box(newest, device)) builder.add(share_epoch(roster, keyring, member->keys));
  }
  return checked(roster, builder.build(roster, signer));
}

Result<Bytes> rotate_entry(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer, Random& random) {
  DOORSTEP_TRY(ready(roster, keyring, signer));
  return checked(roster, RosterEntryBuilder().add(make_epoch(roster, keyring, roster.readers(), random).item).build(roster, signer));
}

Result<Bytes> hand_over_entry(const Roster& roster, const IdentityKeyPair& signer, const DeviceId& successor) {
  DOORSTEP_TRY(may_sign(roster, signer));
  return checked(roster, RosterEntryBuilder().add(SequencerItem{successor}).build(roster, signer));
}

}  // namespace doorstep
