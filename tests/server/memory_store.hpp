// A LogStore in memory: what the tests' devices keep, and the second implementation that the contract is tried on.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "server/store/log_store.hpp"

namespace doorstep::relay {

class MemoryStore final : public LogStore {
 public:
  Result<StoreIdentity> identity() override {
    StoreIdentity out;
    out.open = true;
    return out;
  }
  Result<std::vector<DeviceId>> authorities() override { return authorities_; }
  Status allow(const DeviceId& authority) override {
    if (std::find(authorities_.begin(), authorities_.end(), authority) == authorities_.end()) authorities_.push_back(authority);
    return {};
  }

  Status begin() override {
    undo_.clear();  // what was written outside a transaction stands
    return {};
  }
  Status commit() override {
    undo_.clear();
    return {};
  }
  void rollback() override {
    for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo) (*undo)();
    undo_.clear();
  }
  Status checkpoint() override { return {}; }

  Result<std::vector<SpaceId>> spaces() override {
    std::vector<SpaceId> out;
    for (const auto& [id, space] : spaces_) out.push_back(id);
    return out;
  }
  Status append_roster(const SpaceId& id, Position position, ByteView entry) override {
    const bool fresh = !spaces_.contains(id);
    if (position != (fresh ? 0 : spaces_[id].roster.size())) return Error(Code::conflict, "not the next entry");
    spaces_[id].roster.push_back(to_bytes(entry));
    undo_.push_back([this, id, fresh] {
      if (fresh)
        spaces_.erase(id);
      else
        spaces_[id].roster.pop_back();
    });
    return {};
  }
  Result<std::vector<Bytes>> roster(const SpaceId& id, Position from, std::size_t bytes_max) override {
    const auto at = spaces_.find(id);
    if (at == spaces_.end()) return Error(Code::not_found, "no such space");
    std::vector<Bytes> out;
    for (std::size_t bytes = 0; from < at->second.roster.size() && bytes < bytes_max; ++from) {
      out.push_back(at->second.roster[from]);
      bytes += out.back().size();
    }
    return out;
  }

  Result<std::vector<StoredLog>> logs() override {
    std::vector<StoredLog> out;
    for (auto& [number, log] : logs_) {
      out.push_back(log.is);
      out.back().position = head(log);
      if (!log.segments.empty()) out.back().hash = log.segments.rbegin()->second.hash;
    }
    return out;
  }
  Result<LogNumber> create_log(const SpaceId& space, const LogName& name) override {
    if (!spaces_.contains(space)) return Error(Code::not_found, "no such space");
    for (const auto& [number, log] : logs_)
      if (log.is.space == space && log.is.id == name.id(space)) return Error(Code::already_exists, "it is there");
    const LogNumber number = ++last_;
    logs_[number].is = {number, space, name, name.id(space), 0, {}, false};
    undo_.push_back([this, number] { logs_.erase(number); });
    return number;
  }
  Status append_segment(LogNumber number, Position position, const Hash& hash, ByteView bytes) override {
    if (!logs_.contains(number)) return Error(Code::not_found, "no such log");
    Log& log = logs_[number];
    if (position != head(log) + 1) return Error(Code::conflict, "not the next segment");
    log.segments[position] = {position, hash, to_bytes(bytes)};
    undo_.push_back([this, number, position] { logs_[number].segments.erase(position); });
    return {};
  }
  Result<std::vector<StoredSegment>> segments(LogNumber number, Position after, std::size_t bytes_max) override {
    std::vector<StoredSegment> out;
    auto at = logs_[number].segments.upper_bound(after);
    for (std::size_t bytes = 0; at != logs_[number].segments.end() && bytes < bytes_max; ++at) {
      out.push_back(at->second);
      bytes += at->second.bytes.size();
    }
    return out;
  }
  Result<std::optional<Hash>> hash_at(LogNumber number, Position position) override {
    const auto at = logs_[number].segments.find(position);
    return at == logs_[number].segments.end() ? std::optional<Hash>() : std::optional<Hash>(at->second.hash);
  }
  Result<std::optional<LogNumber>> split(LogNumber number, Position position, const LogName& branch) override {
    Log& log = logs_[number];
    const bool was_closed = std::exchange(log.is.closed, true);
    undo_.push_back([this, number, was_closed] { logs_[number].is.closed = was_closed; });
    if (head(log) <= position) return std::optional<LogNumber>();
    DOORSTEP_ASSIGN(const auto moved, create_log(log.is.space, branch));
    logs_[moved].is.closed = was_closed;
    for (auto at = logs_[number].segments.upper_bound(position); at != logs_[number].segments.end();)
      logs_[moved].segments.insert(logs_[number].segments.extract(at++));
    undo_.push_back([this, number, moved] { logs_[number].segments.merge(logs_[moved].segments); });
    return std::optional<LogNumber>(moved);
  }

  Status put_proposal(const SpaceId& space, const Hash& key, ByteView bytes) override {
    if (!spaces_.contains(space)) return Error(Code::not_found, "no such space");
    if (bytes.size() > proposal_bytes_max) return Error(Code::too_large, "too large");
    auto& all = spaces_[space].proposals;
    if (!all.contains(key) && all.size() >= proposals_per_space_max) return Error(Code::full, "too many");
    undo_.push_back([this, space, old = all] { spaces_[space].proposals = old; });
    all[key] = to_bytes(bytes);
    return {};
  }
  Status drop_proposal(const SpaceId& space, const Hash& key) override {
    if (!spaces_.contains(space)) return Error(Code::not_found, "no such space");
    undo_.push_back([this, space, old = spaces_[space].proposals] { spaces_[space].proposals = old; });
    spaces_[space].proposals.erase(key);
    return {};
  }
  Result<std::vector<std::pair<Hash, Bytes>>> proposals(const SpaceId& space) override {
    std::vector<std::pair<Hash, Bytes>> out;
    if (spaces_.contains(space)) out.assign(spaces_[space].proposals.begin(), spaces_[space].proposals.end());
    return out;
  }
  Result<std::vector<SpaceCounts>> counts() override {
    std::vector<SpaceCounts> out;
    for (const auto& [id, space] : spaces_) {
      SpaceCounts counts{id, space.roster.size(), 0, 0, 0, space.proposals.size()};
      for (const auto& [number, log] : logs_) {
        if (log.is.space != id) continue;
        ++counts.logs;
        counts.segments += log.segments.size();
        for (const auto& [position, segment] : log.segments) counts.segment_bytes += segment.bytes.size();
      }
      out.push_back(counts);
    }
    return out;
  }

 private:
  struct Space {
    std::vector<Bytes> roster;
    std::map<Hash, Bytes> proposals;
  };
  struct Log {
    StoredLog is;
    std::map<Position, StoredSegment> segments;
  };
  static Position head(const Log& log) { return log.segments.empty() ? log.is.name.starts_after : log.segments.rbegin()->first; }

  std::vector<DeviceId> authorities_;
  std::map<SpaceId, Space> spaces_;
  std::map<LogNumber, Log> logs_;
  LogNumber last_ = 0;
  std::vector<std::function<void()>> undo_;
};

}  // namespace doorstep::relay
