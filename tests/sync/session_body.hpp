// A session's body in memory, for its tests and its fuzz target. A segment begins with the hash of the one before it, so that nobody can
// take it for one of another place; everything else is believed.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sync/session.hpp"

namespace doorstep::session_test {

inline SpaceId space_named(std::uint8_t n) {
  SpaceId id;
  id.data.fill(n);
  return id;
}
inline LogName log_named(std::uint8_t n) {
  LogName name;
  name.device.data.fill(n);
  name.incarnation.data.fill(n);
  return name;
}
inline Hash chain(const Hash& previous, const Bytes& bytes) { return hash("test/chain", {previous.view(), bytes}); }

struct MemoryLog {
  LogName name;
  Hash before;                  // hash at starts_after
  std::vector<Bytes> segments;  // from starts_after + 1
  Position head() const { return name.starts_after + segments.size(); }
  bool takes(const Bytes& bytes) const {
    const auto link = shorten(hash_at(head()));
    const bool follows = bytes.size() >= link.size_bytes && equal(ByteView(bytes).first(link.size_bytes), link.view());
    return follows && (!name.branch || !segments.empty() || chain(before, bytes) == *name.branch);
  }
  void write(ByteView content) {
    Bytes bytes = to_bytes(shorten(hash_at(head())).view());
    append(bytes, content);
    segments.push_back(std::move(bytes));
  }
  Hash hash_at(Position position) const {  // the head's, for what stands above it
    Hash out = before;
    for (Position i = name.starts_after; i < std::min(position, head()); ++i) out = chain(out, segments[i - name.starts_after]);
    return out;
  }
};

struct MemorySpace {
  std::vector<Bytes> roster;
  std::map<LogId, MemoryLog> logs;
};

class Body {
 public:
  Body(std::string name, bool relay) : name_(std::move(name)), relay_(relay) {}

  std::map<SpaceId, MemorySpace> spaces;
  std::vector<std::string> transcript;
  std::deque<Bytes> out;
  std::size_t in_flight_max = 0;
  int levels = 0, refusals = 0;
  std::optional<Code> closed;
  std::vector<std::pair<LogId, Position>> stored;
  std::size_t window = 3u << 20, batch = 512u << 10;
  StoreId store;                              ///< A relay's.
  const IdentityKeyPair* receipts = nullptr;  ///< A relay signs with them, else it sends zeros.
  bool late = false;                          ///< What takes a real body time waits here, until answer() is told to do it.
  std::deque<Effect> waiting;
  std::function<void(const Effect&)> watch;  ///< Sees every effect before it is done.

  void write(const SpaceId& space, const LogName& name, Bytes bytes) {
    auto& log = spaces[space].logs[name.id(space)];
    log.name = name;
    log.write(bytes);
    if (session) {
      const auto head = LogHead{name, name.id(space), log.head(), log.hash_at(log.head())};
      session->on_new_segments(space, head, log.head(), {std::make_shared<const Bytes>(log.segments.back())});
      run();
    }
  }

  void connect(bool initiator) {
    Session::Options options;
    options.initiator = initiator;
    if (relay_) options.store = store;
    if (relay_ && receipts) options.receipt_key = receipts->public_key;
    options.window_bytes_max = window;
    options.batch_bytes = batch;
    session = std::make_unique<Session>(options);
    out.clear();
    waiting.clear();
    closed.reset();
    session->on_connected();
    run();
  }
  void receive(ByteView message) {
    session->on_message(message);
    run();
  }

  /// Does the first of what waits for the space and log that waiting[which] is about: between logs any order is allowed.
  void answer(std::size_t which) {
    const auto subject = subject_of(waiting[which]);
    const auto at = std::find_if(waiting.begin(), waiting.end(), [&](const Effect& e) { return subject_of(e) == subject; });
    Effect effect = std::move(*at);
    waiting.erase(at);
    std::visit([this](auto& e) { handle(e); }, effect);
    run();
  }
  /// Carries out what the session asked for since the last call.
  void run() {
    for (;;) {
      auto effects = session->take_effects();
      if (effects.empty()) return;
      for (auto& effect : effects) {
        if (watch) watch(effect);
        if (late && takes_time(effect))
          waiting.push_back(std::move(effect));
        else
          std::visit([this](auto& e) { handle(e); }, effect);
      }
      in_flight_max = std::max(in_flight_max, session->in_flight());
    }
  }

  std::unique_ptr<Session> session;

