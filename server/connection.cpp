#include "server/connection.hpp"

#include <spdlog/spdlog.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>

namespace doorstep::relay {

namespace asio = boost::asio;

namespace {
constexpr auto token = asio::as_tuple(asio::use_awaitable);  // named: see STYLE on temporaries and g++ 12
constexpr std::size_t write_pieces_max = 16;
}  // namespace

Connection::Connection(asio::ip::tcp::socket socket, Connections& connections)
    : connections_(connections),
      socket_(std::move(socket)),
      reader_wake_(socket_.get_executor()),
      writer_wake_(socket_.get_executor()),
      watch_wake_(socket_.get_executor()),
      conversation_(connections.shared, *this) {
  connections_.open.insert(this);
}

Connection::~Connection() { connections_.open.erase(this); }

void Connection::start() {
  boost::system::error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket_.set_option(asio::socket_base::keep_alive(true), ignored);
#ifdef TCP_USER_TIMEOUT
  using UserTimeout = asio::detail::socket_option::integer<IPPROTO_TCP, TCP_USER_TIMEOUT>;
  const auto stall_ms = connections_.shared.config.write_stall_ms;
  socket_.set_option(UserTimeout(static_cast<int>(std::min<std::uint64_t>(stall_ms, 1u << 30))), ignored);
#endif
  reader_wake_.expires_at(asio::steady_timer::time_point::max());
  writer_wake_.expires_at(asio::steady_timer::time_point::max());
  spawn(read(shared_from_this()));
  spawn(write(shared_from_this()));
  spawn(watch(shared_from_this()));
}

void Connection::spawn(asio::awaitable<void> loop) {
  asio::co_spawn(socket_.get_executor(), std::move(loop), [self = shared_from_this()](std::exception_ptr failed) {
    if (!failed) return;
    try {
      std::rethrow_exception(failed);
    } catch (const std::exception& e) {
      spdlog::error("event=connection_failed device={} what=\"{}\"", self->conversation_.name(), e.what());
    } catch (...) { spdlog::error("event=connection_failed device={}", self->conversation_.name()); }
    self->abort();
  });
}

void Connection::gone() {
  boost::system::error_code ignored;
  socket_.close(ignored);
  reader_wake_.cancel();
  writer_wake_.cancel();
  watch_wake_.cancel();
}

asio::awaitable<void> Connection::read(std::shared_ptr<Connection> self) {
  Connection& c = *self;
  while (!c.is_gone()) {
    if (c.conversation_.held_back()) {
      (void)co_await c.reader_wake_.async_wait(token);
      c.reader_wake_.expires_at(asio::steady_timer::time_point::max());
      continue;
    }
    const auto [failed] = co_await c.socket_.async_wait(asio::socket_base::wait_read, token);
    if (failed || c.is_gone()) break;
    auto& buffer = c.connections_.read_buffer;
    const bool handshake = c.conversation_.stage() == Conversation::Stage::handshake;
    const std::size_t most = handshake ? Conversation::read_bytes_before_authentication : buffer.size();
    boost::system::error_code error;
    const std::size_t size = c.socket_.read_some(asio::buffer(buffer.data(), most), error);
    if (error == asio::error::would_block || error == asio::error::try_again) continue;
    if (error) {
      spdlog::debug("event=peer_left device={} what=\"{}\"", c.conversation_.name(), error.message());
      if (error == asio::error::eof && c.conversation_.on_end()) co_return;
      break;
    }
    c.conversation_.on_bytes(ByteView(buffer.data(), size));
  }
  c.abort();
}

asio::awaitable<void> Connection::write(std::shared_ptr<Connection> self) {
  Connection& c = *self;
  while (!c.is_gone()) {
    const auto& out = c.conversation_.output();
    if (out.empty()) {
      if (c.conversation_.stage() == Conversation::Stage::closing) {
        boost::system::error_code ignored;
        c.socket_.shutdown(asio::socket_base::shutdown_send, ignored);
        c.conversation_.on_all_written();
        co_return;
      }
      (void)co_await c.writer_wake_.async_wait(token);
      c.writer_wake_.expires_at(asio::steady_timer::time_point::max());
      continue;
    }
    std::array<asio::const_buffer, write_pieces_max> pieces;
    std::size_t count = 0;
    for (auto at = out.begin(); at != out.end() && count < pieces.size(); ++at, ++count) pieces[count] = asio::buffer(*at);
    pieces[0] += c.conversation_.output_offset();
    const auto [failed, size] = co_await c.socket_.async_write_some(pieces, token);
    if (failed || c.is_gone()) break;
    c.conversation_.wrote(size);
  }
  c.abort();
}

asio::awaitable<void> Connection::watch(std::shared_ptr<Connection> self) {
  Connection& c = *self;
  while (!c.is_gone()) {
    c.watch_wake_.expires_after(std::chrono::milliseconds(c.conversation_.tick_ms()));
    (void)co_await c.watch_wake_.async_wait(token);
    c.conversation_.tick();
  }
}

}  // namespace doorstep::relay
