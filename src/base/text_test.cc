#include "base/text.h"

#include <gtest/gtest.h>

#include "base/log.h"

namespace culvert {
namespace {

using namespace std::string_view_literals;

struct Case {
  std::string_view text;
  std::string_view shown;
};

const Case kCases[] = {
    {"", ""},
    {"plain text, back\\slash and \"quotes\"", "plain text, back\\slash and \"quotes\""},
    {"caf\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x90\xb3",
     "caf\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x90\xb3"},
    {"\0\x1b[31m\x7f\r\n"sv, "\\x00\\x1b[31m\\x7f\\x0d\\x0a"},
    // C1: U+009B is what ESC [ is, in one character.
    {"\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", "\\u0080\\u009b\\u009f\xc2\xa0"},
    {"\x9b", "\\x9b"},
    // Bidirectional controls and separators.
    {"\xd8\x9c\xe2\x80\x8e\xe2\x80\x8f", "\\u061c\\u200e\\u200f"},
    {"\xe2\x80\xaa\xe2\x80\xab\xe2\x80\xac\xe2\x80\xad\xe2\x80\xae", "\\u202a\\u202b\\u202c\\u202d\\u202e"},
    {"\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa8\xe2\x81\xa9", "\\u2066\\u2067\\u2068\\u2069"},
    {"\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029"},
    // Overlong forms: of ESC, of U+009B and of U+202E.
    {"\xc0\x9b", "\\xc0\\x9b"},
    {"\xc1\xbf", "\\xc1\\xbf"},
    {"\xe0\x82\x9b", "\\xe0\\x82\\x9b"},
    {"\xf0\x82\x80\xae", "\\xf0\\x82\\x80\\xae"},
    // Surrogates, beyond U+10FFFF, never a lead byte, cut off.
    {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
    {"\xf5\xff\xfe", "\\xf5\\xff\\xfe"},
    {"a\xe2\x80", "a\\xe2\\x80"},
    // A control character hidden behind a lead byte that wants more.
    {"\xe2\x1b[m", "\\xe2\\x1b[m"},
    {"\xe2\x80\n", "\\xe2\\x80\\x0a"},
};

TEST(Printable, EscapesWhatChangesHowTextIsShown) {
  for (const Case& c : kCases) {
    EXPECT_EQ(printable(c.text), c.shown);
    EXPECT_EQ(printable(c.shown), c.shown);
    EXPECT_EQ(is_printable(c.text), c.text == c.shown) << c.shown;
  }
}

TEST(Printable, OfJsonKeepsItsMeaning) {
  EXPECT_EQ(printable_json("{\n \"a\": \"\xe2\x80\xae\xc2\x9b\x7f\xc3\xa9\\n\"}"),
            "{\n \"a\": \"\\u202e\\u009b\\u007f\xc3\xa9\\n\"}");
  EXPECT_EQ(printable_json("\x1b[31m\xc0\x9b"), "\\u001b[31m\\ufffd\\ufffd");
}

TEST(Quoted, EscapesWhatChangesHowTextIsShown) {
  EXPECT_EQ(quoted("a\xe2\x80\xae"
                   "b\xc2\x9b"
                   "c\x9b"
                   "d\xc0\x9b"),
            R"("a\u202eb\u009bc\x9bd\xc0\x9b")");
  EXPECT_EQ(quoted("caf\xc3\xa9"), "\"caf\xc3\xa9\"");
}

TEST(CutToWidth, KeepsCharactersAndCountsColumns) {
  EXPECT_EQ(cut_to_width("abc", 3), "abc");
  EXPECT_EQ(cut_to_width("abcd", 3), "ab\xe2\x80\xa6");
  EXPECT_EQ(cut_to_width("\xe6\x97\xa5\xe6\x9c\xac", 3), "\xe6\x97\xa5\xe2\x80\xa6");  // two columns each
  EXPECT_EQ(cut_to_width("\xe6\x97\xa5\xe6\x9c\xac", 2), "\xe2\x80\xa6");
  EXPECT_EQ(cut_to_width("e\xcc\x81xy", 2), "e\xcc\x81\xe2\x80\xa6");  // a combining accent
  EXPECT_EQ(cut_to_width("ab", 0), "");
}

TEST(Quoted, IsNotCutInsideACharacter) {
  const std::string before(199, 'x');
  EXPECT_EQ(quoted(before + "\xc3\xa9"), '"' + before + "...\"");
}

}  // namespace
}  // namespace culvert
