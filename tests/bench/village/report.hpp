// Figures: medians, the table for people and the file for peers/table.mjs.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace doorstep::bench {

using Json = nlohmann::ordered_json;

struct Stat {
  std::vector<double> values;
  void add(double value) { values.push_back(value); }
  double median() const;
  double min() const;
  double max() const;
  Json json(double factor = 1) const;
};

/// One line of the table: what was measured, beside what it is measured against.
struct Row {
  std::string what, unit;
  double value = 0;
  std::string spread;          ///< "[min..max]", may be empty.
  std::string beside;          ///< What stands beside it in this run, and the ratio.
  double judged = 0;           ///< What goal and limit are about: the value, or a ratio.
  double goal = 0, limit = 0;  ///< 0: none. Negative: at least that much.
};

class Report {
 public:
  void add(Row row) { rows_.push_back(std::move(row)); }
  /// A line that needs no goal.
  void note(std::string text) { notes_.push_back(std::move(text)); }
  const std::vector<std::string>& notes() const { return notes_; }
  /// How many goals and limits are not met.
  void print() const;
  std::pair<int, int> missed() const;

 private:
  std::vector<Row> rows_;
  std::vector<std::string> notes_;
};

std::string show(double value);
std::string spread_of(const Stat& stat, double factor = 1);

}  // namespace doorstep::bench
