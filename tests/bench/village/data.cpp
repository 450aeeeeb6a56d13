#include "tests/bench/village/data.hpp"

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>

namespace doorstep::bench {

namespace {

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "village: %s\n", why.c_str());
  std::exit(1);
}

void put_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool text(std::string& out) {
    out.clear();
    if (!take('"')) return false;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (c != '\\') {
        out += c;
        continue;
      }
      if (at_ >= text_.size()) return false;
      switch (const char e = text_[at_++]) {
        case 'n': out += '\n'; break;
        case 't': out += '\t'; break;
        case 'r': out += '\r'; break;
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'u': {
          std::uint32_t c1 = 0, c2 = 0;
          if (!hex4(c1)) return false;
          if (c1 >= 0xd800 && c1 < 0xdc00 && at_ + 6 <= text_.size() && text_[at_] == '\\' && text_[at_ + 1] == 'u') {
            at_ += 2;
            if (!hex4(c2)) return false;
            c1 = 0x10000 + ((c1 - 0xd800) << 10) + (c2 - 0xdc00);
          }
          put_utf8(out, c1);
          break;
        }
        default: out += e;
      }
    }
    return false;
  }
  bool bare(std::string& out) {
    skip();
    const auto begin = at_;
    while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '}' && text_[at_] != ' ') ++at_;
    out.assign(text_.substr(begin, at_ - begin));
    return !out.empty() && out[0] != '[' && out[0] != '{';
  }
  bool quoted() {
    skip();
    return at_ < text_.size() && text_[at_] == '"';
  }

 private:
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }
  bool hex4(std::uint32_t& out) {
    if (at_ + 4 > text_.size()) return false;
    const auto read = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, out, 16);
    at_ += 4;
    return read.ptr == text_.data() + at_;
  }
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

const std::string& Line::operator[](std::string_view name) const {
  static const std::string none;
  for (const auto& item : items)
    if (item.name == name) return item.text;
  return none;
}

bool parse_line(std::string_view text, Line& out) {
  out.bytes = text.size();
  out.json.assign(text);
  Cursor in(text);
  std::size_t count = 0;
  if (!in.take('{')) return false;
  do {
    if (count == out.items.size()) out.items.emplace_back();
    auto& item = out.items[count++];
    if (!in.text(item.name) || !in.take(':')) return false;
    item.quoted = in.quoted();
    if (!(item.quoted ? in.text(item.text) : in.bare(item.text))) return false;
  } while (in.take(','));
  out.items.resize(count);
  return in.take('}');
}

Lines::Lines(const std::string& path) : file_(std::fopen(path.c_str(), "rb"), std::fclose), path_(path), buffer_(1 << 20) {
  if (!file_) die("cannot read " + path);
}

bool Lines::next(Line& line) {
  for (;;) {
    if (!std::fgets(buffer_.data(), static_cast<int>(buffer_.size()), file_.get())) return false;
    std::string_view text(buffer_.data());
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
    if (text.empty()) continue;
    if (!parse_line(text, line)) die(path_ + " is not one flat JSON object a line");
    return true;
  }
}

const std::vector<FieldShape>& fields_of(bool person) {
  static const std::vector<FieldShape> persons = {{"id", Type::text, true},
                                                  {"name", Type::text, false},
                                                  {"sex", Type::text, false},
                                                  {"birth", Type::date, false},
                                                  {"idno", Type::text, false},
                                                  {"phone", Type::text, false},
                                                  {"county", Type::text, false},
                                                  {"village", Type::text, false},
                                                  {"group", Type::integer, false},
                                                  {"house", Type::text, false},
                                                  {"ethnicity", Type::text, false},
                                                  {"education", Type::text, false},
                                                  {"job", Type::text, false},
                                                  {"marital", Type::text, false},
                                                  {"chronic", Type::text, false},
                                                  {"allergy", Type::text, false},
                                                  {"guardian", Type::text, false},
                                                  {"insured", Type::boolean, false},
                                                  {"updated", Type::timestamp, false},
                                                  {"remark", Type::text, false}};
  static const std::vector<FieldShape> visits = {
      {"id", Type::text, false},     {"person", Type::record, true}, {"date", Type::date, false},   {"type", Type::text, false},
      {"doctor", Type::text, false}, {"sbp", Type::integer, false},  {"dbp", Type::integer, false}, {"glucose", Type::decimal, false},
      {"drug", Type::text, false},   {"paid", Type::integer, false}, {"note", Type::text, false},   {"next", Type::date, false}};
  return person ? persons : visits;
}

