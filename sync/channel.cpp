// The channel's bytes. All numbers are big-endian.
//
//   initiator -> responder   preamble, frame(message 1),                    frame(message 3), transport frames …
//   responder -> initiator                               frame(message 2),                    transport frames …
//                            or, instead of message 2, a refusal
//
//   preamble    'D' 'S', version (1), kind; kind 3 (phones) adds salt (8 random bytes) and hint (8 bytes):
//               keyed_hash(psk, "doorstep/1/phones-hint", salt), cut to 8. It names the psk to those who have it, only.
//   frame       size (2), then a Noise message of `size` bytes
//   refusal     'D' 'S', version, 0, code (2). In the clear: a hint, proof of nothing. It cannot be a frame, as 'D' 'S' would be a
//               size of 17,491, and message 2 is never that long. After message 2 there is no refusal, only silence.
//
//   kind        pattern   message 1      message 2           message 3           keys known before
//   1 device    XK        e es {}        e ee {payload}      s se {payload}      the relay's static
//   2 joining   XKpsk3    e es {invite}  e ee {payload}      s se psk {payload}  the relay's static, the psk
//   3 phones    XXpsk0    psk e {}       e ee s es {payload} s se {payload}      the psk
//   {payload} is 0..1,024 bytes, {invite} the 16 bytes of the invitation's id, {} nothing.
//   prologue    "doorstep/channel", the preamble's bytes, and for kinds 1 and 2 the relay's static public key
//
//   transport   a transport frame's Noise message seals: 0..65,518 bytes of a message, then one flag byte
//               0 last    the message ends here
//               1 more    it goes on; such a chunk is full (65,518 bytes), so a message has one encoding
//               2 close   the two bytes before the flag are a code (0: ordinary); the sender says nothing after it
//
// The flag stands last, so that chunks are opened in place, one behind the other. After every `rekey_after_messages` (1,000)
// transport frames a direction does REKEY; its nonce goes on.
//
// Invariants
//   1. Every clear byte that steers the handshake is in its prologue: changing one fails message 1 or 2.
//   2. While need() is not none the peer has been given nothing to answer: a byte from it is a protocol error. So nothing has to
//      be buffered for a stranger but one handshake frame.
//   3. A size is checked when its two bytes are there, against what may come next; memory grows only with bytes that came.
//   4. No byte of a frame is used before its tag was checked; a message is handed out whole or not at all.
//   5. After the first failure (state ended) no key exists any more and nothing is read, sealed or sent but what lies in the output.
//   6. A stream without a close frame at its end was cut: finish() says so.
//
//   state      goes to     in
//   preamble   handshake   feed_preamble (responder), start_initiator (initiator)
//   handshake  open        establish, when message 3 was written or read; it may pause: need()
//   any        ended       end: a failure, a refusal of either side, finish() after a cut
//   (close frames leave the state open: the other direction may still speak)
#include "sync/channel.hpp"

#include <algorithm>

#include "sync/lab.hpp"

