// Hostile CSV: any bytes, in chunks whose size the first byte chooses. What must hold: no crash, no sanitizer report, the
// same rows whatever the chunks, a failure stays, and every JSON that a row becomes is JSON that the records can read.
#include "sdk/records/csv.hpp"
#include "sdk/records/json.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;

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

void run(ByteView input, Verdict& verdict) {
  if (input.empty()) return;
  const std::string_view csv = text_view(input.subspan(1));
  const auto whole = parse(csv, csv.size() + 1);
  const auto pieces = parse(csv, std::size_t{input[0]} % 7 + 1);
  require(whole.rows == pieces.rows && whole.end == pieces.end);
  verdict.note(whole.end);
  verdict.note(whole.rows.size());

  const auto& kind = *Schema::builtin().kind("person");
  CountingRandom random;
  (void)read_csv_records(kind, csv, [&](std::size_t, const std::string& json) -> Status {
    verdict.note(view(json));
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
    verdict.note(validate(kind, shown, changed, context).size());
    require(assignments_from_json(kind, json_from_shown(kind, shown), random).ok());
    return {};
  });
}

const Registration registration({"csv", run});

}  // namespace
