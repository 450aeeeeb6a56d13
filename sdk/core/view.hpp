// RecordView's inside.
#pragma once

#include <atomic>

#include "doorstep/replica.hpp"
#include "sdk/core/core.hpp"

namespace doorstep {

/// Who wrote, by device number: shared by the views of one answer.
struct Authors {
  std::vector<DeviceId> devices;
  std::vector<std::string> labels;
  DeviceId self;
  DeviceId device(DeviceNumber number) const { return number < devices.size() ? devices[number] : self; }
  std::string label(DeviceNumber number) const { return number < labels.size() ? labels[number] : std::string(); }
};
std::shared_ptr<const Authors> authors_of(const SpaceState& space, const DeviceId& self);

/// A record as its row held it. A list shows a few fields of a few rows, so the record is taken apart when somebody looks.
struct RecordView::Data {
  Data(const Schema& s, std::shared_ptr<const Authors> a, const RecordId& i, KindId k, Bytes e)
      : schema(s), authors(std::move(a)), id(i), kind(k), encoded(std::move(e)) {}
  ~Data() { delete decoded_.load(std::memory_order_acquire); }
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;

  const Schema schema;
  const std::shared_ptr<const Authors> authors;
  const RecordId id;
  const KindId kind;
  const Bytes encoded;
  const Record& record() const;  ///< Views are read by any thread.

 private:
  mutable std::atomic<const Record*> decoded_{nullptr};
};

// reading.cpp
/// What load_record() finds, without what only a writer needs of it (digest, index entries).
Result<std::optional<Bytes>> read_record(Core& core, SpaceState& space, const RecordId& id);
Result<std::vector<RecordView>> run_query(Core& core, SpaceState& space, const Query& query);
Result<std::vector<HistoryEntry>> history_of(Core& core, SpaceState& space, const RecordId& record, std::string_view field);
Result<std::vector<Conflict>> conflicts_in(Core& core, SpaceState& space);
Result<Pending> pending_in(Core& core, SpaceState& space);

}  // namespace doorstep
