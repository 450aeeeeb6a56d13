// Packed rows of a device's own store: pending transactions (Core::decode_chunk), and a record's body under its kind's dictionary. They
// stand behind a seal, but a store that was written by a newer or a broken build opens too. The first byte chooses.
// What must hold: no crash, no more bytes than the bound, a chunk that is accepted re-encodes to itself.
#include "sdk/core/core.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;

constexpr std::size_t body_bytes_max = 4096;

Compressor& compressor() {
  static Compressor out;
  return out;
}
const Dictionary& dictionary() {
  static const Dictionary out = [] {
    Bytes samples;
    std::vector<std::size_t> sizes;
    for (int i = 0; i < 64; ++i) {
      const auto text =
          "name Wang Fang " + std::to_string(i * i) + ", phone 13900001111, village 7, born 1965-11-" + std::to_string(i % 28 + 1);
      append(samples, view(text));
      sizes.push_back(text.size());
    }
    return Dictionary(Dictionary::content_of(samples, sizes));
  }();
  return out;
}

void chunk(ByteView bytes, Verdict& verdict) {
  const auto transactions = Core::decode_chunk(bytes, compressor());
  verdict.note(transactions.code());
  if (!transactions) return;
  verdict.note(transactions->size());
  const Bytes again = Core::encode_chunk(*transactions, compressor());
  require(bytes[0] <= 1);
  if (bytes[0] == 0 && again[0] == 0) require(equal(again, bytes));
  const auto second = Core::decode_chunk(again, compressor());
  require(second.ok() && second->size() == transactions->size());
  for (std::size_t i = 0; i < second->size(); ++i)
    require((*second)[i].first == (*transactions)[i].first && (*second)[i].bytes == (*transactions)[i].bytes);
}

void packed(ByteView bytes, Verdict& verdict) {
  const auto plain = compressor().decompress(bytes, body_bytes_max);
  verdict.note(plain.code());
  if (plain) require(plain->size() <= body_bytes_max);
}

void body(ByteView bytes, Verdict& verdict) {
  Bytes plain;
  const auto status = dictionary().decompress(compressor(), bytes, body_bytes_max, plain);
  verdict.note(status);
  require(plain.size() <= body_bytes_max);
  if (status.ok()) verdict.note(plain);
}

/// The same plain chunk in a frame, so that mutated content gets behind zstd.
void packed_chunk(ByteView plain, Verdict& verdict) {
  Bytes bytes{1};
  append(bytes, compressor().compress(plain, 1));
  chunk(bytes, verdict);
}

void run(ByteView input, Verdict& verdict) {
  if (input.empty()) return;
  const ByteView rest = input.subspan(1);
  switch (input[0] % 4) {
    case 0: return chunk(rest, verdict);
    case 1: return packed(rest, verdict);
    case 2: return body(rest, verdict);
    default: packed_chunk(rest, verdict);
  }
}

std::vector<Seed> seeds() {
  const auto led = [](std::uint8_t mode, ByteView rest) {
    Bytes out{mode};
    append(out, rest);
    return out;
  };
  const Bytes few = Core::encode_chunk({{7, Bytes(9, 1)}, {8, Bytes(3, 2)}, {1u << 30, Bytes(1, 3)}}, compressor());
  const Bytes many = Core::encode_chunk({{1, Bytes(400, 1)}, {900, Bytes(400, 2)}}, compressor());
  Bytes packed_body;
  dictionary().compress(compressor(), view("name Li Na, phone 13900001111, village 7"), packed_body);
  return {{"few", led(0, few)},
          {"many", led(0, many)},
          {"frame", led(1, ByteView(many).subspan(1))},
          {"body", led(2, packed_body)},
          {"inside", led(3, ByteView(few).subspan(1))},
          {"unknown_packing", led(0, Bytes{2, 0})},
          {"counter_stands", led(3, Bytes{2, 7, 1, 1, 0, 1, 1})},
          {"counter_turns_over", led(3, Bytes{2, 7, 1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1, 1})}};
}

const Registration registration({"chunk", run, seeds});

}  // namespace
