#include "cli/key_backup_commands.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "base/log.h"
#include "base/terminal_fixture.h"
#include "cli/command_fixture.h"
#include "cli/output.h"

namespace culvert::cli {
namespace {

TEST(KeyBackup, ATokenComesBackAndNoFileIsOverwritten) {
  Fixture<KeyExportCommand> from;
  from.variables["CULVERT_TOKEN"] = token().encode();
  const std::string passphrase = from.file("pass", "correct horse\nsecond line\n");
  ASSERT_TRUE(from.resolve({"--passphrase-file", passphrase}));
  SeededRandom random(1);
  auto backup = from.command.backup("correct horse", random);
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

// Runs the command and says how it ended, as the program does.
template <class T>
void tell(Fixture<T>& fixture, const std::vector<std::string>& arguments) {
  auto done = fixture.resolve(arguments);
  if (done) done = fixture.command.run();
  log_message(LogLevel::kInfo, done ? "done" : done.error().message);
  drain_output();
}

TEST(KeyBackup, AsksForThePassphraseOnATerminal) {
  Fixture<KeyExportCommand> from;
  from.variables["CULVERT_TOKEN"] = token().encode();
  for (const bool is_same : {true, false}) {
    Terminal terminal([&] { tell(from, {}); });
    ASSERT_TRUE(terminal.shows("Passphrase of the backup: "));
    terminal.type("correct horse\n");
    ASSERT_TRUE(terminal.shows("The same passphrase again: "));
    terminal.type(is_same ? "correct horse\n" : "correct cow\n");
    ASSERT_TRUE(terminal.shows(is_same ? "culvert: done" : "culvert: the two passphrases differ"))
        << terminal.shown();
    EXPECT_EQ(terminal.shown().find("culvert-token-v1:") != std::string::npos, is_same);
    EXPECT_THAT(terminal.shown(), Not(HasSubstr("correct")));
  }

  SeededRandom random(1);
  ASSERT_TRUE(from.resolve({"--passphrase-file", from.file("pass", "unused")}));
  Fixture<KeyImportCommand> to;
  const std::string file = to.file("backup", from.command.backup("correct horse", random).value());
  const std::string out = (to.directory / "token").string();
  Terminal terminal([&] { tell(to, {"--backup", file, "--out", out}); });
  ASSERT_TRUE(terminal.shows("Passphrase of the backup: "));
  terminal.type("correct horse\n");
  ASSERT_TRUE(terminal.shows("culvert: done")) << terminal.shown();
  EXPECT_EQ(as_text(read_file(out, 10'000).value()), token().encode() + "\n");
}

TEST(KeyBackup, NamesWhatIsMissing) {
  // Where the test runs on a terminal, that one would be asked.
  const Descriptor nothing(::open("/dev/null", O_RDONLY));
  ASSERT_EQ(::dup2(nothing.get(), STDIN_FILENO), STDIN_FILENO);
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
