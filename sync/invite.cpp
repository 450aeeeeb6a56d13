// The bytes stand in invite.hpp. A sealed label's plaintext: device identity 32, label (bytes 0..256), role wish (bytes 0..32),
// zeros up to a multiple of 64 (names must not show by their length). The identity ties it to the request.
#include "sync/invite.hpp"

#include <algorithm>

#include "sync/codec.hpp"
#include "sync/keys.hpp"
#include "sync/roster_items.hpp"

namespace doorstep {

namespace {

constexpr std::string_view uri_prefix = "doorstep://join/";
constexpr std::uint8_t invitation_version = 1;
constexpr std::uint8_t join_request_version = 1;
constexpr std::size_t checksum_bytes = 4;
constexpr std::size_t sealed_label_bytes_max = 1024;
constexpr std::size_t label_padding_bytes = 64;
constexpr std::string_view base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static_assert(2 + 32 + 16 + 160 + 2 + sealed_label_bytes_max + 128 <= join_request_bytes_max);

std::string to_base64url(ByteView bytes) {
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (const auto byte : bytes) {
    bits = bits << 8 | byte;
    for (held += 8; held >= 6; held -= 6) out += base64url[bits >> (held - 6) & 63];
  }
  if (held > 0) out += base64url[bits << (6 - held) & 63];
  return out;
}

Result<Bytes> from_base64url(std::string_view text) {
  Bytes out;
  std::uint32_t bits = 0;
  int held = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = base64url.find(text[i]);
    if (digit == std::string_view::npos)
      return Error(Code::invalid_argument, "the invitation has a character that does not belong there (number " + std::to_string(i + 1) +
                                               " after the last slash): copy or scan it again");
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    if ((held += 6) >= 8) {
      held -= 8;
      out.push_back(static_cast<std::uint8_t>(bits >> held));
    }
  }
  if (held == 6 || (bits & ((1u << held) - 1)) != 0)
    return Error(Code::invalid_argument, "the invitation's last character is wrong or missing: copy or scan it again");
  return out;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view white = " \t\r\n\v\f";
  const auto from = text.find_first_not_of(white);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(white) - from + 1);
}

Bytes checksum(ByteView bytes) { return to_bytes(hash("doorstep/1/invitation", {bytes}).view().first(checksum_bytes)); }

Bytes encoded(const Invitation& invitation) {
  DOORSTEP_CHECK(!invitation.spaces.empty());
  Encoder out;
  out.put_u8(invitation_version);
  out(bounded<invitation_spaces_max>(invitation.spaces), bounded<invitation_relays_max>(invitation.relays));
  out.put_raw(invitation.secret.reveal());
  out(invitation.expires_ms, invitation.sequencer_sealing, invitation.authority);
  Bytes bytes = out.take();
  append(bytes, checksum(bytes));
  DOORSTEP_CHECK(bytes.size() <= invitation_bytes_max);
  return bytes;
}

/// From bytes whose checksum and version hold.
Result<Invitation> decoded(ByteView bytes) {
  Decoder in(bytes);
  Invitation out;
  in.get_u8();
  in(bounded<invitation_spaces_max>(out.spaces), bounded<invitation_relays_max>(out.relays));
  const auto secret = in.get_raw(32);
  in(out.expires_ms, out.sequencer_sealing, out.authority);
  if (!in.failed() && out.spaces.empty()) in.fail("names no space");
  for (const auto& relay : out.relays)
    for (const auto& address : relay.addresses)
      if (address.empty() || !is_valid_text(address)) in.fail("an address is empty or not text");
  if (auto status = in.finish("the invitation"); !status)
    return Error(Code::invalid_argument, status.error().message() + ": ask for a new one");
  out.secret = Secret<32>(secret.first<32>());
  return out;
}

Bytes request_body(const JoinRequest& request) {
  DOORSTEP_CHECK(request.sealed_label.size() <= sealed_label_bytes_max);
  Encoder out;
  out.put_u8(join_request_version);
  out.put_u8(suite_libsodium);
  out(request.space, request.invite, request.keys, bounded<sealed_label_bytes_max>(request.sealed_label));
  return out.take();
}

constexpr std::string_view by_invite_label = "doorstep/1/join-invite";
constexpr std::string_view by_identity_label = "doorstep/1/join-identity";

}  // namespace

// ---- Invitation

InviteId Invitation::id() const {
  return InviteId::from(keyed_hash(secret, "doorstep/1/invite-id", {}).view().first(InviteId::size_bytes));
}
SymmetricKey Invitation::connect_psk() const { return derive_key(secret, "doorstep/1/invite-connect"); }
IdentityKeyPair Invitation::proof_keys() const {
  const SymmetricKey seed = derive_key(secret, "doorstep/1/invite-proof");
  return identity_key_pair_from_seed(seed.reveal());
}

std::string Invitation::to_uri() const {
  Bytes bytes = encoded(*this);
  std::string out = std::string(uri_prefix) + to_base64url(bytes);
  wipe(bytes);
  return out;
}

