// What the core keeps in memory of one space: roster, keys, logs, the state digest. A cache of the tables, reloaded whole when
// a transaction on them fails.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

#include "doorstep/replica.hpp"
#include "sdk/core/store_schema.hpp"
#include "sync/founding.hpp"
#include "sync/keys.hpp"
#include "sync/session.hpp"

namespace doorstep {

struct LogState {
  LogNumber n = 0;
  LogHead head;
  LogNumber parent = 0;  ///< The log that a branch leaves.
  bool checked = false;
};

/// Why something is in quarantine. Numbers stand in the store.
enum class Reason : std::uint8_t {
  none = 0,
  unknown_key = 1,
  missing_parent = 2,
  no_right = 3,
  beyond_cut = 4,
  corrupt = 5,
  unknown_encoding = 6,
  forked = 7,
};
const char* reason_name(Reason reason);

class SpaceState {
 public:
  SpaceNumber n = 0;
  SpaceId id;
  std::string name;
  std::string invitation;
  std::string label;
  LogNumber own_log = 0;
  bool fresh_log = false;
  bool rebuilt = false;                    ///< Made anew from what was left of a damaged store, and not level with a relay since.
  std::vector<RelayAddress> known_relays;  ///< The vault's, for a space whose roster is not here, or not whole.
  Position known_roster_size = 0;          ///< The vault's.

  std::optional<Roster> roster;  ///< Empty until the first contact after join().
  Keyring keys;
  RightsTable rights_table;
  std::vector<DeviceId> devices;  ///< By number: the roster's order of admission.
  std::map<LogNumber, LogState> logs;
  std::map<LogId, LogNumber> log_by_id;
  Counter last_counter = 0;
  bool jumped = false;                               ///< The random step of this opening was taken (ids.hpp, Dot).
  MultisetHash digest;                               ///< Of the records up to `covered`.
  std::unordered_map<KindId, std::int64_t> covered;  ///< Serial of the last row of a kind that is in `digest`.
  bool digest_changed = false;                       ///< Since it was stored.
  std::unordered_map<KindId, std::int64_t> next_serial;
  bool roster_fork = false;
  Position seen_roster_size = 0;  ///< A peer has seen this much: newest roster first.

  /// Derives keys, rights and numbers after the roster changed.
  void roster_changed(const DeviceId& self, const SealingKeyPair& sealing);
  DeviceNumber number_of(const DeviceId& device) const;  ///< device_unadmitted if it is no member.
  const DeviceId* device_of(DeviceNumber number) const;
  /// Rights of a device's writing at (log, position) to a kind; 0 if its role is not known.
  std::uint8_t rights(const DeviceId& device, const LogId& log, Position position, KindId kind) const;
  std::string role_of(const DeviceId& device) const;  ///< Its present role; empty if unknown.
  std::string label_of(const DeviceId& device) const;
  /// False after a rebuild, unless the vault says that nothing of the roster is missing.
  bool roster_is_whole() const;
  /// Where the space is at home.
  const std::vector<RelayAddress>& relays() const;
  SpaceSummary summary() const;
  /// Why nothing can be sealed; empty if it can.
  std::string waits_for(const DeviceId& self) const;

 private:
  // Opened texts, until the roster changes: opening one derives a key into guarded memory, which costs more than reading a record.
  mutable std::map<std::pair<DeviceId, std::size_t>, std::string> roles_;
  mutable std::map<DeviceId, std::string> labels_;
  std::map<DeviceId, DeviceNumber> numbers_;
};

}  // namespace doorstep
