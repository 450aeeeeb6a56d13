// The messages of a session, in the notation of codec.hpp, in the order of their fields (PROTOCOL.md, section 6). Private to sync/.
#pragma once

#include <optional>

#include "sync/codec.hpp"
#include "sync/limits.hpp"
#include "sync/session.hpp"

namespace doorstep::message {

// Unknown types are skipped, so that an old and a new build can talk.
enum MessageType : std::uint8_t {
  type_hello = 1,
  type_spaces = 2,
  type_heads = 3,
  type_compared = 4,
  type_roster = 5,
  type_log = 6,
  type_segments = 7,
  type_stored = 8,
  type_refused = 9,
  type_proposal = 10,
  type_locator = 11,
  type_split = 12,
  type_ping = 13,
  type_pong = 14,
  type_bye = 15,
  type_roster_stored = 16,
  type_of_tomorrow = 200,  // nobody's: what the simulator's newer builds say
};

struct Hello {
  std::uint8_t version_min = protocol_version, version_max = protocol_version;
  std::optional<StoreId> store;
  DeviceId receipt_key;
  std::int64_t now_ms = 0;
  ShortHash digest;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(version_min, version_max, store, receipt_key, now_ms, digest);
  }
};

using SpaceDigest = FixedBytes<struct SpaceDigestTag, 8>;
struct ListedSpace {
  SpaceId space;
  SpaceDigest digest;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(space, digest);
  }
};
struct Spaces {
  std::vector<ListedSpace> spaces;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(bounded<limits::spaces_per_session_max>(spaces));
  }
};
struct ListedLog {
  LogId log;
  Position position = 0;
  ShortHash hash;
  DeviceTag device;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(log, position, hash, device);
  }
};
struct Heads {
  std::uint64_t space = 0;
  Position roster_size = 0;
  ShortHash roster_head;
  std::vector<ListedLog> logs;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(space, roster_size, roster_head, bounded<limits::logs_per_space_max>(logs));
  }
};
struct RosterEntry {
  Bytes bytes;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(bounded<limits::roster_entry_bytes_max>(bytes));
  }
};
struct RosterMessage {
  std::uint64_t space = 0;
  Position first = 0;
  std::vector<RosterEntry> entries;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(space, first, bounded<4096>(entries));
  }
};
struct LogMessage {
  std::uint64_t space = 0;
  LogName name;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(space, name);
  }
};
struct StoredMessage {
  std::uint64_t log = 0;
  Position position = 0;
  std::optional<Signature> receipt;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(log, position, receipt);
  }
};
struct RefusedMessage {
  std::uint64_t log = 0;
  Position position = 0;
  std::uint16_t code = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(log, position, code);
  }
};
struct RosterStoredMessage {
  std::uint64_t space = 0;
  Position size = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(space, size);
  }
};
struct ProposalMessage {
  std::uint64_t space = 0;
  Bytes bytes;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(space, bounded<4096>(bytes));
  }
};
struct LocatorPoint {
  Position position = 0;
  ShortHash hash;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(position, hash);
  }
};
struct LocatorMessage {
  std::uint64_t space = 0;
  LogId log;
  std::vector<LocatorPoint> points;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(space, log, bounded<80>(points));
  }
};
struct SplitMessage {
  std::uint64_t space = 0;
  LogId log;
  Position position = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(space, log, position);
  }
};

}  // namespace doorstep::message
