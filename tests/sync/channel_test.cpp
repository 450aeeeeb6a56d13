// The channel, driven by hand: what one side puts out is fed to the other, whole, cut, changed, repeated or crossed.
#include "sync/channel.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace doorstep {
namespace {

// Fixtures -------------------------------------------------------------------------------------------------------------

/// BLAKE2b of a seed and a counter: every run and every machine sees the same bytes.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : seed_(seed) {}
  void fill(std::span<std::uint8_t> out) override {
    while (!out.empty()) {
      std::array<std::uint8_t, 64> block;
      const std::uint64_t input[2] = {seed_, counter_++};
      blake2b(block, {ByteView(reinterpret_cast<const std::uint8_t*>(input), sizeof input)});
      const std::size_t size = std::min(out.size(), block.size());
      std::copy_n(block.begin(), size, out.begin());
      out = out.subspan(size);
    }
  }

 private:
  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
};

TransportKeyPair made_up_keys(std::uint64_t seed) {
  SeededRandom random(seed);
  return make_transport_key_pair(random);
}
SymmetricKey made_up_psk(std::uint64_t seed) {
  SeededRandom random(seed);
  return make_symmetric_key(random);
}

/// Two peers, their keys, and the same randomness whenever it is made again.
struct World {
  explicit World(ChannelKind kind_, ChannelOptions options = {})
      : kind(kind_),
        responder(Channel::responder(*responder_random, relay, kinds(kind_), view("relay's payload"), options)),
        initiator(make_initiator(options)) {}

  static ChannelKinds kinds(ChannelKind kind) { return kind == ChannelKind::phones ? ChannelKinds::peer() : ChannelKinds::relay(); }

  Channel make_initiator(ChannelOptions options = {}) {
    switch (kind) {
      case ChannelKind::device: return Channel::device(*initiator_random, phone, relay.public_key, view("phone's payload"), options);
      case ChannelKind::joining:
        return Channel::joining(*initiator_random, phone, relay.public_key, invite, psk, view("phone's payload"), options);
      case ChannelKind::phones: return Channel::phones(*initiator_random, phone, psk, options);
    }
    abort();
  }

  /// Answers whatever a side asks, as an honest body that knows `psk` would.
  void answer() {
    if (responder.need() == ChannelNeed::psk) {
      const bool known = kind == ChannelKind::phones ? responder.psk_matches(psk) : responder.invite() == invite;
      if (known)
        (void)responder.provide_psk(psk);
      else
        responder.refuse(Code::unauthenticated);
    }
    if (initiator.need() == ChannelNeed::approval) (void)initiator.approve(view("phone's payload"));
  }

  /// One exchange in both directions; false when neither had anything to say.
  bool exchange() {
    const auto up = initiator.take_output();
    const auto up_status = responder.feed(up);
    answer();
    const auto down = responder.take_output();
    const auto down_status = initiator.feed(down);
    answer();
    (void)up_status;
    (void)down_status;
    return !up.empty() || !down.empty();
  }

  void run() {
    while (exchange()) {}
  }

  ChannelKind kind;
  TransportKeyPair relay = made_up_keys(1);
  TransportKeyPair phone = made_up_keys(2);
  SymmetricKey psk = made_up_psk(3);
  InviteId invite = InviteId::from(made_up_keys(4).public_key.view().first(16));
  std::unique_ptr<SeededRandom> responder_random = std::make_unique<SeededRandom>(5);  // where channels point to, so a World can move
  std::unique_ptr<SeededRandom> initiator_random = std::make_unique<SeededRandom>(6);
  Channel responder;
  Channel initiator;
};

constexpr ChannelKind all_kinds[] = {ChannelKind::device, ChannelKind::joining, ChannelKind::phones};

/// A world whose handshake is done, with nothing in flight.
World open_world(ChannelKind kind = ChannelKind::device, ChannelOptions options = {}) {
  World world(kind, options);
  world.run();
  EXPECT_TRUE(world.initiator.established() && world.responder.established());
  return world;
}

Bytes pattern_bytes(std::size_t size) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(31 * i + i / 251);
  return out;
}

Bytes joined(std::initializer_list<ByteView> parts) {
  Bytes out;
  for (const auto part : parts) append(out, part);
  return out;
}

/// The three handshake messages of an undisturbed run, with preamble and sizes.
struct Recording {
  Bytes first, second, third;
};
Recording record(ChannelKind kind) {
  World world(kind);
  Recording out;
  out.first = world.initiator.take_output();
  EXPECT_TRUE(world.responder.feed(out.first).ok());
  world.answer();
  out.second = world.responder.take_output();
  EXPECT_TRUE(world.initiator.feed(out.second).ok());
  world.answer();
  out.third = world.initiator.take_output();
  EXPECT_TRUE(world.responder.feed(out.third).ok());
  EXPECT_TRUE(world.responder.established());
  return out;
}

/// A world that has come as far as having `messages` handshake messages delivered.
World world_after(ChannelKind kind, int messages) {
  World world(kind);
  if (messages >= 1) (void)world.responder.feed(world.initiator.take_output());
  world.answer();
  if (messages >= 2) (void)world.initiator.feed(world.responder.take_output());
  world.answer();
  EXPECT_FALSE(world.initiator.failed() || world.responder.failed());
  return world;
}

// The handshake --------------------------------------------------------------------------------------------------------

