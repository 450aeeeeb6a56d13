// The Noise protocol framework, revision 34, for one suite: Noise_*_25519_ChaChaPoly_BLAKE2b. Patterns are data (noise.cpp);
// the three objects are those of the specification, section 5. Nothing here knows a socket, a clock or a frame.
//
// Not thread-safe. Every failed read ends the handshake: the object refuses everything after it.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "sync/crypto.hpp"

namespace doorstep::noise {

inline constexpr std::size_t message_bytes_max = 65535;  ///< Specification, section 3.
inline constexpr std::size_t tag_bytes = 16;
inline constexpr std::size_t hash_bytes = 64;
inline constexpr std::size_t key_bytes = 32;
inline constexpr std::size_t psks_max = 4;

using HashValue = std::array<std::uint8_t, hash_bytes>;

// Patterns -------------------------------------------------------------------------------------------------------------

enum class Token : std::uint8_t { none, e, s, ee, es, se, ss, psk };

/// Six are needed at most: Xpsk0+psk1 is psk e es s ss psk.
using Tokens = std::array<Token, 8>;

/// A handshake pattern with its psk modifiers applied: messages alternate, the initiator's first.
struct Pattern {
  std::array<char, 24> name{};   ///< "XKpsk3", zero-filled.
  bool initiator_known = false;  ///< Pre-message -> s
  bool responder_known = false;  ///< Pre-message <- s
  bool one_way = false;
  std::uint8_t message_count = 0;
  std::uint8_t psk_count = 0;
  std::array<Tokens, 4> messages{};

  std::string_view name_view() const { return {name.data()}; }
  /// True if our side sends or has sent (pre-message) its static key.
  bool uses_static(bool initiator) const;
};

/// "XX", "K1N", "XKpsk3", "XXpsk0+psk3". Code::unsupported for anything else.
Result<Pattern> parse_pattern(std::string_view name);

/// The names without modifiers, for tests and documents.
std::span<const std::string_view> pattern_names();

// Objects --------------------------------------------------------------------------------------------------------------

/// A key and a counter. Without a key it copies.
class CipherState {
 public:
  CipherState() = default;
  explicit CipherState(Secret<key_bytes> key) : key_(std::move(key)) {}

  bool has_key() const { return key_.has_value(); }
  /// INITIALIZEKEY: another key, the counter at 0. Keeps the guarded page, which costs system calls to make.
  void set_key(std::span<const std::uint8_t, key_bytes> key);
  std::uint64_t nonce() const { return nonce_; }
  /// Out-of-order transports and tests.
  void set_nonce(std::uint64_t nonce) { nonce_ = nonce; }

  /// `out` has tag_bytes more than `plain` (as many without a key) and may start where `plain` starts.
  /// Code::full when the 2^64 - 1 messages of this key are used up; nothing was written then.
  Status encrypt(ByteView associated, ByteView plain, std::span<std::uint8_t> out);
  /// The inverse. Code::unauthenticated if the bytes are not the peer's next message; the counter then stays.
  Status decrypt(ByteView associated, ByteView sealed, std::span<std::uint8_t> out);
  /// REKEY; the counter goes on. Only with a key.
  void rekey();
  /// Wipes the key.
  void forget() { key_.reset(); }

 private:
  std::optional<Secret<key_bytes>> key_;
  std::uint64_t nonce_ = 0;
};

class SymmetricState {
 public:
  explicit SymmetricState(std::string_view protocol_name);

  void mix_hash(ByteView data);
  void mix_key(ByteView input);
  void mix_key_and_hash(ByteView input);
  /// Appends to `out`.
  Status encrypt_and_hash(ByteView plain, Bytes& out);
  Status decrypt_and_hash(ByteView sealed, Bytes& plain);
  /// The two transport keys: initiator's direction first.
  std::pair<CipherState, CipherState> split() const;
  bool has_key() const { return cipher_.has_key(); }
  const HashValue& hash() const { return hash_; }

 private:
  CipherState cipher_;
  Secret<hash_bytes> chaining_key_;
  HashValue hash_{};
};

/// What a handshake starts from. What the pattern does not use is ignored, but for remote_static.
struct HandshakeConfig {
  Pattern pattern;
  bool initiator = true;
  ByteView prologue;  ///< Read by the constructor only.
  std::optional<TransportKeyPair> own_static;
  std::optional<TransportPublicKey> remote_static;  ///< If the pattern has it as a pre-message.
  std::optional<TransportKeyPair> ephemeral;        ///< For vectors; else made from `random`.
  Random* random = nullptr;                         ///< Must outlive the handshake.
};

class HandshakeState {
 public:
  /// Code::invalid_argument if a key that the pattern needs is missing, or one it learns in the handshake is given.
  static Result<HandshakeState> start(HandshakeConfig config);

  /// The next psk in the order of the pattern's tokens; may come late, but before the message that mixes it.
  Status add_psk(const SymmetricKey& psk);

  /// Our turn: the message. Code::too_large if it would pass message_bytes_max: then nothing happened.
  Result<Bytes> write_message(ByteView payload);
  /// The peer's turn: the payload. protocol: not of the pattern's shape; unauthenticated: not from who we think, or other
  /// keys, psk, prologue or transcript.
  Result<Bytes> read_message(ByteView message);

  bool my_turn() const { return !done() && (next_ % 2 == 0) == initiator_; }
  /// True if the next message mixes a psk that add_psk has not brought yet.
  bool needs_psk() const;
  bool done() const { return next_ == pattern_.message_count; }
  /// The bytes of the next message around its payload. Only if !done().
  std::size_t next_overhead_bytes() const;

  /// The peer's static key: once known. Proven only by what follows in the pattern.
  const std::optional<TransportPublicKey>& remote_static() const { return remote_static_; }
  const HashValue& handshake_hash() const { return symmetric_.hash(); }

  struct Transport {
    CipherState sending;  ///< Without a key where a one-way pattern has no such direction.
    CipherState receiving;
  };
  /// Only if done(), and once. The handshake's secrets go with the object.
  Transport split();

 private:
  explicit HandshakeState(HandshakeConfig&& config);
  void mix_pre_messages(ByteView prologue);
  Status write_token(Token token, Bytes& out);
  Status read_token(Token token, ByteView& message);
  Status mix_shared(Token token);
  Status mix_psk();
  void mix_ephemeral(ByteView public_key);

  Pattern pattern_;
  bool initiator_;
  bool failed_ = false;
  std::uint8_t next_ = 0;
  std::uint8_t psks_mixed_ = 0;
  SymmetricState symmetric_;
  std::optional<TransportKeyPair> own_static_;
  std::optional<TransportKeyPair> own_ephemeral_;
  std::optional<TransportPublicKey> remote_static_;
  std::optional<TransportPublicKey> remote_ephemeral_;
  std::array<std::optional<SymmetricKey>, psks_max> psks_;
  std::uint8_t psks_given_ = 0;
  Random* random_;
};

}  // namespace doorstep::noise
