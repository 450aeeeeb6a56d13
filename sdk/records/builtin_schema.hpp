// The parts of the built-in document (SCHEMA.md). Each is JSON text; builtin_schema.cpp puts them together.
#pragma once

#include <string_view>

namespace doorstep::builtin {

extern const std::string_view code_lists;            ///< CL-01 ... CL-36 and the small lists of single fields.
extern const std::string_view person;                ///< DOMAIN K01.
extern const std::string_view home_visit;            ///< DOMAIN K05.
extern const std::string_view rehab_session;         ///< DOMAIN K09.
extern const std::string_view fact_envelope_fields;  ///< DOMAIN 2.0, for kinds that are facts.
extern const std::string_view fact_envelope_rules;

}  // namespace doorstep::builtin
