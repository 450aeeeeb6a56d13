// The village workload: 2,000 persons and 20,000 visits with Chinese text, one JSON object a line, persons first. Read from a file a
// line at a time (nothing of it stays in memory, so that peak memory is the store's), or made here by the same generator.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "doorstep/schema.hpp"
#include "sync/value.hpp"

namespace doorstep::bench {

/// One member of a line: texts without quotes and escapes, everything else as it is written.
struct Item {
  std::string name, text;
  bool quoted = false;
};

struct Line {
  std::vector<Item> items;
  std::size_t bytes = 0;  ///< Of the JSON, without the line's end.
  std::string json;
  const std::string& operator[](std::string_view name) const;
  bool person() const { return (*this)["kind"] == "person"; }
};

/// Parses a flat JSON object. False if it is none.
bool parse_line(std::string_view text, Line& out);

/// A file's lines, one by one.
class Lines {
 public:
  explicit Lines(const std::string& path);
  /// False at the end. Ends the process with a sentence if the file is no village.
  bool next(Line& line);

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::string path_;
  std::vector<char> buffer_;
};

struct FieldShape {
  const char* name;
  Type type;
  bool indexed;
};
/// Kind "p" (persons) or "v" (visits). `kind` of the JSON is the record's kind and no field.
const std::vector<FieldShape>& fields_of(bool person);
inline constexpr KindId person_kind = 1000, visit_kind = 1001;

/// The two kinds as a document for Schema::parse: `latest` everywhere, but a phone number that two persons change at once goes
/// to the conflict inbox.
Schema village_schema();

/// Value{} if the text is none of that type. A record reference is looked up by `person`.
Value value_of(Type type, const Item& item, const std::function<RecordId(const std::string&)>& person);
/// As Item::text would hold it. Records are not for this function.
std::string text_of(const Value& value);

struct Generated {
  std::uint32_t seed = 20240607;
  int persons = 2000, visits = 20000;
  bool prose = false;                        ///< Notes of random characters in place of two dozen phrases.
  std::vector<std::string> person_ids = {};  ///< Whom visits are for, if there are no persons here.
};
/// Writes the file. With the defaults, byte for byte what the peers' workload.mjs writes.
void generate(const std::string& path, const Generated& what);

}  // namespace doorstep::bench