TEST(Channel, EveryKindOpensAndTellsWhoIsThere) {
  for (const auto kind : all_kinds) {
    auto world = open_world(kind);
    EXPECT_EQ(world.responder.kind(), kind);
    EXPECT_EQ(world.responder.peer_static(), world.phone.public_key);
    EXPECT_EQ(world.initiator.peer_static(), world.relay.public_key);
    EXPECT_EQ(text_view(world.responder.peer_payload()), "phone's payload");
    EXPECT_EQ(text_view(world.initiator.peer_payload()), "relay's payload");
    EXPECT_TRUE(world.initiator.handshake_hash());
    EXPECT_EQ(world.initiator.handshake_hash(), world.responder.handshake_hash());
    EXPECT_EQ(world.responder.invite().has_value(), kind == ChannelKind::joining);
    EXPECT_FALSE(world.initiator.failed() || world.responder.failed());
    EXPECT_TRUE(world.initiator.initiator() && !world.responder.initiator());

    EXPECT_TRUE(world.responder.confirmed());
    EXPECT_FALSE(world.initiator.confirmed()) << "nothing has come after message 3";
    ASSERT_TRUE(world.responder.send(view("welcome")).ok());
    ASSERT_TRUE(world.initiator.feed(world.responder.take_output()).ok());
    EXPECT_TRUE(world.initiator.confirmed());
    EXPECT_EQ(text_view(*world.initiator.next_message()), "welcome");
  }
}

/// The bytes in PROTOCOL.md's example.
TEST(Channel, TheExampleInTheProtocolDocument) {
  World world(ChannelKind::device);
  SeededRandom random(6);
  world.initiator = Channel::device(random, world.phone, world.relay.public_key);
  world.responder = Channel::responder(*world.responder_random, world.relay, ChannelKinds::relay());
  const auto first = world.initiator.take_output();
  ASSERT_TRUE(world.responder.feed(first).ok());
  const auto second = world.responder.take_output();
  ASSERT_TRUE(world.initiator.feed(second).ok());
  const auto third = world.initiator.take_output();
  ASSERT_TRUE(world.responder.feed(third).ok());
  ASSERT_TRUE(world.initiator.send(view("hello")).ok());
  const auto message = world.initiator.take_output();
  world.initiator.close();
  const auto close = world.initiator.take_output();
  EXPECT_EQ(to_hex(world.relay.public_key.view()), "cf8a0d193545caddb1e165ecdcc0b942db4389b7b412f4f820a48cf70418f84e");
  EXPECT_EQ(to_hex(first),
            "445301010030dd187f457d5dfd101fe6f77dc2f021a15fe77ee048575dfc5aa86ee54310ed5c98a3061f82cc925185d4"
            "7c07d59828ae");
  EXPECT_EQ(to_hex(second),
            "00308107dc062036563176fae110dfe158e0077665a03991c1d4a33b9971ee6a2662a90706492010b919e4a5cce77c04"
            "008c");
  EXPECT_EQ(to_hex(third),
            "004029d23c6fe1fdf0bc2da48c9a14d74361cfa4b41dded361b33ef00d55e179402224d40132aa3b4e963be3ba98e158"
            "64524bab694e1a1d594be2be5ae76c090d2c");
  EXPECT_EQ(to_hex(message), "0016015429e5a2d512b5443a11ef542134c7d2233390ec9b");
  EXPECT_EQ(to_hex(close), "0013e7e36d835d4c9c7edb1545593114b870efe305");
  EXPECT_EQ(first.size() + second.size() + third.size(), 170u);
}

TEST(Channel, OneByteAtATime) {
  for (const auto kind : all_kinds) {
    World world(kind);
    for (int round = 0; round < 4; ++round) {
      for (const auto byte : world.initiator.take_output()) ASSERT_TRUE(world.responder.feed({&byte, 1}).ok());
      world.answer();
      for (const auto byte : world.responder.take_output()) ASSERT_TRUE(world.initiator.feed({&byte, 1}).ok());
      world.answer();
    }
    ASSERT_TRUE(world.initiator.established() && world.responder.established());
    ASSERT_TRUE(world.initiator.send(view("one by one")).ok());
    for (const auto byte : world.initiator.take_output()) ASSERT_TRUE(world.responder.feed({&byte, 1}).ok());
    EXPECT_EQ(text_view(*world.responder.next_message()), "one by one");
  }
}

/// After feeding `bytes` in place of an honest message: the side failed, or it waits for more and a cut is an error.
void expect_refused(Channel& channel, ByteView bytes, const std::string& where) {
  SCOPED_TRACE(where);
  const auto status = channel.feed(bytes);
  EXPECT_FALSE(channel.established());
  if (status.ok()) {
    EXPECT_EQ(channel.finish().code(), Code::unreachable);
    return;
  }
  EXPECT_TRUE(channel.failed());
  EXPECT_EQ(status.code(), *channel.failed());
  EXPECT_FALSE(status.error().message().empty());
  const auto code = status.code();
  EXPECT_TRUE(code == Code::protocol || code == Code::unauthenticated || code == Code::unsupported || code == Code::too_large ||
              code == Code::busy)
      << code_name(code);
  EXPECT_EQ(channel.feed(bytes).code(), code) << "a failed channel stays failed";
  EXPECT_EQ(channel.send(view("x")).code(), code);
  EXPECT_FALSE(channel.next_message());
}

