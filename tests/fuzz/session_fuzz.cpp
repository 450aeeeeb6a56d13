// The session state machine (sync/session.hpp) under three hands; the first byte chooses.
//   hostile   one session: a peer that says anything, in any order and also garbage, before a body that answers late and oddly
//   honest    two sessions and the wire between them: messages and answers in any order that is allowed, cuts, writes, forks. They must
//             not end each other, and must end level and equal
//   mangled   the same with a wire that changes, repeats and swaps messages
// What must hold for each session: no crash; nothing before hello; nothing of a space before its heads were seen; no more in flight than a
// window and what one load brings; effects bounded by what came; closed is closed.
#include <set>

#include "sync/codec.hpp"
#include "sync/limits.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/sync/session_body.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;
using namespace doorstep::session_test;

constexpr std::size_t window_bytes = 300, batch_bytes = 100, content_bytes_max = 40, segment_bytes_max = 16 + content_bytes_max;
enum MessageType : std::uint8_t {
  hello = 1,
  spaces,
  heads,
  compared,
  roster,
  log_name,
  segments,
  stored,
  refused,
  proposal,
  locator,
  split,
  ping,
  pong,
  bye,
  roster_stored
};

const bool tells = std::getenv("DOORSTEP_TELL") != nullptr;

/// A body whose session is watched.
class Watched : public Body {
 public:
  Watched(bool relay, Verdict& verdict) : Body(relay ? "relay" : "phone", relay), relay_(relay), verdict_(verdict) {
    window = window_bytes;
    batch = batch_bytes;
    watch = [this](const Effect& effect) { judge(effect); };
  }
  void start(bool initiator, bool answers_late) {
    late = answers_late;
    said_hello_ = ended_ = false;
    heads_seen_.clear();
    effects_ = inputs_ = 0;
    connect(initiator);
  }
  void check() {
    require(session->in_flight() <= window_bytes + batch_bytes + segment_bytes_max);
    require(!session->level() || session->in_flight() == 0);
    require(!ended_ || session->closed());
    require(effects_ <= 64 + 16 * ++inputs_);
  }

 private:
  void judge(const Effect& effect) {
    ++effects_;
    if (tells) tell(effect);
    require(!ended_);
    verdict_.note(effect.index());
    if (const auto* sent = std::get_if<effect::Send>(&effect)) judge(sent->message);
    if (const auto* heard = std::get_if<effect::PeerHeads>(&effect)) heads_seen_.insert(heard->space);
    if (const auto* hello_of = std::get_if<effect::PeerHello>(&effect)) require(std::abs(hello_of->now_ms) <= limits::time_ms_max / 2);
    if (const auto* append = std::get_if<effect::AppendSegments>(&effect)) require(append->log.branch || append->log.starts_after == 0);
    if (const auto* load = std::get_if<effect::LoadRoster>(&effect)) require(heads_seen_.contains(load->space));
    if (const auto* load = std::get_if<effect::LoadSegments>(&effect)) require(heads_seen_.contains(load->space));
    ended_ = std::holds_alternative<effect::Close>(effect);
  }
  /// DOORSTEP_TELL=1: what happened, for whoever reproduces a finding.
  void tell(const Effect& effect) const {
    static constexpr const char* names[] = {
        "send",       "load summaries", "load roster", "load segments", "append roster", "append segments",
        "peer hello", "peer heads",     "space ready", "peer stored",   "peer refused",  "proposal",
        "locate",     "make locator",   "split",       "level",         "close"};
    const auto* sent = std::get_if<effect::Send>(&effect);
    std::fprintf(stderr, "%s %s %s\n", relay_ ? "relay" : "phone", names[effect.index()], sent ? to_hex(sent->message).c_str() : "");
  }
  void judge(ByteView message) {
    require(!message.empty());
    verdict_.note(message);
    require(said_hello_ || message[0] == hello || message[0] == bye);
    said_hello_ = said_hello_ || message[0] == hello;
    if (message[0] == roster || message[0] == log_name || message[0] == segments) require(!heads_seen_.empty());
  }

  const bool relay_;
  Verdict& verdict_;
  bool said_hello_ = false, ended_ = false;
  std::set<SpaceId> heads_seen_;
  std::size_t effects_ = 0, inputs_ = 0;
};

Bytes segment(std::uint8_t seed) {
  Bytes out(1 + seed % content_bytes_max);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(seed * 31 + i);
  return out;
}
std::uint8_t small(Script& script, std::uint8_t bound) { return script.byte() % bound; }

