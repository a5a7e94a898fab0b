#include "cli/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"

namespace culvert::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ConfigFile, ReadsKeysValuesAndLines) {
  auto file = parse_config(
      "# a comment\n"
      "\n"
      "listen = 0.0.0.0:443\r\n"
      "\tpublic-url=https://a.com:8443 , https://b.com  \n"
      "services = [{\"hostname\":\"a#b = c\"}]\n"
      "  # log-level = debug\n"
      "tls =",
      "node.conf");
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_EQ(file->entries.size(), 4u);
  EXPECT_EQ(file->entries[0].key, "listen");
  EXPECT_EQ(file->entries[0].value, "0.0.0.0:443");
  EXPECT_EQ(file->entries[0].line, 3);
  EXPECT_EQ(file->entries[1].value, "https://a.com:8443 , https://b.com");
  EXPECT_EQ(file->entries[2].value, "[{\"hostname\":\"a#b = c\"}]");
  EXPECT_EQ(file->entries[3].value, "");
  EXPECT_EQ(file->entries[3].line, 7);
  EXPECT_EQ(file->complaint(file->entries[1], "is wrong").message, "node.conf:4: public-url: is wrong");
}

TEST(ConfigFile, ErrorsNameFileLineAndKey) {
  struct Case {
    const char* text;
    const char* expected;
  };
  for (auto [text, expected] : std::initializer_list<Case>{
           {"listen 0.0.0.0:443", "f:1: line: there is no '='"},
           {"a = 1\n\nlisten\n", "f:3: listen: there is no '='"},
           {"= 1", "f:1: line: what stands before '=' is no key"},
           {"Listen = 1", "f:1: line: what stands before '=' is no key"},
           {"a b = 1", "f:1: line: what stands before '=' is no key"},
           {"[node]\nlisten = 1", "f:1: \"[node]\": sections are not used"},
           {"a = 1\nb = 2\na = 3", "f:3: a: is given twice; line 1 has it already"},
       }) {
    auto file = parse_config(text, "f");
    ASSERT_FALSE(file) << text;
    EXPECT_EQ(file.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(file.error().message, HasSubstr(expected)) << text;
  }
}

TEST(ConfigFile, ErrorsDoNotRepeatWhatMayBeASecret) {
  auto file = parse_config("CULVERT_TOKEN cvt_inv_1.secret.secret\n", "f");
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message, Not(HasSubstr("secret")));
}

TEST(ConfigFile, UnreadableFilesAreNamed) {
  auto file = read_config("/nonexistent/culvert.conf");
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message, HasSubstr("/nonexistent/culvert.conf"));
}

TEST(ConfigFile, KnowsWhetherOthersMayRead) {
  auto path = std::filesystem::path(testing::TempDir()) / "culvert_config_test.conf";
  ASSERT_TRUE(replace_file(path, as_bytes("token = x\n"), 0600));
  EXPECT_FALSE(read_config(path)->others_may_read);
  ASSERT_TRUE(replace_file(path, as_bytes("token = x\n"), 0644));
  EXPECT_TRUE(read_config(path)->others_may_read);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace culvert::cli
