// The session's messages as bytes (PROTOCOL.md, section 6), with whatever a hostile peer likes in them.
#pragma once

#include <utility>
#include <vector>

#include "sync/codec.hpp"
#include "sync/session.hpp"

namespace doorstep::hostile::message {

struct Message : Encoder {
  explicit Message(std::uint8_t type) { put_u8(type); }
};
inline Bytes hello() {
  Message out(1);
  for (const std::uint8_t byte : {1, 1, 0}) out.put_u8(byte);  // both versions, no store
  out.put_raw(DeviceId{}.view());
  out.put_zigzag(0);
  out.put_raw(ShortHash{}.view());  // nobody's digest, so that everything is compared
  return out.take();
}
inline Bytes spaces(const std::vector<SpaceId>& all) {
  Message out(2);
  out.put_varint(all.size());
  for (const auto& space : all) {
    out.put_raw(space.view());
    out.put_raw(Bytes(8));
  }
  return out.take();
}
struct Head {
  LogId log;
  Position position = 0;
};
inline Bytes heads(std::uint64_t space, Position roster_size, const Hash& roster_head, const std::vector<Head>& logs) {
  Message out(3);
  out.put_varint(space);
  out.put_varint(roster_size);
  out.put_raw(shorten(roster_head).view());
  out.put_varint(logs.size());
  for (const auto& head : logs) {
    out.put_raw(head.log.view());
    out.put_varint(head.position);
    out.put_raw(ShortHash{}.view());
    out.put_raw(DeviceTag{}.view());
  }
  return out.take();
}
/// `count` may lie.
inline Bytes roster(std::uint64_t space, Position first, std::uint64_t count, const std::vector<Bytes>& entries) {
  Message out(5);
  out.put_varint(space);
  out.put_varint(first);
  out.put_varint(count);
  for (const auto& entry : entries) out.put_bytes(entry);
  return out.take();
}
inline Bytes log(std::uint64_t space, const LogName& name) {
  Message out(6);
  out.put_varint(space);
  out.put_raw(name.device.view());
  out.put_raw(name.incarnation.view());
  out.put_u8(0);
  out.put_varint(name.starts_after);
  return out.take();
}
inline Bytes segments(std::uint64_t log, Position first, const std::vector<Bytes>& all) {
  Message out(7);
  out.put_varint(log);
  out.put_varint(first);
  for (const auto& segment : all) out.put_bytes(segment);
  return out.take();
}
inline Bytes stored(std::uint64_t log, Position position) {
  Message out(8);
  out.put_varint(log);
  out.put_varint(position);
  out.put_u8(0);
  return out.take();
}
inline Bytes refused(std::uint64_t log, Position position, std::uint64_t code) {
  Message out(9);
  for (const auto number : {log, position, code}) out.put_varint(number);
  return out.take();
}
inline Bytes proposal(std::uint64_t space, ByteView bytes) {
  Message out(10);
  out.put_varint(space);
  out.put_bytes(bytes);
  return out.take();
}
inline Bytes locator(std::uint64_t space, const LogId& log, std::uint64_t count, const std::vector<Position>& positions) {
  Message out(11);
  out.put_varint(space);
  out.put_raw(log.view());
  out.put_varint(count);
  for (const auto position : positions) {
    out.put_varint(position);
    out.put_raw(ShortHash{}.view());
  }
  return out.take();
}
inline Bytes split(std::uint64_t space, const LogId& log, Position position) {
  Message out(12);
  out.put_varint(space);
  out.put_raw(log.view());
  out.put_varint(position);
  return out.take();
}
inline Bytes roster_stored(std::uint64_t space, Position size) {
  Message out(16);
  out.put_varint(space);
  out.put_varint(size);
  return out.take();
}
inline Bytes ping() { return {13}; }

}  // namespace doorstep::hostile::message
