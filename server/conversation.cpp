#include "server/conversation.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "sync/lab.hpp"

namespace doorstep::relay {

namespace {

constexpr std::size_t seal_ahead_bytes = 128u << 10;  // the channel's output moves to the out queue from here on
constexpr std::size_t roster_load_bytes = 512u << 10;
constexpr std::size_t splits_max = 64, proposals_max = 64;  // of one session
constexpr std::size_t jobs_open_max = 64;
constexpr std::int64_t linger_ms = 2000;
constexpr std::int64_t watch_ms_max = 5000;

std::int64_t signed_ms(std::uint64_t ms) { return static_cast<std::int64_t>(std::min<std::uint64_t>(ms, 1ull << 50)); }

}  // namespace

Conversation::Conversation(Shared& shared, Body& body)
    : shared_(shared),
      hub_(shared.hub),
      config_(shared.config),
      body_(body),
      channel_(Channel::responder(shared.random, shared.identity.transport, ChannelKinds::relay())) {
  seat_ = hub_.knock(*this);
  accepted_at_ = heard_at_ = written_at_ = now();
}

Conversation::~Conversation() { gone(); }

std::string Conversation::name() const { return key_.is_zero() ? "unknown" : key_.hex().substr(0, 8); }

// ---- Time --------------------------------------------------------------------------------------------------------------

std::int64_t Conversation::tick_ms() const {
  const auto shortest =
      std::min({config_.handshake_ms, config_.progress_ms, config_.ping_ms, config_.idle_ms, config_.write_stall_ms, config_.stranger_ms});
  const auto tick = std::clamp<std::int64_t>(signed_ms(shortest) / 4, 5, watch_ms_max);
  return stage_ == Stage::closing ? std::min<std::int64_t>(tick, 250) : tick;
}

void Conversation::tick() {
  if (stage_ != Stage::gone && overdue(now())) gone();
}

// True: there is nothing more to say to this peer.
bool Conversation::overdue(std::int64_t now) {
  if (!out_.empty() && now - written_at_ > signed_ms(config_.write_stall_ms)) return true;
  if (stage_ == Stage::closing) {
    // The peer may read what we said, or end first; a slow one has as long as one that stalls, for it is counted nowhere any more.
    if (out_.empty()) return now - std::max(closing_at_, written_at_) > linger_ms;
    return now - closing_at_ > signed_ms(config_.write_stall_ms);
  }
  if (stage_ == Stage::handshake) return now - accepted_at_ > signed_ms(config_.handshake_ms) && !DOORSTEP_PLANTED(no_handshake_deadline);
  if (message_began_at_ != 0) {
    const auto took = now - message_began_at_ - signed_ms(config_.progress_ms);
    if (took > 0 && static_cast<std::uint64_t>(took) * config_.progress_bytes_per_s > message_bytes_ * 1000) {
      close(Code::timeout, "slow");
      return false;
    }
  }
  if (stranger_ && now - accepted_at_ > signed_ms(config_.stranger_ms)) {
    close(Code::unauthenticated, "stranger");
    return false;
  }
  if (now - accepted_at_ > signed_ms(config_.session_ms)) {
    close(Code::ok, "age");
    return false;
  }
  const bool listening = !held_back();
  if (listening && now - heard_at_ > signed_ms(config_.idle_ms)) {
    close(Code::timeout, "silent");
    return false;
  }
  if (session_ && now - std::max(heard_at_, pinged_at_) > signed_ms(config_.ping_ms)) {
    pinged_at_ = now;
    session_->ping();
    run_effects();
  }
  return false;
}

// ---- Reading -----------------------------------------------------------------------------------------------------------

bool Conversation::over_bound() const { return out_bytes_ > config_.out_queue_bytes_max && !DOORSTEP_PLANTED(unbounded_out_queue); }

bool Conversation::held_back() {
  if (stage_ == Stage::closing || stage_ == Stage::gone) return false;  // what comes is thrown away
  if (draining_ || over_bound() || jobs_open_ > jobs_open_max || !deferred_appends_.empty()) return true;
  if (!hub_.crowded()) return false;
  hub_.wait_for_room(id_);
  return id_ != 0;  // who has not entered yet has nothing at the worker
}

bool Conversation::on_end() {
  if (out_.empty()) return false;
  close(Code::ok, "eof");  // it may still read
  peer_ended_ = true;
  return true;
}

void Conversation::on_bytes(ByteView bytes) {
  if (stage_ == Stage::closing || stage_ == Stage::gone) return;
  const auto at = now();
  heard_at_ = at;
  if (message_began_at_ == 0) {
    message_began_at_ = at;
    message_bytes_ = 0;
  }
  message_bytes_ += bytes.size();
  const auto fed = channel_.feed(bytes);
  if (stage_ == Stage::handshake) answer_handshake();
  if (stage_ == Stage::session) {
    while (!session_->closed()) {
      const auto message = channel_.next_message();
      if (!message) break;
      message_began_at_ = 0;
      session_->on_message(*message);
    }
    run_effects();
    if (stage_ != Stage::session) return;
    if (channel_.peer_closed()) return close(Code::ok, "peer_closed");
  }
  if (!fed && stage_ != Stage::closing) return close(fed.code(), "bad_bytes");
  flush();
}

void Conversation::answer_handshake() {
  if (channel_.need() == ChannelNeed::psk) {
    const auto psk = hub_.connect_psk(*channel_.invite());
    if (psk) {
      (void)channel_.provide_psk(*psk);  // a failure shows in the channel
    } else {
      channel_.refuse(Code::no_right);
      return close(Code::no_right, "unknown_invite");
    }
  }
  if (channel_.established()) authenticated();
}

void Conversation::authenticated() {
  message_began_at_ = 0;
  key_ = *channel_.peer_static();
  invite_ = channel_.invite();
  hub_.leave_door(seat_);
  at_door_ = false;
  stage_ = Stage::session;
  if (!invite_ && !hub_.is_member(key_)) {
    seat_ = hub_.seat_stranger(*this);
    stranger_ = true;
  }
  id_ = hub_.enter(*this);
  if (hub_.peers() > config_.connections_max || hub_.memory_bytes() > config_.memory_bytes_max / 10 * 9 ||
      (stranger_ && config_.strangers_max == 0))
    return close(Code::busy, "too_many");
  spdlog::info("event=session device={} kind={}", name(), invite_ ? "joining" : stranger_ ? "stranger" : "member");
  Session::Options options;
  options.store = shared_.identity.store;
  options.receipt_key = shared_.identity.receipts.public_key;
  options.now_ms = shared_.clock.wall_ms();
  session_.emplace(std::move(options));
  session_->on_connected();
  run_effects();
}

// ---- Effects -----------------------------------------------------------------------------------------------------------

void Conversation::run_effects() {
  if (in_effects_ || !session_) return;  // whoever is in the loop below takes ours too
  in_effects_ = true;
  while (stage_ == Stage::session) {
    auto effects = session_->take_effects();
    if (effects.empty()) break;
    for (auto& effect : effects) {
      if (stage_ != Stage::session) break;
      carry_out(std::move(effect));
    }
  }
  in_effects_ = false;
  flush();
}

void Conversation::carry_out(Effect effect) {
  if (auto* message = std::get_if<effect::Send>(&effect)) return send(message->message);
  if (std::holds_alternative<effect::LoadSummaries>(effect)) return session_->on_summaries(hub_.subscribe_all(id_));
  if (auto* segments = std::get_if<effect::LoadSegments>(&effect)) return load(std::move(*segments));
  if (auto* roster = std::get_if<effect::LoadRoster>(&effect)) return load(std::move(*roster));
  if (auto* appended = std::get_if<effect::AppendSegments>(&effect)) return append_segments(std::move(*appended));
  if (auto* entries = std::get_if<effect::AppendRoster>(&effect)) return append_roster(std::move(*entries));
  if (const auto* heads = std::get_if<effect::PeerHeads>(&effect)) return hub_.subscribe(id_, heads->space);
  if (const auto* ready = std::get_if<effect::SpaceReady>(&effect)) {
    if (!hub_.standing(ready->space, *this).sequencer) return;
    session_->hold_pongs();  // a desk that only looks in must not leave before it has them
    return submit(job::LoadProposals{ready->space});
  }
  if (const auto* proposal = std::get_if<effect::Proposal>(&effect)) return propose(*proposal);
  if (auto* locate = std::get_if<effect::Locate>(&effect)) {
    if (may_compare(locate->space)) submit(job::Locate{locate->space, locate->log, std::move(locate->locator)});
    return;
  }
  if (const auto* make = std::get_if<effect::MakeLocator>(&effect)) {
    if (may_compare(make->space)) submit(job::MakeLocator{make->space, make->log});
    return;
  }
  if (const auto* forked = std::get_if<effect::Split>(&effect)) return split(*forked);
  if (const auto* closing = std::get_if<effect::Close>(&effect)) return close(closing->code, "session");
  if (std::holds_alternative<effect::Level>(effect)) spdlog::debug("event=level device={}", name());
}

void Conversation::submit(decltype(Job::what) what) {
  ++jobs_open_;
  hub_.submit(id_, std::move(what));
}

void Conversation::send(ByteView message) {
  auto status = channel_.send(message);
  if (status.code() == Code::full) {
    flush();
    status = channel_.send(message);
  }
  if (!status) return close(status.code(), "send");
  if (channel_.output_bytes() >= seal_ahead_bytes) flush();
}

// A stranger's entries wait for their turn, and whatever it hands in behind them waits too: order matters.
void Conversation::append_roster(effect::AppendRoster append) {
  if (invite_ && !hub_.is_member(key_)) return close(Code::no_right, "joining");  // it reads rosters and asks, nothing else
  if (stranger_) {
    if (stranger_bytes_ == 0 && deferred_appends_.empty()) hub_.renew_stranger(seat_);
    if (!deferred_appends_.empty() || !hub_.take_stranger_turn(id_)) return deferred_appends_.push_back(std::move(append));
    for (const auto& entry : append.entries) stranger_bytes_ += entry.size();
    if (stranger_bytes_ > config_.stranger_bytes_max) return close(Code::too_large, "stranger");
  }
  submit(job::AppendRoster{append.space, append.first, std::move(append.entries)});
}

void Conversation::append_segments(effect::AppendSegments append) {
  if (!deferred_appends_.empty()) return deferred_appends_.push_back(std::move(append));
  job::AppendSegments job{key_, append.space, append.log, append.first, {}};
  job.segments.reserve(append.segments.size());
  for (auto& segment : append.segments) job.segments.push_back(std::make_shared<const Bytes>(std::move(segment)));
  submit(std::move(job));
}

void Conversation::load(effect::LoadSegments load) {
  // What is being loaded will be in the out queue: one batch may go above its bound, not the whole window.
  const bool more_than_fits = loading_bytes_ != 0 && out_bytes_ + loading_bytes_ + load.bytes_max > config_.out_queue_bytes_max;
  if (over_bound() || (more_than_fits && !DOORSTEP_PLANTED(unbounded_out_queue))) return deferred_loads_.push_back(std::move(load));
  if (!hub_.standing(load.space, *this).readable) return;  // it was cut meanwhile: never answered
  loading_bytes_ += load.bytes_max;
  submit(job::LoadSegments{load.space, load.log, load.after, load.expect, load.bytes_max});
}

void Conversation::load(effect::LoadRoster load) {
  if (over_bound()) return deferred_loads_.push_back(std::move(load));
  if (!hub_.standing(load.space, *this).known) return;
  submit(job::LoadRoster{load.space, load.from, roster_load_bytes});
}

bool Conversation::may_compare(const SpaceId& space) {
  if (hub_.standing(space, *this).appendable) return true;
  close(Code::no_right, "compare");
  return false;
}

void Conversation::split(const effect::Split& split) {
  if (!may_compare(split.space)) return;
  if (++splits_ > splits_max) return close(Code::protocol, "splits");
  spdlog::warn("event=fork device={} space={} log={} position={}", name(), split.space.hex().substr(0, 8), split.log.hex().substr(0, 8),
               split.position);
  submit(job::Split{split.space, split.log, split.position});
}

void Conversation::propose(const effect::Proposal& proposal) {
  if (++proposals_ > proposals_max || !hub_.standing(proposal.space, *this).known) return close(Code::no_right, "proposals");
  session_->hold_pongs();
  submit(job::PutProposal{proposal.space, {key_, invite_, hub_.is_member(key_)}, proposal.bytes});
}

void Conversation::run_deferred() {
  if (in_effects_) return;
  if (!over_bound() && !deferred_loads_.empty()) {
    for (auto& effect : std::exchange(deferred_loads_, {}))
      if (stage_ == Stage::session) carry_out(std::move(effect));
  }
  if (!deferred_appends_.empty() && (!stranger_ || hub_.take_stranger_turn(id_))) {
    for (auto& effect : std::exchange(deferred_appends_, {}))
      if (stage_ == Stage::session) carry_out(std::move(effect));
  }
  run_effects();
}

// ---- Answers from the worker -------------------------------------------------------------------------------------------

void Conversation::on_answer(Answer answer) {
  --jobs_open_;
  if (stage_ == Stage::session) std::visit([this](auto& done) { answered(done); }, answer.what);
  if (stage_ == Stage::session) run_effects();
  if (draining_) return drain();
  if (jobs_open_ == jobs_open_max || !deferred_loads_.empty()) on_room();
}

void Conversation::answered(done::SegmentsAppended& done) {
  if (done.stored.refused != Code::ok)
    spdlog::warn("event=refused device={} space={} author={} code={} why=\"{}\"", name(), done.space.hex().substr(0, 8),
                 done.name.device.hex().substr(0, 8), code_name(done.stored.refused), done.why);
  session_->on_segments_stored(done.space, done.name, done.stored);
}

void Conversation::answered(done::RosterAppended& done) {
  if (!done.status)
    spdlog::warn("event=roster_refused device={} space={} code={} why=\"{}\"", name(), done.space.hex().substr(0, 8),
                 code_name(done.status.code()), done.status.error().message());
  if (stranger_ && done.appended != 0) hub_.renew_stranger(seat_);
  check_stranger();
  session_->on_roster_stored(done.space, hub_.summary(done.space, *this), done.status);
}

void Conversation::check_stranger() {
  if (!stranger_) return;
  if (hub_.is_member(key_)) {  // else the rest of the roster may still come
    stranger_ = false;
    hub_.leave_stranger(seat_);
    spdlog::info("event=stranger_proved device={}", name());
  }
  hub_.end_stranger_turn(id_);  // last: whoever is next may need our place
}

void Conversation::answered(done::Splitted& done) {
  if (done.failed != Code::ok) return close(done.failed, "split");
  session_->on_summary(hub_.summary(done.space, *this));
}

void Conversation::answered(done::ProposalPut& done) {
  session_->release_pongs();
  if (done.status) return;
  spdlog::warn("event=proposal_refused device={} code={} why=\"{}\"", name(), code_name(done.status.code()), done.status.error().message());
  session_->close(done.status.code());
}

void Conversation::answered(done::SegmentsLoaded& done) {
  loading_bytes_ -= done.bytes_max;
  if (done.failed != Code::ok) return session_->close(done.failed);
  if (!hub_.standing(done.space, *this).readable) return;
  session_->on_segments_loaded(done.space, done.log, done.after, std::move(done.loaded.segments), done.loaded.diverged);
}

void Conversation::answered(done::RosterLoaded& done) { session_->on_roster_loaded(done.space, done.from, std::move(done.entries)); }

void Conversation::answered(done::ProposalsLoaded& done) {
  for (const auto& proposal : done.proposals) session_->propose(done.space, proposal);
  session_->release_pongs();
}

void Conversation::answered(done::LocatorMade& done) {
  if (done.failed != Code::ok) return session_->close(done.failed);
  session_->on_locator(done.space, done.log, std::move(done.locator));
}

void Conversation::answered(done::Located& done) {
  if (done.failed != Code::ok) return session_->close(done.failed);
  session_->on_located(done.space, done.log, done.position);
}

void Conversation::on_summary(const SpaceSummary& summary) {
  if (stage_ != Stage::session) return;
  if (stranger_ && hub_.is_member(key_)) check_stranger();
  session_->on_summary(summary);
  run_effects();
  if (!deferred_appends_.empty()) on_room();
}

void Conversation::on_new_segments(const SpaceId& space, const LogHead& head, Position first, const std::vector<SharedBytes>& segments) {
  if (stage_ != Stage::session) return;
  session_->on_new_segments(space, head, first, over_bound() ? std::vector<SharedBytes>() : segments);
  run_effects();
}

void Conversation::on_proposals(const SpaceId& space, const std::vector<Bytes>& proposals) {
  if (stage_ != Stage::session) return;
  for (const auto& proposal : proposals) session_->propose(space, proposal);
  run_effects();
}

void Conversation::on_room() {
  if (stage_ == Stage::session && (!deferred_loads_.empty() || !deferred_appends_.empty())) run_deferred();
  if (stage_ != Stage::gone && !held_back()) body_.may_read();
}

void Conversation::on_shown_out(const char* why) {
  // At the door it happens as often as somebody likes to knock.
  spdlog::log(at_door_ ? spdlog::level::debug : spdlog::level::warn, "event=closing device={} code={} why={}", name(),
              code_name(Code::busy), why);
  gone();
}

// ---- Writing and ending ------------------------------------------------------------------------------------------------

void Conversation::flush() {
  if (stage_ == Stage::gone) return;
  if (channel_.output_bytes() != 0) {
    if (out_.empty()) written_at_ = now();
    out_.push_back(channel_.take_output());
    out_bytes_ += out_.back().size();
  }
  const auto holds = out_bytes_ + channel_.memory_bytes() + (session_ ? session_->named_bytes() : 0);
  const auto more = holds - accounted_;
  if (more == 0) return;
  accounted_ = holds;
  body_.may_write();
  hub_.account(static_cast<std::int64_t>(more));
}

void Conversation::wrote(std::size_t bytes) {
  written_at_ = now();
  out_bytes_ -= bytes;
  accounted_ -= bytes;
  hub_.account(-static_cast<std::int64_t>(bytes));
  out_offset_ += bytes;
  while (!out_.empty() && out_offset_ >= out_.front().size()) {
    out_offset_ -= out_.front().size();
    out_.pop_front();
  }
  if (!over_bound()) on_room();
}

void Conversation::on_all_written() {
  if (peer_ended_) gone();
}

void Conversation::close(Code code, const char* why) {
  if (stage_ == Stage::closing || stage_ == Stage::gone) return;
  if (code != Code::ok) spdlog::info("event=closing device={} code={} why={}", name(), code_name(code), why);
  leave();
  if (over_bound()) return gone();  // it would not read a goodbye either
  channel_.close(code);
  flush();
  body_.may_read();  // and throw away
  body_.may_write();
  body_.begins_to_close();
}

// Of the hub; only who never showed a key keeps a seat at the door, as long as it keeps a descriptor.
void Conversation::leave() {
  stage_ = Stage::closing;
  closing_at_ = now();
  if (std::exchange(stranger_, false)) hub_.leave_stranger(seat_);
  deferred_loads_.clear();
  deferred_appends_.clear();
  hub_.leave(std::exchange(id_, 0));
}

void Conversation::drain() {
  if (stage_ == Stage::closing || stage_ == Stage::gone) return;
  draining_ = true;
  if (stage_ == Stage::handshake) return close(Code::unreachable, "stopping");
  if (jobs_open_ != 0) return;  // their answers still go out; then we are called again
  session_->close(Code::ok);
  run_effects();
}

void Conversation::abort() { gone(); }

void Conversation::gone() {
  if (stage_ == Stage::gone) return;
  if (stage_ != Stage::closing) leave();
  if (stage_ == Stage::gone) return;
  stage_ = Stage::gone;
  if (std::exchange(at_door_, false)) hub_.leave_door(seat_);
  hub_.account(-static_cast<std::int64_t>(accounted_));
  accounted_ = 0;
  body_.gone();
}

}  // namespace doorstep::relay
