// Connection: one socket, and the conversation that it carries.
//
// Invariants:
// 1. One reader, one writer, one watch coroutine on the one network thread; each holds the connection, nobody else touches the socket.
// 2. What is read, and when, is the conversation's to say (held_back).
#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <set>

#include "server/conversation.hpp"

namespace doorstep::relay {

/// What every connection of a relay shares.
struct Connections {
  Shared shared;
  std::array<std::uint8_t, 64u << 10> read_buffer{};  ///< One thread reads from one socket at a time.
  std::set<class Connection*> open;
};

class Connection final : public Conversation::Body, public std::enable_shared_from_this<Connection> {
 public:
  Connection(boost::asio::ip::tcp::socket socket, Connections& connections);
  ~Connection() override;
  void start();
  void drain() { conversation_.drain(); }
  void abort() { conversation_.abort(); }

  // Conversation::Body
  void may_read() override { reader_wake_.cancel(); }
  void may_write() override { writer_wake_.cancel(); }
  void begins_to_close() override { watch_wake_.cancel(); }
  void gone() override;

 private:
  static boost::asio::awaitable<void> read(std::shared_ptr<Connection> self);
  static boost::asio::awaitable<void> write(std::shared_ptr<Connection> self);
  static boost::asio::awaitable<void> watch(std::shared_ptr<Connection> self);
  void spawn(boost::asio::awaitable<void> loop);
  bool is_gone() const { return conversation_.stage() == Conversation::Stage::gone; }

  Connections& connections_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer reader_wake_, writer_wake_, watch_wake_;
  Conversation conversation_;
};

}  // namespace doorstep::relay
