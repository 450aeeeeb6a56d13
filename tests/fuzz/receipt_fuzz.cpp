// Receipts: what makes a record count as at the office (sync/session.hpp). A phone hands its logs in; the relay's `stored` messages are
// changed, repeated, mixed up, or signed for another place, as the script says. A receipt holds exactly if the relay has signed it for this
// store, space, log and position, and for the hash that the phone's own log has there.
#include <set>

#include "sync/session_messages.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/sync/session_body.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;
using namespace doorstep::session_test;

constexpr int messages_max = 200;

const IdentityKeyPair& relay_keys() {
  static const IdentityKeyPair keys = [] {
    CountingRandom random(7);
    return make_identity_key_pair(random);
  }();
  return keys;
}
StoreId store_named(std::uint8_t n) { return StoreId{{n}}; }

/// What a receipt is about.
struct Place {
  StoreId store;
  SpaceId space;
  LogId log;
  Position position = 0;
  Hash hash;
  auto operator<=>(const Place&) const = default;
};

class Office {
 public:
  Office(Script& script, Verdict& verdict) : script_(script), verdict_(verdict) {
    relay_.receipts = &relay_keys();
    relay_.store = store_named(1);
    const std::uint8_t spaces = 1 + script_.byte() % 2;
    for (std::uint8_t s = 1; s <= spaces; ++s) {
      relay_.spaces[space_named(s)].roster = phone_.spaces[space_named(s)].roster = {{s}};
      for (std::uint8_t logs = 1 + script_.byte() % 2, l = 0; l < logs; ++l)
        for (std::uint8_t n = 1 + script_.byte() % 4, i = 0; i < n; ++i) phone_.write(space_named(s), log_named(10 + l), {i});
    }
    phone_.batch = relay_.batch = 1;  // a segment a message, so that there are many receipts
    phone_.watch = [this](const Effect& effect) {
      if (const auto* stored = std::get_if<effect::PeerStored>(&effect)) judge(*stored);
    };
  }

  void run() {
    phone_.connect(true);
    relay_.connect(false);
    for (int i = 0; i < messages_max && !(phone_.out.empty() && relay_.out.empty()); ++i) {
      if (phone_.closed || relay_.closed) break;
      if (!phone_.out.empty())
        relay_.receive(take(phone_.out));
      else
        hand_over(take(relay_.out));
    }
    verdict_.note(held_);
    verdict_.note(refused_);
    verdict_.note(phone_.closed.value_or(Code::ok));
  }

 private:
  static Bytes take(std::deque<Bytes>& queue) {
    Bytes out = std::move(queue.front());
    queue.pop_front();
    return out;
  }

  void hand_over(Bytes message) {
    if (message[0] != message::type_stored) return phone_.receive(message);
    auto stored = decode<message::StoredMessage>(ByteView(message).subspan(1), "stored");
    require(stored.ok() && stored->receipt.has_value());
    for (const auto& [id, space] : relay_.spaces)
      for (const auto& [log, held] : space.logs) sign_for({relay_.store, id, log, stored->position, held.hash_at(stored->position)});
    switch (script_.byte() % 5) {
      case 0: break;
      case 1: (void)mutate(message, script_); break;
      case 2: message = earlier_.empty() ? message : earlier_[script_.byte() % earlier_.size()]; break;
      case 3:
        stored->receipt = sign_for(another_place(stored->position));
        message = message_of(*stored);
        break;
      default:
        stored->log ^= script_.byte() % 4;
        stored->position += script_.byte() % 3;
        message = message_of(*stored);
        break;
    }
    earlier_.push_back(message);
    if (!message.empty()) phone_.receive(message);
  }
  static Bytes message_of(const message::StoredMessage& stored) {
    Bytes out{message::type_stored};
    append(out, encode(stored));
    return out;
  }

  /// One of the places that there are, with one thing wrong, or nothing.
  Place another_place(Position position) {
    const SpaceId space = space_named(1 + script_.byte() % 2);
    const LogId log = log_named(10 + script_.byte() % 2).id(space);
    Place out{relay_.store, space, log, position, own_hash(space, log, position)};
    switch (script_.byte() % 5) {
      case 0: out.store = store_named(2); break;
      case 1: out.position += 1; break;
      case 2: out.hash = own_hash(space, log, position - 1); break;
      case 3: out.hash.data[script_.byte() % out.hash.data.size()] ^= 1; break;
      default: break;
    }
    return out;
  }
  Hash own_hash(const SpaceId& space, const LogId& log, Position position) const {
    const auto in = phone_.spaces.find(space);
    if (in == phone_.spaces.end() || !in->second.logs.contains(log)) return {};
    return in->second.logs.at(log).hash_at(position);
  }
  Signature sign_for(const Place& place) {
    const auto out = sign_receipt(relay_keys().secret_key, place.store, place.space, place.log, place.position, place.hash);
    signed_.emplace(place, out);
    return out;
  }

  void judge(const effect::PeerStored& stored) {
    const auto space = phone_.spaces.find(stored.space);
    require(space != phone_.spaces.end() && space->second.logs.contains(stored.log));
    require(stored.position <= space->second.logs.at(stored.log).head());
    if (!stored.receipt) return;
    require(stored.receipt->store == relay_.store);
    const Hash hash = own_hash(stored.space, stored.log, stored.position);
    const bool holds = receipt_holds(*stored.receipt, relay_keys().public_key, stored.space, stored.log, stored.position, hash);
    const Place place{stored.receipt->store, stored.space, stored.log, stored.position, hash};
    require(holds == signed_.contains({place, stored.receipt->signature}));
    ++(holds ? held_ : refused_);
  }

  Script& script_;
  Verdict& verdict_;
  Body phone_{"phone", false}, relay_{"relay", true};
  std::set<std::pair<Place, Signature>> signed_;
  std::vector<Bytes> earlier_;
  std::uint64_t held_ = 0, refused_ = 0;
};

void run(ByteView input, Verdict& verdict) {
  Script script(input);
  Office(script, verdict).run();
}

std::vector<Seed> seeds() {
  return {{"honest", Bytes{1, 1, 3, 3, 1, 2, 2}},
          {"changed", Bytes{0, 0, 3, 1, 0, 4, 20, 0, 1, 2, 1, 9, 0}},
          {"repeated", Bytes{0, 1, 3, 2, 0, 2, 0, 2, 1, 2, 0}},
          {"for_another_place", Bytes{1, 1, 3, 3, 1, 2, 2, 3, 0, 0, 0, 3, 0, 0, 1, 3, 0, 0, 2, 3, 1, 1, 3, 5}},
          {"under_another_number", Bytes{1, 1, 3, 3, 1, 2, 2, 4, 1, 0, 4, 0, 1}}};
}

const Registration registration({"receipt", run, seeds});

}  // namespace
