#include "tests/fault/memory_relay.hpp"

#include "sync/channel.hpp"
#include "tests/fault/crash_vfs.hpp"

namespace doorstep::fault {

using namespace relay;

namespace {

IdentityKeyPair copy_of(const IdentityKeyPair& pair) { return {pair.public_key, pair.secret_key.duplicate()}; }
TransportKeyPair copy_of(const TransportKeyPair& pair) { return {pair.public_key, pair.secret_key.duplicate()}; }

}  // namespace

MemoryRelay::MemoryRelay(Random& random)
    : MemoryRelay(random, random.make<StoreId>(), make_identity_key_pair(random), make_transport_key_pair(random)) {}

MemoryRelay::MemoryRelay(Random& random, StoreId store, IdentityKeyPair receipts, TransportKeyPair transport)
    : random_(random), store_id_(store), receipts_(std::move(receipts)), transport_(std::move(transport)) {
  ledger_.emplace(store_, Quotas{});
  DOORSTEP_CHECK(ledger_->load().ok());
}

std::unique_ptr<MemoryRelay> MemoryRelay::emptied() const {
  return std::unique_ptr<MemoryRelay>(new MemoryRelay(random_, store_id_, copy_of(receipts_), copy_of(transport_)));
}

Status MemoryRelay::put_roster(const SpaceId& space, const std::vector<Bytes>& entries) {
  DOORSTEP_TRY(ledger_->begin());
  DOORSTEP_ASSIGN(const auto result, ledger_->append_roster(space, 0, entries));
  DOORSTEP_TRY(ledger_->commit());
  return result.status;
}

Status MemoryRelay::put_segments(const TransportPublicKey& carrier, const SpaceId& space, const LogName& name, Position first,
                                 const std::vector<SharedBytes>& segments) {
  DOORSTEP_TRY(ledger_->begin());
  DOORSTEP_ASSIGN(const auto result, ledger_->append_segments(0, carrier, space, name, first, segments));
  DOORSTEP_TRY(ledger_->commit());
  if (result.stored.refused != Code::ok) return Error(result.stored.refused, result.why);
  return {};
}

// ---- One connection

class MemoryRelay::Connection {
 public:
  explicit Connection(MemoryRelay& relay)
      : relay_(relay), channel_(Channel::responder(relay.random_, relay.transport_, ChannelKinds::relay())), session_(options(relay)) {}

  void feed(ByteView bytes) {
    (void)channel_.feed(bytes);
    if (!channel_.established()) return;
    if (!std::exchange(connected_, true)) session_.on_connected();
    while (auto message = channel_.next_message()) {
      session_.on_message(*message);
      run();
    }
    run();
  }
  Bytes output() { return channel_.take_output(); }

 private:
  static Session::Options options(MemoryRelay& relay) {
    Session::Options out;
    out.store = relay.store_id_;
    out.receipt_key = relay.receipts_.public_key;
    return out;
  }
  Ledger& ledger() { return *relay_.ledger_; }
  SpaceSummary summary(const SpaceId& space) {
    SpaceSummary out;
    out.space = space;
    const auto roster = ledger().roster(space);
    if (!roster) return out;
    out.roster_size = roster->size();
    out.roster_head = roster->head();
    out.logs = ledger().heads(space);
    const auto standing = standing_of(*roster, *channel_.peer_static(), std::nullopt);
    out.readable = standing.readable;
    out.appendable = standing.appendable;
    return out;
  }
  void run() {
    for (auto effects = session_.take_effects(); !effects.empty(); effects = session_.take_effects())
      for (auto& effect : effects) std::visit([this](auto& e) { handle(e); }, effect);
  }

  void handle(effect::Send& e) { (void)channel_.send(e.message); }
  void handle(effect::LoadSummaries&) {
    std::vector<SpaceSummary> all;
    for (const auto& space : ledger().spaces()) all.push_back(summary(space));
    session_.on_summaries(std::move(all));
  }
  void handle(effect::LoadRoster& e) { session_.on_roster_loaded(e.space, e.from, ledger().load_roster(e.space, e.from, 1u << 20)); }
  void handle(effect::LoadSegments& e) {
    auto loaded = ledger().load_segments(e.space, e.log, e.after, e.expect, e.bytes_max);
    if (loaded) session_.on_segments_loaded(e.space, e.log, e.after, std::move(loaded->segments), loaded->diverged);
  }
  void handle(effect::AppendRoster& e) {
    if (!ledger().begin()) return;
    const auto result = ledger().append_roster(e.space, e.first, e.entries);
    const bool committed = ledger().commit().ok();
    session_.on_roster_stored(e.space, summary(e.space), result && committed ? result->status : Status(Error(Code::io, "lost")));
  }
  void handle(effect::AppendSegments& e) {
    std::vector<SharedBytes> segments;
    for (auto& segment : e.segments) segments.push_back(std::make_shared<const Bytes>(std::move(segment)));
    if (!ledger().begin()) return;
    auto result = ledger().append_segments(1, *channel_.peer_static(), e.space, e.log, e.first, segments);
    if (!ledger().commit() || !result) return;
    auto& stored = result->stored;
    if (stored.position != 0)
      stored.receipt =
          sign_receipt(relay_.receipts_.secret_key, relay_.store_id_, e.space, e.log.id(e.space), stored.position, stored.hash);
    session_.on_segments_stored(e.space, e.log, stored);
    if (result->split) session_.on_summary(summary(e.space));
  }
  void handle(effect::PeerStored& e) { relay_.acknowledged[e.log] = std::max(relay_.acknowledged[e.log], e.position); }
  void handle(effect::Locate& e) {
    if (const auto at = ledger().locate(e.space, e.log, e.locator)) session_.on_located(e.space, e.log, *at);
  }
  void handle(effect::MakeLocator& e) {
    if (auto locator = ledger().locator(e.space, e.log)) session_.on_locator(e.space, e.log, std::move(*locator));
  }
  void handle(effect::Split& e) {
    if (!ledger().begin()) return;
    (void)ledger().split(e.space, e.log, e.position);
    (void)ledger().commit();
    session_.on_summary(summary(e.space));
  }
  void handle(effect::Close& e) { channel_.close(e.code); }
  template <class Other>
  void handle(Other&) {}

  MemoryRelay& relay_;
  Channel channel_;
  Session session_;
  bool connected_ = false;
};

Status MemoryRelay::sync(Replica& replica, const std::function<void()>& heard) {
  DOORSTEP_ASSIGN(Link link, Link::start(replica, address()));
  Connection connection(*this);
  Status out;
  while (out.ok()) {
    const Bytes up = link.output();
    Bytes down;
    {
      const AtWork at_work;  // the relay has memory of its own
      if (!up.empty()) {
        connection.feed(up);
        if (heard) heard();
      }
      down = connection.output();
    }
    if (up.empty() && down.empty()) break;
    if (!down.empty()) out = link.feed(down);
  }
  if (out.ok() && !link.done()) out = Error(Code::internal, "the link is not level, and silent");
  link.close();
  return out;
}

}  // namespace doorstep::fault