namespace doorstep {

namespace {

constexpr std::uint8_t magic[2] = {'D', 'S'};
constexpr std::string_view prologue_label = "doorstep/channel";
constexpr std::string_view hint_label = "doorstep/1/phones-hint";
constexpr std::size_t preamble_bytes = 4;
constexpr std::size_t salt_bytes = 8;
constexpr std::size_t hint_bytes = 8;
constexpr std::size_t phones_preamble_bytes = preamble_bytes + salt_bytes + hint_bytes;
constexpr std::size_t refusal_bytes = 6;
constexpr std::size_t close_plain_bytes = 3;

constexpr std::uint8_t flag_last = 0;
constexpr std::uint8_t flag_more = 1;
constexpr std::uint8_t flag_close = 2;

/// What an unread message costs beside its bytes.
constexpr std::size_t unread_overhead_bytes = 64;
/// A buffer above this is not kept for the next frame: idle channels are many.
constexpr std::size_t buffer_bytes_kept = 4096;

static_assert((std::size_t{magic[0]} << 8 | magic[1]) > channel_handshake_frame_bytes_max, "a refusal is never a handshake frame");
static_assert(channel_sealed_bytes(channel_chunk_bytes_max) == 2 + limits::frame_bytes_max);
static_assert(limits::frame_bytes_max == noise::message_bytes_max);

std::string_view pattern_name(ChannelKind kind) {
  switch (kind) {
    case ChannelKind::device: return "XK";
    case ChannelKind::joining: return "XKpsk3";
    case ChannelKind::phones: return "XXpsk0";
  }
  DOORSTEP_CHECK(false);
}

std::array<std::uint8_t, hint_bytes> phones_hint(const SymmetricKey& psk, ByteView salt) {
  const auto full = keyed_hash(psk, hint_label, {salt});
  std::array<std::uint8_t, hint_bytes> out;
  std::copy_n(full.data.begin(), hint_bytes, out.begin());
  return out;
}

void append_u16(Bytes& out, std::size_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}

std::uint16_t read_u16(ByteView bytes) { return static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]); }

/// Room for `more` bytes; grows at least twofold, so that many small appends stay linear.
void make_room(Bytes& bytes, std::size_t more) {
  const std::size_t needed = bytes.size() + more;
  if (needed > bytes.capacity()) bytes.reserve(std::max(needed, 2 * bytes.capacity()));
}

/// A refusal is unproven: it may choose between three sentences, and nothing else of ours.
Error refusal_error(std::uint16_t wire_code) {
  switch (static_cast<Code>(wire_code)) {
    case Code::unsupported: return Error(Code::unsupported, "the peer does not speak this version of the protocol: update one of the two");
    case Code::busy:
    case Code::full: return Error(Code::busy, "the peer is too busy to answer now: try again later");
    default: return Error(Code::unauthenticated, "the peer refused us: its key, or our key or invitation, is not the expected one");
  }
}

}  // namespace

bool ChannelKinds::has(ChannelKind kind) const {
  switch (kind) {
    case ChannelKind::device: return device;
    case ChannelKind::joining: return joining;
    case ChannelKind::phones: return phones;
  }
  return false;  // a number that this build does not know
}

// Making one -----------------------------------------------------------------------------------------------------------

Channel::Channel(Random& random, const TransportKeyPair& own, ByteView payload, ChannelOptions options, bool initiator)
    : random_(&random),
      own_(TransportKeyPair{own.public_key, own.secret_key.duplicate()}),
      options_(options),
      initiator_(initiator),
      payload_(to_bytes(payload)) {
  if (payload.size() > limits::handshake_payload_bytes_max)
    end(Error(Code::invalid_argument, "a handshake payload may have 1,024 bytes"));
  else if (options.rekey_after_messages == 0)
    end(Error(Code::invalid_argument, "rekey_after_messages must be at least 1"));
}

Channel::Channel(Channel&&) noexcept = default;
Channel& Channel::operator=(Channel&&) noexcept = default;
Channel::~Channel() = default;

Channel Channel::device(Random& random, const TransportKeyPair& own, const TransportPublicKey& relay, ByteView payload,
                        ChannelOptions options) {
  Channel out(random, own, payload, options, true);
  out.start_initiator(ChannelKind::device, &relay, nullptr);
  return out;
}

Channel Channel::joining(Random& random, const TransportKeyPair& own, const TransportPublicKey& relay, const InviteId& invite,
                         const SymmetricKey& psk, ByteView payload, ChannelOptions options) {
  Channel out(random, own, payload, options, true);
  out.invite_ = invite;
  out.start_initiator(ChannelKind::joining, &relay, &psk);
  return out;
}

Channel Channel::phones(Random& random, const TransportKeyPair& own, const SymmetricKey& psk, ChannelOptions options) {
  Channel out(random, own, {}, options, true);
  out.start_initiator(ChannelKind::phones, nullptr, &psk);
  return out;
}

