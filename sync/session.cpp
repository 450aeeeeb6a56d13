#include "sync/session.hpp"

#include <algorithm>

#include "sync/lab.hpp"
#include "sync/session_messages.hpp"

namespace doorstep {

using namespace message;

namespace {

/// What a map keeps around each of its elements.
constexpr std::size_t around_node_bytes = 64;

/// By their numbers.
bool speaks_of_spaces(std::uint8_t type) { return (type >= type_heads && type <= type_split) || type == type_roster_stored; }

constexpr std::string_view receipt_label = "doorstep/1/receipt";

Bytes receipt_statement(const StoreId& store, const SpaceId& space, const LogId& log, Position position, const Hash& hash) {
  Bytes out;
  for (ByteView part : {store.view(), space.view(), log.view()}) append(out, part);
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<std::uint8_t>(position >> (8 * i)));
  append(out, hash.view());
  return out;
}

SpaceDigest short_digest(const SpaceSummary& summary) { return SpaceDigest::from(set_digest(summary).view().first(8)); }

}  // namespace

LogId LogName::root_id(const SpaceId& space) const { return make_log_id(space, device, incarnation); }
LogId LogName::id(const SpaceId& space) const { return branch ? make_branch_id(root_id(space), *branch) : root_id(space); }

Signature sign_receipt(const IdentitySecretKey& key, const StoreId& store, const SpaceId& space, const LogId& log, Position position,
                       const Hash& hash) {
  return sign(key, receipt_label, receipt_statement(store, space, log, position, hash));
}

bool receipt_holds(const Receipt& receipt, const DeviceId& receipt_key, const SpaceId& space, const LogId& log, Position position,
                   const Hash& hash) {
  return verify(receipt_key, receipt_label, receipt_statement(receipt.store, space, log, position, hash), receipt.signature);
}

ShortHash set_digest(const SpaceSummary& summary) {
  std::vector<const LogHead*> logs;
  for (const auto& log : summary.logs)
    if (log.position != 0) logs.push_back(&log);
  std::sort(logs.begin(), logs.end(), [](const LogHead* a, const LogHead* b) { return a->id < b->id; });
  Encoder out;
  out.put_varint(summary.roster_size);
  out.put_raw(summary.roster_head.data);
  for (const auto* log : logs) {
    out.put_raw(log->id.data);
    out.put_varint(log->position);
    out.put_raw(log->hash.data);
  }
  return shorten(hash("doorstep/1/set-digest", {summary.space.view(), out.bytes()}));
}

ShortHash set_digest(std::span<const SpaceSummary> summaries) {
  std::vector<std::pair<SpaceId, ShortHash>> digests;
  for (const auto& summary : summaries) digests.emplace_back(summary.space, set_digest(summary));
  std::sort(digests.begin(), digests.end());
  Encoder out;
  for (const auto& [space, digest] : digests) {
    out.put_raw(space.data);
    out.put_raw(digest.data);
  }
  return shorten(hash("doorstep/1/set-digests", {ByteView(out.bytes())}));
}

Session::Session(Options options) : options_(std::move(options)), newer_(DOORSTEP_LAB_SEAM(newer_protocol)) {}

std::vector<Effect> Session::take_effects() {
  // Once for all that was heard: it looks at every log of every space.
  if (std::exchange(pump_wanted_, false)) pump_now();
  // A pong says that what was asked before is done, or held: so it comes after the body has had all of that.
  if (effects_.empty() && pong_holds_ == 0 && hello_sent_ && !closed_)
    for (; pongs_owed_ > 0; --pongs_owed_) send(type_pong, {});
  return std::exchange(effects_, {});
}

void Session::send(std::uint8_t type, const Bytes& payload) {
  Bytes message;
  message.reserve(1 + payload.size());
  message.push_back(type);
  append(message, payload);
  effects_.push_back(effect::Send{std::move(message)});
}

void Session::fail(Code code) {
  if (closed_) return;
  closed_ = true;
  effects_.push_back(effect::Close{code});
}

