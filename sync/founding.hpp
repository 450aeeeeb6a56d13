// The entries that a sequencer makes, as whole actions: found a space, invite, admit, cut, change a role, hand over.
// Every entry was checked against the roster before it is returned: what the roster would refuse comes back as that error.
// The caller stores the entry, appends it to his own roster, and opens his Keyring anew where an epoch began.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sync/invite.hpp"
#include "sync/keys.hpp"

namespace doorstep {

// All but found_space: Code::no_right if `signer` is not the sequencer, Code::waiting if the keyring lacks the newest epoch.

/// A device that is a member from the start, besides the founder's own: the recovery identity, a second desk.
struct FoundingMember {
  DeviceKeys keys;
  std::uint8_t rights = rights_read;
  std::string role;
  std::string label;
};

struct FoundingTerms {
  SpaceKind kind = SpaceKind::village;
  std::string role;  ///< Of the founder's device, the first sequencer.
  std::string label;
  std::vector<FoundingMember> others;
  RightsTable rights;
  std::optional<SchemaItem> schema;
  std::vector<RelayItem::Relay> relays;
};

struct Founding {
  Bytes entry;
  Roster roster;
  Keyring keyring;
};
Result<Founding> found_space(const FoundingTerms& terms, const IdentityKeyPair& authority, const DeviceKeys& device, Random& random);

struct InviteTerms {
  std::string role;
  std::uint8_t rights = rights_read | rights_append;
  std::int64_t expires_ms = 0;           ///< Informative; 0: never.
  std::vector<RelayItem::Relay> relays;  ///< Where to connect first; empty: the roster's. As many as a QR code takes well.
};
struct Invited {
  Bytes entry;
  Invitation invitation;
};
/// A new invitation to one space.
Result<Invited> invite_entry(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer, const InviteTerms& terms,
                             Random& random);
/// The entry that adds another space (of the same authority and sequencer) to an invitation; `terms.relays` is not looked at.
Result<Bytes> invite_also_entry(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer, const InviteTerms& terms,
                                Invitation& invitation);
Result<Bytes> close_invite_entry(const Roster& roster, const IdentityKeyPair& signer, const InviteId& invite);

/// Admits who asked, with the rights that the invitation offers, and hands over the newest epoch's key if it reads.
Result<Bytes> admit_entry(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer, const JoinRequest& request,
                          const std::string& role, const std::string& label);

/// Cuts a device and begins a new epoch without it.
Result<Bytes> cut_entry(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer, const DeviceId& device,
                        const std::vector<LogPosition>& logs, CutReason reason_class, const std::string& reason, Random& random);
/// Another role and rights from these log positions on. Begins a new epoch if the device loses the right to read, hands the key over
/// if it gains it.
Result<Bytes> role_entry(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer, const DeviceId& device,
                         const std::string& role, std::uint8_t rights, const std::vector<LogPosition>& from, Random& random);
/// Begins a new epoch for the readers that stand.
Result<Bytes> rotate_entry(const Roster& roster, const Keyring& keyring, const IdentityKeyPair& signer, Random& random);
/// Names a successor, who signs from the next entry on.
Result<Bytes> hand_over_entry(const Roster& roster, const IdentityKeyPair& signer, const DeviceId& successor);

}  // namespace doorstep
