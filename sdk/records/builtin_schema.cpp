#include "sdk/records/builtin_schema.hpp"

#include "sdk/records/schema.hpp"

// The built-in document changes only upwards: a test compares it with the last released one. Raise `version` with every
// change of a field, code or rule.
namespace doorstep {

namespace builtin {

// What every fact carries (DOMAIN 2.0). Not here, because they stand elsewhere: record id, kind, author, device, times and
// the clock's confidence are in the operation and its transaction; schema version in the roster; `sensitivity` is derived
// from the field and only what somebody raised by hand is stored. The numbers up to 31 take one byte, so what every visit
// carries comes first and what is rare comes from 32 on.
const std::string_view fact_envelope_fields = R"json(
{"number": 1, "name": "person_id", "label": ["人员编号", "person"], "type": "record", "policy": "once", "required": true,
  "index": true},
{"number": 2, "name": "observed_on", "label": ["发生日期", "observed on"], "type": "date", "policy": "once", "required": true,
  "index": true},
{"number": 3, "name": "org_code", "label": ["所属村（社区）区划代码", "village code"], "type": "text", "policy": "once",
  "pattern": "org_code", "length": [12, 12], "required": true},
{"number": 4, "name": "status", "label": ["状态", "status"], "type": "code", "codes": "status", "policy": "furthest",
  "required": true, "index": true, "order": ["draft", "signed", ["corrected", "voided"]]},
{"number": 5, "name": "entry_mode", "label": ["填报方式", "entry mode"], "type": "code", "codes": "entry-mode", "policy": "once",
  "required": true},
{"number": 6, "name": "consent_ref", "label": ["同意依据", "legal basis"], "type": "code", "codes": "legal-basis", "policy": "once",
  "required": true},
{"number": 7, "name": "note", "label": ["备注", "notes"], "type": "text", "set": true, "policy": "set", "length": [1, 500],
  "search": true},
{"number": 32, "name": "on_behalf_of", "label": ["代录对象", "entered on behalf of"], "type": "text", "policy": "once",
  "length": [2, 40], "required_when": {"field": "entry_mode", "in": ["4"]}},
{"number": 33, "name": "corrects", "label": ["更正自", "corrects"], "type": "record", "policy": "once", "index": true},
{"number": 34, "name": "late_reason", "label": ["补录原因", "reason for late entry"], "type": "text", "policy": "once",
  "length": [2, 200]},
{"number": 35, "name": "sensitivity", "label": ["敏感级别（人工提高）", "sensitivity, raised by hand"], "type": "code",
  "codes": "CL-33", "policy": "cautious", "order": ["P1", "P2", "S1", "S2", "S3"]},
{"number": 36, "name": "attachments", "label": ["附件", "attachments"], "type": "record", "set": true, "policy": "set"},
{"number": 37, "name": "geo", "label": ["定位（粗略网格）", "coarse place"], "type": "text", "policy": "once", "length": [1, 16]},
{"number": 38, "name": "duplicate_of", "label": ["同一次服务", "same as"], "type": "record", "policy": "owner"})json";

const std::string_view fact_envelope_rules = R"json(
{"id": "corrects_needs_reason", "field": "corrects", "severity": "warning", "when": {"field": "corrects", "present": true},
  "require": {"field": "note", "present": true}, "sentence": ["更正记录请在备注中写明原因。",
  "Give the reason for the correction in a note."]})json";

}  // namespace builtin

std::string builtin_document() {
  std::string out;
  out.reserve(64u << 10);
  out += R"({"doorstep_schema": 1, "id": "builtin", "version": 1, "code_lists": [)";
  out += builtin::code_lists;
  out += "], \"kinds\": [";
  out += builtin::person;
  // Facts share an envelope: a kind's text has a place for its fields and one for its rules.
  for (const auto text : {builtin::home_visit, builtin::rehab_session}) {
    std::string kind(text);
    kind.replace(kind.find("@envelope_fields@"), 17, builtin::fact_envelope_fields);
    kind.replace(kind.find("@envelope_rules@"), 16, builtin::fact_envelope_rules);
    out += "," + kind;
  }
  return out + "]}";
}

}  // namespace doorstep
