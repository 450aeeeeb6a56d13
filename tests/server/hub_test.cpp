#include "server/hub.hpp"

#include <gtest/gtest.h>

namespace doorstep::relay {
namespace {

/// Takes a stranger's seat, and gives it back when it is shown out.
class Stranger final : public Peer {
 public:
  explicit Stranger(Hub& hub) : hub_(hub), seat_(hub.seat_stranger(*this)) {}
  ~Stranger() override { leave(); }
  void bring_something() { hub_.renew_stranger(seat_); }
  bool shown_out() const { return !seated_; }

  const TransportPublicKey& key() const override { return key_; }
  const std::optional<InviteId>& invite() const override { return invite_; }
  void on_answer(Answer) override {}
  void on_summary(const SpaceSummary&) override {}
  void on_new_segments(const SpaceId&, const LogHead&, Position, const std::vector<SharedBytes>&) override {}
  void on_proposals(const SpaceId&, const std::vector<Bytes>&) override {}
  void on_room() override {}
  std::size_t holds_bytes() const override { return 0; }
  void on_shown_out(const char*) override { leave(); }

 private:
  void leave() {
    if (std::exchange(seated_, false)) hub_.leave_stranger(seat_);
  }
  Hub& hub_;
  TransportPublicKey key_;
  std::optional<InviteId> invite_;
  bool seated_ = true;
  Hub::Seat seat_;
};

TEST(Hub, AStrangerWhoBroughtSomethingOutstaysOneWhoDidNot) {
  Config config;
  config.strangers_max = 2;
  Hub hub(config, [](Job) {});
  Stranger busy(hub), idle(hub);
  busy.bring_something();
  Stranger third(hub);
  EXPECT_TRUE(idle.shown_out());
  EXPECT_FALSE(busy.shown_out());
  third.bring_something();
  Stranger fourth(hub);
  EXPECT_TRUE(busy.shown_out()) << "it is now the one who has brought nothing for longest";
  EXPECT_FALSE(third.shown_out());
}

}  // namespace
}  // namespace doorstep::relay
