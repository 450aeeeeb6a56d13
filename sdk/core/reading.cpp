// Queries, history, the conflict inbox, and what is pending.
#include <algorithm>

#include "sdk/core/index_key.hpp"
#include "sdk/core/shown.hpp"
#include "sdk/core/view.hpp"
#include "sdk/records/text.hpp"
#include "sync/codec.hpp"

namespace doorstep {

namespace {

using Op = QueryCondition::Op;

struct Plan {
  const Kind* kind = nullptr;
  std::vector<std::pair<const Field*, const QueryCondition*>> conditions;
  const Field* order = nullptr;
  std::string text;
  // The index range to scan, if one helps.
  const Field* index = nullptr;
  std::string low, high;  // inclusive; high empty: to the end of the index
  bool looks_inside() const { return !conditions.empty() || !text.empty() || order; }
};

Value coerced(const Field& field, Value value) {
  if (field.type == Type::code)
    if (auto* text = std::get_if<std::string>(&value)) return CodeText{*text};
  if (field.type == Type::decimal)
    if (auto* number = std::get_if<std::int64_t>(&value)) return Decimal{*number, 0};
  return normalized(field, std::move(value));
}

bool holds(const Schema& schema, const Record& record, const Field& field, Op op, const Value& wanted) {
  if (field.is_set) {
    if (op != Op::contains && op != Op::equal) return false;
    for (const auto& reg : record.field(field.id)) {
      if (reg.address.subfield != 0) continue;
      const Reading reading = read(schema, record, reg);
      if (!reading.shown || !has_value(reading.shown->value)) continue;
      const Value element = field.keyed_by_code() ? Value(CodeText{reg.address.element}) : reading.shown->value;
      if (compare_values(element, wanted) == 0) return true;
    }
    return false;
  }
  const Register* reg = record.find({field.id, {}, 0});
  const Reading reading = reg ? read(schema, record, *reg) : Reading{};
  const Value shown = reading.shown ? reading.shown->value : Value{};
  if (op == Op::contains) {
    const auto *text = std::get_if<std::string>(&shown), *part = std::get_if<std::string>(&wanted);
    return text && part && text->find(*part) != std::string::npos;
  }
  if (!has_value(shown)) return op == Op::equal && !has_value(wanted);
  const int order = compare_values(shown, wanted);
  switch (op) {
    case Op::equal: return order == 0;
    case Op::at_least: return order >= 0;
    case Op::at_most: return order <= 0;
    case Op::less: return order < 0;
    case Op::greater: return order > 0;
    case Op::contains: break;
  }
  return false;
}

bool text_matches(const Schema& schema, const Record& record, const Kind& kind, const std::string& text) {
  for (const auto& field : kind.fields) {
    if (!field.searchable) continue;
    for (const auto& reg : record.field(field.id)) {
      const Reading reading = read(schema, record, reg);
      const auto* shown = reading.shown ? std::get_if<std::string>(&reading.shown->value) : nullptr;
      if (shown && shown->find(text) != std::string::npos) return true;
    }
  }
  return false;
}

bool matches(const Schema& schema, const Record& record, const Plan& plan) {
  return std::all_of(plan.conditions.begin(), plan.conditions.end(),
                     [&](const auto& c) { return holds(schema, record, *c.first, c.second->op, coerced(*c.first, c.second->value)); }) &&
         (plan.text.empty() || text_matches(schema, record, *plan.kind, plan.text));
}

Result<Plan> plan_of(const Core& core, const Query& query) {
  Plan plan;
  plan.kind = core.schema().kind(query.kind);
  if (!plan.kind) return Error(Code::invalid_argument, "there is no record kind \"" + query.kind + "\" in the schema");
  const auto field_named = [&](const std::string& name) -> Result<const Field*> {
    if (const Field* field = plan.kind->field(name)) return field;
    return Error(Code::invalid_argument, query.kind + " has no field \"" + name + "\"");
  };
  for (const auto& condition : query.where) {
    DOORSTEP_ASSIGN(const Field* field, field_named(condition.field));
    plan.conditions.emplace_back(field, &condition);
    if (plan.index || !field->indexed || !has_value(condition.value)) continue;
    const std::string key = index_key(coerced(*field, condition.value));
    const bool whole = key.size() < 65;
    if (condition.op == Op::equal || (condition.op == Op::contains && field->is_set))
      plan.index = field, plan.low = plan.high = key;
    else if (whole && (condition.op == Op::at_least || condition.op == Op::greater))
      plan.index = field, plan.low = key, plan.high = key.substr(0, 1) + std::string(66, '\xff');
    else if (whole && (condition.op == Op::at_most || condition.op == Op::less))
      plan.index = field, plan.low = key.substr(0, 1), plan.high = key;
  }
  if (!query.order_by.empty()) { DOORSTEP_ASSIGN(plan.order, field_named(query.order_by)); }
  if (!query.text.empty()) {
    auto normal = nfc(query.text);
    if (!normal) return Error(Code::invalid_argument, "the text to search for is not valid UTF-8");
    plan.text = *normal;
  }
  return plan;
}

}  // namespace

namespace {
Result<Record> decode_record(ByteView encoded) {
  Decoder in(encoded, encoded.size() + 1);
  Record record = Record::decode(in);
  DOORSTEP_TRY(in.finish("record"));
  return record;
}
}  // namespace

Result<std::optional<Bytes>> read_record(Core& core, SpaceState& space, const RecordId& id) {
  DOORSTEP_ASSIGN(Statement rows, core.database().prepare("SELECT n, body FROM record WHERE id = ?"));
  rows.bind(1, id);
  std::optional<Bytes> found;
  for (;;) {
    DOORSTEP_ASSIGN(const bool row, rows.step());
    if (!row) break;
    if (space_of_row(rows.column_int(0)) != space.n) continue;
    Bytes unpacked;
    DOORSTEP_ASSIGN(const ByteView encoded, core.unpack_body(rows.column_blob(1), unpacked));
    if (!found || is_created(encoded)) found = to_bytes(encoded);
  }
  return found;
}

Result<std::vector<RecordView>> run_query(Core& core, SpaceState& space, const Query& query) {
  DOORSTEP_ASSIGN(const Plan plan, plan_of(core, query));
  const auto authors = authors_of(space, core.device());
  const auto low = record_row(space.n, plan.kind->id, 0), high = record_row(space.n, plan.kind->id, record_serial_max);
  const char* sql = plan.index ? "SELECT r.n, r.id, r.body FROM entry e CROSS JOIN record r ON r.n = e.record "
                                 "WHERE e.field = ? AND e.key BETWEEN ? AND ? ORDER BY r.n"
                               : "SELECT n, id, body FROM record WHERE n BETWEEN ? AND ? ORDER BY n";
  DOORSTEP_ASSIGN(Statement rows, core.database().prepare(sql));
  if (plan.index)
    rows.bind(1, index_of(space.n, plan.kind->id, plan.index->id)).bind(2, ByteView(view(plan.low))).bind(3, ByteView(view(plan.high)));
  else
    rows.bind(1, low).bind(2, high);

  std::vector<RecordView> out;
  std::vector<Value> order_values;
  std::int64_t last_row = 0;
  Bytes unpacked;
  const std::size_t enough = plan.order ? SIZE_MAX : query.limit > SIZE_MAX - query.offset ? SIZE_MAX : query.limit + query.offset;
  while (out.size() < enough) {
    DOORSTEP_ASSIGN(const bool row, rows.step());
    if (!row) break;
    if (rows.column_int(0) == last_row) continue;  // an element twice in the range
    last_row = rows.column_int(0);
    DOORSTEP_ASSIGN(const ByteView encoded, core.unpack_body(rows.column_blob(2), unpacked));
    if (!is_created(encoded)) continue;
    Value order_value;
    if (plan.looks_inside()) {
      DOORSTEP_ASSIGN(const Record record, decode_record(encoded));
      if (!matches(core.schema(), record, plan)) continue;
      const Register* reg = plan.order ? record.find({plan.order->id, {}, 0}) : nullptr;
      const Reading reading = reg ? read(core.schema(), record, *reg) : Reading{};
      if (reading.shown) order_value = reading.shown->value;
    }
    DOORSTEP_ASSIGN(const RecordId id, rows.column_id<RecordId>(1));
    if (plan.order) order_values.push_back(std::move(order_value));
    out.emplace_back(std::make_shared<const RecordView::Data>(core.schema(), authors, id, plan.kind->id, to_bytes(encoded)));
  }
  if (plan.order) {
    std::vector<std::size_t> ranks(out.size());
    for (std::size_t i = 0; i < ranks.size(); ++i) ranks[i] = i;
    std::stable_sort(ranks.begin(), ranks.end(), [&](std::size_t a, std::size_t b) {
      const bool has_a = has_value(order_values[a]), has_b = has_value(order_values[b]);
      if (has_a != has_b) return has_a;
      const int order = compare_values(order_values[a], order_values[b]);
      return query.descending ? order > 0 : order < 0;
    });
    std::vector<RecordView> sorted;
    for (auto rank : ranks) sorted.push_back(out[rank]);
    out = std::move(sorted);
  } else if (query.descending) {
    std::reverse(out.begin(), out.end());
  }
  const auto from = std::min(query.offset, out.size());
  out.erase(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(from));
  if (out.size() > query.limit) out.erase(out.begin() + static_cast<std::ptrdiff_t>(query.limit), out.end());
  return out;
}

namespace {

void name_address(const Kind* kind, const Address& address, HistoryEntry& entry) {
  const Field* field = kind ? kind->field(address.field) : nullptr;
  entry.field = field ? field->name : "#" + std::to_string(address.field);
  entry.element = field && !field->keyed_by_code() ? to_hex(view(address.element)) : address.element;
  if (address.subfield == 0) return;
  const Subfield* subfield = field ? field->subfield(address.subfield) : nullptr;
  entry.subfield = subfield ? subfield->name : "#" + std::to_string(address.subfield);
}

}  // namespace

Result<std::vector<HistoryEntry>> history_of(Core& core, SpaceState& space, const RecordId& id, std::string_view field_name) {
  DOORSTEP_ASSIGN(const auto encoded, read_record(core, space, id));
  if (!encoded) return Error(Code::not_found, "there is no such record in this space");
  DOORSTEP_ASSIGN(const Record stored, decode_record(*encoded));
  const Kind* kind = core.schema().kind(stored.kind());
  FieldId wanted = 0;
  if (!field_name.empty()) {
    const Field* field = kind ? kind->field(field_name) : nullptr;
    if (!field) return Error(Code::invalid_argument, "that kind has no field \"" + std::string(field_name) + "\"");
    wanted = field->id;
  }
  std::vector<HistoryEntry> out;
  for (const auto& mark : stored.marks()) {
    DOORSTEP_ASSIGN(const auto located, core.find_transaction(space, {mark.device, mark.first}));
    if (!located) continue;
    Counter counter = mark.first;
    for (const auto& change : located->transaction.changes)
      for (const auto& operation : change.operations) {
        const Counter at = counter++;
        if (change.record != id || change.kind != stored.kind() || (wanted != 0 && operation.address.field != wanted)) continue;
        auto& entry = out.emplace_back();
        name_address(kind, operation.address, entry);
        entry.value = operation.value;
        entry.device = located->device;
        entry.author = space.label_of(located->device);
        entry.time = {mark.claimed_ms, mark.offset_ms, mark.confirmed};
        entry.note = located->transaction.note;
        entry.dot = {mark.device, at};
        entry.supersedes = operation.supersedes;
        entry.pending = located->log == 0;
      }
  }
  for (const auto& later : out)
    for (const auto& dot : later.supersedes)
      for (auto& entry : out)
        if (entry.dot == dot && entry.field == later.field && entry.element == later.element && entry.subfield == later.subfield)
          entry.superseded_by.push_back(later.dot);
  // Causality first: whoever names a dot stands after it; time orders the rest.
  std::stable_sort(out.begin(), out.end(), [](const HistoryEntry& a, const HistoryEntry& b) {
    return std::pair(a.time.corrected_ms(), a.dot) < std::pair(b.time.corrected_ms(), b.dot);
  });
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::size_t moves = out.size() - i;  // operations that name each other in a circle have no order, and must not be sorted for ever
    for (std::size_t k = i + 1; k < out.size() && moves > 0; ++k)
      if (std::find(out[i].supersedes.begin(), out[i].supersedes.end(), out[k].dot) != out[i].supersedes.end()) {
        std::rotate(out.begin() + static_cast<std::ptrdiff_t>(i), out.begin() + static_cast<std::ptrdiff_t>(k),
                    out.begin() + static_cast<std::ptrdiff_t>(k + 1));
        k = i;
        --moves;
      }
  }
  return out;
}