Channel Channel::responder(Random& random, const TransportKeyPair& own, ChannelKinds kinds, ByteView payload, ChannelOptions options) {
  Channel out(random, own, payload, options, false);
  out.kinds_ = kinds;
  return out;
}

/// Preamble and message 1. A failure stays in error_.
void Channel::start_initiator(ChannelKind kind, const TransportPublicKey* relay, const SymmetricKey* psk) {
  if (error_) return;
  kind_ = kind;
  preamble_ = {magic[0], magic[1], channel_version, static_cast<std::uint8_t>(kind)};
  if (kind == ChannelKind::phones) {
    std::array<std::uint8_t, salt_bytes> salt;
    random_->fill(salt);
    append(preamble_, salt);
    append(preamble_, phones_hint(*psk, salt));
  }
  Bytes first_payload;
  if (invite_) first_payload = to_bytes(invite_->view());
  auto status = start_handshake(relay);
  if (status && psk) status = handshake_->add_psk(*psk);
  output_ = preamble_;
  if (status) status = write_handshake_message(first_payload);
  if (!status) {
    output_.clear();
    end(status.error());
  }
}

Status Channel::start_handshake(const TransportPublicKey* remote) {
  Bytes prologue = to_bytes(view(prologue_label));
  append(prologue, preamble_);
  if (kind_ != ChannelKind::phones) append(prologue, remote ? remote->view() : own_->public_key.view());
  noise::HandshakeConfig config;
  config.pattern = noise::parse_pattern(pattern_name(*kind_)).value();
  config.initiator = initiator_;
  config.prologue = prologue;
  config.own_static = std::move(own_);
  own_.reset();
  if (remote) config.remote_static = *remote;
  config.random = random_;
  DOORSTEP_ASSIGN(auto handshake, noise::HandshakeState::start(std::move(config)));
  handshake_ = std::make_unique<noise::HandshakeState>(std::move(handshake));
  state_ = State::handshake;
  return {};
}

// Reading --------------------------------------------------------------------------------------------------------------

Status Channel::feed(ByteView bytes) {
  if (error_) return *error_;
  if (unread_bytes_ > limits::message_bytes_max) return Error(Code::busy, "read the messages that have arrived before feeding more bytes");
  while (!bytes.empty()) {
    if (need_ != ChannelNeed::none) return fail(Error(Code::protocol, "the peer spoke out of turn in the handshake"));
    if (peer_closed()) return fail(Error(Code::protocol, "the peer sent bytes after it had closed"));
    DOORSTEP_TRY(state_ == State::preamble ? feed_preamble(bytes) : feed_frame(bytes));
  }
  return {};
}

Status Channel::feed_preamble(ByteView& bytes) {
  preamble_.push_back(bytes.front());
  bytes = bytes.subspan(1);
  const std::size_t size = preamble_.size();
  const std::uint8_t last = preamble_.back();
  // Whoever does not even say our name gets no answer.
  if (size <= sizeof magic && last != magic[size - 1]) return fail(Error(Code::protocol, "the peer does not speak this protocol"));
  if (size == 3 && last != channel_version)
    return fail(Error(Code::unsupported, "the peer speaks a version that this build does not have"));
  if (size == preamble_bytes) {
    const auto kind = static_cast<ChannelKind>(last);
    if (!kinds_.has(kind)) return fail(Error(Code::unsupported, "the peer asks for a kind of connection that is not answered here"));
    kind_ = kind;
  }
  if (size < preamble_bytes || size < (kind_ == ChannelKind::phones ? phones_preamble_bytes : preamble_bytes)) return {};
  return start_handshake(nullptr);
}

