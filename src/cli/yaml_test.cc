#include "cli/yaml.h"

#include <gtest/gtest.h>

namespace culvert::cli {
namespace {

// What a reader could take for another type, or for structure, is quoted; words are not.
TEST(Yaml, QuotesWhatIsNotAWord) {
  for (const char* text : {"", "true", "NO", "null", "~", "12", "0x1f", "1e5", "-a", "a b", "a: b", "#a",
                           "*.a.com", "[a]", "- a", ".inf", "2026-01-01"}) {
    EXPECT_EQ(*json_to_yaml("x", fmt::format("[\"{}\"]", text)), fmt::format("- \"{}\"\n", text));
  }
  for (const char* text : {"live", "app.example.com", "Nobody", "a-b_c"})
    EXPECT_EQ(*json_to_yaml("x", fmt::format("[\"{}\"]", text)), fmt::format("- {}\n", text));
}

TEST(Yaml, KeepsTypesAndEscapesControls) {
  EXPECT_EQ(*json_to_yaml("x", R"({"a":-1,"b":18446744073709551615,"c":false,"d":null,"e":{},"no":[[]]})"),
            "a: -1\nb: 18446744073709551615\nc: false\nd: ~\ne: {}\n\"no\":\n  - []\n");
  EXPECT_EQ(*json_to_yaml("x", R"(["\u001b\n\"\\", "\u202e", "é"])"),
            "- \"\\x1b\\n\\\"\\\\\"\n- \"\\u202e\"\n- \"é\"\n");
  EXPECT_FALSE(json_to_yaml("x", "{"));
}

}  // namespace
}  // namespace culvert::cli
