// The relay's store (server/store) under its ledger as a subject: rosters, segments, forks that split logs, proposals, quotas' counts,
// several of them in one group commit.
#pragma once

#include "server/ledger.hpp"
#include "server/store/sqlite_store.hpp"
#include "tests/fault/subject.hpp"

namespace doorstep::fault {

class RelaySubject final : public Subject {
 public:
  /// The steps that the script has.
  static int steps_max();
  Status open(SimulatedDisk& disk, bool may_be_new) override;
  bool is_open() const override { return ledger_.has_value(); }
  Status close() override;
  Result<int> progress() override;
  Status advance(int done) override;
  void maintain(int done) override;
  Status check(int done) override;
  /// As the worker does: after these it stops, and somebody starts it again.
  bool is_fatal(const Error& error) override { return error.code() == Code::io || error.code() == Code::corrupt; }
  bool may_lose_power_while_reopened() const override { return false; }
  std::unique_ptr<Subject> survivor(std::size_t) const override { return std::make_unique<RelaySubject>(); }

  relay::SqliteStore& store() { return *store_; }
  relay::Ledger& ledger() { return *ledger_; }
  /// Every row of the store but the identity, hashed.
  static Result<Hash> digest(relay::LogStore& store);

 private:
  SimulatedDisk* disk_ = nullptr;
  Hash digest_;  ///< As progress() found it.
  std::unique_ptr<relay::SqliteStore> store_;
  std::optional<relay::Ledger> ledger_;
};

}  // namespace doorstep::fault
