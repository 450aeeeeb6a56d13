// Hostile bytes for the channel: to a responder, to an initiator, and behind an honest handshake. The first byte chooses.
// What must hold whatever comes: no crash, no sanitizer report, memory bounded by what was fed, a failure stays, and no message
// comes out of bytes that nobody sealed.
#include <cstdlib>

#include "sync/channel.hpp"

namespace {

using namespace doorstep;

void require(bool condition) {
  if (!condition) std::abort();
}

/// The same bytes in every run, so that an input found by the fuzzer means the same again.
class CountingRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(state_ = state_ * 6364136223846793005u + 1442695040888963407u);
  }

 private:
  std::uint64_t state_ = 1;
};

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

/// An honest handshake, then frames: bits of honest frames changed, and raw bytes.
void fuzz_transport(std::uint8_t which, ByteView input) {
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
  require(initiator.send(view("an honest message, sealed and sent")).ok());
  auto honest = initiator.take_output();
  const bool changes = !input.empty() && input.front() % 2 == 0 && input.size() > 2;
  if (changes) {
    const std::uint8_t mask = input[2] == 0 ? 1 : input[2];
    honest[input[1] % honest.size()] ^= mask;
    (void)responder.feed(honest);
    require(!responder.next_message());
  } else {
    require(responder.feed(honest).ok() && responder.next_message());
  }
  if (!responder.failed()) feed_all(responder, input);
  require(!responder.next_message());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::uint8_t mode = data[0];
  const ByteView input(data + 1, size - 1);
  CountingRandom random;
  switch (mode % 4) {
    case 0: {
      auto responder = Channel::responder(random, keys().relay, {true, true, true}, view("hello"));
      feed_all(responder, input);
      require(!responder.next_message());
      return 0;
    }
    case 1: {
      auto initiator = make_initiator(random, mode / 4);
      (void)initiator.take_output();
      feed_all(initiator, input);
      require(!initiator.next_message());
      return 0;
    }
    case 2: {
      // The right preamble, whatever the input thinks of it: deeper into the handshake reader.
      auto responder = Channel::responder(random, keys().relay, {true, true, true});
      const std::uint8_t preamble[] = {'D', 'S', channel_version, static_cast<std::uint8_t>(1 + mode / 4 % 3)};
      require(responder.feed(preamble).ok());
      feed_all(responder, input);
      require(!responder.next_message());
      return 0;
    }
    default: fuzz_transport(mode / 4, input); return 0;
  }
}
