// A segment: transactions compressed, padded, sealed, chained and signed once. Immutable.
//
//   segment    version u8 = 1, suite u8 = 1, epoch varint, root 32, signature 64, sealed bytes (the rest)
//   header     "what is signed", never sent whole: log 16, position varint, previous 32, epoch varint, epoch entry hash 32, root 32
//   hash       hash("doorstep/1/segment", header, hash("doorstep/1/sealed", sealed)): chains, cuts and receipts name it
//   signature  by the device's identity, label "doorstep/1/segment", over the hash
//   sealed     XChaCha20-Poly1305 under the epoch's segment key of: varint packed size, packed, zeros up to padded_size();
//              nonce = the first 24 bytes of hash("doorstep/1/segment-nonce", header); associated data = header
//   packed     zstd of: preamble, transactions
//   preamble   roster size varint, roster head 16, count, references; count of transactions
//   reference  log 16 (the incarnation's id), position varint, hash 16: how much of another log the author had seen; the hash tells
//              its branch. Ascending
//   transaction  gap varint (counters skipped since the last operation; for the first: its first counter), bounded bytes
//   root       Merkle root (RFC 6962 shape, leaves and nodes under labels of their own) over: leaf 0 = preamble and padded plaintext,
//              leaf i = transaction i. Each leaf is salted with 16 bytes of a stream keyed from (epoch salt key, log, position, previous),
//              so that one transaction can be proven or redacted without showing its neighbours.
//
// Invariants:
// 1. The root commits to every byte that is encrypted, and the nonce is a hash of a header that holds the root: two different
//    plaintexts never share (key, nonce), even when a restored store writes the same position twice (synthetic IV).
// 2. Nothing of a segment can be moved: the header names space (through the log id), log, position and predecessor.
// 3. The relay checks chain and signature from header, root and ciphertext hash, and learns nothing else but the size class.
#pragma once

#include <vector>

#include "sync/compress.hpp"
#include "sync/keys.hpp"
#include "sync/operation.hpp"

namespace doorstep {

inline constexpr std::uint8_t segment_version = 1;

LogId make_log_id(const SpaceId& space, const DeviceId& device, const Incarnation& incarnation);
/// From the fork on, each branch of a forked log is a log of its own, named by its first segment.
LogId make_branch_id(const LogId& log, const Hash& first_segment);

/// Where a segment stands: known to both sides, implied on the wire.
struct SegmentPlace {
  LogId log;  ///< The incarnation's id, also for a segment of a branch.
  Position position = 0;
  Hash previous;  ///< Zeros for position 1.
};

/// How much of another log the author had seen.
struct Reference {
  LogId log;  ///< The incarnation's id; the hash tells the branch.
  Position position = 0;
  ShortHash hash;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(log, position, hash);
  }
  auto operator<=>(const Reference&) const = default;
};

struct NumberedTransaction {
  Counter first = 0;
  Bytes bytes;  ///< put_transaction()
};

struct SegmentContent {
  Position roster_size = 0;  ///< Entries of the roster that the author knew.
  ShortHash roster_head;
  std::vector<Reference> references;  ///< Ascending.
  std::vector<NumberedTransaction> transactions;
};

struct SealedSegment {
  Bytes bytes;
  Hash hash;
};

/// `last` is the counter that the author's log ended with before this segment (0: none). Code::too_large above the limits.
/// The sealed size is padded_size() of the content: at most 12 % more.
Result<SealedSegment> seal_segment(const SegmentPlace& place, EpochNumber epoch, const Hash& epoch_entry, const SegmentContent& content,
                                   const Keyring& keys, const IdentitySecretKey& identity, Compressor& compressor);

/// What can be checked without keys.
struct SegmentHead {
  EpochNumber epoch = 0;
  Hash root;
  Signature signature;
  ByteView sealed;  ///< Into the bytes that were parsed.
};
Result<SegmentHead> parse_segment(ByteView bytes);
/// The segment's hash at a place, before its signature is checked.
Hash segment_hash(const SegmentPlace& place, const SegmentHead& head, const Hash& epoch_entry);
/// Chain (through `place`) and signature. Code::unauthenticated if the signature does not hold.
Result<Hash> verify_segment(const SegmentPlace& place, const SegmentHead& head, const Hash& epoch_entry, const DeviceId& device);

/// Decrypts a segment whose signature held. Code::waiting: no key for its epoch yet. Code::corrupt: it does not open, or what
/// is inside breaks the format (a hostile member): quarantine, never fatal.
Result<SegmentContent> open_segment(const SegmentPlace& place, const SegmentHead& head, const Hash& epoch_entry, const Keyring& keys,
                                    Compressor& compressor);

/// Padmé (Nikitin et al., PETS 2019): leaks O(log log n) bits of the size, costs at most 12 %.
std::size_t padded_size(std::size_t size);

}  // namespace doorstep