Result<std::vector<Conflict>> conflicts_in(Core& core, SpaceState& space) {
  std::vector<Conflict> out;
  const auto authors = authors_of(space, core.device());
  DOORSTEP_ASSIGN(Statement rows, core.database().prepare("SELECT r.n, r.id, r.body FROM conflict c JOIN record r ON r.n = c.record "
                                                          "WHERE c.record BETWEEN ? AND ? ORDER BY r.n"));
  rows.bind(1, record_row(space.n, 0, 0)).bind(2, record_row(space.n + 1, 0, 0) - 1);
  for (;;) {
    DOORSTEP_ASSIGN(const bool row, rows.step());
    if (!row) return out;
    DOORSTEP_ASSIGN(const Record record, core.decode_body(rows.column_blob(2)));
    DOORSTEP_ASSIGN(const RecordId id, rows.column_id<RecordId>(1));
    const Kind* kind = core.schema().kind(record.kind());
    for (const auto& reg : record.registers()) {
      const Reading reading = read(core.schema(), record, reg);
      if (!reading.conflict) continue;
      HistoryEntry named;
      name_address(kind, reg.address, named);
      Conflict conflict{id, kind ? kind->name : "#" + std::to_string(record.kind()), named.field, named.element, named.subfield, {}};
      const auto add = [&](const Sibling& sibling) {
        const Mark& mark = record.marks()[sibling.mark];
        conflict.values.push_back({sibling.value, authors->device(mark.device), authors->label(mark.device),
                                   TimeClaim{mark.claimed_ms, mark.offset_ms, mark.confirmed}, mark.approves});
      };
      if (reading.shown) add(*reading.shown);
      for (const auto* sibling : reading.distinct)
        if (sibling != reading.shown) add(*sibling);
      out.push_back(std::move(conflict));
    }
  }
}

