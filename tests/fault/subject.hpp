// Whoever stands on a disk and is tried by the fault lab: the database, the relay's store, a whole replica.
//
// It does step after step, each a durable whole; step i is a function of i alone (and of DOORSTEP_WORKLOAD), so that what i steps make
// is known. Beside the store it keeps what the world outside knows: what was acknowledged, shown or handed over.
#pragma once

#include <functional>
#include <memory>

#include "sync/result.hpp"
#include "tests/fault/crash_vfs.hpp"

namespace doorstep::fault {

class Subject {
 public:
  virtual ~Subject() = default;

  /// Opens what is on the disk. `may_be_new`: nobody was told that it exists, so that making it (again) is right as well.
  virtual Status open(SimulatedDisk& disk, bool may_be_new) = 0;
  virtual bool is_open() const = 0;
  virtual Status close() = 0;
  /// The last step that is there; -1: made, and no step yet.
  virtual Result<int> progress() = 0;
  /// Step done + 1. Once it has returned ok it may never be lost.
  virtual Status advance(int done) = 0;
  /// What happens between steps (checkpoints, syncing); its failure takes nothing back.
  virtual void maintain(int /*done*/) {}
  /// The store is whole, it is exactly what `done` steps make, and it keeps what was promised outside.
  virtual Status check(int done) = 0;
  /// After this error the program ends and is started again; after others it goes on.
  virtual bool is_fatal(const Error& /*error*/) { return false; }
  /// A power cut while it is opened again after a failed fsync costs nothing either (sdk/store/FORMAT.md, S13).
  virtual bool may_lose_power_while_reopened() const { return true; }
  /// The same in the eyes of the world after the first `events` events of the disk, to be opened on what is left of it.
  virtual std::unique_ptr<Subject> survivor(std::size_t events) const = 0;
};

/// Makes the subject of a new life.
using NewSubject = std::function<std::unique_ptr<Subject>()>;

}  // namespace doorstep::fault