Schema village_schema() {
  std::string json = R"({"doorstep_schema": 1, "id": "village", "version": 1, "kinds": [)";
  for (const bool person : {true, false}) {
    json += std::string(person ? "" : ", ") + R"({"id": )" + std::to_string(person ? person_kind : visit_kind) + R"(, "name": ")" +
            (person ? "p" : "v") + R"(", "sensitivity": "s1", "fields": [)";
    int number = 0;
    for (const auto& field : fields_of(person)) {
      json += std::string(number ? ", " : "") + R"({"number": )" + std::to_string(number + 1) + R"(, "name": ")" + field.name +
              R"(", "type": ")" + type_name(field.type) + "\"";
      if (field.indexed) json += R"(, "index": true)";
      if (std::string_view(field.name) == "phone") json += R"(, "policy": "review")";
      json += "}";
      ++number;
    }
    json += "]}";
  }
  auto schema = Schema::parse(json + "]}");
  if (!schema) die(schema.error().message());
  return std::move(*schema);
}

Value value_of(Type type, const Item& item, const std::function<RecordId(const std::string&)>& person) {
  const char *begin = item.text.data(), *end = begin + item.text.size();
  const auto whole = [&](const char* from, const char* to, auto& out) { return std::from_chars(from, to, out).ptr == to; };
  switch (type) {
    case Type::text: return item.text;
    case Type::boolean: return item.text == "true";
    case Type::record: return person(item.text);
    case Type::integer: {
      std::int64_t out = 0;
      return whole(begin, end, out) ? Value(out) : Value();
    }
    case Type::timestamp: {
      std::int64_t out = 0;
      return whole(begin, end, out) ? Value(Timestamp{out}) : Value();
    }
    case Type::decimal: {
      std::string digits = item.text;
      const auto point = digits.find('.');
      const auto scale = point == std::string::npos ? 0 : digits.size() - point - 1;
      if (point != std::string::npos) digits.erase(point, 1);
      std::int64_t out = 0;
      if (scale > 9 || !whole(digits.data(), digits.data() + digits.size(), out)) return {};
      return Decimal{out, static_cast<std::uint8_t>(scale)};
    }
    case Type::date: {
      int y = 0;
      unsigned m = 0, d = 0;
      if (item.text.size() != 10 || !whole(begin, begin + 4, y) || !whole(begin + 5, begin + 7, m) || !whole(begin + 8, end, d)) return {};
      const std::chrono::year_month_day day{std::chrono::year(y), std::chrono::month(m), std::chrono::day(d)};
      if (!day.ok()) return {};
      return Date{static_cast<std::int32_t>(std::chrono::sys_days(day).time_since_epoch().count())};
    }
    default: return {};
  }
}

std::string text_of(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  if (const auto* time = std::get_if<Timestamp>(&value)) return std::to_string(time->ms);
  if (const auto* decimal = std::get_if<Decimal>(&value)) {
    std::string digits = std::to_string(decimal->mantissa < 0 ? -decimal->mantissa : decimal->mantissa);
    if (digits.size() <= decimal->scale) digits.insert(0, decimal->scale + 1 - digits.size(), '0');
    if (decimal->scale) digits.insert(digits.size() - decimal->scale, 1, '.');
    return (decimal->mantissa < 0 ? "-" : "") + digits;
  }
  if (const auto* date = std::get_if<Date>(&value)) {
    const std::chrono::year_month_day day{std::chrono::sys_days(std::chrono::days(date->days))};
    std::array<char, 32> out{};
    std::snprintf(out.data(), out.size(), "%04d-%02u-%02u", static_cast<int>(day.year()), static_cast<unsigned>(day.month()),
                  static_cast<unsigned>(day.day()));
    return out.data();
  }
  return {};
}