void Session::close(Code code) {
  if (closed_) return;
  send(type_bye, encode(static_cast<std::uint16_t>(code)));
  fail(code);
}

void Session::ping() {
  if (closed_ || !hello_sent_) return;
  ++pings_;
  send(type_ping, {});
}

void Session::release_pongs() {
  DOORSTEP_CHECK(pong_holds_ > 0);
  --pong_holds_;
}

Session::Space* Session::find(const SpaceId& space) {
  const auto at = by_id_.find(space);
  return at == by_id_.end() ? nullptr : at->second;
}
Session::Space* Session::by_index(std::uint64_t index) { return index < spaces_.size() ? spaces_[index].get() : nullptr; }

// What it costs to remember a log that the peer has named.
constexpr std::size_t Session::named_log_bytes() { return sizeof(Log) + sizeof(LogId) + around_node_bytes; }

bool Session::name_log(const Space& space, const LogId& log) {
  if (space.logs.contains(log)) return true;
  named_bytes_ += named_log_bytes();
  return space.logs.size() < limits::logs_per_space_max;
}

Session::Log& Session::log_of(Space& space, const LogName& name) {
  Log& log = space.logs[name.id(space.mine.space)];
  log.name = name;
  return log;
}

// ---- Hello: who we are, and whether there is anything to do -----------------------------------------------------------

void Session::on_connected() { effects_.push_back(effect::LoadSummaries{}); }

void Session::on_summaries(std::vector<SpaceSummary> summaries) {
  if (closed_) return;
  std::sort(summaries.begin(), summaries.end(), [](const auto& a, const auto& b) { return a.space < b.space; });
  Hello hello;
  hello.store = options_.store;
  hello.receipt_key = options_.receipt_key;
  hello.now_ms = options_.now_ms;
  hello.digest = digest_ = set_digest(summaries);
  if (newer_) ++hello.version_max;
  for (auto& summary : summaries) {
    auto space = std::make_unique<Space>();
    space->index = spaces_.size();
    by_id_[summary.space] = space.get();
    update(*space, summary);
    space->told = std::move(summary);
    spaces_.push_back(std::move(space));
  }
  summaries_ = true;
  send(type_hello, encode(hello));
  if (newer_) send(type_of_tomorrow, {});
  hello_sent_ = true;
  if (peer_hello_) begin();
}

void Session::on_hello(ByteView payload) {
  auto hello = decode<Hello>(payload, "hello");
  if (!hello || peer_hello_) return fail(Code::protocol);
  constexpr std::int64_t now_ms_max = limits::time_ms_max / 2;  // what it differs from our clock has to be a time too
  if (hello->now_ms > now_ms_max || hello->now_ms < -now_ms_max) return fail(Code::protocol);
  if (hello->version_min > protocol_version || hello->version_max < protocol_version) return fail(Code::unsupported);
  peer_hello_ = true;
  peer_store_ = hello->store;
  peer_digest_ = hello->digest;
  effects_.push_back(effect::PeerHello{hello->store, hello->receipt_key, hello->now_ms});
  if (summaries_) begin();
}

void Session::begin() {
  if (digest_ == peer_digest_) {
    // Equal sets in equal order: the indices agree, and the peer's heads are what ours were.
    for (auto& space : spaces_) { assume_level(*space); }
    compared_ = true;
    return pump();
  }
  if (!options_.initiator) return;
  Spaces list;
  for (const auto& space : spaces_) {
    space->told = space->mine;
    list.spaces.push_back({space->mine.space, short_digest(space->mine)});
  }
  send(type_spaces, encode(list));
}

