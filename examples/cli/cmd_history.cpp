// Every value ever written, what a person should decide, and deciding it.
#include <CLI/CLI.hpp>

#include "doorstep/values.hpp"
#include "examples/cli/commands.hpp"
#include "examples/cli/fields.hpp"

namespace doorstep::cli {

namespace {

std::string dot_text(const Dot& dot) { return std::to_string(dot.device) + ":" + std::to_string(dot.counter); }

std::vector<std::string> dot_texts(const std::vector<Dot>& dots) {
  std::vector<std::string> out;
  for (const Dot& dot : dots) out.push_back(dot_text(dot));
  return out;
}

/// The slot that an entry's names point at; nullptr if the schema does not know it.
const Slot* slot_of(const Kind* kind, std::string_view field, std::string_view subfield) {
  const Field* found = kind ? kind->field(field) : nullptr;
  if (!found || subfield.empty()) return found;
  return found->subfield(subfield);
}

/// The key of a set's element: a code as it is, random bytes in hexadecimal.
std::string element_text(const Kind* kind, std::string_view field, std::string_view element) {
  const Field* found = kind ? kind->field(field) : nullptr;
  return element.empty() || (found && found->keyed_by_code()) ? std::string(element) : to_hex(view(element));
}

std::string person(const std::string& author, const DeviceId& device) { return author.empty() ? short_id(device.hex()) : author; }

/// History entries as lines of JSON or as one table.
class HistoryPrinter {
 public:
  explicit HistoryPrinter(const App& app)
      : app_(app),
        table_({std::string(app.say({"时间", "time"})), std::string(app.say({"字段", "field"})), std::string(app.say({"内容", "value"})),
                std::string(app.say({"填报人", "by"})), std::string(app.say({"状态", "state"})), std::string(app.say({"原因", "note"}))}) {}

  Status add(const RecordView& record, const std::vector<HistoryEntry>& entries) {
    for (const HistoryEntry& entry : entries) {
      const std::string element = element_text(record.kind(), entry.field, entry.element);
      if (app_.json()) {
        // What was written stands first, what others know or did about it behind: a script can compare two replicas' beginnings.
        DOORSTEP_TRY(app_.print_line(Json()
                                         .add("record", record.id().hex())
                                         .add("field", entry.field)
                                         .add("element", element)
                                         .add("subfield", entry.subfield)
                                         .raw("value", json_from_value(entry.value))
                                         .add("device", entry.device.hex())
                                         .add("note", entry.note)
                                         .raw("time", time_json(entry.time))
                                         .add("author", entry.author)
                                         .add("dot", dot_text(entry.dot))
                                         .add("supersedes", dot_texts(entry.supersedes))
                                         .add("superseded_by", dot_texts(entry.superseded_by))
                                         .add("pending", entry.pending)
                                         .object()));
        continue;
      }
      const Text state = entry.superseded_by.empty() ? Text{"现值", "stands"} : Text{"已被取代", "superseded"};
      table_.row({time_text(entry.time), address_text(entry.field, element.substr(0, 8), entry.subfield),
                  has_value(entry.value) ? value_text(entry.value, slot_of(record.kind(), entry.field, entry.subfield), app_.language())
                                         : std::string(app_.say({"（清除）", "(cleared)"})),
                  person(entry.author, entry.device),
                  std::string(app_.say(state)) + (entry.pending ? std::string(app_.say({"，未送出", ", pending"})) : ""), entry.note});
    }
    return {};
  }
  Status finish() const { return app_.json() ? Status() : app_.print_line(table_.text()); }

