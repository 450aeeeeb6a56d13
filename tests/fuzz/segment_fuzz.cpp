// Segments (sync/segment.hpp): what a relay forwards, and what a member seals who is up to no good. The first byte chooses what the rest
// is:
//   0  the segment as it travels: refused, or exactly the parts it was taken apart into
//   1  its content, packed, padded, sealed, with the right Merkle root and signed by the device: only the format stands in between
//   2  its packed content: hostile zstd
//   3  its plaintext, with padding
// What must hold: no crash, memory bounded, a verdict for each; what opens re-encodes to itself, and sealing it gives the same segment.
#include "sync/segment.hpp"

#include "sync/codec.hpp"
#include "sync/limits.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;

constexpr EpochNumber epoch = 1;

struct Base {
  CountingRandom random;
  IdentityKeyPair phone = make_identity_key_pair(random);
  Keyring keys;
  SegmentPlace place{LogId{{1}}, 3, hash("doorstep/test/previous", {})};
  Hash epoch_entry = hash("doorstep/test/epoch", {});
  Compressor compressor;
  Base() { keys.add(epoch, make_symmetric_key(random)); }
};
Base& base() {
  static Base out;
  return out;
}

// ---- The format once more, from PROTOCOL.md, section 4

Bytes header_of(const Hash& root) {
  Encoder out;
  out(base().place.log, base().place.position, base().place.previous, epoch, base().epoch_entry, root);
  return out.take();
}

Bytes pad(ByteView packed) {
  Encoder out;
  out.put_bytes(packed);
  Bytes plain = out.take();
  plain.resize(padded_size(plain.size()), 0);
  return plain;
}

/// The content if it has the shape of one, however wrong: enough to work out its root.
std::optional<SegmentContent> shape_of(ByteView encoded) {
  Decoder in(encoded);
  SegmentContent out;
  out.roster_size = in.get_varint();
  out.roster_head = in.get_fixed<ShortHash>();
  for (auto n = in.get_count(limits::references_per_segment_max); n > 0 && !in.failed(); --n) in(out.references.emplace_back());
  Counter last = 0;
  for (auto n = in.get_count(limits::transactions_per_segment_max); n > 0 && !in.failed(); --n) {
    last += in.get_varint();
    out.transactions.push_back({last, to_bytes(in.get_bytes(limits::transaction_bytes_max))});
  }
  if (!in.finish("content").ok()) return std::nullopt;
  return out;
}

Bytes encode_content(const SegmentContent& content) {
  Encoder out;
  out(content.roster_size, content.roster_head);
  out.put_varint(content.references.size());
  for (const auto& reference : content.references) out(reference);
  out.put_varint(content.transactions.size());
  Counter last = 0;
  for (const auto& transaction : content.transactions) {
    out.put_varint(transaction.first - std::exchange(last, transaction.first));
    out.put_bytes(transaction.bytes);
  }
  return out.take();
}

Hash root_of(const SegmentContent& content, ByteView plain) {
  const auto& place = base().place;
  Encoder position;
  position.put_varint(place.position);
  const Bytes salts = derived_stream(base().keys.salt_key(epoch), "doorstep/1/leaf-salts",
                                     {place.log.view(), position.bytes(), place.previous.view()}, 16 * (content.transactions.size() + 1));
  std::vector<Hash> level;
  for (std::size_t i = 0; i <= content.transactions.size(); ++i)
    level.push_back(hash("doorstep/1/leaf", {ByteView(salts).subspan(16 * i, 16), i == 0 ? plain : content.transactions[i - 1].bytes}));
  while (level.size() > 1) {
    std::vector<Hash> above;
    for (std::size_t i = 0; i + 1 < level.size(); i += 2) above.push_back(hash("doorstep/1/node", {level[i].view(), level[i + 1].view()}));
    if (level.size() % 2 != 0) above.push_back(level.back());
    level = std::move(above);
  }
  return level.front();
}

// ---- Feeding it

