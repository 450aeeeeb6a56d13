#include "sdk/records/demo_data.hpp"

#include <algorithm>
#include <numeric>

#include "sdk/records/calendar.hpp"
#include "sdk/records/csv.hpp"
#include "sdk/records/demo_figures.hpp"
#include "sdk/records/demo_random.hpp"
#include "sdk/records/json_value.hpp"
#include "sdk/records/numbers.hpp"
#include "sdk/records/text.hpp"

namespace doorstep {

namespace {

namespace figures = demo_figures;

constexpr std::string_view village_code = "990604101201";
constexpr std::string_view other_village_code = "990604101202";

/// One person before it becomes a row.
struct Person {
  std::string name, id_number, cert_number, phone, household;
  bool male = true, certificate = true, expired = false, low_income = false, alone = false, several = false, two_elderly = false;
  bool bedridden = false, agricultural = true, elsewhere = false, doctor = true, medical = true, pension = true;
  int age = 0, self_care = 1;
  std::size_t category = 4, level = 4;
  std::string_view multi;
  Date birth;

  bool severe() const { return level == 1 || level == 2; }
  bool needs_guardian() const { return age < 18 || category == 5 || category == 6; }
  /// DOMAIN 5.1.
  char tier() const {
    if (severe() && (low_income || alone || several || two_elderly)) return 'A';
    return severe() || low_income ? 'B' : 'C';
  }
};

std::string digits(int number, std::size_t width) {
  auto out = std::to_string(number);
  return out.size() < width ? std::string(width - out.size(), '0') + out : out;
}

std::string full_width(std::string_view ascii) {
  std::string out;
  for (const char c : ascii) {  // U+FF10 is 0
    out += "\xEF\xBC";
    out.push_back(static_cast<char>(0x90 + (c - '0')));
  }
  return out;
}

std::string day_with_slashes(Date day) {
  const auto civil = civil_of(day);
  return std::to_string(civil.year) + "/" + std::to_string(civil.month) + "/" + std::to_string(civil.day);
}

Date years_before(Date day, int years) {
  auto civil = civil_of(day);
  civil.year -= years;
  if (civil.month == 2 && civil.day == 29) civil.day = 28;
  return date_of(civil);
}

/// A flat JSON object.
class JsonObject {
 public:
  void raw(std::string_view name, const std::string& json) {
    out_ += out_.size() > 1 ? ", " : "";
    append_json_text(out_, name);
    out_ += ": " + json;
  }
  void text(std::string_view name, std::string_view value) {
    std::string quoted;
    append_json_text(quoted, value);
    raw(name, quoted);
  }
  void number(std::string_view name, std::int64_t value) { raw(name, std::to_string(value)); }
  std::string done() const { return out_ + "}"; }

 private:
  std::string out_ = "{";
};

}  // namespace

class DemoVillage::Maker {
 public:
  Maker(DemoVillage& village, const DemoOptions& options) : village_(village), options_(options), random_(options.seed) {}

  void people() {
    const auto n = options_.persons;
    people_.resize(n);
    names();
    ages();
    disabilities();
    circumstances();
    phones();
    for (std::size_t i = 0; i < n; ++i) row(people_[i]);
    rehabilitation();
  }

  void history() {
    for (std::size_t i = 0; i < people_.size(); ++i) visits(i);
    for (const auto i : village_.at_home_) sessions(i);
    std::stable_sort(village_.history_.begin(), village_.history_.end(),
                     [](const DemoFact& a, const DemoFact& b) { return a.day < b.day; });
  }

  /// The persons of an existing village, for ordinary_day(): only what the facts need.
  DemoFact visit(std::size_t person, Date day, const std::string& mode, const std::string& result, std::string_view note);
  DemoFact session(std::size_t person, Date day, bool done, std::string_view note);

 private:
  // ---- people ----

