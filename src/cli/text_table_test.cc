#include "cli/text_table.h"

#include <gtest/gtest.h>

namespace culvert::cli {
namespace {

TEST(TextTable, AlignsCharactersAndEscapesControls) {
  EXPECT_EQ(
      format_table({{"A", "B"}, {"\xc3\xa9\xc3\xa9", "x"}, {"\x1b[m", "\xe2\x80\xae"}, {"\xc0\x9b", ""}}),
      "A         B\n"
      "\xc3\xa9\xc3\xa9        x\n"
      "\\x1b[m    \\u202e\n"
      "\\xc0\\x9b  \n");
}

TEST(TextTable, CutsTheWidestColumn) {
  const std::vector<Row> rows = {{"ID", "NAMES"}, {"abc", "a.example.com"}, {"d", "b.com"}};
  EXPECT_EQ(format_table(rows), format_table(rows, 18));
  EXPECT_EQ(format_table(rows, 12), "ID   NAMES\nabc  a.exam…\nd    b.com\n");
  // Narrower than anything that can be read: no column is cut to less than four.
  EXPECT_EQ(format_table(rows, 1), "ID   NAM…\nabc  a.e…\nd    b.c…\n");
  EXPECT_EQ(format_table({}, 1), "");
}

TEST(TextTable, ColoursChangeNoWidth) {
  EXPECT_EQ(format_table({{Cell("ab", Colour::kGreen), "x"}, {Cell("c", Colour::kRed), "y"}}),
            "\x1b[32mab\x1b[m  x\n\x1b[31mc\x1b[m   y\n");
}

}  // namespace
}  // namespace culvert::cli
