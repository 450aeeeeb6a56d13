#include "server/relay.hpp"

#include <spdlog/spdlog.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <future>
#include <mutex>

#include "server/listener.hpp"

namespace doorstep::relay {

namespace asio = boost::asio;

namespace {

class SystemClock final : public Clock {
 public:
  std::int64_t wall_ms() override { return since(std::chrono::system_clock::now()); }
  std::int64_t steady_ms() override { return since(std::chrono::steady_clock::now()); }

 private:
  template <class Point>
  static std::int64_t since(Point point) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(point.time_since_epoch()).count();
  }
};

}  // namespace

class Relay::Body {
 public:
  Body(std::unique_ptr<LogStore> store, Options options)
      : options_(std::move(options)),
        config_(options_.config),
        store_(std::move(store)),
        context_(1),
        signals_(context_),
        drain_(context_) {}

  Status start() {
    DOORSTEP_ASSIGN(identity_, store_->identity());
    ledger_.emplace(*store_, Quotas{config_.space_bytes_max, config_.authority_bytes_max});
    DOORSTEP_TRY(ledger_->load());
    hub_.emplace(config_, [this](Job job) { worker_->submit(std::move(job)); });
    for (const auto& space : ledger_->spaces()) {
      hub_->set_roster(space, ledger_->roster(space));
      hub_->set_heads(space, ledger_->heads(space));
    }
    Worker::Seams seams;
    seams.on_answers = [this](std::vector<Answer> answers, std::size_t bytes) {
      asio::post(context_, [this, answers = std::move(answers), bytes]() mutable { hub_->on_answers(std::move(answers), bytes); });
    };
    seams.on_broken = [this](const Error& error) {
      spdlog::critical("event=store_broken code={} why=\"{}\"", code_name(error.code()), error.message());
      asio::post(context_, [this, error] {
        failed_ = error;
        begin_stop();
      });
    };
    worker_.emplace(*store_, *ledger_, identity_.store, identity_.receipts.secret_key, std::move(seams));
    connections_.reset(new Connections{{config_, *hub_, options_.clock ? *options_.clock : system_clock_, random_, identity_}});
    listener_ = std::make_shared<Listener>(context_, *connections_);
    DOORSTEP_ASSIGN(const auto at, parse_host_port(config_.listen));
    DOORSTEP_TRY(listener_->listen(at));
    if (options_.handle_signals) wait_for_signals();
    listener_->start();
    worker_->start();
    thread_ = std::thread([this] { run(); });
    return {};
  }

  // The network thread. The worker's last answers still need the context, so it ends first.
  void run() {
    const auto work = asio::make_work_guard(context_);
    for (;;) {
      try {
        context_.run();
        break;
      } catch (const std::exception& e) {  // a handler of ours threw: a defect, but no reason to leave everybody
        spdlog::error("event=handler_failed what=\"{}\"", e.what());
      }
    }
  }

  // On the network thread, once or again.
  void begin_stop() {
    if (stopping_) return;
    stopping_ = true;
    spdlog::info("event=stopping connections={}", connections_->open.size());
    listener_->stop();
    // A connection may go while we walk: hold each.
    for (const auto& connection : held()) connection->drain();
    drain_until_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(config_.drain_ms);
    poll_drained();
  }
  void abort_all() {
    begin_stop();
    drain_until_ = std::chrono::steady_clock::now();
    poll_drained();
  }
  void poll_drained() {
    if (ended_) return;
    if (!connections_->open.empty() && std::chrono::steady_clock::now() < drain_until_) {
      drain_.expires_after(std::chrono::milliseconds(10));
      drain_.async_wait([this](boost::system::error_code) { poll_drained(); });
      return;
    }
    for (const auto& connection : held()) connection->abort();
    ended_ = true;
    boost::system::error_code ignored;
    signals_.cancel(ignored);
    drain_.cancel();
    done_.set_value();
  }