/// What both begin with: rosters of one history, and logs of which each holds a part, or that parted at some position.
void fill(Body& phone, Body& relay, Script& script) {
  const auto count = 1 + small(script, 2);
  for (std::uint8_t s = 1; s <= count; ++s) {
    const SpaceId id = space_named(s);
    auto& ours = phone.spaces[id];
    auto& theirs = relay.spaces[id];
    for (std::uint8_t n = 1 + small(script, 4), i = 0; i < n; ++i) ours.roster.push_back({i});
    for (std::uint8_t n = small(script, 4), i = 0; i < n; ++i) theirs.roster.push_back({i});
    for (std::uint8_t logs = small(script, 4), l = 0; l < logs; ++l) {
      const LogName name = log_named(static_cast<std::uint8_t>(10 + l));
      const auto fork = script.byte();
      for (Body* body : {&phone, &relay}) {
        auto& held = body->spaces[id].logs[name.id(id)];
        held.name = name;
        for (std::uint8_t n = small(script, 12), i = 0; i < n; ++i)
          held.write(segment(fork % 2 == 0 || i < fork % 16 / 2 ? i : static_cast<std::uint8_t>(i + (body == &phone ? 50 : 90))));
        if (held.segments.empty()) body->spaces[id].logs.erase(name.id(id));
      }
    }
  }
}

SpaceId some_space(const Body& body, Script& script) {
  return space_named(1 + small(script, static_cast<std::uint8_t>(body.spaces.size())));
}

// ---- Hostile ---------------------------------------------------------------------------------------------------------------------

void put_hash(Encoder& out, const Body& body, Script& script) {
  const auto which = script.byte();
  const auto at = body.spaces.find(space_named(1));
  const bool known = which % 2 == 0 && at != body.spaces.end() && !at->second.logs.empty();
  const auto& held = known ? at->second.logs.begin()->second : MemoryLog{};
  out.put_raw(shorten(held.hash_at(known ? std::min<Position>(held.head(), which / 2) : 0)).view());
}
LogName some_log(const Body& body, Script& script) {
  LogName out = log_named(static_cast<std::uint8_t>(9 + small(script, 4)));
  if (const auto how = script.byte(); how % 4 == 0) {
    const auto at = body.spaces.find(space_named(1));
    if (at != body.spaces.end() && at->second.logs.contains(out.id(space_named(1))))
      out.branch = at->second.logs.at(out.id(space_named(1))).hash_at(how / 4 % 8);
    out.starts_after = how / 4 % 8;
  }
  return out;
}

/// A well-formed message of this type, with fields that the script chooses.
Bytes craft(std::uint8_t type, const Body& body, Script& script) {
  Encoder out;
  out.put_u8(type);
  const auto index = [&] { out.put_varint(small(script, 4)); };
  const auto position = [&] {
    const auto byte = script.byte();
    out.put_varint(byte == 255 ? UINT64_MAX : byte == 254 ? UINT64_MAX / 2 : byte % 16);
  };
  const auto some_id = [&] { out.put_raw(some_log(body, script).id(space_named(1)).view()); };
  const auto some_segments = [&] {
    for (std::uint8_t n = 1 + small(script, 4), i = 0; i < n; ++i) out.put_bytes(segment(script.byte()));
  };
  switch (type) {
    case hello: {
      const auto how = script.byte();
      out.put_varint(how == 1 ? 2 : 1);
      out.put_varint(how == 2 ? 0 : 1 + how % 3);
      out.put_u8(how / 4 % 2);
      if (how / 4 % 2 != 0) out.put_raw(StoreId{}.view());
      out.put_raw(DeviceId{}.view());
      out.put_zigzag(how == 3 ? INT64_MIN : 1'700'000'000'000);
      std::vector<SpaceSummary> all;
      for (const auto& [id, space] : body.spaces) all.push_back(body.summary(id));
      out.put_raw((how % 2 == 0 ? set_digest(all) : ShortHash{}).view());
      break;
    }
    case spaces: {
      const auto count = small(script, 5);
      out.put_varint(count);
      for (std::uint8_t i = 0; i < count; ++i) {
        const auto how = script.byte();
        const SpaceId id = space_named(how % 4);
        out.put_raw(id.view());
        out.put_raw((how / 4 % 2 == 0 ? set_digest(body.summary(id)) : ShortHash{}).view().first(8));
      }
      break;
    }
    case heads: {
      index();
      position();
      put_hash(out, body, script);
      const auto count = small(script, 6);
      out.put_varint(count);
      for (std::uint8_t i = 0; i < count; ++i) {
        some_id();
        position();
        put_hash(out, body, script);
        out.put_raw(tag_of(log_named(10).device).view());
      }
      break;
    }
    case roster: {
      index();
      position();
      const auto count = small(script, 4);
      out.put_varint(count);
      for (std::uint8_t i = 0; i < count; ++i) out.put_bytes(Bytes{small(script, 4)});
      break;
    }
    case log_name: {
      index();
      out(some_log(body, script));
      break;
    }
    case segments:
      index();
      position();
      some_segments();
      break;
    case stored:
      index();
      position();
      out.put_u8(0);
      break;
    case refused:
      index();
      position();
      out.put_varint(small(script, 24));
      break;
    case proposal:
      index();
      out.put_bytes(script.take(small(script, 9)));
      break;
    case locator: {
      index();
      some_id();
      const auto count = small(script, 5);
      out.put_varint(count);
      for (std::uint8_t i = 0; i < count; ++i) {
        position();
        put_hash(out, body, script);
      }
      break;
    }
    case split:
      index();
      some_id();
      position();
      break;
    case bye: out.put_varint(small(script, 24)); break;
    case roster_stored:
      index();
      position();
      break;
    default: break;
  }
  return out.take();
}

