// The bounded, canonical archive: how every structure of Doorstep becomes bytes and back. The only file that knows cereal.
//
// A structure lists its fields once, as cereal wants it:
//     template <class Archive> void serialize(Archive& archive) { archive(number, bounded<64>(name), id); }
// and encode(x) / decode<X>(bytes) do the rest. Format (PROTOCOL.md, section 2):
//   unsigned integer   LEB128, shortest form only          signed integer    zigzag, then LEB128
//   bool               one byte, 0 or 1                     FixedBytes        the bytes
//   bounded bytes/text LEB128 length, the bytes             bounded vector    LEB128 count, the elements
//   optional           0, or 1 and the value
// Rules: one value has one encoding, and every accepted byte string re-encodes to itself; no count is believed before
// count x 1 byte is known to be there; nothing is left unread; a Decoder that failed reads zeros until asked, so that a
// `serialize` needs no error paths. cereal's own archives trust sizes and are never used (DESIGN section 2).
// Hot paths call the put_/get_ methods directly; the bytes are the same.
#pragma once

#include <cereal/cereal.hpp>
#include <limits>
#include <optional>
#include <type_traits>

#include "sync/bytes.hpp"

namespace doorstep {

/// Marks a container with the largest count (vector) or size in bytes (text, bytes) that will be accepted.
template <std::size_t Max, class T>
struct Bounded {
  T& value;
};
template <std::size_t Max, class T>
Bounded<Max, T> bounded(T& value) {
  return {value};
}
/// Marks an enum stored as one byte, values 0..Last.
template <auto Last, class E>
struct Enumerated {
  E& value;
};
template <auto Last, class E>
Enumerated<Last, E> enumerated(E& value) {
  return {value};
}

/// LEB128 in its shortest form.
inline void put_varint(Bytes& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::uint8_t>(value | 0x80));
  out.push_back(static_cast<std::uint8_t>(value));
}

class Encoder : public cereal::OutputArchive<Encoder, cereal::AllowEmptyClassElision> {
 public:
  Encoder() : cereal::OutputArchive<Encoder, cereal::AllowEmptyClassElision>(this) {}
  /// Expects about so many bytes.
  explicit Encoder(std::size_t bytes) : Encoder() { out_.reserve(bytes); }

  void put_u8(std::uint8_t byte) { out_.push_back(byte); }
  void put_varint(std::uint64_t value) {
    if (value < 0x80) return out_.push_back(static_cast<std::uint8_t>(value));
    doorstep::put_varint(out_, value);
  }
  void put_zigzag(std::int64_t value) { put_varint(static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63)); }
  void put_raw(ByteView bytes) { append(out_, bytes); }
  void put_bytes(ByteView bytes) {
    put_varint(bytes.size());
    append(out_, bytes);
  }
  std::size_t size() const { return out_.size(); }
  const Bytes& bytes() const { return out_; }
  Bytes take() { return std::exchange(out_, {}); }
  /// Empties it and keeps the memory, for loops.
  void clear() { out_.clear(); }

 private:
  Bytes out_;
};

class Decoder : public cereal::InputArchive<Decoder, cereal::AllowEmptyClassElision> {
 public:
  /// Elements that all vectors of one input may hold together: bounds the work of a hostile input.
  static constexpr std::size_t elements_default = 200'000;

  explicit Decoder(ByteView in, std::size_t elements_max = elements_default)
      : cereal::InputArchive<Decoder, cereal::AllowEmptyClassElision>(this), in_(in), elements_left_(elements_max) {}

  std::uint8_t get_u8() {
    if (at_ >= in_.size()) return fail("ends too early"), std::uint8_t{0};
    return in_[at_++];
  }
  std::uint64_t get_varint() {
    if (at_ < in_.size() && in_[at_] < 0x80) return in_[at_++];
    return get_long_varint();
  }
  std::int64_t get_zigzag() {
    const auto value = get_varint();
    return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
  }
  /// A view into the input; empty after a failure.
  ByteView get_raw(std::size_t size) {
    if (failed() || in_.size() - at_ < size) return fail("ends too early"), ByteView{};
    const auto out = in_.subspan(at_, size);
    at_ += size;
    return out;
  }
  ByteView get_bytes(std::size_t size_max) {
    const auto size = get_varint();
    if (size > size_max) return fail("a length is above its bound"), ByteView{};
    return get_raw(static_cast<std::size_t>(size));
  }
  template <class Fixed>
  Fixed get_fixed() {
    const auto raw = get_raw(Fixed::size_bytes);
    return failed() ? Fixed{} : Fixed::from(raw);
  }
  /// A count of elements of at least one byte each: checked against the bound, the input left and the budget.
  std::size_t get_count(std::size_t count_max) {
    const auto count = get_varint();
    if (count > count_max) return fail("a count is above its bound"), std::size_t{0};
    if (count > remaining()) return fail("a count is larger than the input"), std::size_t{0};
    if (count > elements_left_) return fail("more elements than one input may hold"), std::size_t{0};
    elements_left_ -= static_cast<std::size_t>(count);
    return static_cast<std::size_t>(count);
  }

