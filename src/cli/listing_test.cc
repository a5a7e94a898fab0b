#include "cli/listing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "cli/operator_command.h"

namespace culvert::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

const ListingInfo kThings{.member = "things",
                          .columns = {{"NAME", "name"},
                                      {"STATUS", "status", Show::kStatus},
                                      {"SEEN", "seen_at", Show::kTime, "never"},
                                      {"WHERE", "places", Show::kList},
                                      {"MAIN", "is_main", Show::kYesNo},
                                      {"COUNT", "count"}}};

const std::string kFirst =
    R"({"things":[{"name":"a","status":"live","seen_at":1700000000,"places":["x","y"],"is_main":true,"count":7}],)"
    R"("next":"a"})";
const std::string kSecond =
    R"({"things":[{"name":"b","status":"revoked","seen_at":null,"extra":{"k":[1,"2"]}}]})";

Result<std::string> fetch_all(const OutputOptions& options) {
  const std::map<std::string, std::string> pages = {{"/v1/things", kFirst}, {"/v1/things?after=a", kSecond}};
  return fetch_listing(kThings, "/v1/things", options,
                       [&pages](const std::string& path) -> Result<std::string> {
                         auto page = pages.find(path);
                         if (page == pages.end()) return fail(ErrorCode::kNotFound, "no page {}", path);
                         return page->second;
                       });
}

Result<std::string> fetch_one(const std::string& page, const OutputOptions& options = {}) {
  return fetch_listing(kThings, "/v1/things", options, [&page](const std::string&) { return page; });
}

TEST(Listing, ShowsAllPagesAsOneTable) {
  auto text = fetch_all({});
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text,
            "NAME  STATUS   SEEN                  WHERE  MAIN  COUNT\n"
            "a     live     2023-11-14 22:13 UTC  x,y    yes   7\n"
            "b     revoked  never                 -      -     -\n");
}

TEST(Listing, IsOneDocumentWithAllMembers) {
  EXPECT_EQ(
      *fetch_all({.format = OutputFormat::kJson}),
      R"({"things":[{"name":"a","status":"live","seen_at":1700000000,"places":["x","y"],"is_main":true,)"
      R"("count":7},{"name":"b","status":"revoked","seen_at":null,"extra":{"k":[1,"2"]}}]})"
      "\n");
  EXPECT_EQ(*fetch_all({.format = OutputFormat::kYaml}), R"(things:
  - name: a
    status: live
    seen_at: 1700000000
    places:
      - x
      - "y"
    is_main: true
    count: 7
  - name: b
    status: revoked
    seen_at: ~
    extra:
      k:
        - 1
        - "2"
)");
  EXPECT_EQ(*fetch_one(R"({"things":[]})", {.format = OutputFormat::kYaml}), "things: []\n");
}

TEST(Listing, FitsATerminalAndColoursAStatus) {
  auto text = fetch_all({.width = 45, .has_colours = true});
  ASSERT_TRUE(text);
  EXPECT_EQ(*text,
            "NAME  STATUS   SEEN        WHERE  MAIN  COUNT\n"
            "a     \x1b[32mlive\x1b[m     2023-11-1…  x,y    yes   7\n"
            "b     \x1b[31mrevoked\x1b[m  never       -      -     -\n");
}

// A hub may be of another version than this program, or not honest.
TEST(Listing, ShowsNoControlCharactersOfOthers) {
  const std::string page =
      "{\"things\":[{\"name\":\"\\u001b[2J\",\"status\":\"a\xe2\x80\xae\",\"seen_at\":\"x\",\"places\":"
      "[\"\\u009b\"],\"\\u001b\":\"\x7f\"}]}";
  auto table = fetch_one(page);
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_THAT(*table, HasSubstr("\\x1b[2J  a\\u202e  never  \\u009b"));
  for (OutputFormat format : {OutputFormat::kTable, OutputFormat::kJson, OutputFormat::kYaml}) {
    auto text = fetch_one(page, {.format = format});
    ASSERT_TRUE(text);
    for (const char* bad : {"\x1b", "\xe2\x80\xae", "\xc2\x9b", "\x7f"})
      EXPECT_THAT(*text, Not(HasSubstr(bad)));
  }
}