  /// Every combination of the name parts once, and a few twice.
  void names() {
    std::vector<std::string> all;
    for (const auto surname : figures::surnames)
      for (const auto given : figures::given) all.push_back(std::string(surname) + std::string(given));
    random_.shuffle(all);
    const auto n = people_.size();
    const auto repeated = std::max<std::size_t>(1, n * static_cast<std::size_t>(figures::namesakes) / 20'000);
    for (std::size_t i = 0; i < n; ++i) people_[i].name = all[(i + repeated < n ? i : i - (n - repeated)) % all.size()];
  }

  void ages() {
    const auto n = people_.size();
    const auto bands = random_.spread(figures::age_band, n);
    const auto male = random_.spread(std::array<int, 2>{10'000 - figures::male, figures::male}, n);
    for (std::size_t i = 0; i < n; ++i) {
      auto& person = people_[i];
      person.male = male[i] == 1;
      const int age = random_.between(figures::age_band_from[bands[i]], figures::age_band_from[bands[i] + 1] - 1);
      // Between the birthday of that age and the day before the next.
      person.birth = Date{years_before(options_.today, age).days - random_.between(0, 363)};
      person.age = age_on(person.birth, options_.today);
      person.id_number = id_number(person, static_cast<int>(i));
    }
  }

  std::string id_number(const Person& person, int index) {
    const auto civil = civil_of(person.birth);
    // The sequence is unique within a day of birth and odd for men.
    const int sequence = (index % 499) * 2 + (person.male ? 1 : 2);
    auto id = "990604" + digits(civil.year, 4) + digits(civil.month, 2) + digits(civil.day, 2) + digits(sequence, 3);
    id.push_back(citizen_id_check_character(id));
    return id;
  }

  /// Levels 1 and 2 are scaled so that the village has the district's share of severe disability.
  static std::array<int, 4> scaled_levels(std::size_t category) {
    std::int64_t severe = 0;
    for (std::size_t c = 0; c < 7; ++c) severe += std::int64_t{figures::category[c]} * (figures::level[c][0] + figures::level[c][1]);
    severe /= 10'000;
    const auto& of = figures::level[category];
    std::array<int, 4> out{};
    for (std::size_t l = 0; l < 2; ++l) out[l] = static_cast<int>(std::int64_t{of[l]} * figures::severe_share / severe);
    const std::int64_t rest = 10'000 - out[0] - out[1], mild = of[2] + of[3];
    for (std::size_t l = 2; l < 4; ++l) out[l] = static_cast<int>(std::int64_t{of[l]} * rest / mild);
    return out;
  }

  void disabilities() {
    const auto n = people_.size();
    const auto categories = random_.spread(figures::category, n);
    for (std::size_t c = 0; c < 7; ++c) {
      std::vector<std::size_t> members;
      for (std::size_t i = 0; i < n; ++i)
        if (categories[i] == c) members.push_back(i);
      const auto levels = random_.spread(scaled_levels(c), members.size());
      for (std::size_t k = 0; k < members.size(); ++k) {
        auto& person = people_[members[k]];
        person.category = c + 1;
        person.level = levels[k] + 1;
        if (c == 6) person.multi = figures::multi_pairs[random_.weighted(figures::multi_pair_share)];
      }
    }
    // Those without a certificate are the youngest: children, who are not assessed yet.
    std::vector<std::size_t> by_age(n);
    std::iota(by_age.begin(), by_age.end(), std::size_t{0});
    std::stable_sort(by_age.begin(), by_age.end(), [&](std::size_t a, std::size_t b) { return people_[a].birth > people_[b].birth; });
    const auto without = std::max<std::size_t>(1, n * static_cast<std::size_t>(figures::no_certificate) / 10'000);
    for (std::size_t k = 0; k < without && k < n; ++k) {
      auto& person = people_[by_age[k]];
      person.certificate = false;
      person.category = person.level = 0;
      person.multi = {};
    }
    const auto expired = random_.flags(figures::certificate_expired, n);
    for (std::size_t i = 0; i < n; ++i) {
      auto& person = people_[i];
      if (!person.certificate) continue;
      person.expired = expired[i] != 0 && person.age > 11;
      person.cert_number = person.id_number + std::to_string(person.category) + std::to_string(person.level);
    }
  }

  void circumstances() {
    const auto n = people_.size();
    const auto low_income = random_.flags(figures::low_income, n), alone = random_.flags(figures::lives_alone, n);
    const auto elderly = random_.flags(figures::two_elderly, n), agricultural = random_.flags(figures::agricultural, n);
    const auto elsewhere = random_.flags(figures::hukou_elsewhere, n), doctor = random_.flags(figures::family_doctor, n);
    const auto medical = random_.flags(figures::medical_insured, n), pension = random_.flags(figures::pension_insured, n);
    const auto care = random_.spread(figures::self_care, n);
    auto bedridden = (n * static_cast<std::size_t>(figures::bedridden) + 5000) / 10'000;
    for (std::size_t i = 0; i < n; ++i) {
      auto& person = people_[i];
      person.low_income = low_income[i] != 0;
      person.alone = alone[i] != 0 && person.age >= 18;
      person.two_elderly = !person.alone && elderly[i] != 0 && person.age >= 45;
      person.agricultural = agricultural[i] != 0;
      person.elsewhere = elsewhere[i] != 0;
      person.doctor = doctor[i] != 0;
      person.medical = medical[i] != 0;
      person.pension = pension[i] != 0 && person.age >= 16;
      person.self_care = static_cast<int>(care[i]) + 1;
      if (person.self_care == 3 && bedridden > 0) --bedridden, person.bedridden = true;
      person.household = random_.hex_id();
    }
    households();
  }

  /// Pairs of people who share a household, as many as the survey's share of households asks for.
  void households() {
    const auto n = people_.size();
    const auto pairs = n * 10'000 / (10'000 + static_cast<std::size_t>(figures::several_disabled)) *
                       static_cast<std::size_t>(figures::several_disabled) / 10'000;
    std::size_t made = 0;
    for (std::size_t i = 0; i + 1 < n && made < pairs; i += 2) {
      if (people_[i].alone || people_[i + 1].alone) continue;
      people_[i + 1].household = people_[i].household;
      people_[i].several = people_[i + 1].several = true;
      ++made;
    }
  }

  void phones() {
    const auto has = random_.flags(figures::has_phone, people_.size());
    const auto shared = random_.flags(figures::shared_phone, people_.size());
    std::string last;
    for (std::size_t i = 0; i < people_.size(); ++i) {
      if (!has[i]) continue;
      if (shared[i] && !last.empty())
        people_[i].phone = last;  // a neighbour's or a relative's: normal, and no duplicate
      else
        people_[i].phone = last = new_phone();
    }
  }

  // One draw a statement, here and everywhere: the order of draws inside an expression is the compiler's choice.
  std::string new_phone() {
    auto out = "1" + std::to_string(random_.between(3, 9)) + "00000";
    return out += digits(random_.between(0, 9999), 4);
  }

  void rehabilitation() {
    // The roster of home rehabilitation: people with limb disability, the most severe first.
    std::vector<std::size_t> limb;
    for (std::size_t i = 0; i < people_.size(); ++i)
      if (people_[i].category == 4 || people_[i].multi.find('4') != std::string_view::npos) limb.push_back(i);
    std::stable_sort(limb.begin(), limb.end(), [&](std::size_t a, std::size_t b) { return people_[a].level < people_[b].level; });
    const auto count = (people_.size() * static_cast<std::size_t>(figures::home_rehab) + 5000) / 10'000;
    limb.resize(std::min(limb.size(), count));
    village_.at_home_ = limb;
  }

  // ---- a person as a spreadsheet row ----

  void cell(std::string_view header, std::string value) {
    if (village_.rows_.size() == 1) village_.header_.emplace_back(header);
    village_.rows_.back().push_back(std::move(value));
  }

  void row(const Person& person) {
    village_.rows_.emplace_back();
    village_.tiers_.push_back(person.tier());
    identity_cells(person);
    disability_cells(person);
    contact_cells(person);
    living_cells(person);
    entitlement_cells(person);
    cell("就业状况", person.age < 16                       ? ""
                     : person.age < 60 && person.level > 2 ? random_.pick(std::array<std::string, 3>{"农村种养加", "灵活就业", "未就业"})
                                                           : "未就业");
    cell("就学状况", person.age < 3 || person.age >= 18 ? "" : person.age < 7 ? "学前(普通/特教/康复机构)" : "普通学校随班就读");
    cell("建档村（社区）区划代码", std::string(village_code));
    cell("填报方式", "导入");
    cell("同意依据", person.age < 14 ? "监护人同意" : "履行法定职责");
    cell("备注", note_of(person));
  }

  void identity_cells(const Person& person) {
    cell("姓名", person.name);
    cell("曾用名/别名", random_.chance(800) ? random_.pick(std::array<std::string, 4>{"小兰", "小军", "小珍", "小花"}) : "");
    cell("性别", person.male ? "男" : "女");
    cell("民族", person.name.starts_with("买买提") ? "维吾尔族" : random_.chance(300) ? "羌族" : "汉族");
    cell("出生日期", day_with_slashes(person.birth));
    cell("公民身份号码", person.id_number);
    cell("户口性质", person.agricultural ? "农业" : "非农业");
    cell("户籍地区划", std::string(person.elsewhere ? other_village_code : village_code));
    cell("常住地区划", std::string(village_code));
    // Two hamlets; the comma shows why a cell is quoted.
    std::string address = random_.chance(5500) ? "上湾组" : "下湾组";
    address += std::to_string(random_.between(1, 60)) + "号";
    address += random_.chance(2000) ? ",老井旁" : random_.chance(2000) ? ",小学对面" : "";
    cell("现住址", address);
    cell("所在户", person.household);
    cell("婚姻状况", person.age < 20 ? "未婚" : random_.pick(std::array<std::string, 5>{"已婚", "已婚", "已婚", "丧偶", "未婚"}));
    cell("受教育程度", person.age < 16 ? "" : random_.pick(std::array<std::string, 4>{"小学", "小学", "初中", "其他/未上学"}));
  }

  void disability_cells(const Person& person) {
    cell("残疾类别", std::to_string(person.category));
    cell("残疾等级", std::to_string(person.level));
    cell("多重残疾包含类别", std::string(person.multi));
    const auto today = civil_of(options_.today);
    const Date issued =
        !person.certificate
            ? Date{}
            : date_of({today.year - (person.expired ? 11 : random_.between(1, 8)), random_.between(1, 12), random_.between(1, 28)});
    cell("残疾人证号", person.cert_number);
    cell("证件状态", !person.certificate ? "未办" : person.expired ? "到期" : "有效");
    cell("核发日期", person.certificate ? date_text(issued) : "");
    cell("有效期至", person.certificate ? date_text(years_before(issued, -10)) : "");
    cell("孤独症", person.category == 6 && person.age < 18 ? "是" : "");
  }

  void contact_cells(const Person& person) {
    const bool typed_wide = person.phone.size() == 11 && (village_.rows_.size() == 3 || random_.chance(figures::full_width_per_1000 * 10));
    cell("联系电话.号码", typed_wide ? full_width(person.phone) : person.phone);
    const bool own = person.age >= 18 && random_.chance(7000);
    cell("联系电话.机主", person.phone.empty() ? "" : own ? "本人" : "家属");
    cell("联系电话.能否接通", person.phone.empty() ? "" : "是");
    cell("无电话原因", person.phone.empty() ? "无电话" : "");
    std::string ways = "方言语音";
    if (person.category == 1) ways += random_.chance(6000) ? ";大字" : ";国家通用盲文";
    if (person.category == 2 || person.category == 3) ways = random_.chance(5000) ? "国家通用手语" : "家庭手势;家属转述";
    if (person.category == 5) ways += ";简明图文";
    cell("沟通方式需求", ways);
    const auto relative = relative_name(person);
    const bool guardian = person.needs_guardian();
    cell("监护人.姓名", guardian ? relative : "");
    cell("监护人.关系", guardian ? (person.age < 40 ? "父母" : "配偶") : "");
    cell("监护人.电话", guardian ? new_phone() : "");
    cell("监护人.监护类型", guardian ? "法定" : "");
    const bool carer = person.self_care > 1 && !person.alone;
    cell("主要照护者.姓名", carer ? relative : "");
    cell("主要照护者.关系", carer ? (person.age < 40 ? "父母" : "配偶") : "");
    const bool emergency = person.tier() == 'A' || random_.chance(3000);
    cell("紧急联系人.姓名", emergency ? relative_name(person) : "");
    cell("紧急联系人.电话", emergency ? new_phone() : "");
  }

  /// Often the same surname.
  std::string relative_name(const Person& person) {
    auto surname = std::string(random_.pick(figures::surnames));
    for (const auto known : figures::surnames)
      if (person.name.starts_with(known) && random_.chance(6000)) surname = std::string(known);
    surname += random_.pick(figures::given);
    return surname;
  }

  void living_cells(const Person& person) {
    std::string living = person.alone ? "独居" : "与家人同住";
    if (person.several) living += ";一户多残";
    if (person.two_elderly) living += ";老残一体";
    cell("居住状况", living);
    cell("生活自理能力", std::to_string(person.self_care));
    cell("卧床", person.bedridden ? "是" : "否");
    cell("能否外出", person.bedridden ? "不能" : person.self_care == 1 ? "独立" : person.category == 4 ? "借助辅具" : "需人帮助");
    cell("慢性病/合并疾病", person.age < 45 ? "" : random_.pick(std::array<std::string, 5>{"高血压", "糖尿病", "高血压;关节炎", "", ""}));
    cell("过敏与禁忌", random_.chance(600) ? random_.pick(std::array<std::string, 2>{"青霉素过敏", "艾灸处易起泡，慎用"}) : "");
    cell("生存状态", "在世");
    cell("标签", random_.chance(200) ? "残疾军人" : "");
  }

  void entitlement_cells(const Person& person) {
    const auto year = std::to_string(civil_of(options_.today).year);
    cell("社会救助/困难类型", person.low_income ? "最低生活保障" : "无");
    cell("社会救助/困难类型.自", person.low_income ? "2024-01-01" : "");
    cell("社会救助/困难类型.来源", person.low_income ? "民政比对" : "");
    std::string subsidies, states;
    if (person.low_income && person.certificate) subsidies = "困难残疾人生活补贴", states = "在享";
    if (person.severe()) {
      subsidies += std::string(subsidies.empty() ? "" : ";") + "重度残疾人护理补贴";
      states += std::string(states.empty() ? "" : ";") + (random_.chance(9700) ? "在享" : "申请中");
    }
    cell("两项补贴及其他补贴", subsidies);
    cell("两项补贴及其他补贴.状态", states);
    std::string kinds, years, paid;
    if (person.medical) kinds = "城乡居民医疗", years = year, paid = person.severe() || person.low_income ? "政府代缴" : "自缴";
    if (person.pension) {
      const std::string comma = kinds.empty() ? "" : ";";
      kinds += comma + "城乡居民养老", years += comma + year, paid += comma + (person.severe() ? "政府代缴" : "自缴");
    }
    cell("参保情况.险种", kinds);
    cell("参保情况.年度", years);
    cell("参保情况.缴费方式", paid);
    cell("家庭医生签约.已签约", person.doctor ? "是" : "否");
    cell("家庭医生签约.团队", person.doctor ? "上湾村卫生室" : "");
  }

  std::string note_of(const Person& person) {
    if (person.bedridden) return "长期卧床，每两小时需翻身";
    if (person.alone)
      return random_.pick(std::array<std::string, 3>{"独居，子女在外务工", "独居，邻居每天照看一次", "独居，需留意用火用电"});
    if (!random_.chance(3500)) return "";
    return random_.pick(std::array<std::string, 6>{"说话慢，请耐心听", "上午在家，下午常在菜地", "门口有台阶，轮椅进出不便",
                                                   "听力差，敲门请用力", "怕狗，进门前先打电话", "轮椅刹车松，待维修"});
  }

  // ---- facts ----

  /// What every fact carries. Old ones are an import with its reason, as DOMAIN 2.0 asks after 30 days.
  void envelope(JsonObject& out, Date day) {
    const bool late = day.days < options_.today.days - 30;
    out.text("observed_on", date_text(day));
    out.text("org_code", village_code);
    out.text("status", "signed");
    out.text("entry_mode", late ? "5" : random_.chance(7000) ? "2" : "1");
    out.text("consent_ref", "duty");
    if (late) out.text("late_reason", "历史纸质记录导入");
  }

  std::string moment(Date day, int hour_first, int hour_last) {
    auto out = date_text(day) + "T" + digits(random_.between(hour_first, hour_last), 2) + ":";
    return out += digits(random_.between(0, 11) * 5, 2) + ":00+08:00";
  }

  std::size_t tier_index(std::size_t person) const { return static_cast<std::size_t>(village_.tiers_[person] - 'A'); }

  /// A working day near the due one, by the weekday profile (1970-01-01 was a Thursday).
  Date working_day(std::int32_t due) {
    const auto monday = due - (due + 3) % 7;
    return Date{static_cast<std::int32_t>(monday) + static_cast<std::int32_t>(random_.weighted(figures::weekday))};
  }

  void visits(std::size_t person) {
    const int a_year = figures::visits_a_year[tier_index(person)];
    const int interval = 365 / a_year;
    const auto first = options_.today.days - options_.months * 365 / 12;
    for (auto due = first + random_.between(0, interval - 1); due < options_.today.days; due += interval) {
      if (!random_.chance(figures::compliance[tier_index(person)])) continue;
      const auto day = working_day(due);
      if (day.days < first || day.days >= options_.today.days) continue;
      const auto mode = random_.weighted(figures::mode) + 1;
      // By telephone or video one reaches the person or does not ring at all; through neighbours nobody is met.
      const auto result = mode == 1 || mode == 4 ? random_.weighted(figures::result) + 1 : std::size_t{mode == 5 ? 3u : 1u};
      village_.history_.push_back(visit(person, day, std::to_string(mode), digits(static_cast<int>(result), 2), ""));
    }
  }

  void sessions(std::size_t person) {
    const int interval = 365 / figures::sessions_a_year;
    const auto first = options_.today.days - options_.months * 365 / 12;
    for (auto due = first + random_.between(0, interval - 1); due < options_.today.days; due += interval) {
      const auto day = working_day(due);
      if (day.days < first || day.days >= options_.today.days) continue;
      village_.history_.push_back(session(person, day, !random_.chance(figures::attempt_failed), ""));
    }
  }

  void met_fields(JsonObject& out, const std::string& mode, const std::string& result);
  void session_fields(JsonObject& out);
  static std::string text_array(std::initializer_list<std::string_view> texts) {
    std::string out = "[";
    for (const auto text : texts) {
      out += out.size() > 1 ? ", " : "";
      append_json_text(out, text);
    }
    return out + "]";
  }

  DemoVillage& village_;
  const DemoOptions options_;
  DemoRandom random_;
  std::vector<Person> people_;
};

void DemoVillage::Maker::met_fields(JsonObject& out, const std::string& mode, const std::string& result) {
  out.number("duration_min", random_.pick(figures::visit_minutes));
  if (result == "01")
    out.raw("met_persons", random_.chance(6000) ? text_array({"1", "3"}) : text_array({"1"}));
  else
    out.raw("met_persons", random_.chance(3000) ? text_array({"2"}) : text_array({"3"}));
  out.text("general_state", random_.chance(6000) ? "1" : random_.chance(8500) ? "2" : "3");
  out.text("mood_state", random_.chance(8000) ? "1" : random_.chance(6000) ? "2" : "4");
  if (random_.chance(400)) out.raw("bedsore_or_injury", R"({"state": "2", "site": "骶尾部"})");
  out.text("medication_supply", random_.chance(5500) ? "1" : random_.chance(1500) ? "2" : "4");
  if (mode == "1")
    out.raw("home_safety", random_.chance(7500) ? text_array({"0"}) : random_.chance(5000) ? text_array({"1", "6"}) : text_array({"4"}));
  out.text("carer_state", random_.chance(8000) ? "1" : "2");
  if (random_.chance(4000)) out.raw("services_given", random_.chance(5000) ? text_array({"4", "7"}) : text_array({"6"}));
  if (random_.chance(figures::problem_per_visit))
    out.raw("problems_found", text_array({random_.hex_id()}));
  else
    out.raw("no_problems", "true");
  out.raw("confirmed_by", random_.chance(5000) ? R"({"method": "2"})" : R"({"method": "1"})");
  out.text("satisfaction", random_.chance(7000) ? "1" : random_.chance(8000) ? "2" : "3");
}

DemoFact DemoVillage::Maker::visit(std::size_t person, Date day, const std::string& mode, const std::string& result,
                                   std::string_view note) {
  JsonObject out;
  envelope(out, day);
  out.text("visit_mode", mode);
  out.text("visit_result", result);
  out.raw("visit_reason", random_.chance(8500) ? text_array({"1"}) : text_array({"1", "6"}));
  out.text("visit_start", moment(day, 8, 16));
  std::string said(note);
  if (result == "01" || result == "02") {
    met_fields(out, mode, result);
    if (random_.chance(1500))
      out.text("requests",
               random_.pick(std::array<std::string, 4>{"想换一副拐杖", "希望有人教怎么翻身", "问护理补贴几时到账", "想让孩子回家过年"}));
    if (said.empty() && random_.chance(4000))
      said = random_.pick(std::array<std::string, 8>{
          "精神尚好，正在院子里晒太阳", "家属反映夜里咳嗽，建议到卫生室看看", "床垫偏硬，已教家属垫软枕", "门前台阶已铺木板，进出方便些",
          "药还够吃到下月初", "天冷少出门，嘱咐注意取暖通风", "新装了扶手，上厕所方便多了", "儿子换了手机号，已补充"});
  } else {
    out.text("next_attempt_on", date_text(Date{day.days + 7}));
    if (said.empty()) said = result == "03" ? "敲门无人应，邻居说去赶集了" : "";
  }
  if (!said.empty()) out.raw("note", text_array({said}));
  return {"home_visit", person, day, out.done()};
}

void DemoVillage::Maker::session_fields(JsonObject& out) {
  const int minutes = random_.pick(figures::session_minutes);
  out.number("duration_min", minutes);
  const auto first = figures::technique[random_.weighted(figures::technique_share)];
  std::string items =
      R"([{"item": ")" + std::string(first) + R"(", "body_part": "左下肢", "minutes": )" + std::to_string(minutes / 2) + "}";
  if (first != "11") items += R"(, {"item": "11", "body_part": "肩关节", "minutes": )" + std::to_string(minutes / 2) + "}";
  out.raw("items_done", items + "]");
  JsonObject check;
  check.number("bp_sys", random_.between(110, 150));
  check.number("bp_dia", random_.between(65, 95));
  check.number("pulse", random_.between(60, 90));
  check.text("skin", "1");
  check.raw("fever", "false");
  out.raw("pre_check", check.done());
  const bool adverse = random_.chance(figures::adverse_event);
  out.text("response", adverse ? "3" : random_.chance(8000) ? "1" : "2");
  if (adverse) out.text("response_note", "站起时头晕");
  out.text("adverse_event", adverse ? "fall" : "none");
  if (adverse) out.text("adverse_note", "下床时滑倒，无外伤，已报告村医");
  if (random_.chance(4000)) out.raw("family_trained", R"({"trained": true, "minutes": 10})");
  out.raw("subject_confirm", random_.chance(5000) ? R"({"method": "2"})" : R"({"method": "1"})");
  out.text("satisfaction", random_.chance(7500) ? "1" : "2");
}

DemoFact DemoVillage::Maker::session(std::size_t person, Date day, bool done, std::string_view note) {
  JsonObject out;
  envelope(out, day);
  // The plan and the doctor are the same at every session of a person and of the village.
  DemoRandom plan(village_.seed_ * 1000u + static_cast<std::uint32_t>(person)), doctor(village_.seed_);
  out.text("plan_ref", plan.hex_id());
  out.text("place", "1");
  out.text("start_time", moment(day, 9, 15));
  out.text("provider", doctor.hex_id());
  out.text("provider_type", "3");
  out.text("provider_licence", "990604-CW-0012");
  out.text("provider_name", "冯德福");
  if (done)
    session_fields(out);
  else
    out.text("not_done_reason", random_.chance(6000) ? "1" : "3");
  std::string said(note);
  if (said.empty() && done && random_.chance(3000))
    said = random_.pick(std::array<std::string, 3>{"肩部活动度较上次好", "教家属翻身手法，已会", "按后自觉轻松"});
  // A discomfort belongs into a note as well (rule discomfort_problem).
  if (said.empty() && out.done().find("response_note") != std::string::npos) said = "已上报，下次由两人陪同";
  if (!said.empty()) out.raw("note", text_array({said}));
  return {"rehab_session", person, day, out.done()};
}

// ---- the village ---------------------------------------------------------------------------------------------------

DemoVillage::DemoVillage(const DemoOptions& options) : seed_(options.seed) {
  auto bounded = options;
  bounded.persons = std::clamp<std::size_t>(options.persons, 1, 2000);
  bounded.months = std::clamp(options.months, 0, 60);
  Maker maker(*this, bounded);
  maker.people();
  const auto* kind = Schema::builtin().kind("person");
  const auto mapping = CsvMapping::from_header(*kind, header_);
  DOORSTEP_CHECK(mapping.ok());  // Our own header and our own rows: a test makes them all.
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    auto json = mapping->to_json(i + 2, rows_[i]);
    DOORSTEP_CHECK(json.ok());
    persons_json_.push_back(*std::move(json));
  }
  maker.history();
}

const std::string& DemoVillage::name(std::size_t person) const { return rows_.at(person).front(); }

std::string DemoVillage::persons_csv() const {
  std::string out = "\xEF\xBB\xBF";
  const auto put_row = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) out += (i == 0 ? "" : ",") + csv_cell(cells[i]);
    out += "\r\n";
  };
  put_row(header_);
  for (const auto& row : rows_) put_row(row);
  return out;
}

std::vector<DemoFact> DemoVillage::ordinary_day(Date day) const {
  DemoVillage scratch(*this);
  Maker maker(scratch, {seed_ + static_cast<std::uint32_t>(day.days), day, size(), 0});
  std::vector<std::size_t> due;
  for (std::size_t i = 0; i < tiers_.size() && due.size() < 5; ++i)
    if (tiers_[i] == 'A') due.push_back(i);
  for (std::size_t i = 0; due.size() < 5 && i < tiers_.size(); ++i) due.push_back(i);
  std::vector<DemoFact> out;
  out.push_back(maker.visit(due[0], day, "1", "03", "敲门无人应，邻居说去镇上看病"));
  if (due.size() > 1) out.push_back(maker.visit(due[1], day, "1", "01", "药快吃完了，已联系村医"));
  for (std::size_t k = 2; k < due.size(); ++k) out.push_back(maker.visit(due[k], day, "1", "01", ""));
  if (at_home_.empty()) return out;
  out.push_back(maker.session(at_home_.front(), day, true, "推拿后教妻子翻身"));
  out.push_back(maker.visit(at_home_.front(), day, "1", "01", "村医上门推拿，本人在场协助"));
  return out;
}

std::vector<std::string> DemoVillage::secrets() const {
  std::vector<std::string> out;
  const auto column = [&](std::string_view name) {
    return static_cast<std::size_t>(std::find(header_.begin(), header_.end(), name) - header_.begin());
  };
  for (const std::string_view name : {"姓名", "公民身份号码", "残疾人证号", "联系电话.号码", "备注", "监护人.姓名", "监护人.电话",
                                      "紧急联系人.姓名", "紧急联系人.电话", "过敏与禁忌"})
    for (const auto& row : rows_)
      if (const auto& cell = row.at(column(name)); !cell.empty()) out.push_back(is_phone(compact_phone(cell)) ? compact_phone(cell) : cell);
  for (const std::string_view said : {"敲门无人应", "骶尾部", "精神尚好", "药快吃完了", "推拿后教妻子翻身"}) out.emplace_back(said);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::string DemoFact::json_with(const RecordId& person_id) const {
  return "{\"person_id\": \"" + person_id.hex() + "\", " + json.substr(1);
}

}  // namespace doorstep
