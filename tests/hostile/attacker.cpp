#include "tests/hostile/attacker.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>

namespace doorstep::hostile {

namespace {

using std::chrono::steady_clock;

constexpr std::size_t connections_per_address = 20'000;

sockaddr_in loopback(std::uint16_t port, std::uint32_t number = 0) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  out.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number);
  return out;
}

void set(int fd, int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof value); }

int left_ms(steady_clock::time_point until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - steady_clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left);
}

}  // namespace

// ---- Socket ------------------------------------------------------------------------------------------------------------

Socket::Socket(const Target& target, int receive_buffer_bytes) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_buffer_bytes != 0) set(fd_, SOL_SOCKET, SO_RCVBUF, receive_buffer_bytes);
  set(fd_, IPPROTO_TCP, TCP_NODELAY, 1);
  const timeval deadline{10, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
  const auto at = loopback(target.port);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0) return;
  ::close(fd_);
  fd_ = -1;
}

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

bool Socket::send(ByteView bytes) const {
  while (!bytes.empty()) {
    const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return true;
}

std::size_t Socket::send_some(ByteView bytes) const {
  const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent > 0 ? static_cast<std::size_t>(sent) : 0;
}

Bytes Socket::receive(std::size_t bytes_max, int deadline_ms) const {
  pollfd wait{fd_, POLLIN, 0};
  if (fd_ < 0 || ::poll(&wait, 1, deadline_ms) <= 0) return {};
  Bytes out(bytes_max);
  const auto size = ::recv(fd_, out.data(), out.size(), MSG_DONTWAIT);
  out.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return out;
}

bool Socket::ends(int deadline_ms) const {
  const auto until = steady_clock::now() + std::chrono::milliseconds(deadline_ms);
  std::array<std::uint8_t, 65536> buffer;
  while (fd_ >= 0) {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, left_ms(until)) <= 0) return false;
    if (::recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT) <= 0) return true;
  }
  return true;
}

void Socket::reset_at_end() const {
  const linger at_once{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

// ---- Member ------------------------------------------------------------------------------------------------------------

Member::Member(const Target& target, const TransportKeyPair& own, int receive_buffer_bytes)
    : socket_(target, receive_buffer_bytes), channel_(Channel::device(relay::dice(), own, target.key)) {
  socket_.reset_at_end();  // else a hundred thousand of us would use up the ports
}

bool Member::shake_hands() {
  if (!socket_.send(channel_.take_output())) return false;
  while (!channel_.established() && !channel_.failed())
    if (!pump(10'000)) return false;
  return channel_.established() && socket_.send(channel_.take_output());
}

Bytes Member::seal(ByteView message) {
  (void)channel_.send(message);
  return channel_.take_output();
}

bool Member::say(ByteView message) { return socket_.send(seal(message)); }

std::size_t Member::flood(ByteView message, std::size_t times) {
  if (left_.empty())
    for (; times > 0; --times) append(left_, seal(message));
  const auto taken = socket_.send_some(left_);
  left_.erase(left_.begin(), left_.begin() + static_cast<std::ptrdiff_t>(taken));
  return taken;
}

bool Member::pump(int deadline_ms) {
  const auto bytes = socket_.receive(65536, deadline_ms);
  received_ += bytes.size();
  if (bytes.empty() || !channel_.feed(bytes)) return false;
  while (auto message = channel_.next_message()) {
    if (*message == Bytes{14})
      ++pongs_;
    else
      heard_.push_back(std::move(*message));
  }
  return true;
}

Verdict Member::ask() {
  static const Bytes ping{13};
  ++pings_;
  (void)say(ping);
  const auto until = steady_clock::now() + std::chrono::seconds(20);
  while (pongs_ < pings_ && !channel_.peer_closed())
    if (!pump(left_ms(until))) return left_ms(until) == 0 ? Verdict::silent : Verdict::ended;
  return channel_.peer_closed() ? Verdict::ended : Verdict::answers;
}

std::size_t Member::listen(int deadline_ms, std::size_t enough) {
  const auto before = received_;
  const auto until = steady_clock::now() + std::chrono::milliseconds(deadline_ms);
  while (left_ms(until) > 0 && received_ - before < enough && pump(left_ms(until))) {}
  return received_ - before;
}

// ---- Swarm -------------------------------------------------------------------------------------------------------------

Swarm::Swarm(const Target& target) : target_(target), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

Swarm::~Swarm() {
  close();
  ::close(epoll_);
}

void Swarm::open(std::size_t count) {
  for (; count > 0; --count, ++opened_) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return;
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    const auto from = loopback(0, static_cast<std::uint32_t>(1 + opened_ / connections_per_address)), to = loopback(target_.port);
    ::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) {
      ::close(fd);
      continue;
    }
    epoll_event event{EPOLLIN, {.u64 = sockets_.size()}};
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    sockets_.push_back(fd);
    ++standing_;
  }
}

void Swarm::drop(std::size_t index) {
  if (sockets_[index] < 0) return;
  ::close(std::exchange(sockets_[index], -1));
  --standing_;
}

void Swarm::send(ByteView bytes) {
  for (std::size_t i = 0; i < sockets_.size(); ++i) {
    if (sockets_[i] < 0) continue;
    const auto sent = ::send(sockets_[i], bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0)
      bytes_sent_ += static_cast<std::uint64_t>(sent);
    else if (errno != EAGAIN)
      drop(i);
  }
}

void Swarm::listen(int ms) {
  const auto until = steady_clock::now() + std::chrono::milliseconds(ms);
  std::array<epoll_event, 256> events;
  std::array<std::uint8_t, 4096> buffer;
  do {
    const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), left_ms(until));
    for (int i = 0; i < count; ++i) {
      const auto index = static_cast<std::size_t>(events[static_cast<std::size_t>(i)].data.u64);
      if (sockets_[index] < 0) continue;
      const auto size = ::recv(sockets_[index], buffer.data(), buffer.size(), 0);
      if (size == 0 || (size < 0 && errno != EAGAIN)) drop(index);
    }
  } while (left_ms(until) > 0);
}

