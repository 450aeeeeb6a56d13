// Noise, revision 34: patterns, and the rules that turn a pattern into messages.
//
// A handshake message, for each token of its pattern line in order, then the payload:
//   e             32 bytes, the ephemeral public key, in the clear; mixed into h (and, with any psk, into ck)
//   s             32 bytes + 16 if a key is set: the static public key, sealed
//   ee es se ss   nothing: X25519 of the named keys (initiator's first) is mixed into ck, and sets a key
//   psk           nothing: the pre-shared key is mixed into ck and h, and sets a key
//   payload       n bytes + 16 if a key is set
//
// HASH is BLAKE2b-512 (64 bytes, block 128); HMAC is RFC 2104 over it, not keyed BLAKE2b, which would not interoperate.
//
// Invariants
//   1. h covers the protocol name, the prologue, the pre-messages and every byte of every message, in order.
//   2. A (key, nonce) pair seals once: the nonce only rises, and 2^64 - 1 belongs to REKEY alone.
//   3. After a failed read or write no method succeeds again (failed_), and nothing of a failed message is returned.
//   4. An all-zero X25519 result ends the handshake, so a low-order point never becomes a key.
//   5. A static or ephemeral key is sent or read at most once, since no line of the table repeats one.
#include "sync/noise.hpp"

#include <algorithm>

