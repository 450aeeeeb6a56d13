// A space's roster: the signed, hash-chained, linear list of who may do what (DESIGN section 7).
//
// Readable by a relay: device keys, rights classes, epochs, cuts, relay addresses. Sealed under the epoch's names key:
// roles, people's labels, reasons, the rights table (keys.hpp opens them). A roster proves itself: from the space id, which is
// the hash of the founding entry, everything follows by hash and signature, whoever delivers it.
//
//   entry  = body ‖ signature(64, label "doorstep/1/roster", over body)
//   body   = version u8 = 1, suite u8 = 1, space 32 (zeros when founding), position varint (founding: 0),
//            previous 32 (hash of the previous entry; zeros when founding), count, items
//   item   = type varint, bounded bytes. An odd type must be understood: a roster with an unknown one stops there
//            ("waits for a newer version"); an unknown even type is kept and skipped. Bytes of each: roster_items.hpp.
//   hash   = hash("doorstep/1/roster-entry", body); the founding entry's hash is the SpaceId.
//   signer = the authority for the founding entry, afterwards the sequencer that the entries before name.
//
// What every accepted roster keeps (the checks stand in roster.cpp, PROTOCOL.md gives them in words):
//   1. its sequencer is a member that is not cut and may read, append and change the roster;
//   2. every reader (a member with rights_read that is not cut) has a box of the newest epoch's key, and when an epoch
//      begins nobody else has; there are few enough readers that a new epoch always fits an entry;
//   3. identities, transport keys and invitation ids never return;
//   4. every sealed text names an epoch that exists.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sync/crypto.hpp"
#include "sync/ids.hpp"
#include "sync/limits.hpp"

