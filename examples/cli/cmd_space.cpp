// Spaces and people: founding, inviting, joining, admitting.
#include <algorithm>

#include <CLI/CLI.hpp>

#include "examples/cli/commands.hpp"

namespace doorstep::cli {

namespace {

constexpr std::array<std::pair<std::string_view, SpaceKind>, 6> space_kinds = {{{"village", SpaceKind::village},
                                                                                {"clinical", SpaceKind::clinical},
                                                                                {"child", SpaceKind::child},
                                                                                {"township", SpaceKind::township},
                                                                                {"district", SpaceKind::district},
                                                                                {"audit", SpaceKind::audit}}};

std::string kind_name(SpaceKind kind) {
  for (const auto& [name, value] : space_kinds)
    if (value == kind) return std::string(name);
  return "#" + std::to_string(static_cast<int>(kind));
}

/// HOST:PORT#KEY. Relays that share a key are one relay at several addresses.
Result<std::vector<RelayAddress>> parse_relays(const std::vector<std::string>& texts) {
  std::vector<RelayAddress> out;
  for (const std::string& text : texts) {
    const auto mark = text.find('#');
    const std::string address = text.substr(0, mark);
    if (mark == std::string::npos || address.find(':') == std::string::npos)
      return Error(Code::invalid_argument, "a relay is given as HOST:PORT#TRANSPORTKEY, as doorstep-relay prints it");
    auto key = TransportPublicKey::parse(std::string_view(text).substr(mark + 1));
    if (!key) return Error(Code::invalid_argument, "the relay's key after # has to be 64 hexadecimal digits");
    const auto same = std::find_if(out.begin(), out.end(), [&](const RelayAddress& relay) { return relay.key == *key; });
    if (same == out.end())
      out.push_back({*key, {address}});
    else
      same->addresses.push_back(address);
  }
  return out;
}

std::string relay_text(const RelayAddress& relay) {
  std::string out;
  for (const auto& address : relay.addresses) out += (out.empty() ? "" : " ") + address + "#" + relay.key.hex();
  return out;
}

Json space_json(const SpaceInfo& info) {
  std::vector<std::string> relays;
  for (const auto& relay : info.relays) relays.push_back(relay_text(relay));
  return Json()
      .add("space", info.id.hex())
      .add("name", info.name)
      .add("kind", kind_name(info.kind))
      .add("role", info.role)
      .add("sequencer", info.sequencer)
      .add("waits_for", info.waits_for)
      .add("roster_size", info.roster_size)
      .add("members", info.members)
      .add("relays", relays);
}

std::string yes(bool is, const App& app) { return is ? std::string(app.say({"是", "yes"})) : ""; }

}  // namespace

Runner define_authority(CLI::App&, Language) {
  return [](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const DeviceId authority, replica.authority());
    DOORSTEP_TRY(app.print(Json().add("authority", authority.hex()), authority.hex()));
    return 0;
  };
}

Runner define_space_found(CLI::App& command, Language language) {
  struct Arguments {
    std::string name, kind = "village", role = "town_clerk", label;
    std::vector<std::string> relays;
  };
  auto arguments = std::make_shared<Arguments>();
  std::vector<std::string> names;
  for (const auto& [name, kind] : space_kinds) names.emplace_back(name);
  command.add_option("--name", arguments->name, help(language, {"名称，只留在本机", "its name; stays on this device"}))->required();
  command.add_option("--kind", arguments->kind, help(language, {"种类", "its kind"}))->check(CLI::IsMember(names))->capture_default_str();
  command.add_option("--relay", arguments->relays, "HOST:PORT#TRANSPORTKEY");
  command.add_option("--role", arguments->role, help(language, {"本机使用者的角色", "this device's role"}))->capture_default_str();
  command.add_option("--label", arguments->label, help(language, {"使用者姓名，只有成员看得到", "who uses this device, for members only"}));
  return [arguments](App& app) -> Result<int> {
    Replica::FoundOptions options;
    options.name = arguments->name;
    options.role = arguments->role;
    options.label = arguments->label;
    for (const auto& [name, kind] : space_kinds)
      if (name == arguments->kind) options.kind = kind;
    DOORSTEP_ASSIGN(options.relays, parse_relays(arguments->relays));
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const SpaceId space, replica.found(options));
    DOORSTEP_TRY(app.print(Json().add("space", space.hex()), space.hex()));
    return 0;
  };
}