void Session::on_spaces(ByteView payload) {
  auto list = decode<Spaces>(payload, "spaces");
  if (!list || options_.initiator || !summaries_ || compared_) return fail(Code::protocol);
  auto known = std::exchange(spaces_, {});
  by_id_.clear();
  for (const auto& listed : list->spaces) {
    const auto at = std::find_if(known.begin(), known.end(), [&](const auto& space) { return space && space->mine.space == listed.space; });
    auto space = at != known.end() ? std::move(*at) : std::make_unique<Space>();
    named_bytes_ += sizeof(Space) + 4 * around_node_bytes;
    space->mine.space = listed.space;
    space->index = spaces_.size();
    space->differs = at == known.end() || short_digest(space->mine) != listed.digest;
    if (!by_id_.emplace(listed.space, space.get()).second) return fail(Code::protocol);
    spaces_.push_back(std::move(space));
  }
  compared_ = true;
  for (auto& space : spaces_) {
    space->told = space->mine;
    if (space->differs) {
      send_heads(*space);
    } else {
      assume_level(*space);
    }
  }
  send(type_compared, {});
  pump();
}

void Session::on_compared() {
  if (!options_.initiator || compared_) return fail(Code::protocol);
  for (auto& space : spaces_) {
    if (space->differs) continue;  // its heads came, and were answered
    assume_level(*space);
  }
  compared_ = true;
  pump();
}

// The digests agree: the peer's heads are what ours were when we told it ours, without being sent.
void Session::assume_level(Space& space) {
  const SpaceSummary told = std::exchange(space.told, {});
  space.peer_heads = space.heads_sent = true;
  space.peer_roster = space.peer_roster_stored = space.roster_promised = told.roster_size;
  std::vector<effect::PeerHead> logs;
  for (const auto& log : told.logs)
    if (log.position != 0) logs.push_back({log.id, log.position, shorten(log.hash), tag_of(log.name.device)});
  apply_peer_heads(space, logs);
}

// ---- Heads ------------------------------------------------------------------------------------------------------------

void Session::send_heads(Space& space) {
  Heads heads;
  heads.space = space.index;
  heads.roster_size = space.mine.roster_size;
  heads.roster_head = shorten(space.mine.roster_head);
  if (space.mine.readable)
    for (const auto& [id, log] : space.logs)
      if (log.mine != 0) heads.logs.push_back({id, log.mine, shorten(log.mine_hash), tag_of(log.name.device)});
  space.heads_sent = true;
  send(type_heads, encode(heads));
}

void Session::on_heads(ByteView payload) {
  auto heads = decode<Heads>(payload, "heads");
  Space* space = heads ? by_index(heads->space) : nullptr;
  if (!space) return fail(Code::protocol);
  if (space->split_open) {
    space->heads_waiting = to_bytes(payload);
    return;
  }
  space->differs = true;
  space->peer_heads = true;
  space->peer_roster = space->peer_roster_stored = std::min(heads->roster_size, space->mine.roster_size);
  space->roster_promised = heads->roster_size;
  space->peer_roster_head = heads->roster_head;
  if (heads->roster_size == space->mine.roster_size && heads->roster_size != 0 && heads->roster_head != shorten(space->mine.roster_head))
    space->roster_fork = true;
  if (!space->heads_sent) send_heads(*space);
  std::vector<effect::PeerHead> logs;
  for (const auto& log : heads->logs) logs.push_back({log.log, log.position, log.hash, log.device});
  apply_peer_heads(*space, logs);
  pump();
}

void Session::apply_peer_heads(Space& space, const std::vector<effect::PeerHead>& logs) {
  effect::PeerHeads heads{space.mine.space, space.roster_promised, {}};
  // What only earlier heads named goes: a peer that repeats itself must not fill our memory.
  const auto gone = std::erase_if(space.logs, [](const auto& each) {
    const Log& log = each.second;
    return log.mine == 0 && !log.number && !log.peer_number && !log.loading && log.unacknowledged.empty();
  });
  named_bytes_ -= std::min(named_bytes_, gone * named_log_bytes());
  for (auto& [id, log] : space.logs) {
    log.peer = log.sent = 0;
    log.promised = 0;
    log.peer_hash.reset();
    log.splitting = false;
  }
  for (const auto& theirs : logs) {
    heads.logs.push_back(theirs);
    if (!name_log(space, theirs.log)) return fail(Code::protocol);
    Log& log = space.logs[theirs.log];
    log.promised = theirs.position;
    if (theirs.position > log.mine) continue;  // they are ahead, and will find out whether ours leads there
    log.peer = log.sent = theirs.position;
    log.peer_hash = theirs.hash;
    if (theirs.position == log.mine && theirs.hash != shorten(log.mine_hash) && !log.splitting) {
      log.splitting = true;
      effects_.push_back(effect::MakeLocator{space.mine.space, theirs.log});
    }
  }
  effects_.push_back(std::move(heads));
  space.ready_told = false;
}