/// The whole frame's bytes, if its size may come now.
Result<std::size_t> Channel::frame_bytes(std::uint8_t high, std::uint8_t low) const {
  const std::size_t size = std::size_t{high} << 8 | low;
  if (state_ == State::open) {
    if (size < 1 + noise::tag_bytes) return Error(Code::protocol, "a frame is too short to be sealed");
    return 2 + size;
  }
  if (initiator_ && high == magic[0] && low == magic[1]) return refusal_bytes;
  const std::size_t around = handshake_->next_overhead_bytes();
  const bool first = handshake_messages_ == 0;
  const std::size_t least = first && kind_ == ChannelKind::joining ? InviteId::size_bytes : 0;
  const std::size_t most = first ? least : limits::handshake_payload_bytes_max;
  if (size < around + least || (first && size > around + most))
    return Error(Code::protocol, "a handshake message has a length that its pattern does not allow");
  if (size > around + most) return Error(Code::too_large, "a handshake payload has more than 1,024 bytes");
  return 2 + size;
}

Status Channel::feed_frame(ByteView& bytes) {
  // The ordinary case, without a copy: the frame lies whole in what was fed.
  if (frame_.empty() && bytes.size() >= 2) {
    const auto total = frame_bytes(bytes[0], bytes[1]);
    if (!total) return fail(total.error());
    if (bytes.size() >= *total) {
      const auto frame = bytes.first(*total);
      bytes = bytes.subspan(*total);
      return on_frame(frame);
    }
  }
  while (frame_.size() < 2) {
    if (bytes.empty()) return {};
    frame_.push_back(bytes.front());
    bytes = bytes.subspan(1);
  }
  const auto total = frame_bytes(frame_[0], frame_[1]);
  if (!total) return fail(total.error());
  if (DOORSTEP_PLANTED(trust_announced_size)) (frame_.resize(*total + 1), frame_.resize(2));
  const auto part = bytes.first(std::min(bytes.size(), *total - frame_.size()));
  append(frame_, part);
  bytes = bytes.subspan(part.size());
  if (frame_.size() < *total) return {};

  Bytes frame;
  frame.swap(frame_);
  const auto status = on_frame(frame);
  if (frame.capacity() <= buffer_bytes_kept && status) {
    frame.clear();
    frame_.swap(frame);
  }
  return status;
}

Status Channel::on_frame(ByteView frame) {
  if (state_ == State::open) return on_transport_message(frame.subspan(2));
  if (initiator_ && frame[0] == magic[0] && frame[1] == magic[1]) return on_refusal(frame);
  if (handshake_->needs_psk()) {
    held_ = to_bytes(frame.subspan(2));
    need_ = ChannelNeed::psk;
    return {};
  }
  return on_handshake_message(frame.subspan(2));
}

Status Channel::on_refusal(ByteView frame) {
  if (frame[3] != 0) return fail(Error(Code::protocol, "the peer answered with something that is neither a frame nor a refusal"));
  refused_by_peer_ = true;
  return fail(refusal_error(read_u16(frame.subspan(4))));
}

Status Channel::on_handshake_message(ByteView message) {
  auto payload = handshake_->read_message(message);
  if (!payload) return fail(payload.error());
  ++handshake_messages_;
  if (handshake_messages_ == 1) return on_message_1(*payload);
  peer_payload_ = std::move(*payload);
  peer_static_ = handshake_->remote_static();
  if (handshake_->done()) {
    confirmed_ = true;
    establish();
    return {};
  }
  if (kind_ == ChannelKind::phones) {
    need_ = ChannelNeed::approval;
    return {};
  }
  return write_handshake_message(payload_);
}

Status Channel::on_message_1(ByteView payload) {
  if (kind_ != ChannelKind::joining) return write_handshake_message(payload_);
  invite_ = InviteId::from(payload);
  need_ = ChannelNeed::psk;
  return {};
}