/// What a body may do by itself, and how its answers may fail.
void act(Watched& body, Script& script) {
  const SpaceId space = space_named(1 + small(script, 2));
  switch (script.byte() % 9) {
    case 0: return body.write(space, log_named(10), segment(script.byte()));
    case 1: return body.write(space, log_named(11), segment(script.byte()));
    case 2: body.spaces[space].roster.push_back({small(script, 4)}); return body.session->on_summary(body.summary(space));
    case 3: return body.session->on_summary(body.summary(space));
    case 4: return body.session->propose(space, script.take(4));
    case 5: return body.session->resend(space, some_log(body, script).id(space), small(script, 8));
    case 6: return body.session->ping();
    case 7:
      body.session->hold_pongs();
      (void)body.receive(craft(ping, body, script));
      return body.session->release_pongs();
    default:
      if (small(script, 8) == 0) body.session->close(Code::cancelled);
  }
}

/// Answers that an honest body gives on a bad day.
bool answer_badly(Watched& body, std::uint8_t which) {
  Effect effect = body.waiting[which % body.waiting.size()];
  Session& session = *body.session;
  if (const auto* load = std::get_if<effect::LoadSegments>(&effect))
    session.on_segments_loaded(load->space, load->log, load->after, {}, which % 2 == 0);
  else if (const auto* entries = std::get_if<effect::LoadRoster>(&effect))
    session.on_roster_loaded(entries->space, entries->from, {});
  else if (const auto* append = std::get_if<effect::AppendRoster>(&effect))
    session.on_roster_stored(append->space, body.summary(append->space), Error(which % 2 == 0 ? Code::conflict : Code::protocol, "no"));
  else if (const auto* segments_of = std::get_if<effect::AppendSegments>(&effect)) {
    Session::Stored answer;
    for (const auto& bytes : segments_of->segments) answer.bytes += bytes.size();
    answer.refused = which % 2 == 0 ? Code::conflict : Code::no_right;
    session.on_segments_stored(segments_of->space, segments_of->log, answer);
  } else {
    return false;
  }
  body.waiting.erase(body.waiting.begin() + which % static_cast<std::ptrdiff_t>(body.waiting.size()));
  return true;
}

void hostile(Script& script, Verdict& verdict) {
  const auto how = script.byte();
  Watched body((how & 1) != 0, verdict);
  Body nobody("nobody", false);
  fill(body, nobody, script);
  body.start((how & 2) != 0, (how & 4) != 0);
  for (int step = 0; step < 400 && !script.empty(); ++step) {
    const auto op = script.byte() % 24;
    if (op >= 1 && op <= 16) {
      body.receive(craft(static_cast<std::uint8_t>(op), body, script));
    } else if (op == 17 || op == 0) {
      Bytes message = craft(1 + small(script, 16), body, script);
      mutate(message, script);
      body.receive(message);
    } else if (op == 18) {
      body.receive(script.take(script.byte()));
    } else if (op < 22 && !body.waiting.empty()) {
      const auto which = script.byte();
      if (op != 21 || !answer_badly(body, which)) body.answer(which % body.waiting.size());
    } else {
      act(body, script);
    }
    body.run();
    body.check();
    for (const auto& message : std::exchange(body.out, {})) verdict.note(message.size());
  }
  while (!body.waiting.empty()) body.answer(0), body.check();
  verdict.note(body.closed.value_or(Code::ok));
}

// ---- Two against each other --------------------------------------------------------------------------------------------------------

bool deliver(Body& from, Body& to) {
  if (from.out.empty()) return false;
  const Bytes message = std::move(from.out.front());
  from.out.pop_front();
  to.receive(message);
  return true;
}

