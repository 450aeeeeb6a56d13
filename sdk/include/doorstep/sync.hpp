// Talking to a relay. Two layers:
//   Link   one connection as a state machine: bytes in, bytes out, no socket; for an app with a transport of its own
//          (a browser's WebSocket, Bluetooth) and for tests.
//   sync(), SyncService   the same over TCP with Boost.Asio.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "doorstep/replica.hpp"

namespace doorstep {

struct SyncProgress {
  std::size_t transactions_sent = 0;      ///< Acknowledged by the relay with a receipt.
  std::size_t transactions_received = 0;  ///< Merged and durable here.
  std::size_t transactions_to_send = 0;   ///< Still without a receipt.
  std::uint64_t bytes_sent = 0;           ///< On the socket, all included.
  std::uint64_t bytes_received = 0;
  bool level = false;  ///< Both sides hold the same.
};

struct SyncReport : SyncProgress {
  std::vector<std::string> warnings;  ///< What a person should know: "waits for admission", a clock years off, a fork.
};

/// One connection to one relay.
class Link {
 public:
  enum class As : std::uint8_t {
    newcomer_first,  ///< While an invitation is open, carries that: hands in the request to be admitted and does nothing else.
    member,          ///< For the spaces that we are a member of.
    claimant,        ///< And for those that wait: the invitation may have been used (the relay refuses it with Code::unauthenticated).
  };
  /// For every space of the replica that names this relay. Code::not_found: there is none.
  static Result<Link> start(Replica& replica, const RelayAddress& relay, As as = As::newcomer_first);
  Link(Link&&) noexcept;
  Link& operator=(Link&&) noexcept;
  ~Link();

  /// Bytes from the relay. An error has ended the link; write output() once more, then close.
  Status feed(ByteView bytes);
  /// Bytes for the relay; empty if there are none.
  Bytes output();
  /// Call about once a second.
  void tick();
  /// Picks up what was committed since (SyncService does it by itself); then take output().
  void wake();
  /// Is called, from any thread, when wake() is worth calling.
  void on_work(std::function<void()> callback);
  /// Says goodbye; then take output().
  void close();
  bool ended() const;
  /// The replica has a space by now that this link does not carry, or it is time to ask again for admission: close it, start another.
  bool outdated() const;
  /// A joining device that handed in its request and now only waits; or everything is level.
  bool done() const;
  SyncProgress progress() const;
  SyncReport report() const;

  class Body;  ///< Internal.
  explicit Link(std::unique_ptr<Body> body);

 private:
  std::unique_ptr<Body> body_;
};

/// Cancels a running sync() from another thread. One token for one sync() at a time.
class CancelToken {
 public:
  CancelToken();
  ~CancelToken();
  CancelToken(const CancelToken&) = delete;
  CancelToken& operator=(const CancelToken&) = delete;
  void cancel();
  bool cancelled() const;

  struct State;
  const std::shared_ptr<State>& state() const { return state_; }  ///< Internal.

 private:
  std::shared_ptr<State> state_;
};

struct SyncOptions {
  bool watch = false;                                      ///< Stay connected and live until cancelled or cut off.
  std::int64_t timeout_ms = 30'000;                        ///< Without progress.
  std::function<void(const SyncProgress&)> progress = {};  ///< At most ten times a second, on the syncing thread.
  CancelToken* cancel = nullptr;
  std::string proxy = {};  ///< "host:port" to connect to instead of the relay's addresses (tests, measurements).
};

/// Syncs with every relay that the replica's spaces name, until level. Blocks; call it on a thread of your own.
/// Code::unreachable, timeout, cancelled, unauthenticated; what was written stays where it was.
Result<SyncReport> sync(Replica& replica, const SyncOptions& options = {});

/// Keeps a replica in sync with every relay that its spaces name, also with those that come to be named, until destroyed. Connects
/// again by itself. One thread a relay, and one that looks after them; options.progress is called on theirs, one call at a time.
class SyncService {
 public:
  SyncService(Replica& replica, SyncOptions options);
  ~SyncService();
  SyncService(const SyncService&) = delete;
  SyncService& operator=(const SyncService&) = delete;
  SyncProgress progress() const;
  /// Empty while connected; else why not.
  std::string problem() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace doorstep
