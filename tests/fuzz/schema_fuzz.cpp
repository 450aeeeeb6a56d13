// Hostile schema documents, and hostile records against the built-in one; the first byte chooses. What must hold: no crash,
// no sanitizer report, bounded work, and a document that was accepted writes itself and reads that again as the same.
#include <cstdlib>

#include "sdk/records/json.hpp"
#include "sdk/records/schema.hpp"
#include "sdk/records/validation.hpp"

namespace {

using namespace doorstep;

void require(bool condition) {
  if (!condition) std::abort();
}

class CountingRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(state_ = state_ * 6364136223846793005u + 1442695040888963407u);
  }

 private:
  std::uint64_t state_ = 1;
};

void document(std::string_view json) {
  const auto schema = Schema::parse(json, &Schema::builtin());
  if (!schema.ok()) {
    require(!schema.error().message().empty());
    return;
  }
  const auto written = schema->to_json();
  const auto again = Schema::parse(written, &Schema::builtin());
  require(again.ok() && again->to_json() == written);
  require(again->compatible_with(*schema).ok());
  const auto both = Schema::combine(Schema::builtin(), *schema);
  if (both.ok()) require(both->kind("person") != nullptr);
}

void record(const Kind& kind, std::string_view json, bool allow_test_ids) {
  CountingRandom random;
  const auto assignments = assignments_from_json(kind, json, random);
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
  if (blocks(problems)) require(to_error(kind, problems).code() == Code::invalid_record);
  // Structures without a value in them, and null, are not shown; everything else comes back as it was.
  const auto text = json_from_shown(kind, shown);
  const auto again = assignments_from_json(kind, text, random);
  require(again.ok());
  ShownValues second;
  for (const auto& [address, value] : *again) second[address] = value;
  require(json_from_shown(kind, second).size() == text.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view json(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto& kinds = Schema::builtin().kinds();
  if (data[0] % 4 == 0)
    document(json);
  else
    record(*kinds[data[0] % 3], json, (data[0] & 128) != 0);
  return 0;
}
