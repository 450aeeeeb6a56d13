// The keys of one space as one member holds them: epochs opened from the roster, and what they open in it (DESIGN section 7).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sync/operation.hpp"
#include "sync/roster.hpp"

namespace doorstep {

/// What a role may do with a kind. Bits.
enum KindRights : std::uint8_t { may_write = 1, may_propose = 2, may_resolve = 4, may_approve = 8 };

inline constexpr std::size_t role_bytes_max = 32;
inline constexpr std::size_t label_bytes_max = 256;
inline constexpr std::size_t reason_bytes_max = 1024;

/// role x kind -> KindRights. Kind 0 stands for every kind that is not listed (a township's own forms).
class RightsTable {
 public:
  struct Row {
    std::string role;  ///< 1..32 bytes.
    KindId kind = 0;
    std::uint8_t rights = 0;
    bool operator==(const Row&) const = default;
  };
  RightsTable() = default;
  /// In any order; of several rows for one (role, kind) the last one counts.
  explicit RightsTable(std::vector<Row> rows);
  std::uint8_t rights(std::string_view role, KindId kind) const;  ///< 0 for an unknown role.
  const std::vector<Row>& rows() const { return rows_; }
  /// Has to fit a sealed text (sealed_text_bytes_max) to travel; found_space says so if it does not.
  Bytes encode() const;
  static Result<RightsTable> decode(ByteView bytes);
  bool operator==(const RightsTable&) const = default;

 private:
  std::vector<Row> rows_;  // sorted by (role, kind), each pair once
};

/// What a sealed text is for: part of what is authenticated, so that a label cannot be shown as a role, and different for every
/// device, so that a relay cannot see who has the same role.
std::string role_purpose(const DeviceId& device);
std::string label_purpose(const DeviceId& device);
std::string reason_purpose(const DeviceId& device);  ///< Of a cut.
std::string invite_role_purpose(const InviteId& invite);
inline constexpr std::string_view rights_table_purpose = "rights-table";

/// The longest text that seal_text takes: what is left of the box after nonce, tag and padding.
inline constexpr std::size_t sealed_text_bytes_max = sealed_text_box_bytes_max - 24 - aead_tag_bytes - 32;

/// The data keys of the epochs a member could open. Holds secrets; move-only; wiped on destruction.
class Keyring {
 public:
  /// Something that the roster holds for this device and that is not what the sequencer signed: he told somebody another key.
  struct Fault {
    EpochNumber epoch = 0;
    std::string what;  ///< A sentence.
  };

  /// Opens every epoch that is sealed to this device, and walks back through `previous`. Epochs it cannot open are just absent.
  static Keyring open(const Roster& roster, const DeviceId& device, const SealingKeyPair& sealing);
  /// For the founder, who has the key before the roster: epoch 1 = key. Also for a store that kept the keys.
  void add(EpochNumber number, SymmetricKey key);

  /// What open() met on its way. Not empty: the sequencer's device is broken or lies; show it to a supervisor.
  const std::vector<Fault>& faults() const { return faults_; }

  bool has(EpochNumber number) const;
  EpochNumber newest() const;                                 ///< 0: none.
  const SymmetricKey& segment_key(EpochNumber number) const;  ///< derive_key(epoch key, "doorstep/1/segment-key"). Checked: has().
  const SymmetricKey& salt_key(EpochNumber number) const;     ///< For the Merkle salts: derive_key(..., "doorstep/1/salt-key").
  const SymmetricKey& epoch_key(EpochNumber number) const;
  /// Opens what append-only writers sealed to EpochItem::public_key.
  SealingKeyPair sealing_keys(EpochNumber number) const;

  /// Text for members' eyes in a roster item. SIV: the nonce is a keyed hash of the text and the purpose. Padded to 32 bytes.
  /// Checked: has(number), text.size() <= sealed_text_bytes_max. An empty text of epoch 0 is "nothing said".
  SealedText seal_text(EpochNumber number, std::string_view purpose, std::string_view text) const;
  /// Code::waiting: key not here yet. Code::corrupt: not a text for this purpose. Nothing said: the empty text.
  Result<std::string> open_text(const SealedText& sealed, std::string_view purpose) const;

 private:
  struct Epoch {
    SymmetricKey key, segment, salt;
  };
  const Epoch& epoch(EpochNumber number) const;

  std::map<EpochNumber, Epoch> epochs_;
  std::vector<Fault> faults_;
};

/// A fresh key sealed to `readers` (the members that will read after the entry), committed to, with the old key under the new.
struct NewEpoch {
  EpochItem item;
  SymmetricKey key;
};
/// Epoch 1, for a founding entry.
NewEpoch make_founding_epoch(const FoundItem& found, const std::vector<DeviceKeys>& readers, Random& random);
/// The epoch after the roster's newest. Checked: `keys` has that.
NewEpoch make_epoch(const Roster& roster, const Keyring& keys, const std::vector<DeviceKeys>& readers, Random& random);
/// The newest epoch's key for a newcomer. Checked: `keys` has it.
EpochShareItem share_epoch(const Roster& roster, const Keyring& keys, const DeviceKeys& newcomer);

}  // namespace doorstep
