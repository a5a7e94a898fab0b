#include "cli/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"

namespace culvert::cli {
namespace {

using testing::HasSubstr;
using testing::Not;
using Type = ConfigValue::Type;

TEST(ConfigFile, ReadsKeysSectionsValuesAndTheirPlaces) {
  auto file = parse_config(
      "\xef\xbb\xbf# a comment\n"
      "data-dir = '/d'\r\n"
      "\n"
      "[edge]\n"
      "  workers = 4\n"
      "listen = \"[::]:443\"  # every address\n"
      "[hub]\n"
      "public-url = [\"https://a.com:8443\",\n"
      "              \"https://b.com\"]\n"
      "[[agent.services]]\n"
      "hostname = \"a \\\"b\\\"\"\n"
      "port = 3\n"
      "[misspelt]\n",
      "node.toml");
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_EQ(file->entries.size(), 6u);
  const auto& entries = file->entries;
  EXPECT_EQ(file->place(entries[0]), "node.toml:2:1: data-dir");
  EXPECT_EQ(entries[0].values.front().text, "/d");
  EXPECT_EQ(file->place(entries[1]), "node.toml:5:3: edge.workers");
  EXPECT_EQ(entries[1].values.front().type, Type::kNumber);
  EXPECT_EQ(entries[1].values.front().text, "4");
  EXPECT_EQ(entries[2].values.front().text, "[::]:443");
  EXPECT_TRUE(entries[3].is_list);
  ASSERT_EQ(entries[3].values.size(), 2u);
  EXPECT_EQ(entries[3].values[1].text, "https://b.com");
  EXPECT_EQ(entries[3].values[1].line, 9u);
  EXPECT_EQ(entries[4].section, "agent");
  EXPECT_TRUE(entries[4].is_list);
  EXPECT_EQ(entries[4].values.front().type, Type::kTable);
  EXPECT_THAT(entries[4].values.front().text, HasSubstr(R"("a \"b\"")"));
  EXPECT_EQ(entries[5].section, "misspelt");
  EXPECT_TRUE(entries[5].values.empty());
  EXPECT_EQ(file->complaint(entries[1], "is wrong").message, "node.toml:5:3: edge.workers: is wrong");
}

TEST(ConfigFile, ErrorsNameThePlaceAndTheFix) {
  struct Case {
    const char* text;
    const char* place;
    const char* expected;
  };
  for (auto [text, place, expected] : std::initializer_list<Case>{
           {"listen 0.0.0.0:443", "f:1:", "line: there is no '='; write key = value"},
           {"a = 1\n\nlisten\n", "f:3:", "line: there is no '='"},
           {"a = 1\nb =\n", "f:2:", "b: there is no value after '='"},
           {"a = 1\nb = 2\na = 3", "f:3:", "a: "},
           {"[edge\n", "f:1:", "section: "},
           {"a = \"x\n", "f:1:", "a: "},
           {"a = 1 2\n", "f:1:", "a: "},
           // What earlier versions took.
           {"# first\nlisten = 0.0.0.0:443\n",
            "f:2:", "listen: a text value goes into quotes; write listen = \"...\""},
           {"hello-timeout = 10s", "f:1:", "hello-timeout: a text value goes into quotes"},
           {"log-level = info", "f:1:", "log-level: a text value goes into quotes"},
           {"data-dir = /var/lib/culvert", "f:1:", "data-dir: a text value goes into quotes"},
           {"services = [{\"hostname\":\"a.com\"}]", "f:1:", "services: JSON goes into single quotes"},
       }) {
    auto file = parse_config(text, "f");
    ASSERT_FALSE(file) << text;
    EXPECT_EQ(file.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(file.error().message, testing::StartsWith(place)) << text;
    EXPECT_THAT(file.error().message, HasSubstr(expected)) << text;
    EXPECT_THAT(file.error().message, Not(HasSubstr("\n"))) << text;
  }
}

TEST(ConfigFile, ErrorsDoNotRepeatWhatMayBeASecret) {
  for (const char* text :
       {"CULVERT_TOKEN cvt_inv_1.secret.secret\n", "cvt_inv_1.secret.secret\n", "token = cvt_inv_1.secret\n",
        "token = \"secret\" secret\n", "secret_is_it = secret\n", "token = tsecret\n", "token = 1secret\n"}) {
    auto file = parse_config(text, "f");
    ASSERT_FALSE(file) << text;
    EXPECT_THAT(file.error().message, Not(HasSubstr("secret"))) << text;
  }
  auto file =
      parse_config("cvt_inv_1.aSecretSecret = 1\nabcdefghijklmnopqrstuvwxyz-0123456789-abcdefgh = 1\n", "f");
  ASSERT_TRUE(file) << file.error().message;
  for (const ConfigEntry& entry : file->entries) {
    EXPECT_THAT(file->place(entry), Not(HasSubstr("cret")));
    EXPECT_THAT(file->place(entry), Not(HasSubstr("789")));
  }
}

TEST(ConfigFile, OnlyStringsAndCommentsHaveCharactersOutsideOfAscii) {
  for (const char* text : {"a = é\n", "b = 1979-05-27Té7:32:00Z\n", "é = 1\n", "a = 'x' 、\n"}) {
    auto file = parse_config(text, "f");
    ASSERT_FALSE(file.has_value()) << text;
    EXPECT_THAT(file.error().message, HasSubstr("f:")) << text;
  }
  for (const char* text : {"\xef\xbb\xbf# é\na = 1\n", "a = \"é\\\"é\" # é\n", "a = 'é'\n",
                           "a = '''\né'\né'''\n", "a = \"\"\"\né\"\n\"\"\"\n"}) {
    auto file = parse_config(text, "f");
    EXPECT_TRUE(file.has_value()) << text << file.error().message;
  }
}

// Found by the fuzzer: the library's table of white space has holes, and a quote within a number opens no
// string.
TEST(ConfigFile, NoCharacterOutsideOfQuotesBreaksTheLibrary) {
  constexpr uint32_t kFirst = 0x80, kLast = 0xffff, kStep = 61;
  for (uint32_t c = kFirst; c <= kLast; c += kStep) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    const std::string character =
        c < 0x800 ? std::string{static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))}
                  : std::string{static_cast<char>(0xe0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3f)),
                                static_cast<char>(0x80 | (c & 0x3f))};
    for (const char* before : {"", "a", "a = ", "a = 2", "a = 2[0\"x", "a = 'x' ", "[", "a = 1979-05-27T"})
      (void)parse_config(before + character, "f");
  }
}

