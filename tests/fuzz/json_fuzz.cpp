// JSON at the edges (sdk/records/json): the bounded reader, the writer for text, and a record's edits beside what is shown already.
// The first byte chooses. A value that was read and is written again reads as the same; bounds hold; a refusal has a sentence.
#include "sdk/records/json.hpp"

#include "sdk/records/json_value.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;

void write(std::string& out, const JsonValue& value) {
  const char* separator = "";
  switch (value.kind) {
    case JsonValue::Kind::null: out += "null"; return;
    case JsonValue::Kind::boolean: out += value.truth ? "true" : "false"; return;
    case JsonValue::Kind::number: out += value.text; return;
    case JsonValue::Kind::text: append_json_text(out, value.text); return;
    case JsonValue::Kind::array:
    case JsonValue::Kind::object: break;
  }
  const bool object = value.kind == JsonValue::Kind::object;
  out += object ? '{' : '[';
  for (const auto& item : value.items) {
    out += std::exchange(separator, ",");
    if (object) append_json_text(out, item.name), out += ':';
    write(out, item);
  }
  out += object ? '}' : ']';
}

std::size_t count(const JsonValue& value, std::size_t depth, const JsonLimits& bounds) {
  const bool nests = value.is(JsonValue::Kind::array) || value.is(JsonValue::Kind::object);
  require(!nests || depth < bounds.depth_max);
  if (value.is(JsonValue::Kind::object)) require(value.items.size() <= bounds.members_max);
  std::size_t out = 1;
  for (const auto& item : value.items) out += count(item, depth + 1, bounds);
  return out;
}

void value(std::string_view text, Verdict& verdict) {
  const JsonLimits bounds{.bytes_max = 4096, .depth_max = 8, .values_max = 64, .members_max = 16};
  const auto parsed = parse_json(text, bounds);
  verdict.note(parsed.code());
  if (!parsed) return require(!parsed.error().message().empty());
  require(count(*parsed, 0, bounds) <= bounds.values_max);
  std::string first, second;
  write(first, *parsed);
  const auto again = parse_json(first, {});
  require(again.ok());
  write(second, *again);
  require(first == second);
  verdict.note(view(first));
}

/// A person as she is shown, then the input as an edit of her.
void edit(std::string_view json, Verdict& verdict) {
  CountingRandom random;
  const auto& kind = *Schema::builtin().kind("person");
  static constexpr std::string_view shown_json =
      R"({"name": "陈桂兰", "self_care": "2", "comm_needs": ["1", "2"], "phones": [{"number": "13900001111", "owner": "本人"}]})";
  ShownValues shown;
  for (const auto& [address, value] : assignments_from_json(kind, shown_json, random).value()) shown[address] = value;
  const auto edits = assignments_from_json(kind, json, random, &shown);
  verdict.note(edits.code());
  if (!edits)
    return require(edits.code() == Code::invalid_argument || edits.code() == Code::invalid_record || edits.code() == Code::too_large);
  for (const auto& [address, value] : *edits) shown[address] = value;
  const auto text = json_from_shown(kind, shown);
  verdict.note(view(text));
  require(parse_json(text, {}).ok());
}

void run(ByteView input, Verdict& verdict) {
  if (input.empty()) return;
  (input[0] % 2 == 0 ? value : edit)(text_view(input.subspan(1)), verdict);
}

std::vector<Seed> seeds() {
  const auto bytes = [](std::uint8_t mode, std::string_view text) {
    Bytes out{mode};
    append(out, view(text));
    return out;
  };
  return {{"numbers", bytes(0, R"([0, -1, 7.30, 1e-7, 12345678901234567890123, -0.0, 1E+400])")},
          {"texts", bytes(0, R"({"a": "\u00e9\ud83d\ude00\n\"", "名": ["陈桂兰", "", null, true, false], "b": {}})")},
          {"nested", bytes(0, R"([[[[[[[{"x": 1}]]]]]]])")},
          {"edit", bytes(1, R"({"self_care": "3", "comm_needs": {"add": ["3"], "remove": ["2"]}, "name": null})")},
          {"structure", bytes(1, R"({"family_doctor": {"signed": true, "team": "一组"}, "phones": [{"number": "13800002222"}]})")},
          {"date", bytes(1, R"({"birth_date": "1965-11-07", "bedridden": false, "_unknown": 1})")}};
}

const Registration registration({"json", run, seeds});

}  // namespace
