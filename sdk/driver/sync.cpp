// sync() and SyncService: Links over TCP with Boost.Asio. One io_context, run by the calling thread; the only other thread that
// reaches in does so by posting (a commit that wakes a live link, a cancel).
#include "doorstep/sync.hpp"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <mutex>
#include <thread>

#include "sdk/core/core.hpp"

namespace doorstep {

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace std::chrono_literals;

struct CancelToken::State {
  std::mutex mutex;
  bool cancelled = false;
  std::function<void()> callback;
};
CancelToken::CancelToken() : state_(std::make_shared<State>()) {}
CancelToken::~CancelToken() = default;
void CancelToken::cancel() {
  std::function<void()> callback;
  {
    const std::lock_guard guard(state_->mutex);
    state_->cancelled = true;
    callback = state_->callback;
  }
  if (callback) callback();
}
bool CancelToken::cancelled() const {
  const std::lock_guard guard(state_->mutex);
  return state_->cancelled;
}

namespace {

constexpr std::size_t read_bytes = 128u << 10;
constexpr auto progress_every = 100ms;

// One link over one socket, from connecting to its end.
class Pump {
 public:
  Pump(asio::io_context& io, Link link, const SyncOptions& options)
      : io_(io), socket_(io), resolver_(io), timer_(io), link_(std::move(link)), options_(options) {}

  Result<SyncReport> run(const std::vector<std::string>& addresses) {
    alive_ = std::make_shared<Pump*>(this);
    if (options_.cancel) {
      const auto& state = options_.cancel->state();
      const std::lock_guard guard(state->mutex);
      if (state->cancelled) return Error(Code::cancelled, "the sync was cancelled");
      state->callback = [&io = io_, weak = std::weak_ptr<Pump*>(alive_)] {
        asio::post(io, [weak] {
          if (const auto self = weak.lock()) (*self)->cancel();
        });
      };
    }
    link_.on_work([&io = io_, weak = std::weak_ptr<Pump*>(alive_)] {
      asio::post(io, [weak] {
        if (const auto self = weak.lock()) (*self)->work();
      });
    });
    addresses_ = addresses;
    touched_ = std::chrono::steady_clock::now();
    arm();
    connect();
    io_.restart();
    io_.run();
    if (options_.cancel) {
      const std::lock_guard guard(options_.cancel->state()->mutex);
      options_.cancel->state()->callback = {};
    }
    if (error_) return *error_;
    if (options_.progress) options_.progress(link_.progress());
    return link_.report();
  }

 private:
  void connect() {
    if (next_address_ >= addresses_.size())
      return finish(Error(Code::unreachable, "the relay cannot be reached at " +
                                                 (addresses_.empty() ? std::string("any address") : addresses_.back()) +
                                                 ": check the network; everything stays here and goes up later"));
    const std::string address = addresses_[next_address_++];
    const auto colon = address.rfind(':');
    if (colon == std::string::npos) return connect();
    std::string host = address.substr(0, colon);
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
    resolver_.async_resolve(host, address.substr(colon + 1),
                            [this](const boost::system::error_code& failed, const tcp::resolver::results_type& found) {
                              if (finished_) return;
                              if (failed) return connect();
                              asio::async_connect(socket_, found, [this](const boost::system::error_code& refused, const tcp::endpoint&) {
                                if (finished_) return;
                                if (refused) return connect();
                                boost::system::error_code ignored;
                                socket_.set_option(tcp::no_delay(true), ignored);
                                socket_.set_option(asio::socket_base::keep_alive(true), ignored);
                                connected_ = true;
                                buffer_.resize(read_bytes);
                                touch();
                                write();
                                read();
                              });
                            });
  }

  void read() {
    socket_.async_read_some(asio::buffer(buffer_), [this](const boost::system::error_code& failed, std::size_t size) {
      if (finished_) return;
      if (failed)
        return finish(
            Error(Code::unreachable, "the connection to the relay broke: what was acknowledged is safe, the rest goes up next time"));
      touch();
      if (Status fed = link_.feed(ByteView(buffer_).first(size)); !fed) {
        write();
        return finish(fed.error());
      }
      after_progress();
      if (!finished_) read();
    });
  }

  void write() {
    if (writing_ || !connected_) return;
    out_ = link_.output();
    if (out_.empty()) {
      if (closing_) finish(std::nullopt);
      return;
    }
    writing_ = true;
    asio::async_write(socket_, asio::buffer(out_), [this](const boost::system::error_code& failed, std::size_t) {
      writing_ = false;
      if (finished_) return;
      if (failed)
        return finish(
            Error(Code::unreachable, "the connection to the relay broke: what was acknowledged is safe, the rest goes up next time"));
      touch();
      write();
    });
  }

