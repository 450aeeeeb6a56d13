#include "sync/segment.hpp"

#include <bit>

#include "sync/codec.hpp"
#include "sync/lab.hpp"
#include "sync/limits.hpp"

namespace doorstep {

LogId make_log_id(const SpaceId& space, const DeviceId& device, const Incarnation& incarnation) {
  return LogId::from(hash("doorstep/1/log", {space.view(), device.view(), incarnation.view()}).view().first(16));
}

LogId make_branch_id(const LogId& log, const Hash& first_segment) {
  return LogId::from(hash("doorstep/1/branch", {log.view(), first_segment.view()}).view().first(16));
}

std::size_t padded_size(std::size_t size) {
  if (size < 2) return size;
  const auto exponent = static_cast<unsigned>(std::bit_width(size) - 1);
  const auto significant = static_cast<unsigned>(std::bit_width(exponent));
  const unsigned free_bits = exponent > significant ? exponent - significant : 0;
  const std::size_t mask = (std::size_t{1} << free_bits) - 1;
  return (size + mask) & ~mask;
}

namespace {

Bytes header_bytes(const SegmentPlace& place, EpochNumber epoch, const Hash& epoch_entry, const Hash& root) {
  Encoder out;
  out.put_raw(place.log.data);
  out.put_varint(place.position);
  out.put_raw(DOORSTEP_PLANTED(forget_previous_hash) ? Hash{}.data : place.previous.data);
  out.put_varint(epoch);
  out.put_raw(epoch_entry.data);
  out.put_raw(root.data);
  return out.take();
}

Nonce segment_nonce(ByteView header) {
  if (DOORSTEP_PLANTED(reuse_segment_nonce)) header = header.first(17);  // log and position: a store that went back repeats them
  return Nonce::from(hash("doorstep/1/segment-nonce", {header}).view().first(24));
}

Hash hash_of(ByteView header, ByteView sealed) { return hash("doorstep/1/segment", {header, hash("doorstep/1/sealed", {sealed}).view()}); }

// Sixteen bytes a leaf, from one stream: revealing one salt reveals no other.
Bytes leaf_salts(const Keyring& keys, EpochNumber epoch, const SegmentPlace& place, std::size_t count) {
  Encoder position;
  position.put_varint(place.position);
  return derived_stream(keys.salt_key(epoch), "doorstep/1/leaf-salts", {place.log.view(), position.bytes(), place.previous.view()},
                        count * 16);
}

Hash leaf_hash(ByteView salt, ByteView content) { return hash("doorstep/1/leaf", {salt, content}); }

Hash merkle_root(std::vector<Hash> level) {
  while (level.size() > 1) {
    std::size_t out = 0;
    for (std::size_t i = 0; i + 1 < level.size(); i += 2) level[out++] = hash("doorstep/1/node", {level[i].view(), level[i + 1].view()});
    if (level.size() % 2 != 0) level[out++] = level.back();
    level.resize(out);
  }
  return level.front();
}

// `plain` is packed and padded; the preamble is inside it, so leaf 0 covers everything and leaf i one transaction.
Hash content_root(const SegmentContent& content, ByteView plain, const Keyring& keys, EpochNumber epoch, const SegmentPlace& place) {
  const Bytes salts = leaf_salts(keys, epoch, place, content.transactions.size() + 1);
  std::vector<Hash> leaves;
  leaves.reserve(content.transactions.size() + 1);
  leaves.push_back(leaf_hash(ByteView(salts).first(16), plain));
  for (std::size_t i = 0; i < content.transactions.size(); ++i)
    leaves.push_back(leaf_hash(ByteView(salts).subspan(16 * (i + 1), 16), content.transactions[i].bytes));
  return merkle_root(std::move(leaves));
}

Bytes encode_content(const SegmentContent& content) {
  Encoder out;
  out.put_varint(content.roster_size);
  out.put_raw(content.roster_head.data);
  out.put_varint(content.references.size());
  for (const auto& reference : content.references) out(reference);
  out.put_varint(content.transactions.size());
  Counter next = 0;  // The gap says where each begins; how many operations it has is read from its bytes.
  for (const auto& transaction : content.transactions) {
    DOORSTEP_CHECK(transaction.first > next);
    out.put_varint(transaction.first - next);
    out.put_bytes(transaction.bytes);
    next = transaction.first;
  }
  return out.take();
}

Result<SegmentContent> decode_content(ByteView bytes) {
  Decoder in(bytes);
  SegmentContent content;
  content.roster_size = in.get_varint();
  content.roster_head = in.get_fixed<ShortHash>();
  const auto references = in.get_count(limits::references_per_segment_max);
  for (std::size_t i = 0; i < references && !in.failed(); ++i) {
    Reference reference;
    in(reference);
    if (!content.references.empty() && !(content.references.back() < reference)) in.fail("references are not in order");
    content.references.push_back(reference);
  }
  const auto transactions = in.get_count(limits::transactions_per_segment_max);
  content.transactions.reserve(std::min<std::size_t>(transactions, 4096));
  Counter last = 0;
  for (std::size_t i = 0; i < transactions && !in.failed(); ++i) {
    const auto gap = in.get_varint();
    if (gap == 0 || gap > UINT64_MAX / 2 - last) in.fail("a counter does not rise");
    auto& transaction = content.transactions.emplace_back();
    transaction.first = last += gap;
    transaction.bytes = to_bytes(in.get_bytes(limits::transaction_bytes_max));
  }
  DOORSTEP_TRY(in.finish("segment content"));
  return content;
}

Bytes pad(ByteView packed) {
  Encoder out;
  out.put_bytes(packed);
  Bytes plain = out.take();
  if (!DOORSTEP_PLANTED(skip_padding)) plain.resize(padded_size(plain.size()), 0);
  return plain;
}

Result<ByteView> unpad(ByteView plain) {
  Decoder in(plain);
  const auto packed = in.get_bytes(limits::segment_bytes_max);
  if (in.failed()) return Error(Code::corrupt, "a segment's plaintext ends too early");
  const auto used = in.position();
  if (plain.size() != padded_size(used)) return Error(Code::corrupt, "a segment is not padded as it must be");
  for (auto byte : plain.subspan(used))
    if (byte != 0) return Error(Code::corrupt, "a segment's padding is not zero");
  return packed;
}

}  // namespace

Result<SealedSegment> seal_segment(const SegmentPlace& place, EpochNumber epoch, const Hash& epoch_entry, const SegmentContent& content,
                                   const Keyring& keys, const IdentitySecretKey& identity, Compressor& compressor) {
  if (!keys.has(epoch)) return Error(Code::waiting, "no key for epoch " + std::to_string(epoch) + " of this space yet: sync first");
  if (content.transactions.size() > limits::transactions_per_segment_max || content.references.size() > limits::references_per_segment_max)
    return Error(Code::too_large, "a segment would hold too many transactions or references");
  const Bytes encoded = encode_content(content);
  if (encoded.size() > limits::segment_plain_bytes_max) return Error(Code::too_large, "a segment would be larger than its limit");
  const Bytes plain = pad(compressor.compress(encoded));
  const Hash root = content_root(content, plain, keys, epoch, place);
  const Bytes header = header_bytes(place, epoch, epoch_entry, root);
  const Bytes sealed = aead_seal(keys.segment_key(epoch), segment_nonce(header), plain, header);
  SealedSegment out;
  out.hash = hash_of(header, sealed);
  const Signature signature = sign(identity, "doorstep/1/segment", out.hash.view());
  Encoder bytes;
  bytes.put_u8(segment_version);
  bytes.put_u8(suite_libsodium);
  bytes.put_varint(epoch);
  bytes.put_raw(root.data);
  bytes.put_raw(signature.data);
  bytes.put_raw(sealed);
  if (bytes.size() > limits::segment_bytes_max) return Error(Code::too_large, "a segment would be larger than its limit");
  out.bytes = bytes.take();
  return out;
}

Result<SegmentHead> parse_segment(ByteView bytes) {
  if (bytes.size() > limits::segment_bytes_max) return Error(Code::too_large, "a segment is larger than its limit");
  Decoder in(bytes);
  if (in.get_u8() != segment_version) return Error(Code::unsupported, "a segment has an unknown version: update this program");
  if (in.get_u8() != suite_libsodium) return Error(Code::unsupported, "a segment uses an unknown algorithm: update this program");
  SegmentHead head;
  const auto epoch = in.get_varint();
  if (epoch == 0 || epoch > UINT32_MAX) in.fail("an epoch number is out of range");
  head.epoch = static_cast<EpochNumber>(epoch);
  head.root = in.get_fixed<Hash>();
  head.signature = in.get_fixed<Signature>();
  if (in.remaining() <= aead_tag_bytes) in.fail("the sealed part is missing");
  head.sealed = in.get_raw(in.remaining());
  DOORSTEP_TRY(in.finish("segment"));
  return head;
}

Hash segment_hash(const SegmentPlace& place, const SegmentHead& head, const Hash& epoch_entry) {
  return hash_of(header_bytes(place, head.epoch, epoch_entry, head.root), head.sealed);
}

Result<Hash> verify_segment(const SegmentPlace& place, const SegmentHead& head, const Hash& epoch_entry, const DeviceId& device) {
  const Hash hash = segment_hash(place, head, epoch_entry);
  if (!verify(device, "doorstep/1/segment", hash.view(), head.signature) && !DOORSTEP_PLANTED(skip_signature_check))
    return Error(Code::unauthenticated, "a segment's signature does not hold at position " + std::to_string(place.position));
  return hash;
}

Result<SegmentContent> open_segment(const SegmentPlace& place, const SegmentHead& head, const Hash& epoch_entry, const Keyring& keys,
                                    Compressor& compressor) {
  if (!keys.has(head.epoch)) return Error(Code::waiting, "no key for epoch " + std::to_string(head.epoch) + " of this space yet");
  const Bytes header = header_bytes(place, head.epoch, epoch_entry, head.root);
  const auto plain = aead_open(keys.segment_key(head.epoch), segment_nonce(header), head.sealed, header);
  if (!plain) return Error(Code::corrupt, "a segment does not open with its epoch's key");
  DOORSTEP_ASSIGN(const ByteView packed, unpad(*plain));
  DOORSTEP_ASSIGN(const Bytes encoded, compressor.decompress(packed, limits::segment_plain_bytes_max));
  DOORSTEP_ASSIGN(SegmentContent content, decode_content(encoded));
  if (content_root(content, *plain, keys, head.epoch, place) != head.root)
    return Error(Code::corrupt, "a segment's Merkle root does not match its transactions");
  return content;
}

}  // namespace doorstep
