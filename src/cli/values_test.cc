#include "cli/values.h"

#include <gtest/gtest.h>

#include "cli/paths.h"
#include "cli/text_table.h"

namespace culvert::cli {
namespace {

using namespace std::chrono_literals;

TEST(Expiry, NeverAndDurations) {
  EXPECT_EQ(*parse_expiry("never"), std::nullopt);
  EXPECT_EQ(*parse_expiry("0"), std::nullopt);
  EXPECT_EQ(*parse_expiry("30d"), std::optional(std::chrono::seconds(30 * 24h)));
  EXPECT_EQ(*parse_expiry("3653d"), std::optional(std::chrono::seconds(3653 * 24h)));
  for (std::string_view text : {"3654d", "", "0s", "999ms", "Never", "30", "-1d"})
    EXPECT_FALSE(parse_expiry(text)) << text;
}

TEST(HttpOrigin, ReadsAllForms) {
  struct Case {
    const char* text;
    const char* host;
    uint16_t port;
  };
  for (auto [text, host, port] : std::initializer_list<Case>{{"3000", "localhost", 3000},
                                                             {"host:3000", "host", 3000},
                                                             {"127.0.0.1:80", "127.0.0.1", 80},
                                                             {"[::1]:3000", "::1", 3000},
                                                             {"http://host:3000", "host", 3000},
                                                             {"http://host:3000/", "host", 3000},
                                                             {"http://host", "host", 80},
                                                             {"http://[::1]", "::1", 80}}) {
    auto origin = parse_http_origin(text);
    ASSERT_TRUE(origin) << text << ": " << origin.error().message;
    EXPECT_EQ(origin->host, host) << text;
    EXPECT_EQ(origin->port, port) << text;
  }
}

TEST(HttpOrigin, RefusesTheRest) {
  for (std::string_view text :
       {"", "0", "65536", "host", "https://host:3000", "http://", "http://host:3000/path",
        "http://user@host:1", "ftp://host:1", "host:0", "http://host:1?x", "-1", "3000 "}) {
    auto origin = parse_http_origin(text);
    ASSERT_FALSE(origin) << text;
    EXPECT_EQ(origin.error().code, ErrorCode::kInvalid);
  }
  EXPECT_NE(parse_http_origin("https://h:1").error().message.find("passthrough"), std::string::npos);
}

TEST(Time, IsUtc) {
  EXPECT_EQ(format_time(UnixTime(std::chrono::seconds(1700000000))), "2023-11-14 22:13 UTC");
}

TEST(TextTable, AlignsColumns) {
  EXPECT_EQ(format_table({{"ID", "NAME"}, {"abc", "x"}, {"a", ""}}), "ID   NAME\nabc  x\na    \n");
  EXPECT_EQ(format_table({}), "");
  // Wide characters take two columns, combining ones none.
  EXPECT_EQ(format_table({{"\xe6\x97\xa5\xe6\x9c\xac", "x"}, {"e\xcc\x81", "y"}, {"abcd", "z"}}),
            "\xe6\x97\xa5\xe6\x9c\xac  x\ne\xcc\x81     y\nabcd  z\n");
}

TEST(Paths, FollowTheEnvironment) {
  std::map<std::string, std::string> variables;
  Environment environment = [&](const std::string& name) -> std::optional<std::string> {
    auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
  EXPECT_EQ(*default_data_dir(environment, true), "/var/lib/culvert");
  EXPECT_NE(default_data_dir(environment, false).error().message.find("--data-dir"), std::string::npos);
  EXPECT_FALSE(config_dir(environment));
  variables["HOME"] = "/home/u";
  EXPECT_EQ(*default_data_dir(environment, false), "/home/u/.local/state/culvert");
  EXPECT_EQ(*config_dir(environment), "/home/u/.config/culvert");
  variables["XDG_STATE_HOME"] = "/s";
  variables["XDG_CONFIG_HOME"] = "relative";
  EXPECT_EQ(*default_data_dir(environment, false), "/s/culvert");
  EXPECT_EQ(*config_dir(environment), "/home/u/.config/culvert");
}

}  // namespace
}  // namespace culvert::cli
