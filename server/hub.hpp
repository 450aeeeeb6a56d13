// Hub: what the network thread knows. The spaces' rosters and heads, who is connected and knows which space, what is queued. It hands
// jobs to the worker and its answers to the connections, and tells everybody else in a space what has changed.
//
// Invariants:
// 1. One thread. No sockets here: a connection is a Peer, so tests can hold a hub in their hands.
// 2. Nobody hears of a space in whose roster it does not stand (standing_of), not even that it changed.
// 3. New segments are shared, not copied; a peer whose queue is over its bound gets the head only, and loads the rest by its window.
// 4. Bytes on their way to the worker are counted, and so is what peers hold: above the bounds crowded() holds back the readers. When
//    memory is short, whoever holds most goes, as long as that is more than its share: so nobody can make the others wait.
// 5. Seats change hands: at the door whoever came first goes when one more comes; of the strangers, who has brought nothing for longest; of
//    one key's (or one invitation's) sessions the oldest. So neither those who say nothing nor one member can keep the others out.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <set>
#include <unordered_map>

#include "server/config.hpp"
#include "server/worker.hpp"

namespace doorstep::relay {

class Peer {
 public:
  virtual ~Peer() = default;
  virtual const TransportPublicKey& key() const = 0;
  virtual const std::optional<InviteId>& invite() const = 0;
  virtual void on_answer(Answer answer) = 0;
  /// A space that the peer's session knows has changed; also if its standing there has.
  virtual void on_summary(const SpaceSummary& summary) = 0;
  virtual void on_new_segments(const SpaceId& space, const LogHead& head, Position first, const std::vector<SharedBytes>& segments) = 0;
  virtual void on_proposals(const SpaceId& space, const std::vector<Bytes>& proposals) = 0;
  /// After it was held back: there is room again, or its turn.
  virtual void on_room() = 0;
  /// Of memory that is accounted for it.
  virtual std::size_t holds_bytes() const = 0;
  /// Its place is needed: it goes, at once. `why` is for the log.
  virtual void on_shown_out(const char* why) = 0;
};

class Hub {
 public:
  Hub(const Config& config, std::function<void(Job)> submit) : config_(config), submit_(std::move(submit)) {}
  /// At the start, and when a roster changes.
  void set_roster(const SpaceId& space, SharedRoster roster);
  void set_heads(const SpaceId& space, const std::vector<LogHead>& heads);

  // Seats -------------------------------------------------------------------------------------------------------------
  using Seat = std::list<Peer*>::iterator;
  /// Somebody who has not shown a key yet; it has the seat until it does, or is gone.
  Seat knock(Peer& peer);
  void leave_door(Seat seat) { door_.erase(seat); }
  std::size_t at_the_door() const { return door_.size(); }
  /// Whoever has stood at the door longest goes. False: nobody stands there.
  bool show_out_first();
  /// Somebody with a key that stands in no roster here.
  Seat seat_stranger(Peer& peer);
  /// It has brought something.
  void renew_stranger(Seat seat) { strangers_.splice(strangers_.end(), strangers_, seat); }
  void leave_stranger(Seat seat) { strangers_.erase(seat); }

  // Peers -------------------------------------------------------------------------------------------------------------
  ConnectionId enter(Peer& peer);
  void leave(ConnectionId connection);
  std::size_t peers() const { return peers_.size(); }
  /// A member of some space here, or of none (then it is a stranger).
  bool is_member(const TransportPublicKey& key) const { return by_transport_.contains(key); }
  /// Of an invitation that is open in some space.
  std::optional<SymmetricKey> connect_psk(const InviteId& invite) const;

  /// The spaces in whose rosters the peer stands; it hears of them from now on.
  std::vector<SpaceSummary> subscribe_all(ConnectionId connection);
  /// A space that the peer has named.
  void subscribe(ConnectionId connection, const SpaceId& space);
  Standing standing(const SpaceId& space, const Peer& peer) const;
  /// As that peer may see it; of a space where it does not stand only the id.
  SpaceSummary summary(const SpaceId& space, const Peer& peer) const;

  // Jobs --------------------------------------------------------------------------------------------------------------
  void submit(ConnectionId connection, decltype(Job::what) what);
  void on_answers(std::vector<Answer> answers, std::size_t job_bytes);

  // Bounds ------------------------------------------------------------------------------------------------------------
  bool crowded() const { return job_bytes_ > config_.worker_queue_bytes_max || short_of_memory(); }
  /// The peer waits for room: on_room() will tell.
  void wait_for_room(ConnectionId connection) { waiting_.insert(connection); }
  /// What a peer holds more, or less, than before.
  void account(std::int64_t bytes);
  std::uint64_t memory_bytes() const { return memory_bytes_ + job_bytes_; }
  /// Strangers hand in rosters one at a time. False: on_room() when it is this one's turn.
  bool take_stranger_turn(ConnectionId connection);
  void end_stranger_turn(ConnectionId connection);

 private:
  struct Space {
    SharedRoster roster;
    std::map<LogId, LogHead> heads;
    std::set<ConnectionId> subscribers;
  };

  Peer* find(ConnectionId connection) const;
  void on_appended(ConnectionId connection, Answer answer);
  void on_roster(ConnectionId connection, Answer answer);
  void on_proposal(ConnectionId connection, Answer answer);
  void tell_summary(const SpaceId& space, ConnectionId but_not);
  void tell_segments(const done::SegmentsAppended& done, ConnectionId but_not);
  void tell_room();
  bool short_of_memory() const { return memory_bytes_ > config_.memory_bytes_max / 10 * 9; }

  const Config& config_;
  std::function<void(Job)> submit_;
  std::map<SpaceId, Space> spaces_;
  std::unordered_map<TransportPublicKey, std::set<SpaceId>, FixedBytesHash> by_transport_;
  std::unordered_map<InviteId, std::set<SpaceId>, FixedBytesHash> by_invite_;
  struct Entered {
    Peer* peer = nullptr;
    std::set<SpaceId> subscribed;
  };
  std::map<ConnectionId, Entered> peers_;  // the oldest first
  std::list<Peer*> door_, strangers_;      // likewise
  std::set<ConnectionId> waiting_;
  std::deque<ConnectionId> stranger_turns_;  // the first one has it
  ConnectionId next_ = 1;
  std::uint64_t job_bytes_ = 0;
  std::uint64_t memory_bytes_ = 0;
};

}  // namespace doorstep::relay