// ---- What we have changes ---------------------------------------------------------------------------------------------

void Session::update(Space& space, const SpaceSummary& now) {
  space.mine = now;
  if (!now.readable)  // since it was cut: what is being loaded is never answered
    for (auto& [id, log] : space.logs) loading_ -= std::exchange(log.loading, false) ? 1 : 0;
  std::map<LogId, Position> before;
  for (auto& [id, log] : space.logs) before[id] = std::exchange(log.mine, 0);
  for (const auto& head : now.logs) {
    Log& log = space.logs[head.id];
    log.name = head.name;
    log.mine = head.position;
    log.mine_hash = head.hash;
  }
  // A log that became shorter was split, perhaps for another session: what stood above goes on under a branch's name.
  for (const auto& [id, position] : before) {
    Log& log = space.logs[id];
    if (log.mine >= position) continue;
    log.promised = std::min(log.promised, log.mine);
    log.peer = std::min(log.peer, log.mine);
    log.sent = std::min(log.sent, log.mine);
    log.peer_hash.reset();
    for (; !log.unacknowledged.empty() && log.unacknowledged.back().first > log.mine; log.unacknowledged.pop_back())
      in_flight_ -= log.unacknowledged.back().second;
  }
}

void Session::on_summary(const SpaceSummary& summary) {
  Space* space = find(summary.space);
  if (closed_ || !space) return;
  update(*space, summary);
  if (std::exchange(space->split_open, false)) {
    send_heads(*space);
    if (const Bytes waiting = std::exchange(space->heads_waiting, {}); !waiting.empty()) return on_heads(waiting);
  }
  pump();
}

void Session::on_new_segments(const SpaceId& id, const LogHead& head, Position first, const std::vector<SharedBytes>& segments) {
  Space* space = find(id);
  if (closed_ || !space) return;
  Log& log = log_of(*space, head.name);
  log.mine = head.position;
  log.mine_hash = head.hash;
  auto& heads = space->mine.logs;
  const auto at = std::find_if(heads.begin(), heads.end(), [&](const LogHead& h) { return h.id == head.id; });
  if (at == heads.end())
    heads.push_back(head);
  else
    *at = head;
  const bool may_send = space->peer_heads && space->mine.readable && roster_level(*space) && !log.loading && !log.splitting &&
                        !waits_for_parent(*space, log) && log.refused == Code::ok && log.next_after() + 1 == first && !segments.empty() &&
                        in_flight_ < options_.window_bytes_max;
  if (may_send) send_segments(*space, head.id, log, first, segments);
  pump();
}

bool Session::roster_level(const Space& space) const {
  return !space.roster_fork && space.mine.roster_size != 0 && space.peer_roster >= space.mine.roster_size &&
         space.mine.roster_size >= space.roster_promised;
}

// ---- Sending ----------------------------------------------------------------------------------------------------------

void Session::pump_now() {
  if (closed_ || !compared_) {
    if (!closed_)
      for (auto& space : spaces_)
        if (space->peer_heads) pump_space(*space);
    return;
  }
  for (auto& space : spaces_)
    if (!closed_) pump_space(*space);
  check_level();
}

void Session::pump_space(Space& space) {
  if (!space.peer_heads || !space.heads_sent || space.roster_fork) return;
  if (space.peer_roster < space.mine.roster_size && !space.loading_roster) {
    space.loading_roster = true;
    effects_.push_back(effect::LoadRoster{space.mine.space, space.peer_roster});
  }
  if (!roster_level(space)) return;
  if (!space.ready_told) {
    space.ready_told = true;
    effects_.push_back(effect::SpaceReady{space.mine.space});
  }
  if (!space.mine.readable) return;
  for (auto& [id, log] : space.logs)
    if (!pump_log(space, id, log)) break;
}

