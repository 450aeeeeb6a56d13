#include "tests/sim/connection.hpp"

#include "sync/lab.hpp"

namespace doorstep::sim {

namespace {
constexpr std::size_t socket_bytes = 64u << 10;  // what a pipe takes before its reader reads
constexpr std::int64_t tick_every_ms = 10'000;
constexpr std::int64_t device_timeout_ms = 30'000;  // as SyncOptions has it
constexpr std::int64_t live_timeout_ms = 90'000;
}  // namespace

Connection::Connection(Timeline& timeline, Ends ends, Link link, bool stays, const NetworkFaults& faults, std::uint64_t seed,
                       std::function<std::int64_t(bool)> partitioned, std::function<void(const std::string&)> ended)
    : timeline_(timeline),
      ends_(ends),
      link_(std::move(link)),
      conversation_(ends.relay.shared(), *this),
      faults_(faults),
      dice_(seed),
      partitioned_(std::move(partitioned)),
      ended_(std::move(ended)),
      stays_(stays) {}

Connection::~Connection() { *alive_ = false; }

void Connection::begin() {
  heard_ms_ = timeline_.now_ms();
  if (stays_)
    link_.on_work([this, alive = alive_] {
      timeline_.after(0, [this, alive] {
        if (*alive) wake();
      });
    });
  device_output();
  later(tick_every_ms, &Connection::tick);
}

void Connection::later(std::int64_t delay_ms, void (Connection::*what)()) {
  timeline_.after(delay_ms, [this, what, alive = alive_] {
    if (*alive && !over_) (this->*what)();
  });
}

// ---- The network -------------------------------------------------------------------------------------------------------

void Connection::push(Pipe& pipe, Bytes bytes, bool up) {
  if (bytes.empty()) return;
  bytes_ += bytes.size();
  pipe.bytes += bytes.size();
  pipe.chunks.push_back(std::move(bytes));
  std::int64_t at = timeline_.now_ms() + 1 + static_cast<std::int64_t>(dice_.below(static_cast<std::uint64_t>(faults_.delay_ms_max)));
  if (faults_.slow_readers && !up && dice_.chance(20)) at += 5'000;
  at = std::max({at, pipe.last_ms, partitioned_(up)});
  pipe.last_ms = at;
  later(at - timeline_.now_ms(), up ? &Connection::deliver_up : &Connection::deliver_down);
}

// True: the connection broke.
bool Connection::suffers(Pipe& pipe, Bytes& bytes) {
  if (dice_.below(1000) < faults_.break_permille) {
    bytes.resize(dice_.below(bytes.size() + 1));
    return true;
  }
  if (dice_.below(1000) >= faults_.tamper_permille) return false;
  switch (dice_.below(4)) {
    case 0: bytes.clear(); break;
    case 1: append(bytes, Bytes(bytes)); break;
    case 2:
      if (!pipe.chunks.empty()) std::swap(bytes, pipe.chunks.front());
      break;
    default: bytes[dice_.below(bytes.size())] ^= static_cast<std::uint8_t>(1 + dice_.below(255)); break;
  }
  return false;
}

void Connection::deliver(bool up) {
  Pipe& pipe = up ? up_ : down_;
  if (const auto until = partitioned_(up); until > timeline_.now_ms())
    return later(until - timeline_.now_ms(), up ? &Connection::deliver_up : &Connection::deliver_down);
  if (up && relay_here_ && conversation_.held_back()) return;  // may_read() comes back to it
  if (!pipe.chunks.empty()) {
    Bytes bytes = std::move(pipe.chunks.front());
    pipe.chunks.pop_front();
    pipe.bytes -= bytes.size();
    const bool breaks = suffers(pipe, bytes);
    if (up && relay_here_ && !bytes.empty()) {
#ifdef DOORSTEP_LAB
      lab::seams.newer_protocol = ends_.relay.newer;  // for the session that may begin now
#endif
      conversation_.on_bytes(bytes);
#ifdef DOORSTEP_LAB
      lab::seams.newer_protocol = false;
#endif
    } else if (!up && device_here_ && !bytes.empty()) {
      heard_ms_ = timeline_.now_ms();
      const Status fed = link_.feed(bytes);
      device_output();
      if (!fed) device_leaves(fed.error().message());
    }
    if (breaks) {
      const bool silent = dice_.below(100) < faults_.silent_percent;
      if (device_here_ && (up || !silent)) device_leaves("the network broke the connection");
      if (!silent && relay_here_) conversation_.abort();
    }
  }
  if (!pipe.chunks.empty() || over_) return;
  if (up && pipe.ends && relay_here_ && !conversation_.on_end()) conversation_.abort();
  if (!up && pipe.ends && device_here_) device_leaves("the relay ended the connection");
  if (!up && relay_here_) relay_output();
}

// ---- The device's side -------------------------------------------------------------------------------------------------

void Connection::device_output() {
  if (!device_here_) return;
  if (!stays_ && !closing_ && link_.done()) {
    closing_ = true;
    link_.close();
  }
  push(up_, link_.output(), true);
  if (link_.ended() || (stays_ && link_.outdated())) {
    if (!link_.ended()) {
      link_.close();
      push(up_, link_.output(), true);
    }
    device_leaves({});
  }
}

void Connection::wake() {
  if (over_ || !device_here_) return;
  link_.wake();
  device_output();
}

void Connection::device_leaves(const std::string& why) {
  if (!std::exchange(device_here_, false)) return;
  push(up_, link_.output(), true);  // a last word
  up_.ends = true;
  later(1, &Connection::deliver_up);
  if (!relay_here_) return finish(why);
  if (ended_) std::exchange(ended_, {})(why);
}

// ---- The relay's side --------------------------------------------------------------------------------------------------

void Connection::may_read() {
  if (!over_ && !up_.chunks.empty()) later(0, &Connection::deliver_up);
}

void Connection::schedule_relay_output() {
  if (over_ || std::exchange(output_due_, true)) return;
  later(0, &Connection::relay_output);
}

void Connection::relay_output() {
  output_due_ = false;
  if (!relay_here_) return;
  while (!conversation_.output().empty() && down_.bytes < socket_bytes) {
    const ByteView piece = ByteView(conversation_.output().front()).subspan(conversation_.output_offset());
    Bytes chunk = to_bytes(piece.first(std::min(piece.size(), socket_bytes)));
    const auto size = chunk.size();
    push(down_, std::move(chunk), false);
    conversation_.wrote(size);
  }
  if (conversation_.output().empty() && conversation_.stage() == relay::Conversation::Stage::closing && !down_.ends) {
    down_.ends = true;
    later(1, &Connection::deliver_down);
    conversation_.on_all_written();
  }
}

void Connection::gone() {
  if (!std::exchange(relay_here_, false)) return;
  down_.ends = true;
  if (over_) return;
  if (device_here_)
    later(1, &Connection::deliver_down);
  else
    finish({});
}

// ---- Time and the end --------------------------------------------------------------------------------------------------

void Connection::tick() {
  if (relay_here_) conversation_.tick();
  if (over_) return;
  if (device_here_) {
    link_.tick();
    device_output();
    if (device_here_ && timeline_.now_ms() - heard_ms_ > (stays_ ? live_timeout_ms : device_timeout_ms)) device_leaves("timeout");
  }
  if (!over_) later(tick_every_ms, &Connection::tick);
}

void Connection::cut() {
  if (over_) return;
  if (relay_here_) {
    over_ = true;
    conversation_.abort();
  }
  device_here_ = false;
  finish("cut");
}

void Connection::finish(const std::string& why) {
  over_ = true;
  if (ended_) std::exchange(ended_, {})(why);
}

}  // namespace doorstep::sim