Result<Pending> pending_in(Core& core, SpaceState& space) {
  Pending out;
  out.waits_for = space.waits_for(core.device());
  {
    DOORSTEP_ASSIGN(Statement rows, core.database().prepare("SELECT coalesce(sum(transactions), 0), coalesce(sum(length(bytes)), 0), "
                                                            "coalesce(min(oldest_ms), 0) FROM pending WHERE space = ?"));
    rows.bind(1, space.n);
    DOORSTEP_ASSIGN(const bool row, rows.step());
    if (row) {
      out.unsealed = out.transactions = static_cast<std::size_t>(rows.column_int(0));
      out.bytes = static_cast<std::size_t>(rows.column_int(1));
      out.oldest_ms = rows.column_int(2);
    }
  }
  for (const auto& [n, log] : space.logs) {
    if (log.head.name.device != core.device()) continue;
    auto receipted = core.database().query_int("SELECT position FROM receipt WHERE log = ?", n);
    const Position from = receipted ? static_cast<Position>(*receipted) : 0;
    DOORSTEP_ASSIGN(Statement rows,
                    core.database().prepare(
                        "SELECT coalesce(sum(transactions), 0), coalesce(sum(length(bytes)), 0) FROM segment WHERE n BETWEEN ? AND ?"));
    rows.bind(1, segment_row(n, from + 1)).bind(2, segment_row(n, log.head.position));
    DOORSTEP_ASSIGN(const bool row, rows.step());
    if (!row) continue;
    out.transactions += static_cast<std::size_t>(rows.column_int(0));
    out.bytes += static_cast<std::size_t>(rows.column_int(1));
  }
  return out;
}

}  // namespace doorstep
