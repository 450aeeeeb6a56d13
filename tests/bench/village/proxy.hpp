// A TCP proxy that counts payload bytes of both directions and, if asked, keeps them.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace doorstep::bench {

struct Wire {
  std::uint64_t up = 0, down = 0;
  std::uint64_t all() const { return up + down; }
  Wire operator-(const Wire& other) const { return {up - other.up, down - other.down}; }
};

class Proxy {
 public:
  /// Listens on a free port of 127.0.0.1 and connects each caller to `target`.
  Proxy(int target, bool keep);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  Wire wire() const { return {up_.load(), down_.load()}; }
  /// Everything that passed, if kept.
  std::string traffic();

 private:
  void accept_all();
  // One thread a direction: a side that does not read holds up its own direction and no other.
  void pump(int from, int to, std::atomic<std::uint64_t>& count);

  int target_, port_ = 0, listener_ = -1;
  bool keep_;
  std::atomic<std::uint64_t> up_{0}, down_{0};
  std::mutex mutex_;
  std::string traffic_;
  std::list<int> sockets_;
  std::vector<std::thread> pumps_;
  std::thread acceptor_;
};

}  // namespace doorstep::bench
