#include "sdk/records/text.hpp"

#include <gtest/gtest.h>

namespace doorstep {
namespace {

TEST(Text, ComposesToNfcAndLeavesRareCharactersAlone) {
  EXPECT_EQ(nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(nfc("陈桂兰，上湾组"), "陈桂兰，上湾组");
  for (const std::string rare : {"䶮", "\U00020000", "\U0002A6D6", "买买提·买买提"}) {
    EXPECT_EQ(nfc(rare), rare);
    EXPECT_TRUE(is_nfc(rare)) << rare;
  }
  EXPECT_FALSE(is_nfc("e\u0301"));
  // A compatibility ideograph has a canonical form: two spellings of one name must not be two names.
  EXPECT_EQ(nfc("\uF900"), "\u8C48");
}

TEST(Text, RefusesWhatIsNotText) {
  EXPECT_EQ(nfc(std::string_view("a\0b", 3)), std::nullopt);
  for (const std::string bad : {"\xff", "\xe4\xb8", "\xc0\x80", "\xed\xa0\x80", "陈\xe4"}) {
    EXPECT_EQ(nfc(bad), std::nullopt);
    EXPECT_FALSE(is_nfc(bad));
    EXPECT_FALSE(is_utf8(bad));
  }
}

TEST(Text, CountsCodePoints) {
  EXPECT_EQ(code_points(""), 0u);
  EXPECT_EQ(code_points("陈桂兰"), 3u);
  EXPECT_EQ(code_points("a\U00020000b"), 3u);
}

TEST(Text, MakesFullWidthHalf) {
  EXPECT_EQ(half_width("１３９ＡＢｘ　－"), "139ABx -");
  EXPECT_EQ(half_width("陈·，"), "陈·,");
  EXPECT_EQ(compact_number("９９０１０１ １９８００１０１-００１ｘ"), "99010119800101001X");
  EXPECT_EQ(trimmed("　 陈 桂 \t\n"), "陈 桂");
}

TEST(Text, Telephones) {
  EXPECT_EQ(compact_phone("１３９ 0000-1111"), "13900001111");
  EXPECT_EQ(compact_phone("+86 139 0000 1111"), "13900001111");
  EXPECT_EQ(compact_phone("0838-1234567-801"), "08381234567-801");
  EXPECT_EQ(compact_phone("0838 1234567 转 801"), "08381234567-801");
  EXPECT_EQ(compact_phone("(010)12345678"), "01012345678");
  for (const char* good : {"13900001111", "19900000000", "08381234567", "01012345678", "075512345678", "08381234567-801", "12385", "12345",
                           "110", "119", "120"})
    EXPECT_TRUE(is_phone(good)) << good;
  for (const char* bad :
       {"", "12900001111", "1390000111", "139000011111", "911", "0038123456", "13900001111-8", "abc", "13９00001111", "-801"})
    EXPECT_FALSE(is_phone(bad)) << bad;
  EXPECT_EQ(grouped_phone("13900001111"), "139 0000 1111");
  EXPECT_EQ(grouped_phone("08381234567"), "0838-1234567");
  EXPECT_EQ(grouped_phone("02012345678"), "020-12345678");
  EXPECT_EQ(grouped_phone("120"), "120");
}

TEST(Text, PersonNames) {
  for (const char* good : {"陈桂兰", "买买提·买买提", "欧阳䶮", "\U00020000小", "Anna Maria", "O'Neil", "〇一"})
    EXPECT_TRUE(is_person_name(good)) << good;
  for (const char* bad : {"", "陈2", "陈桂兰！", "·陈", "陈·", "陈··兰", " 陈", "123", "陈\n兰"}) EXPECT_FALSE(is_person_name(bad)) << bad;
}

}  // namespace
}  // namespace doorstep
