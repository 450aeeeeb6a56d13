// Honest devices beside an attack: three members of one village that sync small changes all the time. A round is one change: written by
// one of them, receipted by the relay, and arrived at the two others.
#pragma once

#include <array>
#include <vector>

#include "tests/server/test_client.hpp"

namespace doorstep::hostile {

class HonestDevices {
 public:
  explicit HonestDevices(const IdentityKeyPair& authority);
  /// All three, until they are level. False: one of them did not get in.
  bool connect(std::uint16_t port, const TransportPublicKey& relay, int deadline_ms = 20'000);
  /// False: it did not get around in 20 seconds, or a connection ended.
  bool round();
  /// They say goodbye.
  void leave();
  /// Of every log, as far as it was receipted.
  std::vector<std::pair<LogId, Position>> receipted() const;

  relay::Village& village() { return village_; }

 private:
  struct Member {
    Member(const relay::Village& village, const relay::Device& device) : replica(device), log(village, device), client(replica) {
      replica.learn(village);
    }
    relay::Replica replica;
    relay::Writer log;
    relay::TestClient client;
  };

  relay::Device desk_, a_, b_, c_;
  relay::Village village_;
  std::array<Member, 3> members_;
  std::size_t turn_ = 0;
};

}  // namespace doorstep::hostile
