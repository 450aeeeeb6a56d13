// What an operator writes: the relay's configuration, line by line as read_config() hands it on, and the address in it. A value that was
// taken reads back as itself; one that was not leaves the configuration as it was.
#include "server/config.hpp"

#include <cstring>
#include <sstream>

#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;

bool same(const relay::Config& a, const relay::Config& b) {
  return a.listen == b.listen && a.log_level == b.log_level &&
         std::memcmp(&a.connections_max, &b.connections_max, sizeof a - offsetof(relay::Config, connections_max)) == 0;
}

void address(const std::string& text, Verdict& verdict) {
  const auto parsed = relay::parse_host_port(text);
  verdict.note(parsed.code());
  if (!parsed) return require(!parsed.error().message().empty());
  require(!parsed->host.empty());
  const bool bracketed = parsed->host.find(':') != std::string::npos || parsed->host.front() == '[';
  const auto host = bracketed ? "[" + parsed->host + "]" : parsed->host;
  const auto again = relay::parse_host_port(host + ":" + std::to_string(parsed->port));
  require(again.ok() && again->host == parsed->host && again->port == parsed->port);
}

void run(ByteView input, Verdict& verdict) {
  const std::string text(text_view(input));
  address(text, verdict);
  relay::Config config;
  std::istringstream lines(text);
  const auto read = relay::read_config(lines, "relay.conf", config);
  verdict.note(read);
  if (!read.ok()) require(read.error().message().starts_with("relay.conf, line "));
  require(config.connections_max >= 1 && config.memory_bytes_max >= 16u << 20);
  require(relay::parse_host_port(config.listen).ok());
  relay::Config before = config;
  const auto at = text.find('=');
  if (at == std::string::npos) return;
  const auto set = relay::set_config(config, text.substr(0, at), text.substr(at + 1));
  verdict.note(set);
  if (!set.ok()) require(same(config, before));
}

std::vector<Seed> seeds() {
  const auto bytes = [](std::string_view text) { return to_bytes(view(text)); };
  return {{"file", bytes("# the relay of the township\nlisten = 0.0.0.0:7340\nlog_level=debug # for a day\n\nconnections_max = 5000\n"
                         "space_bytes_max=0\nmemory_bytes_max = 536870912\n")},
          {"address", bytes("[::1]:7340")},
          {"setting", bytes("idle_ms=90000")},
          {"host", bytes("relay.example.org:65535")}};
}

const Registration registration({"config", run, seeds});

}  // namespace
