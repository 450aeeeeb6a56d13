#include "server/admission.hpp"
#include "sync/lab.hpp"

#include <algorithm>

#include "sync/limits.hpp"

namespace doorstep::relay {

Result<Roster> admit_founding(const SpaceId& space, ByteView entry, const std::vector<DeviceId>& authorities, bool open) {
  DOORSTEP_ASSIGN(Roster roster, Roster::found(entry));
  if (roster.space() != space) return Error(Code::corrupt, "a founding entry is of another space than the one it was handed in for");
  if (!open && std::find(authorities.begin(), authorities.end(), roster.authority()) == authorities.end())
    return Error(Code::no_right, "this relay does not serve the authority that founded the space: doorstep-relay allow adds it");
  return roster;
}

Status admit_log(const Roster& roster, const LogName& name, std::size_t logs_of_device, std::size_t logs_of_space) {
  if (!roster.member(name.device)) return Error(Code::no_right, "a log's device is not in the roster");
  if (!name.branch && name.starts_after != 0) return Error(Code::protocol, "a log that is no branch starts at its first segment");
  if (logs_of_device >= limits::incarnations_per_device_max)
    return Error(Code::full, "a device has as many logs in this space as one device may have");
  if (logs_of_space >= limits::logs_per_space_max) return Error(Code::full, "the space has as many logs as a space may have");
  return {};
}

namespace {

Result<SegmentHead> parse_for(const Roster& roster, ByteView bytes) {
  DOORSTEP_ASSIGN(SegmentHead head, parse_segment(bytes));
  if (!roster.epoch_entry_hash(head.epoch))
    return Error(Code::waiting, "a segment is of epoch " + std::to_string(head.epoch) + ", which the roster here does not have yet");
  return head;
}

/// At a cut's position the log must contain the hash that the cut names.
bool contradicts_cut(const Roster& roster, const LogName& name, Position position, const Hash& hash) {
  const Member* member = roster.member(name.device);
  if (!member || !member->cut) return false;
  const LogId id = name.id(roster.space());
  return std::any_of(member->cut->logs.begin(), member->cut->logs.end(),
                     [&](const LogPosition& at) { return at.log == id && at.position == position && at.hash != hash; });
}

}  // namespace

Result<Hash> hash_of_segment(const Roster& roster, const SegmentPlace& place, ByteView bytes) {
  DOORSTEP_ASSIGN(const SegmentHead head, parse_for(roster, bytes));
  return segment_hash(place, head, *roster.epoch_entry_hash(head.epoch));
}

Result<Hash> admit_segment(const Roster& roster, const LogName& name, const SegmentPlace& place, ByteView bytes) {
  switch (roster.standing(name.device, name.id(roster.space()), place.position)) {
    case Roster::Standing::stands: break;
    case Roster::Standing::unknown_device: return Error(Code::no_right, "a segment's device is not in the roster");
    case Roster::Standing::no_append_right: return Error(Code::no_right, "a segment's device has no right to append there");
    case Roster::Standing::beyond_cut: return Error(Code::no_right, "a segment lies beyond the cut of its device");
  }
  DOORSTEP_ASSIGN(const SegmentHead head, parse_for(roster, bytes));
  DOORSTEP_ASSIGN(const Hash hash, DOORSTEP_PLANTED(relay_admits_anything)
                                       ? Result<Hash>(segment_hash(place, head, *roster.epoch_entry_hash(head.epoch)))
                                       : verify_segment(place, head, *roster.epoch_entry_hash(head.epoch), name.device));
  if (contradicts_cut(roster, name, place.position, hash))
    return Error(Code::no_right, "a segment is on another branch than the one that the cut of its device names");
  return hash;
}

Result<AdmittedProposal> admit_proposal(const Roster& roster, const Proposer& from, ByteView bytes) {
  if (bytes.size() > join_request_bytes_max) return Error(Code::too_large, "a join request is larger than its limit");
  DOORSTEP_ASSIGN(const JoinRequest request, JoinRequest::decode(bytes));
  DOORSTEP_TRY(verify(request, roster));
  const bool own = from.invite == request.invite && from.transport == request.keys.transport;
  if (!own && !from.member) return Error(Code::no_right, "a join request is handed in by its own device, with its own invitation");
  return AdmittedProposal{hash("doorstep/1/relay-proposal", {request.invite.view(), request.keys.identity.view()})};
}

bool proposal_is_answered(const Roster& roster, ByteView bytes) {
  const auto request = JoinRequest::decode(bytes);
  return !request || !roster.invite(request->invite) || roster.member(request->keys.identity) != nullptr;
}

Standing standing_of(const Roster& roster, const TransportPublicKey& key, const std::optional<InviteId>& invite) {
  Standing out;
  if (const Member* member = roster.member_by_transport(key)) {
    out.known = true;
    out.readable = member->reads();
    out.appendable = true;  // also a cut device: what stands before its cut may still come
    out.sequencer = roster.sequencer() == member->keys.identity;
  } else if (invite && roster.invite(*invite)) {
    out.known = true;
  }
  return out;
}

}  // namespace doorstep::relay
