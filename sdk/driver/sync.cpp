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
#include <map>
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
  // Called under the lock: who takes the callback away again knows then that nobody is in it. It only posts or stops.
  const std::lock_guard guard(state_->mutex);
  state_->cancelled = true;
  if (state_->callback) state_->callback();
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
  Pump(Link link, const SyncOptions& options)
      : io_(std::make_shared<asio::io_context>(1)),
        socket_(*io_),
        resolver_(*io_),
        timer_(*io_),
        link_(std::move(link)),
        options_(options) {}

  Result<SyncReport> run(const std::vector<std::string>& addresses) {
    alive_ = std::make_shared<Pump*>(this);
    if (options_.cancel) {
      const auto& state = options_.cancel->state();
      const std::lock_guard guard(state->mutex);
      if (state->cancelled) return Error(Code::cancelled, "the sync was cancelled");
      state->callback = [io = io_, weak = std::weak_ptr<Pump*>(alive_)] {
        asio::post(*io, [weak] {
          if (const auto self = weak.lock()) (*self)->cancel();
        });
      };
    }
    // A commit may call while we end: what it posts to is its own too.
    link_.on_work([io = io_, weak = std::weak_ptr<Pump*>(alive_)] {
      asio::post(*io, [weak] {
        if (const auto self = weak.lock()) (*self)->work();
      });
    });
    addresses_ = addresses;
    touched_ = std::chrono::steady_clock::now();
    arm();
    connect();
    io_->run();
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
    end_if_outdated();
  }

  void end_if_outdated() {
    if (!options_.watch || finished_ || closing_ || !link_.outdated()) return;
    closing_ = true;
    link_.close();
    write();
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
      end_if_outdated();
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

  const std::shared_ptr<asio::io_context> io_;
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

// What a first sync wrote stands in the database and in its log, and what it sealed is pending no more: that part of the disk is
// given back.
void give_back_disk(Replica& replica) {
  constexpr std::int64_t pages_kept = 256;
  const auto& core = replica.core();
  const std::lock_guard guard(core->mutex);
  if (core->locked()) return;
  const auto free_pages = core->database().query_int("PRAGMA freelist_count");
  if (free_pages && *free_pages > pages_kept) (void)core->database().shrink(static_cast<int>(*free_pages - pages_kept / 2));
  if (core->database().health().wal_pages > static_cast<std::uint64_t>(pages_kept)) (void)core->database().checkpoint(true);
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
    for (const auto& relay : space.relays()) add(relay);
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
  auto as = Link::As::newcomer_first;
  std::optional<Error> refused;
  for (int round = 0; round < 2; ++round) {
    const bool joining = joining_anywhere(replica) && as == Link::As::newcomer_first;
    auto link = Link::start(replica, relay, as);
    if (!link) {
      if (link.code() == Code::not_found && round > 0) return total;
      return link.error();
    }
    SyncOptions round_options = options;
    if (joining) round_options.watch = false;
    auto report = Pump(std::move(*link), round_options).run(addresses);
    if (!report && !(joining && report.code() == Code::unauthenticated)) return report.error();
    if (report) add_up(total, *report);
    if (!joining) {
      if (refused && joining_anywhere(replica)) return *refused;  // neither the invitation nor we are known there
      return total;
    }
    // The spaces that we are a member of do not wait for the one that we are not.
    as = report ? Link::As::member : Link::As::claimant;
    if (!report) refused = report.error();
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
  give_back_disk(replica);
  return total;
}

// ---- SyncService: a thread for each relay, and one that looks which there are

namespace {

// Waits for `time`, or until cancelled.
void wait_for(const CancelToken& cancel, std::chrono::milliseconds time) {
  asio::io_context io(1);
  asio::steady_timer timer(io, time);
  timer.async_wait([](const boost::system::error_code&) {});
  const auto& token = cancel.state();
  {
    const std::lock_guard guard(token->mutex);
    if (token->cancelled) return;
    token->callback = [&io] { io.stop(); };
  }
  io.run();
  const std::lock_guard guard(token->mutex);
  token->callback = {};
}

}  // namespace

struct SyncService::State {
  State(Replica& of, SyncOptions with) : replica(of), options(std::move(with)) {}

  struct Worker {
    TransportPublicKey relay;
    CancelToken cancel;
    std::thread thread;
    SyncProgress progress;
    std::string problem;
  };

  void look_after_workers();
  void start_worker(const TransportPublicKey& relay);
  void work(Worker& worker);
  SyncProgress sum() const;  // under `mutex`

  Replica& replica;
  SyncOptions options;
  CancelToken cancel;
  std::thread thread;
  mutable std::mutex mutex;
  std::mutex shown;  // one call of options.progress at a time
  std::map<TransportPublicKey, std::unique_ptr<Worker>> workers;
  std::string problem;  // of having no relay at all
};

void SyncService::State::look_after_workers() {
  constexpr std::chrono::milliseconds look_again{1000};
  while (!cancel.cancelled()) {
    const auto relays = relays_of(replica);
    {
      const std::lock_guard guard(mutex);
      problem = relays ? std::string() : relays.error().message();
      if (relays)
        for (const auto& relay : *relays)
          if (!workers.contains(relay.key)) start_worker(relay.key);
    }
    wait_for(cancel, look_again);
  }
  for (auto& [key, worker] : workers) worker->cancel.cancel();
  for (auto& [key, worker] : workers) worker->thread.join();
}

void SyncService::State::start_worker(const TransportPublicKey& relay) {
  auto& worker = workers[relay] = std::make_unique<Worker>();
  worker->relay = relay;
  worker->thread = std::thread([this, at = worker.get()] { work(*at); });
}

void SyncService::State::work(Worker& worker) {
  constexpr std::chrono::milliseconds wait_min{500}, wait_max{60'000}, went_well{5000};
  SyncOptions mine = options;
  mine.watch = true;
  mine.cancel = &worker.cancel;
  mine.progress = [this, &worker](const SyncProgress& progress) {
    const std::lock_guard one_call(shown);
    SyncProgress all;
    {
      const std::lock_guard guard(mutex);
      worker.progress = progress;
      worker.problem.clear();
      all = sum();
    }
    if (options.progress) options.progress(all);
  };
  auto wait = wait_min;
  while (!worker.cancel.cancelled()) {
    const auto began = std::chrono::steady_clock::now();
    // Its addresses may have changed; a relay that nothing names any more is left alone until something does.
    const auto relays = relays_of(replica);
    const auto at = relays ? std::find_if(relays->begin(), relays->end(), [&](const auto& r) { return r.key == worker.relay; })
                           : std::vector<RelayAddress>::const_iterator();
    const bool named = relays && at != relays->end();
    const auto report = named ? sync_with(replica, *at, mine) : Result<SyncReport>(SyncReport{});
    {
      const std::lock_guard guard(mutex);
      worker.problem = report ? std::string() : report.error().message();
    }
    if (std::chrono::steady_clock::now() - began > went_well) wait = wait_min;
    wait_for(worker.cancel, wait);
    wait = std::min(wait * 2, wait_max);
  }
}

SyncProgress SyncService::State::sum() const {
  SyncProgress all;
  all.level = !workers.empty();
  for (const auto& [key, worker] : workers) {
    const auto& one = worker->progress;
    all.transactions_sent += one.transactions_sent;
    all.transactions_received += one.transactions_received;
    all.transactions_to_send = std::max(all.transactions_to_send, one.transactions_to_send);
    all.bytes_sent += one.bytes_sent;
    all.bytes_received += one.bytes_received;
    all.level = all.level && one.level;
  }
  return all;
}

SyncService::SyncService(Replica& replica, SyncOptions options) : state_(std::make_unique<State>(replica, std::move(options))) {
  state_->thread = std::thread([state = state_.get()] { state->look_after_workers(); });
}

SyncService::~SyncService() {
  state_->cancel.cancel();
  if (state_->thread.joinable()) state_->thread.join();
}

SyncProgress SyncService::progress() const {
  const std::lock_guard guard(state_->mutex);
  return state_->sum();
}
std::string SyncService::problem() const {
  const std::lock_guard guard(state_->mutex);
  for (const auto& [key, worker] : state_->workers)
    if (!worker->problem.empty()) return worker->problem;
  return state_->problem;
}

}  // namespace doorstep
