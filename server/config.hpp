// What an operator may set: a file of `key = value` lines (# begins a comment), which the command line overrides. Every queue, count
// and deadline of the relay stands here, with its default.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "sync/result.hpp"

namespace doorstep::relay {

struct Config {
  std::string listen = "0.0.0.0:7340";
  std::string log_level = "info";  ///< debug, info, warn, error

  std::uint64_t connections_max = 1000;         ///< Authenticated.
  std::uint64_t sessions_per_key_max = 4;       ///< One more, and its oldest goes: a phone comes back before the relay knows that it left.
  std::uint64_t unauthenticated_max = 256;      ///< One more, and whoever came first goes.
  std::uint64_t strangers_max = 16;             ///< Devices that no roster here knows; they may hand in a roster. One more, and one goes.
  std::uint64_t stranger_bytes_max = 8u << 20;  ///< Of rosters that one of them may hand in.
  std::uint64_t out_queue_bytes_max = 512u << 10;   ///< Of one connection; above it nothing is read from it or loaded for it.
  std::uint64_t worker_queue_bytes_max = 8u << 20;  ///< Waiting to be written; above it nobody is read from.
  std::uint64_t memory_bytes_max =
      512u << 20;                         ///< Of all queues and buffers; above 90 % nobody new is let in, and whoever holds most goes.
  std::uint64_t space_bytes_max = 0;      ///< Quota of segments of a space; 0: none.
  std::uint64_t authority_bytes_max = 0;  ///< Quota of segments of all spaces of an authority; 0: none.

  std::uint64_t handshake_ms = 15'000;
  std::uint64_t stranger_ms = 60'000;       ///< Until it has handed in a roster that makes it a member.
  std::uint64_t progress_ms = 30'000;       ///< A message that has begun may take this long,
  std::uint64_t progress_bytes_per_s = 64;  ///< and longer if it comes at this rate.
  std::uint64_t ping_ms = 30'000;           ///< Of silence, then we ask whether anybody is there.
  std::uint64_t idle_ms = 90'000;           ///< Of silence, then we close.
  std::uint64_t write_stall_ms = 60'000;
  std::uint64_t session_ms = 12u * 3600 * 1000;
  std::uint64_t drain_ms = 10'000;  ///< For what is on its way when the relay stops.
};

/// Reads a file into `config`. Code::invalid_argument names the line and what is wrong with it.
Status read_config(const std::string& path, Config& config);
/// The same from a stream; `name` is what the messages call it.
Status read_config(std::istream& in, const std::string& name, Config& config);
/// One setting; Code::invalid_argument for an unknown key or a value out of range.
Status set_config(Config& config, const std::string& key, const std::string& value);

/// "host:port", "[v6]:port".
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
Result<HostPort> parse_host_port(const std::string& text);

}  // namespace doorstep::relay
