// A whole replica (a desk, on a disk in memory) against those it must not trust; the first byte chooses.
//   member   transactions that a member's phone writes: decrypted bytes changed, sealed and signed again as that member may, and fed
//   relay    the relay that it syncs with: messages behind an honest handshake, in any order, with fields of the real store; receipts for
//            what the desk does not hold
// What must hold after each input: no crash; the store verifies (every record is what its log says); nothing of the desk's own is gone;
// nothing counts as at the office, as no receipt holds; the state digest is the verdict, the same on all builds.
#include "doorstep/sync.hpp"

#include "sdk/core/core.hpp"
#include "sdk/records/demo_data.hpp"
#include "sync/channel.hpp"
#include "tests/fault/crash_vfs.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;
using doorstep::fault::Image;
using doorstep::fault::SimulatedDisk;

class StillClock final : public Clock {
 public:
  std::int64_t wall_ms() override { return 1'773'500'000'000; }
  std::int64_t steady_ms() override { return steady; }
  std::int64_t steady = 1'000'000;
};

/// What all inputs begin with: a desk with two persons (one edited, one not yet sealed), a phone that it admitted.
struct World {
  CountingRandom random;
  StillClock clock;
  TransportKeyPair relay = make_transport_key_pair(random);
  IdentityKeyPair receipts = make_identity_key_pair(random);
  IdentityKeyPair phone = make_identity_key_pair(random);
  SealingKeyPair phone_sealing = make_sealing_key_pair(random);
  DeviceKeys phone_keys = certify_device(phone, phone_sealing.public_key, make_transport_key_pair(random).public_key);
  SymmetricKey key;
  Image image;
  SpaceId space;
  LogName desk_log, phone_log;
  RecordId person;
  Dot name_dot;
  Address name_address;
  Roster roster;
  Keyring phone_ring;
  Compressor compressor;
  std::vector<Bytes> roster_entries, desk_segments;
  std::size_t pending = 0;

  World();
  ReplicaOptions options(const Platform& platform) {
    ReplicaOptions out;
    out.directory = "/store";
    out.clock = &clock;
    out.random = &random;
    out.passphrase_cost = argon2_floor;
    out.test_identities = true;
    out.platform = &platform;
    out.unencrypted_for_benchmarks = true;  // vfs_fuzz is for the seals
    return out;
  }
  EpochNumber epoch() const { return roster.newest_epoch(); }
  Bytes seal(Position position, const Hash& previous, const std::vector<NumberedTransaction>& transactions, Hash* hash) {
    SegmentContent content;
    content.roster_size = roster.size();
    content.roster_head = shorten(roster.head());
    content.transactions = transactions;
    auto sealed = seal_segment({phone_log.root_id(space), position, previous}, epoch(), *roster.epoch_entry_hash(epoch()), content,
                               phone_ring, phone.secret_key, compressor);
    require(sealed.ok());
    if (hash) *hash = sealed->hash;
    return sealed->bytes;
  }
};

World::World() {
  SimulatedDisk disk;
  const Platform platform{&disk, disk.vfs(), nullptr};
  {
    auto desk = Replica::create(options(platform), "a passphrase").value();
    key = desk.database_key()->duplicate();
    space = desk.found({.name = "village", .relays = {{relay.public_key, {"relay:1"}}}}).value();
    const auto uri = desk.invite(space, {}).value();
    const auto request = JoinRequest::make(Invitation::from_uri(uri).value(), space, phone, phone_keys, {"a phone", "member"}).value();
    Core& core = *desk.core();
    require(core.store_proposal(*core.space(space).value(), request.encode()).ok());
    require(desk.admit(space, phone.public_key).ok());
    const DemoVillage village(DemoOptions{.seed = 1, .today = Date{20525}, .persons = 2, .months = 1});
    const auto put_person = [&](std::size_t index) {
      require(desk.transact(space,
                            [&](Write& write) -> Status {
                              person = write.create("person");
                              write.set_json(person, village.person_json(index));
                              return {};
                            })
                  .ok());
    };
    put_person(0);
    require(core.change([&] { return core.seal_pending(*core.space(space).value()); }).ok());
    const auto& state = *core.space(space).value();
    desk_log = state.logs.at(state.own_log).head.name;
    for (Position i = 0; i < state.roster->size(); ++i) roster_entries.push_back(state.roster->entry_at(i));
    bool diverged = false;
    for (const auto& bytes : core.load_segments(*core.space(space).value(), desk_log.id(space), 0, 1 << 20, {}, &diverged).value())
      desk_segments.push_back(*bytes);
    const auto shown = desk.get(space, person).value();
    const auto& name = shown.record().registers().front();
    name_address = name.address;
    name_dot = shown.record().dot(name.siblings.front());
    roster = *state.roster;
    put_person(1);
    pending = desk.pending(space)->transactions;
  }
  image = disk.image();
  phone_ring = Keyring::open(roster, phone.public_key, phone_sealing);
  require(phone_ring.has(epoch()));
  phone_log = {phone.public_key, Incarnation{{7}}, {}, 0};
}
World& world() {
  static World out;
  return out;
}

