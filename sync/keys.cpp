// Keys of a space, and what they seal in its roster:
//
//   epoch key 32    random; everything else follows from it with derive_key:
//     "doorstep/1/segment-key"           seals segments
//     "doorstep/1/salt-key"              salts of the Merkle leaves
//     "doorstep/1/names-key"             seals the texts of the roster
//     "doorstep/1/epoch-sealing-key"     X25519 secret; its public half stands in the EpochItem
//     "doorstep/1/epoch-previous-key"    seals the key before this one
//   commitment      hash("doorstep/1/epoch-commitment", key)
//   box 112         sealed box of (key 32 ‖ epoch_context 32)
//   previous 48     XChaCha20-Poly1305 under epoch-previous-key, nonce zero (that key seals nothing else, ever), the previous
//                   key, associated: epoch_context(space, previous number, zeros)
//   sealed text     nonce 24 ‖ XChaCha20-Poly1305 under names-key of the padded text, associated: the purpose
//                   nonce = keyed_hash(epoch key, "doorstep/1/names-nonce", purpose, padded)[24], and is checked at opening
//                   padded = text ‖ 0x80 ‖ zeros up to a multiple of 32: role names must not show by their length
//   rights table    version u8 = 1, count 0..64 roles: text 1..32, count 1..1024 of (kind, rights); roles and kinds ascending
#include "sync/keys.hpp"

#include <algorithm>
#include <tuple>

#include "sync/codec.hpp"

