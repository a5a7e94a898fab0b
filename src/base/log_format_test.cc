#include "base/log_format.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/json.h"

namespace culvert {
namespace {

template <class... Args>
std::string json(fmt::format_string<Args...> pattern, Args&&... args) {
  const fmt::string_view text = pattern;
  return "{" + json_of_event("e", {{text.data(), text.size()}, fmt::make_format_args(args...)}) + "}";
}

TEST(LogJson, HasTheFieldsOfThePattern) {
  EXPECT_EQ(json(""), R"({"msg":"e"})");
  EXPECT_EQ(json("a={} b=fixed c=\"two words\"", "x"), R"({"msg":"e","a":"x","b":"fixed","c":"two words"})");
  EXPECT_EQ(json("hint=\"point {} at {}\" to={}", "it", "there", "z"),
            R"({"msg":"e","hint":"point it at there","to":"z"})");
  EXPECT_EQ(json("urls={}", fmt::join(std::vector<std::string>{"a", "b"}, ",")),
            R"({"msg":"e","urls":"a,b"})");
  EXPECT_EQ(json("no name here {}", 1), R"({"msg":"e","text":"no name here 1"})");
  EXPECT_EQ(json("a={{}} b={}", 1), R"({"msg":"e","a":"{}","b":1})");
}

// The type of a member is the same in every line.
TEST(LogJson, NumbersAreThoseThatArePrintedInDecimal) {
  EXPECT_EQ(json("a={} b={} c={}", 7u, -1, UINT64_MAX),
            R"({"msg":"e","a":7,"b":-1,"c":18446744073709551615})");
  EXPECT_EQ(json("at={:.3f} is={}", 1.5, true), R"({"msg":"e","at":1.500,"is":true})");
  EXPECT_EQ(json("id={:x}", 0x123), R"({"msg":"e","id":"123"})");
  EXPECT_EQ(json("n={} c={}", "12", 'x'), R"({"msg":"e","n":"12","c":"x"})");
  EXPECT_EQ(json("f={} g={}", HUGE_VAL, std::nan("")), R"({"msg":"e","f":"inf","g":"nan"})");
  EXPECT_EQ(json("took={}ms", 5), R"({"msg":"e","took":"5ms"})");
}

TEST(LogJson, AQuotedTextIsTheTextItself) {
  for (const std::string text : {"plain", "", "a\"b\\c", "a\nlevel=error\r\t\x7f", "\\x0a and \\u202e", "\\",
                                 "\"", "\xe2\x80\xae right to left", "\xc2\x85 next line", "\xf0\x9f\x98\x80",
                                 "x msg=forged\" level=\"error"}) {
    const auto parsed = parse_json_object("line", json("t={} n={}", quoted(text), 1));
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(std::string(parsed->at("t").as_string()), text);
    EXPECT_EQ(parsed->at("n"), 1);
    EXPECT_EQ(parsed->size(), 3u);
  }
}

TEST(LogJson, EveryByteGivesValidPrintableJson) {
  for (int first = 0; first < 256; ++first) {
    for (const char second : std::string_view("\0\n\"\\ux ={\x80\xae\xbf\xff", 13)) {
      const std::string text = {static_cast<char>(first), second, '"', ' ', 'm', 's', 'g', '='};
      for (const std::string& value : {quoted(text), text, '"' + text, '"' + text + '"'}) {
        const std::string line = json("t={} n={}", value, 1);
        EXPECT_TRUE(is_printable(line)) << line;
        const auto parsed = parse_json_object("line", line);
        ASSERT_TRUE(parsed) << line << parsed.error().message;
        EXPECT_EQ(parsed->size(), 3u) << line;
        EXPECT_EQ(parsed->at("n"), 1) << line;
      }
    }
  }
  EXPECT_EQ(json("t={}", quoted("a\x9b\xff")), R"({"msg":"e","t":"a\ufffd\ufffd"})");
  EXPECT_EQ(json("t={}", quoted("\xe2\x80\xae\x1b")), R"({"msg":"e","t":"\u202e\u001b"})");
  EXPECT_EQ(json("t={}", quoted(std::string(201, 'x'))),
            R"({"msg":"e","t":")" + std::string(200, 'x') + "...\"}");
}

TEST(LogJson, AMessageIsOneString) { EXPECT_EQ(json_of_message("a \"b\"\n"), R"("msg":"a \"b\"\n")"); }

}  // namespace
}  // namespace culvert