namespace doorstep {

inline constexpr std::uint8_t roster_version = 1;
// Bounds of a roster beyond limits.hpp.
inline constexpr std::size_t roster_bytes_max = 64u << 20;        ///< All entries together: a phone holds them in memory.
inline constexpr std::size_t roster_items_max = 4096;             ///< Items of one entry.
inline constexpr std::size_t roster_readers_max = 1600;           ///< Standing readers: a rotation must fit one entry.
inline constexpr std::size_t roster_epochs_max = 1024;            ///< A rotation a week for twenty years.
inline constexpr std::size_t roster_roles_per_device_max = 1024;  ///< Role changes of one device.
inline constexpr std::size_t roster_invites_max = 1024;           ///< Invitations that are open at once.
inline constexpr std::size_t roster_logs_max = 512;               ///< Logs (incarnations and branches) that a cut or a role lists.
inline constexpr std::size_t roster_relays_max = 16;
inline constexpr std::size_t roster_relay_addresses_max = 8;
inline constexpr std::size_t roster_relay_address_bytes_max = 255;
inline constexpr std::size_t sealed_text_box_bytes_max = 4096;
inline constexpr std::size_t epoch_box_bytes = 32 + 32 + box_overhead_bytes;  ///< Sealed box of key and context hash.
inline constexpr std::size_t epoch_previous_bytes = 32 + aead_tag_bytes;
static_assert(roster_readers_max * (32 + 1 + epoch_box_bytes) + roster_logs_max * (16 + 5 + 32) < limits::roster_entry_bytes_max - 1024,
              "a cut of every log of a device and the rotation that follows it fit one entry");

enum class SpaceKind : std::uint8_t { village = 1, clinical = 2, child = 3, township = 4, district = 5, audit = 6 };

/// What the relay enforces, and all it learns of a role. Bits.
enum RightsClass : std::uint8_t { rights_read = 1, rights_append = 2, rights_roster = 4 };

/// The three public keys of a device, the two X25519 ones certified by the identity.
struct DeviceKeys {
  DeviceId identity;
  SealingPublicKey sealing;
  TransportPublicKey transport;
  Signature certificate;  ///< By `identity`, label "doorstep/1/device", over sealing ‖ transport.
  template <class Archive>
  void serialize(Archive& archive) {
    archive(identity, sealing, transport, certificate);
  }
  bool operator==(const DeviceKeys&) const = default;
};
DeviceKeys certify_device(const IdentityKeyPair& identity, const SealingPublicKey& sealing, const TransportPublicKey& transport);
[[nodiscard]] bool certificate_holds(const DeviceKeys& keys);

/// Sealed for members: (epoch number, nonce-prefixed AEAD under that epoch's names key). keys.hpp makes and opens it.
/// Epoch 0 and no box: nothing is said.
struct SealedText {
  EpochNumber epoch = 0;
  Bytes box;
  bool operator==(const SealedText&) const = default;
};

/// Why a device was cut. Informative to a relay and to older builds; an unknown one is shown as "another reason".
enum class CutReason : std::uint8_t { unsaid = 0, replaced = 1, retired = 2, lost = 3, stolen = 4, hostile = 5 };

struct LogPosition {
  LogId log;
  Position position = 0;
  Hash hash;  ///< Of the segment there.
  bool operator==(const LogPosition&) const = default;
};

// The items. Lists of logs and of boxes stand in ascending order, each log or device once, and no position 0 (a log that is
// not listed stands at 0): RosterEntryBuilder::add sees to that.
struct FoundItem {
  static constexpr std::uint64_t type = 1;
  DeviceId authority;
  SpaceKind kind = SpaceKind::village;
  FixedBytes<struct FoundSalt, 16> salt;
  bool operator==(const FoundItem&) const = default;
};
/// Who signs from the next entry on.
struct SequencerItem {
  static constexpr std::uint64_t type = 3;
  DeviceId device;
  bool operator==(const SequencerItem&) const = default;
};
struct AdmitItem {
  static constexpr std::uint64_t type = 5;
  DeviceKeys keys;
  std::uint8_t rights = 0;
  SealedText role;
  SealedText label;
  std::optional<InviteId> invite;
  bool operator==(const AdmitItem&) const = default;
};
struct EpochItem {
  static constexpr std::uint64_t type = 7;
  EpochNumber number = 0;  ///< One above the last.
  Hash commitment;         ///< hash("doorstep/1/epoch-commitment", key): XChaCha20-Poly1305 does not commit.
  struct Sealed {
    DeviceId device;
    Bytes box;  ///< Sealed box of key 32 ‖ hash("doorstep/1/epoch-context", space, number, device).
    bool operator==(const Sealed&) const = default;
  };
  std::vector<Sealed> sealed;   ///< To exactly the readers that stand after this entry.
  Bytes previous;               ///< The previous key under this one (AEAD); empty for epoch 1.
  SealingPublicKey public_key;  ///< To which append-only writers seal; follows from the key (Keyring::sealing_keys).
  bool operator==(const EpochItem&) const = default;
};
struct CutItem {
  static constexpr std::uint64_t type = 9;
  DeviceId device;
  std::vector<LogPosition> logs;
  std::uint8_t reason_class = 0;  ///< CutReason.
  SealedText reason;
  bool operator==(const CutItem&) const = default;
};
struct RoleItem {
  static constexpr std::uint64_t type = 11;
  DeviceId device;
  std::uint8_t rights = 0;
  SealedText role;
  std::vector<LogPosition> from;
  bool operator==(const RoleItem&) const = default;
};
/// Replaces the list of relays.
struct RelayItem {
  static constexpr std::uint64_t type = 12;
  struct Relay {
    TransportPublicKey key;
    std::vector<std::string> addresses;
    bool operator==(const Relay&) const = default;
  };
  std::vector<Relay> relays;
  bool operator==(const RelayItem&) const = default;
};
struct InviteItem {
  static constexpr std::uint64_t type = 13;
  InviteId id;
  DeviceId proof_key;  ///< Whoever signs with its secret half holds the invitation (invite.hpp).
  Hash connect_psk;    ///< The half that a relay may know: lets a stranger connect.
  std::uint8_t rights = 0;
  SealedText role;
  std::int64_t expires_ms = 0;  ///< Informative: time never decides whether something is accepted.
  bool operator==(const InviteItem&) const = default;
};
struct RightsTableItem {
  static constexpr std::uint64_t type = 15;
  SealedText table;
  bool operator==(const RightsTableItem&) const = default;
};
struct SchemaItem {
  static constexpr std::uint64_t type = 16;
  std::uint32_t version = 0;
  Hash hash;
  bool operator==(const SchemaItem&) const = default;
};
/// Hands the newest epoch's key to a reader that was no reader when that epoch began (a newcomer).
struct EpochShareItem {
  static constexpr std::uint64_t type = 17;
  EpochNumber number = 0;
  DeviceId device;
  Bytes box;  ///< As in EpochItem.
  bool operator==(const EpochShareItem&) const = default;
};
/// Closes an open invitation that nobody is to use any more.
struct InviteCloseItem {
  static constexpr std::uint64_t type = 19;
  InviteId id;
  bool operator==(const InviteCloseItem&) const = default;
};

/// What stands for the space's id in the boxes of the founding entry, which must exist before that id does:
/// hash("doorstep/1/founding-context", the FoundItem's bytes).
SpaceId founding_context(const FoundItem& found);
/// What stands beside the key in a box, so that it opens nothing elsewhere:
/// hash("doorstep/1/epoch-context", space, number as u32le, device). `space` is the founding context in a founding entry.
Hash epoch_context(const SpaceId& space, EpochNumber number, const DeviceId& device);

/// What one admitted device is, as far as the roster says in the clear.
struct Member {
  DeviceKeys keys;
  std::uint8_t rights = 0;   ///< Latest.
  Position admitted_at = 0;  ///< Roster position.
  std::optional<InviteId> invite;
  struct RoleSince {
    SealedText role;
    std::uint8_t rights = 0;
    std::vector<LogPosition> from;
  };
  std::vector<RoleSince> roles;  ///< Admission first; a later one holds beyond its `from` (unlisted logs: from 0).
  SealedText label;
  std::optional<CutItem> cut;  ///< The first cut stands; a device is re-admitted as a new device.

