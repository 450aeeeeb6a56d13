// One store: making it, its passphrase, and what can be said about it without showing a record.
#include <CLI/CLI.hpp>

#include "examples/cli/commands.hpp"

namespace doorstep::cli {

namespace {

constexpr Text new_prompt = {"新口令", "new passphrase"};

}  // namespace

Runner define_init(CLI::App&, Language) {
  return [](App& app) -> Result<int> {
    if (app.options().store.empty()) return Error(Code::invalid_argument, "which store? give --store DIR or set DOORSTEP_STORE");
    DOORSTEP_ASSIGN(const Passphrase passphrase, read_passphrase(app.options().passphrase_file, new_prompt, true, app.language()));
    DOORSTEP_ASSIGN(const Replica replica, Replica::create(app.replica_options(), passphrase.reveal()));
    const std::string device = replica.device().hex();
    DOORSTEP_TRY(app.print(Json().add("device", device), device));
    app.hint({"已新建。口令无法找回，请妥善保管。", "Made. A forgotten passphrase cannot be recovered: keep it safe."});
    return 0;
  };
}

Runner define_passphrase(CLI::App& command, Language language) {
  auto file = std::make_shared<std::string>();
  command.add_option("--new-passphrase-file", *file, help(language, {"新口令在此文件的第一行", "its first line is the new passphrase"}));
  return [file](App& app) -> Result<int> {
    const Options& options = app.options();
    DOORSTEP_ASSIGN(const Passphrase old,
                    read_passphrase(options.passphrase_file, {"现在的口令", "present passphrase"}, false, app.language()));
    DOORSTEP_ASSIGN(Replica replica, Replica::open(app.replica_options(), old.reveal()));
    DOORSTEP_ASSIGN(const Passphrase fresh, read_passphrase(*file, new_prompt, true, app.language()));
    DOORSTEP_TRY(replica.change_passphrase(old.reveal(), fresh.reveal()));
    DOORSTEP_TRY(app.print(Json().add("changed", true), app.say({"口令已更换。", "The passphrase is changed."})));
    return 0;
  };
}

Runner define_pending(CLI::App& command, Language language) {
  auto check = std::make_shared<bool>(false);
  command.add_flag("--check", *check, help(language, {"还有未送到的就以1退出", "exit with 1 if anything has no receipt"}));
  return [check](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const auto spaces, app.spaces(replica));
    std::size_t total = 0;
    Table table({std::string(app.say({"空间", "space"})), std::string(app.say({"未送到", "pending"})),
                 std::string(app.say({"未封装", "unsealed"})), std::string(app.say({"字节", "bytes"})),
                 std::string(app.say({"最早", "oldest"})), std::string(app.say({"等待", "waits for"}))});
    for (const auto& info : spaces) {
      DOORSTEP_ASSIGN(const Pending pending, replica.pending(info.id));
      total += pending.transactions;
      const std::string oldest = pending.oldest_ms ? local_time(pending.oldest_ms) : "";
      if (app.json()) {
        DOORSTEP_TRY(app.print_line(Json()
                                        .add("space", info.id.hex())
                                        .add("transactions", pending.transactions)
                                        .add("unsealed", pending.unsealed)
                                        .add("bytes", pending.bytes)
                                        .add("oldest_ms", pending.oldest_ms)
                                        .add("waits_for", pending.waits_for)
                                        .object()));
      } else {
        table.row({info.name.empty() ? short_id(info.id.hex()) : info.name, std::to_string(pending.transactions),
                   std::to_string(pending.unsealed), std::to_string(pending.bytes), oldest, pending.waits_for});
      }
    }
    if (!app.json()) DOORSTEP_TRY(app.print_line(table.text()));
    return *check && total > 0 ? exit_failed : exit_ok;
  };
}

Runner define_digest(CLI::App&, Language) {
  return [](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const auto spaces, app.spaces(replica));
    for (const auto& info : spaces) {
      DOORSTEP_ASSIGN(const Hash digest, replica.state_digest(info.id));
      DOORSTEP_TRY(
          app.print(Json().add("space", info.id.hex()).add("digest", digest.hex()), digest.hex() + "  " + short_id(info.id.hex())));
    }
    return 0;
  };
}

Runner define_verify(CLI::App&, Language) {
  return [](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    std::size_t checked = 0;
    DOORSTEP_TRY(replica.verify([&](std::size_t done, std::size_t) { checked = done; }));
    DOORSTEP_TRY(app.print(Json().add("verified", true).add("checked", checked),
                           std::string(app.say({"校验通过：", "verified, items checked: "})) + std::to_string(checked)));
    return 0;
  };
}

Runner define_quarantine(CLI::App& command, Language language) {
  auto check = std::make_shared<bool>(false);
  command.add_flag("--check", *check, help(language, {"有内容就以1退出", "exit with 1 if there is anything"}));
  return [check](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const auto spaces, app.spaces(replica));
    Table table({std::string(app.say({"空间", "space"})), std::string(app.say({"原因", "reason"})),
                 std::string(app.say({"事务", "transactions"}))});
    for (const auto& info : spaces) {
      DOORSTEP_ASSIGN(const auto kept, replica.quarantine(info.id));
      for (const auto& why : kept) {
        table.row({short_id(info.id.hex()), why.reason, std::to_string(why.transactions)});
        if (app.json())
          DOORSTEP_TRY(
              app.print_line(Json().add("space", info.id.hex()).add("reason", why.reason).add("transactions", why.transactions).object()));
      }
    }
    if (!app.json()) DOORSTEP_TRY(app.print_line(table.rows() ? table.text() : std::string(app.say({"没有。", "None."}))));
    return *check && table.rows() > 0 ? exit_failed : exit_ok;
  };
}

}  // namespace doorstep::cli
