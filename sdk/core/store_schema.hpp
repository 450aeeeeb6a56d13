// The tables of a store (store_schema.cpp), and how row numbers are made.
#pragma once

#include <span>

#include "sdk/store/database.hpp"
#include "sync/operation.hpp"

namespace doorstep {

std::span<const Migration> store_migrations();

using SpaceNumber = std::int64_t;  ///< Row of `space`, from 1.
using LogNumber = std::int64_t;    ///< Row of `log`, from 1.

/// A segment's row: its log and position, so that a log is one run of the table.
constexpr std::int64_t segment_row(LogNumber log, Position position) { return log << 32 | static_cast<std::int64_t>(position); }
constexpr LogNumber log_of_segment(std::int64_t row) { return row >> 32; }
constexpr Position position_of_segment(std::int64_t row) { return static_cast<Position>(row & 0xffff'ffff); }

/// A record's row: space, kind and a rising serial, so that a kind's records stand together in the order of arrival.
constexpr std::int64_t record_row(SpaceNumber space, KindId kind, std::int64_t serial) {
  return space << 51 | static_cast<std::int64_t>(kind) << 31 | serial;
}
constexpr KindId kind_of_row(std::int64_t row) { return static_cast<KindId>(row >> 31 & 0xf'ffff); }
constexpr SpaceNumber space_of_row(std::int64_t row) { return row >> 51; }
inline constexpr std::int64_t record_serial_max = (std::int64_t{1} << 31) - 1;
inline constexpr SpaceNumber space_number_max = 4095;

/// The key of an index entry: space, kind and field in one number.
constexpr std::int64_t index_of(SpaceNumber space, KindId kind, FieldId field) {
  return space << 51 | static_cast<std::int64_t>(kind) << 31 | static_cast<std::int64_t>(field & 0x7fff'ffff);
}

}  // namespace doorstep
