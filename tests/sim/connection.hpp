// One connection over the simulated network: a Link on one side, the relay's conversation on the other, and two pipes between them.
//
// A pipe carries chunks in order, each late by its own delay. What can happen to a chunk besides: the connection breaks before or
// within it, it is lost, doubled, swapped with the next one or garbled (by somebody on the way: the channel must notice), or it waits
// for a partition to end. Either side may learn of the end or only find out by its deadlines.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "tests/sim/relay.hpp"

namespace doorstep::sim {

struct NetworkFaults {
  std::int64_t delay_ms_max = 50;
  unsigned break_permille = 0;   ///< Of a chunk.
  unsigned tamper_permille = 0;  ///< Loss, doubling, swapping, garbling.
  unsigned silent_percent = 0;   ///< Of the breaks: the other side hears nothing.
  bool slow_readers = false;
};

class Connection final : public relay::Conversation::Body {
 public:
  struct Ends {
    SimDevice& device;
    SimRelay& relay;
  };
  /// `partitioned(up)`: until when nothing gets through (0: it does). `ended`: called once, later.
  Connection(Timeline& timeline, Ends ends, Link link, bool stays, const NetworkFaults& faults, std::uint64_t seed,
             std::function<std::int64_t(bool up)> partitioned, std::function<void(const std::string& why)> ended);
  ~Connection() override;

  void begin();
  /// A commit happened, or somebody else's segments came over another connection.
  void wake();
  /// From outside: the device or the relay is gone, or the network is.
  void cut();
  bool over() const { return over_; }
  SimDevice& device() { return ends_.device; }
  SimRelay& relay() { return ends_.relay; }
  Link& link() { return link_; }
  std::uint64_t bytes() const { return bytes_; }

  // Conversation::Body
  void may_read() override;
  void may_write() override { schedule_relay_output(); }
  void begins_to_close() override { schedule_relay_output(); }
  void gone() override;

 private:
  struct Pipe {
    std::deque<Bytes> chunks;
    std::size_t bytes = 0;
    std::int64_t last_ms = 0;  // nothing overtakes
    bool ends = false;         // nothing follows the chunks
  };
  void later(std::int64_t delay_ms, void (Connection::*what)());
  void push(Pipe& pipe, Bytes bytes, bool up);
  bool suffers(Pipe& pipe, Bytes& bytes);
  void deliver(bool up);
  void deliver_up() { deliver(true); }
  void deliver_down() { deliver(false); }
  void device_output();
  void relay_output();
  void schedule_relay_output();
  void tick();
  void device_leaves(const std::string& why);
  void finish(const std::string& why);

  Timeline& timeline_;
  Ends ends_;
  Link link_;
  relay::Conversation conversation_;
  const NetworkFaults faults_;
  Dice dice_;
  std::function<std::int64_t(bool)> partitioned_;
  std::function<void(const std::string&)> ended_;
  Pipe up_, down_;
  const bool stays_;
  bool closing_ = false;     // we said goodbye
  bool device_here_ = true;  // the device's side is open
  bool relay_here_ = true;
  bool over_ = false;
  bool output_due_ = false;
  std::uint64_t bytes_ = 0;
  std::int64_t heard_ms_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace doorstep::sim