 private:
  const App& app_;
  Table table_;
};

}  // namespace

Runner define_history(CLI::App& command, Language language) {
  struct Arguments {
    std::string id, field;
    bool all = false;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* id = command.add_option("id", arguments->id,
                                help(language, {"记录编号，或开头至少6位", "the record's id, or its first 6 digits or more"}));
  auto* field = command.add_option("field", arguments->field, help(language, {"只看这个字段", "only this field"}));
  command.add_flag("--all", arguments->all, help(language, {"所有记录（校验、备查用）", "of every record: for checks and archives"}))
      ->excludes(id)
      ->excludes(field);
  return [arguments](App& app) -> Result<int> {
    if (arguments->all == !arguments->id.empty()) return Error(Code::invalid_argument, "the history of what? name a record, or --all");
    DOORSTEP_ASSIGN(Replica replica, app.open());
    HistoryPrinter printer(app);
    if (!arguments->all) {
      DOORSTEP_ASSIGN(const App::Place place, app.place(replica, arguments->id));
      DOORSTEP_ASSIGN(const RecordView view, replica.get(place.space, place.record));
      if (view.kind() && !arguments->field.empty()) DOORSTEP_TRY(find_slot(*view.kind(), arguments->field));
      DOORSTEP_ASSIGN(const auto entries, replica.history(place.space, place.record, arguments->field));
      DOORSTEP_TRY(printer.add(view, entries));
    } else {
      DOORSTEP_ASSIGN(const auto spaces, app.spaces(replica));
      for (const auto& info : spaces)
        for (const Kind* kind : replica.schema().kinds()) {
          DOORSTEP_ASSIGN(const auto records, replica.query(info.id, {.kind = kind->name}));
          for (const RecordView& view : records) {
            DOORSTEP_ASSIGN(const auto entries, replica.history(info.id, view.id()));
            DOORSTEP_TRY(printer.add(view, entries));
          }
        }
    }
    DOORSTEP_TRY(printer.finish());
    return 0;
  };
}

Runner define_conflicts(CLI::App& command, Language language) {
  struct Arguments {
    bool values = false, check = false;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_flag("--values", arguments->values,
                   help(language, {"同时显示各个值、填报人和时间", "with the values, their authors and times"}));
  command.add_flag("--check", arguments->check, help(language, {"有冲突就以1退出", "exit with 1 if there is one"}));
  return [arguments](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const auto spaces, app.spaces(replica));
    std::size_t found = 0;
    std::vector<std::string> head = {std::string(app.say({"记录", "record"})), std::string(app.say({"类别", "kind"})),
                                     std::string(app.say({"字段", "field"}))};
    if (arguments->values) {
      for (const Text title : {Text{"内容", "value"}, Text{"填报人", "by"}, Text{"时间", "time"}}) head.emplace_back(app.say(title));
    } else {
      head.emplace_back(app.say({"不同的值", "distinct values"}));
    }
    Table table(std::move(head));
    for (const auto& info : spaces) {
      DOORSTEP_ASSIGN(const auto conflicts, replica.conflicts(info.id));
      for (const Conflict& conflict : conflicts) {
        ++found;
        const Kind* kind = replica.schema().kind(conflict.kind);
        const std::string element = element_text(kind, conflict.field, conflict.element);
        const std::string where = address_text(conflict.field, element.substr(0, 8), conflict.subfield);
        if (app.json()) {
          Json out;
          out.add("record", conflict.record.hex()).add("kind", conflict.kind).add("field", conflict.field).add("element", element);
          out.add("subfield", conflict.subfield).add("distinct", conflict.values.size());
          std::vector<std::string> values;
          for (const WrittenValue& written : conflict.values)
            values.push_back(Json()
                                 .raw("value", json_from_value(written.value))
                                 .add("author", written.author)
                                 .add("device", written.device.hex())
                                 .raw("time", time_json(written.time))
                                 .add("approved", written.approved)
                                 .object());
          if (arguments->values) out.raw("values", json_array(values));
          DOORSTEP_TRY(app.print_line(out.object()));
        } else if (!arguments->values) {
          table.row({short_id(conflict.record.hex()), conflict.kind, where, std::to_string(conflict.values.size())});
        } else {
          const Slot* slot = slot_of(kind, conflict.field, conflict.subfield);
          for (std::size_t i = 0; i < conflict.values.size(); ++i) {
            const WrittenValue& written = conflict.values[i];
            const std::string shown = i == 0 ? std::string(app.say({" ← 显示", " <- shown"})) : "";
            table.row({i ? "" : short_id(conflict.record.hex()), i ? "" : conflict.kind, i ? "" : where,
                       value_text(written.value, slot, app.language()) + shown, person(written.author, written.device),
                       time_text(written.time)});
          }
        }
      }
    }
    if (!app.json()) DOORSTEP_TRY(app.print_line(found ? table.text() : std::string(app.say({"没有冲突。", "No conflicts."}))));
    return arguments->check && found ? exit_failed : exit_ok;
  };
}

Runner define_resolve(CLI::App& command, Language language) {
  struct Arguments {
    std::string id, field, value, note;
    bool clear = false;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_option("id", arguments->id, help(language, {"记录编号，或开头至少6位", "the record's id, or its first 6 digits or more"}))
      ->required();
  command.add_option("field", arguments->field, help(language, {"字段，或 字段.子字段", "the field, or FIELD.SUBFIELD"}))->required();
  auto* value =
      command.add_option("--value", arguments->value, help(language, {"决定的值（代码也可写名称）", "the value; a code or its label"}));
  command.add_flag("--clear", arguments->clear, help(language, {"决定为空", "decide that there is none"}))->excludes(value);
  command.add_option("--note", arguments->note, help(language, {"原因，其他人看得到", "the reason, which the others see"}));
  return [arguments, value](App& app) -> Result<int> {
    if (value->count() == 0 && !arguments->clear) return Error(Code::invalid_argument, "decide what? give --value or --clear");
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const App::Place place, app.place(replica, arguments->id));
    DOORSTEP_ASSIGN(const RecordView view, replica.get(place.space, place.record));
    if (!view.kind()) return Error(Code::unsupported, "this build does not know the record's kind");
    DOORSTEP_ASSIGN(const NamedSlot named, find_slot(*view.kind(), arguments->field));
    Value decided;
    if (!arguments->clear) { DOORSTEP_ASSIGN(decided, value_from_text(*named.slot, arguments->value)); }
    DOORSTEP_TRY(replica.resolve(place.space, place.record, arguments->field, decided, arguments->note));
    DOORSTEP_TRY(app.print(Json().add("resolved", place.record.hex()).add("field", arguments->field),
                           app.say({"已决定；同步后其他人会看到。", "Decided; the others see it when they sync."})));
    return 0;
  };
}

}  // namespace doorstep::cli
