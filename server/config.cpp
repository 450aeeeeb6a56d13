#include "server/config.hpp"

#include <array>
#include <charconv>
#include <fstream>
#include <istream>
#include <string_view>

namespace doorstep::relay {

namespace {

struct Setting {
  std::string_view key;
  std::uint64_t Config::*value;
  std::uint64_t min;
};
constexpr std::array settings = {
    Setting{"connections_max", &Config::connections_max, 1},
    Setting{"sessions_per_key_max", &Config::sessions_per_key_max, 1},
    Setting{"unauthenticated_max", &Config::unauthenticated_max, 1},
    Setting{"strangers_max", &Config::strangers_max, 0},
    Setting{"stranger_bytes_max", &Config::stranger_bytes_max, 0},
    Setting{"out_queue_bytes_max", &Config::out_queue_bytes_max, 4096},
    Setting{"worker_queue_bytes_max", &Config::worker_queue_bytes_max, 4096},
    Setting{"memory_bytes_max", &Config::memory_bytes_max, 16u << 20},
    Setting{"space_bytes_max", &Config::space_bytes_max, 0},
    Setting{"authority_bytes_max", &Config::authority_bytes_max, 0},
    Setting{"handshake_ms", &Config::handshake_ms, 10},
    Setting{"stranger_ms", &Config::stranger_ms, 10},
    Setting{"progress_ms", &Config::progress_ms, 10},
    Setting{"progress_bytes_per_s", &Config::progress_bytes_per_s, 1},
    Setting{"ping_ms", &Config::ping_ms, 10},
    Setting{"idle_ms", &Config::idle_ms, 10},
    Setting{"write_stall_ms", &Config::write_stall_ms, 10},
    Setting{"session_ms", &Config::session_ms, 1000},
    Setting{"drain_ms", &Config::drain_ms, 0},
};

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t\r") - first + 1));
}

}  // namespace

Status set_config(Config& config, const std::string& key, const std::string& value) {
  if (key == "listen") {
    DOORSTEP_ASSIGN(const auto parsed, parse_host_port(value));
    (void)parsed;
    config.listen = value;
    return {};
  }
  if (key == "log_level") {
    for (const auto* level : {"debug", "info", "warn", "error"})
      if (value == level) {
        config.log_level = value;
        return {};
      }
    return Error(Code::invalid_argument, "log_level is debug, info, warn or error");
  }
  for (const auto& setting : settings) {
    if (key != setting.key) continue;
    std::uint64_t number = 0;
    const auto [end, failed] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (failed != std::errc() || end != value.data() + value.size() || number < setting.min)
      return Error(Code::invalid_argument, key + " takes a whole number from " + std::to_string(setting.min) + " on");
    config.*setting.value = number;
    return {};
  }
  return Error(Code::invalid_argument, "there is no setting \"" + key + "\"");
}

Status read_config(const std::string& path, Config& config) {
  std::ifstream in(path);
  if (!in) return Error(Code::not_found, "the configuration file " + path + " cannot be read");
  return read_config(in, path, config);
}

Status read_config(std::istream& in, const std::string& name, Config& config) {
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    const auto text = trimmed(line.substr(0, line.find('#')));
    if (text.empty()) continue;
    const auto at = text.find('=');
    const auto where = name + ", line " + std::to_string(number) + ": ";
    if (at == std::string::npos) return Error(Code::invalid_argument, where + "expected key = value");
    if (auto status = set_config(config, trimmed(text.substr(0, at)), trimmed(text.substr(at + 1))); !status)
      return Error(status.code(), where + status.error().message());
  }
  return {};
}

Result<HostPort> parse_host_port(const std::string& text) {
  const auto colon = text.rfind(':');
  const Error wrong(Code::invalid_argument, "\"" + text + "\" is not HOST:PORT, as in 0.0.0.0:7340 or [::]:7340");
  if (colon == std::string::npos || colon == 0) return wrong;
  HostPort out;
  out.host = text.substr(0, colon);
  if (out.host.front() == '[' && out.host.back() == ']')
    out.host = out.host.substr(1, out.host.size() - 2);
  else if (out.host.find(':') != std::string::npos)
    return wrong;
  const auto port = text.substr(colon + 1);
  const auto [end, failed] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (failed != std::errc() || end != port.data() + port.size() || out.host.empty()) return wrong;
  return out;
}

}  // namespace doorstep::relay
