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

}  // namespace
}  // namespace culvert::cli
