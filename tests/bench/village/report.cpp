#include "tests/bench/village/report.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace doorstep::bench {

double Stat::median() const {
  if (values.empty()) return 0;
  auto sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const auto middle = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
double Stat::min() const { return values.empty() ? 0 : *std::min_element(values.begin(), values.end()); }
double Stat::max() const { return values.empty() ? 0 : *std::max_element(values.begin(), values.end()); }
Json Stat::json(double factor) const {
  return {{"median", median() * factor}, {"min", min() * factor}, {"max", max() * factor}, {"n", values.size()}};
}

std::string show(double value) {
  std::array<char, 48> out{};
  const double size = std::fabs(value);
  std::snprintf(out.data(), out.size(), size >= 100 ? "%.0f" : size >= 10 ? "%.1f" : size >= 1 ? "%.2f" : "%.3f", value);
  return out.data();
}

std::string spread_of(const Stat& stat, double factor) { return "[" + show(stat.min() * factor) + ".." + show(stat.max() * factor) + "]"; }

namespace {

bool meets(double judged, double bound) { return bound == 0 || (bound < 0 ? judged >= -bound : judged <= bound); }
std::string bound_text(const char* name, double bound) { return std::string(name) + (bound < 0 ? " ≥ " : " ≤ ") + show(std::fabs(bound)); }

}  // namespace

void Report::print() const {
  std::printf("\n%-42s %12s %-22s %s\n", "measure", "median", "[min..max]", "beside it in this run · goal · limit");
  for (const auto& row : rows_) {
    std::string verdict;
    if (row.goal != 0) verdict += " · " + bound_text("goal", row.goal) + (meets(row.judged, row.goal) ? " met" : " NOT MET");
    if (row.limit != 0) verdict += " · " + bound_text("limit", row.limit) + (meets(row.judged, row.limit) ? " met" : " NOT MET");
    std::printf("%-42s %12s %-22s %s%s\n", (row.what + ", " + row.unit).c_str(), show(row.value).c_str(), row.spread.c_str(),
                row.beside.c_str(), verdict.c_str());
  }
  std::printf("\n");
  for (const auto& note : notes_) std::printf("%s\n", note.c_str());
  std::fflush(stdout);
}

std::pair<int, int> Report::missed() const {
  int goals = 0, limits = 0;
  for (const auto& row : rows_) goals += !meets(row.judged, row.goal), limits += !meets(row.judged, row.limit);
  return {goals, limits};
}

}  // namespace doorstep::bench
