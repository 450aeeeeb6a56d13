// The handshake between two honest ends with a hostile wire: each kind of connection; each of the three messages (and the preamble before
// the first) changed, cut, lengthened, repeated, or replaced by the same message of another session.
// What must hold: whoever was told something else than his peer said does not come to the same end as the peer; both established on one
// transcript means nothing was changed; a failed end stays failed, holds no message, and its memory is bounded.
#include "sync/channel.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;

struct Keys {
  CountingRandom random;
  TransportKeyPair relay = make_transport_key_pair(random);
  TransportKeyPair phone = make_transport_key_pair(random);
  SymmetricKey psk = make_symmetric_key(random);
};
const Keys& keys() {
  static const Keys out;
  return out;
}

struct Ends {
  explicit Ends(std::uint64_t seed, std::uint8_t kind)
      : random(seed),
        initiator(kind == 0   ? Channel::device(random, keys().phone, keys().relay.public_key, view("a phone"))
                  : kind == 1 ? Channel::joining(random, keys().phone, keys().relay.public_key, InviteId{}, keys().psk, view("a phone"))
                              : Channel::phones(random, keys().phone, keys().psk)),
        responder(Channel::responder(random, keys().relay, {true, true, true}, view("a relay"))) {}
  CountingRandom random;
  Channel initiator, responder;
};

/// Answers like an honest body.
void answer(Channel& channel) {
  if (channel.need() == ChannelNeed::psk) (void)channel.provide_psk(keys().psk);
  if (channel.need() == ChannelNeed::approval) (void)channel.approve(view("here I am"));
}

/// The flights of a handshake, from another session with the same keys: made once.
const std::vector<Bytes>& flights_elsewhere(std::uint8_t kind) {
  static const auto made = [] {
    std::vector<std::vector<Bytes>> out;
    for (std::uint8_t k = 0; k < 3; ++k) {
      Ends ends(99, k);
      auto& flights = out.emplace_back();
      for (int n = 0; n < 3; ++n) {
        Channel& from = n == 1 ? ends.responder : ends.initiator;
        Channel& to = n == 1 ? ends.initiator : ends.responder;
        flights.push_back(from.take_output());
        require(to.feed(flights.back()).ok());
        answer(to);
      }
      require(ends.initiator.established() && ends.responder.established());
    }
    return out;
  }();
  return made[kind];
}

void run(ByteView input, Verdict& verdict) {
  Script script(input);
  const auto kind = static_cast<std::uint8_t>(script.byte() % 3);
  const int victim = script.byte() % 3;
  const auto how = script.byte() % 4;
  Ends ends(7, kind);
  bool changed = false;
  for (int n = 0; n < 3; ++n) {
    Channel& from = n == 1 ? ends.responder : ends.initiator;
    Channel& to = n == 1 ? ends.initiator : ends.responder;
    Bytes flight = from.take_output();
    if (n == victim) {
      const Bytes said = flight;
      switch (how) {
        case 0: flight = flights_elsewhere(kind)[static_cast<std::size_t>(n)]; break;
        case 1: append(flight, said); break;
        case 2: flight = to_bytes(script.rest()); break;
        default: mutate(flight, script);
      }
      // What stands behind an honest message is for the next reader to refuse.
      changed = flight.size() < said.size() || !equal(ByteView(flight).first(said.size()), said);
    }
    const auto fed = to.feed(flight);
    require(to.memory_bytes() <= 4 * flight.size() + 16 * 1024);
    verdict.note(fed);
    answer(to);
    if (to.failed()) break;
  }
  for (Channel* end : {&ends.initiator, &ends.responder}) {
    verdict.note(end->established());
    require(!end->next_message());
    if (const auto failed = end->failed()) {
      require(!end->established() && end->need() == ChannelNeed::none);
      require(end->feed(view("more")).code() == *failed);
    }
  }
  const bool agree = ends.initiator.established() && ends.responder.established();
  if (agree) require(!changed && ends.initiator.handshake_hash() == ends.responder.handshake_hash());
}

std::vector<Seed> seeds() {
  std::vector<Seed> out;
  static constexpr const char* kinds[] = {"device", "joining", "phones"};
  for (std::uint8_t kind = 0; kind < 3; ++kind) {
    out.push_back({std::string(kinds[kind]) + "_replayed", Bytes{kind, 2, 0}});
    out.push_back({std::string(kinds[kind]) + "_changed", Bytes{kind, 1, 3, 0, 5, 8, 0, 1}});
    out.push_back({std::string(kinds[kind]) + "_repeated", Bytes{kind, 0, 1}});
    Bytes raw{kind, 1, 2};
    append(raw, flights_elsewhere(kind)[1]);
    out.push_back({std::string(kinds[kind]) + "_raw", raw});
  }
  return out;
}

const Registration registration({"handshake", run, seeds});

}  // namespace
