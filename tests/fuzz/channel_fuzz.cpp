// Hostile bytes for the channel: to a responder, to an initiator, and behind an honest handshake. The first byte chooses.
// What must hold whatever comes: no crash, no sanitizer report, memory bounded by what was fed, a failure stays, and no message
// comes out of bytes that nobody sealed: what is received is what was sent, from the first message on, without a gap.
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

Channel make_initiator(Random& random, std::uint8_t which) {
  if (which % 3 == 0) return Channel::device(random, keys().phone, keys().relay.public_key);
  if (which % 3 == 1) return Channel::joining(random, keys().phone, keys().relay.public_key, InviteId{}, keys().psk);
  return Channel::phones(random, keys().phone, keys().psk);
}

/// Answers like an honest body.
void answer(Channel& channel) {
  if (channel.need() == ChannelNeed::psk) (void)channel.provide_psk(keys().psk);
  if (channel.need() == ChannelNeed::approval) (void)channel.approve(view("here I am"));
}

/// Feeds in pieces whose sizes come from the input too.
void feed_all(Channel& channel, ByteView input) {
  const std::size_t whole = input.size();
  while (!input.empty()) {
    const std::size_t piece = std::min<std::size_t>(input.size(), 1 + input.front() % 64u * 8u);
    const auto status = channel.feed(input.first(piece));
    input = input.subspan(piece);
    require(channel.memory_bytes() <= 4 * whole + 16 * 1024);
    require(status.ok() != channel.failed().has_value());
    if (!status.ok()) {
      require(!channel.established() && channel.need() == ChannelNeed::none);
      require(channel.feed(input).code() == status.code());
      break;
    }
    answer(channel);
  }
  (void)channel.take_output();
  const auto last = channel.finish();
  require(last.ok() == channel.peer_closed() || channel.failed());
}

/// An honest handshake, and frames of honest messages; the script changes, repeats, drops and swaps frames, and adds bytes of its own.
void transport(std::uint8_t which, Script& script, Verdict& verdict) {
  CountingRandom random;
  auto initiator = make_initiator(random, which);
  auto responder = Channel::responder(random, keys().relay, {true, true, true});
  for (int i = 0; i < 2; ++i) {
    require(responder.feed(initiator.take_output()).ok());
    answer(responder);
    require(initiator.feed(responder.take_output()).ok());
    answer(initiator);
  }
  require(initiator.established() && responder.established());
  std::vector<Bytes> sent, frames;
  for (auto count = 1 + script.byte() % 5; count > 0; --count) {
    sent.emplace_back(script.byte(), static_cast<std::uint8_t>(count));
    require(initiator.send(sent.back()).ok());
    frames.push_back(initiator.take_output());
  }
  for (auto edits = script.byte() % 4; edits > 0 && !frames.empty(); --edits) {
    const auto how = script.byte();
    const auto at = static_cast<std::ptrdiff_t>(script.byte() % frames.size());
    switch (how % 4) {
      case 0: mutate(frames[static_cast<std::size_t>(at)], script); break;
      case 1: frames.insert(frames.begin() + at, frames[static_cast<std::size_t>(at)]); break;
      case 2: frames.erase(frames.begin() + at); break;
      default: std::swap(frames[static_cast<std::size_t>(at)], frames.front());
    }
  }
  Bytes wire;
  for (const auto& frame : frames) append(wire, frame);
  append(wire, script.rest());
  feed_all(responder, wire);
  std::size_t received = 0;
  for (; auto message = responder.next_message(); ++received) require(received < sent.size() && *message == sent[received]);
  verdict.note(received);
  verdict.note(responder.failed().value_or(Code::ok));
}

void run(ByteView input, Verdict& verdict) {
  if (input.empty()) return;
  const std::uint8_t mode = input[0];
  const ByteView rest = input.subspan(1);
  CountingRandom random;
  const auto judge = [&](Channel& channel) {
    feed_all(channel, rest);
    require(!channel.next_message());
    verdict.note(channel.failed().value_or(Code::ok));
  };
  switch (mode % 4) {
    case 0: {
      auto responder = Channel::responder(random, keys().relay, {true, true, true}, view("hello"));
      return judge(responder);
    }
    case 1: {
      auto initiator = make_initiator(random, mode / 4);
      (void)initiator.take_output();
      return judge(initiator);
    }
    case 2: {
      // The right preamble, whatever the input thinks of it: deeper into the handshake reader.
      auto responder = Channel::responder(random, keys().relay, {true, true, true});
      const std::uint8_t preamble[] = {'D', 'S', channel_version, static_cast<std::uint8_t>(1 + mode / 4 % 3)};
      require(responder.feed(preamble).ok());
      return judge(responder);
    }
    default: {
      Script script(rest);
      transport(mode / 4, script, verdict);
    }
  }
}

std::vector<Seed> seeds() {
  return {{"refusal", Bytes{1, 'D', 'S', 1, 0, 0, 16}},
          {"honest_frames", Bytes{3, 4, 10, 0, 200, 1, 5, 0}},
          {"frames_changed", Bytes{7, 4, 10, 0, 200, 1, 5, 2, 0, 1, 0, 0, 5, 0, 3, 2}},
          {"frames_swapped", Bytes{11, 4, 10, 0, 200, 1, 5, 1, 3, 2}}};
}

const Registration registration({"channel", run, seeds});

}  // namespace
