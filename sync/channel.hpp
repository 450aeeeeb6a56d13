// Channel: an authenticated, encrypted, ordered stream of messages between two peers. It is driven: bytes in, bytes
// out. It owns no socket and no clock; deadlines are its body's. The format stands at the top of channel.cpp.
//
//   body, for every piece read from the socket       body, at any time after established()
//     channel.feed(bytes)                              channel.send(message)
//     while (auto m = channel.next_message()) ...      channel.close()
//     write(channel.take_output())                     write(channel.take_output())
//   if need() is not none: answer it (provide_psk, approve, or refuse).   When the socket ends: channel.finish().
//
// Memory of one channel:
//   before the handshake is done   <= channel_handshake_frame_bytes_max in (buffers double: twice that), as much out, our payload
//                                  and the peer's (<= 1 KiB each), the Noise state (1 KiB and five guarded pages)
//   after it, busy                 one frame (64 KiB) + one message being reassembled (message_bytes_max; both double) + unread
//                                  messages (message_bytes_max + 4 times what one feed brings) + channel_output_bytes_max (doubles)
//   after it, idle                 < 8 KiB and two guarded pages
// Nothing is ever allocated because a peer claimed a length: buffers grow with the bytes that arrived.
//
// Not thread-safe. Secrets of the handshake are gone when it ends; after it two 32-byte keys live in guarded memory.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>

#include "sync/crypto.hpp"
#include "sync/limits.hpp"
#include "sync/noise.hpp"

namespace doorstep {

inline constexpr std::uint8_t channel_version = 1;
/// What a small message costs on the wire: length, flag, tag.
inline constexpr std::size_t channel_overhead_bytes = 2 + 1 + 16;
/// Application bytes in one frame.
inline constexpr std::size_t channel_chunk_bytes_max = limits::frame_plain_bytes_max - 1;
/// The longest handshake message: e, s + tag, payload + tag.
inline constexpr std::size_t channel_handshake_frame_bytes_max = 32 + 48 + limits::handshake_payload_bytes_max + 16;

/// What `message_bytes` application bytes cost on the wire.
constexpr std::size_t channel_sealed_bytes(std::size_t message_bytes) {
  const std::size_t chunks = message_bytes == 0 ? 1 : (message_bytes + channel_chunk_bytes_max - 1) / channel_chunk_bytes_max;
  return message_bytes + chunks * channel_overhead_bytes;
}
/// Output that may wait for take_output(): the largest message and some small ones.
inline constexpr std::size_t channel_output_bytes_max = channel_sealed_bytes(limits::message_bytes_max) + (256u << 10);

/// Who talks to whom, and by that the Noise pattern. The number is the preamble's fourth byte: never reused.
enum class ChannelKind : std::uint8_t {
  device = 1,   ///< Enrolled device to relay: XK.
  joining = 2,  ///< Device with an invitation to relay: XKpsk3.
  phones = 3,   ///< Device to device, both enrolled: XXpsk0.
};

/// The kinds that a responder answers.
struct ChannelKinds {
  bool device = false;
  bool joining = false;
  bool phones = false;
  bool has(ChannelKind kind) const;
  static constexpr ChannelKinds relay() { return {true, true, false}; }
  static constexpr ChannelKinds peer() { return {false, false, true}; }
};

/// What the handshake waits for from its body. While it waits, the peer has nothing to say: bytes are a protocol error.
enum class ChannelNeed : std::uint8_t {
  none,
  psk,       ///< Responder. joining: look up invite(). phones: try known keys with psk_matches(). Then provide_psk() or refuse().
  approval,  ///< Initiator of phones: judge peer_static() and peer_payload(), then approve() or refuse(). We are still unnamed.
};

using HandshakeHash = FixedBytes<struct HandshakeHashTag, 64>;

struct ChannelOptions {
  std::uint64_t rekey_after_messages = limits::rekey_after_messages;  ///< Both sides must agree; others only in tests.
};

class Channel {
 public:
  /// Initiators. Their first bytes are in take_output() at once; an argument that cannot work shows as failed(). `payload`
  /// (<= limits::handshake_payload_bytes_max) travels in our authenticated handshake message, sealed to the peer, which reads it
  /// as peer_payload(). `random` must outlive the channel.
  static Channel device(Random& random, const TransportKeyPair& own, const TransportPublicKey& relay, ByteView payload = {},
                        ChannelOptions options = {});
  static Channel joining(Random& random, const TransportKeyPair& own, const TransportPublicKey& relay, const InviteId& invite,
                         const SymmetricKey& psk, ByteView payload = {}, ChannelOptions options = {});
  static Channel phones(Random& random, const TransportKeyPair& own, const SymmetricKey& psk, ChannelOptions options = {});

  /// Responder: learns the kind from the first bytes.
  static Channel responder(Random& random, const TransportKeyPair& own, ChannelKinds kinds, ByteView payload = {},
                           ChannelOptions options = {});

  Channel(Channel&&) noexcept;
  Channel& operator=(Channel&&) noexcept;
  ~Channel();

  // Driving ---------------------------------------------------------------------------------------------------------

  /// Bytes from the peer, cut anywhere. An error has ended the channel (write take_output() once more, then close the
  /// socket), but for Code::busy: more than message_bytes_max wait in next_message(); nothing was consumed.
  Status feed(ByteView bytes);
  /// Bytes for the socket; empty if there are none.
  Bytes take_output();
  std::size_t output_bytes() const { return output_.size(); }