TEST(ConfigFile, UnreadableFilesAreNamed) {
  auto file = read_config("/nonexistent/culvert.toml");
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message, HasSubstr("/nonexistent/culvert.toml"));
}

TEST(ConfigFile, WhatIsNoTextIsRefused) {
  for (std::string_view text : {std::string_view("\0\1\2", 3),
                                std::string_view("\xff\xfe"
                                                 "a\0=\0001\0",
                                                 8),
                                std::string_view("a = \"\xff\"")}) {
    EXPECT_FALSE(parse_config(text, "f"));
  }
  EXPECT_FALSE(parse_config("a = " + std::string(10'000, '['), "f")) << "nesting is bounded";
}

TEST(ConfigFile, KnowsWhetherOthersMayRead) {
  auto path = std::filesystem::path(testing::TempDir()) / "culvert_config_test.toml";
  ASSERT_TRUE(replace_file(path, as_bytes("token = 'x'\n"), 0600));
  EXPECT_FALSE(read_config(path)->others_may_read);
  ASSERT_TRUE(replace_file(path, as_bytes("token = 'x'\n"), 0644));
  EXPECT_TRUE(read_config(path)->others_may_read);
  std::filesystem::remove(path);
}

// Found by the fuzzer: these broke assertions of the library.
TEST(ConfigFile, WhatTheLibraryDoesNotExpectIsAnErrorOfTheFile) {
  for (const char* text : {"[[#agent.services]]\n", "b = 1979-05-27T_7:32:00Z\n"}) {
    auto file = parse_config(text, "node.toml");
    ASSERT_FALSE(file) << text;
    EXPECT_EQ(file.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(file.error().message, testing::HasSubstr("node.toml"));
  }
}

}  // namespace
}  // namespace culvert::cli