  bool reads() const { return !cut && (rights & rights_read) != 0; }
};

class Roster {
 public:
  /// A roster of one founding entry. Code::corrupt / Code::unauthenticated by name.
  static Result<Roster> found(ByteView founding_entry);

  /// Checks and appends one entry: chain, signature, sequencer, item rules. On failure nothing changes.
  ///   Code::already_exists   this very entry stands in the roster: nothing to do
  ///   Code::conflict         it does not continue this roster: a gap, or a fork (then the message says "fork", and forks_at names it)
  ///   Code::unauthenticated  not signed by the sequencer of its position
  ///   Code::unsupported      "waits for a newer version": the roster stops here until this build is replaced
  ///   Code::corrupt          not an entry, or of another space; Code::protocol: an item breaks a rule; Code::too_large: a limit
  Status append(ByteView entry);
  /// What append would say.
  Status check(ByteView entry) const;
  /// The position at which this entry proves that the sequencer signed two rosters; nullopt for anything else.
  std::optional<Position> forks_at(ByteView entry) const;

  const SpaceId& space() const { return space_; }
  const DeviceId& authority() const { return found_.authority; }
  SpaceKind kind() const { return found_.kind; }
  const FoundItem& founding() const { return found_; }
  const DeviceId& sequencer() const { return sequencers_.back().device; }
  const DeviceId& sequencer_at(Position position) const;  ///< Who signs the entry at `position` (>= 1).
  Position size() const { return hashes_.size(); }        ///< Entries; the next entry's position.
  const Hash& head() const { return hash_at(size() - 1); }
  const Hash& hash_at(Position position) const {  ///< Checked: position < size().
    DOORSTEP_CHECK(position < hashes_.size());
    return hashes_[position];
  }
  const Bytes& entry_at(Position position) const {  ///< Checked: position < size().
    DOORSTEP_CHECK(position < entries_.size());
    return entries_[position];
  }

