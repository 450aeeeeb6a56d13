#include "sdk/records/csv.hpp"

#include "tests/sdk/records_fixture.hpp"

namespace doorstep {
namespace {

using test::builtin_kind;

struct Parsed {
  std::vector<CsvRow> rows;
  Status end;
};

/// Fed in chunks of every size up to `chunk`.
Parsed parse(std::string_view csv, std::size_t chunk = 1'000'000) {
  Parsed out;
  CsvParser parser([&](std::size_t, const CsvRow& cells) -> Status {
    out.rows.push_back(cells);
    return {};
  });
  for (std::size_t at = 0; at < csv.size(); at += chunk) {
    out.end = parser.feed(csv.substr(at, chunk));
    if (!out.end.ok()) return out;
  }
  out.end = parser.finish();
  return out;
}

TEST(Csv, Rfc4180) {
  const std::string_view csv =
      "\xEF\xBB\xBF"
      "姓名,备注\r\n陈,\"一,二\"\n\"a \"\"b\"\"\",\"x\r\ny\"\r\n,\r\n\"\",最后";
  const std::vector<CsvRow> rows = {{"姓名", "备注"}, {"陈", "一,二"}, {"a \"b\"", "x\r\ny"}, {"", ""}, {"", "最后"}};
  for (std::size_t chunk = 1; chunk <= csv.size(); ++chunk) {
    const auto parsed = parse(csv, chunk);
    ASSERT_TRUE(parsed.end.ok()) << parsed.end.error().message();
    EXPECT_EQ(parsed.rows, rows) << "in chunks of " << chunk;
  }
  EXPECT_EQ(parse("a,b\n").rows, (std::vector<CsvRow>{{"a", "b"}}));
  EXPECT_EQ(parse("a\n\nb\n\n").rows, (std::vector<CsvRow>{{"a"}, {"b"}})) << "blank lines are no rows";
  EXPECT_TRUE(parse("").rows.empty());
  EXPECT_EQ(parse("\xEF\xBB").end.code(), Code::invalid_argument) << "half a mark is no text";
}

TEST(Csv, NamesRowAndColumn) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a,b\nc,\"d", "row 2, column 2: the file ends inside quotes"},
      {"a,b\nc,d\"e", "row 2, column 2: a quote inside"},
      {"a\n\"b\"c", "row 2, column 1: text after a closing quote"},
      {"a\rb", "row 1, column 1: a carriage return"},
      {"a,\xff\n", "row 1, column 2: not UTF-8"},
      {std::string("a\0b", 3), "row 1, column 1: a NUL"},
  };
  for (const auto& [csv, part] : cases) {
    const auto parsed = parse(csv);
    ASSERT_FALSE(parsed.end.ok()) << csv;
    EXPECT_NE(parsed.end.error().message().find(part), std::string::npos) << parsed.end.error().message();
  }
}

TEST(Csv, IsBounded) {
  EXPECT_EQ(parse("\"" + std::string(70'000, 'x')).end.code(), Code::too_large);
  EXPECT_EQ(parse(std::string(600, ',')).end.code(), Code::too_large);
  std::string wide;
  for (int i = 0; i < 20; ++i) wide.append(60'000, 'x') += ',';
  EXPECT_EQ(parse(wide).end.code(), Code::too_large);
}

TEST(Csv, FailsForGoodAndStopsWhenTheCallerDoes) {
  int rows = 0;
  CsvParser parser([&](std::size_t row, const CsvRow&) -> Status {
    ++rows;
    if (row == 2) return Error(Code::cancelled, "enough");
    return {};
  });
  EXPECT_EQ(parser.feed("a\nb\nc\n").code(), Code::cancelled);
  EXPECT_EQ(parser.feed("d\n").code(), Code::cancelled);
  EXPECT_EQ(parser.finish().code(), Code::cancelled);
  EXPECT_EQ(rows, 2);
}

Result<std::vector<std::string>> records(std::string_view csv) {
  std::vector<std::string> out;
  DOORSTEP_TRY(read_csv_records(builtin_kind("person"), csv, [&](std::size_t, const std::string& json) -> Status {
    out.push_back(json);
    return {};
  }));
  return out;
}

TEST(CsvRecords, HeadersInBothLanguagesAndLabelsForCodes) {
  const auto read = records(
      "姓名,sex,出生日期,联系电话,沟通方式需求,bedridden,family_doctor.signed,备注\r\n"
      "陈桂兰,女,1965/11/7,１３９00001111；138 0000 2222,方言语音;大字,否,是,\"说话慢,请耐心\"\r\n");
  ASSERT_TRUE(read.ok()) << read.error().message();
  ASSERT_EQ(read->size(), 1u);
  EXPECT_EQ(
      read->front(),
      R"({"name": "陈桂兰", "sex": "2", "birth_date": "1965-11-07", "phones": [{"number": "13900001111"}, {"number": "13800002222"}], )"
      R"("comm_needs": ["2", "5"], "bedridden": false, "family_doctor": {"signed": true}, "note": ["说话慢,请耐心"]})");
  test::CountingRandom random;
  EXPECT_TRUE(assignments_from_json(builtin_kind("person"), read->front(), random).ok());
}

TEST(CsvRecords, ColumnsOfOneSetAreReadSideBySide) {
  const auto read =
      records("监护人.姓名,监护人.关系,guardian.phone,subsidies,subsidies.status\n陈建国;陈志强,1;子女,;13900002222,living;nursing,1;2\n");
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read->front(),
            R"({"guardian": [{"name": "陈建国", "relation": "1"}, {"name": "陈志强", "relation": "6", "phone": "13900002222"}], )"
            R"("subsidies": [{"code": "living", "status": "1"}, {"code": "nursing", "status": "2"}]})");
}

TEST(CsvRecords, SaysWhereAndWhatButNotTheCell) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "the file is empty"},
      {"姓名,工资\n", "row 1, column 2: kind person has no such field"},
      {"姓名,name\n", "row 1, column 2: this column stands twice"},
      {"phones.colour\n", "row 1, column 1: field phones has no such subfield"},
      {"姓名,性别\n陈桂兰,雌\n", "row 2, column 2: 性别: sex: is neither a code nor a label of CL-05"},
      {"姓名,性别\n陈桂兰\n", "row 2, column 1: 1 cells under 2 columns"},
      {"出生日期\n1965-02-30\n", "row 2, column 1: 出生日期: birth_date: is not a day"},
  };
  for (const auto& [csv, part] : cases) {
    const auto read = records(csv);
    ASSERT_FALSE(read.ok()) << csv;
    EXPECT_NE(read.error().message().find(part), std::string::npos) << read.error().message();
    EXPECT_EQ(read.error().message().find("陈桂兰"), std::string::npos);
  }
}

TEST(Csv, CellsAreQuotedWhenTheyMustBe) {
  for (const std::string text : {"", "a", "a,b", "a\"b", "x\r\ny", " 陈 "})
    EXPECT_EQ(parse("_," + csv_cell(text) + "\n").rows.front(), (CsvRow{"_", text}));
}

}  // namespace
}  // namespace doorstep
