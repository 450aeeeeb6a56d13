// What a stranger can hand over: an invitation's text, a join request, and the label inside it.
#include "sync/codec.hpp"
#include "sync/invite.hpp"
#include "sync/keys.hpp"

namespace {

using namespace doorstep;

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

void read_invitation(std::string_view text) {
  const auto invitation = Invitation::from_uri(text);
  if (!invitation) {
    DOORSTEP_CHECK(!invitation.error().message().empty());
    return;
  }
  const auto uri = invitation->to_uri();
  DOORSTEP_CHECK(text.find(uri) != std::string_view::npos);  // one invitation, one text
}

void read_request(ByteView bytes) {
  const auto request = JoinRequest::decode(bytes);
  if (!request) return;
  DOORSTEP_CHECK(equal(request->encode(), bytes));
}

/// A label as only the bearer of an invitation can seal it.
void read_label(ByteView plain) {
  static const TransportKeyPair pair = transport_key_pair_from_secret(std::array<std::uint8_t, 32>{1, 2, 3});
  static const SealingKeyPair sequencer{SealingPublicKey::from(pair.public_key.view()), pair.secret_key.duplicate()};
  JoinRequest request;
  if (plain.size() >= 32) request.keys.identity = DeviceId::from(plain.first(32));
  request.sealed_label = box_seal(sequencer.public_key, plain);
  if (const auto label = open_label(request, sequencer)) DOORSTEP_CHECK(label->label.size() <= label_bytes_max);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView rest(data + 1, size - 1);
  if (data[0] % 4 == 0) read_invitation(text_view(rest));
  if (data[0] % 4 == 1) {  // with the right checksum
    Bytes payload = to_bytes(rest);
    append(payload, hash("doorstep/1/invitation", {rest}).view().first(4));
    read_invitation("doorstep://join/" + base64url_of(payload));
  }
  if (data[0] % 4 == 2) read_request(rest);
  if (data[0] % 4 == 3) read_label(rest);
  if (const auto table = RightsTable::decode(rest)) DOORSTEP_CHECK(equal(table->encode(), rest));
  return 0;
}
