#include "tests/hostile/honest.hpp"

namespace doorstep::hostile {

namespace {
constexpr std::size_t change_bytes = 300;
}

HonestDevices::HonestDevices(const IdentityKeyPair& authority)
    : village_(authority, desk_, {&a_, &b_, &c_}), members_{{{village_, a_}, {village_, b_}, {village_, c_}}} {}

bool HonestDevices::connect(std::uint16_t port, const TransportPublicKey& relay, int deadline_ms) {
  for (auto& member : members_) member.client.connect(port, relay);
  for (auto& member : members_)
    if (!member.client.until_level(deadline_ms)) return false;
  return true;
}

bool HonestDevices::round() {
  Member& writer = members_[turn_++ % members_.size()];
  writer.log.write(change_bytes);
  writer.replica.learn(writer.log);
  const auto position = writer.log.segments.size();
  writer.client.announce(writer.log, position);
  if (!writer.client.until_receipted(writer.log)) return false;
  for (auto& member : members_)
    if (!member.client.until([&] { return member.replica.head(village_.id(), writer.log.id()) == position; })) return false;
  return true;
}

void HonestDevices::leave() {
  for (auto& member : members_) member.client.bye();
}

std::vector<std::pair<LogId, Position>> HonestDevices::receipted() const {
  std::vector<std::pair<LogId, Position>> out;
  for (const auto& member : members_) {
    const auto at = member.client.seen.receipts.find(member.log.id());
    if (at != member.client.seen.receipts.end()) out.push_back(*at);
  }
  return out;
}

}  // namespace doorstep::hostile