  void after_progress() {
    const auto now = std::chrono::steady_clock::now();
    unshown_ = true;
    if (now - shown_ >= progress_every) show_progress();
    if (!options_.watch && link_.done() && !closing_) {
      closing_ = true;
      link_.close();
    }
    write();
    if (link_.ended() && !closing_) finish(std::nullopt);
  }

  void show_progress() {
    shown_ = std::chrono::steady_clock::now();
    if (std::exchange(unshown_, false) && options_.progress) options_.progress(link_.progress());
  }

  void work() {
    if (finished_ || !connected_) return;
    link_.wake();
    after_progress();
  }

  void cancel() {
    if (finished_) return;
    if (options_.watch && connected_) {
      closing_ = true;  // a watch ends by being cancelled: politely
      link_.close();
      return write();
    }
    finish(Error(Code::cancelled, "the sync was cancelled: what was acknowledged is safe"));
  }

  void touch() { touched_ = std::chrono::steady_clock::now(); }

  void arm() {
    timer_.expires_after(1s);
    timer_.async_wait([this](const boost::system::error_code& stopped) {
      if (stopped || finished_) return;
      const auto idle = std::chrono::steady_clock::now() - touched_;
      const auto limit = std::chrono::milliseconds(options_.watch && connected_ ? std::max<std::int64_t>(options_.timeout_ms, 90'000)
                                                                                : options_.timeout_ms);
      if (idle > limit)
        return finish(Error(Code::timeout, "the relay does not answer: try again when the network is better; nothing is lost"));
      link_.tick();
      write();
      show_progress();  // what came too soon after the last one, and nothing came after it
      arm();
    });
  }

  void finish(std::optional<Error> error) {
    if (finished_) return;
    finished_ = true;
    error_ = std::move(error);
    alive_.reset();
    boost::system::error_code ignored;
    timer_.cancel();
    resolver_.cancel();
    socket_.shutdown(tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
  }

  asio::io_context& io_;
  tcp::socket socket_;
  tcp::resolver resolver_;
  asio::steady_timer timer_;
  Link link_;
  SyncOptions options_;
  std::shared_ptr<Pump*> alive_;
  std::vector<std::string> addresses_;
  std::size_t next_address_ = 0;
  Bytes buffer_, out_;
  std::chrono::steady_clock::time_point touched_, shown_;
  bool connected_ = false, writing_ = false, closing_ = false, finished_ = false, unshown_ = false;
  std::optional<Error> error_;
};

// What a first sync wrote stands in the database and in its log: the log's part of the disk is given back.
void give_back_log(Replica& replica) {
  constexpr std::uint64_t pages_kept = 256;
  const auto& core = replica.core();
  const std::lock_guard guard(core->mutex);
  if (!core->locked() && core->database().health().wal_pages > pages_kept) (void)core->database().checkpoint(true);
}

// Every relay that the replica's spaces or its invitations name.
Result<std::vector<RelayAddress>> relays_of(Replica& replica) {
  const auto& core = replica.core();
  const std::lock_guard guard(core->mutex);
  DOORSTEP_TRY(core->require_open());
  std::vector<RelayAddress> out;
  const auto add = [&](const RelayAddress& relay) {
    const auto at = std::find_if(out.begin(), out.end(), [&](const RelayAddress& known) { return known.key == relay.key; });
    if (at == out.end()) out.push_back(relay);
  };
  for (const auto& [id, space] : core->spaces()) {
    if (space.roster)
      for (const auto& relay : space.roster->relays()) add(relay);
    if (!space.invitation.empty())
      if (auto invitation = Invitation::from_uri(space.invitation))
        for (const auto& relay : invitation->relays) add(relay);
  }
  return out;
}

bool joining_anywhere(Replica& replica) {
  const auto& core = replica.core();
  const std::lock_guard guard(core->mutex);
  return std::any_of(core->spaces().begin(), core->spaces().end(), [](const auto& s) { return !s.second.invitation.empty(); });
}

void add_up(SyncReport& total, const SyncReport& part) {
  total.transactions_sent += part.transactions_sent;
  total.transactions_received += part.transactions_received;
  total.transactions_to_send = part.transactions_to_send;
  total.bytes_sent += part.bytes_sent;
  total.bytes_received += part.bytes_received;
  total.level = part.level;
  for (const auto& warning : part.warnings)
    if (std::find(total.warnings.begin(), total.warnings.end(), warning) == total.warnings.end()) total.warnings.push_back(warning);
}

// One relay: first the newcomer's link if there is an invitation, then the member's. An invitation that the relay does not take any
// more was used: by us, if the office admitted us meanwhile.
Result<SyncReport> sync_with(Replica& replica, const RelayAddress& relay, const SyncOptions& options) {
  SyncReport total;
  const std::vector<std::string> addresses = options.proxy.empty() ? relay.addresses : std::vector<std::string>{options.proxy};
  bool as_member = false;
  std::optional<Error> refused;
  for (int round = 0; round < 2; ++round) {
    const bool joining = joining_anywhere(replica) && !as_member;
    auto link = Link::start(replica, relay, as_member);
    if (!link) {
      if (link.code() == Code::not_found && round > 0) return total;
      return link.error();
    }
    SyncOptions round_options = options;
    if (joining) round_options.watch = false;
    asio::io_context io(1);
    auto report = Pump(io, std::move(*link), round_options).run(addresses);
    if (!report && !(joining && report.code() == Code::unauthenticated)) return report.error();
    if (report) add_up(total, *report);
    if (!joining) {
      if (refused && joining_anywhere(replica)) return *refused;  // neither the invitation nor we are known there
      return total;
    }
    as_member = !report;
    if (!report) refused = report.error();
    if (report && joining_anywhere(replica)) return total;
  }
  return total;
}

}  // namespace

Result<SyncReport> sync(Replica& replica, const SyncOptions& options) {
  DOORSTEP_ASSIGN(const auto relays, relays_of(replica));
  if (relays.empty())
    return Error(Code::not_found, "no space of this store names a relay: found one with a relay, or join by an invitation");
  SyncReport total;
  std::optional<Error> failed;
  std::size_t reached = 0;
  for (const auto& relay : relays) {
    auto report = sync_with(replica, relay, options);
    if (report) {
      ++reached;
      add_up(total, *report);
    } else if (report.code() == Code::cancelled) {
      return report.error();
    } else {
      failed = report.error();
    }
  }
  if (reached == 0 && failed) return *failed;
  if (failed) total.warnings.push_back(failed->message());
  give_back_log(replica);
  return total;
}

struct SyncService::State {
  SyncOptions options;
  CancelToken cancel;
  mutable std::mutex mutex;
  SyncProgress progress;
  std::string problem;
  std::thread thread;
};

SyncService::SyncService(Replica& replica, SyncOptions options) : state_(std::make_unique<State>()) {
  state_->options = std::move(options);
  state_->options.watch = true;
  state_->options.cancel = &state_->cancel;
  state_->options.progress = [state = state_.get(), shown = state_->options.progress](const SyncProgress& progress) {
    {
      const std::lock_guard guard(state->mutex);
      state->progress = progress;
      state->problem.clear();
    }
    if (shown) shown(progress);
  };
  state_->thread = std::thread([state = state_.get(), &replica] {
    std::chrono::milliseconds wait{500};
    constexpr std::chrono::milliseconds wait_max{60'000};
    while (!state->cancel.cancelled()) {
      const auto began = std::chrono::steady_clock::now();
      const auto report = sync(replica, state->options);
      {
        const std::lock_guard guard(state->mutex);
        state->problem = report ? std::string() : report.error().message();
      }
      if (std::chrono::steady_clock::now() - began > wait_max) wait = std::chrono::milliseconds{500};
      // Waits for the next try, or for being cancelled.
      asio::io_context io(1);
      asio::steady_timer timer(io, wait);
      timer.async_wait([](const boost::system::error_code&) {});
      {
        const auto& token = state->cancel.state();
        const std::lock_guard guard(token->mutex);
        if (token->cancelled) break;
        token->callback = [&io] { io.stop(); };
      }
      io.run();
      const std::lock_guard guard(state->cancel.state()->mutex);
      state->cancel.state()->callback = {};
      wait = std::min(wait * 2, wait_max);
    }
  });
}

SyncService::~SyncService() {
  state_->cancel.cancel();
  if (state_->thread.joinable()) state_->thread.join();
}

SyncProgress SyncService::progress() const {
  const std::lock_guard guard(state_->mutex);
  return state_->progress;
}
std::string SyncService::problem() const {
  const std::lock_guard guard(state_->mutex);
  return state_->problem;
}

}  // namespace doorstep