Result<Invitation> Invitation::from_uri(std::string_view uri) {
  const auto text = trimmed(uri);
  if (text.substr(0, uri_prefix.size()) != uri_prefix)
    return Error(Code::invalid_argument, "this is not an invitation: one begins with " + std::string(uri_prefix));
  if (text.size() > uri_prefix.size() + (invitation_bytes_max * 4 + 2) / 3)
    return Error(Code::invalid_argument, "this is longer than an invitation can be: copy or scan it again");
  DOORSTEP_ASSIGN(Bytes bytes, from_base64url(text.substr(uri_prefix.size())));
  if (bytes.size() <= checksum_bytes) return Error(Code::invalid_argument, "the invitation is not complete: copy or scan it again");
  const auto all = ByteView(bytes);
  const auto payload = all.first(bytes.size() - checksum_bytes);
  if (!equal(checksum(payload), all.last(checksum_bytes)))
    return Error(Code::invalid_argument, "the invitation is mistyped or not complete: copy or scan it again");
  if (bytes[0] != invitation_version)
    return Error(Code::unsupported, "the invitation was made by a newer version of Doorstep: update this app first");
  auto out = decoded(payload);
  wipe(bytes);
  return out;
}

// ---- Join request

Result<JoinRequest> JoinRequest::make(const Invitation& invitation, const SpaceId& space, const IdentityKeyPair& identity,
                                      const DeviceKeys& keys, const JoinLabel& label) {
  if (std::find(invitation.spaces.begin(), invitation.spaces.end(), space) == invitation.spaces.end())
    return Error(Code::invalid_argument, "the invitation is not for this space");
  if (keys.identity != identity.public_key) return Error(Code::invalid_argument, "the device keys are not those of this identity");
  if (label.label.size() > label_bytes_max || label.role_wish.size() > role_bytes_max)
    return Error(Code::invalid_argument, "the name may have 256 bytes and the role 32: shorten them");
  Encoder plain;
  plain(identity.public_key, bounded<label_bytes_max>(label.label), bounded<role_bytes_max>(label.role_wish));
  while (plain.size() % label_padding_bytes != 0) plain.put_u8(0);
  JoinRequest out;
  out.space = space;
  out.invite = invitation.id();
  out.keys = keys;
  out.sealed_label = box_seal(invitation.sequencer_sealing, plain.bytes());
  const Bytes body = request_body(out);
  out.by_invite = sign(invitation.proof_keys().secret_key, by_invite_label, body);
  out.by_identity = sign(identity.secret_key, by_identity_label, body);
  return out;
}

Bytes JoinRequest::encode() const {
  Bytes out = request_body(*this);
  append(out, by_invite.view());
  append(out, by_identity.view());
  return out;
}

Result<JoinRequest> JoinRequest::decode(ByteView bytes) {
  if (bytes.size() > join_request_bytes_max) return Error(Code::too_large, "a join request is larger than join_request_bytes_max");
  Decoder in(bytes);
  const auto version = in.get_u8();
  const auto suite = in.get_u8();
  if (!in.failed() && (version != join_request_version || suite != suite_libsodium))
    return Error(Code::unsupported, "the join request was made by a newer version of Doorstep: update this one to admit the device");
  JoinRequest out;
  in(out.space, out.invite, out.keys, bounded<sealed_label_bytes_max>(out.sealed_label), out.by_invite, out.by_identity);
  DOORSTEP_TRY(in.finish("the join request"));
  return out;
}

Status verify(const JoinRequest& request, const Roster& roster) {
  if (request.space != roster.space()) return Error(Code::protocol, "the join request is for another space");
  if (roster.invite_was_closed(request.invite))
    return Error(Code::already_exists, "the invitation was used or closed already: make a new one for this device");
  const InviteItem* invite = roster.invite(request.invite);
  if (!invite) return Error(Code::not_found, "the join request names an invitation that this space never made");
  const Bytes body = request_body(request);
  if (!verify(invite->proof_key, by_invite_label, body, request.by_invite))
    return Error(Code::unauthenticated, "the join request does not prove that its sender holds the invitation");
  if (!certificate_holds(request.keys))
    return Error(Code::unauthenticated, "the device's identity did not certify its other keys (certificate)");
  if (!verify(request.keys.identity, by_identity_label, body, request.by_identity))
    return Error(Code::unauthenticated, "the join request is not signed by the device's identity");
  if (roster.member(request.keys.identity))
    return Error(Code::already_exists, "the device was admitted before; one that returns comes with a new identity");
  if (roster.member_by_transport(request.keys.transport))
    return Error(Code::already_exists, "the device's transport key is another device's: it has to make its own");
  return {};
}

Result<JoinLabel> open_label(const JoinRequest& request, const SealingKeyPair& sequencer) {
  if (request.sealed_label.empty()) return JoinLabel{};
  const auto plain = box_open(sequencer, request.sealed_label);
  if (!plain)
    return Error(Code::unauthenticated,
                 "the name in the join request is sealed to another device: the sequencer changed since the invitation");
  Decoder in(*plain);
  JoinLabel out;
  DeviceId device;
  in(device, bounded<label_bytes_max>(out.label), bounded<role_bytes_max>(out.role_wish));
  while (!in.failed() && in.remaining() > 0)
    if (in.get_u8() != 0) in.fail("has more than padding after its end");
  if (!is_valid_text(out.label) || !is_valid_text(out.role_wish)) in.fail("is not text");
  DOORSTEP_TRY(in.finish("the name in the join request"));
  if (device != request.keys.identity)
    return Error(Code::unauthenticated, "the name in the join request was sealed by another device than the one that asks");
  return out;
}

}  // namespace doorstep
