// Hostile CSV: any bytes, in chunks whose size the first byte chooses. What must hold: no crash, no sanitizer report, the
// same rows whatever the chunks, a failure stays, and every JSON that a row becomes is JSON that the records can read.
#include <cstdlib>

#include "sdk/records/csv.hpp"
#include "sdk/records/json.hpp"

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

struct Parsed {
  std::vector<CsvRow> rows;
  Code end = Code::ok;
};

Parsed parse(std::string_view csv, std::size_t chunk) {
  Parsed out;
  CsvParser parser([&](std::size_t, const CsvRow& cells) -> Status {
    out.rows.push_back(cells);
    return {};
  });
  for (std::size_t at = 0; at < csv.size(); at += chunk)
    if (out.end = parser.feed(csv.substr(at, chunk)).code(); out.end != Code::ok) {
      require(parser.feed("a").code() == out.end && parser.finish().code() == out.end);
      return out;
    }
  out.end = parser.finish().code();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view csv(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = parse(csv, csv.size() + 1);
  const auto pieces = parse(csv, std::size_t{data[0]} % 7 + 1);
  require(whole.rows == pieces.rows && whole.end == pieces.end);

  const auto& kind = *Schema::builtin().kind("person");
  CountingRandom random;
  (void)read_csv_records(kind, csv, [&](std::size_t, const std::string& json) -> Status {
    const auto assignments = assignments_from_json(kind, json, random);
    // The mapping may leave something to the conversion (a set's code missing beside its subfields), but it writes JSON.
    require(assignments.ok() || assignments.code() == Code::invalid_record);
    if (!assignments.ok()) return {};
    ShownValues shown;
    std::vector<Address> changed;
    for (const auto& [address, value] : *assignments) {
      shown[address] = value;
      changed.push_back(address);
    }
    ValidationContext context;
    context.creates = true;
    (void)validate(kind, shown, changed, context);
    require(assignments_from_json(kind, json_from_shown(kind, shown), random).ok());
    return {};
  });
  return 0;
}