namespace doorstep::noise {

namespace {

// The patterns of the specification, sections 7.4, 7.5 and 18. Pre-messages: which static keys are known beforehand.
struct PatternRow {
  std::string_view name;
  std::string_view known;     ///< "i": the initiator's, "r": the responder's.
  std::string_view messages;  ///< Lines separated by '|', the initiator's first.
};

constexpr PatternRow pattern_rows[] = {
    {"N", "r", "e es"},
    {"K", "ir", "e es ss"},
    {"X", "r", "e es s ss"},

    {"NN", "", "e|e ee"},
    {"NK", "r", "e es|e ee"},
    {"NX", "", "e|e ee s es"},
    {"KN", "i", "e|e ee se"},
    {"KK", "ir", "e es ss|e ee se"},
    {"KX", "i", "e|e ee se s es"},
    {"XN", "", "e|e ee|s se"},
    {"XK", "r", "e es|e ee|s se"},
    {"XX", "", "e|e ee s es|s se"},
    {"IN", "", "e s|e ee se"},
    {"IK", "r", "e es s ss|e ee se"},
    {"IX", "", "e s|e ee se s es"},

    // Deferred: a 1 after a letter moves that party's authentication one message later.
    {"NK1", "r", "e|e ee es"},
    {"NX1", "", "e|e ee s|es"},
    {"X1N", "", "e|e ee|s|se"},
    {"X1K", "r", "e es|e ee|s|se"},
    {"XK1", "r", "e|e ee es|s se"},
    {"X1K1", "r", "e|e ee es|s|se"},
    {"X1X", "", "e|e ee s es|s|se"},
    {"XX1", "", "e|e ee s|es s se"},
    {"X1X1", "", "e|e ee s|es s|se"},
    {"K1N", "i", "e|e ee|se"},
    {"K1K", "ir", "e es|e ee|se"},
    {"KK1", "ir", "e|e ee se es"},
    {"K1K1", "ir", "e|e ee es|se"},
    {"K1X", "i", "e|e ee s es|se"},
    {"KX1", "i", "e|e ee se s|es"},
    {"K1X1", "i", "e|e ee s|se es"},
    {"I1N", "", "e s|e ee|se"},
    {"I1K", "r", "e es s|e ee|se"},
    {"IK1", "r", "e s|e ee se es"},
    {"I1K1", "r", "e s|e ee es|se"},
    {"I1X", "", "e s|e ee s es|se"},
    {"IX1", "", "e s|e ee se s|es"},
    {"I1X1", "", "e s|e ee s|se es"},
};

constexpr auto pattern_name_list = [] {
  std::array<std::string_view, std::size(pattern_rows)> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = pattern_rows[i].name;
  return out;
}();

constexpr std::string_view suite_name = "_25519_ChaChaPoly_BLAKE2b";
constexpr std::uint64_t nonce_reserved = ~std::uint64_t{0};
constexpr std::size_t hash_block_bytes = 128;

Token token_of(std::string_view word) {
  if (word == "e") return Token::e;
  if (word == "s") return Token::s;
  if (word == "ee") return Token::ee;
  if (word == "es") return Token::es;
  if (word == "se") return Token::se;
  if (word == "ss") return Token::ss;
  DOORSTEP_CHECK(false);
}

/// Cuts `text` at the first `separator`; what stands before it is returned.
std::string_view next_word(std::string_view& text, char separator) {
  const auto end = std::min(text.find(separator), text.size());
  const auto word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

void append_token(Tokens& tokens, Token token) {
  const auto free = std::find(tokens.begin(), tokens.end(), Token::none);
  DOORSTEP_CHECK(free != tokens.end());
  *free = token;
}

Pattern from_row(const PatternRow& row) {
  Pattern out;
  out.initiator_known = row.known.find('i') != std::string_view::npos;
  out.responder_known = row.known.find('r') != std::string_view::npos;
  auto lines = row.messages;
  while (!lines.empty()) {
    auto line = next_word(lines, '|');
    while (!line.empty()) append_token(out.messages[out.message_count], token_of(next_word(line, ' ')));
    ++out.message_count;
  }
  out.one_way = out.message_count == 1;
  return out;
}

/// psk0 opens the first message, pskN closes message N (section 9.4).
void add_psk_token(Pattern& pattern, std::size_t number) {
  auto& tokens = pattern.messages[number == 0 ? 0 : number - 1];
  append_token(tokens, Token::psk);
  if (number == 0) {
    const auto psk = std::find(tokens.begin(), tokens.end(), Token::psk);
    std::rotate(tokens.begin(), psk, psk + 1);
  }
  ++pattern.psk_count;
}

HashValue hmac(ByteView key, std::initializer_list<ByteView> parts) {
  DOORSTEP_CHECK(key.size() <= hash_block_bytes && parts.size() <= 2);
  std::array<std::uint8_t, hash_block_bytes> inner_pad;
  std::array<std::uint8_t, hash_block_bytes> outer_pad;
  for (std::size_t i = 0; i < hash_block_bytes; ++i) {
    const std::uint8_t byte = i < key.size() ? key[i] : 0;
    inner_pad[i] = byte ^ 0x36;
    outer_pad[i] = byte ^ 0x5c;
  }
  HashValue inner;
  HashValue out;
  const ByteView none;
  blake2b(inner, {inner_pad, parts.size() > 0 ? *parts.begin() : none, parts.size() > 1 ? *(parts.begin() + 1) : none});
  blake2b(out, {outer_pad, inner});
  wipe(inner_pad);
  wipe(outer_pad);
  wipe(inner);
  return out;
}

/// HKDF with N outputs (section 4.3). Whoever calls it wipes them.
template <std::size_t N>
std::array<HashValue, N> hkdf(ByteView chaining_key, ByteView input) {
  std::array<HashValue, N> out;
  auto temporary = hmac(chaining_key, {input});
  for (std::size_t i = 0; i < N; ++i) {
    const auto number = static_cast<std::uint8_t>(i + 1);
    out[i] = hmac(temporary, {i == 0 ? ByteView() : ByteView(out[i - 1]), ByteView(&number, 1)});
  }
  wipe(temporary);
  return out;
}

std::span<const std::uint8_t, key_bytes> first_key_bytes(const HashValue& value) { return std::span(value).first<key_bytes>(); }

template <std::size_t N>
void wipe_all(std::array<HashValue, N>& values) {
  for (auto& value : values) wipe(value);
}

Error broken() { return Error(Code::invalid_argument, "this handshake has failed: start a new one"); }

}  // namespace

// Patterns -------------------------------------------------------------------------------------------------------------

bool Pattern::uses_static(bool initiator) const {
  if (initiator ? initiator_known : responder_known) return true;
  for (std::size_t i = initiator ? 0 : 1; i < message_count; i += 2)
    if (std::find(messages[i].begin(), messages[i].end(), Token::s) != messages[i].end()) return true;
  return false;
}

Result<Pattern> parse_pattern(std::string_view name) {
  const auto unsupported = [] { return Error(Code::unsupported, "no such Noise pattern in this build"); };
  const auto base_name = name.substr(0, name.find("psk"));
  const auto row = std::find_if(std::begin(pattern_rows), std::end(pattern_rows), [&](const PatternRow& r) { return r.name == base_name; });
  if (row == std::end(pattern_rows)) return unsupported();
  Pattern out = from_row(*row);
  if (name.size() >= out.name.size()) return unsupported();
  std::copy(name.begin(), name.end(), out.name.begin());

  auto modifiers = name.substr(base_name.size());
  int last = -1;
  while (!modifiers.empty()) {
    const bool more = modifiers.find('+') != std::string_view::npos;
    const auto word = next_word(modifiers, '+');
    if (word.size() != 4 || word.substr(0, 3) != "psk" || word[3] < '0' || word[3] > '3') return unsupported();
    const int number = word[3] - '0';
    // Ascending, so that one pattern has one name: the name is hashed.
    if (number <= last || number > out.message_count || (more && modifiers.empty())) return unsupported();
    add_psk_token(out, static_cast<std::size_t>(number));
    last = number;
  }
  return out;
}

std::span<const std::string_view> pattern_names() { return pattern_name_list; }

// CipherState ----------------------------------------------------------------------------------------------------------

void CipherState::set_key(std::span<const std::uint8_t, key_bytes> key) {
  if (!key_) key_.emplace();
  std::copy(key.begin(), key.end(), key_->reveal_mutable().begin());
  nonce_ = 0;
}

Status CipherState::encrypt(ByteView associated, ByteView plain, std::span<std::uint8_t> out) {
  if (!key_) {
    DOORSTEP_CHECK(out.size() == plain.size());
    if (!plain.empty()) std::memmove(out.data(), plain.data(), plain.size());
    return {};
  }
  if (nonce_ == nonce_reserved) return Error(Code::full, "this key has sealed all the messages it may: connect again");
  noise_encrypt(*key_, nonce_, associated, plain, out);
  ++nonce_;
  return {};
}

Status CipherState::decrypt(ByteView associated, ByteView sealed, std::span<std::uint8_t> out) {
  if (!key_) {
    DOORSTEP_CHECK(out.size() == sealed.size());
    if (!sealed.empty()) std::memmove(out.data(), sealed.data(), sealed.size());
    return {};
  }
  if (nonce_ == nonce_reserved) return Error(Code::full, "this key has opened all the messages it may: connect again");
  if (!noise_decrypt(*key_, nonce_, associated, sealed, out)) return Error(Code::unauthenticated, "a sealed message fails its check");
  ++nonce_;
  return {};
}

void CipherState::rekey() {
  DOORSTEP_CHECK(key_);
  const std::array<std::uint8_t, key_bytes> zeros{};
  std::array<std::uint8_t, key_bytes + tag_bytes> sealed;
  noise_encrypt(*key_, nonce_reserved, {}, zeros, sealed);
  std::copy_n(sealed.begin(), key_bytes, key_->reveal_mutable().begin());
  wipe(sealed);
}

// SymmetricState -------------------------------------------------------------------------------------------------------

SymmetricState::SymmetricState(std::string_view protocol_name) {
  if (protocol_name.size() <= hash_bytes)
    std::copy(protocol_name.begin(), protocol_name.end(), hash_.begin());
  else
    blake2b(hash_, {view(protocol_name)});
  std::copy(hash_.begin(), hash_.end(), chaining_key_.reveal_mutable().begin());
}

void SymmetricState::mix_hash(ByteView data) {
  HashValue mixed;
  blake2b(mixed, {hash_, data});
  hash_ = mixed;
}

void SymmetricState::mix_key(ByteView input) {
  auto outputs = hkdf<2>(chaining_key_.reveal(), input);
  std::copy(outputs[0].begin(), outputs[0].end(), chaining_key_.reveal_mutable().begin());
  cipher_.set_key(first_key_bytes(outputs[1]));
  wipe_all(outputs);
}

void SymmetricState::mix_key_and_hash(ByteView input) {
  auto outputs = hkdf<3>(chaining_key_.reveal(), input);
  std::copy(outputs[0].begin(), outputs[0].end(), chaining_key_.reveal_mutable().begin());
  mix_hash(outputs[1]);
  cipher_.set_key(first_key_bytes(outputs[2]));
  wipe_all(outputs);
}

Status SymmetricState::encrypt_and_hash(ByteView plain, Bytes& out) {
  const std::size_t start = out.size();
  out.resize(start + plain.size() + (has_key() ? tag_bytes : 0));
  const auto sealed = std::span(out).subspan(start);
  DOORSTEP_TRY(cipher_.encrypt(hash_, plain, sealed));
  mix_hash(sealed);
  return {};
}

Status SymmetricState::decrypt_and_hash(ByteView sealed, Bytes& plain) {
  const std::size_t around = has_key() ? tag_bytes : 0;
  if (sealed.size() < around) return Error(Code::protocol, "a handshake message is too short");
  plain.resize(sealed.size() - around);
  DOORSTEP_TRY(cipher_.decrypt(hash_, sealed, plain));
  mix_hash(sealed);
  return {};
}

std::pair<CipherState, CipherState> SymmetricState::split() const {
  auto outputs = hkdf<2>(chaining_key_.reveal(), {});
  std::pair<CipherState, CipherState> out;
  out.first.set_key(first_key_bytes(outputs[0]));
  out.second.set_key(first_key_bytes(outputs[1]));
  wipe_all(outputs);
  return out;
}

// HandshakeState -------------------------------------------------------------------------------------------------------

Result<HandshakeState> HandshakeState::start(HandshakeConfig config) {
  const auto& pattern = config.pattern;
  const bool remote_known = config.initiator ? pattern.responder_known : pattern.initiator_known;
  if (pattern.message_count == 0) return Error(Code::invalid_argument, "a handshake needs a pattern");
  if (pattern.uses_static(config.initiator) && !config.own_static)
    return Error(Code::invalid_argument, "this Noise pattern needs our own static key");
  if (remote_known != config.remote_static.has_value())
    return Error(Code::invalid_argument, remote_known ? "this Noise pattern needs the peer's static key beforehand"
                                                      : "this Noise pattern does not know the peer's static key beforehand");
  if (!config.ephemeral && config.random == nullptr && !(pattern.one_way && !config.initiator))
    return Error(Code::invalid_argument, "a handshake needs a source of randomness");
  return HandshakeState(std::move(config));
}

HandshakeState::HandshakeState(HandshakeConfig&& config)
    : pattern_(config.pattern),
      initiator_(config.initiator),
      symmetric_("Noise_" + std::string(config.pattern.name_view()) + std::string(suite_name)),
      own_static_(std::move(config.own_static)),
      own_ephemeral_(std::move(config.ephemeral)),
      remote_static_(config.remote_static),
      random_(config.random) {
  mix_pre_messages(config.prologue);
}

void HandshakeState::mix_pre_messages(ByteView prologue) {
  symmetric_.mix_hash(prologue);
  const auto public_key = [&](bool of_initiator) {
    return of_initiator == initiator_ ? own_static_->public_key.view() : remote_static_->view();
  };
  if (pattern_.initiator_known) symmetric_.mix_hash(public_key(true));
  if (pattern_.responder_known) symmetric_.mix_hash(public_key(false));
}

Status HandshakeState::add_psk(const SymmetricKey& psk) {
  if (psks_given_ == pattern_.psk_count) return Error(Code::invalid_argument, "this Noise pattern takes no further psk");
  psks_[psks_given_++] = psk.duplicate();
  return {};
}

bool HandshakeState::needs_psk() const {
  if (done()) return false;
  const auto& tokens = pattern_.messages[next_];
  return psks_mixed_ + std::count(tokens.begin(), tokens.end(), Token::psk) > psks_given_;
}

std::size_t HandshakeState::next_overhead_bytes() const {
  DOORSTEP_CHECK(!done());
  bool keyed = symmetric_.has_key();
  std::size_t out = 0;
  for (const Token token : pattern_.messages[next_]) {
    if (token == Token::none) break;
    if (token == Token::e) out += key_bytes;
    if (token == Token::s) out += key_bytes + (keyed ? tag_bytes : 0);
    // e sets a key only where psks are about; s never does; everything else does.
    if (token == Token::e ? pattern_.psk_count > 0 : token != Token::s) keyed = true;
  }
  return out + (keyed ? tag_bytes : 0);
}

Result<Bytes> HandshakeState::write_message(ByteView payload) {
  if (failed_) return broken();
  if (!my_turn()) return Error(Code::invalid_argument, "it is the peer's turn in this handshake");
  if (needs_psk()) return Error(Code::waiting, "the next handshake message waits for its psk");
  if (payload.size() > message_bytes_max - next_overhead_bytes())
    return Error(Code::too_large, "a handshake message may have 65,535 bytes: shorten its payload");
  failed_ = true;  // until the end is reached
  Bytes out;
  out.reserve(next_overhead_bytes() + payload.size());
  for (const Token token : pattern_.messages[next_])
    if (token != Token::none) DOORSTEP_TRY(write_token(token, out));
  DOORSTEP_TRY(symmetric_.encrypt_and_hash(payload, out));
  ++next_;
  failed_ = false;
  return out;
}

Result<Bytes> HandshakeState::read_message(ByteView message) {
  if (failed_) return broken();
  if (done() || my_turn()) return Error(Code::invalid_argument, "it is not the peer's turn in this handshake");
  if (needs_psk()) return Error(Code::waiting, "the next handshake message waits for its psk");
  failed_ = true;  // until the end is reached
  if (message.size() > message_bytes_max || message.size() < next_overhead_bytes())
    return Error(Code::protocol, "a handshake message has a length that its pattern does not allow");
  for (const Token token : pattern_.messages[next_])
    if (token != Token::none) DOORSTEP_TRY(read_token(token, message));
  Bytes payload;
  DOORSTEP_TRY(symmetric_.decrypt_and_hash(message, payload));
  ++next_;
  failed_ = false;
  return payload;
}

Status HandshakeState::write_token(Token token, Bytes& out) {
  switch (token) {
    case Token::e:
      if (!own_ephemeral_) own_ephemeral_ = make_transport_key_pair(*random_);
      append(out, own_ephemeral_->public_key.view());
      mix_ephemeral(own_ephemeral_->public_key.view());
      return {};
    case Token::s: return symmetric_.encrypt_and_hash(own_static_->public_key.view(), out);
    case Token::psk: return mix_psk();
    default: return mix_shared(token);
  }
}

Status HandshakeState::read_token(Token token, ByteView& message) {
  if (token == Token::psk) return mix_psk();
  if (token != Token::e && token != Token::s) return mix_shared(token);
  // read_message has compared the whole length with the pattern.
  const std::size_t size = key_bytes + (token == Token::s && symmetric_.has_key() ? tag_bytes : 0);
  DOORSTEP_CHECK(message.size() >= size);
  const auto part = message.first(size);
  message = message.subspan(size);
  if (token == Token::e) {
    remote_ephemeral_ = TransportPublicKey::from(part);
    mix_ephemeral(part);
    return {};
  }
  Bytes public_key;
  DOORSTEP_TRY(symmetric_.decrypt_and_hash(part, public_key));
  remote_static_ = TransportPublicKey::from(public_key);
  return {};
}

void HandshakeState::mix_ephemeral(ByteView public_key) {
  symmetric_.mix_hash(public_key);
  // Section 9.2: with a psk, the ephemeral keys randomise what the psk would otherwise seal twice.
  if (pattern_.psk_count > 0) symmetric_.mix_key(public_key);
}

Status HandshakeState::mix_shared(Token token) {
  // The first letter is the initiator's key, the second the responder's.
  const bool initiator_static = token == Token::se || token == Token::ss;
  const bool responder_static = token == Token::es || token == Token::ss;
  const bool own_is_static = initiator_ ? initiator_static : responder_static;
  const bool remote_is_static = initiator_ ? responder_static : initiator_static;
  const auto& own = own_is_static ? own_static_ : own_ephemeral_;
  const auto& remote = remote_is_static ? remote_static_ : remote_ephemeral_;
  DOORSTEP_CHECK(own && remote);
  const auto shared = x25519(own->secret_key, remote->view());
  if (!shared) return Error(Code::protocol, "the peer showed a public key that no honest peer has (low order)");
  symmetric_.mix_key(shared->reveal());
  return {};
}

Status HandshakeState::mix_psk() {
  const auto& psk = psks_[psks_mixed_++];
  DOORSTEP_CHECK(psk);
  symmetric_.mix_key_and_hash(psk->reveal());
  return {};
}

HandshakeState::Transport HandshakeState::split() {
  DOORSTEP_CHECK(done() && !failed_);
  failed_ = true;
  auto [from_initiator, from_responder] = symmetric_.split();
  if (pattern_.one_way) from_responder.forget();
  if (initiator_) return {std::move(from_initiator), std::move(from_responder)};
  return {std::move(from_responder), std::move(from_initiator)};
}

}  // namespace doorstep::noise
