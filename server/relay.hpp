// Relay: the whole of it, as an object: one network thread, one disk thread, one store. main.cpp runs one; tests hold several.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "server/config.hpp"
#include "server/store/log_store.hpp"

namespace doorstep::relay {

class Relay {
 public:
  struct Options {
    Config config;
    bool handle_signals = false;  ///< SIGTERM and SIGINT stop it, the second one at once.
    Clock* clock = nullptr;       ///< null: the system's. Must outlive the relay.
  };
  /// Loads and checks what the store holds, listens, and serves on threads of its own.
  static Result<std::unique_ptr<Relay>> start(std::unique_ptr<LogStore> store, Options options);
  ~Relay();  ///< stop()

  std::uint16_t port() const;
  const TransportPublicKey& transport_key() const;
  const StoreId& store_id() const;
  const DeviceId& receipt_key() const;

  /// Stops accepting, says goodbye, writes out what is on its way (config.drain_ms at most), checkpoints. Returns when all is done.
  void stop();
  /// The second signal: closes everything now. What was acknowledged is safe either way.
  void stop_now();
  /// Until it has stopped. The error that made it stop, if it was one (the disk).
  Status wait();

  struct Counts {
    std::uint64_t authenticated = 0, unauthenticated = 0, memory_bytes = 0, batches = 0, segments = 0, segment_bytes = 0;
  };
  Counts counts();

 private:
  class Body;
  explicit Relay(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

}  // namespace doorstep::relay
