// Conversation: what the relay and one peer say to each other. It holds the channel and the session, interprets the session's effects
// (sends, asks the worker through the hub) and answers the session. Driven: bytes and time in, bytes out; it owns neither socket nor
// clock, so that the simulator holds the same ones as the relay.
//
//   handshake ──▶ session ──▶ closing ──(output written, peer's end or 2 s)──▶ gone
//       └── deadline, limit, bad bytes ──▲
//
// Invariants:
// 1. Memory is bounded: its body reads nothing while held_back(): the out queue is over its bound, the worker is crowded or has enough of
//    this peer's, or it is not this stranger's turn; nothing is loaded for a peer whose out queue is over its bound. Before authentication
//    the body reads at most read_bytes_before_authentication at a time, and the channel keeps no more than a handshake message.
// 2. A deadline ends it and never retries.
// 3. A peer's error ends this conversation and nothing else.
#pragma once

#include <deque>
#include <memory>

#include "server/hub.hpp"
#include "sync/channel.hpp"

namespace doorstep::relay {

/// What every conversation of a relay shares.
struct Shared {
  const Config& config;
  Hub& hub;
  Clock& clock;
  Random& random;
  const StoreIdentity& identity;
};

class Conversation final : public Peer {
 public:
  static constexpr std::size_t read_bytes_before_authentication = 4096;

  /// Who carries its bytes. Calls come while a call into the conversation is under way, or one into the hub.
  class Body {
   public:
    virtual ~Body() = default;
    virtual void may_read() = 0;         ///< Perhaps no longer held back.
    virtual void may_write() = 0;        ///< Output has grown, or there will be no more.
    virtual void begins_to_close() = 0;  ///< Deadlines are short from now on.
    virtual void gone() = 0;             ///< Nothing more to read or write: close. Called once.
  };
  enum class Stage : std::uint8_t { handshake, session, closing, gone };

  Conversation(Shared& shared, Body& body);
  ~Conversation() override;

  Stage stage() const { return stage_; }
  /// Nothing is to be read now.
  bool held_back();
  void on_bytes(ByteView bytes);
  /// Nothing more will come; the peer may still read. True: there is something left to write.
  bool on_end();
  /// Sealed, in order; the first one is written up to output_offset().
  const std::deque<Bytes>& output() const { return out_; }
  std::size_t output_offset() const { return out_offset_; }
  void wrote(std::size_t bytes);
  /// All is written and the stage is closing: the body said so to the peer.
  void on_all_written();
  /// Looks at the deadlines: to be called about every tick_ms().
  void tick();
  std::int64_t tick_ms() const;

  /// Finishes what has been handed in, says goodbye, writes out and closes.
  void drain();
  /// At once.
  void abort();
  /// For logs: the first digits of the device's transport key.
  std::string name() const;

  // Peer
  const TransportPublicKey& key() const override { return key_; }
  const std::optional<InviteId>& invite() const override { return invite_; }
  void on_answer(Answer answer) override;
  void on_summary(const SpaceSummary& summary) override;
  void on_new_segments(const SpaceId& space, const LogHead& head, Position first, const std::vector<SharedBytes>& segments) override;
  void on_proposals(const SpaceId& space, const std::vector<Bytes>& proposals) override;
  void on_room() override;
  std::size_t holds_bytes() const override { return accounted_; }
  void on_shown_out(const char* why) override;

 private:
  void answer_handshake();
  void authenticated();
  void submit(decltype(Job::what) what);
  void run_effects();
  void carry_out(Effect effect);
  void send(ByteView message);
  void append_roster(effect::AppendRoster append);
  void append_segments(effect::AppendSegments append);
  void load(effect::LoadSegments load);
  void load(effect::LoadRoster load);
  void split(const effect::Split& split);
  void propose(const effect::Proposal& proposal);
  bool may_compare(const SpaceId& space);
  void run_deferred();
  void check_stranger();

  void answered(done::SegmentsAppended& done);
  void answered(done::RosterAppended& done);
  void answered(done::Splitted& done);
  void answered(done::ProposalPut& done);
  void answered(done::SegmentsLoaded& done);
  void answered(done::RosterLoaded& done);
  void answered(done::ProposalsLoaded& done);
  void answered(done::LocatorMade& done);
  void answered(done::Located& done);

  void flush();
  bool over_bound() const;
  void close(Code code, const char* why);
  void leave();
  void gone();
  bool overdue(std::int64_t now);
  std::int64_t now() { return shared_.clock.steady_ms(); }

  Shared& shared_;
  Hub& hub_;
  const Config& config_;
  Body& body_;
  Channel channel_;
  std::optional<Session> session_;
  Stage stage_ = Stage::handshake;
  Hub::Seat seat_;  // at the door, then perhaps a stranger's
  bool at_door_ = true;
  ConnectionId id_ = 0;
  TransportPublicKey key_;
  std::optional<InviteId> invite_;
  bool stranger_ = false;
  bool draining_ = false;
  bool in_effects_ = false;
  bool peer_ended_ = false;  // nothing more to read, something still to write
  std::uint64_t stranger_bytes_ = 0;

  std::deque<Bytes> out_;  // sealed, in order
  std::size_t out_bytes_ = 0;
  std::size_t out_offset_ = 0;           // written of the first
  std::uint64_t accounted_ = 0;          // told to the hub
  std::size_t loading_bytes_ = 0;        // at most what the worker's answers will bring
  std::deque<Effect> deferred_loads_;    // wait for room in the out queue
  std::deque<Effect> deferred_appends_;  // wait for the stranger's turn
  std::size_t jobs_open_ = 0;            // at the worker
  std::size_t splits_ = 0, proposals_ = 0;

  std::int64_t accepted_at_ = 0, heard_at_ = 0, pinged_at_ = 0, written_at_ = 0, closing_at_ = 0;
  std::int64_t message_began_at_ = 0;  // 0: none is under way
  std::uint64_t message_bytes_ = 0;
};

}  // namespace doorstep::relay
