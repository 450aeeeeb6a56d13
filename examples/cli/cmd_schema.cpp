// The schema: what kinds, fields and codes there are, and whether a document of one's own is one. Needs no store.
#include <CLI/CLI.hpp>

#include "examples/cli/commands.hpp"
#include "examples/cli/fields.hpp"

namespace doorstep::cli {

namespace {

const std::string& label_in(const Label& label, Language language) { return language == Language::zh ? label.zh : label.en; }

Json field_json(const Kind& kind, const Field& field) {
  Json out;
  out.add("kind", kind.name).add("field", field.name).add("id", static_cast<std::uint64_t>(field.id)).add("type", type_name(field.type));
  out.add("set", field.is_set).add("policy", policy_name(field.policy)).add("required", field.required);
  out.add("indexed", field.indexed).add("searchable", field.searchable).add("sensitivity", sensitivity_name(field.sensitivity));
  if (field.codes) out.add("codes", field.codes->id);
  out.add("zh", field.label.zh).add("en", field.label.en);
  std::vector<std::string> subfields;
  for (const Subfield& subfield : field.subfields) subfields.push_back(subfield.name);
  if (!subfields.empty()) out.add("subfields", subfields);
  return out;
}

Status show_kind(const App& app, const Kind& kind) {
  Table table({std::string(app.say({"字段", "field"})), std::string(app.say({"名称", "label"})), std::string(app.say({"类型", "type"})),
               std::string(app.say({"代码表", "codes"})), std::string(app.say({"合并", "policy"})),
               std::string(app.say({"必填", "required"}))});
  for (const Field& field : kind.fields) {
    if (app.json()) {
      DOORSTEP_TRY(app.print_line(field_json(kind, field).object()));
      continue;
    }
    const std::string required(field.required ? app.say({"是", "yes"}) : field.required_when ? app.say({"视情况", "sometimes"}) : "");
    table.row({field.name, label_in(field.label, app.language()), std::string(type_name(field.type)) + (field.is_set ? " *" : ""),
               field.codes ? field.codes->id : "", policy_name(field.policy), required});
    for (const Subfield& subfield : field.subfields)
      table.row({"  ." + subfield.name, label_in(subfield.label, app.language()), type_name(subfield.type),
                 subfield.codes ? subfield.codes->id : "", "", std::string(subfield.required ? app.say({"是", "yes"}) : "")});
  }
  return app.json() ? Status() : app.print_line(table.text());
}

Status show_codes(const App& app, const CodeList& list) {
  Table table({std::string(app.say({"代码", "code"})), "zh", "en"});
  for (const CodeEntry& entry : list.codes) {
    if (app.json())
      DOORSTEP_TRY(
          app.print_line(Json().add("list", list.id).add("code", entry.code).add("zh", entry.label.zh).add("en", entry.label.en).object()));
    table.row({entry.code, entry.label.zh, entry.label.en});
  }
  return app.json() ? Status() : app.print_line(table.text());
}

}  // namespace

Runner define_schema_show(CLI::App& command, Language language) {
  auto name = std::make_shared<std::string>();
  command.add_option("name", *name, help(language, {"类别或代码表；不给则列出全部", "a kind or a code list; all, if not given"}));
  return [name](App& app) -> Result<int> {
    const Schema& schema = Schema::builtin();
    if (name->empty()) {
      if (app.json()) {
        std::string document = schema.to_json();
        std::erase(document, '\n');  // between members only: inside of texts a line end is written \n
        DOORSTEP_TRY(app.print_line(document));
        return 0;
      }
      Table table(
          {std::string(app.say({"类别", "kind"})), std::string(app.say({"名称", "label"})), std::string(app.say({"字段数", "fields"}))});
      for (const Kind* kind : schema.kinds())
        table.row({kind->name, label_in(kind->label, app.language()), std::to_string(kind->fields.size())});
      DOORSTEP_TRY(app.print_line(table.text()));
      std::string lists(app.say({"代码表：", "code lists:"}));
      for (const CodeList* list : schema.code_lists()) lists += " " + list->id;
      DOORSTEP_TRY(app.print_line(lists));
      return 0;
    }
    if (const CodeList* list = schema.code_list(*name)) {
      DOORSTEP_TRY(show_codes(app, *list));
      return 0;
    }
    DOORSTEP_ASSIGN(const Kind* kind, find_kind(schema, *name));
    DOORSTEP_TRY(show_kind(app, *kind));
    return 0;
  };
}

Runner define_schema_check(CLI::App& command, Language language) {
  auto file = std::make_shared<std::string>();
  command.add_option("file", *file, help(language, {"表单定义（JSON），- 为标准输入", "the document (JSON), - for standard input"}))
      ->required();
  return [file](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(const std::string text, read_input(*file));
    const Schema& base = Schema::builtin();
    auto checked = Schema::parse(text, &base);
    if (checked) checked = Schema::combine(base, *checked);
    if (!checked) {  // not a wrong use of this command: its answer is no
      print_note(app.json() ? error_json(checked.error(), app.language()) : sentence(checked.error(), app.language()));
      return exit_failed;
    }
    DOORSTEP_TRY(
        app.print(Json().add("valid", true).add("kinds", checked->kinds().size()),
                  std::string(app.say({"可以使用；与内置的合起来，类别数：", "fit for use; kinds together with the built-in ones: "})) +
                      std::to_string(checked->kinds().size())));
    return 0;
  };
}

}  // namespace doorstep::cli