/// Whatever happened: the store is whole and the desk's work is there.
void judge(Replica& desk, Verdict& verdict) {
  const auto whole = desk.verify();
  if (!whole.ok()) std::fprintf(stderr, "%s\n", whole.error().message().c_str());
  require(whole.ok());
  require(desk.get(world().space, world().person).ok());
  const auto pending = desk.pending(world().space);
  require(pending.ok() && pending->transactions >= world().pending);
  const auto digest = desk.state_digest(world().space);
  require(digest.ok());
  verdict.note(digest->view());
  const auto quarantined = desk.quarantine(world().space).value();
  for (const auto& each : quarantined) {
    verdict.note(view(each.reason));
    verdict.note(each.transactions);
  }
}

// ---- A member ----------------------------------------------------------------------------------------------------------------------

constexpr Counter first_counter = 1000;

Bytes transaction_bytes(const Transaction& transaction, Counter first) {
  Encoder out;
  put_transaction(out, transaction, {world().phone.public_key, 1, first});
  return out.take();
}

/// What an honest phone might write: the `nth` of four, at this counter.
Bytes honest_transaction(std::size_t nth, Counter first) {
  const World& w = world();
  const FieldId mark = field_id(900, Gate::open), set = field_id(901, Gate::open);
  const auto timed = [&](RecordChange change) {
    Transaction out;
    out.time = {1'773'400'000'000, -250, false};
    out.changes.push_back(std::move(change));
    return out;
  };
  const auto created = make_record_id(w.phone.public_key, first_counter);
  Transaction checked = timed({w.person, 1, false, {{{mark, "", 0}, std::int64_t{3}, {}}}});
  checked.time.confirmed = true;
  checked.clock_check = ClockCheck{{}, -250};
  checked.note = "chart";
  const std::vector<Transaction> all{timed({created, 1, true, {{{mark, "", 0}, std::int64_t{1}, {}}, {{set, "a", 0}, true, {}}}}),
                                     timed({w.person, 1, false, {{w.name_address, std::string("Wang Fang"), {w.name_dot}}}}),
                                     timed({created, 1, false, {{{mark, "", 0}, std::monostate{}, {Dot{1, first_counter}}}}}), checked};
  // The third names what the first wrote.
  return transaction_bytes(all[first == first_counter && nth % 4 == 2 ? 0 : nth % 4], first);
}

void member(Script& script, Verdict& verdict) {
  World& w = world();
  SimulatedDisk disk(w.image);
  const Platform platform{&disk, disk.vfs(), nullptr};
  CountingRandom random;
  auto options = w.options(platform);
  options.random = &random;
  auto desk = Replica::open_with_key(options, w.key).value();
  Hash previous;
  Counter next = first_counter;
  for (Position position = 1; position <= 4 && !script.empty(); ++position) {
    std::vector<NumberedTransaction> transactions;
    for (auto count = 1 + script.byte() % 3; count > 0; --count) {
      const auto how = script.byte();
      Bytes bytes = honest_transaction(how, next);
      if (how >= 64) mutate(bytes, script);
      transactions.push_back({next, bytes});
      next += how % 2 == 0 ? 8 : 1;
    }
    const Bytes segment = w.seal(position, previous, transactions, &previous);
    std::size_t merged = 0;
    Core& core = *desk.core();
    const auto stored = core.append_segments(*core.space(w.space).value(), w.phone_log, position, {segment}, &merged);
    verdict.note(stored.refused);
    verdict.note(merged);
    require(stored.position == position);  // a member's segment is kept, whatever is in it
  }
  judge(desk, verdict);
}

