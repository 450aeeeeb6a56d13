#include "sdk/records/checks.hpp"

#include <algorithm>

#include "sdk/records/calendar.hpp"
#include "sdk/records/numbers.hpp"

namespace doorstep {

// ---- the record ----------------------------------------------------------------------------------------------------

const Value* CheckedRecord::value(const Address& address) const {
  const auto at = values_.find(address);
  if (at == values_.end() || !has_value(at->second)) return nullptr;
  if (!address.element.empty() && address.subfield != 0) {
    const auto presence = values_.find({address.field, address.element, 0});
    if (presence == values_.end() || !has_value(presence->second)) return nullptr;
  }
  return &at->second;
}

bool CheckedRecord::in_absent_element(const Address& address) const {
  const auto at = values_.find(address);
  return at != values_.end() && has_value(at->second) && !value(address);
}

const Value* CheckedRecord::value(std::string_view field_name) const {
  const auto* field = kind_.field(field_name);
  return field ? value({field->id, "", 0}) : nullptr;
}

const std::string* CheckedRecord::text(std::string_view field_name) const {
  const auto* found = value(field_name);
  return found ? std::get_if<std::string>(found) : nullptr;
}

std::optional<Date> CheckedRecord::date(std::string_view field_name) const {
  const auto* found = value(field_name);
  const auto* date = found ? std::get_if<Date>(found) : nullptr;
  return date ? std::optional<Date>(*date) : std::nullopt;
}

std::string_view CheckedRecord::code(FieldId field) const {
  const auto* found = value({field, "", 0});
  const auto* code = found ? std::get_if<CodeText>(found) : nullptr;
  return code ? std::string_view(code->text) : std::string_view();
}

std::string_view CheckedRecord::code(std::string_view field_name) const {
  const auto* field = kind_.field(field_name);
  return field ? code(field->id) : std::string_view();
}

std::vector<std::string> CheckedRecord::elements(const Field& field) const {
  std::vector<std::string> out;
  for (auto at = values_.lower_bound({field.id, "", 0}); at != values_.end() && at->first.field == field.id; ++at) {
    if (!has_value(at->second)) continue;
    const auto& [address, shown] = *at;
    if (address.element.empty()) {
      if (out.empty()) out.emplace_back();
    } else if (address.subfield == 0) {
      out.push_back(address.element);
    }
  }
  return out;
}

template <class Seen>
bool CheckedRecord::any_value(FieldId field, SubfieldId subfield, Seen seen) const {
  const auto* declared = kind_.field(field);
  const bool whole_structure = declared && declared->type == Type::structure && subfield == 0;
  const bool keys = declared && declared->keyed_by_code() && subfield == 0;
  // Element by element, register 0 first: an element without it is not there, whatever its subfields say.
  std::string_view element;
  bool element_present = true;
  for (auto at = values_.lower_bound({field, "", 0}); at != values_.end() && at->first.field == field; ++at) {
    const auto& [address, shown] = *at;
    if (!address.element.empty() && (address.subfield == 0 || address.element != element)) {
      element = address.element;
      element_present = address.subfield == 0 && has_value(shown);
    }
    if (!element_present || !has_value(shown)) continue;
    if (address.subfield != subfield && !(whole_structure && address.element.empty())) continue;
    if (keys ? seen(Value(CodeText{address.element})) : seen(shown)) return true;
  }
  return false;
}

bool CheckedRecord::present(FieldId field, SubfieldId subfield) const {
  return any_value(field, subfield, [](const Value&) { return true; });
}

bool CheckedRecord::holds(const Condition& condition, Date today) const {
  using Op = Condition::Op;
  const auto part_holds = [&](const Condition& part) { return holds(part, today); };
  switch (condition.op) {
    case Op::all: return std::all_of(condition.parts.begin(), condition.parts.end(), part_holds);
    case Op::any: return std::any_of(condition.parts.begin(), condition.parts.end(), part_holds);
    case Op::negate: return !holds(condition.parts.front(), today);
    default: return test(condition, today);
  }
}

namespace {

bool is_one_of(const Value& value, const std::vector<std::string>& wanted) {
  std::string_view text;
  if (const auto* code = std::get_if<CodeText>(&value)) text = code->text;
  if (const auto* plain = std::get_if<std::string>(&value)) text = *plain;
  if (const auto* truth = std::get_if<bool>(&value)) text = *truth ? "true" : "false";
  return std::find(wanted.begin(), wanted.end(), text) != wanted.end();
}

}  // namespace

bool CheckedRecord::test(const Condition& condition, Date today) const {
  using Op = Condition::Op;
  const auto any = [&](auto seen) { return any_value(condition.field, condition.subfield, seen); };
  switch (condition.op) {
    case Op::present: return present(condition.field, condition.subfield);
    case Op::absent: return !present(condition.field, condition.subfield);
    case Op::one_of: return any([&](const Value& value) { return is_one_of(value, condition.values); });
    case Op::at_least:
    case Op::at_most:
      return any([&](const Value& value) {
        const auto* integer = std::get_if<std::int64_t>(&value);
        if (!integer) return false;
        return condition.op == Op::at_least ? *integer >= condition.number : *integer <= condition.number;
      });
    case Op::count_at_least: {
      std::int64_t count = 0;
      any([&](const Value&) { return ++count, false; });
      return count >= condition.number;
    }
    case Op::age_below:
    case Op::age_at_least:
      return any([&](const Value& value) {
        const auto* birth = std::get_if<Date>(&value);
        // A clock that was never set cannot tell anybody's age.
        if (!birth || !is_credible_today(today)) return false;
        return condition.op == Op::age_below ? age_on(*birth, today) < condition.number : age_on(*birth, today) >= condition.number;
      });
    default: return false;
  }
}

// ---- named checks --------------------------------------------------------------------------------------------------

namespace {

using Found = std::vector<CheckProblem>;

std::vector<FieldId> fields_of(const CheckedRecord& record, std::initializer_list<std::string_view> names) {
  std::vector<FieldId> out;
  for (const auto name : names)
    if (const auto* field = record.kind().field(name)) out.push_back(field->id);
  return out;
}

void report(const CheckedRecord& record, Found& found, std::string_view field, const char* code, bool blocking, const char* zh,
            const char* en) {
  const auto* declared = record.kind().field(field);
  found.push_back({declared ? declared->id : 0, code, blocking, false, zh, en});
}

/// K01: the date of birth equals digits 7-14; sex equals the parity of digit 17, or is flagged (I6).
std::vector<FieldId> check_citizen(const CheckedRecord& record, Date today, Found& found) {
  const auto* id = record.text("id_number");
  if (id && check_citizen_id(*id, today, true) == IdFault::none) {
    const auto birth = record.date("birth_date");
    if (birth && *birth != citizen_id_birth(*id))
      report(record, found, "birth_date", "id_birth", true, "出生日期与身份证号第7至14位不一致，请核对。",
             "The date of birth differs from digits 7 to 14 of the citizen ID: check both.");
    const auto sex = record.code("sex");
    if ((sex == "1" || sex == "2") && (sex == "1") != citizen_id_is_male(*id))
      report(record, found, "sex", "id_sex", false, "性别与身份证号第17位不一致，请核对。",
             "The sex differs from the parity of digit 17 of the citizen ID: check both.");
  }
  return fields_of(record, {"id_number", "birth_date", "sex"});
}

/// DOMAIN 3.3, C2 to C5. C6 and C7 need more than one record.
std::vector<FieldId> check_certificate(const CheckedRecord& record, Date today, Found& found) {
  const auto* number = record.text("cert_number");
  if (number && is_certificate_shape(*number)) {
    const auto holder = std::string_view(*number).substr(0, 18);
    // Whether prefix 99 is allowed is the ID's own question; here it is only about mistyping.
    if (check_citizen_id(holder, today, true) != IdFault::none)
      report(record, found, "cert_number", "certificate_id", !record.text("cert_override_reason"),
             "残疾人证号前18位不是有效的身份证号；如证面确实如此，请填写原因。",
             "The first 18 characters of the certificate are no valid citizen ID; if the paper says so, give the reason.");
    const auto* id = record.text("id_number");
    if (id && *id != holder)
      report(record, found, "cert_number", "certificate_other_id", false, "残疾人证号与身份证号不一致，将由镇残联核对。",
             "The certificate and the citizen ID differ: the township will check.");
    const auto category = record.code("disability_category"), level = record.code("disability_level");
    if ((!category.empty() && category != number->substr(18, 1)) || (!level.empty() && level != number->substr(19, 1)))
      report(record, found, "disability_category", "certificate_digits", false, "残疾类别或等级与证号第19、20位不一致，将由镇残联核对。",
             "Category or level differ from digits 19 and 20 of the certificate: the township will check.");
  }
  return fields_of(record, {"cert_number", "cert_override_reason", "id_number", "disability_category", "disability_level"});
}

/// Dates that cannot lie ahead, or before each other.
std::vector<FieldId> check_past_dates(const CheckedRecord& record, Date today, Found& found) {
  const bool credible = is_credible_today(today);
  const auto birth = record.date("birth_date");
  if (birth && (*birth < date_of({1900, 1, 1}) || (credible && *birth > today)))
    report(record, found, "birth_date", "birth_date_range", true, "出生日期应在1900年1月1日至今天之间。",
           "The date of birth lies between 1 January 1900 and today.");
  const auto* onset = record.value("onset_year");
  const auto* year = onset ? std::get_if<std::int64_t>(onset) : nullptr;
  if (year && credible && *year > civil_of(today).year)
    report(record, found, "onset_year", "onset_year_future", true, "致残年份不能晚于今年。", "The year of onset cannot lie ahead.");
  if (year && birth && *year < civil_of(*birth).year)
    report(record, found, "onset_year", "onset_before_birth", true, "致残年份早于出生年份，请核对。",
           "The year of onset lies before the birth: check.");
  const auto issued = record.date("cert_issue_date"), expires = record.date("cert_expiry_date");
  if (issued && expires && *expires <= *issued)
    report(record, found, "cert_expiry_date", "cert_expiry_order", true, "证件有效期应晚于核发日期。",
           "The certificate expires after it was issued.");
  const auto life_on = record.date("life_status_on");
  if (life_on && ((birth && *life_on < *birth) || (credible && life_on->days > today.days + 1)))
    report(record, found, "life_status_on", "life_status_range", true, "生存状态日期应在出生之后、今天之前。",
           "The date of the life status lies between the birth and today.");
  return fields_of(record, {"birth_date", "onset_year", "cert_issue_date", "cert_expiry_date", "life_status_on"});
}

/// K01: one entry per type and year.
std::vector<FieldId> check_insurance_once(const CheckedRecord& record, Date, Found& found) {
  const auto* field = record.kind().field("insurance");
  const auto* type = field ? field->subfield("type") : nullptr;
  const auto* year = field ? field->subfield("year") : nullptr;
  if (!type || !year) return {};
  std::vector<std::pair<std::string, std::int64_t>> seen;
  for (const auto& element : record.elements(*field)) {
    const auto* code = record.value({field->id, element, type->id});
    const auto* in = record.value({field->id, element, year->id});
    if (!code || !in || !std::holds_alternative<CodeText>(*code) || !std::holds_alternative<std::int64_t>(*in)) continue;
    seen.emplace_back(std::get<CodeText>(*code).text, std::get<std::int64_t>(*in));
  }
  std::sort(seen.begin(), seen.end());
  if (std::adjacent_find(seen.begin(), seen.end()) != seen.end())
    report(record, found, "insurance", "insurance_twice", true, "同一险种同一年度只能有一条。", "One entry per type and year.");
  return {field->id};
}

/// DOMAIN 2.0: not later than tomorrow; more than 30 days ago needs a reason.
std::vector<FieldId> check_observed_on(const CheckedRecord& record, Date today, Found& found) {
  const auto observed = record.date("observed_on");
  if (observed && is_credible_today(today)) {
    if (observed->days > today.days + 1)
      report(record, found, "observed_on", "observed_future", true, "发生日期不能晚于明天；请核对日期和手机时间。",
             "The date lies after tomorrow: check it, and the phone's clock.");
    if (observed->days < today.days - 30 && !record.text("late_reason")) {
      report(record, found, "late_reason", "late_reason", true, "30天以前发生的，请填写补录原因。",
             "More than 30 days ago: give the reason for the late entry.");
      found.back().when_signed = true;
    }
  }
  return fields_of(record, {"observed_on", "late_reason"});
}

/// K09: systolic above diastolic; both or neither.
std::vector<FieldId> check_blood_pressure(const CheckedRecord& record, Date, Found& found) {
  const auto* field = record.kind().field("pre_check");
  const auto* high = field ? field->subfield("bp_sys") : nullptr;
  const auto* low = field ? field->subfield("bp_dia") : nullptr;
  if (!high || !low) return {};
  const auto* sys = record.value({field->id, "", high->id});
  const auto* dia = record.value({field->id, "", low->id});
  const auto* a = sys ? std::get_if<std::int64_t>(sys) : nullptr;
  const auto* b = dia ? std::get_if<std::int64_t>(dia) : nullptr;
  if ((a == nullptr) != (b == nullptr) || (a && *a <= *b)) {
    report(record, found, "pre_check", "blood_pressure", true, "收缩压和舒张压应同时填写，且收缩压较高。",
           "Blood pressure has two values, and the systolic one is higher.");
    found.back().when_signed = true;
  }
  return {field->id};
}

struct NamedCheck {
  std::string_view name;
  std::vector<FieldId> (*run)(const CheckedRecord&, Date, Found&);
};
constexpr std::array<NamedCheck, 6> named_checks = {{{"citizen_id", check_citizen},
                                                     {"certificate", check_certificate},
                                                     {"past_dates", check_past_dates},
                                                     {"insurance_once", check_insurance_once},
                                                     {"observed_on", check_observed_on},
                                                     {"blood_pressure", check_blood_pressure}}};

}  // namespace

bool is_known_check(std::string_view name) {
  return std::any_of(named_checks.begin(), named_checks.end(), [&](const NamedCheck& check) { return check.name == name; });
}

std::vector<FieldId> run_check(std::string_view name, const CheckedRecord& record, Date today, std::vector<CheckProblem>& found) {
  for (const auto& check : named_checks)
    if (check.name == name) return check.run(record, today, found);
  return {};
}

}  // namespace doorstep
