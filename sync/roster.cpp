// The bytes of a roster stand at the top of roster.hpp (entries) and roster_items.hpp (items).
//
// An entry is judged in this order, so that nobody but the sequencer can make a roster do anything:
//   1. shape     take_apart: size, version, suite, counts; no item is looked into
//   2. place     continues_here: space, gap, already here, signature of that position's sequencer, fork
//   3. items     Change::item: each by itself and against what stands
//   4. outcome   Change::finish: what must hold once the whole entry is applied (sequencer, boxes, limits)
//   5. commit    Change::commit: cannot fail. Until here nothing was touched.
// The work of one entry is linear in its bytes and the number of members, whatever its author had in mind: members and role
// histories are never copied.
#include "sync/roster.hpp"

#include <algorithm>

#include "sync/roster_items.hpp"

namespace doorstep {

namespace {

constexpr std::string_view entry_label = "doorstep/1/roster";
constexpr std::string_view entry_hash_label = "doorstep/1/roster-entry";
constexpr std::string_view device_label = "doorstep/1/device";
constexpr std::uint8_t rights_all = rights_read | rights_append | rights_roster;
constexpr std::size_t sealed_text_overhead_bytes = 24 + aead_tag_bytes;

Bytes certified_bytes(const SealingPublicKey& sealing, const TransportPublicKey& transport) {
  Bytes out = to_bytes(sealing.view());
  append(out, transport.view());
  return out;
}

/// The position that `logs` gives a log; 0 if it does not list it.
Position position_in(const std::vector<LogPosition>& logs, const LogId& log) {
  const auto found = std::lower_bound(logs.begin(), logs.end(), log, [](const LogPosition& at, const LogId& id) { return at.log < id; });
  return found != logs.end() && found->log == log ? found->position : 0;
}

const EpochItem::Sealed* box_in(const EpochItem& epoch, const DeviceId& device) {
  const auto found = std::lower_bound(epoch.sealed.begin(), epoch.sealed.end(), device,
                                      [](const EpochItem::Sealed& sealed, const DeviceId& id) { return sealed.device < id; });
  return found != epoch.sealed.end() && found->device == device ? &*found : nullptr;
}

/// The role that judges (log, position): the last one that began before it.
const Member::RoleSince& judging_role(const Member& member, const LogId& log, Position position) {
  for (std::size_t i = member.roles.size() - 1; i > 0; --i)
    if (position > position_in(member.roles[i].from, log)) return member.roles[i];
  return member.roles.front();
}

Status check_logs(const std::vector<LogPosition>& logs) {
  for (std::size_t i = 0; i < logs.size(); ++i) {
    if (logs[i].position == 0) return Error(Code::corrupt, "lists a log at position 0; such a log is to be left out");
    if (i > 0 && !(logs[i - 1].log < logs[i].log)) return Error(Code::corrupt, "lists logs out of order or twice");
  }
  return {};
}

Status check_rights(std::uint8_t rights) {
  if ((rights & ~rights_all) != 0) return Error(Code::unsupported, "gives rights that this build does not know: waits for a newer version");
  return {};
}

Error with_place(Position position, const Error& error) {
  return {error.code(), "roster entry " + std::to_string(position) + ": " + error.message()};
}

// Canonical order of what an item lists; the rules refuse any other.
void put_in_order(std::vector<LogPosition>& logs) {
  std::erase_if(logs, [](const LogPosition& at) { return at.position == 0; });
  std::sort(logs.begin(), logs.end(), [](const LogPosition& a, const LogPosition& b) { return a.log < b.log; });
}
template <class Item>
Item in_order(Item item) {
  if constexpr (std::is_same_v<Item, CutItem>) put_in_order(item.logs);
  if constexpr (std::is_same_v<Item, RoleItem>) put_in_order(item.from);
  if constexpr (std::is_same_v<Item, EpochItem>)
    std::sort(item.sealed.begin(), item.sealed.end(), [](const auto& a, const auto& b) { return a.device < b.device; });
  return item;
}

Bytes body_of(const SpaceId& space, Position position, const Hash& previous, const std::vector<std::pair<std::uint64_t, Bytes>>& items) {
  Encoder out;
  out.put_u8(roster_version);
  out.put_u8(suite_libsodium);
  out.put_raw(space.view());
  out.put_varint(position);
  out.put_raw(previous.view());
  out.put_varint(items.size());
  for (const auto& [type, bytes] : items) {
    out.put_varint(type);
    out.put_bytes(bytes);
  }
  return out.take();
}

Bytes signed_entry(Bytes body, const IdentityKeyPair& signer) {
  const Signature signature = sign(signer.secret_key, entry_label, body);
  append(body, signature.view());
  return body;
}

}  // namespace

DeviceKeys certify_device(const IdentityKeyPair& identity, const SealingPublicKey& sealing, const TransportPublicKey& transport) {
  return {identity.public_key, sealing, transport, sign(identity.secret_key, device_label, certified_bytes(sealing, transport))};
}

bool certificate_holds(const DeviceKeys& keys) {
  return verify(keys.identity, device_label, certified_bytes(keys.sealing, keys.transport), keys.certificate);
}

SpaceId founding_context(const FoundItem& found) {
  const Bytes bytes = encode(found);
  return SpaceId::from(hash("doorstep/1/founding-context", {ByteView(bytes)}).view());
}

Hash epoch_context(const SpaceId& space, EpochNumber number, const DeviceId& device) {
  const std::array<std::uint8_t, 4> number_bytes = {static_cast<std::uint8_t>(number), static_cast<std::uint8_t>(number >> 8),
                                                    static_cast<std::uint8_t>(number >> 16), static_cast<std::uint8_t>(number >> 24)};
  return hash("doorstep/1/epoch-context", {space.view(), ByteView(number_bytes), device.view()});
}

// ---- Taking apart and placing

struct Roster::Entry {
  struct Item {
    std::uint64_t type;
    ByteView bytes;
  };
  SpaceId space;
  Position position = 0;
  Hash previous;
  std::vector<Item> items;  // views into the entry
  ByteView body;
  Signature signature;
  Hash hash;
};

Result<Roster::Entry> Roster::take_apart(ByteView bytes) {
  if (bytes.size() > limits::roster_entry_bytes_max)
    return Error(Code::too_large, "a roster entry has " + std::to_string(bytes.size()) + " bytes, above roster_entry_bytes_max");
  if (bytes.size() < Signature::size_bytes) return Error(Code::corrupt, "a roster entry ends before its signature");
  Entry entry;
  entry.body = bytes.first(bytes.size() - Signature::size_bytes);
  entry.signature = Signature::from(bytes.last(Signature::size_bytes));
  Decoder in(entry.body);
  const auto version = in.get_u8();
  const auto suite = in.get_u8();
  if (!in.failed() && (version != roster_version || suite != suite_libsodium))
    return Error(Code::unsupported, "a roster entry has version " + std::to_string(version) + " and suite " + std::to_string(suite) +
                                        ": the roster waits for a newer version of Doorstep");
  in(entry.space, entry.position, entry.previous);
  const auto count = in.get_count(roster_items_max);
  if (!in.failed() && count == 0) in.fail("says nothing");
  for (std::size_t i = 0; i < count && !in.failed(); ++i) {
    const auto type = in.get_varint();
    entry.items.push_back({type, in.get_bytes(limits::roster_entry_bytes_max)});
  }
  DOORSTEP_TRY(in.finish("a roster entry"));
  entry.hash = doorstep::hash(entry_hash_label, {entry.body});
  return entry;
}

/// ok: the entry is signed by the sequencer and comes next.
Status Roster::continues_here(const Entry& entry) const {
  const auto number = std::to_string(entry.position);
  if (entry.position == 0) return Error(Code::corrupt, "a founding entry cannot continue a roster: open it as a space of its own");
  if (entry.space != space_) return Error(Code::corrupt, "roster entry " + number + " belongs to another space");
  if (entry.position > size())
    return Error(Code::conflict,
                 "roster entry " + number + " leaves a gap: fetch the entries from " + std::to_string(size()) + " on first");
  if (entry.position < size() && entry.hash == hash_at(entry.position))
    return Error(Code::already_exists, "roster entry " + number + " is here already");
  if (!verify(sequencer_at(entry.position), entry_label, entry.body, entry.signature))
    return Error(Code::unauthenticated,
                 "roster entry " + number + " is not signed by the sequencer of its position: do not trust its bearer");
  // From here on the signature proves it: whatever its items say, the sequencer signed two histories.
  if (entry.previous != hash_at(entry.position - 1))
    return Error(Code::conflict, "roster entry " + number + " continues another history of this space: the roster has a fork before it");
  if (entry.position < size())
    return Error(Code::conflict, "the sequencer signed two entries for position " + number + ": the roster has a fork there");
  return {};
}

// ---- What one entry changes

class Roster::Change {
 public:
  Change(const Roster& roster, Position position) : roster_(roster), position_(position) {}
  Status apply(const Entry& entry);
  void commit(Roster& roster, const Entry& entry) &&;

