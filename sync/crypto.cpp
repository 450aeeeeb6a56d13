#include "sync/crypto.hpp"

#include <sodium.h>

#include <bit>
#include <cstring>

#include "sync/lab.hpp"

namespace doorstep {

namespace {

void ensure_sodium() {
  static const int ready = sodium_init();
  DOORSTEP_CHECK(ready >= 0);
}

Hash labelled(ByteView key, std::string_view label, std::initializer_list<ByteView> parts) {
  ensure_sodium();
  DOORSTEP_CHECK(label.size() < 256);
  crypto_generichash_state state;
  crypto_generichash_init(&state, key.data(), key.size(), 32);
  const auto label_size = static_cast<std::uint8_t>(label.size());
  crypto_generichash_update(&state, &label_size, 1);
  crypto_generichash_update(&state, view(label).data(), label.size());
  for (auto part : parts) {
    std::uint8_t size[8];
    for (int i = 0; i < 8; ++i) size[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(part.size()) >> (8 * i));
    crypto_generichash_update(&state, size, 8);
    crypto_generichash_update(&state, part.data(), part.size());
  }
  Hash out;
  crypto_generichash_final(&state, out.data.data(), 32);
  return out;
}

Bytes labelled_message(std::string_view label, ByteView message) {
  DOORSTEP_CHECK(label.size() < 256);
  Bytes out;
  out.reserve(1 + label.size() + message.size());
  out.push_back(static_cast<std::uint8_t>(label.size()));
  append(out, view(label));
  append(out, message);
  return out;
}

// The simulator's suite (lab.hpp); never reached in another build.
void cheap_public_key(std::span<std::uint8_t, 32> out, ByteView secret) {
  const Hash hashed = labelled({}, "lab/public", {secret});
  std::memcpy(out.data(), hashed.data.data(), 32);
}
Signature cheap_signature(ByteView signer, std::string_view label, ByteView message) {
  Signature out;
  blake2b(out.data, {signer, view(label), message});
  return out;
}
void cheap_box(ByteView to, ByteView ephemeral, ByteView in, std::span<std::uint8_t> out) {
  static constexpr std::uint8_t nonce[crypto_stream_chacha20_NONCEBYTES] = {};
  const Hash key = labelled({}, "lab/box", {to, ephemeral});
  crypto_stream_chacha20_xor(out.data(), in.data(), in.size(), nonce, key.data.data());
}
Bytes cheap_box_seal(ByteView to, ByteView plain) {
  Bytes out(plain.size() + box_overhead_bytes);
  randombytes_buf(out.data(), 32);
  const auto body = std::span(out).subspan(32, plain.size());
  cheap_box(to, ByteView(out).first(32), plain, body);
  const Hash tag = labelled({}, "lab/box-tag", {to, ByteView(out).first(32), body});
  std::memcpy(out.data() + 32 + plain.size(), tag.data.data(), aead_tag_bytes);
  return out;
}
std::optional<Bytes> cheap_box_open(ByteView to, ByteView sealed) {
  const ByteView body = sealed.subspan(32, sealed.size() - box_overhead_bytes);
  const Hash tag = labelled({}, "lab/box-tag", {to, sealed.first(32), body});
  if (!equal(ByteView(tag.data).first(aead_tag_bytes), sealed.last(aead_tag_bytes))) return std::nullopt;
  Bytes out(body.size());
  cheap_box(to, sealed.first(32), body, out);
  return out;
}

#ifdef DOORSTEP_LAB
void note_seal(ByteView key, ByteView nonce, ByteView plain) {
  if (lab::seams.on_seal) lab::seams.on_seal(key, nonce, plain);
}
#else
void note_seal(ByteView, ByteView, ByteView) {}
#endif

std::array<std::uint8_t, 12> noise_nonce(std::uint64_t n) {
  std::array<std::uint8_t, 12> out{};
  for (std::size_t i = 0; i < 8; ++i) out[4 + i] = static_cast<std::uint8_t>(n >> (8 * i));
  return out;
}

}  // namespace

Hash hash(std::string_view label, std::initializer_list<ByteView> parts) { return labelled({}, label, parts); }

Hash keyed_hash(const SymmetricKey& key, std::string_view label, std::initializer_list<ByteView> parts) {
  return labelled(key.reveal(), label, parts);
}

SymmetricKey derive_key(const SymmetricKey& key, std::string_view label, std::initializer_list<ByteView> context) {
  Hash out = labelled(key.reveal(), label, context);
  SymmetricKey derived{std::span<const std::uint8_t, 32>(out.data)};
  wipe(out.data);
  return derived;
}

void blake2b(std::span<std::uint8_t> out, std::initializer_list<ByteView> parts) {
  ensure_sodium();
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, out.size());
  for (auto part : parts) crypto_generichash_update(&state, part.data(), part.size());
  crypto_generichash_final(&state, out.data(), out.size());
}

