// What a stranger can hand over: an invitation's text, a join request, and the label inside it.
#include "sync/codec.hpp"
#include "sync/invite.hpp"
#include "sync/keys.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;

std::string base64url_of(ByteView bytes) {
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (const auto byte : bytes) {
    bits = bits << 8 | byte;
    for (held += 8; held >= 6; held -= 6) out += digits[bits >> (held - 6) & 63];
  }
  if (held > 0) out += digits[bits << (6 - held) & 63];
  return out;
}

void read_invitation(std::string_view text, Verdict& verdict) {
  const auto invitation = Invitation::from_uri(text);
  verdict.note(invitation.code());
  if (!invitation) {
    require(!invitation.error().message().empty());
    return;
  }
  const auto uri = invitation->to_uri();
  require(text.find(uri) != std::string_view::npos);  // one invitation, one text
}

void read_request(ByteView bytes, Verdict& verdict) {
  const auto request = JoinRequest::decode(bytes);
  verdict.note(request.code());
  if (!request) return;
  require(equal(request->encode(), bytes));
}

/// A label as only the bearer of an invitation can seal it.
void read_label(ByteView plain, Verdict& verdict) {
  static const TransportKeyPair pair = transport_key_pair_from_secret(std::array<std::uint8_t, 32>{1, 2, 3});
  static const SealingKeyPair sequencer{SealingPublicKey::from(pair.public_key.view()), pair.secret_key.duplicate()};
  JoinRequest request;
  if (plain.size() >= 32) request.keys.identity = DeviceId::from(plain.first(32));
  request.sealed_label = box_seal(sequencer.public_key, plain);
  const auto label = open_label(request, sequencer);
  verdict.note(label.code());
  if (!label) return;
  verdict.note(view(label->label));
  require(label->label.size() <= label_bytes_max && label->role_wish.size() <= role_bytes_max);
}

void run(ByteView input, Verdict& verdict) {
  if (input.empty()) return;
  const ByteView rest = input.subspan(1);
  if (input[0] % 4 == 0) read_invitation(text_view(rest), verdict);
  if (input[0] % 4 == 1) {  // with the right checksum
    Bytes payload = to_bytes(rest);
    append(payload, hash("doorstep/1/invitation", {rest}).view().first(4));
    read_invitation("doorstep://join/" + base64url_of(payload), verdict);
  }
  if (input[0] % 4 == 2) read_request(rest, verdict);
  if (input[0] % 4 == 3) read_label(rest, verdict);
  const auto table = RightsTable::decode(rest);
  verdict.note(table.code());
  if (table) require(equal(table->encode(), rest));
}

const Registration registration({"invite", run});

}  // namespace
