// What a relay lets in: pure checks of roster entries, segments and proposals. They decide by the space's roster alone; nothing
// here knows a store, a connection or the time. Run on the worker thread (Ed25519 costs 40 µs a signature).
//
// Every refusal has a code and a sentence:
//   no_right         the authority is not allowed here; the author has no right to append there, or stands beyond a cut
//   unauthenticated  a signature does not hold
//   conflict         it does not continue what is here (the session then compares hashes and both sides split)
//   waiting          it needs something that has not arrived: an epoch's entry, a roster
//   too_large, full  above a limit or a quota
//   corrupt, unsupported, protocol   not of the format; of a newer one; out of bounds
#pragma once

#include "sync/invite.hpp"
#include "sync/roster.hpp"
#include "sync/session.hpp"

namespace doorstep::relay {

/// A space's first roster entry. `authorities` are those allowed here; `open` allows any.
Result<Roster> admit_founding(const SpaceId& space, ByteView entry, const std::vector<DeviceId>& authorities, bool open);

/// The name of a log that has not been seen before, in a space that has `logs_of_device` of this device and `logs_of_space` in all.
Status admit_log(const Roster& roster, const LogName& name, std::size_t logs_of_device, std::size_t logs_of_space);

/// One segment of log `name` at `place` (place.log = name.root_id(space)). Checks size, form, epoch, right, cut, and the signature over
/// a hash that covers the chain. Returns the segment's hash.
Result<Hash> admit_segment(const Roster& roster, const LogName& name, const SegmentPlace& place, ByteView bytes);
/// Only the hash that a segment has at a place: to recognize what is here already.
Result<Hash> hash_of_segment(const Roster& roster, const SegmentPlace& place, ByteView bytes);

/// Who hands in a proposal: a device with an invitation, or a member.
struct Proposer {
  TransportPublicKey transport;
  std::optional<InviteId> invite;  ///< That it connected with.
  bool member = false;
};
struct AdmittedProposal {
  Hash key;  ///< One device has one open request for one invitation.
};
Result<AdmittedProposal> admit_proposal(const Roster& roster, const Proposer& from, ByteView bytes);
/// Has the roster answered: is the invitation used or closed, or the device a member?
bool proposal_is_answered(const Roster& roster, ByteView bytes);

/// What a peer may do in a space.
struct Standing {
  bool known = false;       ///< It gets the roster.
  bool readable = false;    ///< It gets segments.
  bool appendable = false;  ///< It may hand segments in, its own and others'.
  bool sequencer = false;
  bool operator==(const Standing&) const = default;
};
Standing standing_of(const Roster& roster, const TransportPublicKey& key, const std::optional<InviteId>& invite);

}  // namespace doorstep::relay