// ---- The relay ---------------------------------------------------------------------------------------------------------------------

class Relay {
 public:
  Relay(Link& link, Script& script)
      : link_(link), script_(script), channel_(Channel::responder(random_, world().relay, ChannelKinds::relay())) {
    for (int i = 0; i < 3 && !channel_.established(); ++i) exchange();
    require(channel_.established());
  }
  void say() {
    const auto how = script_.byte();
    Bytes message = message_of(how % 18);
    if (how >= 192) mutate(message, script_);
    if (message.empty() || link_.ended()) return;
    require(channel_.send(message).ok());
    exchange();
  }

 private:
  void exchange() {
    if (const Bytes out = link_.output(); !out.empty()) (void)channel_.feed(out);
    while (channel_.next_message()) {}
    if (const Bytes in = channel_.take_output(); !in.empty()) (void)link_.feed(in);
  }
  void put_position(Encoder& out) {
    const auto byte = script_.byte();
    out.put_varint(byte == 255 ? UINT64_MAX : byte == 254 ? std::uint64_t{1} << 62 : byte % 6);
  }
  LogName log() {
    const auto how = script_.byte();
    LogName out = how % 2 == 0 ? world().desk_log : world().phone_log;
    if (how / 2 % 4 == 1) out.incarnation.data[0] ^= how;
    if (how / 2 % 4 == 2) {
      out.branch = Hash{{how}};
      out.starts_after = how / 8 % 4;
    }
    return out;
  }
  void put_hash(Encoder& out) {
    const auto how = script_.byte();
    out.put_raw((how % 2 == 0 ? shorten(world().roster.head()) : ShortHash{{how}}).view());
  }
  Bytes phone_segment() {
    const Bytes bytes = honest_transaction(script_.byte(), next_);
    const Bytes out = world().seal(position_ + 1, previous_, {{next_, bytes}}, &previous_);
    ++position_;
    next_ += 8;
    return out;
  }
  Bytes message_of(std::uint8_t type);

  CountingRandom random_;
  Link& link_;
  Script& script_;
  Channel channel_;
  Counter next_ = first_counter;
  Position position_ = 0;
  Hash previous_;
};

Bytes Relay::message_of(std::uint8_t type) {
  const World& w = world();
  Encoder out;
  out.put_u8(type);
  switch (type) {
    case 1: {
      const auto how = script_.byte();
      out(std::uint8_t{1}, std::uint8_t{1}, std::optional<StoreId>(how % 2 == 0 ? StoreId{{how}} : StoreId{}), w.receipts.public_key,
          std::int64_t{1'773'500'000'000 + how * 1'000'000}, ShortHash{});
      break;
    }
    case 3: {
      out.put_varint(script_.byte() % 2);
      out.put_varint(script_.byte() % (w.roster.size() + 2));
      put_hash(out);
      const auto count = script_.byte() % 4;
      out.put_varint(static_cast<std::uint64_t>(count));
      for (int i = 0; i < count; ++i) {
        const LogName name = log();
        out.put_raw(name.id(w.space).view());
        put_position(out);
        put_hash(out);
        out.put_raw(tag_of(name.device).view());
      }
      break;
    }
    case 5: {
      out.put_varint(0);
      const auto first = script_.byte() % (w.roster_entries.size() + 1);
      out.put_varint(first);
      out.put_varint(1);
      Bytes entry = w.roster_entries[first % w.roster_entries.size()];
      if (script_.byte() % 2 != 0) mutate(entry, script_);
      out.put_bytes(entry);
      break;
    }
    case 6:
      out.put_varint(0);
      out(log());
      break;
    case 7: {
      out.put_varint(script_.byte() % 3);
      const auto how = script_.byte();
      out.put_varint(how % 2 == 0 ? position_ + 1 : how % 7);
      Bytes segment = how % 2 == 0 ? phone_segment() : w.desk_segments[how % w.desk_segments.size()];
      if (how >= 128) mutate(segment, script_);
      out.put_bytes(segment);
      break;
    }
    case 8: {
      // The link numbers its logs from 0, and its own is the first to leave.
      const auto how = script_.byte();
      out.put_varint(how % 2);
      const Position position = script_.byte() % 4;
      out.put_varint(position);
      out.put_u8(how / 2 % 2);
      if (how / 2 % 2 == 0) break;
      const auto hash = Hash{{how}};
      out.put_raw(sign_receipt(w.receipts.secret_key, StoreId{}, w.space, w.desk_log.id(w.space), position, hash).view());
      break;
    }
    case 9:
      out.put_varint(script_.byte() % 3);
      put_position(out);
      out.put_varint(script_.byte() % 24);
      break;
    case 10: {
      out.put_varint(0);
      out.put_bytes(script_.take(script_.byte()));
      break;
    }
    case 11:
      out.put_varint(0);
      out.put_raw(log().id(w.space).view());
      out.put_varint(1);
      put_position(out);
      put_hash(out);
      break;
    case 12:
      out.put_varint(0);
      out.put_raw(log().id(w.space).view());
      put_position(out);
      break;
    case 15: out.put_varint(script_.byte() % 24); break;
    case 16:
      out.put_varint(0);
      put_position(out);
      break;
    case 17: return to_bytes(script_.take(script_.byte()));
    default: break;
  }
  return out.take();
}

