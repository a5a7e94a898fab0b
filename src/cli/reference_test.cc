#include "cli/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/metrics_testing.h"
#include "hubapi/token.h"

namespace culvert::cli {
namespace {

using testing::HasSubstr;

struct Program {
  std::vector<std::unique_ptr<Command>> commands = make_commands();
};

// The document with its parts filled, which must be what it is already.
std::string expect_current(const std::string& name, const Program& program) {
  const auto path = std::filesystem::path(CULVERT_SOURCE_DIR) / name;
  auto document = read_file(path, 4 * 1024 * 1024);
  EXPECT_TRUE(document) << document.error().message;
  if (!document) return "";
  auto filled = fill_document(as_text(*document), program.commands);
  EXPECT_TRUE(filled) << filled.error().message;
  if (!filled) return "";
  EXPECT_TRUE(*filled == as_text(*document))
      << name << " is not what the declarations say; build `culvert` and run\n  culvert docs " << name;
  return *filled;
}

TEST(Reference, TheMetricsAreCurrent) {
  Program program;
  const std::string filled = expect_current("docs/metrics.md", program);
  for (const auto& command : program.commands) {
    Metrics metrics;
    command->describe_metrics(metrics);
    if (metrics.describe().empty()) continue;
    EXPECT_THAT(Exposition(metrics.to_text()).faults(), testing::IsEmpty());
    for (const auto& row : metrics.describe())
      EXPECT_THAT(filled, HasSubstr(fmt::format("| `{}` |", row.name)));
  }
}

TEST(Reference, TheSettingsAreCurrent) {
  Program program;
  const std::string filled = expect_current("docs/configuration.md", program);
  for (const auto& command : program.commands) {
    for (const Setting& setting : command->declared()) {
      EXPECT_THAT(filled, HasSubstr(fmt::format("`--{} ", setting.flag))) << "add the command's table";
    }
  }
}

// What each setting shows as its example is a line that a file may have, and a value that it takes.
TEST(Reference, ExamplesAreValues) {
  Program program;
  size_t count = 0;
  for (const auto& command : program.commands) {
    for (const Setting& setting : command->declared()) {
      if (setting.name == "services-file") continue;  // read at once
      EXPECT_FALSE(setting.example.empty()) << setting.flag;
      auto file = parse_config(example_line(setting), "f");
      ASSERT_TRUE(file) << file.error().message;
      auto applied = Settings::apply_entry(setting, *file, file->entries.front());
      EXPECT_TRUE(applied) << applied.error().message;
      ++count;
    }
  }
  EXPECT_GT(count, 30u);
}

TEST(Reference, WrongMarksAreNamed) {
  Program program;
  EXPECT_EQ(*fill_document("a\n\nb", program.commands), "a\n\nb");
  EXPECT_THAT(fill_document("<!-- settings of nothing -->\n<!-- end -->\n", program.commands).error().message,
              HasSubstr("`nothing`"));
  EXPECT_THAT(fill_document("<!-- settings of node -->\n", program.commands).error().message,
              HasSubstr("has no end"));
  auto filled = fill_document("<!-- example of ca export -->\nold\n<!-- end -->\nrest\n", program.commands);
  ASSERT_TRUE(filled);
  EXPECT_TRUE(
      filled->starts_with("<!-- example of ca export -->\n```toml\ndata-dir = \"/var/lib/culvert\"\n"
                          "ca-dir = \"/etc/culvert/ca\"\n\n[ca]\n"))
      << *filled;
  EXPECT_TRUE(filled->ends_with("```\n<!-- end -->\nrest\n"));
  EXPECT_THAT(*fill_document("<!-- exit statuses -->\n<!-- end -->\n", program.commands),
              HasSubstr("| 2 | bad usage or configuration |\n"));
  EXPECT_FALSE(fill_document("<!-- exit statuses -->\n", program.commands));
}

}  // namespace
}  // namespace culvert::cli