/// Everything that is on its way, until there is nothing more to do.
void settle(Watched& phone, Watched& relay) {
  for (int step = 0;; ++step) {
    require(step < 20'000);  // a finite exchange ends
    bool moved = deliver(phone, relay);
    moved = deliver(relay, phone) || moved;
    for (Watched* body : {&phone, &relay}) {
      if (!body->waiting.empty()) body->answer(0), moved = true;
      body->check();
    }
    if (!moved) return;
  }
}

void reconnect(Watched& phone, Watched& relay, std::uint8_t how) {
  relay.start(false, (how & 1) != 0);
  phone.start(true, (how & 2) != 0);
}

void mangle(Watched& from, Script& script) {
  auto& wire = from.out;
  if (wire.empty()) return;
  switch (script.byte() % 4) {
    case 0: wire.push_back(wire.front()); break;
    case 1: std::swap(wire.front(), wire.back()); break;
    case 2: wire.pop_front(); break;
    default: mutate(wire.front(), script); break;
  }
}

void pair(bool honest, Script& script, Verdict& verdict) {
  Watched phone(false, verdict), relay(true, verdict);
  fill(phone, relay, script);
  reconnect(phone, relay, script.byte());
  std::uint8_t writes = 0;
  for (int step = 0; step < 400 && !script.empty(); ++step) {
    const auto op = script.byte();
    Watched& body = (op & 1) != 0 ? phone : relay;
    Watched& other = (op & 1) != 0 ? relay : phone;
    switch (op / 2 % 12) {
      case 0:
      case 1:
      case 2: deliver(body, other); break;
      case 3:
      case 4:
      case 5:
        if (!body.waiting.empty()) body.answer(script.byte() % body.waiting.size());
        break;
      case 6:
      case 7: body.write(some_space(phone, script), log_named(&body == &phone ? 10 : 20), segment(++writes)); break;
      case 8: {
        const SpaceId id = some_space(phone, script);
        auto& entries = relay.spaces[id].roster;  // one sequencer, so one history
        entries.push_back({static_cast<std::uint8_t>(entries.size())});
        relay.session->on_summary(relay.summary(id));
        relay.run();
        break;
      }
      case 9: reconnect(phone, relay, script.byte()); break;
      case 10: body.session->ping(), body.run(); break;
      default:
        if (!honest) mangle(body, script);
    }
    phone.check();
    relay.check();
  }
  settle(phone, relay);
  for (const Watched* body : {&phone, &relay}) verdict.note(body->closed.value_or(Code::ok));
  if (!honest) return;
  require(!phone.closed && !relay.closed);
  for (int round = 0; round < 3; ++round) {
    reconnect(phone, relay, 0);
    settle(phone, relay);
    require(!phone.closed && !relay.closed);
  }
  std::vector<SpaceSummary> ours, theirs;
  for (const auto& [id, space] : phone.spaces) ours.push_back(phone.summary(id)), theirs.push_back(relay.summary(id));
  require(phone.session->level() && relay.session->level());
  require(set_digest(ours) == set_digest(theirs));
}

void run(ByteView input, Verdict& verdict) {
  Script script(input);
  const auto mode = script.byte() % 3;
  if (mode == 0) return hostile(script, verdict);
  pair(mode == 1, script, verdict);
}

std::vector<Seed> seeds() {
  std::vector<Seed> out;
  // A whole exchange, as each side hears it: hello, spaces or heads, log, segments, acknowledgements, and an answer after each.
  const Bytes as_responder{0, 1, 0, 2, 1, 2, 1, 5, 3, 1, 1, 2, 1, 3, 0, 2, 0, 0, 0, 6, 0, 0, 0, 7, 0, 1, 1, 1, 2, 19, 0, 8, 0, 1, 16, 0, 2};
  const Bytes as_initiator{0, 2, 1, 2, 1, 1, 3, 0, 3, 1, 1, 3, 0, 2, 0, 1, 1, 4, 19, 0, 6, 0, 0, 1, 7, 0, 1, 0, 5, 8, 0, 1, 12, 0, 0, 1, 3};
  out.push_back({"hostile_initiator", as_responder});
  out.push_back({"hostile_responder", as_initiator});
  // Found once: a log of a space that the list then did not name; a clock that no offset fits; hello from somebody who changes meanwhile.
  out.push_back({"log_before_spaces", Bytes{0, 0, 0, 0, 0, 0, 1, 5, 6, 0, 0, 1, 2, 1, 2, 7, 0, 1, 0, 5}});
  out.push_back({"hello_of_no_time", Bytes{0, 0, 0, 0, 0, 0, 1, 3}});
  for (std::uint8_t how = 0; how < 4; ++how) {
    CountingRandom random(how + 1);
    Bytes steps(160);
    random.fill(steps);
    Bytes honest{1, 1, 3, 3, 2, 1, 9, 4, static_cast<std::uint8_t>(how % 2), 6, 8, how};
    append(honest, steps);
    out.push_back({"honest_" + std::to_string(how), honest});
    honest[0] = 2;
    out.push_back({"mangled_" + std::to_string(how), honest});
  }
  return out;
}

const Registration registration({"session", run, seeds});

}  // namespace
