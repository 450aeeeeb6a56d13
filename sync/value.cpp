#include "sync/value.hpp"

#include "sync/codec.hpp"
#include "sync/limits.hpp"

namespace doorstep {

namespace {
// Never renumbered. An unknown tag makes the segment "unknown encoding": kept, forwarded, not merged by this build.
enum Tag : std::uint8_t {
  tag_none = 0,
  tag_false = 1,
  tag_true = 2,
  tag_integer = 3,
  tag_decimal = 4,
  tag_text = 5,
  tag_code = 6,
  tag_date = 7,
  tag_timestamp = 8,
  tag_record = 9,
  tag_bytes = 10,
};
}  // namespace

void put_value(Encoder& encoder, const Value& value) {
  struct Put {
    Encoder& out;
    void operator()(std::monostate) const { out.put_u8(tag_none); }
    void operator()(bool truth) const { out.put_u8(truth ? tag_true : tag_false); }
    void operator()(std::int64_t number) const { out.put_u8(tag_integer), out.put_zigzag(number); }
    void operator()(const Decimal& decimal) const { out.put_u8(tag_decimal), out.put_u8(decimal.scale), out.put_zigzag(decimal.mantissa); }
    void operator()(const std::string& text) const { out.put_u8(tag_text), out.put_bytes(view(text)); }
    void operator()(const CodeText& code) const { out.put_u8(tag_code), out.put_bytes(view(code.text)); }
    void operator()(const Date& date) const { out.put_u8(tag_date), out.put_zigzag(date.days); }
    void operator()(const Timestamp& time) const { out.put_u8(tag_timestamp), out.put_zigzag(time.ms); }
    void operator()(const RecordId& record) const { out.put_u8(tag_record), out.put_raw(record.data); }
    void operator()(const Bytes& bytes) const { out.put_u8(tag_bytes), out.put_bytes(bytes); }
  };
  std::visit(Put{encoder}, value);
}

Value get_value(Decoder& decoder) {
  const auto text = [&](std::size_t size_max) {
    const auto bytes = text_view(decoder.get_bytes(size_max));
    if (!is_valid_text(bytes)) decoder.fail("a text is not valid UTF-8");
    return std::string(bytes);
  };
  switch (decoder.get_u8()) {
    case tag_none: return std::monostate{};
    case tag_false: return false;
    case tag_true: return true;
    case tag_integer: return decoder.get_zigzag();
    case tag_decimal: {
      Decimal decimal;
      decimal.scale = decoder.get_u8();
      decimal.mantissa = decoder.get_zigzag();
      if (decimal.scale > 9) decoder.fail("a decimal has more than nine places");
      return decimal;
    }
    case tag_text: return text(limits::value_bytes_max);
    case tag_code: return CodeText{text(limits::element_key_bytes_max)};
    case tag_date: {
      const auto days = decoder.get_zigzag();
      if (days != static_cast<std::int32_t>(days)) decoder.fail("a date is out of range");
      return Date{static_cast<std::int32_t>(days)};
    }
    case tag_timestamp: return Timestamp{decoder.get_zigzag()};
    case tag_record: return decoder.get_fixed<RecordId>();
    case tag_bytes: return to_bytes(decoder.get_bytes(limits::value_bytes_max));
    default: decoder.fail("a value has an unknown type"); return {};
  }
}

}  // namespace doorstep