  std::vector<std::shared_ptr<Connection>> held() {
    std::vector<std::shared_ptr<Connection>> out;
    for (auto* connection : connections_->open)
      if (auto alive = connection->weak_from_this().lock()) out.push_back(std::move(alive));
    return out;
  }

  void wait_for_signals() {
    boost::system::error_code failed;
    signals_.add(SIGTERM, failed);
    signals_.add(SIGINT, failed);
    std::signal(SIGPIPE, SIG_IGN);
    signals_.async_wait([this](boost::system::error_code gone, int) {
      if (gone) return;
      begin_stop();
      signals_.async_wait([this](boost::system::error_code gone_too, int) {
        if (!gone_too) abort_all();
      });
    });
  }

  // Any thread but the network's.
  void post_stop(bool now) {
    asio::post(context_, [this, now] { now ? abort_all() : begin_stop(); });
  }
  Status wait() {
    const std::lock_guard lock(wait_mutex_);
    if (!joined_) {
      done_.get_future().wait();
      // Connections are closed; their coroutines end as the context runs on. The worker finishes and checkpoints.
      worker_->stop();
      asio::post(context_, [this] { finish(); });
      thread_.join();
      joined_ = true;
      connections_.reset();
      spdlog::info("event=stopped");
    }
    if (failed_) return *failed_;
    return {};
  }
  // Runs what is left until every coroutine has gone: they hold the connections.
  void finish() {
    if (connections_->open.empty() && listener_.use_count() == 1) {
      context_.stop();
      return;
    }
    asio::post(context_, [this] { finish(); });
  }

  Options options_;
  Config config_;
  SystemClock system_clock_;
  SystemRandom random_;
  std::unique_ptr<LogStore> store_;
  StoreIdentity identity_;
  std::optional<Ledger> ledger_;
  std::optional<Worker> worker_;
  std::optional<Hub> hub_;
  std::unique_ptr<Connections> connections_;
  asio::io_context context_;
  asio::signal_set signals_;
  asio::steady_timer drain_;
  std::shared_ptr<Listener> listener_;
  std::thread thread_;
  std::promise<void> done_;
  std::mutex wait_mutex_;
  std::chrono::steady_clock::time_point drain_until_;
  std::optional<Error> failed_;
  bool stopping_ = false, ended_ = false, joined_ = false;
};

Relay::Relay(std::unique_ptr<Body> body) : body_(std::move(body)) {}

Result<std::unique_ptr<Relay>> Relay::start(std::unique_ptr<LogStore> store, Options options) {
  auto body = std::make_unique<Body>(std::move(store), std::move(options));
  DOORSTEP_TRY(body->start());
  return std::unique_ptr<Relay>(new Relay(std::move(body)));
}

Relay::~Relay() { stop(); }

std::uint16_t Relay::port() const { return body_->listener_->port(); }
const TransportPublicKey& Relay::transport_key() const { return body_->identity_.transport.public_key; }
const StoreId& Relay::store_id() const { return body_->identity_.store; }
const DeviceId& Relay::receipt_key() const { return body_->identity_.receipts.public_key; }

void Relay::stop() {
  body_->post_stop(false);
  (void)body_->wait();
}
void Relay::stop_now() {
  body_->post_stop(true);
  (void)body_->wait();
}
Status Relay::wait() { return body_->wait(); }

Relay::Counts Relay::counts() {
  Counts out;
  const auto worker = body_->worker_->counts();
  out.batches = worker.batches;
  out.segments = worker.segments;
  out.segment_bytes = worker.segment_bytes;
  std::promise<void> read;
  asio::post(body_->context_, [&] {
    out.authenticated = body_->hub_->peers();
    out.unauthenticated = body_->hub_->at_the_door();
    out.memory_bytes = body_->hub_->memory_bytes();
    read.set_value();
  });
  read.get_future().wait();
  return out;
}

}  // namespace doorstep::relay
