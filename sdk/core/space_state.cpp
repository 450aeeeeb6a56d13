#include "sdk/core/space_state.hpp"

#include <algorithm>

namespace doorstep {

const char* reason_name(Reason reason) {
  switch (reason) {
    case Reason::none: return "none";
    case Reason::unknown_key: return "unknown key";
    case Reason::missing_parent: return "missing parent";
    case Reason::no_right: return "no right";
    case Reason::beyond_cut: return "beyond a cut";
    case Reason::corrupt: return "corrupt";
    case Reason::unknown_encoding: return "unknown encoding";
    case Reason::forked: return "forked";
  }
  return "unknown";
}

void SpaceState::roster_changed(const DeviceId& self, const SealingKeyPair& sealing) {
  roles_.clear();
  labels_.clear();
  if (!roster) return;
  keys = Keyring::open(*roster, self, sealing);
  if (roster->rights_table())
    if (auto text = keys.open_text(*roster->rights_table(), rights_table_purpose))
      if (auto table = RightsTable::decode(view(*text))) rights_table = std::move(*table);
  std::vector<std::pair<Position, DeviceId>> order;
  for (const auto& [device, member] : roster->members()) order.emplace_back(member.admitted_at, device);
  std::sort(order.begin(), order.end());
  devices.clear();
  numbers_.clear();
  for (const auto& [position, device] : order) {
    numbers_[device] = static_cast<DeviceNumber>(devices.size());
    devices.push_back(device);
  }
}

DeviceNumber SpaceState::number_of(const DeviceId& device) const {
  const auto at = numbers_.find(device);
  return at == numbers_.end() ? device_unadmitted : at->second;
}

const DeviceId* SpaceState::device_of(DeviceNumber number) const { return number < devices.size() ? &devices[number] : nullptr; }

std::uint8_t SpaceState::rights(const DeviceId& device, const LogId& log, Position position, KindId kind) const {
  if (!roster) return 0;
  const SealedText* sealed = roster->role_at(device, log, position);
  if (!sealed) return 0;
  const Member* member = roster->member(device);
  std::size_t index = 0;
  while (index + 1 < member->roles.size() && &member->roles[index].role != sealed) ++index;
  auto [at, fresh] = roles_.try_emplace({device, index});
  if (fresh)
    if (auto text = keys.open_text(*sealed, role_purpose(device))) at->second = *text;
  return rights_table.rights(at->second, kind);
}

std::string SpaceState::role_of(const DeviceId& device) const {
  const Member* member = roster ? roster->member(device) : nullptr;
  if (!member || member->roles.empty()) return {};
  auto text = keys.open_text(member->roles.back().role, role_purpose(device));
  return text ? *text : std::string();
}

std::string SpaceState::label_of(const DeviceId& device) const {
  const Member* member = roster ? roster->member(device) : nullptr;
  if (!member) return {};
  auto [at, fresh] = labels_.try_emplace(device);
  if (fresh)
    if (auto text = keys.open_text(member->label, label_purpose(device))) at->second = *text;
  return at->second;
}

bool SpaceState::roster_is_whole() const { return roster && (!rebuilt || (known_roster_size != 0 && roster->size() >= known_roster_size)); }

const std::vector<RelayAddress>& SpaceState::relays() const {
  return roster && (roster_is_whole() || known_relays.empty()) ? roster->relays() : known_relays;
}

SpaceSummary SpaceState::summary() const {
  SpaceSummary out;
  out.space = id;
  if (roster) {
    out.roster_size = roster->size();
    out.roster_head = roster->head();
  }
  for (const auto& [number, log] : logs) out.logs.push_back(log.head);
  return out;
}

std::string SpaceState::waits_for(const DeviceId& self) const {
  if (roster_fork) return "roster fork";
  if (rebuilt && !relays().empty()) return "rebuild";
  if (!roster || !roster->member(self)) return "admission";
  if (keys.newest() != roster->newest_epoch()) return "keys";
  if (seen_roster_size > roster->size()) return "roster";
  return {};
}

}  // namespace doorstep