  SpaceSummary summary(const SpaceId& id) const {
    SpaceSummary out_summary;
    out_summary.space = id;
    const auto at = spaces.find(id);
    if (at == spaces.end()) return out_summary;
    out_summary.roster_size = at->second.roster.size();
    out_summary.roster_head = roster_head(at->second);
    for (const auto& [log_id, log] : at->second.logs) out_summary.logs.push_back({log.name, log_id, log.head(), log.hash_at(log.head())});
    return out_summary;
  }

 private:
  static Hash roster_head(const MemorySpace& space) {
    Hash out_hash;
    for (const auto& entry : space.roster) out_hash = chain(out_hash, entry);
    return out_hash;
  }
  static bool takes_time(const Effect& effect) {
    using namespace effect;
    return std::visit(
        []<class E>(const E&) {
          return std::is_same_v<E, LoadSummaries> || std::is_same_v<E, LoadRoster> || std::is_same_v<E, LoadSegments> ||
                 std::is_same_v<E, AppendRoster> || std::is_same_v<E, AppendSegments> || std::is_same_v<E, Locate> ||
                 std::is_same_v<E, MakeLocator> || std::is_same_v<E, Split>;
        },
        effect);
  }
  /// Within one log the order of answers is the order of effects; a roster is like a log, and a split concerns the whole space.
  static std::pair<SpaceId, LogId> subject_of(const Effect& effect) {
    return std::visit(
        []<class E>(const E& e) -> std::pair<SpaceId, LogId> {
          if constexpr (std::is_same_v<E, effect::AppendSegments>)
            return {e.space, e.log.root_id(e.space)};
          else if constexpr (requires {
                               e.log;
                               e.space;
                             })
            return {e.space, e.log};
          else if constexpr (requires { e.space; })
            return {e.space, {}};
          else
            return {};
        },
        effect);
  }
  MemoryLog held(const SpaceId& space, const LogId& id) const {
    const auto in = spaces.find(space);
    if (in == spaces.end()) return {};
    const auto at = in->second.logs.find(id);
    return at == in->second.logs.end() ? MemoryLog{} : at->second;
  }
  void say(const std::string& text) { transcript.push_back(name_ + " " + text); }

