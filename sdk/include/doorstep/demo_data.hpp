// A village of made-up people with a history, for demos, tests and benchmarks: the same for the same seed on every machine.
// Shares and counts are those of the project's township figures (the tables stand in demo_figures.hpp with their sources).
// Nobody in it can exist: citizen IDs start with 99, telephones are 1[3-9]00000xxxx, area codes lie in county 990604.
#pragma once

#include <string>
#include <vector>

#include "doorstep/schema.hpp"

namespace doorstep {

/// A visit or a session. Its JSON lacks `person_id`, which is known once the person has been stored.
struct DemoFact {
  std::string kind;        ///< "home_visit" or "rehab_session".
  std::size_t person = 0;  ///< Index of the person it belongs to.
  Date day;
  std::string json;

  std::string json_with(const RecordId& person_id) const;
};

struct DemoOptions {
  std::uint32_t seed = 1;
  Date today;                 ///< The history ends the day before. Pass a fixed day for the same data.
  std::size_t persons = 105;  ///< DOMAIN 1.5: the mean village of one district. At most 2000.
  int months = 6;             ///< Of history; 0 to 60.
};

class DemoVillage {
 public:
  explicit DemoVillage(const DemoOptions& options);

  std::size_t size() const { return rows_.size(); }
  const std::string& name(std::size_t person) const;
  /// 'A', 'B' or 'C', by DOMAIN 5.1.
  char tier(std::size_t person) const { return tiers_.at(person); }
  /// The person as assignments_from_json reads it.
  const std::string& person_json(std::size_t person) const { return persons_json_.at(person); }
  /// All persons as a township's spreadsheet has them: Chinese headers and labels, one row a person, with a byte-order mark.
  std::string persons_csv() const;
  /// Visits and sessions by rising day.
  const std::vector<DemoFact>& history() const { return history_; }
  /// DOMAIN 9.0: nobody at home; a met person whose medicine is nearly used up; the village doctor's session and the member
  /// who was present; and the tier-A visits that were due.
  std::vector<DemoFact> ordinary_day(Date day) const;
  /// Names, numbers and notes of the data set: what must not appear in any file or packet.
  std::vector<std::string> secrets() const;

 private:
  class Maker;
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::string> persons_json_;
  std::vector<char> tiers_;
  std::vector<std::size_t> at_home_;  ///< Who gets rehabilitation at home.
  std::vector<DemoFact> history_;
  std::uint32_t seed_ = 1;
};

}  // namespace doorstep
