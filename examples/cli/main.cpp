// doorstep: one store on the command line, for scripts, support and trying things out. README.md beside this file is the
// manual; the table below is all commands.
#include <array>
#include <csignal>
#include <cstdlib>
#include <map>

#include <CLI/CLI.hpp>

#include "examples/cli/commands.hpp"

namespace doorstep::cli {

namespace {

constexpr std::array table{
    Command{"", "init", {"新建数据目录（一台设备）", "make a new store: one device"}, define_init},
    Command{"", "passphrase", {"更换口令", "change the passphrase"}, define_passphrase},
    Command{"",
            "authority",
            {"显示本机构（镇残联）公钥，供中继登记", "print the authority's public key, for doorstep-relay init"},
            define_authority},
    Command{"space", "found", {"建立空间（村）", "found a space, ordinarily a village"}, define_space_found},
    Command{"space", "list", {"列出空间", "list the spaces"}, define_space_list},
    Command{"space", "members", {"列出成员设备", "list a space's members"}, define_space_members},
    Command{"space", "relays", {"设置中继地址", "set a space's relays"}, define_space_relays},
    Command{"", "invite", {"发出一次性邀请（打印链接）", "make a one-time invitation and print its link"}, define_invite},
    Command{"", "join", {"用邀请加入", "accept an invitation"}, define_join},
    Command{"", "applicants", {"列出等待接纳的设备", "list who waits for admission"}, define_applicants},
    Command{"", "admit", {"接纳设备", "admit a device"}, define_admit},
    Command{"schema", "show", {"显示记录类别、字段、代码表", "show record kinds, fields and code lists"}, define_schema_show},
    Command{"schema", "check", {"检查表单定义文件", "check a schema document"}, define_schema_check},
    Command{"", "put", {"新建或修改记录", "create or edit records"}, define_put},
    Command{"", "import", {"从CSV表格导入", "import records from CSV"}, define_import},
    Command{"draft", "save", {"保存草稿（只在本机）", "save a draft, on this device only"}, define_draft_save},
    Command{"draft", "list", {"列出草稿", "list drafts"}, define_draft_list},
    Command{"draft", "discard", {"丢弃草稿", "discard a draft"}, define_draft_discard},
    Command{"", "get", {"显示一条记录", "show one record"}, define_get},
    Command{"", "list", {"查询记录", "find records"}, define_list},
    Command{"", "history", {"显示一条记录写过的所有值", "show every value ever written to a record"}, define_history},
    Command{"", "conflicts", {"列出需要人来决定的冲突", "list what a person should decide"}, define_conflicts},
    Command{"", "resolve", {"决定一个冲突", "decide a conflict"}, define_resolve},
    Command{"", "sync", {"与中继同步", "sync with the relays"}, define_sync},
    Command{"", "pending", {"还没有送到的内容", "what has no receipt yet"}, define_pending},
    Command{"", "digest", {"状态摘要：相同即内容相同", "the state digest: equal for equal states"}, define_digest},
    Command{"", "verify", {"全面校验数据", "re-check everything stored"}, define_verify},
    Command{"", "rebuild", {"数据损坏后，用读得出的内容重建", "after damage: make the store anew from what can be read"}, define_rebuild},
    Command{"", "quarantine", {"暂存待查的内容及原因", "what cannot be merged now, and why"}, define_quarantine},
    Command{"", "demo-data", {"生成虚构的一个村的数据", "make the data of an invented village"}, define_demo_data},
};

constexpr Text footer = {
    "退出码：0 正常 · 1 检查未通过 · 2 用法不对 · 3 没有找到 · 4 记录不合规则 · 5 没有权限 · 6 口令不对 · 7 被占用或已锁定 · 8 数据损坏\n"
    "  9 磁盘满或读写失败 · 10 连不上或超时 · 11 需要等待 · 12 冲突或已存在 · 13 对方不合规定或身份不明 · 14 版本不支持或超限 · 15 已取消\n"
    "环境变量：DOORSTEP_STORE、DOORSTEP_PASSPHRASE_FILE、DOORSTEP_SPACE、DOORSTEP_TEST_IDENTITIES",
    "Exit codes: 0 ok · 1 a check failed · 2 usage · 3 not found · 4 invalid record · 5 no right · 6 wrong key · 7 busy or locked\n"
    "  8 corrupt · 9 disk full or io · 10 unreachable or timeout · 11 waiting · 12 conflict or exists already · 13 the peer broke\n"
    "  the protocol or is not who it should be · 14 unsupported or too large · 15 cancelled\n"
    "Environment: DOORSTEP_STORE, DOORSTEP_PASSPHRASE_FILE, DOORSTEP_SPACE, DOORSTEP_TEST_IDENTITIES"};

/// The language is needed before the options are read, since they have help texts.
Language language_of(int argc, char** argv) {
  for (int i = argc - 1; i > 0; --i) {  // the last one counts
    const std::string_view argument = argv[i];
    const std::string_view value = argument.starts_with("--lang=")        ? argument.substr(7)
                                   : argument == "--lang" && i + 1 < argc ? std::string_view(argv[i + 1])
                                                                          : std::string_view();
    if (value == "zh") return Language::zh;
    if (value == "en") return Language::en;
  }
  return language_of_environment();
}

int fail(const Error& error, const Options& options) {
  print_note(options.json ? error_json(error, options.language)
                          : std::string(Text{"错误：", "error: "}.in(options.language)) + sentence(error, options.language));
  return exit_code(error.code());
}

int run(int argc, char** argv) {
  Options options;
  options.language = language_of(argc, argv);
  const Language language = options.language;

  CLI::App app(help(language, {"Doorstep：离线优先、加密的村残协走访与康复记录", "Doorstep: offline-first, encrypted field records"}),
               "doorstep");
  app.set_version_flag("--version", std::string("doorstep ") + version);
  app.footer(help(language, footer));
  app.option_defaults()->take_last();  // `--lang en … --lang zh`: a script's default and what it wants just here
  app.add_option("--store", options.store, help(language, {"数据目录", "the store's directory"}))->envname("DOORSTEP_STORE");
  app.add_option("--passphrase-file", options.passphrase_file,
                 help(language, {"口令在此文件的第一行；不给则在终端输入", "its first line is the passphrase; else the terminal is asked"}))
      ->envname("DOORSTEP_PASSPHRASE_FILE");
  app.add_option("--space", options.space, help(language, {"空间的名称或编号（可只给开头）", "a space's name, id or beginning of an id"}))
      ->envname("DOORSTEP_SPACE");
  app.add_flag(
      "--json,-j", options.json,
      help(language, {"每行输出一个JSON值（写在命令名之前，或用 -j）", "print one JSON value a line; before the command, or -j anywhere"}));
  std::string language_name;
  app.add_option("--lang", language_name, help(language, {"语言：zh 或 en", "language: zh or en"}))->check(CLI::IsMember({"zh", "en"}));
  app.add_flag("--test-identities", options.test_identities,
               help(language, {"接受99开头的测试身份证号", "accept citizen ids of the unassigned area 99"}))
      ->envname("DOORSTEP_TEST_IDENTITIES");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::Throw);
  app.require_subcommand(1);
  app.fallthrough();