  void handle(effect::Send& e) {
    static const char* names[] = {"?",       "hello",    "spaces",  "heads", "compared", "roster", "log", "segments",     "stored",
                                  "refused", "proposal", "locator", "split", "ping",     "pong",   "bye", "roster stored"};
    say(std::string("-> ") + (e.message[0] < 17 ? names[e.message[0]] : "?"));
    out.push_back(std::move(e.message));
  }
  void handle(effect::LoadSummaries&) {
    std::vector<SpaceSummary> all;
    for (const auto& [id, space] : spaces) all.push_back(summary(id));
    session->on_summaries(all);
  }
  void handle(effect::LoadRoster& e) {
    const auto& roster = spaces[e.space].roster;
    const auto from = static_cast<std::ptrdiff_t>(std::min<Position>(e.from, roster.size()));
    session->on_roster_loaded(e.space, e.from, {roster.begin() + from, roster.end()});
  }
  void handle(effect::LoadSegments& e) {
    const MemoryLog log = held(e.space, e.log);
    std::vector<SharedBytes> segments;
    if (e.after > log.head()) return session->on_segments_loaded(e.space, e.log, e.after, {}, false);  // it was split meanwhile
    if (e.expect && e.after > log.name.starts_after && shorten(log.hash_at(e.after)) != *e.expect)
      return session->on_segments_loaded(e.space, e.log, e.after, {}, true);
    std::size_t bytes = 0;
    for (Position i = std::max(e.after, log.name.starts_after); i < log.head() && bytes < e.bytes_max; ++i) {
      segments.push_back(std::make_shared<const Bytes>(log.segments[i - log.name.starts_after]));
      bytes += segments.back()->size();
    }
    session->on_segments_loaded(e.space, e.log, std::max(e.after, log.name.starts_after), std::move(segments), false);
  }
  void handle(effect::AppendRoster& e) {
    auto& roster = spaces[e.space].roster;
    for (std::size_t i = 0; i < e.entries.size(); ++i)
      if (e.first + i == roster.size()) roster.push_back(e.entries[i]);
    session->on_roster_stored(e.space, summary(e.space), {});
  }
  void handle(effect::AppendSegments& e) {
    Session::Stored answer;
    for (const auto& segment : e.segments) answer.bytes += segment.size();
    auto& logs = spaces[e.space].logs;
    Hash before;
    if (e.log.starts_after != 0) {
      const auto leaves = [&](const auto& each) {
        const MemoryLog& log = each.second;
        const bool older = log.name.root_id(e.space) == e.log.root_id(e.space) && log.name.starts_after < e.log.starts_after;
        if (!older || log.head() < e.log.starts_after) return false;
        before = log.hash_at(e.log.starts_after);
        return chain(before, e.segments.front()) == *e.log.branch;
      };
      if (!logs.contains(e.log.id(e.space)) && std::none_of(logs.begin(), logs.end(), leaves)) {
        answer.refused = Code::waiting;
        return session->on_segments_stored(e.space, e.log, answer);
      }
    }
    MemoryLog log = held(e.space, e.log.id(e.space));
    if (log.segments.empty()) {
      log.name = e.log;
      log.before = before;
    }
    for (std::size_t i = 0; i < e.segments.size() && answer.refused == Code::ok; ++i) {
      const auto position = e.first + i;
      const Bytes& segment = e.segments[i];
      if (position > log.head() + 1)
        answer.refused = Code::waiting;
      else if (position == log.head() + 1)
        log.takes(segment) ? log.segments.push_back(segment) : void(answer.refused = Code::conflict);
      else if (position > log.name.starts_after && log.segments[position - 1 - log.name.starts_after] != segment)
        answer.refused = Code::conflict;
    }
    if (log.segments.empty()) return session->on_segments_stored(e.space, e.log, answer);
    logs[e.log.id(e.space)] = log;
    answer.position = log.head();
    answer.hash = log.hash_at(log.head());
    if (relay_) answer.receipt = Signature{};
    if (relay_ && receipts)
      answer.receipt = sign_receipt(receipts->secret_key, store, e.space, e.log.id(e.space), answer.position, answer.hash);
    session->on_segments_stored(e.space, e.log, answer);
  }
  void handle(effect::PeerHello&) {}
  void handle(effect::PeerHeads&) { say("heard heads"); }
  void handle(effect::SpaceReady&) { say("ready"); }
  void handle(effect::PeerStored& e) { stored.emplace_back(e.log, e.position); }
  void handle(effect::PeerRefused&) { ++refusals; }
  void handle(effect::Proposal&) { say("got a proposal"); }
  void handle(effect::Locate& e) {
    const auto at = spaces[e.space].logs.find(e.log);
    Position agrees = 0;
    if (at != spaces[e.space].logs.end())
      for (const auto& [position, short_hash] : e.locator)
        if (position <= at->second.head() && position > agrees && shorten(at->second.hash_at(position)) == short_hash) agrees = position;
    session->on_located(e.space, e.log, agrees);
  }
  void handle(effect::MakeLocator& e) {
    std::vector<std::pair<Position, ShortHash>> points;
    const MemoryLog log = held(e.space, e.log);
    const Position first = log.name.starts_after + 1;
    Position step = 1;  // ever sparser, and the first in any case, as a real body's
    for (Position p = log.head(); p >= first; p = std::max(p - std::min(p, step), first)) {
      points.emplace_back(p, shorten(log.hash_at(p)));
      if (points.size() > 8) step *= 2;
      if (p == first) break;
    }
    session->on_locator(e.space, e.log, points);
  }
  void handle(effect::Split& e) {
    auto& logs = spaces[e.space].logs;
    const auto at = logs.find(e.log);
    const bool inside =
        at != logs.end() && e.position < at->second.head() && (!at->second.name.branch || e.position > at->second.name.starts_after);
    if (inside) {
      MemoryLog& log = at->second;
      MemoryLog branch;
      branch.name = log.name;
      branch.name.branch = log.hash_at(e.position + 1);
      branch.name.starts_after = e.position;
      branch.before = log.hash_at(e.position);
      const auto cut = static_cast<std::ptrdiff_t>(e.position - log.name.starts_after);
      branch.segments.assign(log.segments.begin() + cut, log.segments.end());
      log.segments.resize(static_cast<std::size_t>(cut));
      const LogId id = branch.name.id(e.space);
      logs[id] = std::move(branch);
    }
    session->on_summary(summary(e.space));
  }
  void handle(effect::Level&) { ++levels; }
  void handle(effect::Close& e) { closed = e.code; }

  std::string name_;
  bool relay_;
};

}  // namespace doorstep::session_test
