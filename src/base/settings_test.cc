#include "base/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/log.h"

namespace culvert {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

TEST(Settings, AnswersHaveAFormOfTheirOwn) {
  bool always = true;
  std::optional<bool> perhaps;
  std::vector<Setting> out;
  SettingsBuilder builder(out);
  builder.add({.name = "always", .help = "h"}, always);
  builder.add({.name = "perhaps", .help = "h", .default_text = "as it is", .default_is_words = true},
              perhaps);
  EXPECT_EQ(out[0].default_text, "yes");
  for (const Setting& setting : out) {
    EXPECT_EQ(setting.form, SettingForm::kYesNo);
    EXPECT_EQ(setting.choices, (std::vector<std::string>{"yes", "no"}));
    EXPECT_TRUE(setting.apply("0"));
    EXPECT_FALSE(setting.apply("maybe"));
  }
  EXPECT_FALSE(always);
  EXPECT_EQ(perhaps, false);
}

TEST(Settings, DefaultsComeFromTheValues) {
  Duration patience = 90s;
  uint16_t count = 7;
  std::optional<size_t> cap;
  std::optional<SocketAddr> address;
  LogOptions log = {.level = LogLevel::kWarn};
  std::vector<Setting> out;
  SettingsBuilder builder(out);
  builder.add({.name = "count", .help = "h"}, count, 1, 9);
  builder.section("part").add({.name = "patience", .help = "h"}, patience, 1s);
  builder.add({.name = "cap", .help = "h", .default_text = "none", .default_is_words = true, .example = "3"},
              cap, 1, 5);
  builder.add(
      {.name = "at", .help = "h", .default_text = "all", .default_is_words = true, .example = "[::]:1"},
      address);
  describe(builder, log);
  ASSERT_EQ(out.size(), 6u);
  EXPECT_EQ(out[0].default_text, "7");
  EXPECT_EQ(out[0].example, "7");
  EXPECT_EQ(out[0].form, SettingForm::kNumber);
  EXPECT_EQ(dotted_name(out[0]), "count");
  EXPECT_EQ(out[1].default_text, "90s");
  EXPECT_EQ(dotted_name(out[1]), "part.patience");
  EXPECT_EQ(variable_name(out[1]), "CULVERT_PATIENCE");
  EXPECT_EQ(out[2].example, "3");
  EXPECT_EQ(dotted_name(out[4]), "log.level");
  EXPECT_EQ(out[4].default_text, "warn");
  EXPECT_EQ(variable_name(out[4]), "CULVERT_LOG_LEVEL");
  EXPECT_EQ(dotted_name(out[5]), "log.format");
  EXPECT_EQ(out[5].default_text, "text");
  EXPECT_EQ(variable_name(out[5]), "CULVERT_LOG_FORMAT");

  EXPECT_TRUE(out[0].apply("9"));
  EXPECT_TRUE(out[1].apply("1s"));
  EXPECT_TRUE(out[2].apply("5"));
  EXPECT_TRUE(out[3].apply("[::1]:2"));
  EXPECT_TRUE(out[4].apply("debug"));
  EXPECT_TRUE(out[5].apply("json"));
  EXPECT_EQ(count, 9);
  EXPECT_EQ(patience, 1s);
  EXPECT_EQ(cap, 5u);
  EXPECT_EQ(address->to_string(), "[::1]:2");
  EXPECT_EQ(log.level, LogLevel::kDebug);
  EXPECT_EQ(log.format, LogFormat::kJson);

  EXPECT_THAT(out[0].apply("10").error().message, HasSubstr("expected a whole number from 1 to 9"));
  EXPECT_THAT(out[1].apply("999ms").error().message, HasSubstr("too short (expected at least 1s)"));
  EXPECT_THAT(out[2].apply("0").error().message, HasSubstr("from 1 to 5"));
  EXPECT_FALSE(out[3].apply("host:1"));
  EXPECT_THAT(out[5].apply("JSON").error().message, HasSubstr("use text or json"));
  EXPECT_EQ(count, 9);
}

}  // namespace
}  // namespace culvert
