#include "cli/settings.h"

#include <set>

#include "cli/command_fixture.h"

namespace culvert::cli {
namespace {

// One command's settings, with values that are kept as they come.
struct Kept {
  Settings settings{"test"};
  std::vector<std::string> names;
  std::vector<std::string> services;
  std::map<std::string, std::string> variables = {};

  Kept() {
    SettingsBuilder builder = settings.builder();
    builder.add({.name = "names",
                 .help = "h",
                 .form = SettingForm::kList,
                 .apply = [this](std::string_view text) -> Result<> {
                   names.emplace_back(text);
                   return {};
                 }});
    builder.add({.name = "service",
                 .help = "h",
                 .form = SettingForm::kList,
                 .separator = ' ',
                 .apply = [this](std::string_view text) -> Result<> {
                   services.emplace_back(text);
                   return {};
                 }});
  }

  Result<> resolve(Arguments arguments = {}) {
    names.clear();
    services.clear();
    return settings.resolve(arguments, [this](const std::string& name) -> std::optional<std::string> {
      const auto found = variables.find(name);
      return found == variables.end() ? std::nullopt : std::optional(found->second);
    });
  }
};

using Texts = std::vector<std::string>;

TEST(Settings, AListIsSeparatedOrJson) {
  struct Case {
    std::string text;
    Texts expected;
  };
  for (const auto& [text, expected] : std::initializer_list<Case>{
           {"a", {"a"}},
           {"a,b", {"a", "b"}},
           {" a , b ", {"a", "b"}},
           {R"(["a"])", {"a"}},
           {R"( [ "a" , "b,c" ] )", {"a", "b,c"}},
           {"[]", {}},
           {"[::]:443,[::1]:444", {"[::]:443", "[::1]:444"}},  // no JSON
       }) {
    Kept f;
    f.variables["CULVERT_NAMES"] = text;
    ASSERT_TRUE(f.resolve()) << text;
    EXPECT_EQ(f.names, expected) << text;
    f.variables.clear();
    ASSERT_TRUE(f.resolve({.values = {{"names", {text}}}, .switches = {}, .positional = {}})) << text;
    EXPECT_EQ(f.names, expected) << text;
  }
}

TEST(Settings, AFlagOfAListMayBeRepeatedInBothForms) {
  Kept f;
  ASSERT_TRUE(
      f.resolve({.values = {{"names", {"a,b", R"(["c","d"])"}}, {"service", {"a b", R"(["c d","e"])"}}},
                 .switches = {},
                 .positional = {}}));
  EXPECT_EQ(f.names, (Texts{"a", "b", "c", "d"}));
  EXPECT_EQ(f.services, (Texts{"a b", "c d", "e"})) << "blanks separate in the variable only";
  f.variables["CULVERT_SERVICE"] = " a  b ";
  ASSERT_TRUE(f.resolve());
  EXPECT_EQ(f.services, (Texts{"a", "b"}));
  f.variables["CULVERT_SERVICE"] = R"(["a b"])";
  ASSERT_TRUE(f.resolve());
  EXPECT_EQ(f.services, Texts{"a b"});
}

TEST(Settings, ASecretMayHaveValuesThatAreNone) {
  Settings settings("test");
  settings.builder().add({.name = "database",
                          .help = "h",
                          .is_secret = true,
                          .plain_prefix = "sqlite:",
                          .apply = [](std::string_view) -> Result<> { return {}; }});
  for (const auto& [value, shown] : std::initializer_list<std::pair<std::string, std::string>>{
           {"sqlite:/a/b", "sqlite:/a/b"}, {"postgres://u:p@h/d", "set"}, {"", "set"}}) {
    ASSERT_TRUE(settings.resolve({}, [&](const std::string& name) {
      return name == "CULVERT_DATABASE" ? std::optional(value) : std::nullopt;
    }));
    EXPECT_EQ(settings.given("database")->value, shown);
  }
}

TEST(Settings, AListThatIsNoJsonIsRefused) {
  for (const char* text : {R"(["a")", R"(["a",])", R"(["a", 1])", R"(["a", ["b"]])", R"(["a"] b)"}) {
    Kept f;
    f.variables["CULVERT_NAMES"] = text;
    const auto resolved = f.resolve();
    ASSERT_FALSE(resolved) << text;
    EXPECT_THAT(resolved.error().message, testing::StartsWith("CULVERT_NAMES: the JSON list")) << text;
    EXPECT_TRUE(f.names.empty()) << text;
  }
}

TEST(Settings, TheSameListHasTheSameFingerprintInEachForm) {
  std::set<std::string> fingerprints;
  for (const char* text : {"a,b", " a, b", R"(["a","b"])"}) {
    Kept f;
    f.variables["CULVERT_NAMES"] = text;
    ASSERT_TRUE(f.resolve());
    fingerprints.insert(f.settings.given("names")->fingerprint);
    EXPECT_EQ(f.settings.given("names")->value, "a,b");
  }
  EXPECT_EQ(fingerprints.size(), 1u);
}

// Every list of every command: in a variable, a flag and a file, separated and as JSON.
TEST(Settings, EveryListOfEveryCommandTakesEachForm) {
  size_t lists = 0;
  const size_t count = make_commands().size();
  for (size_t at = 0; at < count; ++at) {
    const size_t settings = make_commands()[at]->declared().size();
    for (size_t each = 0; each < settings; ++each) {
      const Setting setting = make_commands()[at]->declared()[each];
      if (setting.form != SettingForm::kList) continue;
      ++lists;
      const std::string json = fmt::format("[\"{}\"]", setting.example);
      const std::string path = (std::filesystem::path(testing::TempDir()) / "culvert_list.toml").string();
      const std::string section = setting.section.empty() ? "" : fmt::format("[{}]\n", setting.section);
      for (const std::string& in_file :
           {json, fmt::format("\"{}\"", setting.example), fmt::format("'{}'", json)}) {
        const std::string content = fmt::format("{}{} = {}\n", section, setting.name, in_file);
        ASSERT_TRUE(replace_file(path, as_bytes(content), 0600));
        auto command = std::move(make_commands()[at]);
        (void)command->resolve({.values = {{"config", {path}}}, .switches = {}, .positional = {}},
                               [](const std::string&) { return std::nullopt; });
        EXPECT_TRUE(command->settings()->problems().empty())
            << content << command->settings()->problems().front().message;
        ASSERT_NE(command->settings()->given(setting.flag), nullptr) << content;
      }
      for (const std::string& text : {setting.example, json}) {
        auto command = std::move(make_commands()[at]);
        (void)command->resolve({.values = {{setting.flag, {text}}}, .switches = {}, .positional = {}},
                               [](const std::string&) { return std::nullopt; });
        EXPECT_TRUE(command->settings()->problems().empty())
            << setting.flag << " " << text << command->settings()->problems().front().message;
        command = std::move(make_commands()[at]);
        (void)command->resolve({}, [&](const std::string& name) {
          return name == variable_name(setting) ? std::optional(text) : std::nullopt;
        });
        EXPECT_TRUE(command->settings()->problems().empty())
            << setting.flag << " " << text << command->settings()->problems().front().message;
      }
      std::filesystem::remove(path);
    }
  }
  EXPECT_GT(lists, 20u);
}

}  // namespace
}  // namespace culvert::cli