Status Channel::on_transport_message(ByteView sealed) {
  const std::size_t start = message_.size();
  const std::size_t plain = sealed.size() - noise::tag_bytes;
  if (start + plain - 1 > limits::message_bytes_max)
    return fail(Error(Code::too_large, "the peer's message is longer than message_bytes_max"));
  message_.resize(start + plain);
  if (!receiving_->decrypt({}, sealed, std::span(message_).subspan(start)))
    return fail(Error(Code::protocol, "a frame fails its check: it was changed, repeated, left out or is not the peer's"));
  if (receiving_->nonce() % options_.rekey_after_messages == 0) receiving_->rekey();
  confirmed_ = true;
  const std::uint8_t flag = message_.back();
  message_.pop_back();
  if (flag == flag_more && plain - 1 != channel_chunk_bytes_max)
    return fail(Error(Code::protocol, "a chunk that is not the last is not full"));
  if (flag == flag_close && (start != 0 || plain != close_plain_bytes)) return fail(Error(Code::protocol, "a malformed close"));
  return on_chunk(flag);
}

/// `message_` ends with a chunk of this flag, which has been stripped.
Status Channel::on_chunk(std::uint8_t flag) {
  switch (flag) {
    case flag_more: return {};
    case flag_last:
      unread_bytes_ += message_.size() + unread_overhead_bytes;
      messages_.push_back(std::move(message_));
      message_ = Bytes();
      return {};
    case flag_close:
      peer_close_code_ = static_cast<Code>(read_u16(message_));
      message_ = Bytes();
      return {};
    default: return fail(Error(Code::protocol, "a frame with an unknown flag"));
  }
}

std::optional<Bytes> Channel::next_message() {
  if (messages_.empty()) return std::nullopt;
  std::optional<Bytes> out(std::move(messages_.front()));
  messages_.pop_front();
  unread_bytes_ -= out->size() + unread_overhead_bytes;
  return out;
}

// Writing --------------------------------------------------------------------------------------------------------------

Bytes Channel::take_output() {
  Bytes out;
  out.swap(output_);
  return out;
}

/// Writes our next handshake message; after the third the channel is open.
Status Channel::write_handshake_message(ByteView payload) {
  const auto message = handshake_->write_message(payload);
  if (!message) return fail(message.error());
  append_u16(output_, message->size());
  append(output_, *message);
  ++handshake_messages_;
  if (handshake_->done()) establish();
  return {};
}

void Channel::establish() {
  handshake_hash_ = HandshakeHash::from(handshake_->handshake_hash());
  auto transport = handshake_->split();
  sending_ = std::move(transport.sending);
  receiving_ = std::move(transport.receiving);
  handshake_.reset();
  payload_ = Bytes();
  preamble_ = Bytes();
  state_ = State::open;
}

Status Channel::send(ByteView message) {
  if (error_) return *error_;
  if (close_sent_) return Error(Code::cancelled, "this side has closed the channel: nothing can be sent any more");
  if (!established()) return Error(Code::waiting, "messages can be sent when the handshake is done");
  if (message.size() > limits::message_bytes_max) return Error(Code::too_large, "a message may have message_bytes_max (2 MiB)");
  const std::size_t sealed = channel_sealed_bytes(message.size());
  if (!output_.empty() && output_.size() + sealed > channel_output_bytes_max)
    return Error(Code::full, "the output is full: write take_output() to the socket first");
  make_room(output_, sealed);
  while (message.size() > channel_chunk_bytes_max) {
    DOORSTEP_TRY(seal_frame(message.first(channel_chunk_bytes_max), flag_more));
    message = message.subspan(channel_chunk_bytes_max);
  }
  return seal_frame(message, flag_last);
}

Status Channel::seal_frame(ByteView chunk, std::uint8_t flag) {
  const std::size_t plain = chunk.size() + 1;
  const std::size_t sealed = plain + noise::tag_bytes;
  make_room(output_, 2 + sealed);
  append_u16(output_, sealed);
  const std::size_t start = output_.size();
  append(output_, chunk);
  output_.push_back(flag);
  output_.resize(start + sealed);
  const auto frame = std::span(output_).subspan(start);
  if (auto status = sending_->encrypt({}, frame.first(plain), frame); !status.ok()) {
    // The key is used up (2^64 frames). What stands in the output would be clear text: take it back.
    output_.resize(start - 2);
    close_sent_ = true;
    return fail(status.error());
  }
  if (sending_->nonce() % options_.rekey_after_messages == 0) sending_->rekey();
  return {};
}

