// CSV for imports: what a township exports from its spreadsheets. sdk/records/csv.hpp tells what a header and a cell may be.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "doorstep/schema.hpp"

namespace doorstep {

/// Calls back with each row under the header, as the JSON object that Write::set_json takes. Rows count from 1, the header's.
/// Code::invalid_argument and invalid_record name row and column, never a cell's content; a failure of `on_record` ends it.
Status read_csv_records(const Kind& kind, std::string_view csv,
                        const std::function<Status(std::size_t row, const std::string& json)>& on_record);

/// A cell as CSV: quoted if it has to be.
std::string csv_cell(std::string_view text);

}  // namespace doorstep
