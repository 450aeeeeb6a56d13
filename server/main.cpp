// doorstep-relay: stores and forwards what it cannot read. README.md beside this file is for operators.
//
// Exit codes: 0 done · 1 it did not work, standard error says why · 2 wrong usage · 3 the disk or the store is broken ·
//             4 another process serves from this directory
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "server/relay.hpp"
#include "server/store/sqlite_store.hpp"
#include "server/verify.hpp"

namespace doorstep::relay {
namespace {

constexpr const char* default_port = "7340";

struct Arguments {
  std::string data;
  std::vector<std::string> authorities;
  bool open = false;
  std::string address;
  std::string listen;
  std::string config;
  std::string log_level;
};

int fail(const Error& error) {
  std::fprintf(stderr, "doorstep-relay: %s (%s)\n", error.message().c_str(), code_name(error.code()));
  switch (error.code()) {
    case Code::io:
    case Code::corrupt: return 3;
    case Code::busy: return 4;
    case Code::invalid_argument: return 2;
    default: return 1;
  }
}

Result<std::vector<DeviceId>> parse_authorities(const std::vector<std::string>& texts) {
  std::vector<DeviceId> out;
  for (const auto& text : texts) {
    DOORSTEP_ASSIGN(const auto authority, DeviceId::parse(text));
    out.push_back(authority);
  }
  return out;
}

std::string own_address() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == 0) return std::string("localhost:") + default_port;
  return std::string(name.data()) + ":" + default_port;
}

Status init(const Arguments& arguments) {
  DOORSTEP_ASSIGN(const auto authorities, parse_authorities(arguments.authorities));
  if (authorities.empty() && !arguments.open)
    return Error(Code::invalid_argument, "say with --authority whose spaces are taken here, or --open for everybody's");
  SystemRandom random;
  DOORSTEP_TRY(SqliteStore::create(arguments.data, authorities, arguments.open, random));
  DOORSTEP_ASSIGN(const auto store, SqliteStore::open(arguments.data, SqliteStore::Mode::read_only));
  DOORSTEP_ASSIGN(const auto identity, store->identity());
  const auto key = identity.transport.public_key.hex();
  std::printf("store %s\nkey %s\nrelay %s#%s\n", identity.store.hex().c_str(), key.c_str(),
              arguments.address.empty() ? own_address().c_str() : arguments.address.c_str(), key.c_str());
  return {};
}

Status serve(const Arguments& arguments) {
  Relay::Options options;
  options.handle_signals = true;
  if (!arguments.config.empty()) DOORSTEP_TRY(read_config(arguments.config, options.config));
  if (!arguments.listen.empty()) DOORSTEP_TRY(set_config(options.config, "listen", arguments.listen));
  if (!arguments.log_level.empty()) DOORSTEP_TRY(set_config(options.config, "log_level", arguments.log_level));
  spdlog::set_level(spdlog::level::from_str(options.config.log_level));
  DOORSTEP_ASSIGN(auto store, SqliteStore::open(arguments.data, SqliteStore::Mode::serve));
  auto listen = options.config.listen;
  DOORSTEP_ASSIGN(const auto relay, Relay::start(std::move(store), std::move(options)));
  listen = listen.substr(0, listen.rfind(':') + 1) + std::to_string(relay->port());
  // The second line is what `doorstep space found --relay` takes.
  std::printf("listening on %s\nrelay %s#%s\n", listen.c_str(), listen.c_str(), relay->transport_key().hex().c_str());
  std::fflush(stdout);
  return relay->wait();
}

Status status(const Arguments& arguments) {
  DOORSTEP_ASSIGN(const auto store, SqliteStore::open(arguments.data, SqliteStore::Mode::read_only));
  DOORSTEP_ASSIGN(const auto identity, store->identity());
  DOORSTEP_ASSIGN(const auto authorities, store->authorities());
  DOORSTEP_ASSIGN(const auto counts, store->counts());
  std::printf("store %s\nkey %s\nauthorities %zu%s\nspaces %zu\n", identity.store.hex().c_str(),
              identity.transport.public_key.hex().c_str(), authorities.size(), identity.open ? " (open to any)" : "", counts.size());
  for (const auto& space : counts)
    std::printf("space %s roster %llu logs %llu segments %llu bytes %llu proposals %llu\n", space.space.hex().substr(0, 8).c_str(),
                static_cast<unsigned long long>(space.roster_entries), static_cast<unsigned long long>(space.logs),
                static_cast<unsigned long long>(space.segments), static_cast<unsigned long long>(space.segment_bytes),
                static_cast<unsigned long long>(space.proposals));
  return {};
}

