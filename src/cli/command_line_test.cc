#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const CommandInfo kCommand{
    .name = "carry",
    .summary = "",
    .examples = "",
    .positional =
        Positional{
            .name = "WHAT", .help = "", .accepts_dash = [](std::string_view word) { return word == "-7"; }},
    .switches = {{.flag = "json", .help = ""}}};

Result<Arguments> parse(std::vector<std::string> words) {
  return parse_arguments(kCommand, {{"name"}, {"level", 'l'}, {"token"}, {"alone", 0, true}}, words);
}
std::string error(std::vector<std::string> words) {
  auto parsed = parse(std::move(words));
  EXPECT_FALSE(parsed) << "this should have been refused";
  return parsed ? "" : parsed.error().message;
}

TEST(CommandLine, TakesFlagsSwitchesAndTheWordInAnyOrder) {
  auto given = parse({"--name", "a", "word", "--name=b=c", "--json", "--level", "-1", "--name="});
  ASSERT_TRUE(given) << given.error().message;
  EXPECT_THAT(given->values["name"], ElementsAre("a", "b=c", ""));
  EXPECT_THAT(given->values["level"], ElementsAre("-1"));
  EXPECT_TRUE(given->has_switch("json"));
  EXPECT_EQ(given->positional, "word");
  EXPECT_FALSE(parse({"word"})->has_switch("json"));
}

TEST(CommandLine, AFlagMayHaveALetter) {
  EXPECT_THAT(parse({"-l", "a", "word"})->values["level"], ElementsAre("a"));
  EXPECT_THAT(parse({"-l=a", "word"})->values["level"], ElementsAre("a"));
  EXPECT_THAT(error({"word", "-l"}), HasSubstr("--level: needs a value."));
  EXPECT_THAT(error({"word", "-la"}), HasSubstr("unknown flag \"-la\""));
}

TEST(CommandLine, AnAnswerWithoutAValueIsAYes) {
  struct Case {
    std::vector<std::string> words;
    std::vector<std::string> answers;
    std::string word;
  };
  for (const auto& [words, answers, word] : std::initializer_list<Case>{
           {{"word", "--alone"}, {"yes"}, "word"},
           {{"--alone", "word"}, {"yes"}, "word"},
           {{"--alone", "no", "word"}, {"no"}, "word"},
           {{"--alone=false", "word"}, {"false"}, "word"},
           {{"word", "--alone", "maybe"}, {"maybe"}, "word"},
           {{"word", "--alone", "--json"}, {"yes"}, "word"},
           {{"word", "--alone", "-l", "a"}, {"yes"}, "word"},
           {{"--alone", "-7"}, {"yes"}, "-7"},
           {{"--alone", "--", "word"}, {"yes"}, "word"},
           {{"--alone", "--alone", "0", "word"}, {"yes", "0"}, "word"},
       }) {
    auto given = parse(words);
    ASSERT_TRUE(given) << given.error().message;
    EXPECT_EQ(given->values["alone"], answers) << testing::PrintToString(words);
    EXPECT_EQ(given->positional, word) << testing::PrintToString(words);
  }
}

TEST(CommandLine, TheWordMayBeginWithADash) {
  EXPECT_EQ(parse({"-7"})->positional, "-7");
  EXPECT_EQ(parse({"--", "--name"})->positional, "--name");
  EXPECT_EQ(parse({"--", "--"})->positional, "--");
  EXPECT_EQ(parse({"-"})->positional, "-");
}

TEST(CommandLine, HelpNeedsNothingElse) {
  EXPECT_TRUE(parse({"--help"})->wants_help);
  EXPECT_TRUE(parse({"--name", "x", "-h", "--nonsense"})->wants_help);
  EXPECT_FALSE(parse({"--", "--help"})->wants_help);
}

TEST(CommandLine, ErrorsNameTheWordAndTheHelp) {
  struct Case {
    std::vector<std::string> words;
    const char* expected;
  };
  for (const Case& c : std::initializer_list<Case>{
           {{}, "WHAT: is missing. See `culvert carry --help`"},
           {{"--name"}, "--name: needs a value."},
           {{"--name", "--json", "word"}, "--name: needs a value."},
           {{"--json=1"}, "--json: takes no value."},
           {{"--help=1"}, "--help: takes no value."},
           {{"a", "b"}, "unexpected argument \"b\"."},
           {{"--nmae", "x"},
            "unknown flag \"--nmae\" for culvert carry; did you mean --name? See `culvert carry --help`"},
           {{"--nonsense"}, "unknown flag \"--nonsense\" for culvert carry. See"},
           {{"-n"}, "unknown flag \"-n\" for culvert carry"},
           {{"---"}, "unknown flag"},
       }) {
    EXPECT_THAT(error(c.words), HasSubstr(c.expected));
  }
}

TEST(CommandLine, ErrorsDoNotRepeatWhatMayBeASecret) {
  const std::string secret(60, 's');
  for (const std::vector<std::string>& words : std::initializer_list<std::vector<std::string>>{
           {"--tokn=" + secret},
           {"--tokn", secret},
           {"--json=" + secret},
           {"a", secret},
           {"cvt_inv_1.ssss"},
           {"cvt_edge_1.ssss"},
           {std::string(43, 's')},
           {"a", "cvt_inv_1.ssss"},
           {"--cvt_inv_1.ssss"},
           {"-t" + secret},
       }) {
    EXPECT_THAT(error(words), Not(HasSubstr("sss")));
  }
}

}  // namespace
}  // namespace culvert::cli