Runner define_space_list(CLI::App&, Language) {
  return [](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const auto spaces, replica.spaces());
    Table table({std::string(app.say({"编号", "id"})), std::string(app.say({"名称", "name"})), std::string(app.say({"种类", "kind"})),
                 std::string(app.say({"角色", "role"})), std::string(app.say({"主持", "sequencer"})),
                 std::string(app.say({"成员", "members"})), std::string(app.say({"等待", "waits for"}))});
    for (const auto& info : spaces) {
      if (app.json()) DOORSTEP_TRY(app.print_line(space_json(info).object()));
      table.row({short_id(info.id.hex()), info.name, kind_name(info.kind), info.role, yes(info.sequencer, app),
                 std::to_string(info.members), info.waits_for});
    }
    if (!app.json()) DOORSTEP_TRY(app.print_line(table.rows() ? table.text() : std::string(app.say({"还没有空间。", "No space yet."}))));
    return 0;
  };
}

Runner define_space_members(CLI::App&, Language) {
  return [](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const SpaceInfo info, app.space(replica));
    DOORSTEP_ASSIGN(const auto members, replica.members(info.id));
    Table table({std::string(app.say({"设备", "device"})), std::string(app.say({"使用者", "label"})),
                 std::string(app.say({"角色", "role"})), std::string(app.say({"主持", "sequencer"})),
                 std::string(app.say({"已停用", "cut"})), std::string(app.say({"本机", "self"}))});
    for (const auto& member : members) {
      if (app.json())
        DOORSTEP_TRY(app.print_line(Json()
                                        .add("device", member.device.hex())
                                        .add("label", member.label)
                                        .add("role", member.role)
                                        .add("sequencer", member.sequencer)
                                        .add("cut", member.cut)
                                        .add("self", member.self)
                                        .object()));
      table.row({short_id(member.device.hex()), member.label, member.role, yes(member.sequencer, app), yes(member.cut, app),
                 yes(member.self, app)});
    }
    if (!app.json()) DOORSTEP_TRY(app.print_line(table.text()));
    return 0;
  };
}

Runner define_space_relays(CLI::App& command, Language) {
  auto relays = std::make_shared<std::vector<std::string>>();
  command.add_option("--relay", *relays, "HOST:PORT#TRANSPORTKEY")->required();
  return [relays](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(const auto parsed, parse_relays(*relays));
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const SpaceInfo info, app.space(replica));
    DOORSTEP_TRY(replica.set_relays(info.id, parsed));
    DOORSTEP_ASSIGN(const SpaceInfo after, replica.space(info.id));
    DOORSTEP_TRY(
        app.print(space_json(after), app.say({"已设置。同步后其他成员会知道。", "Set. The other members learn it when they sync."})));
    return 0;
  };
}

Runner define_invite(CLI::App& command, Language language) {
  struct Arguments {
    std::string role = "member";
    std::int64_t days = 7;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_option("--role", arguments->role, help(language, {"新设备的角色", "the newcomer's role"}))->capture_default_str();
  command.add_option("--days", arguments->days, help(language, {"有效天数（提醒用）", "valid for so many days, as a reminder"}))
      ->check(CLI::Range(1, 3650))
      ->capture_default_str();
  return [arguments](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const SpaceInfo info, app.space(replica));
    DOORSTEP_ASSIGN(const std::string uri, replica.invite(info.id, {arguments->role, arguments->days * 24 * 3600 * 1000}));
    DOORSTEP_TRY(app.print(Json().add("invitation", uri).add("role", arguments->role), uri));
    app.hint({"这个链接只能用一次，请当面或私下交给本人；随后请同步，中继才会放行。",
              "The link works once: hand it over in private. Then sync, so that the relay lets the newcomer in."});
    return 0;
  };
}

