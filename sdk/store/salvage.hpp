// What is left of a damaged store's database: its rows, read page by page without SQLite and without writing a byte (FORMAT.md,
// "Rebuilding").
//
//   DOORSTEP_ASSIGN(Salvage salvage, Salvage::open(*directory, key, options, random));
//   if (salvage.damage().found()) …
//   salvage.each_row([&](const SalvagedRow& row) { … });   // as often as needed: always the same rows in the same order
//
// SQLite cannot do this: it finds rows through the pages above them, gives up at the first bad one, and recovers the WAL, which
// writes. Here every page that opens gives the rows that it holds, whatever is lost around it. What a row is of is told by its
// shape; nothing here knows the tables.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "sdk/store/database.hpp"

namespace doorstep {

struct SalvagedValue {
  enum class Type : std::uint8_t { none, integer, text, blob, other };
  Type type = Type::none;
  std::int64_t integer = 0;
  ByteView bytes = {};  ///< Of a text or blob; valid during the call.
};

struct SalvagedRow {
  bool numbered = false;  ///< Of a table with row numbers; false: of an index or of a table WITHOUT ROWID.
  std::int64_t n = 0;     ///< The row's number, if it has one.
  std::span<const SalvagedValue> values;
};

struct DatabaseDamage {
  std::size_t pages = 0;          ///< That the database has, as far as that can be told.
  std::size_t pages_damaged = 0;  ///< Of them, whose newest version does not open or is missing.
  std::size_t frames_lost = 0;    ///< WAL records that do not open, with others behind them that do. (A torn end is ordinary.)
  bool missing = false;           ///< There is no main.db.
  bool found() const { return missing || pages_damaged != 0 || frames_lost != 0; }
};

class Salvage {
 public:
  /// Looks at every page. What cannot be read is damage, not an error.
  static Result<Salvage> open(const StoreDirectory& directory, const DatabaseKey& key, const DatabaseOptions& options, Random& random);
  Salvage(Salvage&&) noexcept;
  Salvage& operator=(Salvage&&) noexcept;
  ~Salvage();

  const DatabaseDamage& damage() const;
  /// The schema's version (Database::version); 0 if page 1, which tells it, is lost.
  std::uint32_t version() const;
  /// Every row of every page that opens. A row may come twice: as it stood in front of a lost WAL record and as it stands behind.
  /// Stops at the first error of `take`. `page` is told of each page that is done.
  Status each_row(const std::function<Status(const SalvagedRow&)>& take, const std::function<void()>& page = {});

 private:
  struct State;
  explicit Salvage(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace doorstep
