// Two fuzzers in one, by the first byte: hostile bytes as a stored record (refused, or exactly what it would be written as), and a
// hostile history (apply() in the order given, the definition, and evaluate() must agree).
#include "tests/fuzz/target.hpp"
#include "tests/sync/merge_support.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;
using namespace doorstep::merge_test;

void stored(ByteView bytes, Verdict& verdict) {
  const auto record = record_from(bytes);
  verdict.note(record.has_value());
  if (record) require(equal(bytes_of(*record), bytes));
}

// Five bytes an operation: who and flags, where, value, names, names. Counters are the places in the input.
History history_from(ByteView bytes) {
  History out;
  const std::size_t count = std::min<std::size_t>(bytes.size() / 5, 24);
  const auto dot = [&](std::size_t i) { return Dot{bytes[5 * i] % 3u, 1 + i}; };
  for (std::size_t i = 0; i < count; ++i) {
    const auto* at = &bytes[5 * i];
    std::set<Dot> names;
    for (std::size_t bit = 0; bit < 16; ++bit)
      if (const auto k = i + bit < 12 ? count : i + bit - 12; ((at[3] | at[4] << 8) >> bit & 1) != 0)
        names.insert(k < count && k != i ? dot(k) : Dot{8, bit + 1});
    PlacedOperation placed{
        0, {{field_id(1 + at[1] / 4 % 2, static_cast<Gate>(at[1] % 4)), {}, 0}, std::int64_t{at[2] % 3}, {names.begin(), names.end()}}};
    if ((at[0] & 0x80) != 0 && !out.empty() && out.back().mark.device == dot(i).device) {
      placed.offset = static_cast<std::uint32_t>(dot(i).counter - out.back().mark.first);
      out.back().operations.push_back(std::move(placed));
      continue;
    }
    auto& transaction = out.emplace_back();
    transaction.mark = {.device = dot(i).device, .first = dot(i).counter, .resolves = (at[0] & 4) != 0, .approves = (at[0] & 8) != 0};
    transaction.quarantined = (at[0] & 0x70) == 0x70;
    transaction.operations.push_back(std::move(placed));
  }
  return out;
}

void merged(ByteView bytes, Verdict& verdict) {
  if (bytes.empty()) return;
  auto history = history_from(bytes.subspan(1));
  const auto whole = Record::evaluate(kind, history);
  require(shape_of(whole) == define(history));
  verdict.note(bytes_of(whole));
  for (std::size_t i = history.size(), state = bytes[0]; i > 1; --i) std::swap(history[i - 1], history[(state = state * 29 + 7) % i]);
  Body body;
  for (const auto& each : history) body.deliver(each);
  require(body.record() == whole);
  require(body.reopen());
}

void run(ByteView input, Verdict& verdict) {
  if (input.empty()) return;
  (input[0] % 2 != 0 ? merged : stored)(input.subspan(1), verdict);
}

const Registration registration({"record", run});

}  // namespace
