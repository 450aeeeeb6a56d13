#include "tests/bench/village/proxy.hpp"

#include <array>
#include <cstdlib>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace doorstep::bench {

namespace {

sockaddr_in loopback(int port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(static_cast<std::uint16_t>(port));
  out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return out;
}
const sockaddr* generic(const sockaddr_in& address) { return static_cast<const sockaddr*>(static_cast<const void*>(&address)); }

}  // namespace

Proxy::Proxy(int target, bool keep) : target_(target), keep_(keep) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (listener_ < 0 || bind(listener_, generic(address), size) != 0 || listen(listener_, 16) != 0 ||
      getsockname(listener_, static_cast<sockaddr*>(static_cast<void*>(&address)), &size) != 0)
    std::abort();
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

Proxy::~Proxy() {
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
  {
    const std::lock_guard guard(mutex_);
    for (const int each : sockets_) shutdown(each, SHUT_RDWR);
  }
  for (auto& each : pumps_) each.join();
  for (const int each : sockets_) close(each);
}

std::string Proxy::traffic() {
  const std::lock_guard guard(mutex_);
  return traffic_;
}

void Proxy::accept_all() {
  for (;;) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(target_);
    if (connect(server, generic(address), sizeof address) != 0) {
      close(server);
      close(client);
      continue;
    }
    const int one = 1;
    for (const int each : {client, server}) setsockopt(each, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const std::lock_guard guard(mutex_);
    sockets_.push_back(client);
    sockets_.push_back(server);
    pumps_.emplace_back([=, this] { pump(client, server, up_); });
    pumps_.emplace_back([=, this] { pump(server, client, down_); });
  }
}

void Proxy::pump(int from, int to, std::atomic<std::uint64_t>& count) {
  std::vector<char> buffer(256u << 10);
  for (;;) {
    const ssize_t got = recv(from, buffer.data(), buffer.size(), 0);
    if (got <= 0) break;
    count += static_cast<std::uint64_t>(got);
    for (ssize_t sent = 0; sent < got;) {
      const ssize_t part = send(to, buffer.data() + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
      if (part <= 0) {
        shutdown(from, SHUT_RDWR);
        shutdown(to, SHUT_RDWR);
        return;
      }
      sent += part;
    }
    if (keep_) {
      const std::lock_guard guard(mutex_);
      traffic_.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }
  shutdown(to, SHUT_WR);
}

}  // namespace doorstep::bench
