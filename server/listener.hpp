// Listener: accepts, within bounds. It survives running out of file descriptors: a reserved one is given up, the waiting connections
// are taken and closed, so that they know, and the loop pauses instead of spinning.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdio>
#include <memory>

#include "server/connection.hpp"

namespace doorstep::relay {

class Listener : public std::enable_shared_from_this<Listener> {
 public:
  Listener(boost::asio::io_context& context, Connections& connections);
  ~Listener();
  /// Code::unreachable names the address and why.
  Status listen(const HostPort& at);
  std::uint16_t port() const { return port_; }
  void start();
  void stop();

 private:
  static boost::asio::awaitable<void> accept(std::shared_ptr<Listener> self);
  void shed();

  Connections& connections_;
  boost::asio::io_context& context_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer pause_;
  std::FILE* reserve_ = nullptr;  // a file descriptor to give up
  std::uint16_t port_ = 0;
  std::int64_t logged_at_ = -60'000;
};

}  // namespace doorstep::relay
