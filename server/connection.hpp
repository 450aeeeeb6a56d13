// Connection: one socket with its channel and session. It interprets the session's effects: sends, asks the worker through the
// hub, and answers the session.
//
//   accepted ──handshake──▶ authenticated ──session──▶ closing ──(out queue written, peer's end or 2 s)──▶ gone
//       └── deadline, limit, bad bytes ────────────────────▲
//
// Invariants:
// 1. One reader, one writer, one watch coroutine on the one network thread; each holds the connection, nobody else touches the socket.
//    A deadline closes the connection and never retries a read.
// 2. Memory is bounded: nothing is read while the out queue is over its bound, the worker is crowded, or it is not this stranger's turn;
//    nothing is loaded for a peer whose out queue is over its bound. Before authentication at most 4 KiB are read at a time, and the
//    channel keeps no more than a handshake message.
// 3. A peer's error ends this connection and nothing else.
#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <memory>

#include "server/hub.hpp"
#include "sync/channel.hpp"

namespace doorstep::relay {

/// What every connection of a relay shares.
struct Shared {
  const Config& config;
  Hub& hub;
  Clock& clock;
  Random& random;
  const StoreIdentity& identity;
  std::array<std::uint8_t, 64u << 10> read_buffer{};  ///< One thread reads from one socket at a time.
  std::set<class Connection*> connections;
};

class Connection final : public Peer, public std::enable_shared_from_this<Connection> {
 public:
  Connection(boost::asio::ip::tcp::socket socket, Shared& shared);
  ~Connection() override;
  void start();
  /// Finishes what has been handed in, says goodbye, writes out and closes.
  void drain();
  /// At once.
  void abort();

  // Peer
  const TransportPublicKey& key() const override { return key_; }
  const std::optional<InviteId>& invite() const override { return invite_; }
  void on_answer(Answer answer) override;
  void on_summary(const SpaceSummary& summary) override;
  void on_new_segments(const SpaceId& space, const LogHead& head, Position first, const std::vector<SharedBytes>& segments) override;
  void on_proposals(const SpaceId& space, const std::vector<Bytes>& proposals) override;
  void on_room() override;

 private:
  enum class Stage : std::uint8_t { handshake, session, closing, gone };

  static boost::asio::awaitable<void> read(std::shared_ptr<Connection> self);
  static boost::asio::awaitable<void> write(std::shared_ptr<Connection> self);
  static boost::asio::awaitable<void> watch(std::shared_ptr<Connection> self);
  void spawn(boost::asio::awaitable<void> loop);
  bool held_back();

  void on_bytes(ByteView bytes);
  void answer_handshake();
  void authenticated();
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
  void gone();
  bool overdue(std::int64_t now);
  std::int64_t now() { return shared_.clock.steady_ms(); }
  std::string name() const;

  Shared& shared_;
  Hub& hub_;
  const Config& config_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer reader_wake_, writer_wake_, watch_wake_;
  Channel channel_;
  std::optional<Session> session_;
  Stage stage_ = Stage::handshake;
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
  std::deque<Effect> deferred_loads_;    // wait for room in the out queue
  std::deque<Effect> deferred_appends_;  // wait for the stranger's turn
  std::size_t jobs_open_ = 0;            // writes at the worker
  std::size_t splits_ = 0, proposals_ = 0;

  std::int64_t accepted_at_ = 0, heard_at_ = 0, pinged_at_ = 0, written_at_ = 0, closing_at_ = 0;
  std::int64_t message_began_at_ = 0;  // 0: none is under way
  std::uint64_t message_bytes_ = 0;
};

}  // namespace doorstep::relay