TEST(Channel, EveryBitOfEveryHandshakeByte) {
  for (const auto kind : all_kinds) {
    const auto recording = record(kind);
    for (int number = 1; number <= 3; ++number) {
      const auto& message = number == 1 ? recording.first : number == 2 ? recording.second : recording.third;
      for (std::size_t bit = 0; bit < 8 * message.size(); ++bit) {
        auto changed = message;
        changed[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
        auto world = world_after(kind, number - 1);
        auto& receiver = number == 2 ? world.initiator : world.responder;
        const auto where = "kind " + std::to_string(int(kind)) + " message " + std::to_string(number) + " bit " + std::to_string(bit);
        if (number != 1 || kind != ChannelKind::phones) {
          expect_refused(receiver, changed, where);
          continue;
        }
        // phones: message 1 is judged when the psk is there; a changed hint or salt is the body's to refuse.
        (void)receiver.feed(changed);
        if (receiver.need() == ChannelNeed::psk) (void)receiver.provide_psk(world.psk);
        EXPECT_FALSE(receiver.established());
        EXPECT_TRUE(receiver.failed() || receiver.finish().code() == Code::unreachable) << where;
      }
    }
  }
}

TEST(Channel, TruncatedAtEveryByte) {
  for (const auto kind : all_kinds) {
    const auto recording = record(kind);
    for (int number = 1; number <= 3; ++number) {
      const auto& message = number == 1 ? recording.first : number == 2 ? recording.second : recording.third;
      for (std::size_t size = 0; size < message.size(); ++size) {
        auto world = world_after(kind, number - 1);
        auto& receiver = number == 2 ? world.initiator : world.responder;
        ASSERT_TRUE(receiver.feed(ByteView(message).first(size)).ok());
        EXPECT_FALSE(receiver.established());
        EXPECT_EQ(receiver.need(), ChannelNeed::none);
        EXPECT_EQ(receiver.finish().code(), Code::unreachable);
        EXPECT_EQ(receiver.failed(), Code::unreachable);
      }
    }
  }
}

TEST(Channel, ReplaysLeadNowhere) {
  for (const auto kind : all_kinds) {
    const auto recording = record(kind);
    // Message 1 again: the responder answers, freshly, and the old message 3 does not fit.
    World victim(kind);
    SeededRandom fresh(77);
    victim.responder = Channel::responder(fresh, victim.relay, World::kinds(kind), view("relay's payload"));
    ASSERT_TRUE(victim.responder.feed(recording.first).ok());
    victim.answer();
    EXPECT_NE(victim.responder.take_output(), recording.second);
    EXPECT_EQ(victim.responder.feed(recording.third).code(), Code::unauthenticated);

    // Message 2 again, to a new initiator.
    World other(kind);
    *other.initiator_random = SeededRandom(78);
    other.initiator = other.make_initiator();
    EXPECT_EQ(other.initiator.feed(recording.second).code(), Code::unauthenticated);

    // Message 1 twice in one connection.
    World twice(kind);
    ASSERT_TRUE(twice.responder.feed(recording.first).ok());
    if (kind == ChannelKind::device) {
      const auto frame = ByteView(recording.first).subspan(4);
      EXPECT_EQ(twice.responder.feed(frame).code(), Code::protocol) << "too short for a message 3";
    } else {
      EXPECT_EQ(twice.responder.feed(recording.first).code(), Code::protocol) << "out of turn";
    }
  }
}

TEST(Channel, SwappedRolesAndOwnEchoes) {
  for (const auto kind : all_kinds) {
    World world(kind);
    auto second = world.make_initiator();
    const auto first = world.initiator.take_output();
    EXPECT_EQ(second.feed(first).code(), Code::protocol) << "two initiators: a preamble is neither a frame nor a refusal";
    EXPECT_EQ(world.initiator.feed(first).code(), Code::protocol) << "an echo";
  }
  World world(ChannelKind::device);
  EXPECT_TRUE(world.responder.take_output().empty()) << "two responders wait for ever; the deadline is their body's";
}

TEST(Channel, EveryIngredientCounts) {
  for (const auto kind : all_kinds) {
    const bool has_psk = kind != ChannelKind::device;
    {
      World world(kind);  // another psk
      world.psk = made_up_psk(99);
      world.run();
      EXPECT_EQ(world.responder.failed(), has_psk ? std::optional(Code::unauthenticated) : std::nullopt);
    }
    if (kind == ChannelKind::phones) continue;
    {
      World world(kind);  // the pinned static is another relay's
      world.responder = Channel::responder(*world.responder_random, made_up_keys(98), ChannelKinds::relay());
      world.run();
      EXPECT_EQ(world.responder.failed(), Code::unauthenticated);
      EXPECT_EQ(world.initiator.failed(), Code::unauthenticated);
      EXPECT_TRUE(world.initiator.refused_by_peer());
    }
    {
      World world(kind);  // another prologue: the preamble says the other kind than the pattern that was run
      auto first = world.initiator.take_output();
      first[3] = first[3] == 1 ? 2 : 1;
      EXPECT_FALSE(world.responder.feed(first).ok());
    }
  }
}

TEST(Channel, AWrongPskIsNamedWhereItShows) {
  World world(ChannelKind::joining);
  ASSERT_TRUE(world.responder.feed(world.initiator.take_output()).ok());
  ASSERT_EQ(world.responder.need(), ChannelNeed::psk);
  EXPECT_EQ(world.responder.invite(), world.invite);
  EXPECT_TRUE(world.responder.take_output().empty()) << "no message 2 before the invitation was found";
  ASSERT_TRUE(world.responder.provide_psk(made_up_psk(100)).ok());
  ASSERT_TRUE(world.initiator.feed(world.responder.take_output()).ok());
  EXPECT_TRUE(world.initiator.established()) << "psk3: the initiator cannot know yet";
  EXPECT_FALSE(world.initiator.confirmed());
  EXPECT_EQ(world.responder.feed(world.initiator.take_output()).code(), Code::unauthenticated);
  EXPECT_TRUE(world.responder.take_output().empty()) << "after message 2 there is no refusal";
  EXPECT_EQ(world.initiator.finish().code(), Code::unreachable);
}

TEST(Channel, TheBodyMayRefuse) {
  World world(ChannelKind::joining);
  ASSERT_TRUE(world.responder.feed(world.initiator.take_output()).ok());
  world.responder.refuse(Code::not_found);
  EXPECT_EQ(world.responder.failed(), Code::not_found);
  const auto refusal = world.responder.take_output();
  EXPECT_EQ(to_hex(refusal), "445301000002");
  EXPECT_EQ(world.initiator.feed(refusal).code(), Code::unauthenticated);
  EXPECT_TRUE(world.initiator.refused_by_peer());
  EXPECT_EQ(world.responder.provide_psk(world.psk).code(), Code::not_found);

  World phones(ChannelKind::phones);
  EXPECT_TRUE(phones.responder.feed(phones.initiator.take_output()).ok());
  EXPECT_FALSE(phones.responder.psk_matches(made_up_psk(101)));
  EXPECT_TRUE(phones.responder.psk_matches(phones.psk));
  EXPECT_EQ(phones.initiator.provide_psk(phones.psk).code(), Code::invalid_argument);
  ASSERT_TRUE(phones.responder.provide_psk(phones.psk).ok());
  ASSERT_TRUE(phones.initiator.feed(phones.responder.take_output()).ok());
  ASSERT_EQ(phones.initiator.need(), ChannelNeed::approval);
  EXPECT_FALSE(phones.initiator.established());
  EXPECT_EQ(phones.initiator.approve(Bytes(1025)).code(), Code::too_large);
  phones.initiator.refuse(Code::no_right);
  EXPECT_TRUE(phones.initiator.take_output().empty()) << "we stay unnamed";
}

TEST(Channel, RefusalCodesFromTheWireChooseASentenceAndNoMore) {
  const auto said = [](Code code) {
    World world(ChannelKind::device);
    const auto number = static_cast<std::uint16_t>(code);
    const Bytes refusal = {'D', 'S', 9, 0, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
    return world.initiator.feed(refusal).code();
  };
  EXPECT_EQ(said(Code::unsupported), Code::unsupported);
  EXPECT_EQ(said(Code::full), Code::busy);
  for (const auto code : {Code::ok, Code::corrupt, Code::internal, static_cast<Code>(0xffff)}) EXPECT_EQ(said(code), Code::unauthenticated);
}

TEST(Channel, OnlyTheKindsAndVersionsThatAreAnswered) {
  for (int version = 0; version < 256; ++version) {
    for (int kind = 0; kind < 8; ++kind) {
      World world(ChannelKind::device);
      const Bytes preamble = {'D', 'S', static_cast<std::uint8_t>(version), static_cast<std::uint8_t>(kind)};
      const auto status = world.responder.feed(preamble);
      const bool right = version == 1 && (kind == 1 || kind == 2);
      EXPECT_EQ(status.code(), right ? Code::ok : Code::unsupported);
      EXPECT_EQ(to_hex(world.responder.take_output()), right ? "" : "445301000010");
    }
  }
  for (const char* stranger : {"GET / HTTP/1.1\r\n", "\x16\x03\x01", "DT", "SD"}) {
    World world(ChannelKind::device);
    EXPECT_EQ(world.responder.feed(view(stranger)).code(), Code::protocol);
    EXPECT_TRUE(world.responder.take_output().empty()) << "strangers get no answer";
  }
}

const char* const low_order_points[] = {
    "0000000000000000000000000000000000000000000000000000000000000000", "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000080",
};

TEST(Channel, LowOrderPointsAreRefusedByName) {
  for (const char* point : low_order_points) {
    SCOPED_TRACE(point);
    const auto bytes = from_hex(point).value();
    World world(ChannelKind::device);
    auto first = world.initiator.take_output();
    std::copy(bytes.begin(), bytes.end(), first.begin() + 6);
    const auto status = world.responder.feed(first);
    EXPECT_EQ(status.code(), Code::protocol);
    EXPECT_NE(status.error().message().find("low order"), std::string::npos);

    World second(ChannelKind::device);
    ASSERT_TRUE(second.responder.feed(second.initiator.take_output()).ok());
    auto answer = second.responder.take_output();
    std::copy(bytes.begin(), bytes.end(), answer.begin() + 2);
    EXPECT_EQ(second.initiator.feed(answer).code(), Code::protocol);

    // As the key on an invitation: no byte is sent.
    auto pinned = Channel::device(*world.initiator_random, world.phone, TransportPublicKey::from(bytes));
    EXPECT_EQ(pinned.failed(), Code::protocol);
    EXPECT_TRUE(pinned.take_output().empty());
  }
}

TEST(Channel, ArgumentsThatCannotWorkShowAsFailed) {
  World world(ChannelKind::device);
  auto too_long = Channel::device(*world.initiator_random, world.phone, world.relay.public_key, Bytes(1025));
  EXPECT_EQ(too_long.failed(), Code::invalid_argument);
  EXPECT_TRUE(too_long.take_output().empty());
  auto no_rekey = Channel::responder(*world.initiator_random, world.relay, ChannelKinds::relay(), {}, {.rekey_after_messages = 0});
  EXPECT_EQ(no_rekey.feed(view("D")).code(), Code::invalid_argument);
  EXPECT_EQ(world.initiator.send(view("x")).code(), Code::waiting);
  EXPECT_EQ(world.initiator.approve().code(), Code::invalid_argument);
}

TEST(Channel, TheLargestHandshakePayloadPassesAndOneMoreDoesNot) {
  World world(ChannelKind::device);
  const auto payload = pattern_bytes(limits::handshake_payload_bytes_max);
  world.initiator = Channel::device(*world.initiator_random, world.phone, world.relay.public_key, payload);
  world.run();
  EXPECT_EQ(world.responder.peer_payload(), payload);

  auto second = world_after(ChannelKind::device, 2);
  const std::size_t size = 48 + 16 + limits::handshake_payload_bytes_max + 1;
  const Bytes head = {static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
  EXPECT_EQ(second.responder.feed(head).code(), Code::too_large) << "refused before one byte of it came";
}

// Transport ------------------------------------------------------------------------------------------------------------

TEST(Channel, SmallMessagesCostNineteenBytes) {
  auto world = open_world();
  for (std::size_t size : {0u, 1u, 100u, 65'517u, 65'518u}) {
    ASSERT_TRUE(world.initiator.send(pattern_bytes(size)).ok());
    const auto bytes = world.initiator.take_output();
    EXPECT_EQ(bytes.size(), size + 19);
    EXPECT_EQ(bytes.size(), channel_sealed_bytes(size));
    ASSERT_TRUE(world.responder.feed(bytes).ok());
    EXPECT_EQ(world.responder.next_message(), pattern_bytes(size));
  }
  ASSERT_TRUE(world.initiator.send(pattern_bytes(65'519)).ok());
  EXPECT_EQ(world.initiator.output_bytes(), 65'519u + 38);
  EXPECT_EQ(world.initiator.output_bytes(), channel_sealed_bytes(65'519));
}

TEST(Channel, TheLargestMessageMakesTheRoundTripAndOneMoreByteIsRefused) {
  auto world = open_world();
  const auto largest = pattern_bytes(limits::message_bytes_max);
  ASSERT_TRUE(world.initiator.send(largest).ok());
  EXPECT_EQ(world.initiator.output_bytes(), channel_sealed_bytes(largest.size()));
  const auto bytes = world.initiator.take_output();
  // In pieces of an odd size, and back whole.
  for (std::size_t at = 0; at < bytes.size(); at += 1447)
    ASSERT_TRUE(world.responder.feed(ByteView(bytes).subspan(at, std::min<std::size_t>(1447, bytes.size() - at))).ok());
  auto there = world.responder.next_message();
  ASSERT_EQ(there, largest);
  ASSERT_TRUE(world.responder.send(*there).ok());
  ASSERT_TRUE(world.initiator.feed(world.responder.take_output()).ok());
  EXPECT_EQ(world.initiator.next_message(), largest);
  EXPECT_EQ(world.initiator.send(pattern_bytes(limits::message_bytes_max + 1)).code(), Code::too_large);
  EXPECT_TRUE(world.initiator.established()) << "the caller's mistake ends nothing";
}

/// The sending half of an open channel made by hand, for frames that Channel never sends.
struct ByHand {
  ByHand() : world(ChannelKind::device) {
    noise::HandshakeConfig config;
    config.pattern = noise::parse_pattern("XK").value();
    Bytes prologue = joined({view("doorstep/channel"), view("DS\x01\x01"), world.relay.public_key.view()});
    config.prologue = prologue;
    config.own_static = made_up_keys(2);
    config.remote_static = world.relay.public_key;
    config.random = world.initiator_random.get();
    auto handshake = noise::HandshakeState::start(std::move(config)).value();
    EXPECT_TRUE(world.responder.feed(view("DS\x01\x01")).ok());
    EXPECT_TRUE(world.responder.feed(framed(handshake.write_message({}).value())).ok());
    EXPECT_TRUE(handshake.read_message(ByteView(world.responder.take_output()).subspan(2)).ok());
    EXPECT_TRUE(world.responder.feed(framed(handshake.write_message({}).value())).ok());
    EXPECT_TRUE(world.responder.established());
    sending = std::move(handshake.split().sending);
  }

  static Bytes framed(ByteView message) {
    const Bytes head = {static_cast<std::uint8_t>(message.size() >> 8), static_cast<std::uint8_t>(message.size())};
    return joined({head, message});
  }
  Bytes frame(ByteView plain) {
    Bytes sealed(plain.size() + 16);
    EXPECT_TRUE(sending.encrypt({}, plain, sealed).ok());
    return framed(sealed);
  }
  Status feed(ByteView plain) { return world.responder.feed(frame(plain)); }

  World world;
  noise::CipherState sending;
};

Bytes chunk(std::size_t size, std::uint8_t flag) {
  Bytes out = pattern_bytes(size);
  out.push_back(flag);
  return out;
}

TEST(Channel, AnIndependentWriterIsUnderstood) {
  ByHand hand;
  ASSERT_TRUE(hand.feed(chunk(65'518, 1)).ok());
  EXPECT_FALSE(hand.world.responder.next_message());
  ASSERT_TRUE(hand.feed(chunk(0, 0)).ok());
  EXPECT_EQ(hand.world.responder.next_message(), pattern_bytes(65'518));
  ASSERT_TRUE(hand.feed(Bytes{0, 7, 2}).ok());
  EXPECT_EQ(hand.world.responder.peer_close_code(), Code::locked);
  EXPECT_TRUE(hand.world.responder.finish().ok());
}

TEST(Channel, FrameSizes) {
  for (std::size_t size : {0u, 1u, 15u, 16u}) {
    ByHand hand;
    EXPECT_EQ(hand.world.responder.feed(ByHand::framed(Bytes(size))).code(), Code::protocol) << size;
  }
  ByHand smallest;
  EXPECT_TRUE(smallest.feed(Bytes{0}).ok()) << "17: an empty message";
  EXPECT_EQ(smallest.world.responder.next_message(), Bytes{});
  ByHand largest;
  EXPECT_TRUE(largest.feed(chunk(65'518, 0)).ok()) << "65,535";
  EXPECT_EQ(largest.world.responder.next_message(), pattern_bytes(65'518));
  for (std::size_t size : {17u, 65'535u}) {
    ByHand forged;
    EXPECT_EQ(forged.world.responder.feed(ByHand::framed(Bytes(size))).code(), Code::protocol) << "right size, wrong seal";
  }
}

TEST(Channel, MalformedChunksAreRefusedByName) {
  const std::pair<const char*, std::function<Status(ByHand&)>> cases[] = {
      {"an unknown flag", [](ByHand& hand) { return hand.feed(chunk(3, 3)); }},
      {"flag 255", [](ByHand& hand) { return hand.feed(chunk(3, 255)); }},
      {"an empty chunk with more to come", [](ByHand& hand) { return hand.feed(chunk(0, 1)); }},
      {"a short chunk with more to come", [](ByHand& hand) { return hand.feed(chunk(65'517, 1)); }},
      {"close without a code", [](ByHand& hand) { return hand.feed(chunk(0, 2)); }},
      {"close with a long code", [](ByHand& hand) { return hand.feed(chunk(3, 2)); }},
      {"close inside a message",
       [](ByHand& hand) {
         EXPECT_TRUE(hand.feed(chunk(65'518, 1)).ok());
         return hand.feed(chunk(2, 2));
       }},
      {"bytes after close",
       [](ByHand& hand) {
         EXPECT_TRUE(hand.feed(chunk(2, 2)).ok());
         return hand.feed(chunk(0, 0));
       }},
  };
  for (const auto& [name, run] : cases) {
    ByHand hand;
    EXPECT_EQ(run(hand).code(), Code::protocol) << name;
    EXPECT_EQ(hand.world.responder.failed(), Code::protocol) << name;
  }
}

TEST(Channel, AMessageAboveTheLimitIsRefusedWhereItPassesIt) {
  ByHand hand;
  std::size_t sent = 0;
  for (; sent + 65'518 <= limits::message_bytes_max; sent += 65'518) ASSERT_TRUE(hand.feed(chunk(65'518, 1)).ok());
  EXPECT_EQ(hand.feed(chunk(limits::message_bytes_max - sent + 1, 0)).code(), Code::too_large);
  EXPECT_FALSE(hand.world.responder.next_message());

  ByHand exact;
  for (std::size_t i = 0; i < sent; i += 65'518) ASSERT_TRUE(exact.feed(chunk(65'518, 1)).ok());
  ASSERT_TRUE(exact.feed(chunk(limits::message_bytes_max - sent, 0)).ok());
  EXPECT_EQ(exact.world.responder.next_message()->size(), limits::message_bytes_max);
}

TEST(Channel, EveryBitOfATransportFrame) {
  auto sender = open_world();
  ASSERT_TRUE(sender.initiator.send(view("a visit to Zhang San")).ok());
  const auto frame = sender.initiator.take_output();
  for (std::size_t bit = 0; bit < 8 * frame.size(); ++bit) {
    auto world = open_world();
    auto changed = frame;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    const auto status = world.responder.feed(changed);
    EXPECT_FALSE(world.responder.next_message()) << bit;
    // A larger size: the rest never comes, and the end of the stream is a cut.
    const bool waits = bit < 16 && status.ok();
    EXPECT_EQ(waits ? world.responder.finish().code() : status.code(), waits ? Code::unreachable : Code::protocol) << bit;
  }
}

TEST(Channel, RepeatedSwappedAndMissingFramesFail) {
  auto world = open_world();
  Bytes frames[3];
  for (auto& frame : frames) {
    ASSERT_TRUE(world.initiator.send(view("the same")).ok());
    frame = world.initiator.take_output();
  }
  EXPECT_NE(frames[0], frames[1]);
  for (const auto& order : {std::array{0, 0}, std::array{1, 0}, std::array{0, 2}}) {
    auto receiver = open_world();
    const auto first = receiver.responder.feed(frames[order[0]]);
    EXPECT_EQ(first.ok(), order[0] == 0);
    EXPECT_EQ(receiver.responder.feed(frames[order[1]]).code(), Code::protocol);
  }
  EXPECT_EQ(world.initiator.feed(frames[0]).code(), Code::protocol) << "sent back to where it came from";
}

TEST(Channel, SplitAtEveryByteBoundary) {
  auto source = open_world();
  ASSERT_TRUE(source.initiator.send(view("first")).ok());
  ASSERT_TRUE(source.initiator.send(view("")).ok());
  ASSERT_TRUE(source.initiator.send(view("third")).ok());
  source.initiator.close();
  const auto bytes = source.initiator.take_output();
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    auto world = open_world();
    ASSERT_TRUE(world.responder.feed(ByteView(bytes).first(cut)).ok());
    ASSERT_TRUE(world.responder.feed(ByteView(bytes).subspan(cut)).ok());
    EXPECT_EQ(text_view(*world.responder.next_message()), "first");
    EXPECT_EQ(text_view(*world.responder.next_message()), "");
    EXPECT_EQ(text_view(*world.responder.next_message()), "third");
    EXPECT_FALSE(world.responder.next_message());
    EXPECT_TRUE(world.responder.peer_closed());
  }
}

TEST(Channel, RekeyEachDirectionAndSkewIsNoticed) {
  const ChannelOptions often{.rekey_after_messages = 3};
  auto world = open_world(ChannelKind::device, often);
  for (int i = 0; i < 20; ++i) {
    const auto text = "message " + std::to_string(i);
    ASSERT_TRUE(world.initiator.send(view(text)).ok());
    const bool answered = i % 2 == 0;
    if (answered) (void)world.responder.send(view(text));
    world.exchange();
    EXPECT_EQ(text_view(*world.responder.next_message()), text);
    EXPECT_EQ(world.initiator.next_message(), answered ? std::optional(to_bytes(view(text))) : std::nullopt);
  }
  // A message of many frames crosses several rekeys.
  ASSERT_TRUE(world.initiator.send(pattern_bytes(1u << 20)).ok());
  world.exchange();
  EXPECT_EQ(world.responder.next_message(), pattern_bytes(1u << 20));

  for (std::uint64_t theirs : {2u, 4u}) {
    World skewed(ChannelKind::device, often);
    SeededRandom random(5);
    skewed.responder = Channel::responder(random, skewed.relay, ChannelKinds::relay(), {}, {.rekey_after_messages = theirs});
    skewed.run();
    ASSERT_TRUE(skewed.responder.established());
    int received = 0;
    for (int i = 0; i < 10 && !skewed.responder.failed(); ++i) {
      if (!skewed.initiator.send(view("x")).ok()) break;
      (void)skewed.responder.feed(skewed.initiator.take_output());
      received += skewed.responder.next_message() ? 1 : 0;
    }
    EXPECT_EQ(received, int(std::min<std::uint64_t>(theirs, 3)));
    EXPECT_EQ(skewed.responder.failed(), Code::protocol);
  }
}

TEST(Channel, TheDefaultRekeyIsAt1000) {
  ByHand hand;
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(hand.feed(chunk(1, 0)).ok());
  hand.sending.rekey();
  ASSERT_TRUE(hand.feed(chunk(1, 0)).ok());
  ByHand without;
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(without.feed(chunk(1, 0)).ok());
  EXPECT_EQ(without.feed(chunk(1, 0)).code(), Code::protocol);
}

// Ending ---------------------------------------------------------------------------------------------------------------

TEST(Channel, CloseAndCutAreToldApart) {
  auto closed = open_world();
  ASSERT_TRUE(closed.initiator.send(view("last words")).ok());
  closed.initiator.close();
  closed.initiator.close();
  EXPECT_EQ(closed.initiator.send(view("one more")).code(), Code::cancelled);
  const auto bytes = closed.initiator.take_output();
  EXPECT_EQ(bytes.size(), 10u + 19 + 21);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    auto cut = open_world();
    ASSERT_TRUE(cut.responder.feed(ByteView(bytes).first(size)).ok());
    EXPECT_FALSE(cut.responder.peer_closed());
    EXPECT_EQ(cut.responder.finish().code(), Code::unreachable) << size;
    EXPECT_TRUE(cut.responder.error().retryable());
    EXPECT_EQ(cut.responder.next_message().has_value(), size >= 29) << "what came whole can still be read";
  }
  ASSERT_TRUE(closed.responder.feed(bytes).ok());
  EXPECT_EQ(closed.responder.peer_close_code(), Code::ok);
  // The other direction is still open: what was on its way arrives.
  ASSERT_TRUE(closed.responder.send(view("an answer")).ok());
  closed.responder.close(Code::busy);
  ASSERT_TRUE(closed.initiator.feed(closed.responder.take_output()).ok());
  EXPECT_EQ(text_view(*closed.initiator.next_message()), "an answer");
  EXPECT_EQ(closed.initiator.peer_close_code(), Code::busy);
  EXPECT_TRUE(closed.initiator.finish().ok() && closed.responder.finish().ok());
  EXPECT_EQ(text_view(*closed.responder.next_message()), "last words");
}

TEST(Channel, AFailureTellsThePeerItsCodeAndNothingElse) {
  auto world = open_world();
  EXPECT_EQ(world.responder.feed(ByHand::framed(Bytes(40))).code(), Code::protocol);
  const auto last = world.responder.take_output();
  EXPECT_EQ(last.size(), 21u);
  ASSERT_TRUE(world.initiator.feed(last).ok());
  EXPECT_EQ(world.initiator.peer_close_code(), Code::protocol);
  EXPECT_EQ(world.responder.send(view("x")).code(), Code::protocol);
  world.responder.close();
  EXPECT_TRUE(world.responder.take_output().empty());

  auto refused = open_world();
  refused.responder.refuse(Code::no_right);
  ASSERT_TRUE(refused.initiator.feed(refused.responder.take_output()).ok());
  EXPECT_EQ(refused.initiator.peer_close_code(), Code::no_right);
  EXPECT_EQ(refused.responder.failed(), Code::no_right);
}

TEST(Channel, ClosingBeforeTheHandshakeIsDoneJustEnds) {
  World world(ChannelKind::device);
  world.initiator.close();
  EXPECT_EQ(world.initiator.failed(), Code::cancelled);
}

// Bounds ---------------------------------------------------------------------------------------------------------------

TEST(Channel, OutputIsBounded) {
  auto world = open_world();
  const auto message = pattern_bytes(60'000);
  std::size_t accepted = 0;
  Status status;
  while ((status = world.initiator.send(message)).ok()) ++accepted;
  EXPECT_EQ(status.code(), Code::full);
  EXPECT_TRUE(status.error().retryable());
  EXPECT_LE(world.initiator.output_bytes(), channel_output_bytes_max);
  EXPECT_GT(world.initiator.output_bytes() + 60'019, channel_output_bytes_max);
  const auto bytes = world.initiator.take_output();
  ASSERT_TRUE(world.initiator.send(message).ok()) << "refused sends used no nonce";
  for (std::size_t at = 0; at < bytes.size(); at += 60'019) {
    ASSERT_TRUE(world.responder.feed(ByteView(bytes).subspan(at, 60'019)).ok());
    ASSERT_TRUE(world.responder.next_message());
  }
  ASSERT_TRUE(world.responder.feed(world.initiator.take_output()).ok());
}

TEST(Channel, UnreadMessagesStopTheFeed) {
  auto world = open_world();
  const auto message = pattern_bytes(1u << 20);
  Bytes bytes;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(world.initiator.send(message).ok());
    append(bytes, world.initiator.take_output());
  }
  ASSERT_TRUE(world.responder.feed(bytes).ok());
  ASSERT_TRUE(world.initiator.send(view("later")).ok());
  const auto later = world.initiator.take_output();
  EXPECT_EQ(world.responder.feed(later).code(), Code::busy);
  EXPECT_FALSE(world.responder.failed());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(world.responder.next_message(), message);
  ASSERT_TRUE(world.responder.feed(later).ok());
  EXPECT_EQ(text_view(*world.responder.next_message()), "later");
}

TEST(Channel, AStrangerCostsAFewKibibytes) {
  for (const auto kind : {ChannelKind::device, ChannelKind::joining}) {
    // The longest that may come before authentication: message 3, less its last byte.
    auto world = world_after(kind, 2);
    const std::size_t size = 64 + limits::handshake_payload_bytes_max;
    const Bytes head = {static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
    const std::size_t before = world.responder.memory_bytes();
    EXPECT_LE(before, 512u);
    ASSERT_TRUE(world.responder.feed(head).ok());
    EXPECT_LE(world.responder.memory_bytes() - before, 64u) << "a claimed size allocates nothing";
    const std::uint8_t zero = 0;
    for (std::size_t i = 0; i + 1 < size; ++i) ASSERT_TRUE(world.responder.feed({&zero, 1}).ok());
    EXPECT_LE(world.responder.memory_bytes() - before, 2 * channel_handshake_frame_bytes_max);
    EXPECT_FALSE(world.responder.feed({&zero, 1}).ok());
    EXPECT_LE(world.responder.memory_bytes(), 512u) << "nothing is kept after a failure";
  }
}

TEST(Channel, MemoryFollowsTheBytesThatCame) {
  auto world = open_world();
  const std::size_t idle = world.responder.memory_bytes();
  EXPECT_LE(idle, 512u);
  ASSERT_TRUE(world.responder.feed(Bytes{0xff, 0xff}).ok());
  ASSERT_TRUE(world.responder.feed(Bytes(100)).ok());
  EXPECT_LE(world.responder.memory_bytes() - idle, 512u) << "65,535 claimed, 102 came";

  auto second = open_world();
  ASSERT_TRUE(second.initiator.send(pattern_bytes(limits::message_bytes_max)).ok());
  const auto bytes = second.initiator.take_output();
  for (std::size_t at = 0; at < bytes.size(); at += 4096) {
    ASSERT_TRUE(second.responder.feed(ByteView(bytes).subspan(at, std::min<std::size_t>(4096, bytes.size() - at))).ok());
    // The message so far and the frame so far, each at most doubled.
    EXPECT_LE(second.responder.memory_bytes(), idle + 2 * (at + 4096) + 2 * (2 + limits::frame_bytes_max));
  }
  ASSERT_TRUE(second.responder.next_message());
  EXPECT_LE(second.responder.memory_bytes(), idle + 8192) << "an idle channel keeps no large buffer";
}

TEST(Channel, ChannelsMove) {
  auto world = open_world();
  Channel moved(std::move(world.initiator));
  ASSERT_TRUE(moved.send(view("still here")).ok());
  world.initiator = std::move(moved);
  ASSERT_TRUE(world.responder.feed(world.initiator.take_output()).ok());
  EXPECT_EQ(text_view(*world.responder.next_message()), "still here");
}

}  // namespace
}  // namespace doorstep
