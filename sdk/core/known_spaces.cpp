#include "sdk/core/known_spaces.hpp"

#include "sdk/store/vault.hpp"
#include "sync/codec.hpp"
#include "sync/roster_items.hpp"

namespace doorstep {

namespace {

constexpr std::uint8_t plain_version = 2;
constexpr std::size_t transport_bytes = 32;
constexpr std::size_t encoded_bytes_max = 1u << 20;
constexpr std::size_t spaces_max = static_cast<std::size_t>(space_number_max);
constexpr std::size_t own_logs_max = 256;
constexpr std::size_t text_bytes_max = 4096;

SymmetricKey key_of(const DatabaseKey& key) { return derive_key(key.key, "doorstep/1/vault-spaces", {key.file_id.view()}); }

// A name that somebody made very long is not worth failing for: such a space comes back without.
void put_text(Encoder& out, const std::string& text) { out.put_bytes(text.size() <= text_bytes_max ? view(text) : ByteView()); }
std::string get_text(Decoder& in) { return std::string(text_view(in.get_bytes(text_bytes_max))); }

}  // namespace

VaultPlain::~VaultPlain() { wipe(transport); }

Bytes encode_vault_plain(const VaultPlain& plain) {
  Encoder out(1 + plain.transport.size() + plain.spaces.size());
  out.put_u8(plain_version);
  out.put_raw(plain.transport);
  out.put_raw(plain.spaces);
  return out.take();
}

Result<VaultPlain> decode_vault_plain(ByteView bytes) {
  Decoder in(bytes);
  VaultPlain out;
  const auto version = in.get_u8();
  if (version != plain_version && version != transport_bytes)  // version 1: the key alone, with its size in front
    return Error(Code::unsupported, "the vault was written by a newer version of the program: update the program. Nothing was changed");
  out.transport = to_bytes(in.get_raw(transport_bytes));
  if (version == plain_version) out.spaces = to_bytes(in.get_raw(in.remaining()));
  DOORSTEP_TRY(in.finish("the vault's plain section"));
  return out;
}

Bytes encode_known_spaces(const std::vector<KnownSpace>& spaces) {
  Encoder out;
  out.put_varint(spaces.size());
  for (const auto& space : spaces) {
    out.put_zigzag(space.n);
    out(space.id);
    put_text(out, space.name);
    put_text(out, space.label);
    put_text(out, space.invitation);
    out(bounded<roster_relays_max>(space.relays), space.roster_size);
    out.put_varint(space.own_logs.size());
    for (const auto& log : space.own_logs) out(log.n, log.incarnation, log.branch, log.starts_after);
  }
  return out.take();
}

Result<std::vector<KnownSpace>> decode_known_spaces(ByteView bytes) {
  std::vector<KnownSpace> out;
  if (bytes.empty()) return out;
  Decoder in(bytes);
  const auto count = in.get_count(spaces_max);
  for (std::size_t i = 0; i < count && !in.failed(); ++i) {
    auto& space = out.emplace_back();
    space.n = in.get_zigzag();
    in(space.id);
    space.name = get_text(in);
    space.label = get_text(in);
    space.invitation = get_text(in);
    in(bounded<roster_relays_max>(space.relays), space.roster_size);
    const auto logs = in.get_count(own_logs_max);
    for (std::size_t k = 0; k < logs && !in.failed(); ++k) {
      auto& log = space.own_logs.emplace_back();
      in(log.n, log.incarnation, log.branch, log.starts_after);
    }
  }
  DOORSTEP_TRY(in.finish("the vault's spaces"));
  return out;
}

Result<Bytes> seal_known_spaces(ByteView encoded, const DatabaseKey& key, Compressor& compressor, Random& random) {
  if (encoded.size() > encoded_bytes_max) return Error(Code::too_large, "the vault cannot keep so many spaces");
  const Nonce nonce = random.make<Nonce>();
  Bytes out = to_bytes(nonce.view());
  append(out, aead_seal(key_of(key), nonce, compressor.compress(encoded), key.file_id.view()));
  if (out.size() + transport_bytes + 1 > vault_plain_bytes_max) return Error(Code::too_large, "the vault cannot keep so many spaces");
  return out;
}

Result<Bytes> open_known_spaces(ByteView sealed, const DatabaseKey& key, Compressor& compressor) {
  if (sealed.empty()) return Bytes();
  constexpr auto nonce_bytes = Nonce::size_bytes;
  if (sealed.size() < nonce_bytes) return Error(Code::corrupt, "the vault's list of spaces is cut off");
  const auto packed = aead_open(key_of(key), Nonce::from(sealed.first(nonce_bytes)), sealed.subspan(nonce_bytes), key.file_id.view());
  if (!packed) return Error(Code::corrupt, "the vault's list of spaces does not open");
  return compressor.decompress(*packed, encoded_bytes_max);
}

}  // namespace doorstep
