// Invitations: how a device that nobody knows yet becomes a member (DESIGN section 7).
//
//   1. The sequencer appends an InviteItem and shows the invitation as a QR code or link. It holds a one-time secret of 32
//      bytes, from which follow, by labels:
//        invite id     names it; not secret                                 "doorstep/1/invite-id", 16 bytes
//        connect psk   lets a stranger connect; the relay reads it in       "doorstep/1/invite-connect"
//                      the roster and learns nothing else
//        proof keys    Ed25519; the roster holds the public half, nobody    "doorstep/1/invite-proof" (the seed)
//                      but the invitation's bearer the other
//   2. The new device makes its own keys, connects with the psk, and sends a join request, signed by the proof key and by its
//      own identity.
//   3. The sequencer checks it against the roster and admits the device (founding.hpp). The first request that is admitted uses
//      the invitation up.
// A relay can withhold a request. It can neither make one nor change one: it never has the proof key.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sync/roster.hpp"

namespace doorstep {

inline constexpr std::size_t invitation_spaces_max = 8;
inline constexpr std::size_t invitation_relays_max = 4;
inline constexpr std::size_t invitation_bytes_max = 1536;  ///< Decoded; a QR code holds it with room to spare.
inline constexpr std::size_t join_request_bytes_max = 2048;

/// What is handed over, in a QR code or a link. Whoever holds it may join: it is a secret until it is used. Move-only.
struct Invitation {
  std::vector<SpaceId> spaces;           ///< 1..8.
  std::vector<RelayItem::Relay> relays;  ///< 0..4 to begin with; the roster has them all.
  Secret<32> secret;
  std::int64_t expires_ms = 0;         ///< Informative; 0: never.
  SealingPublicKey sequencer_sealing;  ///< To seal the label to.
  DeviceId authority;                  ///< Who founded the spaces.

  InviteId id() const;
  SymmetricKey connect_psk() const;
  IdentityKeyPair proof_keys() const;

  /// "doorstep://join/" and base64url without padding of: version u8 = 1; count, spaces 32; count, relays (key 32, count, addresses);
  /// secret 32; expires_ms zigzag; sealing 32; authority 32; checksum 4 (of hash("doorstep/1/invitation", all before)).
  /// Checked: within the bounds above (invite_entry makes no other).
  std::string to_uri() const;
  /// White space around it is ignored. Code::invalid_argument says what is wrong: not an invitation, mistyped, incomplete;
  /// Code::unsupported: made by a newer version.
  static Result<Invitation> from_uri(std::string_view uri);
};

/// What a person who joins says of himself, to the sequencer only.
struct JoinLabel {
  std::string label;      ///< Of the person or the device; at most 256 bytes.
  std::string role_wish;  ///< At most 32 bytes; may be empty.
  bool operator==(const JoinLabel&) const = default;
};

/// A new device's request to be admitted to one space. Its bytes:
///   body    = version u8 = 1, suite u8 = 1, space 32, invite 16, device keys 160, sealed label (bytes, 0..1024)
///   request = body ‖ by_invite 64 (label "doorstep/1/join-invite", over body) ‖ by_identity 64 ("doorstep/1/join-identity", over body)
struct JoinRequest {
  SpaceId space;
  InviteId invite;
  DeviceKeys keys;
  Bytes sealed_label;  ///< Sealed box to the sequencer; empty: nothing said.
  Signature by_invite;
  Signature by_identity;

  /// One for each space of an invitation. Code::invalid_argument: the space is not in it, or the label is too long.
  static Result<JoinRequest> make(const Invitation& invitation, const SpaceId& space, const IdentityKeyPair& identity,
                                  const DeviceKeys& keys, const JoinLabel& label);
  Bytes encode() const;
  /// Code::corrupt, or Code::unsupported for a newer version.
  static Result<JoinRequest> decode(ByteView bytes);
  bool operator==(const JoinRequest&) const = default;
};

/// Whether this request may be admitted to that roster; if not, the error names the reason.
Status verify(const JoinRequest& request, const Roster& roster);

/// Code::unauthenticated: sealed to another device (the sequencer changed since), or made by another device than the request's.
Result<JoinLabel> open_label(const JoinRequest& request, const SealingKeyPair& sequencer);

}  // namespace doorstep