  /// Seals one message into the output. Code::waiting before established(), too_large above limits::message_bytes_max, full while
  /// the output is (retry after take_output()), cancelled after close(). The channel lives on.
  Status send(ByteView message);
  /// The next whole message, in order. Messages that were whole before a failure may still be read.
  std::optional<Bytes> next_message();

  /// The last thing we say: authenticated, so that the peer can tell the end from a cut. `code` is for the peer.
  void close(Code code = Code::ok);
  /// Before the handshake is done, a refusal in the clear; after it close(code). Either way this channel ends.
  void refuse(Code code);
  /// The socket ended. ok if the peer closed; else Code::unreachable (cut in the middle) or the failure of before.
  Status finish();

  // The handshake's questions ----------------------------------------------------------------------------------------

  ChannelNeed need() const { return need_; }
  /// phones: is `psk` the one that the peer used? Constant-time.
  bool psk_matches(const SymmetricKey& psk) const;
  Status provide_psk(const SymmetricKey& psk);
  /// phones: go on and show ourselves, with a payload for the peer.
  Status approve(ByteView payload = {});

  // What is known ----------------------------------------------------------------------------------------------------

  /// The handshake is done and the channel has not failed: send() works, the peer's static key is proven to the responder.
  bool established() const { return state_ == State::open; }
  /// The peer has proven that it finished the handshake too. An initiator is established() before: only the first frame
  /// tells it that the responder took its message 3 (and with it our key, and in joining the invitation).
  bool confirmed() const { return confirmed_; }
  /// The peer said close; nothing more will come. peer_close_code() is its code (ok: ordinary).
  bool peer_closed() const { return peer_close_code_.has_value(); }
  std::optional<Code> peer_close_code() const { return peer_close_code_; }
  /// Why the channel failed; nullopt while it has not.
  std::optional<Code> failed() const;
  /// The same, with a sentence. Only if failed().
  const Error& error() const;
  /// True if the failure is a refusal that arrived in the clear: a hint for a person, proof of nothing.
  bool refused_by_peer() const { return refused_by_peer_; }

  /// Heap held by our buffers, for budgets and metrics: everything but the Noise state and the guarded pages.
  std::size_t memory_bytes() const;

  bool initiator() const { return initiator_; }
  /// nullopt while a responder has not read the preamble.
  std::optional<ChannelKind> kind() const { return kind_; }
  /// The peer's proven key: after established(), or while need() is approval.
  std::optional<TransportPublicKey> peer_static() const { return peer_static_; }
  /// joining: from message 1 on. Proven only by established().
  std::optional<InviteId> invite() const { return invite_; }
  /// What the peer put into its handshake message. Only if peer_static().
  const Bytes& peer_payload() const { return peer_payload_; }
  /// Names this session, the same on both sides (Noise's handshake hash): what a signature binds itself to.
  std::optional<HandshakeHash> handshake_hash() const { return handshake_hash_; }

 private:
  enum class State : std::uint8_t { preamble, handshake, open, ended };

  Channel(Random& random, const TransportKeyPair& own, ByteView payload, ChannelOptions options, bool initiator);
  void start_initiator(ChannelKind kind, const TransportPublicKey* relay, const SymmetricKey* psk);
  Status start_handshake(const TransportPublicKey* remote);
  Status feed_preamble(ByteView& bytes);
  Status feed_frame(ByteView& bytes);
  Result<std::size_t> frame_bytes(std::uint8_t high, std::uint8_t low) const;
  Status on_frame(ByteView frame);
  Status on_refusal(ByteView frame);
  Status on_handshake_message(ByteView message);
  Status on_message_1(ByteView payload);
  Status on_transport_message(ByteView sealed);
  Status on_chunk(std::uint8_t flag);
  Status write_handshake_message(ByteView payload);
  Status seal_frame(ByteView chunk, std::uint8_t flag);
  void establish();
  Status fail(Error error);
  void end(Error error);

  Random* random_;
  std::optional<TransportKeyPair> own_;  // until the handshake has it
  ChannelOptions options_;
  ChannelKinds kinds_;
  bool initiator_;
  State state_ = State::preamble;
  ChannelNeed need_ = ChannelNeed::none;
  std::optional<ChannelKind> kind_;
  std::uint8_t handshake_messages_ = 0;  // written and read
  Bytes preamble_;                       // the clear bytes, which the prologue repeats
  Bytes payload_;                        // ours, until it is sent
  Bytes held_;                           // phones, responder: message 1 while it waits for its psk
  std::unique_ptr<noise::HandshakeState> handshake_;
  std::optional<noise::CipherState> sending_;
  std::optional<noise::CipherState> receiving_;
  Bytes frame_;                 // a frame that came in pieces, with its length
  Bytes message_;               // the message being reassembled
  std::deque<Bytes> messages_;  // whole, unread
  std::size_t unread_bytes_ = 0;
  Bytes output_;
  bool confirmed_ = false;
  bool close_sent_ = false;
  bool refused_by_peer_ = false;
  std::optional<Code> peer_close_code_;
  std::optional<Error> error_;
  std::optional<TransportPublicKey> peer_static_;
  std::optional<InviteId> invite_;
  Bytes peer_payload_;
  std::optional<HandshakeHash> handshake_hash_;
};

}  // namespace doorstep
