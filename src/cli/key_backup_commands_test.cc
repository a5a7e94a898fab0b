#include "cli/key_backup_commands.h"

#include "cli/command_fixture.h"

namespace culvert::cli {
namespace {

TEST(KeyBackup, ATokenComesBackAndNoFileIsOverwritten) {
  Fixture<KeyExportCommand> from;
  from.variables["CULVERT_TOKEN"] = token().encode();
  const std::string passphrase = from.file("pass", "correct horse\nsecond line\n");
  ASSERT_TRUE(from.resolve({"--passphrase-file", passphrase}));
  SeededRandom random(1);
  auto backup = from.command.backup(random);
  ASSERT_TRUE(backup) << backup.error().message;
  EXPECT_THAT(*backup, ::testing::StartsWith("culvert-token-v1:"));
  EXPECT_THAT(*backup, Not(HasSubstr("cvt_inv")));

  Fixture<KeyImportCommand> to;
  const std::string file = to.file("backup", *backup + "\n");
  const std::string out = (to.directory / "token").string();
  ASSERT_TRUE(to.resolve({"--backup", file, "--out", out, "--passphrase-file", passphrase}));
  ASSERT_TRUE(to.command.run());
  EXPECT_EQ(as_text(read_file(out, 10'000).value()), token().encode() + "\n");
  EXPECT_EQ(to.command.run().error().code, ErrorCode::kConflict);

  Fixture<KeyImportCommand> wrong;
  ASSERT_TRUE(wrong.resolve({"--backup", file, "--out", (wrong.directory / "token").string(),
                             "--passphrase-file", wrong.file("pass", "correct cow")}));
  EXPECT_EQ(wrong.command.run().error().code, ErrorCode::kUnauthorized);
  EXPECT_FALSE(std::filesystem::exists(wrong.directory / "token"));
}

TEST(KeyBackup, NamesWhatIsMissing) {
  Fixture<KeyExportCommand> from;
  from.variables["CULVERT_TOKEN"] = token().encode();
  EXPECT_THAT(from.error({}), HasSubstr("--passphrase-file: is missing"));
  EXPECT_THAT(from.error({"--passphrase-file", from.file("pass", "\n")}), HasSubstr("is empty"));
  Fixture<KeyImportCommand> to;
  EXPECT_THAT(to.error({}), HasSubstr("--backup: is missing"));
  EXPECT_THAT(to.error({"--backup", "x"}), HasSubstr("--out: is missing"));
}

}  // namespace
}  // namespace culvert::cli
