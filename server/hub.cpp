#include "server/hub.hpp"

#include <algorithm>

namespace doorstep::relay {

// ---- Spaces ------------------------------------------------------------------------------------------------------------

void Hub::set_roster(const SpaceId& id, SharedRoster roster) {
  Space& space = spaces_[id];
  if (space.roster)
    for (const auto& [invite, item] : space.roster->invites()) {
      const auto at = by_invite_.find(invite);
      if (at == by_invite_.end()) continue;
      at->second.erase(id);
      if (at->second.empty()) by_invite_.erase(at);
    }
  for (const auto& [device, member] : roster->members()) by_transport_[member.keys.transport].insert(id);  // members never leave
  for (const auto& [invite, item] : roster->invites()) by_invite_[invite].insert(id);
  space.roster = std::move(roster);
}

void Hub::set_heads(const SpaceId& id, const std::vector<LogHead>& heads) {
  Space& space = spaces_[id];
  space.heads.clear();
  for (const auto& head : heads) space.heads[head.id] = head;
}

std::optional<SymmetricKey> Hub::connect_psk(const InviteId& invite) const {
  const auto at = by_invite_.find(invite);
  if (at == by_invite_.end()) return std::nullopt;
  for (const auto& id : at->second) {
    const InviteItem* item = spaces_.at(id).roster->invite(invite);
    if (item) return SymmetricKey(std::span<const std::uint8_t, 32>(item->connect_psk.data));
  }
  return std::nullopt;
}

Standing Hub::standing(const SpaceId& id, const Peer& peer) const {
  const auto at = spaces_.find(id);
  if (at == spaces_.end() || !at->second.roster) return {};
  return standing_of(*at->second.roster, peer.key(), peer.invite());
}

SpaceSummary Hub::summary(const SpaceId& id, const Peer& peer) const {
  SpaceSummary out;
  out.space = id;
  const auto at = spaces_.find(id);
  const Standing standing = this->standing(id, peer);
  if (!standing.known) return out;  // as if the space were unknown: the peer may prove us wrong with a newer roster
  out.roster_size = at->second.roster->size();
  out.roster_head = at->second.roster->head();
  out.readable = standing.readable;
  out.appendable = standing.appendable;
  if (standing.readable || standing.appendable)
    for (const auto& [log, head] : at->second.heads) out.logs.push_back(head);
  return out;
}

// ---- Peers -------------------------------------------------------------------------------------------------------------

Peer* Hub::find(ConnectionId connection) const {
  const auto at = peers_.find(connection);
  return at == peers_.end() ? nullptr : at->second.peer;
}

Hub::Seat Hub::knock(Peer& peer) {
  if (door_.size() >= config_.unauthenticated_max) show_out_first();
  return door_.insert(door_.end(), &peer);
}

bool Hub::show_out_first() {
  if (door_.empty()) return false;
  door_.front()->on_shown_out("door");
  return true;
}

Hub::Seat Hub::seat_stranger(Peer& peer) {
  if (!strangers_.empty() && strangers_.size() >= config_.strangers_max) strangers_.front()->on_shown_out("strangers");
  return strangers_.insert(strangers_.end(), &peer);
}

ConnectionId Hub::enter(Peer& peer) {
  std::vector<Peer*> same;
  for (const auto& [id, entered] : peers_)
    if (entered.peer->key() == peer.key() || (peer.invite() && entered.peer->invite() == peer.invite())) same.push_back(entered.peer);
  if (same.size() >= config_.sessions_per_key_max) same.front()->on_shown_out("key");
  peers_[next_].peer = &peer;
  return next_++;
}

void Hub::leave(ConnectionId connection) {
  const auto entered = peers_.extract(connection);
  if (entered.empty()) return;
  for (const auto& id : entered.mapped().subscribed) {
    const auto space = spaces_.find(id);
    space->second.subscribers.erase(connection);
    if (!space->second.roster && space->second.subscribers.empty()) spaces_.erase(space);  // only named, never founded here
  }
  waiting_.erase(connection);
  end_stranger_turn(connection);
  submit_({connection, job::Forget{}});
  job_bytes_ += Job{connection, job::Forget{}}.bytes();
}

std::vector<SpaceSummary> Hub::subscribe_all(ConnectionId connection) {
  std::vector<SpaceSummary> out;
  Peer* peer = find(connection);
  if (!peer) return out;
  std::set<SpaceId> ids;
  if (const auto at = by_transport_.find(peer->key()); at != by_transport_.end()) ids = at->second;
  if (peer->invite())
    if (const auto at = by_invite_.find(*peer->invite()); at != by_invite_.end()) ids.insert(at->second.begin(), at->second.end());
  for (const auto& id : ids) {
    subscribe(connection, id);
    out.push_back(summary(id, *peer));
  }
  return out;
}

void Hub::subscribe(ConnectionId connection, const SpaceId& space) {
  const auto at = peers_.find(connection);
  if (at == peers_.end()) return;
  spaces_[space].subscribers.insert(connection);
  at->second.subscribed.insert(space);
}

// ---- Jobs --------------------------------------------------------------------------------------------------------------

void Hub::submit(ConnectionId connection, decltype(Job::what) what) {
  Job job{connection, std::move(what)};
  job_bytes_ += job.bytes();
  submit_(std::move(job));
}

void Hub::on_answers(std::vector<Answer> answers, std::size_t job_bytes) {
  job_bytes_ -= std::min<std::uint64_t>(job_bytes_, job_bytes);
  for (auto& answer : answers) {
    const auto connection = answer.connection;
    if (std::holds_alternative<done::SegmentsAppended>(answer.what))
      on_appended(connection, std::move(answer));
    else if (std::holds_alternative<done::RosterAppended>(answer.what))
      on_roster(connection, std::move(answer));
    else if (std::holds_alternative<done::ProposalPut>(answer.what))
      on_proposal(connection, std::move(answer));
    else if (const auto* split = std::get_if<done::Splitted>(&answer.what)) {
      const auto space = split->space;
      if (split->failed == Code::ok) set_heads(space, split->all_heads);
      if (Peer* peer = find(connection)) peer->on_answer(std::move(answer));
      tell_summary(space, connection);
    } else if (Peer* peer = find(connection)) {
      peer->on_answer(std::move(answer));
    }
  }
  tell_room();
}

void Hub::on_appended(ConnectionId connection, Answer answer) {
  const auto done = std::get<done::SegmentsAppended>(answer.what);  // a copy of pointers: the peer gets the original
  if (done.first_new != 0) spaces_[done.space].heads[done.head.id] = done.head;
  if (done.all_heads) set_heads(done.space, *done.all_heads);
  if (Peer* peer = find(connection)) peer->on_answer(std::move(answer));
  if (done.all_heads)
    tell_summary(done.space, 0);
  else if (done.first_new != 0)
    tell_segments(done, connection);
}

void Hub::on_roster(ConnectionId connection, Answer answer) {
  const auto& done = std::get<done::RosterAppended>(answer.what);
  const auto space = done.space;
  const bool changed = done.appended != 0 && done.roster;
  if (changed) set_roster(space, done.roster);
  if (Peer* peer = find(connection)) peer->on_answer(std::move(answer));
  if (changed) tell_summary(space, connection);
}

void Hub::on_proposal(ConnectionId connection, Answer answer) {
  const auto done = std::get<done::ProposalPut>(answer.what);
  if (Peer* peer = find(connection)) peer->on_answer(std::move(answer));
  if (!done.status) return;
  const auto subscribers = spaces_[done.space].subscribers;
  for (const auto id : subscribers)
    if (Peer* peer = find(id); peer && standing(done.space, *peer).sequencer) peer->on_proposals(done.space, {done.bytes});
}

void Hub::tell_summary(const SpaceId& id, ConnectionId but_not) {
  const auto subscribers = spaces_[id].subscribers;  // a copy: a peer may leave while it is told
  for (const auto subscriber : subscribers)
    if (Peer* peer = find(subscriber); peer && subscriber != but_not && standing(id, *peer).known) peer->on_summary(summary(id, *peer));
}

void Hub::tell_segments(const done::SegmentsAppended& done, ConnectionId but_not) {
  const auto subscribers = spaces_[done.space].subscribers;
  for (const auto subscriber : subscribers) {
    Peer* peer = find(subscriber);
    if (!peer || subscriber == but_not || !standing(done.space, *peer).readable) continue;
    peer->on_new_segments(done.space, done.head, done.first_new, done.new_segments);
  }
}

// ---- Bounds ------------------------------------------------------------------------------------------------------------

void Hub::account(std::int64_t bytes) {
  memory_bytes_ += static_cast<std::uint64_t>(bytes);
  if (bytes < 0 && !waiting_.empty()) tell_room();
  if (bytes < 0 || !short_of_memory()) return;
  const auto most = std::max_element(peers_.begin(), peers_.end(), [](const auto& a, const auto& b) {
    return a.second.peer->holds_bytes() < b.second.peer->holds_bytes();
  });
  if (most != peers_.end() && most->second.peer->holds_bytes() > config_.memory_bytes_max / config_.connections_max)
    most->second.peer->on_shown_out("memory");
}

void Hub::tell_room() {
  if (crowded()) return;
  for (const auto id : std::exchange(waiting_, {}))
    if (Peer* peer = find(id)) peer->on_room();
}

bool Hub::take_stranger_turn(ConnectionId connection) {
  if (std::find(stranger_turns_.begin(), stranger_turns_.end(), connection) == stranger_turns_.end()) stranger_turns_.push_back(connection);
  return stranger_turns_.front() == connection;
}

void Hub::end_stranger_turn(ConnectionId connection) {
  const auto at = std::find(stranger_turns_.begin(), stranger_turns_.end(), connection);
  if (at == stranger_turns_.end()) return;
  const bool had_it = at == stranger_turns_.begin();
  stranger_turns_.erase(at);
  if (had_it && !stranger_turns_.empty())
    if (Peer* peer = find(stranger_turns_.front())) peer->on_room();
}

}  // namespace doorstep::relay
