#include <unistd.h>

#include "cli/command_fixture.h"

namespace culvert::cli {
namespace {

namespace fs = std::filesystem;

class HubArchiveCommands : public ::testing::Test {
 protected:
  HubArchiveCommands()
      : directory_(fs::path(::testing::TempDir()) / fmt::format("culvert_hub_archive_{}", ::getpid())) {
    fs::create_directories(directory_);
  }
  ~HubArchiveCommands() override { fs::remove_all(directory_); }

  // What the command fails with; empty: it did not.
  std::string run(const std::string& name, const std::vector<std::string>& words) {
    Command* command = find_command(commands_, name);
    auto given = command->parse(words);
    if (!given) return given.error().message;
    auto resolved = command->resolve(*given, [](const std::string&) { return std::optional<std::string>(); });
    if (!resolved) return resolved.error().message;
    auto done = command->run();
    return done ? "" : done.error().message;
  }
  std::string path(const char* name) const { return (directory_ / name).native(); }

  std::vector<std::unique_ptr<Command>> commands_ = make_hub_archive_commands();
  fs::path directory_;
};

TEST_F(HubArchiveCommands, AWrongUrlIsRefusedWithoutItsPassword) {
  const std::string error = run("hub export", {"--database", "postgres://u:se@cret@h/d", "x"});
  EXPECT_THAT(error, HasSubstr("--database"));
  EXPECT_THAT(error, HasSubstr("%40"));
  EXPECT_THAT(error, Not(HasSubstr("cret@")));
}

TEST_F(HubArchiveCommands, WhereNoHubRanThereIsNothingToExport) {
  EXPECT_THAT(run("hub export", {"--data-dir", path("absent"), path("x.export")}), HasSubstr("--data-dir"));
  EXPECT_FALSE(fs::exists(path("x.export")));
}

TEST_F(HubArchiveCommands, WhatIsNoExportIsNamed) {
  ASSERT_TRUE(replace_file(path("x.export"), as_bytes("{}\n"), 0600));
  const std::string error = run("hub import", {"--data-dir", path("new"), path("x.export")});
  EXPECT_THAT(error, HasSubstr("x.export: this is no complete export"));
  EXPECT_FALSE(fs::exists(path("new")));
}

TEST_F(HubArchiveCommands, AFileIsNeeded) {
  EXPECT_THAT(run("hub export", {}), HasSubstr("FILE"));
  EXPECT_THAT(run("hub import", {}), HasSubstr("FILE"));
}

}  // namespace
}  // namespace culvert::cli
