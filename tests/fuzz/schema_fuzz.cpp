// Hostile schema documents, and hostile records against the built-in one; the first byte chooses. What must hold: no crash,
// no sanitizer report, bounded work, and a document that was accepted writes itself and reads that again as the same.
#include "sdk/records/json.hpp"
#include "sdk/records/schema.hpp"
#include "sdk/records/validation.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;

void document(std::string_view json, Verdict& verdict) {
  const auto schema = Schema::parse(json, &Schema::builtin());
  verdict.note(schema.code());
  if (!schema.ok()) {
    require(!schema.error().message().empty());
    return;
  }
  const auto written = schema->to_json();
  const auto again = Schema::parse(written, &Schema::builtin());
  require(again.ok() && again->to_json() == written);
  verdict.note(view(written));
  require(again->compatible_with(*schema).ok());
  const auto both = Schema::combine(Schema::builtin(), *schema);
  if (both.ok()) require(both->kind("person") != nullptr);
}

void record(const Kind& kind, std::string_view json, bool allow_test_ids, Verdict& verdict) {
  CountingRandom random;
  const auto assignments = assignments_from_json(kind, json, random);
  verdict.note(assignments.code());
  if (!assignments.ok()) return;
  ShownValues shown;
  std::vector<Address> changed;
  for (const auto& [address, value] : *assignments) {
    shown[address] = value;
    changed.push_back(address);
  }
  ValidationContext context;
  context.today = Date{20'526};
  context.creates = true;
  context.allow_test_ids = allow_test_ids;
  const auto problems = validate(kind, shown, changed, context);
  verdict.note(problems.size());
  if (blocks(problems)) require(to_error(kind, problems).code() == Code::invalid_record);
  // Structures without a value in them, and null, are not shown; everything else comes back as it was.
  const auto text = json_from_shown(kind, shown);
  const auto again = assignments_from_json(kind, text, random);
  require(again.ok());
  ShownValues second;
  for (const auto& [address, value] : *again) second[address] = value;
  require(json_from_shown(kind, second).size() == text.size());
}

void run(ByteView input, Verdict& verdict) {
  if (input.empty()) return;
  const std::string_view json = text_view(input.subspan(1));
  const auto& kinds = Schema::builtin().kinds();
  if (input[0] % 4 == 0)
    document(json, verdict);
  else
    record(*kinds[input[0] % 3], json, (input[0] & 128) != 0, verdict);
}

const Registration registration({"schema", run});

}  // namespace