  const Member* member(const DeviceId& device) const;
  const Member* member_by_transport(const TransportPublicKey& key) const;
  const std::map<DeviceId, Member>& members() const { return members_; }
  std::vector<DeviceKeys> readers() const;  ///< The members that read, in the order of their identities.
  const EpochItem* epoch(EpochNumber number) const;
  const Hash* epoch_entry_hash(EpochNumber number) const;  ///< Epochs are named by the hash of their entry.
  EpochNumber newest_epoch() const { return static_cast<EpochNumber>(epochs_.size()); }
  /// The box of an epoch's key that the roster holds for a device, and the context hash that belongs inside; nullopt: none.
  struct EpochBox {
    const Bytes* box = nullptr;
    Hash context;
  };
  std::optional<EpochBox> epoch_box(EpochNumber number, const DeviceId& device) const;
  /// Somebody who no longer reads was given the newest epoch's key: time for a new one.
  bool rotation_due() const;
  const std::vector<RelayItem::Relay>& relays() const { return relays_; }
  bool relay_named_by(const TransportPublicKey& key, Position roster_size) const;  ///< Was it in the list in any entry before?
  const InviteItem* invite(const InviteId& id) const;  ///< Open invitations only: used and closed ones are gone.
  bool invite_was_closed(const InviteId& id) const;    ///< Used or closed.
  const std::map<InviteId, InviteItem>& invites() const { return invites_; }
  const std::optional<SealedText>& rights_table() const { return rights_table_; }
  const std::optional<SchemaItem>& schema() const { return schema_; }

  /// May a segment of `device` at (log, position) stand? Else: beyond a cut (quarantine), or no append right. That a log contains
  /// the hash of a cut is for the log to check (Member::cut).
  enum class Standing : std::uint8_t { stands, unknown_device, no_append_right, beyond_cut };
  Standing standing(const DeviceId& device, const LogId& log, Position position) const;
  /// The sealed role that judges (log, position) of `device`; nullptr if it is no member.
  const SealedText* role_at(const DeviceId& device, const LogId& log, Position position) const;

 private:
  class Change;  // what one entry changes, collected and checked before anything is touched (roster.cpp)
  struct SequencerSince {
    Position first = 1;
    DeviceId device;
  };
  struct Entry;  // an entry taken apart
  static Result<Entry> take_apart(ByteView bytes);
  Status continues_here(const Entry& entry) const;
  Result<Change> judge(const Entry& entry) const;
  void store(ByteView entry, const Hash& hash);

  SpaceId space_;
  FoundItem found_;
  std::vector<SequencerSince> sequencers_{SequencerSince{}};
  std::vector<Bytes> entries_;
  std::vector<Hash> hashes_;
  std::size_t bytes_ = 0;
  std::map<DeviceId, Member> members_;
  std::size_t readers_ = 0;
  std::map<TransportPublicKey, DeviceId> by_transport_;
  std::vector<EpochItem> epochs_;
  std::vector<Position> epoch_entries_;
  std::map<std::pair<EpochNumber, DeviceId>, Bytes> epoch_shares_;
  std::vector<RelayItem::Relay> relays_;
  std::map<TransportPublicKey, Position> relay_first_named_;
  std::map<InviteId, InviteItem> invites_;
  std::set<InviteId> invites_closed_;
  std::optional<SealedText> rights_table_;
  std::optional<SchemaItem> schema_;
};

/// Collects items and makes one signed entry of them. It makes what it is told, also what a roster refuses: whoever builds
/// appends the entry to his own roster before anybody sees it. Checked: containers within their bounds.
class RosterEntryBuilder {
 public:
  /// Any of the items above (instantiated in roster.cpp). Puts lists into their order.
  template <class Item>
  RosterEntryBuilder& add(const Item& item);
  /// An item by its bytes, for tests and for types that this build does not know.
  RosterEntryBuilder& add_raw(std::uint64_t type, ByteView bytes);
  /// The founding entry of a new space, signed by the authority; must start with a FoundItem.
  Bytes found(const IdentityKeyPair& authority) const;
  /// The entry that continues `roster`, signed by its sequencer (the caller checks that `signer` is it).
  Bytes build(const Roster& roster, const IdentityKeyPair& signer) const;
  /// The same at a place of one's choice, for tests.
  Bytes build_at(const SpaceId& space, Position position, const Hash& previous, const IdentityKeyPair& signer) const;

 private:
  std::vector<std::pair<std::uint64_t, Bytes>> items_;
};

}  // namespace doorstep