IdentityKeyPair identity_key_pair_from_seed(std::span<const std::uint8_t, 32> seed) {
  ensure_sodium();
  IdentityKeyPair out;
  if (DOORSTEP_LAB_SEAM(cheap)) {
    std::memcpy(out.secret_key.reveal_mutable().data(), seed.data(), 32);
    cheap_public_key(out.public_key.data, seed);
    std::memcpy(out.secret_key.reveal_mutable().data() + 32, out.public_key.data.data(), 32);
    return out;
  }
  crypto_sign_seed_keypair(out.public_key.data.data(), out.secret_key.reveal_mutable().data(), seed.data());
  return out;
}

static void x25519_base(std::span<std::uint8_t, 32> out, ByteView secret) {
  if (DOORSTEP_LAB_SEAM(cheap)) return cheap_public_key(out, secret);
  crypto_scalarmult_base(out.data(), secret.data());
}

IdentityKeyPair make_identity_key_pair(Random& random) {
  Secret<32> seed;
  random.fill(seed.reveal_mutable());
  return identity_key_pair_from_seed(seed.reveal());
}

SealingKeyPair make_sealing_key_pair(Random& random) {
  ensure_sodium();
  SealingKeyPair out;
  random.fill(out.secret_key.reveal_mutable());
  x25519_base(out.public_key.data, out.secret_key.reveal());
  return out;
}

TransportKeyPair transport_key_pair_from_secret(std::span<const std::uint8_t, 32> secret) {
  ensure_sodium();
  TransportKeyPair out;
  out.secret_key = TransportSecretKey(secret);
  x25519_base(out.public_key.data, secret);
  return out;
}

TransportKeyPair make_transport_key_pair(Random& random) {
  Secret<32> secret;
  random.fill(secret.reveal_mutable());
  return transport_key_pair_from_secret(secret.reveal());
}

SymmetricKey make_symmetric_key(Random& random) {
  SymmetricKey out;
  random.fill(out.reveal_mutable());
  return out;
}

Signature sign(const IdentitySecretKey& key, std::string_view label, ByteView message) {
  ensure_sodium();
  if (DOORSTEP_LAB_SEAM(cheap)) return cheap_signature(ByteView(key.reveal()).last(32), label, message);
  const Bytes labelled = labelled_message(label, message);
  Signature out;
  crypto_sign_detached(out.data.data(), nullptr, labelled.data(), labelled.size(), key.reveal().data());
  return out;
}

bool verify(const DeviceId& signer, std::string_view label, ByteView message, const Signature& signature) {
  ensure_sodium();
  if (DOORSTEP_LAB_SEAM(cheap)) return cheap_signature(signer.view(), label, message) == signature;
  const Bytes labelled = labelled_message(label, message);
  return crypto_sign_verify_detached(signature.data.data(), labelled.data(), labelled.size(), signer.data.data()) == 0;
}

Bytes aead_seal(const SymmetricKey& key, const Nonce& nonce, ByteView plain, ByteView associated) {
  ensure_sodium();
  note_seal(key.reveal(), nonce.view(), plain);
  Bytes out(plain.size() + aead_tag_bytes);
  crypto_aead_xchacha20poly1305_ietf_encrypt(out.data(), nullptr, plain.data(), plain.size(), associated.data(), associated.size(), nullptr,
                                             nonce.data.data(), key.reveal().data());
  return out;
}

