#include "sdk/records/json_value.hpp"

#include <nlohmann/json.hpp>

namespace doorstep {

namespace {

/// Builds JsonValues from nlohmann's events. Returning false ends the parse; `failure` says why.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Builder(JsonValue& root, const JsonLimits& bounds) : bounds_(bounds) { open_.push_back(&root); }

  bool null() override { return scalar(JsonValue::Kind::null) != nullptr; }
  bool boolean(bool truth) override {
    auto* value = scalar(JsonValue::Kind::boolean);
    if (value) value->truth = truth;
    return value != nullptr;
  }
  bool number_integer(number_integer_t number) override { return scalar_text(JsonValue::Kind::number, std::to_string(number)); }
  bool number_unsigned(number_unsigned_t number) override { return scalar_text(JsonValue::Kind::number, std::to_string(number)); }
  bool number_float(number_float_t, const string_t& written) override { return scalar_text(JsonValue::Kind::number, written); }
  bool string(string_t& text) override { return scalar_text(JsonValue::Kind::text, std::move(text)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return start(JsonValue::Kind::object); }
  bool end_object() override { return end(); }
  bool start_array(std::size_t) override { return start(JsonValue::Kind::array); }
  bool end_array() override { return end(); }
  bool key(string_t& name) override {
    if (open_.back()->items.size() >= bounds_.members_max) {
      failure = Error(Code::too_large, "JSON: an object has more than " + std::to_string(bounds_.members_max) + " members; split it");
      return false;
    }
    if (open_.back()->member(name)) {
      failure = Error(Code::invalid_argument, "JSON: the member \"" + name.substr(0, 40) + "\" stands twice in one object; remove one");
      return false;
    }
    key_ = std::move(name);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    failure = Error(Code::invalid_argument, "JSON: not valid at byte " + std::to_string(position) + "; check quotes, commas and UTF-8");
    return false;
  }

  std::optional<Error> failure;

 private:
  /// Where the next value goes: the root itself, or a new item of the innermost open array or object.
  JsonValue* place(JsonValue::Kind kind) {
    if (++values_ > bounds_.values_max) {
      failure = Error(Code::too_large, "JSON: more than " + std::to_string(bounds_.values_max) + " values; split the input");
      return nullptr;
    }
    JsonValue* value = open_.back();
    if (started_) {
      value = &open_.back()->items.emplace_back();
      value->name = std::move(key_);
      key_.clear();
    }
    started_ = true;
    value->kind = kind;
    return value;
  }
  JsonValue* scalar(JsonValue::Kind kind) { return place(kind); }
  bool scalar_text(JsonValue::Kind kind, std::string text) {
    auto* value = place(kind);
    if (value) value->text = std::move(text);
    return value != nullptr;
  }
  bool start(JsonValue::Kind kind) {
    if (depth_ == bounds_.depth_max) {
      failure = Error(Code::too_large, "JSON: nested deeper than " + std::to_string(bounds_.depth_max) + " levels; flatten it");
      return false;
    }
    const bool is_root = !started_;
    auto* value = place(kind);
    if (!value) return false;
    // The pointer stays good: its parent gets no further item before this one is closed.
    if (!is_root) open_.push_back(value);
    ++depth_;
    return true;
  }

  bool end() { return open_.pop_back(), --depth_, true; }

  const JsonLimits& bounds_;
  std::vector<JsonValue*> open_;
  std::string key_;
  std::size_t values_ = 0, depth_ = 0;
  bool started_ = false;
};

}  // namespace

const JsonValue* JsonValue::member(std::string_view member_name) const {
  if (kind != Kind::object) return nullptr;
  for (const auto& item : items)
    if (item.name == member_name) return &item;
  return nullptr;
}

Result<JsonValue> parse_json(std::string_view text, const JsonLimits& bounds) {
  if (text.size() > bounds.bytes_max)
    return Error(Code::too_large, "JSON: " + std::to_string(text.size()) + " bytes, at most " + std::to_string(bounds.bytes_max) +
                                      " are read at once; split the input");
  JsonValue root;
  Builder builder(root, bounds);
  const bool whole = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  if (builder.failure) return *builder.failure;
  if (!whole) return Error(Code::invalid_argument, "JSON: not a single valid value");
  return root;
}

const char* json_kind_name(JsonValue::Kind kind) {
  switch (kind) {
    case JsonValue::Kind::null: return "null";
    case JsonValue::Kind::boolean: return "true or false";
    case JsonValue::Kind::number: return "a number";
    case JsonValue::Kind::text: return "a text";
    case JsonValue::Kind::array: return "an array";
    case JsonValue::Kind::object: return "an object";
  }
  return "unknown";
}

void append_json_text(std::string& out, std::string_view text) {
  constexpr char hex[] = "0123456789abcdef";
  out.push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          out += std::string("\\u00") + hex[c >> 4] + hex[c & 15];
        else
          out.push_back(c);
    }
  }
  out.push_back('"');
}

}  // namespace doorstep