// ---- The generator: workload.mjs, so that a run without a file measures what the peers were measured with -------------------------

namespace {

using Words = std::vector<std::string>;

const Words counties = {"云溪县", "平安县", "青川县", "石泉县"};
const Words villages = {"大坪村", "柳树沟村", "上河村", "石桥村", "白杨坪村", "高坡村", "清水湾村", "杨家岭村"};
const Words ethnicities = {"汉族", "汉族", "汉族", "藏族", "彝族", "苗族", "回族"};
const Words educations = {"小学", "初中", "文盲", "高中", "大专"};
const Words jobs = {"务农", "外出务工", "村医", "教师", "个体经营", "退休"};
const Words maritals = {"已婚", "未婚", "丧偶", "离异"};
const Words chronics = {"高血压二级", "二型糖尿病", "慢性阻塞性肺病", "类风湿关节炎", "冠心病", "无慢性病史", "慢性胃炎", "脑卒中后遗症"};
const Words allergies = {"无", "青霉素过敏", "磺胺类药物过敏", "海鲜过敏"};
const Words types = {"高血压随访", "糖尿病随访", "儿童预防接种", "孕产妇访视", "老年人体检", "一般门诊", "家庭医生签约服务"};
const Words phrases = {"患者一般情况尚可",
                       "自述近一周头晕乏力",
                       "夜间睡眠较差",
                       "血压控制不理想",
                       "建议低盐低脂饮食",
                       "嘱其按时服药不可自行停药",
                       "双肺呼吸音清未闻及干湿啰音",
                       "心率齐未闻及杂音",
                       "腹软无压痛",
                       "下肢轻度浮肿",
                       "空腹血糖偏高",
                       "已告知复诊时间",
                       "家属陪同前来",
                       "因道路不通改为电话随访",
                       "建议转县医院进一步检查",
                       "疫苗接种后留观三十分钟无异常",
                       "饮酒每日约二两已劝诫",
                       "血氧饱和度正常",
                       "伤口愈合良好已拆线",
                       "体重较上次增加一公斤",
                       "情绪稳定",
                       "胎心正常胎位正",
                       "药品已发放一个月用量",
                       "足背动脉搏动可"};
const Words drugs = {"苯磺酸氨氯地平片", "二甲双胍缓释片", "阿司匹林肠溶片", "复方丹参滴丸", "布洛芬缓释胶囊", "阿莫西林胶囊", "无"};

Words characters(const std::string& text) {
  Words out;
  for (std::size_t i = 0; i < text.size(); i += 3) out.push_back(text.substr(i, 3));
  return out;
}
const Words surnames = characters("王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕");
const Words given = characters("建国秀英明华桂兰志强玉珍海燕小红春梅文军丽娟永福德胜金凤国庆淑芬大勇雪莲振东晓霞");

class Maker {
 public:
  Maker(std::uint32_t seed, bool prose) : state_(seed), prose_(prose) {}

  std::string person(std::string& id) {
    std::string out;
    id = "p-" + hex(16);
    add(out, "id", id);
    add(out, "kind", "person");
    add(out, "name", name());
    add(out, "sex", next() < 0.5 ? "男" : "女");
    add(out, "birth", day(1935, 2023));
    std::string digits = std::to_string(static_cast<std::uint64_t>(std::floor(next() * 1e16)));
    add(out, "idno", "51" + std::string(16 - digits.size(), '0') + digits);
    add(out, "phone", "1" + std::to_string(static_cast<std::uint64_t>(std::floor(3e9 + next() * 6e9))));
    add(out, "county", pick(counties));
    add(out, "village", pick(villages));
    number(out, "group", 1 + below(12));
    add(out, "house", std::to_string(1 + below(300)) + "号");
    add(out, "ethnicity", pick(ethnicities));
    add(out, "education", pick(educations));
    add(out, "job", pick(jobs));
    add(out, "marital", pick(maritals));
    add(out, "chronic", pick(chronics));
    add(out, "allergy", pick(allergies));
    add(out, "guardian", name());
    bare(out, "insured", next() < 0.93 ? "true" : "false");
    number(out, "updated", 1'700'000'000'000 + static_cast<std::int64_t>(std::floor(next() * 2e10)));
    add(out, "remark", text(9));
    return out + "}\n";
  }