  /// Keeps the first failure; from now on everything reads as zero.
  void fail(const char* what) {
    if (failure_) return;
    failure_ = what;
    failed_at_ = at_;
    at_ = in_.size();
  }
  bool failed() const { return failure_ != nullptr; }
  std::size_t remaining() const { return in_.size() - at_; }
  std::size_t position() const { return at_; }
  /// Ends decoding: Code::corrupt with what and where, also if input is left over.
  Status finish(const char* of_what) {
    if (!failed() && remaining() != 0) fail("has bytes after its end");
    if (failed()) return Error(Code::corrupt, std::string(of_what) + ": " + failure_ + " (byte " + std::to_string(failed_at_) + ")");
    return {};
  }

 private:
  std::uint64_t get_long_varint();

  ByteView in_;
  std::size_t at_ = 0;
  std::size_t elements_left_;
  std::size_t failed_at_ = 0;
  const char* failure_ = nullptr;
};

template <class T>
concept Unsigned = std::is_unsigned_v<T> && !std::is_same_v<T, bool>;
template <class T>
concept Signed = std::is_signed_v<T> && std::is_integral_v<T>;

template <Unsigned T>
void save(Encoder& archive, const T& value) {
  archive.put_varint(value);
}
template <Unsigned T>
void load(Decoder& archive, T& value) {
  const auto wide = archive.get_varint();
  if (wide > std::numeric_limits<T>::max()) return archive.fail("a number is too large");
  value = static_cast<T>(wide);
}
template <Signed T>
void save(Encoder& archive, const T& value) {
  archive.put_zigzag(value);
}
template <Signed T>
void load(Decoder& archive, T& value) {
  const auto wide = archive.get_zigzag();
  if (wide > std::numeric_limits<T>::max() || wide < std::numeric_limits<T>::min()) return archive.fail("a number is too large");
  value = static_cast<T>(wide);
}
inline void save(Encoder& archive, const bool& value) { archive.put_u8(value ? 1 : 0); }
inline void load(Decoder& archive, bool& value) {
  const auto byte = archive.get_u8();
  if (byte > 1) archive.fail("a bool is neither 0 nor 1");
  value = byte == 1;
}
template <class Tag, std::size_t N>
void save(Encoder& archive, const FixedBytes<Tag, N>& value) {
  archive.put_raw(value.data);
}
template <class Tag, std::size_t N>
void load(Decoder& archive, FixedBytes<Tag, N>& value) {
  value = archive.get_fixed<FixedBytes<Tag, N>>();
}
template <class T>
void save(Encoder& archive, const std::optional<T>& value) {
  archive.put_u8(value ? 1 : 0);
  if (value) archive(*value);
}
template <class T>
void load(Decoder& archive, std::optional<T>& value) {
  value.reset();
  bool present = false;
  archive(present);
  if (present && !archive.failed()) archive(value.emplace());
}

namespace detail {
template <class T>
inline constexpr bool is_byte_string = std::is_same_v<T, Bytes> || std::is_same_v<T, std::string>;
}

template <std::size_t Max, class T>
void save(Encoder& archive, const Bounded<Max, T>& bounded) {
  if constexpr (detail::is_byte_string<std::remove_const_t<T>>) {
    DOORSTEP_CHECK(bounded.value.size() <= Max);
    archive.put_bytes({reinterpret_cast<const std::uint8_t*>(bounded.value.data()), bounded.value.size()});
  } else {
    DOORSTEP_CHECK(bounded.value.size() <= Max);
    archive.put_varint(bounded.value.size());
    for (const auto& element : bounded.value) archive(element);
  }
}
template <std::size_t Max, class T>
void load(Decoder& archive, Bounded<Max, T>& bounded) {
  bounded.value.clear();
  if constexpr (detail::is_byte_string<T>) {
    const auto bytes = archive.get_bytes(Max);
    bounded.value.assign(bytes.begin(), bytes.end());
  } else {
    const auto count = archive.get_count(Max);
    bounded.value.reserve(std::min<std::size_t>(count, 4096));
    for (std::size_t i = 0; i < count && !archive.failed(); ++i) archive(bounded.value.emplace_back());
  }
}
template <auto Last, class E>
void save(Encoder& archive, const Enumerated<Last, E>& marked) {
  archive.put_u8(static_cast<std::uint8_t>(marked.value));
}
template <auto Last, class E>
void load(Decoder& archive, Enumerated<Last, E>& marked) {
  const auto byte = archive.get_u8();
  if (byte > static_cast<std::uint8_t>(Last)) return archive.fail("an enumerated value is unknown");
  marked.value = static_cast<E>(byte);
}

template <class T>
Bytes encode(const T& value) {
  Encoder encoder;
  encoder(value);
  return encoder.take();
}

/// Code::corrupt, naming `of_what`, on anything but exactly one T.
template <class T>
Result<T> decode(ByteView bytes, const char* of_what) {
  Decoder decoder(bytes);
  T value{};
  decoder(value);
  DOORSTEP_TRY(decoder.finish(of_what));
  return value;
}

/// Text is UTF-8 without NUL; NFC is the writer's duty at the edge (sdk/records).
bool is_valid_text(std::string_view text);

}  // namespace doorstep