  std::map<std::string, CLI::App*> groups;
  Runner runner;
  for (const Command& command : table) {
    CLI::App* parent = &app;
    if (*command.group) {
      CLI::App*& group = groups[command.group];
      if (!group) {
        group = app.add_subcommand(command.group);
        group->require_subcommand(1)->fallthrough();
      }
      parent = group;
    }
    CLI::App* sub = parent->add_subcommand(command.name, help(language, command.summary));
    sub->fallthrough();
    sub->callback([&runner, defined = command.define(*sub, language)] { runner = defined; });
  }
  for (const auto& [name, group] : groups) {
    std::string text;
    for (const Command& command : table)
      if (name == command.group) text += (text.empty() ? "" : "; ") + std::string(command.name) + ": " + help(language, command.summary);
    group->description(text);
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::RequiredError& wrong) {
    // CLI11 counts commands before it looks at what it could not read.
    const auto unknown = app.remaining(true);
    const bool command = app.get_subcommands().empty() && !unknown.empty();
    return fail(Error(Code::invalid_argument,
                      (command ? "there is no command \"" + unknown.front() + "\"" : std::string(wrong.what())) + " (doorstep --help)"),
                options);
  } catch (const CLI::ParseError& wrong) {
    return fail(Error(Code::invalid_argument, std::string(wrong.what()) + " (doorstep --help)"), options);
  }

  App context(options);
  const auto code = runner(context);
  return code ? *code : fail(code.error(), options);
}

}  // namespace

std::span<const Command> commands() { return table; }

}  // namespace doorstep::cli

int main(int argc, char** argv) {
  // A reader that went away (`| head`) is an error of that write, not the end of a command that still has to close its store.
  std::signal(SIGPIPE, SIG_IGN);
  return doorstep::cli::run(argc, argv);
}
