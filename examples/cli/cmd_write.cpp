// Writing: records one by one, whole spreadsheets, drafts.
#include <array>
#include <cctype>
#include <cerrno>
#include <optional>

#include <unistd.h>

#include <CLI/CLI.hpp>

#include "doorstep/csv.hpp"
#include "examples/cli/commands.hpp"
#include "examples/cli/fields.hpp"

namespace doorstep::cli {

namespace {

/// Splits what arrives into JSON objects, with or without line ends between. Only finds where they end; reading them is the
/// SDK's business.
class ObjectSplitter {
 public:
  void feed(std::string_view text) { buffer_ += text; }
  /// The next whole object; nullopt: more has to arrive. Code::invalid_argument for anything but an object.
  Result<std::optional<std::string>> next() {
    while (at_ < buffer_.size()) {
      const char c = buffer_[at_];
      if (depth_ == 0 && c != '{') {
        if (!std::isspace(static_cast<unsigned char>(c))) return Error(Code::invalid_argument, "expected a JSON object {…}");
        buffer_.erase(0, 1);
        continue;
      }
      ++at_;
      if (escaped_) {
        escaped_ = false;
      } else if (quoted_) {
        escaped_ = c == '\\';
        quoted_ = c != '"';
      } else if (c == '"') {
        quoted_ = true;
      } else if (c == '{' || c == '[') {
        ++depth_;
      } else if ((c == '}' || c == ']') && --depth_ == 0) {
        std::string object = buffer_.substr(0, at_);
        buffer_.erase(0, std::exchange(at_, 0));
        return std::optional(std::move(object));
      }
    }
    if (buffer_.size() > bytes_max) return Error(Code::too_large, "a JSON object is larger than 4 MiB");
    return std::optional<std::string>();
  }
  bool in_the_middle() const { return depth_ > 0; }

