#include "sync/codec.hpp"

namespace doorstep {

std::uint64_t Decoder::get_long_varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = get_u8();
    if (failed()) return 0;
    if (shift == 63 && byte > 1) return fail("a number is too large"), 0;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (byte == 0 && shift != 0) return fail("a number is not in its shortest form"), 0;
      return value;
    }
  }
  return fail("a number is too large"), 0;
}

bool is_valid_text(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<std::uint8_t>(text[i]);
    if (lead == 0) return false;
    if (lead < 0x80) {
      ++i;
      continue;
    }
    // U+1000..U+CFFF: nearly all Chinese text. Nothing can be wrong with three such bytes.
    if (lead >= 0xe1 && lead <= 0xec && text.size() - i >= 3 && (static_cast<std::uint8_t>(text[i + 1]) & 0xc0) == 0x80 &&
        (static_cast<std::uint8_t>(text[i + 2]) & 0xc0) == 0x80) {
      i += 3;
      continue;
    }
    const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i < length) return false;
    std::uint32_t point = lead & (0x7fu >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<std::uint8_t>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3f);
    }
    const bool shortest = length == 2 || (length == 3 && point >= 0x800) || (length == 4 && point >= 0x10000);
    if (!shortest || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    i += length;
  }
  return true;
}

}  // namespace doorstep
