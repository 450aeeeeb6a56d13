// Link: a Session, its Channel and the replica between them. Every effect is carried out under the core's mutex and answered at
// once; the mutex is given back between effects, so that the app's writes get their turn while a sync runs.
#include <algorithm>
#include <set>

#include "doorstep/sync.hpp"
#include "sdk/core/core.hpp"
#include "sdk/core/view.hpp"
#include "sync/channel.hpp"
#include "sync/invite.hpp"
#include "sync/lab.hpp"

namespace doorstep {

class Link::Body {
 public:
  Body(std::shared_ptr<Core> core, const RelayAddress& relay, Channel channel, Session::Options options)
      : core_(std::move(core)), relay_(relay), channel_(std::move(channel)), session_(std::move(options)) {}
  ~Body();

  /// Without memory a call stops anywhere: the link has ended then, and the store stands where its last transaction left it.
  Status guarded(const std::function<Status()>& call);
  Status feed(ByteView bytes);
  Bytes output();
  void tick();
  void wake();
  void on_work(std::function<void()> callback);
  void close();
  bool ended() const { return ended_; }
  bool done() const {
    return level_ && session_.level() && outbox_.empty() && (!joining_ || proposed_) && session_.pongs() >= pongs_awaited_;
  }
  bool outdated();
  SyncReport report();

  std::vector<SpaceId> spaces_;
  std::set<SpaceId> waiting_;  ///< For admission, when the link began.
  std::int64_t started_ms_ = 0;
  bool joining_ = false;
  std::optional<Invitation> invitation_;

 private:
  void run();
  void handle(effect::Send& e);
  void handle(effect::LoadSummaries& e);
  void handle(effect::LoadRoster& e);
  void handle(effect::LoadSegments& e);
  void handle(effect::AppendRoster& e);
  void handle(effect::AppendSegments& e);
  void handle(effect::PeerHello& e);
  void handle(effect::PeerHeads& e);
  void handle(effect::SpaceReady& e);
  void handle(effect::PeerStored& e);
  void handle(effect::PeerRefused& e);
  void handle(effect::Proposal& e);
  void handle(effect::Locate& e);
  void handle(effect::MakeLocator& e);
  void handle(effect::Split& e);
  void handle(effect::Level& e);
  void handle(effect::Close& e);

  SpaceSummary summary(SpaceState& space) const;
  SpaceState* space(const SpaceId& id);
  void become_ready(SpaceState& space);
  void settle();
  void ask_for_receipt(const SpaceState& space, const LogState& log, Position position);
  std::size_t without_receipt(SpaceState& space) const;
  void count_to_send();
  bool look_for_news();
  void offer_fresh();
  void warn(std::string text);
  void flush_outbox();
  void ask_for_proposals();

