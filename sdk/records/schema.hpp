// What sdk/records knows of the schema: the public header, and the pieces that only this directory needs.
#pragma once

#include "doorstep/schema.hpp"

namespace doorstep {

/// Bounds of a schema document. It comes from an app or, signed, from a township; either way it is only believed so far.
namespace schema_limits {
inline constexpr std::size_t document_bytes_max = 1u << 20;
inline constexpr std::size_t depth_max = 24;
inline constexpr std::size_t kinds_max = 256;
inline constexpr std::size_t fields_per_kind_max = 256;
inline constexpr std::size_t subfields_max = 64;
inline constexpr std::size_t rules_per_kind_max = 256;
inline constexpr std::size_t code_lists_max = 512;
inline constexpr std::size_t codes_per_list_max = 4096;
inline constexpr std::size_t condition_parts_max = 32;
inline constexpr std::size_t condition_depth_max = 5;
inline constexpr std::size_t name_bytes_max = 64;
inline constexpr std::size_t label_bytes_max = 400;
inline constexpr std::uint32_t field_number_max = 1u << 20;
inline constexpr std::uint32_t text_length_max = 16'000;  ///< Code points; four bytes each still fit limits::value_bytes_max.
}  // namespace schema_limits

/// The built-in document's parts, in the order in which they are concatenated (builtin_*.cpp).
std::string builtin_document();

}  // namespace doorstep