// A branch is taken only after what it leaves: until that is sent, it stays here.
bool Session::waits_for_parent(const Space& space, const Log& log) {
  if (!log.name.branch) return false;
  return std::any_of(space.logs.begin(), space.logs.end(), [&](const auto& other) {
    const LogName& name = other.second.name;
    return name.device == log.name.device && name.incarnation == log.name.incarnation && name.starts_after < log.name.starts_after &&
           other.second.refused == Code::ok && other.second.sent < std::min(other.second.mine, log.name.starts_after);
  });
}

bool Session::window_full(std::size_t bytes) const { return bytes >= options_.window_bytes_max && !DOORSTEP_PLANTED(ignore_window); }

// Returns false when the window is full.
bool Session::pump_log(Space& space, const LogId& id, Log& log) {
  if (log.loading || log.splitting || log.refused != Code::ok || log.sent >= log.mine || log.promised > log.mine) return true;
  if (waits_for_parent(space, log)) return true;
  if (window_full(in_flight_ + loading_ * options_.batch_bytes)) return false;
  log.loading = true;
  ++loading_;
  std::optional<ShortHash> expect;
  if (log.sent == log.peer && log.peer != 0) expect = log.peer_hash;
  effects_.push_back(effect::LoadSegments{space.mine.space, id, log.next_after(), expect, options_.batch_bytes});
  return true;
}

void Session::on_segments_loaded(const SpaceId& id, const LogId& log_id, Position after, std::vector<SharedBytes> segments, bool diverged) {
  Space* space = find(id);
  if (closed_ || !space) return;
  Log& log = space->logs[log_id];
  if (std::exchange(log.loading, false)) --loading_;
  if (diverged) {
    if (!log.splitting) effects_.push_back(effect::MakeLocator{id, log_id});
    log.splitting = true;
    return;
  }
  // Meanwhile the log may have been split, or pushed on: then this answer is stale. What the window has no room for is loaded again.
  if (!window_full(in_flight_) && after == log.next_after() && !segments.empty() && !log.splitting && log.mine > after)
    send_segments(*space, log_id, log, after + 1, segments);
  pump();
}

void Session::send_segments(Space& space, const LogId& id, Log& log, Position first, std::span<const SharedBytes> segments) {
  if (!log.number) {
    log.number = our_logs_.size();
    our_logs_.emplace_back(&space, id);
    send(type_log, encode(LogMessage{space.index, log.name}));
  }
  std::size_t bytes = 0;
  Encoder out;
  out.put_varint(*log.number);
  out.put_varint(first);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    if (i != 0 && out.size() + segments[i]->size() > limits::message_bytes_max - 64) {
      send(type_segments, out.take());
      out.put_varint(*log.number);
      out.put_varint(first + i);
    }
    out.put_bytes(*segments[i]);
    bytes += segments[i]->size();
    log.unacknowledged.emplace_back(first + i, segments[i]->size());
  }
  log.sent = first + segments.size() - 1;
  in_flight_ += bytes;
  level_ = false;
  send(type_segments, out.take());
}

void Session::on_roster_loaded(const SpaceId& id, Position from, std::vector<Bytes> entries) {
  Space* space = find(id);
  if (closed_ || !space) return;
  space->loading_roster = false;
  if (from != space->peer_roster || entries.empty()) return pump();
  RosterMessage message{space->index, from, {}};
  std::size_t bytes = 0;
  for (auto& entry : entries) {
    if (!message.entries.empty() && (bytes + entry.size() > limits::message_bytes_max / 2 || message.entries.size() == 4096)) {
      send(type_roster, encode(message));
      message.first += message.entries.size();
      message.entries.clear();
      bytes = 0;
    }
    bytes += entry.size();
    message.entries.push_back({std::move(entry)});
  }
  space->peer_roster = message.first + message.entries.size();
  level_ = false;
  send(type_roster, encode(message));
  pump();
}

