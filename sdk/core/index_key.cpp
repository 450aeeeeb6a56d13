#include "sdk/core/index_key.hpp"

namespace doorstep {

namespace {

__extension__ typedef __int128 Wide;
__extension__ typedef unsigned __int128 UnsignedWide;

std::string sortable(Wide number) {
  std::string out(16, '\0');
  auto bits = static_cast<UnsignedWide>(number) ^ (static_cast<UnsignedWide>(1) << 127);
  for (int i = 15; i >= 0; --i, bits >>= 8) out[static_cast<std::size_t>(i)] = static_cast<char>(bits & 0xff);
  return out;
}

std::string sortable64(std::int64_t number) { return sortable(Wide{number} << 64).substr(0, 8); }

std::string number_key(std::int64_t mantissa, int scale) {
  Wide scaled = mantissa;
  for (int i = scale; i < 9; ++i) scaled *= 10;
  return 'n' + sortable(scaled);
}

std::string whole_key(const Value& value) {
  struct Key {
    std::string operator()(std::monostate) const { return {}; }
    std::string operator()(bool truth) const { return truth ? "b1" : "b0"; }
    std::string operator()(std::int64_t number) const { return number_key(number, 0); }
    std::string operator()(const Decimal& decimal) const { return number_key(decimal.mantissa, decimal.scale); }
    std::string operator()(const std::string& text) const { return 't' + text; }
    std::string operator()(const CodeText& code) const { return 'c' + code.text; }
    std::string operator()(const Date& date) const { return 'd' + sortable64(date.days); }
    std::string operator()(const Timestamp& time) const { return 'm' + sortable64(time.ms); }
    std::string operator()(const RecordId& record) const { return 'r' + std::string(text_view(record.view())); }
    std::string operator()(const Bytes& bytes) const { return 'x' + std::string(text_view(bytes)); }
  };
  return std::visit(Key{}, value);
}

}  // namespace

std::string index_key(const Value& value) { return whole_key(value).substr(0, 65); }

int compare_values(const Value& a, const Value& b) { return whole_key(a).compare(whole_key(b)); }

}  // namespace doorstep
