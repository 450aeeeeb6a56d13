#include "server/listener.hpp"

#include <spdlog/spdlog.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace doorstep::relay {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {
constexpr auto as_result = asio::as_tuple(asio::use_awaitable);
constexpr int backlog = 512;
constexpr std::chrono::milliseconds pause_after_error{200};
constexpr std::int64_t log_interval_ms = 10'000;
}  // namespace

Listener::Listener(asio::io_context& context, Connections& connections)
    : connections_(connections), context_(context), acceptor_(context), pause_(context), reserve_(std::fopen("/dev/null", "r")) {}

Listener::~Listener() {
  if (reserve_) std::fclose(reserve_);
}

Status Listener::listen(const HostPort& at) {
  const auto where = at.host + ":" + std::to_string(at.port);
  boost::system::error_code failed;
  tcp::resolver resolver(context_);  // once, before anything runs
  const auto found = resolver.resolve(at.host, std::to_string(at.port), tcp::resolver::passive, failed);
  if (failed || found.empty()) return Error(Code::unreachable, "the address " + where + " is not one of this machine: " + failed.message());
  const tcp::endpoint endpoint = *found.begin();
  acceptor_.open(endpoint.protocol(), failed);
  if (!failed) acceptor_.set_option(asio::socket_base::reuse_address(true), failed);
  if (!failed) acceptor_.bind(endpoint, failed);
  if (!failed) acceptor_.listen(backlog, failed);
  if (failed) return Error(Code::unreachable, "cannot listen on " + where + ": " + failed.message());
  port_ = acceptor_.local_endpoint(failed).port();
  return {};
}

void Listener::start() {
  asio::co_spawn(context_, accept(shared_from_this()), [](std::exception_ptr failed) {
    if (failed) spdlog::critical("event=listener_failed");
  });
}

void Listener::stop() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
}

asio::awaitable<void> Listener::accept(std::shared_ptr<Listener> self) {
  Listener& l = *self;
  while (l.acceptor_.is_open()) {
    auto [failed, socket] = co_await l.acceptor_.async_accept(as_result);
    if (!l.acceptor_.is_open()) break;
    if (!failed) {
      try {
        const auto connection = std::make_shared<Connection>(std::move(socket), l.connections_);
        connection->start();
      } catch (const std::exception& e) { spdlog::error("event=connection_failed what=\"{}\"", e.what()); }
      continue;
    }
    if (const auto now = l.connections_.shared.clock.steady_ms(); now - l.logged_at_ > log_interval_ms) {
      l.logged_at_ = now;
      spdlog::warn("event=accept_failed what=\"{}\"", failed.message());
    }
    if (failed == asio::error::connection_aborted) continue;
    if (failed == asio::error::no_descriptors || failed == boost::system::errc::too_many_files_open_in_system) {
      try {
        if (l.connections_.shared.hub.show_out_first()) continue;  // which frees one
      } catch (const std::exception& e) { spdlog::error("event=connection_failed what=\"{}\"", e.what()); }
      l.shed();
    }
    l.pause_.expires_after(pause_after_error);
    (void)co_await l.pause_.async_wait(as_result);
  }
}

// Without a descriptor nothing can be accepted, and those who wait would make us spin: with the reserve's, take and close them.
void Listener::shed() {
  if (reserve_) std::fclose(reserve_);
  boost::system::error_code failed;
  acceptor_.non_blocking(true, failed);
  for (int i = 0; i < backlog && !failed; ++i) {
    tcp::socket socket(context_);
    acceptor_.accept(socket, failed);
  }
  reserve_ = std::fopen("/dev/null", "r");
}

}  // namespace doorstep::relay