void Session::propose(const SpaceId& id, ByteView proposal) {
  Space* space = find(id);
  if (!closed_ && space) send(type_proposal, encode(ProposalMessage{space->index, to_bytes(proposal)}));
}

void Session::resend(const SpaceId& id, const LogId& log_id, Position after) {
  Space* space = find(id);
  const auto at = space ? space->logs.find(log_id) : std::map<LogId, Log>::iterator{};
  if (closed_ || !space || at == space->logs.end() || at->second.loading || after >= at->second.sent) return;
  at->second.sent = after;
  at->second.peer = std::min(at->second.peer, after);
  at->second.peer_hash.reset();
  pump();
}

// ---- Receiving --------------------------------------------------------------------------------------------------------

void Session::on_message(ByteView message) {
  if (closed_) return;
  if (message.empty()) return fail(Code::protocol);
  const auto payload = message.subspan(1);
  const auto type = message[0];
  if (!peer_hello_ && type != type_hello && type != type_bye) return fail(Code::protocol);
  // The initiator's list replaces our spaces: until then no number names one.
  if (!options_.initiator && !compared_ && speaks_of_spaces(type)) return fail(Code::protocol);
  switch (type) {
    case type_hello: return on_hello(payload);
    case type_spaces: return on_spaces(payload);
    case type_heads: return on_heads(payload);
    case type_compared: return on_compared();
    case type_roster: return on_roster(payload);
    case type_log: return on_log(payload);
    case type_roster_stored: return on_roster_acknowledged(payload);
    case type_segments: return on_segments(payload);
    case type_stored: return on_stored(payload);
    case type_refused: return on_refused(payload);
    case type_proposal: return on_proposal(payload);
    case type_locator: return on_locator_message(payload);
    case type_split: return on_split(payload);
    case type_ping: ++pongs_owed_; return;
    case type_pong: ++pongs_; return;
    case type_bye: {
      const auto code = decode<std::uint16_t>(payload, "bye");
      return fail(code ? static_cast<Code>(*code) : Code::protocol);
    }
    default: return;
  }
}

void Session::on_roster(ByteView payload) {
  auto message = decode<RosterMessage>(payload, "roster");
  Space* space = message ? by_index(message->space) : nullptr;
  if (!space || message->entries.empty()) return fail(Code::protocol);
  space->roster_promised = std::max(space->roster_promised, message->first + message->entries.size());
  effect::AppendRoster append{space->mine.space, message->first, {}};
  for (auto& entry : message->entries) append.entries.push_back(std::move(entry.bytes));
  ++appends_open_;
  level_ = false;
  effects_.push_back(std::move(append));
}

void Session::on_roster_stored(const SpaceId& id, const SpaceSummary& now, Status status) {
  --appends_open_;
  Space* space = find(id);
  if (closed_ || !space) return;
  update(*space, now);
  if (!status && status.code() == Code::conflict) {
    space->roster_fork = true;
  } else if (!status) {
    return close(status.code());
  }
  const Position theirs = std::min(space->roster_promised, now.roster_size);
  space->peer_roster = std::max(space->peer_roster, theirs);
  space->peer_roster_stored = std::max(space->peer_roster_stored, theirs);
  if (status) send(type_roster_stored, encode(RosterStoredMessage{space->index, now.roster_size}));
  pump();
}

void Session::on_roster_acknowledged(ByteView payload) {
  auto message = decode<RosterStoredMessage>(payload, "roster stored");
  Space* space = message ? by_index(message->space) : nullptr;
  if (!space) return fail(Code::protocol);
  space->peer_roster_stored = std::max(space->peer_roster_stored, std::min(message->size, space->mine.roster_size));
  pump();
}

