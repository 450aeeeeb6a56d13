// Typed wrappers over libsodium: the only cryptography in Doorstep. Every hash, signature and derived key carries a
// label, so that bytes made for one purpose can never be shown as another (Matrix 2022, SECURITY.md).
// All functions are pure but for those that take a Random. Thread-safe.
//
// Suite 1 ("libsodium"): BLAKE2b-256, Ed25519, X25519, XChaCha20-Poly1305 (IETF), Argon2id. No other suite exists.
#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>

#include "sync/env.hpp"
#include "sync/ids.hpp"
#include "sync/secret.hpp"

namespace doorstep {

inline constexpr std::uint8_t suite_libsodium = 1;  ///< The algorithm id that stands in every envelope.

using SymmetricKey = Secret<32>;
using IdentitySecretKey = Secret<64>;   ///< Ed25519 (seed ‖ public key, as libsodium keeps it).
using SealingSecretKey = Secret<32>;    ///< X25519.
using TransportSecretKey = Secret<32>;  ///< X25519.
using Nonce = FixedBytes<struct NonceTag, 24>;

inline constexpr std::size_t aead_tag_bytes = 16;
inline constexpr std::size_t box_overhead_bytes = 48;  ///< Of a sealed box.

/// BLAKE2b-256 over: u8 length of label, label, then per part u64le length and the part. Unambiguous for any parts.
Hash hash(std::string_view label, std::initializer_list<ByteView> parts);
/// The same construction, keyed (a MAC, a salt, or a pseudo-random function).
Hash keyed_hash(const SymmetricKey& key, std::string_view label, std::initializer_list<ByteView> parts);
/// A key for one purpose from another: keyed_hash as a KDF.
SymmetricKey derive_key(const SymmetricKey& key, std::string_view label, std::initializer_list<ByteView> context = {});

/// Unlabelled BLAKE2b for Noise only (RFC 7693), `out` of 32 or 64 bytes.
void blake2b(std::span<std::uint8_t> out, std::initializer_list<ByteView> parts);

struct IdentityKeyPair {
  DeviceId public_key;
  IdentitySecretKey secret_key;
};
struct SealingKeyPair {
  SealingPublicKey public_key;
  SealingSecretKey secret_key;
};
struct TransportKeyPair {
  TransportPublicKey public_key;
  TransportSecretKey secret_key;
};
IdentityKeyPair make_identity_key_pair(Random& random);
IdentityKeyPair identity_key_pair_from_seed(std::span<const std::uint8_t, 32> seed);
SealingKeyPair make_sealing_key_pair(Random& random);
TransportKeyPair make_transport_key_pair(Random& random);
TransportKeyPair transport_key_pair_from_secret(std::span<const std::uint8_t, 32> secret);
SymmetricKey make_symmetric_key(Random& random);

/// Ed25519 over u8 length of label, label, message.
Signature sign(const IdentitySecretKey& key, std::string_view label, ByteView message);
[[nodiscard]] bool verify(const DeviceId& signer, std::string_view label, ByteView message, const Signature& signature);

/// XChaCha20-Poly1305: ciphertext ‖ 16-byte tag. The caller answers for (key, nonce) never meeting two plaintexts.
Bytes aead_seal(const SymmetricKey& key, const Nonce& nonce, ByteView plain, ByteView associated);
[[nodiscard]] std::optional<Bytes> aead_open(const SymmetricKey& key, const Nonce& nonce, ByteView sealed, ByteView associated);
/// The same without allocation, ciphertext and tag apart; `out_cipher` and `out_plain` have the size of the input and may be the input.
void aead_seal_detached(const SymmetricKey& key, const Nonce& nonce, ByteView plain, ByteView associated,
                        std::span<std::uint8_t> out_cipher, std::span<std::uint8_t, aead_tag_bytes> out_tag);
[[nodiscard]] bool aead_open_detached(const SymmetricKey& key, const Nonce& nonce, ByteView cipher,
                                      std::span<const std::uint8_t, aead_tag_bytes> tag, ByteView associated,
                                      std::span<std::uint8_t> out_plain);

/// libsodium sealed box: anonymous sender, no associated data (the context goes inside the plaintext).
Bytes box_seal(const SealingPublicKey& to, ByteView plain);
[[nodiscard]] std::optional<Bytes> box_open(const SealingKeyPair& keys, ByteView sealed);

/// X25519. nullopt for a low-order point (all-zero result): the caller ends the session.
[[nodiscard]] std::optional<Secret<32>> x25519(const TransportSecretKey& secret, ByteView public_key);

/// ChaCha20-Poly1305 (RFC 8439), for Noise only: nonce = 4 zero bytes ‖ u64le n.
void noise_encrypt(const Secret<32>& key, std::uint64_t n, ByteView associated, ByteView plain, std::span<std::uint8_t> out);
[[nodiscard]] bool noise_decrypt(const Secret<32>& key, std::uint64_t n, ByteView associated, ByteView sealed, std::span<std::uint8_t> out);

/// Argon2id v1.3, parallelism 1 (RFC 9106).
struct Argon2Parameters {
  std::uint32_t memory_kib = 0;
  std::uint32_t passes = 0;
  auto operator<=>(const Argon2Parameters&) const = default;
};
using Argon2Salt = FixedBytes<struct Argon2SaltTag, 16>;
/// Code::full if the memory cannot be had. Takes tens of milliseconds here, about a second on a phone.
Result<SymmetricKey> argon2id(ByteView passphrase, const Argon2Salt& salt, const Argon2Parameters& parameters);

/// `size` bytes of the ChaCha20 stream of derive_key(key, label, context). That key serves for nothing else and never stands in
/// guarded memory, which costs ten system calls.
Bytes derived_stream(const SymmetricKey& key, std::string_view label, std::initializer_list<ByteView> context, std::size_t size);

/// Constant-time comparison.
bool equal_secret(ByteView a, ByteView b);

/// The operating system's random generator, through libsodium.
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override;
};

/// A collision-resistant multiset hash (LtHash16, 1,024 lanes of 16 bits; Bellare and Micciancio 1997, Lewi et al. 2019):
/// add and remove commute, so replicas with equal sets agree whatever the order. An element's lanes are the ChaCha20
/// stream under its BLAKE2b hash.
class MultisetHash {
 public:
  static constexpr std::size_t state_bytes = 2048;
  void add(const Hash& element) { mix(element, true); }
  void remove(const Hash& element) { mix(element, false); }
  /// The 2,048 bytes, little-endian lanes, for storing.
  Bytes state() const;
  static Result<MultisetHash> from_state(ByteView state);
  Hash digest() const;
  bool operator==(const MultisetHash&) const = default;

 private:
  void mix(const Hash& element, bool add);
  std::array<std::uint16_t, 1024> lanes_{};
};

}  // namespace doorstep
