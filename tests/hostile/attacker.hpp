// What attackers are made of: plain sockets, a member of a space that says what it likes, and a swarm of connections.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "sync/channel.hpp"
#include "tests/server/village.hpp"

namespace doorstep::hostile {

struct Target {
  std::uint16_t port = 0;
  TransportPublicKey key;
};

/// One connection, blocking, with a deadline for everything.
class Socket {
 public:
  explicit Socket(const Target& target, int receive_buffer_bytes = 0);
  ~Socket();
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int fd() const { return fd_; }
  /// False if the peer has ended the connection, or did not take it in ten seconds.
  bool send(ByteView bytes) const;
  /// What can be sent without waiting.
  std::size_t send_some(ByteView bytes) const;
  /// At least one byte; empty at the end, or after the deadline.
  Bytes receive(std::size_t bytes_max = 65536, int deadline_ms = 10'000) const;
  /// The peer ends the connection within the deadline.
  bool ends(int deadline_ms) const;
  /// The end will be a reset.
  void reset_at_end() const;

 private:
  int fd_ = -1;
};

/// How the relay took what was said: it still answers, it has ended the connection, or neither, which it must not.
enum class Verdict : std::uint8_t { answers, ended, silent };

/// A connection that proves a key, and then is free to say anything.
class Member {
 public:
  Member(const Target& target, const TransportKeyPair& own, int receive_buffer_bytes = 0);
  bool shake_hands();
  /// One message, sealed and sent.
  bool say(ByteView message);
  /// One message sealed, for the caller to send as he likes.
  Bytes seal(ByteView message);
  /// Says it so many times, without waiting; the bytes that were taken. The rest is left for the next call.
  std::size_t flood(ByteView message, std::size_t times);
  /// Asks whether the relay still listens.
  Verdict ask();
  /// Everything that comes within the deadline, without an answer; how many bytes. Ends early at `enough`, or when it is cut.
  std::size_t listen(int deadline_ms, std::size_t enough = SIZE_MAX);
  Socket& socket() { return socket_; }
  /// Messages that came since the last call, but pongs.
  std::vector<Bytes> heard() { return std::exchange(heard_, {}); }

 private:
  bool pump(int deadline_ms);

  Socket socket_;
  Channel channel_;
  std::vector<Bytes> heard_;
  std::size_t received_ = 0, pongs_ = 0, pings_ = 0;
  Bytes left_;  // of a flood
};

/// Many connections, which do not wait.
class Swarm {
 public:
  explicit Swarm(const Target& target);
  ~Swarm();
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;

  /// Begins so many more, from as many addresses of the loopback as it takes.
  void open(std::size_t count);
  /// To each that stands.
  void send(ByteView bytes);
  /// Takes what comes for so long, and notices who has been ended.
  void listen(int ms);
  /// Closes all; `reset`: without a goodbye.
  void close(bool reset = false);
  std::size_t standing() const { return standing_; }
  std::size_t opened() const { return opened_; }
  std::uint64_t bytes_sent() const { return bytes_sent_; }

 private:
  void drop(std::size_t index);

  const Target target_;
  int epoll_ = -1;
  std::vector<int> sockets_;  // -1: ended
  std::size_t standing_ = 0, opened_ = 0;
  std::uint64_t bytes_sent_ = 0;
};

/// A copy that differs, in one of the ways in which decoders go wrong.
Bytes mutated(ByteView bytes, std::mt19937_64& dice);

}  // namespace doorstep::hostile