TEST(Listing, RefusesWhatIsNoList) {
  for (const char* page : {"", "[]", "{}", R"({"things":7})"}) {
    auto text = fetch_one(page);
    ASSERT_FALSE(text) << page;
    EXPECT_THAT(text.error().message, HasSubstr("Is it a Culvert hub of this version?"));
  }
  auto endless = fetch_one(R"({"things":[],"next":"x"})");
  ASSERT_FALSE(endless);
  EXPECT_EQ(endless.error().code, ErrorCode::kLimit);
}

TEST(Listing, TakesTheFormatFromFlagOrSwitch) {
  struct Case {
    std::vector<std::string> words;
    OutputFormat expected;
  };
  for (const Case& c : std::initializer_list<Case>{{{}, OutputFormat::kTable},
                                                   {{"-o", "yaml"}, OutputFormat::kYaml},
                                                   {{"--output=json"}, OutputFormat::kJson},
                                                   {{"--json"}, OutputFormat::kJson}}) {
    OutputOptions options;
    Settings settings("x");
    SettingsBuilder builder = settings.builder();
    describe(builder, options);
    auto arguments =
        parse_arguments({.name = "x", .summary = "", .examples = "", .switches = {json_switch()}},
                        {{"output", 'o'}}, c.words);
    ASSERT_TRUE(arguments) << arguments.error().message;
    auto nothing = [](const std::string&) { return std::nullopt; };
    ASSERT_TRUE(settings.resolve(*arguments, nothing));
    ASSERT_TRUE(complete(options, *arguments, nothing));
    EXPECT_EQ(options.format, c.expected);
    arguments->switches = {"json"};
    arguments->values["output"] = {"yaml"};
    EXPECT_FALSE(complete(options, *arguments, nothing));
    arguments->values["output"] = {"xml"};
    EXPECT_THAT(settings.resolve(*arguments, nothing).error().message, HasSubstr("--output: invalid format"));
  }
}

TEST(Facts, AreLinesAndDocuments) {
  const std::vector<Column> columns = {{"name", "name"}, {"hostnames", "names", Show::kList}};
  const std::string object = R"({"name":"n","names":["a.com","*.b.com"],"id":"1e5"})";
  EXPECT_EQ(*format_facts(object, columns), "name       n\nhostnames  a.com,*.b.com\n");
  EXPECT_EQ(*format_object(object, columns, {.format = OutputFormat::kJson}), object + "\n");
  EXPECT_EQ(*format_object(object, columns, {.format = OutputFormat::kYaml}),
            "name: \"n\"\nnames:\n  - a.com\n  - \"*.b.com\"\nid: \"1e5\"\n");
  EXPECT_FALSE(format_facts("7", columns));
}

TEST(FormatDone, IsALineOrTheAnswer) {
  constexpr const char* kAnswer = R"({"status":"revoked"})";
  EXPECT_EQ(format_done("revoked laptop", kAnswer, {}).value(), "revoked laptop\n");
  EXPECT_EQ(format_done("revoked laptop", kAnswer, {.format = OutputFormat::kJson}).value(),
            "{\"status\":\"revoked\"}\n");
  EXPECT_EQ(format_done("revoked laptop", kAnswer, {.format = OutputFormat::kYaml}).value(),
            "status: revoked\n");
}

// Whatever a command tells of the hub, a program can read it.
TEST(Output, IsAChoiceOfEveryCommandThatCallsAHubOrAnAgent) {
  for (const auto& command : make_commands()) {
    const std::string& name = command->info().name;
    if (command->declared().empty() || name == "node" || name == "hub" || name == "edge" || name == "agent" ||
        name == "http" || name.starts_with("ca ") || name == "hub export" || name == "hub import" ||
        name == "tenant export-key" || name == "tenant import-key")
      continue;
    EXPECT_NE(std::ranges::find(command->declared(), "output", &Setting::flag), command->declared().end())
        << name;
  }
}

}  // namespace
}  // namespace culvert::cli