std::optional<Bytes> aead_open(const SymmetricKey& key, const Nonce& nonce, ByteView sealed, ByteView associated) {
  ensure_sodium();
  if (sealed.size() < aead_tag_bytes) return std::nullopt;
  Bytes out(sealed.size() - aead_tag_bytes);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(out.data(), nullptr, nullptr, sealed.data(), sealed.size(), associated.data(),
                                                 associated.size(), nonce.data.data(), key.reveal().data()) != 0)
    return std::nullopt;
  return out;
}

void aead_seal_detached(const SymmetricKey& key, const Nonce& nonce, ByteView plain, ByteView associated,
                        std::span<std::uint8_t> out_cipher, std::span<std::uint8_t, aead_tag_bytes> out_tag) {
  ensure_sodium();
  note_seal(key.reveal(), nonce.view(), plain);
  DOORSTEP_CHECK(out_cipher.size() == plain.size());
  crypto_aead_xchacha20poly1305_ietf_encrypt_detached(out_cipher.data(), out_tag.data(), nullptr, plain.data(), plain.size(),
                                                      associated.data(), associated.size(), nullptr, nonce.data.data(),
                                                      key.reveal().data());
}

bool aead_open_detached(const SymmetricKey& key, const Nonce& nonce, ByteView cipher, std::span<const std::uint8_t, aead_tag_bytes> tag,
                        ByteView associated, std::span<std::uint8_t> out_plain) {
  ensure_sodium();
  DOORSTEP_CHECK(out_plain.size() == cipher.size());
  return crypto_aead_xchacha20poly1305_ietf_decrypt_detached(out_plain.data(), nullptr, cipher.data(), cipher.size(), tag.data(),
                                                             associated.data(), associated.size(), nonce.data.data(),
                                                             key.reveal().data()) == 0;
}

Bytes box_seal(const SealingPublicKey& to, ByteView plain) {
  ensure_sodium();
  if (DOORSTEP_LAB_SEAM(cheap)) return cheap_box_seal(to.view(), plain);
  Bytes out(plain.size() + box_overhead_bytes);
  // Fails only for a low-order public key; then an all-zero box, which nobody can open, is the honest answer.
  if (crypto_box_seal(out.data(), plain.data(), plain.size(), to.data.data()) != 0) std::fill(out.begin(), out.end(), std::uint8_t{0});
  return out;
}

std::optional<Bytes> box_open(const SealingKeyPair& keys, ByteView sealed) {
  ensure_sodium();
  if (sealed.size() < box_overhead_bytes) return std::nullopt;
  if (DOORSTEP_LAB_SEAM(cheap)) return cheap_box_open(keys.public_key.view(), sealed);
  Bytes out(sealed.size() - box_overhead_bytes);
  if (crypto_box_seal_open(out.data(), sealed.data(), sealed.size(), keys.public_key.data.data(), keys.secret_key.reveal().data()) != 0)
    return std::nullopt;
  return out;
}

std::optional<Secret<32>> x25519(const TransportSecretKey& secret, ByteView public_key) {
  ensure_sodium();
  DOORSTEP_CHECK(public_key.size() == 32);
  Secret<32> out;
  if (DOORSTEP_LAB_SEAM(cheap)) {
    Hash own;
    cheap_public_key(own.data, secret.reveal());
    const bool first = std::memcmp(own.data.data(), public_key.data(), 32) < 0;
    const Hash shared = labelled({}, "lab/agreement", {first ? own.view() : public_key, first ? public_key : own.view()});
    std::memcpy(out.reveal_mutable().data(), shared.data.data(), 32);
    return out;
  }
  if (crypto_scalarmult(out.reveal_mutable().data(), secret.reveal().data(), public_key.data()) != 0) return std::nullopt;
  return out;
}

void noise_encrypt(const Secret<32>& key, std::uint64_t n, ByteView associated, ByteView plain, std::span<std::uint8_t> out) {
  ensure_sodium();
  DOORSTEP_CHECK(out.size() == plain.size() + 16);
  const auto nonce = noise_nonce(n);
  note_seal(key.reveal(), nonce, plain);
  crypto_aead_chacha20poly1305_ietf_encrypt(out.data(), nullptr, plain.data(), plain.size(), associated.data(), associated.size(), nullptr,
                                            nonce.data(), key.reveal().data());
}

