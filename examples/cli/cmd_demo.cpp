// An invented village: nobody in it can exist (sdk's demo_data.hpp says why), and it is the same for the same seed.
#include <chrono>
#include <fstream>

#include <CLI/CLI.hpp>

#include "doorstep/demo_data.hpp"
#include "doorstep/values.hpp"
#include "examples/cli/commands.hpp"

namespace doorstep::cli {

namespace {

Result<Date> parse_day(const std::string& text) {
  if (text.empty()) {
    using namespace std::chrono;
    // Days of records are days in China.
    return Date{static_cast<std::int32_t>(floor<days>(system_clock::now() + hours(8)).time_since_epoch().count())};
  }
  Slot slot;
  slot.name = "today";
  slot.type = Type::date;
  DOORSTEP_ASSIGN(const Value value, value_from_text(slot, text));
  return std::get<Date>(value);
}

Status write_file(const App& app, const std::string& name, std::string_view text) {
  if (name == "-") return app.print_line(text);
  std::ofstream out(name, std::ios::binary);
  out << text;
  out.close();
  if (!out) return Error(Code::io, "the file " + name + " cannot be written");
  return {};
}

/// The village's persons in a space are those made first, in the order of the data: an import keeps it.
Result<std::vector<RecordId>> find_persons(Replica& replica, const SpaceId& space, const DemoVillage& village) {
  DOORSTEP_ASSIGN(const auto persons, replica.query(space, {.kind = "person"}));
  std::vector<RecordId> out;
  for (std::size_t i = 0; i < village.size(); ++i) {
    if (i >= persons.size() || persons[i].text("name") != village.name(i))
      return Error(Code::conflict,
                   "the space does not hold this village: import its CSV first, with the same --seed, --persons and --today");
    out.push_back(persons[i].id());
  }
  return out;
}

/// Many records in few durable commits.
constexpr std::size_t commit_records = 500;

Result<std::size_t> write_persons(Replica& replica, const SpaceId& space, const DemoVillage& village) {
  for (std::size_t at = 0; at < village.size();) {
    const auto saved = replica.transact(space, [&](Write& write) -> Status {
      for (std::size_t i = 0; i < commit_records && at < village.size(); ++i, ++at) {
        if (i > 0) write.next_transaction();
        write.set_json(write.create("person"), village.person_json(at));
      }
      return {};
    });
    if (!saved) return saved.error();
  }
  return village.size();
}

Result<std::size_t> write_facts(Replica& replica, const SpaceId& space, const std::vector<DemoFact>& facts,
                                const std::vector<RecordId>& persons) {
  for (std::size_t at = 0; at < facts.size();) {
    const auto saved = replica.transact(space, [&](Write& write) -> Status {
      for (std::size_t i = 0; i < commit_records && at < facts.size(); ++i, ++at) {
        if (i > 0) write.next_transaction();
        write.set_json(write.create(facts[at].kind), facts[at].json_with(persons.at(facts[at].person)));
      }
      return {};
    });
    if (!saved) return saved.error();
  }
  return facts.size();
}

}  // namespace

Runner define_demo_data(CLI::App& command, Language language) {
  struct Arguments {
    std::string out, secrets, today;
    std::vector<std::string> write;
    DemoOptions village;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_option("--out", arguments->out,
                     help(language, {"把人员写入CSV文件（- 为标准输出）", "write the persons to this CSV file (- for standard output)"}));
  command
      .add_option("--write", arguments->write,
                  help(language, {"写入数据目录：persons 人员，history 走访与康复记录，day 今天的记录",
                                  "write to the store: persons, history (visits and sessions), day (today's)"}))
      ->check(CLI::IsMember({"persons", "history", "day"}))
      ->delimiter(',');
  command.add_option(
      "--secrets", arguments->secrets,
      help(language, {"列出数据中的姓名、号码、备注，供泄漏检查", "list every name, number and note in it, for leak checks"}));
  command.add_option("--persons", arguments->village.persons, help(language, {"人数", "how many persons"}))
      ->check(CLI::Range(1, 2000))
      ->capture_default_str();
  command.add_option("--months", arguments->village.months, help(language, {"历史月数", "months of history"}))
      ->check(CLI::Range(0, 60))
      ->capture_default_str();
  command.add_option("--seed", arguments->village.seed, help(language, {"种子", "the seed"}))->capture_default_str();
  command.add_option("--today", arguments->today, help(language, {"把这一天当作今天", "the day to take for today"}));
  return [arguments](App& app) -> Result<int> {
    if (arguments->out.empty() && arguments->write.empty() && arguments->secrets.empty())
      return Error(Code::invalid_argument, "what to make? give --out, --write or --secrets");
    DemoOptions options = arguments->village;
    DOORSTEP_ASSIGN(options.today, parse_day(arguments->today));
    const DemoVillage village(options);
    if (!arguments->out.empty()) DOORSTEP_TRY(write_file(app, arguments->out, village.persons_csv()));
    if (!arguments->secrets.empty()) {
      std::string lines;
      for (const std::string& secret : village.secrets()) lines += secret + "\n";
      DOORSTEP_TRY(write_file(app, arguments->secrets, lines));
    }
    if (arguments->write.empty()) return 0;

    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const SpaceInfo info, app.space(replica));
    for (const std::string& part : arguments->write) {
      std::size_t written = 0;
      if (part == "persons") {
        DOORSTEP_ASSIGN(written, write_persons(replica, info.id, village));
      } else {
        DOORSTEP_ASSIGN(const auto persons, find_persons(replica, info.id, village));
        const auto facts = part == "day" ? village.ordinary_day(options.today) : village.history();
        DOORSTEP_ASSIGN(written, write_facts(replica, info.id, facts, persons));
      }
      DOORSTEP_TRY(app.print(Json().add("part", part).add("written", written), part + " " + std::to_string(written)));
    }
    return 0;
  };
}

}  // namespace doorstep::cli