 private:
  static constexpr std::size_t bytes_max = 4u << 20;
  std::string buffer_;
  std::size_t at_ = 0;
  int depth_ = 0;
  bool quoted_ = false, escaped_ = false;
};

/// Says what is odd about a saved record, without its content.
void warn(const App& app, const std::vector<std::string>& warnings) {
  if (app.json()) return;  // they are in the JSON
  for (const std::string& warning : warnings) print_note(std::string(app.say({"提示：", "hint: "})) + warning);
}

Status print_saved(const App& app, const RecordId& id, const Replica::Saved& saved) {
  warn(app, saved.warnings);
  return app.print(Json().add("id", id.hex()).add("operations", saved.operations).add("warnings", saved.warnings), id.hex());
}

}  // namespace

Runner define_put(CLI::App& command, Language language) {
  struct Arguments {
    std::string kind, json, id, note;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_option("kind", arguments->kind, help(language, {"类别，如 person", "the kind, as person"}))->required();
  command
      .add_option("--json", arguments->json,
                  help(language, {"字段和值；- 从标准输入读，可有多个对象，每个保存后立即打印其编号",
                                  "fields and values; - reads objects from standard input and prints each id once it is durable"}))
      ->required();
  command.add_option("--id", arguments->id, help(language, {"修改这条记录，而不是新建", "edit this record instead of making one"}));
  command.add_option("--note", arguments->note, help(language, {"原因，写入历史", "the reason, kept in the history"}));
  return [arguments](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const Kind* kind, find_kind(replica.schema(), arguments->kind));
    App::Place place;
    if (arguments->id.empty()) {
      DOORSTEP_ASSIGN(const SpaceInfo info, app.space(replica));
      place.space = info.id;
    } else {
      DOORSTEP_ASSIGN(place, app.place(replica, arguments->id));
      DOORSTEP_ASSIGN(const RecordView view, replica.get(place.space, place.record));
      if (view.kind_id() != kind->id)
        return Error(Code::invalid_argument, "the record " + place.record.hex() + " is not of kind " + kind->name);
    }
    std::size_t objects = 0;
    ObjectSplitter splitter;
    const auto save_whole_ones = [&]() -> Status {
      for (;;) {
        DOORSTEP_ASSIGN(const auto object, splitter.next());
        if (!object) return {};
        ++objects;
        RecordId id = place.record;
        const auto saved = replica.transact(place.space, [&](Write& write) -> Status {
          if (arguments->id.empty()) id = write.create(kind->name);
          write.set_json(id, *object);
          if (!arguments->note.empty()) write.note(arguments->note);
          return {};
        });
        if (!saved) return saved.error();
        DOORSTEP_TRY(print_saved(app, id, *saved));
      }
    };
    if (arguments->json != "-") {
      splitter.feed(arguments->json);
      DOORSTEP_TRY(save_whole_ones());
    } else {
      // As they arrive, so that whoever writes here can wait for an id before the next object.
      std::array<char, 65536> part{};
      for (;;) {
        const ssize_t got = read(STDIN_FILENO, part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return Error(Code::io, "standard input cannot be read");
        if (got == 0) break;
        splitter.feed({part.data(), static_cast<std::size_t>(got)});
        DOORSTEP_TRY(save_whole_ones());
      }
    }
    if (splitter.in_the_middle()) return Error(Code::invalid_argument, "the JSON object does not end");
    if (objects == 0) return Error(Code::invalid_argument, "there is no JSON object to save");
    return 0;
  };
}

Runner define_import(CLI::App& command, Language language) {
  struct Arguments {
    std::string file, kind = "person";
    bool keep_going = false;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_option("file", arguments->file, help(language, {"CSV文件，- 为标准输入", "the CSV file, - for standard input"}))->required();
  command.add_option("--kind", arguments->kind, help(language, {"类别", "the kind"}))->capture_default_str();
  command.add_flag("--keep-going", arguments->keep_going,
                   help(language, {"跳过不合规则的行，其余照常导入", "leave out rows that break a rule, import the others"}));
  return [arguments](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(const std::string csv, read_input(arguments->file));
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const SpaceInfo info, app.space(replica));
    DOORSTEP_ASSIGN(const Kind* kind, find_kind(replica.schema(), arguments->kind));
    std::size_t imported = 0, refused = 0, warnings = 0;

    if (arguments->keep_going) {
      DOORSTEP_TRY(read_csv_records(*kind, csv, [&](std::size_t row, const std::string& json) -> Status {
        const auto saved = replica.transact(info.id, [&](Write& write) -> Status {
          write.set_json(write.create(kind->name), json);
          return {};
        });
        if (saved) {
          ++imported;
          warnings += saved->warnings.size();
          return {};
        }
        if (saved.code() != Code::invalid_record && saved.code() != Code::invalid_argument) return saved.error();
        ++refused;
        const Error named(saved.code(), "row " + std::to_string(row) + ": " + saved.error().message());
        print_note(app.json() ? error_json(named, app.language()) : sentence(named, app.language()));
        return {};
      }));
    } else {
      // One durable commit for the whole file: all rows or none, so that a corrected file can simply be imported again.
      std::size_t wrong_row = 0;
      const auto saved = replica.transact(info.id, [&](Write& write) -> Status {
        return read_csv_records(*kind, csv, [&](std::size_t row, const std::string& json) -> Status {
          if (wrong_row) return {};
          write.set_json(write.create(kind->name), json).next_transaction();
          if (write.failed())
            wrong_row = row;
          else
            ++imported;
          return {};
        });
      });
      if (!saved && wrong_row) return Error(saved.code(), "row " + std::to_string(wrong_row) + ": " + saved.error().message());
      if (!saved) return saved.error();
      warnings = saved->warnings.size();
    }
    const std::string counts = std::to_string(imported);
    DOORSTEP_TRY(app.print(Json().add("imported", imported).add("refused", refused).add("warnings", warnings),
                           app.language() == Language::zh
                               ? "已导入" + counts + "条，未导入" + std::to_string(refused) + "条，提示" + std::to_string(warnings) + "条。"
                               : "imported " + counts + ", refused " + std::to_string(refused) + ", hints " + std::to_string(warnings)));
    return refused ? exit_invalid_record : exit_ok;
  };
}

Runner define_draft_save(CLI::App& command, Language language) {
  struct Arguments {
    std::string kind, json, id;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_option("kind", arguments->kind, help(language, {"类别，如 home_visit", "the kind, as home_visit"}))->required();
  command.add_option("--json", arguments->json, help(language, {"内容，- 从标准输入读", "its content, - for standard input"}))->required();
  command.add_option("--id", arguments->id, help(language, {"改写这份草稿", "overwrite this draft"}));
  return [arguments](App& app) -> Result<int> {
    std::string json = arguments->json;
    if (json == "-") { DOORSTEP_ASSIGN(json, read_input("-")); }
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const Kind* kind, find_kind(replica.schema(), arguments->kind));
    RecordId id = replica.new_draft_id();
    if (!arguments->id.empty()) { DOORSTEP_ASSIGN(id, RecordId::parse(arguments->id)); }
    DOORSTEP_TRY(replica.save_draft(id, kind->name, json));
    DOORSTEP_TRY(app.print(Json().add("draft", id.hex()), id.hex()));
    return 0;
  };
}

Runner define_draft_list(CLI::App& command, Language language) {
  struct Arguments {
    std::string kind;
    bool full = false;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_option("kind", arguments->kind, help(language, {"只列这个类别", "only this kind"}));
  command.add_flag("--full", arguments->full, help(language, {"同时显示内容", "with their content"}));
  return [arguments](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    if (!arguments->kind.empty()) DOORSTEP_TRY(find_kind(replica.schema(), arguments->kind));
    for (const Kind* kind : replica.schema().kinds()) {
      if (!arguments->kind.empty() && kind->name != arguments->kind) continue;
      DOORSTEP_ASSIGN(const auto drafts, replica.drafts(kind->name));
      for (const auto& [id, content] : drafts) {
        Json json;
        json.add("draft", id.hex()).add("kind", kind->name);
        if (arguments->full) json.raw("content", content);
        DOORSTEP_TRY(app.print(json, id.hex() + "  " + kind->name + (arguments->full ? "  " + content : "")));
      }
    }
    return 0;
  };
}

Runner define_draft_discard(CLI::App& command, Language language) {
  auto id = std::make_shared<std::string>();
  command.add_option("id", *id, help(language, {"草稿编号", "the draft's id"}))->required();
  return [id](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(const RecordId draft, RecordId::parse(*id));
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_TRY(replica.discard_draft(draft));
    DOORSTEP_TRY(app.print(Json().add("discarded", draft.hex()), app.say({"已丢弃。", "Discarded."})));
    return 0;
  };
}

}  // namespace doorstep::cli