void Swarm::close(bool reset) {
  for (std::size_t i = 0; i < sockets_.size(); ++i) {
    if (sockets_[i] < 0) continue;
    const linger at_once{1, 0};
    if (reset) ::setsockopt(sockets_[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    drop(i);
  }
  sockets_.clear();
}

// ---- Mutations ---------------------------------------------------------------------------------------------------------

Bytes mutated(ByteView bytes, std::mt19937_64& dice) {
  Bytes out = to_bytes(bytes);
  const auto below = [&](std::size_t bound) { return static_cast<std::ptrdiff_t>(dice() % bound); };
  const auto size = out.size();
  if (size == 0) return {static_cast<std::uint8_t>(dice())};
  const auto at = below(size);
  static constexpr std::array<std::uint8_t, 6> sharp = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};
  switch (dice() % 8) {
    case 0: out[static_cast<std::size_t>(at)] ^= static_cast<std::uint8_t>(1u << dice() % 8); break;
    case 1: out[static_cast<std::size_t>(at)] = sharp[dice() % sharp.size()]; break;
    case 2: out.resize(static_cast<std::size_t>(at)); break;                                                        // cut
    case 3: out.erase(out.begin() + at, out.begin() + at + 1 + below(size - static_cast<std::size_t>(at))); break;  // a piece left out
    case 4: {                                                                                                       // a piece doubled
      const Bytes piece(out.begin() + at, out.begin() + at + 1 + below(size - static_cast<std::size_t>(at)));
      out.insert(out.begin() + at, piece.begin(), piece.end());
      break;
    }
    case 5: {  // a number that is as large as numbers get
      const Bytes huge{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
      out.erase(out.begin() + at);
      out.insert(out.begin() + at, huge.begin(), huge.end());
      break;
    }
    case 6:  // a tail of anything
      for (auto more = 1 + below(64); more > 0; --more) out.push_back(static_cast<std::uint8_t>(dice()));
      break;
    default:  // the head of one on the tail of itself
      out.resize(static_cast<std::size_t>(at));
      append(out, bytes.subspan(static_cast<std::size_t>(below(size))));
  }
  return out;
}

}  // namespace doorstep::hostile