void relay(Script& script, Verdict& verdict) {
  World& w = world();
  SimulatedDisk disk(w.image);
  const Platform platform{&disk, disk.vfs(), nullptr};
  CountingRandom random;
  auto options = w.options(platform);
  options.random = &random;
  auto desk = Replica::open_with_key(options, w.key).value();
  {
    auto link = Link::start(desk, {w.relay.public_key, {"relay:1"}}, Link::As::member).value();
    Relay peer(link, script);
    for (int step = 0; step < 60 && !script.empty(); ++step) {
      if (step % 8 == 7) link.tick(), link.wake();
      peer.say();
    }
    verdict.note(link.ended());
  }
  judge(desk, verdict);
}

void run(ByteView input, Verdict& verdict) {
  Script script(input);
  (script.byte() % 2 == 0 ? member : relay)(script, verdict);
}

std::vector<Seed> seeds() {
  return {{"member_honest", Bytes{0, 0, 0, 1, 1, 2, 0, 3}},
          {"member_changed", Bytes{0, 0, 64, 2, 0, 5, 0, 1, 1, 65, 65, 0, 9, 0}},
          {"member_created_twice", Bytes{0, 1, 0, 0, 1, 0, 0}},
          {"member_cut_short", Bytes{0, 2, 66, 0, 2, 20, 0, 67, 0, 2, 8, 0, 3}},
          {"relay_level", Bytes{1, 1, 0, 3, 0, 4, 0, 0, 4}},
          {"relay_segments", Bytes{1, 1, 0, 3, 0, 4, 0, 0, 4, 6, 1, 7, 0, 0, 0, 7, 0, 2, 1}},
          {"relay_receipts", Bytes{1, 1, 1, 3, 0, 4, 0, 0, 4, 8, 2, 1, 8, 2, 2}},
          {"relay_regress", Bytes{1, 1, 0, 3, 0, 4, 0, 2, 0, 5, 1, 1, 1, 1, 4, 6, 0, 7, 0, 1}},
          {"relay_split", Bytes{1, 1, 0, 3, 0, 4, 0, 0, 4, 12, 0, 0, 3, 0, 4, 0, 0, 12, 0, 1}},
          {"relay_roster", Bytes{1, 1, 0, 3, 0, 4, 0, 0, 4, 5, 1, 0, 5, 2, 1, 0, 0, 40, 0}},
          {"relay_names_logs", Bytes{1, 1, 0, 3, 0, 4, 0, 0, 4, 6, 3, 7, 0, 1, 6, 3, 7, 1, 1}}};
}

const Registration registration({"replica", run, seeds});

}  // namespace
