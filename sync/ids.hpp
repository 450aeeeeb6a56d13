// Names of things. Each is a type of its own, so the compiler keeps them apart.
#pragma once

#include "sync/bytes.hpp"

namespace doorstep {

using Hash = FixedBytes<struct HashTag, 32>;            ///< BLAKE2b-256 under a label (crypto.hpp).
using ShortHash = FixedBytes<struct ShortHashTag, 16>;  ///< The first 16 bytes of a Hash, where DESIGN allows them.
using SpaceId = FixedBytes<struct SpaceTag, 32>;        ///< Hash of the space's founding roster entry.
using DeviceId = FixedBytes<struct DeviceIdTag, 32>;    ///< A device's Ed25519 identity public key.
using LogId = FixedBytes<struct LogTag, 16>;            ///< H(space, device, incarnation), or H(log, first diverging segment) for a branch.
using Incarnation = FixedBytes<struct IncarnationTag, 16>;       ///< Random; one uninterrupted life of a device's store.
using RecordId = FixedBytes<struct RecordTag, 16>;               ///< make_record_id(): commits to its author.
using StoreId = FixedBytes<struct StoreTag, 16>;                 ///< A relay's store identity; `restore` makes a new one.
using Signature = FixedBytes<struct SignatureTag, 64>;           ///< Ed25519.
using SealingPublicKey = FixedBytes<struct SealingTag, 32>;      ///< X25519, for sealed boxes (in the vault).
using TransportPublicKey = FixedBytes<struct TransportTag, 32>;  ///< X25519, for Noise (outside the vault).
using InviteId = FixedBytes<struct InviteTag, 16>;               ///< Names an invitation; not secret.

using Position = std::uint64_t;     ///< Of a segment in its log, from 1. 0: before the first.
using Counter = std::uint64_t;      ///< Of an operation among its device's in the space, from 1; rising, with gaps.
using EpochNumber = std::uint32_t;  ///< Of a data key in its space, from 1.

inline ShortHash shorten(const Hash& hash) { return ShortHash::from(hash.view().first(16)); }

/// A device's place in the roster's order of admission, from 0: short, and the same on every replica of the space.
using DeviceNumber = std::uint32_t;
/// An own device that no roster has admitted yet; never leaves the store.
inline constexpr DeviceNumber device_unadmitted = 0xffff'ffff;

/// (device, counter): the unique name of an operation in its space. A device's counter jumps by a random 40-bit step at the
/// first write after each opening of its store, so that the branches of a forked log do not meet in a dot (MERGE.md, section 1).
struct Dot {
  DeviceNumber device = 0;
  Counter counter = 0;
  auto operator<=>(const Dot&) const = default;
};

}  // namespace doorstep