// Ending ---------------------------------------------------------------------------------------------------------------

void Channel::close(Code code) {
  if (error_ || close_sent_) return;
  if (!established()) return end(Error(Code::cancelled, "this side gave up before the handshake was done"));
  const auto number = static_cast<std::uint16_t>(code);
  const std::array<std::uint8_t, 2> wire = {static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
  if (seal_frame(wire, flag_close)) close_sent_ = true;
}

void Channel::refuse(Code code) {
  if (error_) return;
  (void)fail(Error(code, "this side refused the peer"));
}

/// Tells the peer the code, and nothing else, where that is possible; then ends.
Status Channel::fail(Error error) {
  const bool named_itself = preamble_.size() > sizeof magic;
  if (established()) {
    close(error.code());
  } else if (!initiator_ && named_itself && handshake_messages_ < 2) {
    append(output_, magic);
    output_.push_back(channel_version);
    output_.push_back(0);
    append_u16(output_, static_cast<std::uint16_t>(error.code()));
  }
  end(error);
  return error;
}

void Channel::end(Error error) {
  if (!error_) error_ = std::move(error);
  state_ = State::ended;
  need_ = ChannelNeed::none;
  own_.reset();
  handshake_.reset();
  sending_.reset();
  receiving_.reset();
  preamble_ = Bytes();
  payload_ = Bytes();
  held_ = Bytes();
  frame_ = Bytes();
  message_ = Bytes();
}

Status Channel::finish() {
  if (error_) return *error_;
  if (peer_closed()) return {};
  Error cut(Code::unreachable, confirmed_
                                   ? "the connection was cut: connect again, what was not acknowledged is sent again"
                                   : "the connection ended before the peer's first word: if that repeats, it does not accept our keys");
  end(cut);
  return cut;
}

std::optional<Code> Channel::failed() const {
  if (!error_) return std::nullopt;
  return error_->code();
}

const Error& Channel::error() const {
  DOORSTEP_CHECK(error_);
  return *error_;
}

std::size_t Channel::memory_bytes() const {
  std::size_t out = unread_bytes_;
  for (const Bytes* buffer : {&preamble_, &payload_, &held_, &frame_, &message_, &output_, &peer_payload_}) out += buffer->capacity();
  return out;
}

// The handshake's questions --------------------------------------------------------------------------------------------

bool Channel::psk_matches(const SymmetricKey& psk) const {
  if (need_ != ChannelNeed::psk || kind_ != ChannelKind::phones) return false;
  const auto clear = ByteView(preamble_).subspan(preamble_bytes);
  return equal_secret(phones_hint(psk, clear.first(salt_bytes)), clear.subspan(salt_bytes));
}

Status Channel::provide_psk(const SymmetricKey& psk) {
  if (error_) return *error_;
  if (need_ != ChannelNeed::psk) return Error(Code::invalid_argument, "the channel has not asked for a psk");
  DOORSTEP_TRY(handshake_->add_psk(psk));
  need_ = ChannelNeed::none;
  if (kind_ == ChannelKind::joining) return write_handshake_message(payload_);
  Bytes message;
  message.swap(held_);
  return on_handshake_message(message);
}

Status Channel::approve(ByteView payload) {
  if (error_) return *error_;
  if (need_ != ChannelNeed::approval) return Error(Code::invalid_argument, "the channel has not asked for approval");
  if (payload.size() > limits::handshake_payload_bytes_max) return Error(Code::too_large, "a handshake payload may have 1,024 bytes");
  need_ = ChannelNeed::none;
  return write_handshake_message(payload);
}

}  // namespace doorstep