  std::string visit(const Words& person_ids) {
    std::string out;
    add(out, "id", "v-" + hex(16));
    add(out, "kind", "visit");
    add(out, "person", pick(person_ids));
    add(out, "date", day(2019, 2024));
    add(out, "type", pick(types));
    add(out, "doctor", name());
    number(out, "sbp", 95 + below(90));
    number(out, "dbp", 55 + below(55));
    const auto tenths = static_cast<std::int64_t>(std::floor((4 + next() * 9) * 10 + 0.5));
    bare(out, "glucose", std::to_string(tenths / 10) + (tenths % 10 ? "." + std::to_string(tenths % 10) : ""));
    add(out, "drug", pick(drugs));
    number(out, "paid", below(20000));
    add(out, "note", text(9));
    add(out, "next", day(2024, 2025));
    return out + "}\n";
  }

 private:
  double next() {  // mulberry32
    state_ += 0x6d2b79f5;
    std::uint32_t t = state_;
    t = (t ^ t >> 15) * (t | 1);
    t ^= t + (t ^ t >> 7) * (t | 61);
    return static_cast<double>(t ^ t >> 14) / 4294967296.0;
  }
  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(std::floor(next() * static_cast<double>(n))); }
  const std::string& pick(const Words& words) { return words[static_cast<std::size_t>(below(static_cast<std::int64_t>(words.size())))]; }
  std::string name() {
    std::string out = pick(surnames);
    out += pick(given);
    if (next() < 0.8) out += pick(given);
    return out;
  }
  std::string hex(int digits) {
    std::string out;
    while (digits-- > 0) out += "0123456789abcdef"[below(16)];
    return out;
  }
  std::string day(int from, int to) {
    const auto y = from + below(to - from + 1), m = 1 + below(12), d = 1 + below(28);
    std::array<char, 64> out{};
    std::snprintf(out.data(), out.size(), "%lld-%02lld-%02lld", static_cast<long long>(y), static_cast<long long>(m),
                  static_cast<long long>(d));
    return out.data();
  }
  std::string text(int count) {
    std::string out;
    for (int i = 0; i < count; ++i) {
      if (i) out += "，";
      const std::string& phrase = pick(phrases);
      if (!prose_) out += phrase;
      // As many characters as the phrase has, each of the 3,500 that follow the first ideograph: nothing to learn from.
      else
        for (std::size_t c = 0; c < phrase.size(); c += 3) put_utf8(out, 0x4e00 + static_cast<std::uint32_t>(below(3500)));
    }
    return out + "。";
  }
  static void bare(std::string& out, const char* name, const std::string& value) {
    out += (out.empty() ? "{\"" : ",\"") + std::string(name) + "\":" + value;
  }
  static void add(std::string& out, const char* name, const std::string& value) { bare(out, name, "\"" + value + "\""); }
  static void number(std::string& out, const char* name, std::int64_t value) { bare(out, name, std::to_string(value)); }

  std::uint32_t state_;
  bool prose_;
};

}  // namespace

void generate(const std::string& path, const Generated& what) {
  std::ofstream out(path, std::ios::binary);
  Maker maker(what.seed, what.prose);
  Words ids = what.person_ids;
  for (int i = 0; i < what.persons; ++i) {
    std::string id;
    out << maker.person(id);
    ids.push_back(id);
  }
  for (int i = 0; i < what.visits; ++i) out << maker.visit(ids);
  if (!out.flush()) die("cannot write " + path);
}

}  // namespace doorstep::bench
