// Virtual time: what is to happen, in order. Two things at one instant happen in the order in which they were asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

namespace doorstep::sim {

class Timeline {
 public:
  std::int64_t now_ms() const { return now_ms_; }
  void at(std::int64_t when_ms, std::function<void()> what) { due_.push({std::max(when_ms, now_ms_), next_++, std::move(what)}); }
  void after(std::int64_t delay_ms, std::function<void()> what) { at(now_ms_ + delay_ms, std::move(what)); }
  /// Until then, or until nothing is left.
  void run_until(std::int64_t until_ms) {
    while (!due_.empty() && due_.top().when_ms <= until_ms) {
      auto what = std::move(const_cast<Due&>(due_.top()).what);
      now_ms_ = due_.top().when_ms;
      due_.pop();
      ++events_;
      what();
    }
    now_ms_ = std::max(now_ms_, until_ms);
  }
  std::uint64_t events() const { return events_; }

 private:
  struct Due {
    std::int64_t when_ms;
    std::uint64_t number;
    std::function<void()> what;
    bool operator<(const Due& other) const { return std::pair(when_ms, number) > std::pair(other.when_ms, other.number); }
  };
  std::priority_queue<Due> due_;
  std::int64_t now_ms_ = 0;
  std::uint64_t next_ = 0, events_ = 0;
};

}  // namespace doorstep::sim