Status verify(const Arguments& arguments) {
  DOORSTEP_ASSIGN(const auto store, SqliteStore::open(arguments.data, SqliteStore::Mode::read_only));
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  const auto progress = [terminal](const Verified& done) {
    if (terminal)
      std::fprintf(stderr, "\r%llu segments, %llu MB", static_cast<unsigned long long>(done.segments),
                   static_cast<unsigned long long>(done.bytes >> 20));
  };
  const auto result = verify_store(*store, progress);
  if (terminal) std::fprintf(stderr, "\n");
  if (!result) return result.error();
  std::printf("verified spaces %llu roster_entries %llu logs %llu segments %llu bytes %llu\n",
              static_cast<unsigned long long>(result->spaces), static_cast<unsigned long long>(result->roster_entries),
              static_cast<unsigned long long>(result->logs), static_cast<unsigned long long>(result->segments),
              static_cast<unsigned long long>(result->bytes));
  return {};
}

Status allow(const Arguments& arguments) {
  DOORSTEP_ASSIGN(const auto authorities, parse_authorities(arguments.authorities));
  DOORSTEP_ASSIGN(const auto store, SqliteStore::open(arguments.data, SqliteStore::Mode::amend));
  for (const auto& authority : authorities) DOORSTEP_TRY(store->allow(authority));
  return {};
}

int run(int argc, char** argv) {
  CLI::App app{"doorstep-relay: stores and forwards segments, rosters and blobs that it cannot read"};
  app.require_subcommand(1);
  Arguments arguments;
  const auto with_data = [&](CLI::App* command) {
    command->add_option("--data", arguments.data, "the relay's directory")->required();
    return command;
  };
  auto* init_command = with_data(app.add_subcommand("init", "make a store; prints the key and address to hand out"));
  init_command->add_option("--authority", arguments.authorities, "public key of an authority whose spaces are taken (repeatable)");
  init_command->add_flag("--open", arguments.open, "take spaces of any authority");
  init_command->add_option("--address", arguments.address, "HOST:PORT under which devices reach this relay");
  auto* serve_command = with_data(app.add_subcommand("serve", "serve until SIGTERM or SIGINT; the second one stops at once"));
  serve_command->add_option("--listen", arguments.listen, "HOST:PORT; port 0 takes a free one");
  serve_command->add_option("--config", arguments.config, "file of key = value lines");
  serve_command->add_option("--log-level", arguments.log_level, "debug, info, warn or error");
  auto* status_command = with_data(app.add_subcommand("status", "what the store holds; also while serving"));
  auto* verify_command = with_data(app.add_subcommand("verify", "check every chain, roster and signature; also while serving"));
  auto* allow_command = with_data(app.add_subcommand("allow", "take spaces of one more authority; also while serving"));
  allow_command->add_option("--authority", arguments.authorities, "its public key (repeatable)")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) { return app.exit(e) == 0 ? 0 : 2; }
  const auto logger = spdlog::stderr_logger_mt("relay");
  logger->set_pattern("ts=%Y-%m-%dT%H:%M:%S.%eZ level=%l %v", spdlog::pattern_time_type::utc);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);

  Status done;
  if (init_command->parsed())
    done = init(arguments);
  else if (serve_command->parsed())
    done = serve(arguments);
  else if (status_command->parsed())
    done = status(arguments);
  else if (allow_command->parsed())
    done = allow(arguments);
  else if (verify_command->parsed()) {
    done = verify(arguments);
    if (!done && done.code() != Code::not_found) {
      (void)fail(done.error());
      return 1;
    }
  }
  return done ? 0 : fail(done.error());
}

}  // namespace
}  // namespace doorstep::relay

int main(int argc, char** argv) { return doorstep::relay::run(argc, argv); }