 private:
  Status item(const Entry::Item& item);
  template <class Item>
  Status decoded(const Entry::Item& item, const char* of_what);
  Status check(FoundItem item);
  Status check(SequencerItem item);
  Status check(AdmitItem item);
  Status check(EpochItem item);
  Status check(CutItem item);
  Status check(RoleItem item);
  Status check(RelayItem item);
  Status check(InviteItem item);
  Status check(RightsTableItem item);
  Status check(SchemaItem item);
  Status check(EpochShareItem item);
  Status check(InviteCloseItem item);
  Status check_text(const SealedText& text);

  Status finish();
  Status finish_sequencer() const;
  Status finish_readers();
  Status finish_epoch() const;
  Status finish_shares() const;

  bool known(const DeviceId& device) const { return admitted_.count(device) != 0 || roster_.member(device) != nullptr; }
  const InviteItem* open_invite(const InviteId& id) const;
  bool cut_after(const DeviceId& device) const;
  std::uint8_t rights_after(const DeviceId& device) const;
  bool reads_after(const DeviceId& device) const {
    return known(device) && !cut_after(device) && (rights_after(device) & rights_read) != 0;
  }
  bool reads_before(const DeviceId& device) const;
  EpochNumber newest_after() const { return roster_.newest_epoch() + (epoch_ ? 1 : 0); }
  std::set<DeviceId> touched() const;