void Session::on_log(ByteView payload) {
  auto message = decode<LogMessage>(payload, "log");
  Space* space = message ? by_index(message->space) : nullptr;
  const bool well_named = message && (message->name.branch || message->name.starts_after == 0);
  if (!space || !well_named || peer_logs_.size() >= limits::logs_per_space_max * 4) return fail(Code::protocol);
  if (!name_log(*space, message->name.id(space->mine.space))) return fail(Code::protocol);
  log_of(*space, message->name).peer_number = peer_logs_.size();
  peer_logs_.emplace_back(space, message->name);
  named_bytes_ += 2 * sizeof(peer_logs_.back());
}

void Session::on_segments(ByteView payload) {
  Decoder in(payload);
  const auto number = in.get_varint();
  const auto first = in.get_varint();
  if (in.failed() || number >= peer_logs_.size() || first == 0) return fail(Code::protocol);
  auto& [space, name] = peer_logs_[number];
  effect::AppendSegments append{space->mine.space, name, first, {}};
  std::size_t bytes = 0;
  while (!in.failed() && in.remaining() != 0) {
    append.segments.push_back(to_bytes(in.get_bytes(limits::segment_bytes_max)));
    bytes += append.segments.back().size();
  }
  received_unstored_ += bytes;
  // The sender's window, and one message that it may overshoot by.
  if (in.failed() || append.segments.empty() || received_unstored_ > options_.window_bytes_max + 2 * limits::message_bytes_max)
    return fail(Code::protocol);
  if (!space->mine.appendable) return fail(Code::no_right);
  Log& log = log_of(*space, name);
  log.promised = std::max(log.promised, first + append.segments.size() - 1);
  ++appends_open_;
  level_ = false;
  effects_.push_back(std::move(append));
}

void Session::on_segments_stored(const SpaceId& id, const LogName& name, const Stored& stored) {
  --appends_open_;
  received_unstored_ -= std::min(received_unstored_, stored.bytes);
  Space* space = find(id);
  if (closed_ || !space) return;
  const LogId log_id = name.id(id);
  Log& log = log_of(*space, name);
  const auto index = log.peer_number.value_or(0);  // it was announced, or it could not have come
  if (stored.position > log.mine) {
    log.mine = stored.position;
    log.mine_hash = stored.hash;
    auto& heads = space->mine.logs;
    const auto at = std::find_if(heads.begin(), heads.end(), [&](const LogHead& h) { return h.id == log_id; });
    const LogHead head{name, log_id, stored.position, stored.hash};
    if (at == heads.end())
      heads.push_back(head);
    else
      *at = head;
  }
  if (stored.position != 0) {
    // What came from the peer need not go back to it.
    if (log.peer < stored.position && log.promised >= stored.position) log.peer = log.sent = std::max(log.sent, stored.position);
    log.peer_hash.reset();
    send(type_stored, encode(StoredMessage{index, stored.position, stored.receipt}));
  }
  if (stored.refused == Code::conflict) {
    if (!log.splitting) effects_.push_back(effect::MakeLocator{id, log_id});
    log.splitting = true;
  } else if (stored.refused != Code::ok) {
    log.promised = log.mine;  // it will not come
    send(type_refused, encode(RefusedMessage{index, stored.position + 1, static_cast<std::uint16_t>(stored.refused)}));
  }
  pump();
}

std::pair<Session::Space*, Session::Log*> Session::log_by_number(std::uint64_t number) {
  if (number >= our_logs_.size()) return {nullptr, nullptr};
  const auto& [space, id] = our_logs_[number];
  return {space, &space->logs.at(id)};
}

void Session::on_stored(ByteView payload) {
  auto message = decode<StoredMessage>(payload, "stored");
  if (!message) return fail(Code::protocol);
  auto [space, log] = log_by_number(message->log);
  if (!log) return fail(Code::protocol);
  if (message->position > log->mine) return;  // the log was split meanwhile
  log->peer = std::max(log->peer, message->position);
  log->sent = std::max(log->sent, log->peer);
  log->peer_hash.reset();
  auto& waiting = log->unacknowledged;
  auto left = waiting.begin();
  for (; left != waiting.end() && left->first <= message->position; ++left) in_flight_ -= left->second;
  waiting.erase(waiting.begin(), left);
  effect::PeerStored stored{space->mine.space, log->name.id(space->mine.space), message->position, {}};
  if (message->receipt && peer_store_) stored.receipt = Receipt{*peer_store_, *message->receipt};
  effects_.push_back(std::move(stored));
  pump();
}

