// doorstep-wiretap: sits between a device and the relay, forwards, counts, and records every byte of both directions, so that a
// test can look for what must not be there. Also the counting proxy of the benchmarks.
//   doorstep-wiretap --listen PORT --to HOST:PORT [--record FILE]        port 0: any; the port is printed as the first line
// SIGUSR1 prints the counts so far as JSON and starts counting anew; SIGTERM and SIGINT print them and end.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

struct Counts {
  std::uint64_t up = 0, down = 0, connections = 0;
};

/// One direction of a connection: at most one buffer on its way, so a slow reader slows the writer as it would without us.
struct Pipe {
  int from = -1, to = -1;
  bool ended = false;  ///< `from` has no more, and `to` was told.
  std::size_t begin = 0, end = 0;
  std::array<char, 65536> buffer{};

  short wants(int file) const {
    if (ended) return 0;
    return file == from && begin == end ? POLLIN : file == to && begin != end ? POLLOUT : 0;
  }
  /// False if the connection is broken.
  bool step(std::uint64_t& count, std::FILE* record) {
    if (ended) return true;
    if (begin == end) {
      const ssize_t got = recv(from, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got < 0) return errno == EAGAIN || errno == EINTR;
      if (got == 0) return ended = true, shutdown(to, SHUT_WR), true;
      begin = 0, end = static_cast<std::size_t>(got), count += end;
      if (record) std::fwrite(buffer.data(), 1, end, record);
    }
    const ssize_t sent = send(to, buffer.data() + begin, end - begin, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    begin += static_cast<std::size_t>(sent);
    return true;
  }
};

struct Connection {
  Pipe up, down;
  ~Connection() { close(up.from), close(up.to); }
};

int dial(const std::string& address) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos) return -1;
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(address.substr(0, colon).c_str(), address.substr(colon + 1).c_str(), &hints, &found) != 0) return -1;
  int file = -1;
  for (const addrinfo* at = found; at && file < 0; at = at->ai_next) {
    file = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (file >= 0 && connect(file, at->ai_addr, at->ai_addrlen) != 0) close(file), file = -1;
  }
  freeaddrinfo(found);
  return file;
}

int listen_on(int port, int& chosen) {
  const int file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (bind(file, any, size) != 0 || listen(file, 256) != 0 || getsockname(file, any, &size) != 0) return -1;
  chosen = ntohs(address.sin_port);
  return file;
}

void print(const Counts& counts) {
  std::printf("{\"up\":%llu,\"down\":%llu,\"connections\":%llu}\n", static_cast<unsigned long long>(counts.up),
              static_cast<unsigned long long>(counts.down), static_cast<unsigned long long>(counts.connections));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::string to, record_name;
  int port = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--listen") == 0) port = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--to") == 0) to = argv[i + 1];
    if (std::strcmp(argv[i], "--record") == 0) record_name = argv[i + 1];
  }
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const int told = signalfd(-1, &signals, SFD_CLOEXEC);
  int chosen = 0;
  const int listener = listen_on(port, chosen);
  std::FILE* record = record_name.empty() ? nullptr : std::fopen(record_name.c_str(), "ab");
  if (to.empty() || listener < 0 || (!record_name.empty() && !record)) {
    std::fprintf(stderr, "doorstep-wiretap --listen PORT --to HOST:PORT [--record FILE]\n");
    return 2;
  }
  std::printf("%d\n", chosen);
  std::fflush(stdout);

  Counts counts;
  std::vector<std::unique_ptr<Connection>> connections;
  for (;;) {
    std::vector<pollfd> files = {{told, POLLIN, 0}, {listener, POLLIN, 0}};
    for (const auto& each : connections)
      for (const int file : {each->up.from, each->up.to})
        files.push_back({file, static_cast<short>(each->up.wants(file) | each->down.wants(file)), 0});
    if (poll(files.data(), files.size(), -1) < 0 && errno != EINTR) return 1;
    for (auto& each : connections)
      if (!each->up.step(counts.up, record) || !each->down.step(counts.down, record) || (each->up.ended && each->down.ended)) each.reset();
    std::erase(connections, nullptr);
    if (files[0].revents) {
      signalfd_siginfo info{};
      if (record) std::fflush(record);
      if (read(told, &info, sizeof info) > 0) print(counts);
      if (info.ssi_signo != SIGUSR1) return record && std::fclose(record) != 0;
      counts = {};
    }
    if (files[1].revents) {
      const int client = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      const int server = client < 0 ? -1 : dial(to);
      if (server < 0) {
        if (client >= 0) close(client);  // what a device sees when the relay is down
        continue;
      }
      const int one = 1;
      for (const int file : {client, server}) setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      auto made = std::make_unique<Connection>();
      made->up.from = made->down.to = client;
      made->up.to = made->down.from = server;
      connections.push_back(std::move(made));
      ++counts.connections;
    }
  }
}
