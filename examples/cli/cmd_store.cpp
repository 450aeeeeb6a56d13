// One store: making it, its passphrase, and what can be said about it without showing a record.
#include <unistd.h>

#include <cstdio>

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

namespace {

std::string rebuild_text(const RebuildReport& report, Language language) {
  const bool zh = language == Language::zh;
  std::string out;
  const auto line = [&](std::size_t count, Text text, bool always = false) {
    if (count == 0 && !always) return;
    out += (out.empty() ? "" : "\n") + std::to_string(count) + (zh ? "　" : "  ") + std::string(text.in(language));
  };
  if (report.finished_earlier) out += zh ? "上次没有做完的重建，现在完成了。" : "A rebuild that was interrupted is finished now.";
  if (report.vault_restored)
    out += zh ? "已恢复密钥文件的上一份（vault.prev）。" : "The copy of the vault before this one (vault.prev) is restored.";
  if (report.pages == 0) return out;
  line(report.pages_damaged, {"页损坏", "pages damaged"}, true);
  line(report.log_records_lost, {"条日志记录损坏", "records of the write-ahead log damaged"});
  line(report.spaces, {"个空间", "spaces"});
  line(report.segments, {"个数据段已放回", "segments are back"}, true);
  line(report.segments_waiting + report.roster_entries_waiting, {"个等同步补齐前面的内容", "wait for what stands before them: sync"});
  line(report.segments_unnamed, {"个数据段不知属于谁，没有放回；中继上有", "segments of unknown logs left behind: the relay has them"});
  line(report.transactions_unsent, {"条未上传的操作已保住", "unsent transactions saved"}, true);
  line(report.rows_unreadable, {"处未上传的内容缺了一部分，没有放回", "unsent pieces of which a part is lost"});
  line(report.drafts, {"份草稿", "drafts"});
  if (!report.kept.empty()) out += (zh ? "\n损坏的原文件在 " : "\nThe damaged files are kept in ") + report.kept;
  return out;
}

}  // namespace

Runner define_rebuild(CLI::App& command, Language language) {
  struct Arguments {
    bool restore_vault = false, quiet = false;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_flag("--restore-vault", arguments->restore_vault,
                   help(language, {"密钥文件也损坏时，用上一份（可能缺最近的改动）",
                                   "if the vault is damaged too, take the copy before it (it may lack what was changed last)"}));
  command.add_flag("--quiet", arguments->quiet, help(language, {"不显示进度", "no progress"}));
  return [arguments](App& app) -> Result<int> {
    const Options& options = app.options();
    if (options.store.empty()) return Error(Code::invalid_argument, "which store? give --store DIR or set DOORSTEP_STORE");
    DOORSTEP_ASSIGN(const Passphrase passphrase, read_passphrase(options.passphrase_file, {"口令", "passphrase"}, false, app.language()));
    RebuildOptions how;
    how.restore_vault = arguments->restore_vault;
    const bool shown = !arguments->quiet && isatty(STDERR_FILENO) != 0;
    if (shown)
      how.progress = [&](std::size_t done, std::size_t total) {
        std::fprintf(stderr, "\r\033[K%s %zu / %zu", std::string(app.say({"重建", "rebuilding"})).c_str(), done, total);
      };
    const auto report = Replica::rebuild(app.replica_options(), passphrase.reveal(), how);
    if (shown) std::fputc('\n', stderr);
    if (!report) return report.error();
    DOORSTEP_TRY(app.print(Json()
                               .add("vault_restored", report->vault_restored)
                               .add("finished_earlier", report->finished_earlier)
                               .add("kept", report->kept)
                               .add("pages", report->pages)
                               .add("pages_damaged", report->pages_damaged)
                               .add("log_records_lost", report->log_records_lost)
                               .add("spaces", report->spaces)
                               .add("roster_entries", report->roster_entries)
                               .add("roster_entries_waiting", report->roster_entries_waiting)
                               .add("segments", report->segments)
                               .add("segments_waiting", report->segments_waiting)
                               .add("segments_unnamed", report->segments_unnamed)
                               .add("transactions_unsent", report->transactions_unsent)
                               .add("rows_unreadable", report->rows_unreadable)
                               .add("drafts", report->drafts),
                           rebuild_text(*report, app.language())));
    app.hint({"现在请同步（sync）：其余内容从中继补回。", "Now sync: the rest comes back from the relay."});
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