  std::shared_ptr<Core> core_;
  RelayAddress relay_;
  Channel channel_;
  Session session_;
  std::deque<Bytes> outbox_;
  DeviceId receipt_key_;
  std::map<SpaceId, std::map<LogId, Position>> own_ahead_;  ///< The peer's heads of our own logs, while we have less.
  std::set<SpaceId> ready_;
  std::uint64_t fresh_seen_ = 0, roster_seen_ = 0, pongs_awaited_ = 0;
  int callback_ = -1;
  bool connected_ = false, level_ = false, ended_ = false, proposed_ = false;
  std::int64_t last_heard_ms_ = 0, last_ping_ms_ = 0;
  std::optional<Error> failure_;
  SyncReport report_;
};

namespace {

bool names(const std::vector<RelayAddress>& relays, const TransportPublicKey& key) {
  return std::any_of(relays.begin(), relays.end(), [&](const RelayAddress& relay) { return relay.key == key; });
}

}  // namespace

namespace {

Result<Link> start_link(Replica& replica, const RelayAddress& relay, Link::As as) {
  using As = Link::As;
  using Body = Link::Body;
  const auto core = replica.core();
  const TakeTurn<Turn> guard(core->mutex);
  DOORSTEP_TRY(core->require_open());
  std::vector<SpaceId> spaces;
  std::optional<Invitation> invitation;
  std::set<SpaceId> waiting;
  for (auto& [id, space] : core->spaces()) {
    if (!space.invitation.empty()) waiting.insert(id);
    if (core->belongs_to(space)) {
      if (names(space.relays(), relay.key)) spaces.push_back(id);
    } else if (!invitation && !space.invitation.empty() && as != As::member) {
      auto parsed = Invitation::from_uri(space.invitation);
      if (!parsed || !names(parsed->relays, relay.key)) continue;
      if (as == As::claimant)
        spaces.push_back(id);
      else
        invitation = std::move(*parsed);
    }
  }
  Session::Options options;
  options.initiator = true;
  options.now_ms = core->clock().wall_ms();
  if (invitation) {
    // A newcomer first asks to be admitted; what he is a member of already is synced by the next link.
    Channel channel = Channel::joining(core->random(), core->transport(), relay.key, invitation->id(), invitation->connect_psk());
    auto body = std::make_unique<Body>(core, relay, std::move(channel), options);
    body->joining_ = true;
    for (const auto& id : invitation->spaces)
      if (core->spaces().contains(id)) body->spaces_.push_back(id);
    body->invitation_ = std::move(invitation);
    return Link(std::move(body));
  }
  if (spaces.empty()) return Error(Code::not_found, "no space of this store uses that relay");
  auto body = std::make_unique<Body>(core, relay, Channel::device(core->random(), core->transport(), relay.key), options);
  body->spaces_ = std::move(spaces);
  body->waiting_ = std::move(waiting);
  body->started_ms_ = core->clock().steady_ms();
  return Link(std::move(body));
}

}  // namespace

Result<Link> Link::start(Replica& replica, const RelayAddress& relay, As as) {
  return without_throwing([&] { return start_link(replica, relay, as); });
}

Link::Link(std::unique_ptr<Body> body) : body_(std::move(body)) {}
Link::Link(Link&&) noexcept = default;
Link& Link::operator=(Link&&) noexcept = default;
Link::~Link() = default;
Status Link::feed(ByteView bytes) {
  return body_->guarded([&] { return body_->feed(bytes); });
}
Bytes Link::output() {
  Bytes out;
  (void)body_->guarded([&]() -> Status { return out = body_->output(), Status(); });
  return out;
}
void Link::tick() {
  (void)body_->guarded([&]() -> Status { return body_->tick(), Status(); });
}
void Link::wake() {
  (void)body_->guarded([&]() -> Status { return body_->wake(), Status(); });
}
void Link::on_work(std::function<void()> callback) {
  (void)body_->guarded([&]() -> Status { return body_->on_work(std::move(callback)), Status(); });
}
void Link::close() {
  (void)body_->guarded([&]() -> Status { return body_->close(), Status(); });
}
bool Link::ended() const { return body_->ended(); }
bool Link::outdated() const { return body_->outdated(); }
bool Link::done() const { return body_->done(); }
SyncProgress Link::progress() const { return body_->report(); }
SyncReport Link::report() const { return body_->report(); }

Link::Body::~Body() {
  const TakeTurn<Turn> guard(core_->mutex);
  if (callback_ >= 0) core_->work_callbacks.erase(callback_);
  for (const auto& id : ready_) --core_->live[id];
}

void Link::Body::on_work(std::function<void()> callback) {
  const TakeTurn<Turn> guard(core_->mutex);
  if (callback_ < 0) callback_ = core_->next_callback++;
  core_->work_callbacks[callback_] = std::move(callback);
}

void Link::Body::warn(std::string text) {
  if (std::find(report_.warnings.begin(), report_.warnings.end(), text) == report_.warnings.end())
    report_.warnings.push_back(std::move(text));
}

SpaceState* Link::Body::space(const SpaceId& id) {
  const auto at = core_->spaces().find(id);
  return at == core_->spaces().end() ? nullptr : &at->second;
}

SpaceSummary Link::Body::summary(SpaceState& space) const {
  SpaceSummary out = space.summary();
  if (joining_) {
    out.logs.clear();
    out.readable = out.appendable = false;
  }
  return out;
}

// ---- Driving ---------------------------------------------------------------------------------------------------------------------

Status Link::Body::guarded(const std::function<Status()>& call) {
  bool finished = false;
  const Status out = without_throwing([&] {
    const Status done = call();
    finished = true;
    return done;
  });
  if (finished) return out;
  ended_ = true;
  failure_ = Error::out_of_memory();
  return *failure_;
}

Status Link::Body::feed(ByteView bytes) {
  if (ended_) return failure_ ? Status(*failure_) : Status();
  report_.bytes_received += bytes.size();
  last_heard_ms_ = core_->clock().steady_ms();
  Status fed = channel_.feed(bytes);
  if (channel_.established() && !std::exchange(connected_, true)) session_.on_connected();
  while (auto message = channel_.next_message()) {
    session_.on_message(*message);
    run();
  }
  run();
  if (!fed && fed.code() != Code::busy) {
    ended_ = true;
    failure_ = fed.error();
  } else if (channel_.peer_closed()) {
    ended_ = true;
  }
  core_->notify();
  return failure_ && ended_ ? Status(*failure_) : Status();
}

void Link::Body::flush_outbox() {
  while (!outbox_.empty() && channel_.established()) {
    if (!channel_.send(outbox_.front())) break;
    outbox_.pop_front();
  }
}

Bytes Link::Body::output() {
  flush_outbox();
  Bytes out = channel_.take_output();
  flush_outbox();
  report_.bytes_sent += out.size();
  return out;
}

void Link::Body::tick() {
  constexpr std::int64_t ping_after_ms = 30'000;
  const auto now = core_->clock().steady_ms();
  if (!connected_ || ended_ || now - std::max(last_heard_ms_, last_ping_ms_) < ping_after_ms) return;
  last_ping_ms_ = now;
  session_.ping();
  run();
}

void Link::Body::wake() {
  if (ended_ || !connected_) return;
  look_for_news() ? run() : close();
}

// False if the store is locked. Gives the core's turn back, as running and closing take it again.
bool Link::Body::look_for_news() {
  const TakeTurn<Turn> guard(core_->mutex);
  if (core_->locked()) return false;
  if (core_->roster_serial != std::exchange(roster_seen_, core_->roster_serial))
    for (const auto& id : spaces_)
      if (SpaceState* state = space(id)) session_.on_summary(summary(*state));
  offer_fresh();
  return true;
}

bool Link::Body::outdated() {
  constexpr std::int64_t ask_again_ms = 30'000;
  const TakeTurn<Turn> guard(core_->mutex);
  if (joining_ || core_->locked()) return false;
  const bool late = core_->clock().steady_ms() - started_ms_ > ask_again_ms;
  return std::any_of(core_->spaces().begin(), core_->spaces().end(), [&](const auto& each) {
    const auto& [id, state] = each;
    if (std::find(spaces_.begin(), spaces_.end(), id) != spaces_.end()) return false;
    if (core_->belongs_to(state)) return names(state.relays(), relay_.key);
    if (state.invitation.empty() || (waiting_.contains(id) && !late)) return false;
    const auto invitation = Invitation::from_uri(state.invitation);
    return invitation && names(invitation->relays, relay_.key);
  });
}

// Segments that were sealed since the last look, with their bytes, while the queue still holds them.
void Link::Body::offer_fresh() {
  const auto& queue = core_->fresh;
  const bool missed = !queue.empty() && queue.front().serial > fresh_seen_ + 1;
  for (const auto& fresh : queue) {
    if (fresh.serial <= fresh_seen_) continue;
    if (std::find(spaces_.begin(), spaces_.end(), fresh.space) == spaces_.end()) continue;
    session_.on_new_segments(fresh.space, fresh.head, fresh.first, fresh.segments);
  }
  fresh_seen_ = core_->fresh_serial;
  if (missed)
    for (const auto& id : spaces_)
      if (SpaceState* state = space(id)) session_.on_summary(summary(*state));
}

void Link::Body::close() {
  session_.close(Code::ok);
  run();
  flush_outbox();
  channel_.close();
  ended_ = true;
}

void Link::Body::run() {
  for (;;) {
    auto effects = session_.take_effects();
    if (effects.empty()) return;
    for (auto& effect : effects) {
      const TakeTurn<Turn> guard(core_->mutex);
      if (core_->locked()) {
        ended_ = true;
        failure_ = Error(Code::locked, "the store was locked while it was syncing");
        return;
      }
      std::visit([this](auto& e) { handle(e); }, effect);
    }
  }
}

// ---- Effects ---------------------------------------------------------------------------------------------------------------------

void Link::Body::handle(effect::Send& e) {
  if (outbox_.empty() && channel_.send(e.message)) return;
  outbox_.push_back(std::move(e.message));
}

void Link::Body::handle(effect::LoadSummaries&) {
  std::vector<SpaceSummary> summaries;
  for (const auto& id : spaces_)
    if (SpaceState* state = space(id)) summaries.push_back(summary(*state));
  fresh_seen_ = core_->fresh_serial;
  roster_seen_ = core_->roster_serial;
  session_.on_summaries(std::move(summaries));
}

void Link::Body::handle(effect::LoadRoster& e) {
  std::vector<Bytes> entries;
  if (SpaceState* state = space(e.space); state && state->roster)
    for (Position i = e.from; i < state->roster->size(); ++i) entries.push_back(state->roster->entry_at(i));
  session_.on_roster_loaded(e.space, e.from, std::move(entries));
}

void Link::Body::handle(effect::LoadSegments& e) {
  SpaceState* state = space(e.space);
  if (!state) return;
  bool diverged = false;
  auto segments = core_->load_segments(*state, e.log, e.after, e.bytes_max, e.expect, &diverged);
  if (!segments) {
    failure_ = segments.error();
    return session_.close(Code::internal);
  }
  session_.on_segments_loaded(e.space, e.log, e.after, std::move(*segments), diverged);
}

void Link::Body::handle(effect::AppendRoster& e) {
  SpaceState* state = space(e.space);
  if (!state) return;
  const auto added = core_->append_roster(*state, e.first, e.entries);
  state = space(e.space);
  if (!state) {  // the disk failed so badly that the store is closed
    failure_ = added.error();
    return session_.close(added.code());
  }
  if (!added) warn(added.error().message());
  session_.on_roster_stored(e.space, summary(*state), added ? Status() : Status(added.error()));
}

void Link::Body::handle(effect::AppendSegments& e) {
  SpaceState* state = space(e.space);
  if (!state) return;
  std::size_t merged = 0;
  const auto stored = core_->append_segments(*state, e.log, e.first, e.segments, &merged);
  report_.transactions_received += merged;
  session_.on_segments_stored(e.space, e.log, stored);
  if (stored.refused == Code::full || stored.refused == Code::io) {
    failure_ = Error(stored.refused, "this device's disk is full or failing: nothing was lost, free some space and sync again");
    return session_.close(stored.refused);
  }
  const auto ahead = own_ahead_.find(e.space);
  state = space(e.space);
  if (ahead == own_ahead_.end() || !state) return;
  std::erase_if(ahead->second, [&](const auto& wanted) {
    const auto log = state->log_by_id.find(wanted.first);
    return log != state->log_by_id.end() && state->logs.at(log->second).head.position >= wanted.second;
  });
  if (!ahead->second.empty()) return;
  own_ahead_.erase(ahead);
  become_ready(*state);
}

void Link::Body::handle(effect::PeerHello& e) {
  receipt_key_ = e.receipt_key;
  const auto offset = e.now_ms - core_->clock().wall_ms();
  core_->clock_checked(relay_.key, offset);
  constexpr std::int64_t day_ms = 86'400'000;
  if (std::abs(offset) >= day_ms)
    warn("本机时间与镇服务器相差 " + std::to_string(std::abs(offset) / day_ms) + " 天以上，请校正。 / This device's clock is more than " +
         std::to_string(std::abs(offset) / day_ms) + " days off: please set it. Nothing is lost by it.");
  if (e.store)
    if (Status fell = core_->receipts_fall_back(*e.store); !fell) failure_ = fell.error();
}

// Invariant 5: before anything of our own log leaves, we look at what the peer knows of it. What it has of ours and we have not
// is fetched first: this store went back in time, or has a twin.
void Link::Body::handle(effect::PeerHeads& e) {
  SpaceState* state = space(e.space);
  if (!state || joining_) return;
  state->seen_roster_size = std::max(state->seen_roster_size, e.roster_size);
  std::map<LogId, const effect::PeerHead*> theirs;
  bool went_back = false, regressed = false;
  own_ahead_.erase(e.space);
  for (const auto& head : e.logs) {
    theirs[head.log] = &head;
    if (head.device != tag_of(core_->device()) || DOORSTEP_PLANTED(ignore_own_head)) continue;
    const auto known = state->log_by_id.find(head.log);
    if (known != state->log_by_id.end() && state->logs.at(known->second).head.position >= head.position) continue;
    own_ahead_[e.space][head.log] = head.position;
    went_back = true;
    // Only the log that we write must not go on; one of another life is just fetched.
    regressed = regressed || (known != state->log_by_id.end() && known->second == state->own_log);
  }
  for (const auto& [n, log] : state->logs) {
    const auto at = theirs.find(log.head.id);
    const Position position = at == theirs.end() ? 0 : at->second->position;
    // A head that went back: what was receipted is at the office no longer.
    (void)core_->database().run("DELETE FROM receipt WHERE log = ? AND position > ?", n, static_cast<std::int64_t>(position));
    if (log.head.name.device != core_->device() || position == 0 || position > log.head.position) continue;
    auto hash = core_->hash_at(*state, log, position);
    if (!hash || !*hash || shorten(**hash) != at->second->hash) {
      went_back = true;
      regressed = regressed || n == state->own_log;
      continue;
    }
    ask_for_receipt(*state, log, position);
  }
  if (!went_back) return;
  warn(
      "本机数据曾被恢复或复制，已另起一段日志，原有内容都保留。 / This store went back in time (restored or copied): it continues in a new "
      "log, "
      "and nothing is lost.");
  if (!regressed) return;
  if (Status fell = core_->own_log_regressed(*state); !fell) failure_ = fell.error();
}

// Of our own log, which the peer has up to `position`: what it has, it acknowledges again.
void Link::Body::ask_for_receipt(const SpaceState& state, const LogState& log, Position position) {
  auto receipted = core_->database().query_int("SELECT position FROM receipt WHERE log = ?", log.n);
  if ((receipted ? static_cast<Position>(*receipted) : 0) < position) session_.resend(state.id, log.head.id, position - 1);
}

void Link::Body::become_ready(SpaceState& state) {
  if (ready_.insert(state.id).second) ++core_->live[state.id];
  count_to_send();
  if (state.rebuilt) return;  // until everything that the relay has is here: settle()
  if (!state.waits_for(core_->device()).empty()) {
    warn("“" + state.name + "”: waits for " + state.waits_for(core_->device()));
    return;
  }
  if (Status sealed = core_->change([&] { return core_->seal_pending(state); }); !sealed) {
    failure_ = sealed.error();
    return session_.close(sealed.code());
  }
  offer_fresh();
}

void Link::Body::handle(effect::SpaceReady& e) {
  SpaceState* state = space(e.space);
  if (!state) return;
  if (!joining_) {
    if (!own_ahead_.contains(e.space)) become_ready(*state);
    return;
  }
  auto request = JoinRequest::make(*invitation_, e.space, core_->identity(), core_->device_keys(), {state->label, {}});
  if (request && !state->roster->member(core_->device())) session_.propose(e.space, request->encode());
  if (!state->roster->member(core_->device())) warn("“" + state->name + "”: 等待镇里审核加入 / waits for admission");
  proposed_ = true;
}

void Link::Body::handle(effect::PeerStored& e) {
  SpaceState* state = space(e.space);
  if (!state || !e.receipt) return;
  const std::size_t before = without_receipt(*state);
  if (Status stored = core_->store_receipt(*state, e.log, e.position, *e.receipt, receipt_key_); !stored) {
    failure_ = stored.error();
    return session_.close(stored.code());
  }
  const std::size_t after = without_receipt(*state);
  if (after < before) report_.transactions_sent += before - after;
  if (spaces_.size() == 1)
    report_.transactions_to_send = after;
  else
    count_to_send();
}

std::size_t Link::Body::without_receipt(SpaceState& state) const {
  const auto pending = pending_in(*core_, state);
  return pending ? pending->transactions : 0;  // only told to people: what matters stands in the store
}

void Link::Body::count_to_send() {
  report_.transactions_to_send = 0;
  for (const auto& id : spaces_)
    if (SpaceState* state = space(id)) report_.transactions_to_send += without_receipt(*state);
}

void Link::Body::handle(effect::PeerRefused& e) {
  warn(std::string("服务器没有接收部分数据 / the relay did not take some data: ") + code_name(e.code));
}

void Link::Body::handle(effect::Proposal& e) {
  if (SpaceState* state = space(e.space))
    if (Status stored = core_->store_proposal(*state, e.bytes); !stored) failure_ = stored.error();
}

void Link::Body::handle(effect::Locate& e) {
  if (SpaceState* state = space(e.space)) session_.on_located(e.space, e.log, core_->locate(*state, e.log, e.locator));
}

void Link::Body::handle(effect::MakeLocator& e) {
  if (SpaceState* state = space(e.space)) session_.on_locator(e.space, e.log, core_->locator(*state, e.log));
}

void Link::Body::handle(effect::Split& e) {
  SpaceState* state = space(e.space);
  if (!state) return;
  if (Status done = core_->split(*state, e.log, e.position); !done) {
    failure_ = done.error();
    return session_.close(done.code());
  }
  session_.on_summary(summary(*space(e.space)));
}

void Link::Body::handle(effect::Level&) {
  level_ = true;
  settle();
  ask_for_proposals();
}

// What a rebuild could not place waits for this moment: everything that the relay has is here.
void Link::Body::settle() {
  if (joining_) return;
  for (const auto& id : spaces_) {
    if (!space(id)) continue;
    const auto settled = core_->settle(id);
    if (!settled) {
      failure_ = settled.error();
      return session_.close(settled.code());
    }
    if (!*settled) continue;
    SpaceState* const state = space(id);
    session_.on_summary(summary(*state));
    for (const auto& [n, log] : state->logs)
      if (log.head.name.device == core_->device()) ask_for_receipt(*state, log, log.head.position);
    become_ready(*state);
  }
}

// Being level says nothing about proposals, which the relay stores and loads behind our backs. Whoever made one, and the sequencer,
// for whom some may wait, stays until the relay has answered.
void Link::Body::ask_for_proposals() {
  const bool sequencer = std::any_of(spaces_.begin(), spaces_.end(), [&](const SpaceId& id) {
    const SpaceState* state = space(id);
    return state && state->roster && state->roster->sequencer() == core_->device();
  });
  if (pongs_awaited_ != 0 || !(sequencer || joining_)) return;
  session_.ping();
  pongs_awaited_ = session_.pings();
}

void Link::Body::handle(effect::Close& e) {
  ended_ = true;
  if (e.code != Code::ok && !failure_) {
    static const std::map<Code, const char*> sentences{
        {Code::no_right, "the relay does not give this device the right to do that: ask the supervisor whether it is still a member"},
        {Code::unauthenticated, "the relay does not know this device: ask the supervisor for a new invitation"},
        {Code::unsupported, "the relay and this program have no protocol version in common: update the older one"},
        {Code::full, "the relay's disk or quota is full: what was written stays here and goes up later"}};
    const auto at = sentences.find(e.code);
    failure_ = Error(e.code, at != sentences.end() ? at->second : std::string("the relay ended the connection: ") + code_name(e.code));
  }
}

SyncReport Link::Body::report() {
  SyncReport out = report_;
  out.level = level_ && session_.level();
  return out;
}

}  // namespace doorstep
