// Values as index keys: bytes that sort as the values do.
#pragma once

#include <string>

#include "doorstep/schema.hpp"
#include "sync/policy.hpp"

namespace doorstep {

/// Numbers sort by size whatever their scale; texts are cut to 64 bytes, so a match is checked against the record.
std::string index_key(const Value& value);

/// Reads a register by the schema's policy; a field that the schema does not know reads as its gate allows.
Reading read(const Schema& schema, const Record& record, const Register& reg);

/// Order of two values of one field: what index_key() says, without the cut. Values of different types sort by type.
int compare_values(const Value& a, const Value& b);

}  // namespace doorstep