  const Roster& roster_;
  const Position position_;
  bool first_item_ = true;
  EpochNumber text_epoch_max_ = 0;
  std::size_t readers_after_ = 0;

  std::optional<FoundItem> found_;
  std::optional<DeviceId> sequencer_;
  std::map<DeviceId, Member> admitted_;
  std::map<TransportPublicKey, DeviceId> transports_;
  std::map<DeviceId, CutItem> cuts_;
  std::map<DeviceId, RoleItem> roles_;
  std::optional<EpochItem> epoch_;
  std::map<DeviceId, EpochShareItem> shares_;
  std::optional<RelayItem> relays_;
  std::map<InviteId, InviteItem> invites_;
  std::set<InviteId> closed_;
  std::optional<SealedText> rights_table_;
  std::optional<SchemaItem> schema_;
};

Status Roster::Change::apply(const Entry& entry) {
  for (const auto& each : entry.items) {
    DOORSTEP_TRY(item(each));
    first_item_ = false;
  }
  return finish();
}

Status Roster::Change::item(const Entry::Item& item) {
  switch (item.type) {
    case FoundItem::type: return decoded<FoundItem>(item, "founds the space");
    case SequencerItem::type: return decoded<SequencerItem>(item, "names the sequencer");
    case AdmitItem::type: return decoded<AdmitItem>(item, "admits a device");
    case EpochItem::type: return decoded<EpochItem>(item, "begins an epoch");
    case CutItem::type: return decoded<CutItem>(item, "cuts a device");
    case RoleItem::type: return decoded<RoleItem>(item, "changes a role");
    case RelayItem::type: return decoded<RelayItem>(item, "lists relays");
    case InviteItem::type: return decoded<InviteItem>(item, "invites");
    case RightsTableItem::type: return decoded<RightsTableItem>(item, "sets the rights table");
    case SchemaItem::type: return decoded<SchemaItem>(item, "names a schema");
    case EpochShareItem::type: return decoded<EpochShareItem>(item, "hands over an epoch");
    case InviteCloseItem::type: return decoded<InviteCloseItem>(item, "closes an invitation");
    default: break;
  }
  if (item.type % 2 == 0) return {};  // kept in the entry, skipped here
  return Error(Code::unsupported, "has an item of type " + std::to_string(item.type) +
                                      " that must be understood: the roster waits for a newer version of Doorstep");
}

template <class Item>
Status Roster::Change::decoded(const Entry::Item& item, const char* of_what) {
  DOORSTEP_ASSIGN(Item value, decode<Item>(item.bytes, of_what));
  if (auto status = check(std::move(value)); !status)
    return Error(status.error().code(), std::string(of_what) + ": " + status.error().message());
  return {};
}

Status Roster::Change::check_text(const SealedText& text) {
  if ((text.epoch == 0) != text.box.empty()) return Error(Code::corrupt, "a sealed text has an epoch and no box, or a box and no epoch");
  if (!text.box.empty() && text.box.size() < sealed_text_overhead_bytes)
    return Error(Code::corrupt, "a sealed text is too short to be one");
  text_epoch_max_ = std::max(text_epoch_max_, text.epoch);  // judged when the entry's own epoch is known
  return {};
}

Status Roster::Change::check(FoundItem item) {
  if (position_ != 0) return Error(Code::protocol, "the space is founded already");
  if (!first_item_) return Error(Code::protocol, "this has to be the first item, and the only one of its kind");
  if (item.kind < SpaceKind::village || item.kind > SpaceKind::audit)
    return Error(Code::unsupported, "a kind of space that this build does not know: waits for a newer version");
  found_ = item;
  return {};
}

Status Roster::Change::check(SequencerItem item) {
  if (sequencer_) return Error(Code::protocol, "the entry names two");
  sequencer_ = item.device;
  return {};
}

Status Roster::Change::check(AdmitItem item) {
  DOORSTEP_TRY(check_rights(item.rights));
  DOORSTEP_TRY(check_text(item.role));
  DOORSTEP_TRY(check_text(item.label));
  const auto& keys = item.keys;
  if (known(keys.identity)) return Error(Code::protocol, "it was admitted before; a device that returns comes with a new identity");
  if (transports_.count(keys.transport) != 0 || roster_.member_by_transport(keys.transport) != nullptr)
    return Error(Code::protocol, "its transport key is another device's; the device has to make its own");
  if (!certificate_holds(keys)) return Error(Code::unauthenticated, "its identity did not certify its other keys");
  if (item.invite) {
    const InviteItem* invite = open_invite(*item.invite);
    if (!invite) return Error(Code::protocol, "its invitation is not open (never made, used, or closed): make a new one");
    if ((item.rights & ~invite->rights) != 0) return Error(Code::protocol, "it gets more rights than its invitation offers");
    closed_.insert(*item.invite);
  }
  Member member;
  member.keys = keys;
  member.rights = item.rights;
  member.admitted_at = position_;
  member.invite = item.invite;
  member.roles.push_back({std::move(item.role), item.rights, {}});
  member.label = std::move(item.label);
  transports_.emplace(keys.transport, keys.identity);
  admitted_.emplace(keys.identity, std::move(member));
  return {};
}

Status Roster::Change::check(EpochItem item) {
  if (epoch_) return Error(Code::protocol, "the entry begins two");
  if (item.number != roster_.newest_epoch() + 1)
    return Error(Code::protocol,
                 "it is number " + std::to_string(item.number) + ", the next one is " + std::to_string(roster_.newest_epoch() + 1));
  if (item.number > roster_epochs_max)
    return Error(Code::too_large, "the space has had all its epochs (roster_epochs_max): found a new one");
  if (item.previous.size() != (item.number == 1 ? 0 : epoch_previous_bytes))
    return Error(Code::corrupt, "the key before it has to stand under it, and nothing under the first");
  for (std::size_t i = 0; i < item.sealed.size(); ++i) {
    if (item.sealed[i].box.size() != epoch_box_bytes) return Error(Code::corrupt, "a box has the wrong size");
    if (i > 0 && !(item.sealed[i - 1].device < item.sealed[i].device)) return Error(Code::corrupt, "boxes are out of order or given twice");
  }
  epoch_ = std::move(item);
  return {};
}

Status Roster::Change::check(CutItem item) {
  DOORSTEP_TRY(check_logs(item.logs));
  DOORSTEP_TRY(check_text(item.reason));
  if (!known(item.device)) return Error(Code::protocol, "it is no member");
  if (cut_after(item.device)) return Error(Code::protocol, "it is cut already, and the first cut stands");
  cuts_.emplace(item.device, std::move(item));
  return {};
}

Status Roster::Change::check(RoleItem item) {
  DOORSTEP_TRY(check_rights(item.rights));
  DOORSTEP_TRY(check_text(item.role));
  DOORSTEP_TRY(check_logs(item.from));
  if (!known(item.device)) return Error(Code::protocol, "the device is no member");
  const Member* member = roster_.member(item.device);
  if (member && member->roles.size() >= roster_roles_per_device_max)
    return Error(Code::too_large, "the device had too many roles (roster_roles_per_device_max): admit it anew under a new identity");
  if (!roles_.emplace(item.device, item).second) return Error(Code::protocol, "the entry changes this device's role twice");
  return {};
}

Status Roster::Change::check(RelayItem item) {
  if (relays_) return Error(Code::protocol, "the entry has two lists");
  std::set<TransportPublicKey> keys;
  for (const auto& relay : item.relays) {
    if (!keys.insert(relay.key).second) return Error(Code::corrupt, "a relay stands twice in the list");
    for (const auto& address : relay.addresses)
      if (address.empty() || !is_valid_text(address)) return Error(Code::corrupt, "an address is empty or not text");
  }
  relays_ = std::move(item);
  return {};
}

Status Roster::Change::check(InviteItem item) {
  DOORSTEP_TRY(check_rights(item.rights));
  DOORSTEP_TRY(check_text(item.role));
  if (open_invite(item.id) || closed_.count(item.id) != 0 || roster_.invite_was_closed(item.id))
    return Error(Code::protocol, "an invitation's id never returns: make a new invitation");
  invites_.emplace(item.id, std::move(item));
  return {};
}

Status Roster::Change::check(RightsTableItem item) {
  if (rights_table_) return Error(Code::protocol, "the entry sets it twice");
  DOORSTEP_TRY(check_text(item.table));
  rights_table_ = std::move(item.table);
  return {};
}

Status Roster::Change::check(SchemaItem item) {
  if (schema_) return Error(Code::protocol, "the entry names two");
  if (roster_.schema() && item.version <= roster_.schema()->version)
    return Error(Code::protocol, "its version " + std::to_string(item.version) + " is not above the one that holds; versions only rise");
  schema_ = item;
  return {};
}

Status Roster::Change::check(EpochShareItem item) {
  if (item.box.size() != epoch_box_bytes) return Error(Code::corrupt, "the box has the wrong size");
  if (!shares_.emplace(item.device, std::move(item)).second) return Error(Code::protocol, "the entry hands it to one device twice");
  return {};
}

Status Roster::Change::check(InviteCloseItem item) {
  if (!open_invite(item.id)) return Error(Code::protocol, "it is not open");
  closed_.insert(item.id);
  return {};
}

const InviteItem* Roster::Change::open_invite(const InviteId& id) const {
  if (closed_.count(id) != 0) return nullptr;
  const auto made = invites_.find(id);
  return made != invites_.end() ? &made->second : roster_.invite(id);
}

bool Roster::Change::cut_after(const DeviceId& device) const {
  const Member* member = roster_.member(device);
  return cuts_.count(device) != 0 || (member && member->cut);
}

std::uint8_t Roster::Change::rights_after(const DeviceId& device) const {
  if (const auto role = roles_.find(device); role != roles_.end()) return role->second.rights;
  if (const auto admitted = admitted_.find(device); admitted != admitted_.end()) return admitted->second.rights;
  const Member* member = roster_.member(device);
  return member ? member->rights : std::uint8_t{0};
}

bool Roster::Change::reads_before(const DeviceId& device) const {
  const Member* member = roster_.member(device);
  return member && member->reads();
}

std::set<DeviceId> Roster::Change::touched() const {
  std::set<DeviceId> out;
  for (const auto& [device, _] : admitted_) out.insert(device);
  for (const auto& [device, _] : roles_) out.insert(device);
  for (const auto& [device, _] : cuts_) out.insert(device);
  return out;
}

Status Roster::Change::finish() {
  if (position_ == 0 && !found_) return Error(Code::protocol, "a roster begins with the item that founds the space");
  if (position_ == 0 && !epoch_) return Error(Code::protocol, "a space is founded with its first epoch");
  if (roster_.members().size() + admitted_.size() > limits::devices_per_space_max)
    return Error(Code::too_large, "the space would have more devices than devices_per_space_max");
  std::size_t closing = 0;
  for (const auto& id : closed_) closing += (roster_.invite(id) != nullptr || invites_.count(id) != 0) ? 1 : 0;
  if (roster_.invites().size() + invites_.size() - closing > roster_invites_max)
    return Error(Code::too_large, "the space would have more open invitations than roster_invites_max: close some");
  if (text_epoch_max_ > newest_after()) return Error(Code::protocol, "a text is sealed under an epoch that does not exist");
  DOORSTEP_TRY(finish_sequencer());
  DOORSTEP_TRY(finish_readers());
  return epoch_ ? finish_epoch() : finish_shares();
}

Status Roster::Change::finish_sequencer() const {
  const DeviceId sequencer = sequencer_ ? *sequencer_ : position_ == 0 ? DeviceId{} : roster_.sequencer();
  if (!known(sequencer) || cut_after(sequencer) || rights_after(sequencer) != rights_all)
    return Error(Code::protocol,
                 "it would leave the space without a sequencer that is a member and may read, append and change the roster: "
                 "name a successor first");
  return {};
}

Status Roster::Change::finish_readers() {
  readers_after_ = roster_.readers_;
  for (const auto& device : touched()) {
    if (reads_before(device)) --readers_after_;
    if (reads_after(device)) ++readers_after_;
  }
  if (readers_after_ > roster_readers_max)
    return Error(Code::too_large, "more devices would read the space than one rotation can seal a key to (roster_readers_max)");
  return {};
}

/// With a new epoch: boxes for exactly the readers that stand after this entry.
Status Roster::Change::finish_epoch() const {
  for (const auto& sealed : epoch_->sealed)
    if (!reads_after(sealed.device)) return Error(Code::protocol, "the new epoch's key is sealed to a device that may not read");
  if (epoch_->sealed.size() != readers_after_)
    return Error(Code::protocol, "the new epoch's key is sealed to " + std::to_string(epoch_->sealed.size()) + " of " +
                                     std::to_string(readers_after_) + " readers: the others would be shut out");
  if (!shares_.empty()) return Error(Code::protocol, "a new epoch is sealed to every reader and handed to nobody besides");
  return {};
}

/// Without one: whoever begins to read in this entry has, or gets here, the newest epoch's key, and nobody else gets it.
Status Roster::Change::finish_shares() const {
  const EpochNumber newest = roster_.newest_epoch();
  for (const auto& [device, share] : shares_) {
    if (share.number != newest) return Error(Code::protocol, "only the newest epoch is handed over; the older ones stand under it");
    if (!reads_after(device)) return Error(Code::protocol, "the epoch's key is handed to a device that may not read");
    if (roster_.epoch_box(newest, device)) return Error(Code::protocol, "the epoch's key is handed to a device that has it already");
  }
  for (const auto& device : touched())
    if (reads_after(device) && shares_.count(device) == 0 && !roster_.epoch_box(newest, device))
      return Error(Code::protocol, "a device may read from here on and gets no key of the newest epoch: hand it over in the same entry");
  return {};
}

void Roster::Change::commit(Roster& roster, const Entry& entry) && {
  if (found_) {
    roster.found_ = *found_;
    roster.space_ = SpaceId::from(entry.hash.view());
    roster.sequencers_.clear();
  }
  if (sequencer_) roster.sequencers_.push_back({position_ + 1, *sequencer_});
  roster.members_.merge(admitted_);
  roster.by_transport_.merge(transports_);
  for (auto& [device, role] : roles_) {
    Member& member = roster.members_.at(device);
    member.rights = role.rights;
    member.roles.push_back({std::move(role.role), role.rights, std::move(role.from)});
  }
  for (auto& [device, cut] : cuts_) roster.members_.at(device).cut = std::move(cut);
  roster.readers_ = readers_after_;
  if (epoch_) {
    roster.epochs_.push_back(*std::move(epoch_));
    roster.epoch_entries_.push_back(position_);
  }
  for (auto& [device, share] : shares_) roster.epoch_shares_.emplace(std::pair(share.number, device), std::move(share.box));
  if (relays_) {
    for (const auto& relay : relays_->relays) roster.relay_first_named_.emplace(relay.key, position_);
    roster.relays_ = std::move(relays_->relays);
  }
  roster.invites_.merge(invites_);
  for (const auto& id : closed_) roster.invites_.erase(id);
  roster.invites_closed_.merge(closed_);
  if (rights_table_) roster.rights_table_ = std::move(rights_table_);
  if (schema_) roster.schema_ = schema_;
}

// ---- The roster

Result<Roster> Roster::found(ByteView founding_entry) {
  DOORSTEP_ASSIGN(const Entry entry, take_apart(founding_entry));
  if (entry.position != 0 || !entry.space.is_zero() || !entry.previous.is_zero())
    return Error(Code::corrupt, "this roster entry does not found a space: a roster begins with entry 0");
  if (entry.items.front().type != FoundItem::type)
    return Error(Code::protocol, "roster entry 0: a roster begins with the item that founds the space");
  DOORSTEP_ASSIGN(const FoundItem found, decode<FoundItem>(entry.items.front().bytes, "roster entry 0: founds the space"));
  if (!verify(found.authority, entry_label, entry.body, entry.signature))
    return Error(Code::unauthenticated, "roster entry 0 is not signed by the authority that it names: do not trust its bearer");
  Roster roster;
  Change change(roster, 0);
  if (auto status = change.apply(entry); !status) return with_place(0, status.error());
  std::move(change).commit(roster, entry);
  roster.store(founding_entry, entry.hash);
  return roster;
}

Result<Roster::Change> Roster::judge(const Entry& entry) const {
  DOORSTEP_CHECK(!hashes_.empty());
  DOORSTEP_TRY(continues_here(entry));
  if (size() >= limits::roster_entries_max || bytes_ + entry.body.size() + Signature::size_bytes > roster_bytes_max)
    return Error(Code::too_large, "the roster is full (roster_entries_max, roster_bytes_max): found a new space");
  Change change(*this, entry.position);
  if (auto status = change.apply(entry); !status) return with_place(entry.position, status.error());
  return change;
}

Status Roster::check(ByteView bytes) const {
  DOORSTEP_ASSIGN(const Entry entry, take_apart(bytes));
  DOORSTEP_TRY(judge(entry));
  return {};
}

Status Roster::append(ByteView bytes) {
  DOORSTEP_ASSIGN(const Entry entry, take_apart(bytes));
  DOORSTEP_ASSIGN(Change change, judge(entry));
  std::move(change).commit(*this, entry);
  store(bytes, entry.hash);
  return {};
}

std::optional<Position> Roster::forks_at(ByteView bytes) const {
  const auto entry = take_apart(bytes);
  if (!entry || entry->position > size()) return std::nullopt;
  const auto status = continues_here(*entry);
  if (status || status.code() != Code::conflict) return std::nullopt;
  return entry->position;
}

void Roster::store(ByteView entry, const Hash& hash) {
  entries_.push_back(to_bytes(entry));
  hashes_.push_back(hash);
  bytes_ += entry.size();
}

const DeviceId& Roster::sequencer_at(Position position) const {
  const auto after = std::upper_bound(sequencers_.begin() + 1, sequencers_.end(), position,
                                      [](Position at, const SequencerSince& since) { return at < since.first; });
  return std::prev(after)->device;
}

const Member* Roster::member(const DeviceId& device) const {
  const auto found = members_.find(device);
  return found != members_.end() ? &found->second : nullptr;
}

const Member* Roster::member_by_transport(const TransportPublicKey& key) const {
  const auto found = by_transport_.find(key);
  return found != by_transport_.end() ? member(found->second) : nullptr;
}

std::vector<DeviceKeys> Roster::readers() const {
  std::vector<DeviceKeys> out;
  for (const auto& [_, member] : members_)
    if (member.reads()) out.push_back(member.keys);
  return out;
}

const EpochItem* Roster::epoch(EpochNumber number) const {
  return number >= 1 && number <= epochs_.size() ? &epochs_[number - 1] : nullptr;
}

const Hash* Roster::epoch_entry_hash(EpochNumber number) const {
  return number >= 1 && number <= epochs_.size() ? &hashes_[epoch_entries_[number - 1]] : nullptr;
}

std::optional<Roster::EpochBox> Roster::epoch_box(EpochNumber number, const DeviceId& device) const {
  const EpochItem* item = epoch(number);
  if (!item) return std::nullopt;
  if (const auto* sealed = box_in(*item, device)) {
    const bool founding = epoch_entries_[number - 1] == 0;  // made before the space had an id
    return EpochBox{&sealed->box, epoch_context(founding ? founding_context(found_) : space_, number, device)};
  }
  const auto share = epoch_shares_.find({number, device});
  if (share == epoch_shares_.end()) return std::nullopt;
  return EpochBox{&share->second, epoch_context(space_, number, device)};
}

bool Roster::rotation_due() const {
  const auto reads = [this](const DeviceId& device) { return members_.at(device).reads(); };
  const EpochNumber newest = newest_epoch();
  const auto& sealed = epochs_.back().sealed;
  if (!std::all_of(sealed.begin(), sealed.end(), [&](const auto& each) { return reads(each.device); })) return true;
  for (auto share = epoch_shares_.lower_bound({newest, DeviceId{}}); share != epoch_shares_.end(); ++share)
    if (!reads(share->first.second)) return true;
  return false;
}

bool Roster::relay_named_by(const TransportPublicKey& key, Position roster_size) const {
  const auto found = relay_first_named_.find(key);
  return found != relay_first_named_.end() && found->second < roster_size;
}

const InviteItem* Roster::invite(const InviteId& id) const {
  const auto found = invites_.find(id);
  return found != invites_.end() ? &found->second : nullptr;
}

bool Roster::invite_was_closed(const InviteId& id) const { return invites_closed_.count(id) != 0; }

Roster::Standing Roster::standing(const DeviceId& device, const LogId& log, Position position) const {
  const Member* found = member(device);
  if (!found) return Standing::unknown_device;
  if (found->cut && position > position_in(found->cut->logs, log)) return Standing::beyond_cut;
  return (judging_role(*found, log, position).rights & rights_append) != 0 ? Standing::stands : Standing::no_append_right;
}

const SealedText* Roster::role_at(const DeviceId& device, const LogId& log, Position position) const {
  const Member* found = member(device);
  return found ? &judging_role(*found, log, position).role : nullptr;
}

// ---- Making entries

template <class Item>
RosterEntryBuilder& RosterEntryBuilder::add(const Item& item) {
  items_.emplace_back(Item::type, encode(in_order(item)));
  return *this;
}
template RosterEntryBuilder& RosterEntryBuilder::add(const FoundItem&);
template RosterEntryBuilder& RosterEntryBuilder::add(const SequencerItem&);
template RosterEntryBuilder& RosterEntryBuilder::add(const AdmitItem&);
template RosterEntryBuilder& RosterEntryBuilder::add(const EpochItem&);
template RosterEntryBuilder& RosterEntryBuilder::add(const CutItem&);
template RosterEntryBuilder& RosterEntryBuilder::add(const RoleItem&);
template RosterEntryBuilder& RosterEntryBuilder::add(const RelayItem&);
template RosterEntryBuilder& RosterEntryBuilder::add(const InviteItem&);
template RosterEntryBuilder& RosterEntryBuilder::add(const RightsTableItem&);
template RosterEntryBuilder& RosterEntryBuilder::add(const SchemaItem&);
template RosterEntryBuilder& RosterEntryBuilder::add(const EpochShareItem&);
template RosterEntryBuilder& RosterEntryBuilder::add(const InviteCloseItem&);

RosterEntryBuilder& RosterEntryBuilder::add_raw(std::uint64_t type, ByteView bytes) {
  items_.emplace_back(type, to_bytes(bytes));
  return *this;
}

Bytes RosterEntryBuilder::found(const IdentityKeyPair& authority) const { return signed_entry(body_of({}, 0, {}, items_), authority); }

Bytes RosterEntryBuilder::build(const Roster& roster, const IdentityKeyPair& signer) const {
  return build_at(roster.space(), roster.size(), roster.head(), signer);
}

Bytes RosterEntryBuilder::build_at(const SpaceId& space, Position position, const Hash& previous, const IdentityKeyPair& signer) const {
  return signed_entry(body_of(space, position, previous, items_), signer);
}

}  // namespace doorstep