bool noise_decrypt(const Secret<32>& key, std::uint64_t n, ByteView associated, ByteView sealed, std::span<std::uint8_t> out) {
  ensure_sodium();
  if (sealed.size() < 16) return false;
  DOORSTEP_CHECK(out.size() == sealed.size() - 16);
  const auto nonce = noise_nonce(n);
  return crypto_aead_chacha20poly1305_ietf_decrypt(out.data(), nullptr, nullptr, sealed.data(), sealed.size(), associated.data(),
                                                   associated.size(), nonce.data(), key.reveal().data()) == 0;
}

Result<SymmetricKey> argon2id(ByteView passphrase, const Argon2Salt& salt, const Argon2Parameters& parameters) {
  ensure_sodium();
  if (DOORSTEP_LAB_SEAM(cheap_passphrases)) {
    const Hash key = labelled({}, "lab/passphrase", {passphrase, salt.view()});
    return SymmetricKey(std::span<const std::uint8_t, 32>(key.data));
  }
  SymmetricKey out;
  if (crypto_pwhash(out.reveal_mutable().data(), 32, reinterpret_cast<const char*>(passphrase.data()), passphrase.size(), salt.data.data(),
                    parameters.passes, std::size_t{parameters.memory_kib} * 1024, crypto_pwhash_ALG_ARGON2ID13) != 0)
    return Error(Code::full, "not enough memory to check the passphrase (" + std::to_string(parameters.memory_kib / 1024) +
                                 " MiB needed): close other programs and try again");
  return out;
}

Bytes derived_stream(const SymmetricKey& key, std::string_view label, std::initializer_list<ByteView> context, std::size_t size) {
  ensure_sodium();
  static constexpr std::uint8_t nonce[crypto_stream_chacha20_NONCEBYTES] = {};
  Hash derived = labelled(key.reveal(), label, context);
  Bytes out(size);
  crypto_stream_chacha20(out.data(), out.size(), nonce, derived.data.data());
  wipe(derived.data);
  return out;
}

bool equal_secret(ByteView a, ByteView b) { return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0; }

void SystemRandom::fill(std::span<std::uint8_t> out) {
  ensure_sodium();
  randombytes_buf(out.data(), out.size());
}

void MultisetHash::mix(const Hash& element, bool add) {
  static constexpr std::uint8_t nonce[crypto_stream_chacha20_NONCEBYTES] = {};
  std::array<std::uint8_t, state_bytes> stream;
  crypto_stream_chacha20(stream.data(), stream.size(), nonce, element.data.data());
  // Two plain loops over whole lanes: compilers make vector code of them.
  std::array<std::uint16_t, state_bytes / 2> lanes;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(lanes.data(), stream.data(), stream.size());
  } else {
    for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i] = static_cast<std::uint16_t>(stream[2 * i] | stream[2 * i + 1] << 8);
  }
  if (add)
    for (std::size_t i = 0; i < lanes.size(); ++i) lanes_[i] = static_cast<std::uint16_t>(lanes_[i] + lanes[i]);
  else
    for (std::size_t i = 0; i < lanes.size(); ++i) lanes_[i] = static_cast<std::uint16_t>(lanes_[i] - lanes[i]);
}

Bytes MultisetHash::state() const {
  Bytes out(state_bytes);
  if constexpr (std::endian::native == std::endian::little) return std::memcpy(out.data(), lanes_.data(), state_bytes), out;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    out[2 * i] = static_cast<std::uint8_t>(lanes_[i]);
    out[2 * i + 1] = static_cast<std::uint8_t>(lanes_[i] >> 8);
  }
  return out;
}

Result<MultisetHash> MultisetHash::from_state(ByteView state) {
  if (state.size() != state_bytes)
    return Error(Code::corrupt, "a state digest has " + std::to_string(state.size()) + " bytes instead of 2048");
  MultisetHash out;
  for (std::size_t i = 0; i < out.lanes_.size(); ++i) out.lanes_[i] = static_cast<std::uint16_t>(state[2 * i] | state[2 * i + 1] << 8);
  return out;
}

Hash MultisetHash::digest() const { return hash("doorstep/1/state-digest", {ByteView(state())}); }

}  // namespace doorstep
