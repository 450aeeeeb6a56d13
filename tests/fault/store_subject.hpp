// The sealed database of a device (sdk/store) as a subject: rows of a table, changed in transactions of eight shapes.
#pragma once

#include <optional>

#include "sdk/store/database.hpp"
#include "tests/fault/subject.hpp"

namespace doorstep::fault {

class DiceRandom final : public Random {
 public:
  explicit DiceRandom(std::uint64_t seed) : dice_(seed) {}
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(dice_.next());
  }

 private:
  Dice dice_;
};

inline constexpr char store_path[] = "/disk";
const DatabaseKey& store_key();
Random& store_random();

/// Two workloads: one spills and never rolls back in part, the other rolls back in part and never spills (FORMAT.md, S14).
enum class Spilling : bool { no, yes };

DatabaseOptions store_options(SimulatedDisk& disk, Spilling spilling = Spilling::no);
Result<Database> open_store(SimulatedDisk& disk, Spilling spilling = Spilling::no);
/// Makes it where there is none.
Result<Database> open_or_create_store(SimulatedDisk& disk, Spilling spilling = Spilling::no);

class StoreSubject : public Subject {
 public:
  static constexpr int steps_max = 64;
  explicit StoreSubject(Spilling spilling) : spilling_(spilling) {}
  Status open(SimulatedDisk& disk, bool may_be_new) override;
  bool is_open() const override { return db_.has_value(); }
  Status close() override;
  Result<int> progress() override;
  Status advance(int done) override;
  void maintain(int done) override;
  Status check(int done) override;
  bool is_fatal(const Error&) override { return db_ && db_->poison(); }
  std::unique_ptr<Subject> survivor(std::size_t) const override { return std::make_unique<StoreSubject>(spilling_); }
  Database& database() { return *db_; }

 private:
  Result<std::uint64_t> digest();
  /// Of the state after i steps.
  static std::uint64_t digest_after(Spilling spilling, int steps);

  Spilling spilling_;
  std::optional<Database> db_;
};

}  // namespace doorstep::fault