void Session::on_refused(ByteView payload) {
  auto message = decode<RefusedMessage>(payload, "refused");
  if (!message) return fail(Code::protocol);
  auto [space, log] = log_by_number(message->log);
  if (!log) return fail(Code::protocol);
  log->refused = static_cast<Code>(message->code);
  for (const auto& [position, bytes] : log->unacknowledged) in_flight_ -= bytes;
  log->unacknowledged.clear();
  effects_.push_back(effect::PeerRefused{space->mine.space, log->name.id(space->mine.space), message->position, log->refused});
  pump();
}

void Session::on_proposal(ByteView payload) {
  auto message = decode<ProposalMessage>(payload, "proposal");
  Space* space = message ? by_index(message->space) : nullptr;
  if (!space) return fail(Code::protocol);
  effects_.push_back(effect::Proposal{space->mine.space, std::move(message->bytes)});
}

// ---- Forks: both sides keep both branches (DESIGN invariant 5) -----------------------------------------------------------

void Session::on_locator(const SpaceId& id, const LogId& log, std::vector<std::pair<Position, ShortHash>> locator) {
  Space* space = find(id);
  if (closed_ || !space) return;
  LocatorMessage message{space->index, log, {}};
  for (const auto& [position, hash] : locator) message.points.push_back({position, hash});
  send(type_locator, encode(message));
}

void Session::on_locator_message(ByteView payload) {
  auto message = decode<LocatorMessage>(payload, "locator");
  Space* space = message ? by_index(message->space) : nullptr;
  if (!space) return fail(Code::protocol);
  effect::Locate locate{space->mine.space, message->log, {}};
  for (const auto& point : message->points) locate.locator.emplace_back(point.position, point.hash);
  effects_.push_back(std::move(locate));
}

void Session::on_located(const SpaceId& id, const LogId& log, Position agrees_up_to) {
  Space* space = find(id);
  if (!closed_ && space) split(*space, log, agrees_up_to, true);
}

void Session::on_split(ByteView payload) {
  auto message = decode<SplitMessage>(payload, "split");
  Space* space = message ? by_index(message->space) : nullptr;
  if (!space) return fail(Code::protocol);
  split(*space, message->log, message->position, false);
}

// The body splits, answers with on_summary(), and the heads are exchanged anew under the branches' names. Two who disagree about
// which log a number names would go round for ever.
void Session::split(Space& space, const LogId& log, Position position, bool tell) {
  if (++splits_ > limits::splits_per_session_max) return fail(Code::busy);
  if (tell) send(type_split, encode(SplitMessage{space.index, log, position}));
  if (const auto forked = space.logs.find(log); forked != space.logs.end()) {
    for (const auto& [at, bytes] : forked->second.unacknowledged) in_flight_ -= bytes;
    forked->second.unacknowledged.clear();
  }
  effects_.push_back(effect::Split{space.mine.space, log, position});
  space.split_open = true;
  space.heads_sent = false;
  space.peer_heads = false;
  level_ = false;
}

// ---- Level ------------------------------------------------------------------------------------------------------------

void Session::check_level() {
  if (level_ || closed_ || !compared_ || appends_open_ != 0 || in_flight_ != 0) return;
  for (const auto& space : spaces_) {
    if (!space->peer_heads || !space->heads_sent) return;
    if (space->roster_fork) continue;
    if (space->mine.roster_size < space->roster_promised || space->peer_roster_stored < space->mine.roster_size) return;
    for (const auto& [id, log] : space->logs) {
      if (log.splitting) return;
      if (space->mine.readable && log.refused == Code::ok && log.peer < log.mine) return;
      if (space->mine.appendable && log.promised > log.mine) return;
    }
  }
  level_ = true;
  effects_.push_back(effect::Level{});
}

}  // namespace doorstep