/// What a receiver says of this plaintext under a valid seal.
Result<SegmentContent> opened(ByteView plain, const Hash& root) {
  const Bytes header = header_of(root);
  SegmentHead head;
  head.epoch = epoch;
  head.root = root;
  const Nonce nonce = Nonce::from(hash("doorstep/1/segment-nonce", {header}).view().first(24));
  const Bytes sealed = aead_seal(base().keys.segment_key(epoch), nonce, plain, header);
  head.sealed = sealed;
  return open_segment(base().place, head, base().epoch_entry, base().keys, base().compressor);
}

void parsed(ByteView bytes, Verdict& verdict) {
  const auto head = parse_segment(bytes);
  verdict.note(head.code());
  if (!head) return;
  Encoder out;
  out.put_u8(segment_version);
  out.put_u8(suite_libsodium);
  out(head->epoch, head->root, head->signature);
  out.put_raw(head->sealed);
  require(equal(out.bytes(), bytes));
  const auto opens = open_segment(base().place, *head, base().epoch_entry, base().keys, base().compressor).code();
  verdict.note(opens);
  require(head->epoch == epoch ? opens == Code::ok || opens == Code::corrupt : opens == Code::waiting);
}

void content(ByteView encoded, Verdict& verdict) {
  const Bytes plain = pad(base().compressor.compress(encoded));
  const auto shape = shape_of(encoded);
  const Hash root = shape ? root_of(*shape, plain) : Hash{};
  const auto said = opened(plain, root);
  verdict.note(said.code());
  if (!said) return require(said.code() == Code::corrupt);
  require(equal(encode_content(*said), encoded));
  const auto sealed = seal_segment(base().place, epoch, base().epoch_entry, *said, base().keys, base().phone.secret_key, base().compressor);
  require(sealed.ok());
  const auto head = parse_segment(sealed->bytes);
  require(head.ok() && head->root == root);
  verdict.note(sealed->hash.view());
  // Another root commits to something else.
  require(opened(plain, hash("doorstep/test/other", {root.view()})).code() == Code::corrupt);
  for (const auto& transaction : said->transactions) {
    Decoder in(transaction.bytes);
    (void)get_transaction(in, {base().phone.public_key, 1, transaction.first});
    verdict.note(in.finish("transaction"));
  }
}

void run(ByteView input, Verdict& verdict) {
  if (input.empty()) return;
  const ByteView rest = input.subspan(1);
  switch (input[0] % 4) {
    case 0: return parsed(rest, verdict);
    case 1: return content(rest, verdict);
    case 2: return verdict.note(opened(pad(rest), Hash{}).code());
    default: verdict.note(opened(rest, Hash{}).code());
  }
}

std::vector<Seed> seeds() {
  const auto led = [](std::uint8_t mode, ByteView rest) {
    Bytes out{mode};
    append(out, rest);
    return out;
  };
  Transaction written;
  written.time = {1'773'500'000'000, -250, true};
  written.note = "chart";
  written.changes.push_back({RecordId{{1}}, 1, true, {{{field_id(2, Gate::guarded), "", 0}, std::string("Wang Fang"), {}}}});
  Encoder transaction;
  put_transaction(transaction, written, {base().phone.public_key, 1, 7});
  SegmentContent plain;
  plain.roster_size = 2;
  plain.references = {{LogId{{1}}, 4, ShortHash{{2}}}, {LogId{{1}}, 4, ShortHash{{3}}}, {LogId{{2}}, 1, ShortHash{{1}}}};
  plain.transactions = {{7, transaction.bytes()}, {9, Bytes(30, 2)}, {1'000'000'000'000, Bytes(1, 3)}};
  const Bytes encoded = encode_content(plain);
  const Bytes packed = base().compressor.compress(encoded);
  const auto sealed = seal_segment(base().place, epoch, base().epoch_entry, plain, base().keys, base().phone.secret_key, base().compressor);
  return {{"whole", led(0, sealed->bytes)},
          {"content", led(1, encoded)},
          {"empty_content", led(1, encode_content({}))},
          {"packed", led(2, packed)},
          {"padded", led(3, pad(packed))}};
}

const Registration registration({"segment", run, seeds});

}  // namespace
