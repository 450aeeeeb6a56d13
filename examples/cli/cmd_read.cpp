// Reading: one record, or those that a query finds.
#include <CLI/CLI.hpp>

#include "examples/cli/commands.hpp"
#include "examples/cli/fields.hpp"

namespace doorstep::cli {

Runner define_get(CLI::App& command, Language language) {
  struct Arguments {
    std::string id;
    std::vector<std::string> fields;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_option("id", arguments->id, help(language, {"记录编号，或开头至少6位", "the record's id, or its first 6 digits or more"}))
      ->required();
  command.add_option("--field", arguments->fields,
                     help(language, {"只显示这个字段的值，一行一个", "only this field's values, one a line"}));
  return [arguments](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const App::Place place, app.place(replica, arguments->id));
    DOORSTEP_ASSIGN(const RecordView view, replica.get(place.space, place.record));
    if (!arguments->fields.empty() && !view.kind()) return Error(Code::unsupported, "this build does not know the record's kind");
    for (const std::string& name : arguments->fields) {
      DOORSTEP_TRY(find_slot(*view.kind(), name));
      const auto values = field_values(view, name);
      if (app.json()) {
        DOORSTEP_TRY(app.print_line(Json().add("id", place.record.hex()).add("field", name).add("values", values).object()));
      } else {
        for (const std::string& value : values) DOORSTEP_TRY(app.print_line(value));
      }
    }
    if (!arguments->fields.empty()) return 0;
    if (app.json() || !view.kind()) {
      DOORSTEP_TRY(app.print_line(view.json()));
      return 0;
    }
    const bool zh = app.language() == Language::zh;
    Table table(
        {std::string(app.say({"字段", "field"})), std::string(app.say({"名称", "label"})), std::string(app.say({"内容", "value"}))});
    table.row({"id", std::string(app.say({"编号", "id"})), place.record.hex()});
    table.row({"kind", std::string(app.say({"类别", "kind"})), zh ? view.kind()->label.zh : view.kind()->label.en});
    for (const Field& field : view.kind()->fields) {
      const std::string text = field_text(view, field.name, app.language());
      if (!text.empty()) table.row({field.name, zh ? field.label.zh : field.label.en, text});
    }
    DOORSTEP_TRY(app.print_line(table.text(100)));
    return 0;
  };
}

Runner define_list(CLI::App& command, Language language) {
  struct Arguments {
    std::string kind, text, order, columns;
    std::vector<std::string> where;
    std::size_t limit = SIZE_MAX, offset = 0;
    bool descending = false, ids = false, count = false;
  };
  auto arguments = std::make_shared<Arguments>();
  command.add_option("kind", arguments->kind, help(language, {"类别，如 person", "the kind, as person"}))->required();
  command
      .add_option("--where", arguments->where,
                  help(language, {"条件：字段=值，也可用 >= <= > < ~（包含）；可写多个",
                                  "FIELD=VALUE, or with >= <= > < ~ (contains); all must hold"}))
      ->expected(1)
      ->take_all();
  command.add_option("--text", arguments->text, help(language, {"文字（姓名、地址等）", "contained in a name, an address ..."}));
  command.add_option("--order", arguments->order, help(language, {"按此字段排序", "order by this field"}));
  command.add_flag("--desc", arguments->descending, help(language, {"倒序", "descending"}));
  command.add_option("--limit", arguments->limit, help(language, {"最多几条", "at most so many"}));
  command.add_option("--offset", arguments->offset, help(language, {"跳过几条", "leave out the first so many"}));
  command.add_option("--columns", arguments->columns, help(language, {"显示的字段，逗号分隔", "fields to show, with commas between"}));
  command.add_flag("--ids", arguments->ids, help(language, {"只显示编号", "only ids, one a line"}));
  command.add_flag("--count", arguments->count, help(language, {"只显示条数", "only how many"}));
  return [arguments](App& app) -> Result<int> {
    DOORSTEP_ASSIGN(Replica replica, app.open());
    DOORSTEP_ASSIGN(const SpaceInfo info, app.space(replica));
    DOORSTEP_ASSIGN(const Kind* kind, find_kind(replica.schema(), arguments->kind));
    Query query{.kind = kind->name};
    for (const std::string& text : arguments->where) {
      DOORSTEP_ASSIGN(QueryCondition condition, parse_condition(*kind, text));
      query.where.push_back(std::move(condition));
    }
    if (!arguments->order.empty()) DOORSTEP_TRY(find_slot(*kind, arguments->order));
    query.text = arguments->text;
    query.order_by = arguments->order;
    query.descending = arguments->descending;
    query.limit = arguments->limit;
    query.offset = arguments->offset;

    std::vector<std::string> columns;
    for (std::size_t at = 0; at < arguments->columns.size();) {
      const auto end = std::min(arguments->columns.find(',', at), arguments->columns.size());
      columns.push_back(arguments->columns.substr(at, end - at));
      DOORSTEP_TRY(find_slot(*kind, columns.back()));
      at = end + 1;
    }
    if (columns.empty())  // what a person would look for by: few columns fit a terminal
      for (const Field& field : kind->fields)
        if ((field.searchable || field.indexed) && field.type != Type::record && columns.size() < 5) columns.push_back(field.name);

    if (arguments->count && query.where.empty() && query.text.empty()) {
      DOORSTEP_ASSIGN(const std::size_t count, replica.count(info.id, kind->name));
      DOORSTEP_TRY(app.print(Json().add("count", count), std::to_string(count)));
      return 0;
    }
    DOORSTEP_ASSIGN(const auto records, replica.query(info.id, query));
    if (arguments->count) {
      DOORSTEP_TRY(app.print(Json().add("count", records.size()), std::to_string(records.size())));
      return 0;
    }
    std::vector<std::string> head = {std::string(app.say({"编号", "id"}))};
    for (const std::string& column : columns) {
      const auto named = find_slot(*kind, column);
      head.push_back(app.language() == Language::zh ? named->slot->label.zh : named->slot->label.en);
    }
    Table table(std::move(head));
    for (const RecordView& view : records) {
      if (arguments->ids) {
        DOORSTEP_TRY(app.print(Json().add("id", view.id().hex()), view.id().hex()));
      } else if (app.json()) {
        DOORSTEP_TRY(app.print_line(view.json()));
      } else {
        std::vector<std::string> row = {short_id(view.id().hex())};
        for (const std::string& column : columns) row.push_back(field_text(view, column, app.language()));
        table.row(std::move(row));
      }
    }
    if (!app.json() && !arguments->ids)
      DOORSTEP_TRY(app.print_line(table.rows() ? table.text() : std::string(app.say({"没有。", "None."}))));
    return 0;
  };
}

}  // namespace doorstep::cli
