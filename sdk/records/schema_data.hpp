// What a Schema points to. Only schema*.cpp include this.
#pragma once

#include <map>
#include <unordered_map>

#include "sdk/records/schema.hpp"

namespace doorstep {

struct Schema::Data {
  std::string id;
  std::uint32_t version = 1;
  std::map<std::string, std::shared_ptr<const CodeList>, std::less<>> code_lists;
  /// Owners. Kinds point into code lists of this document, of its base, or of what it was combined from: all kept alive here.
  std::vector<std::shared_ptr<const Kind>> kinds;
  std::vector<std::shared_ptr<const CodeList>> borrowed;

  std::unordered_map<KindId, const Kind*> by_id;
  std::unordered_map<std::string_view, const Kind*> by_name;
  std::vector<const Kind*> in_order;

  void index_kinds();
  /// Access for the files of this directory.
  static const Data& of(const Schema& schema) { return *schema.data_; }
};

/// Sorts the lookup tables of a list and of a kind; false (and the culprit) if a code, number or name stands twice.
bool index_codes(CodeList& list, std::string& twice);
bool index_fields(Kind& kind, std::string& twice);

const char* pattern_name(Pattern pattern);
const char* source_name(Source source);
const char* condition_op_name(Condition::Op op);

}  // namespace doorstep