namespace doorstep {

namespace {

constexpr std::uint8_t rights_table_version = 1;
constexpr std::size_t rights_table_roles_max = 64;
constexpr std::size_t rights_table_kinds_max = 1024;
constexpr std::size_t padding_bytes = 32;
constexpr std::uint8_t padding_mark = 0x80;

Hash commitment_of(const SymmetricKey& key) { return hash("doorstep/1/epoch-commitment", {ByteView(key.reveal())}); }

SealingKeyPair epoch_sealing_keys(const SymmetricKey& key) {
  const SymmetricKey secret = derive_key(key, "doorstep/1/epoch-sealing-key");
  auto pair = transport_key_pair_from_secret(secret.reveal());
  return {SealingPublicKey::from(pair.public_key.view()), std::move(pair.secret_key)};
}

Bytes previous_associated(const SpaceId& space, EpochNumber previous) {
  return to_bytes(epoch_context(space, previous, DeviceId{}).view());
}

Bytes box_for(const DeviceKeys& to, const SymmetricKey& key, const Hash& context) {
  Secret<64> plain;
  std::copy(key.reveal().begin(), key.reveal().end(), plain.reveal_mutable().begin());
  std::copy(context.data.begin(), context.data.end(), plain.reveal_mutable().begin() + 32);
  return box_seal(to.sealing, plain.reveal());
}

EpochItem sealed_epoch(const SpaceId& space, EpochNumber number, const SymmetricKey& key, const std::vector<DeviceKeys>& readers) {
  EpochItem item;
  item.number = number;
  item.commitment = commitment_of(key);
  item.public_key = epoch_sealing_keys(key).public_key;
  for (const auto& reader : readers)
    item.sealed.push_back({reader.identity, box_for(reader, key, epoch_context(space, number, reader.identity))});
  return item;
}

/// A key out of 32 bytes of ordinary memory, which is wiped.
std::optional<SymmetricKey> take_key(std::optional<Bytes> plain, std::size_t size) {
  if (!plain) return std::nullopt;
  std::optional<SymmetricKey> key;
  if (plain->size() == size) key.emplace(std::span<const std::uint8_t, 32>(plain->data(), 32));
  wipe(*plain);
  return key;
}

std::optional<SymmetricKey> open_previous(const Roster& roster, EpochNumber number, const SymmetricKey& key) {
  const SymmetricKey over = derive_key(key, "doorstep/1/epoch-previous-key");
  return take_key(aead_open(over, Nonce{}, roster.epoch(number)->previous, previous_associated(roster.space(), number - 1)), 32);
}

/// Key and context of a box; nullopt and a sentence if it is not what it should be.
std::optional<SymmetricKey> open_box(const Roster::EpochBox& box, const SealingKeyPair& sealing, std::string& fault) {
  auto plain = box_open(sealing, *box.box);
  if (!plain) {
    fault = "the box that the roster holds for this device does not open";
    return std::nullopt;
  }
  if (plain->size() != 64 || !equal(ByteView(*plain).subspan(32), box.context.view())) {
    wipe(*plain);
    fault = "the box that the roster holds for this device was made for another space, epoch or device";
    return std::nullopt;
  }
  return take_key(std::move(plain), 64);
}

Bytes padded(std::string_view text) {
  Bytes out = to_bytes(view(text));
  out.push_back(padding_mark);
  out.resize((out.size() + padding_bytes - 1) / padding_bytes * padding_bytes, 0);
  return out;
}

/// nullopt unless padded() made it.
std::optional<std::string> unpadded(ByteView bytes) {
  std::size_t end = bytes.size();
  while (end > 0 && bytes[end - 1] == 0) --end;
  if (end == 0 || bytes[end - 1] != padding_mark) return std::nullopt;
  const std::string text(text_view(bytes.first(end - 1)));
  if (padded(text).size() != bytes.size()) return std::nullopt;
  return text;
}

Nonce text_nonce(const SymmetricKey& epoch_key, std::string_view purpose, ByteView padded_text) {
  return Nonce::from(keyed_hash(epoch_key, "doorstep/1/names-nonce", {view(purpose), padded_text}).view().first(Nonce::size_bytes));
}

}  // namespace

// ---- Rights table

RightsTable::RightsTable(std::vector<Row> rows) {
  const auto before = [](const Row& a, const Row& b) { return std::tie(a.role, a.kind) < std::tie(b.role, b.kind); };
  std::stable_sort(rows.begin(), rows.end(), before);
  for (auto& row : rows) {
    if (!rows_.empty() && !before(rows_.back(), row)) rows_.pop_back();
    rows_.push_back(std::move(row));
  }
}

std::uint8_t RightsTable::rights(std::string_view role, KindId kind) const {
  const auto find = [&](KindId wanted) {
    return std::lower_bound(rows_.begin(), rows_.end(), wanted, [&](const Row& row, KindId id) {
      const int order = std::string_view(row.role).compare(role);
      return order < 0 || (order == 0 && row.kind < id);
    });
  };
  for (const KindId wanted : {kind, KindId{0}})
    if (const auto row = find(wanted); row != rows_.end() && row->role == role && row->kind == wanted) return row->rights;
  return 0;
}

Bytes RightsTable::encode() const {
  Encoder out;
  out.put_u8(rights_table_version);
  std::vector<std::size_t> starts;  // of each role's rows
  for (std::size_t i = 0; i < rows_.size(); ++i)
    if (i == 0 || rows_[i].role != rows_[i - 1].role) starts.push_back(i);
  out.put_varint(starts.size());
  for (std::size_t s = 0; s < starts.size(); ++s) {
    const std::size_t end = s + 1 < starts.size() ? starts[s + 1] : rows_.size();
    out.put_bytes(view(rows_[starts[s]].role));
    out.put_varint(end - starts[s]);
    for (std::size_t i = starts[s]; i < end; ++i) {
      out.put_varint(rows_[i].kind);
      out.put_varint(rows_[i].rights);
    }
  }
  return out.take();
}

Result<RightsTable> RightsTable::decode(ByteView bytes) {
  Decoder in(bytes);
  RightsTable out;
  if (const auto version = in.get_u8(); !in.failed() && version != rights_table_version)
    return Error(Code::unsupported, "the rights table has version " + std::to_string(version) + ": waits for a newer version of Doorstep");
  const auto roles = in.get_count(rights_table_roles_max);
  for (std::size_t r = 0; r < roles && !in.failed(); ++r) {
    const std::string role(text_view(in.get_bytes(role_bytes_max)));
    if (role.empty() || !is_valid_text(role)) in.fail("a role's name is empty or not text");
    if (!out.rows_.empty() && out.rows_.back().role >= role) in.fail("roles are out of order");
    const auto kinds = in.get_count(rights_table_kinds_max);
    if (kinds == 0) in.fail("a role has no rows");
    for (std::size_t k = 0; k < kinds && !in.failed(); ++k) {
      Row row{role, 0, 0};
      in(row.kind, row.rights);
      if (k > 0 && out.rows_.back().kind >= row.kind) in.fail("kinds are out of order");
      out.rows_.push_back(std::move(row));
    }
  }
  DOORSTEP_TRY(in.finish("the rights table"));
  return out;
}

// ---- Purposes

std::string role_purpose(const DeviceId& device) { return "role " + device.hex(); }
std::string label_purpose(const DeviceId& device) { return "label " + device.hex(); }
std::string reason_purpose(const DeviceId& device) { return "reason " + device.hex(); }
std::string invite_role_purpose(const InviteId& invite) { return "invite-role " + invite.hex(); }

// ---- Keyring

Keyring Keyring::open(const Roster& roster, const DeviceId& device, const SealingKeyPair& sealing) {
  Keyring out;
  const auto fault = [&out](EpochNumber number, std::string what) { out.faults_.push_back({number, std::move(what)}); };
  for (EpochNumber number = roster.newest_epoch(); number >= 1; --number) {
    const EpochItem& item = *roster.epoch(number);
    std::optional<SymmetricKey> key;
    if (out.has(number + 1)) {
      key = open_previous(roster, number + 1, out.epoch_key(number + 1));
      if (!key || commitment_of(*key) != item.commitment) {
        key.reset();
        fault(number, "what stands under the next epoch's key is not the key that the roster commits to");
      }
    }
    if (const auto box = key ? std::nullopt : roster.epoch_box(number, device)) {
      std::string what;
      key = open_box(*box, sealing, what);
      if (key && commitment_of(*key) != item.commitment) {
        key.reset();
        what = "the key sealed to this device is not the one that the roster commits to: others were told another";
      }
      if (!what.empty()) fault(number, std::move(what));
    }
    if (!key) continue;
    if (epoch_sealing_keys(*key).public_key != item.public_key) fault(number, "the epoch's public key does not belong to its key");
    out.add(number, *std::move(key));
  }
  return out;
}

void Keyring::add(EpochNumber number, SymmetricKey key) {
  auto segment = derive_key(key, "doorstep/1/segment-key");
  auto salt = derive_key(key, "doorstep/1/salt-key");
  epochs_.insert_or_assign(number, Epoch{std::move(key), std::move(segment), std::move(salt)});
}

const Keyring::Epoch& Keyring::epoch(EpochNumber number) const {
  const auto found = epochs_.find(number);
  DOORSTEP_CHECK(found != epochs_.end());
  return found->second;
}

bool Keyring::has(EpochNumber number) const { return epochs_.count(number) != 0; }
EpochNumber Keyring::newest() const { return epochs_.empty() ? 0 : epochs_.rbegin()->first; }
const SymmetricKey& Keyring::segment_key(EpochNumber number) const { return epoch(number).segment; }
const SymmetricKey& Keyring::salt_key(EpochNumber number) const { return epoch(number).salt; }
const SymmetricKey& Keyring::epoch_key(EpochNumber number) const { return epoch(number).key; }
SealingKeyPair Keyring::sealing_keys(EpochNumber number) const { return epoch_sealing_keys(epoch_key(number)); }

SealedText Keyring::seal_text(EpochNumber number, std::string_view purpose, std::string_view text) const {
  DOORSTEP_CHECK(text.size() <= sealed_text_bytes_max);
  const SymmetricKey& key = epoch_key(number);
  const Bytes plain = padded(text);
  const Nonce nonce = text_nonce(key, purpose, plain);
  SealedText out{number, to_bytes(nonce.view())};
  append(out.box, aead_seal(derive_key(key, "doorstep/1/names-key"), nonce, plain, view(purpose)));
  return out;
}

Result<std::string> Keyring::open_text(const SealedText& sealed, std::string_view purpose) const {
  if (sealed.epoch == 0 && sealed.box.empty()) return std::string();
  if (!has(sealed.epoch)) return Error(Code::waiting, "a text of the roster waits for the key of epoch " + std::to_string(sealed.epoch));
  const Error broken(Code::corrupt, "a text of the roster does not open: it was sealed for another purpose, or is damaged");
  if (sealed.box.size() < Nonce::size_bytes) return broken;
  const SymmetricKey& key = epoch_key(sealed.epoch);
  const Nonce nonce = Nonce::from(ByteView(sealed.box).first(Nonce::size_bytes));
  const auto plain =
      aead_open(derive_key(key, "doorstep/1/names-key"), nonce, ByteView(sealed.box).subspan(Nonce::size_bytes), view(purpose));
  if (!plain || text_nonce(key, purpose, *plain) != nonce) return broken;
  auto text = unpadded(*plain);
  if (!text) return broken;
  return *std::move(text);
}

// ---- Making epochs

NewEpoch make_founding_epoch(const FoundItem& found, const std::vector<DeviceKeys>& readers, Random& random) {
  SymmetricKey key = make_symmetric_key(random);
  return {sealed_epoch(founding_context(found), 1, key, readers), std::move(key)};
}

NewEpoch make_epoch(const Roster& roster, const Keyring& keys, const std::vector<DeviceKeys>& readers, Random& random) {
  const EpochNumber old = roster.newest_epoch();
  SymmetricKey key = make_symmetric_key(random);
  EpochItem item = sealed_epoch(roster.space(), old + 1, key, readers);
  const SymmetricKey over = derive_key(key, "doorstep/1/epoch-previous-key");
  item.previous = aead_seal(over, Nonce{}, keys.epoch_key(old).reveal(), previous_associated(roster.space(), old));
  return {std::move(item), std::move(key)};
}

EpochShareItem share_epoch(const Roster& roster, const Keyring& keys, const DeviceKeys& newcomer) {
  const EpochNumber number = roster.newest_epoch();
  const Hash context = epoch_context(roster.space(), number, newcomer.identity);
  return {number, newcomer.identity, box_for(newcomer, keys.epoch_key(number), context)};
}

}  // namespace doorstep