Runner define_join(CLI::App& command, Language language) {
  struct Arguments {
    std::string uri, label, name;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_option("uri", arguments->uri, help(language, {"邀请链接，或 - 从标准输入读", "the invitation, or - for standard input"}))
      ->required();
  command.add_option("--label", arguments->label, help(language, {"使用者姓名，只有成员看得到", "who uses this device, for members only"}))
      ->required();
  command.add_option("--name", arguments->name, help(language, {"空间在本机的名称", "what to call the space on this device"}));
  return [arguments](App& app) -> Result<int> {
    std::string uri = arguments->uri;
    if (uri == "-") {
      DOORSTEP_ASSIGN(uri, read_input("-"));
      while (!uri.empty() && static_cast<unsigned char>(uri.back()) <= ' ') uri.pop_back();
    }
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const auto joined, replica.join(uri, arguments->label, arguments->name));
    for (const SpaceId& space : joined) DOORSTEP_TRY(app.print(Json().add("space", space.hex()), space.hex()));
    app.hint({"已接受邀请，可以开始记录；同步后等待镇残联接纳。", "Accepted: you may write at once. Sync, then wait for admission."});
    return 0;
  };
}

Runner define_applicants(CLI::App&, Language) {
  return [](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const SpaceInfo info, app.space(replica));
    DOORSTEP_ASSIGN(const auto waiting, replica.applicants(info.id));
    Table table(
        {std::string(app.say({"设备", "device"})), std::string(app.say({"使用者", "label"})), std::string(app.say({"角色", "role"}))});
    for (const auto& applicant : waiting) {
      if (app.json())
        DOORSTEP_TRY(app.print_line(
            Json().add("device", applicant.device.hex()).add("label", applicant.label).add("role", applicant.role).object()));
      table.row({short_id(applicant.device.hex()), applicant.label, applicant.role});
    }
    if (!app.json()) DOORSTEP_TRY(app.print_line(table.rows() ? table.text() : std::string(app.say({"没有人在等待。", "Nobody waits."}))));
    return 0;
  };
}

Runner define_admit(CLI::App& command, Language language) {
  struct Arguments {
    std::string device;
    bool all = false;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* device =
      command.add_option("device", arguments->device, help(language, {"设备编号（可只给开头）", "the device, or the beginning of its id"}));
  command.add_flag("--all", arguments->all, help(language, {"接纳所有等待的设备", "everybody who waits"}))->excludes(device);
  return [arguments](App& app) -> Result<int> {
    if (!arguments->all && arguments->device.empty()) return Error(Code::invalid_argument, "admit whom? name a device, or --all");
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const SpaceInfo info, app.space(replica));
    DOORSTEP_ASSIGN(const auto waiting, replica.applicants(info.id));
    std::vector<DeviceId> chosen;
    for (const auto& applicant : waiting)
      if (arguments->all || applicant.device.hex().starts_with(arguments->device)) chosen.push_back(applicant.device);
    if (chosen.empty()) return Error(Code::not_found, "nobody like that waits for admission; sync first, then see `applicants`");
    if (!arguments->all && chosen.size() > 1) return Error(Code::conflict, "several applicants begin with that; give more digits");
    for (const DeviceId& each : chosen) {
      DOORSTEP_TRY(replica.admit(info.id, each));
      DOORSTEP_TRY(app.print(Json().add("admitted", each.hex()), each.hex()));
    }
    app.hint({"已接纳；同步后对方即可收发。", "Admitted; they can send and receive after the next sync."});
    return 0;
  };
}

}  // namespace doorstep::cli
