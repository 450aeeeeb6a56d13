// RecordView's inside.
#pragma once

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

struct RecordView::Data {
  Schema schema;
  std::shared_ptr<const Authors> authors;
  RecordId id;
  Record record;
};

RecordView make_view(const Core& core, std::shared_ptr<const Authors> authors, const RecordId& id, Record record);

// reading.cpp
/// What load_record() finds, without what only a writer needs of it (digest, index entries).
Result<std::optional<Record>> read_record(Core& core, SpaceState& space, const RecordId& id);
Result<std::vector<RecordView>> run_query(Core& core, SpaceState& space, const Query& query);
Result<std::vector<HistoryEntry>> history_of(Core& core, SpaceState& space, const RecordId& record, std::string_view field);
Result<std::vector<Conflict>> conflicts_in(Core& core, SpaceState& space);
Result<Pending> pending_in(Core& core, SpaceState& space);

}  // namespace doorstep
