#include "base/passphrase_prompt.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "base/descriptor.h"
#include "base/log.h"
#include "base/terminal_fixture.h"

namespace culvert {
namespace {

void ask_and_tell() {
  PassphrasePrompt prompt(STDIN_FILENO);
  auto first = prompt.ask("First: ");
  auto second = prompt.ask("Second: ");
  log_message(LogLevel::kInfo, first ? std::to_string(first->expose().size()) : first.error().message);
  log_message(LogLevel::kInfo, second ? std::to_string(second->expose().size()) : second.error().message);
}

TEST(PassphrasePrompt, ShowsNothingOfWhatIsTyped) {
  Terminal terminal(ask_and_tell);
  ASSERT_TRUE(terminal.shows("First: "));
  EXPECT_FALSE(terminal.echoes());
  terminal.type("hunter2\n");
  ASSERT_TRUE(terminal.shows("Second: "));
  terminal.type("two words\n");
  ASSERT_TRUE(terminal.shows("culvert: 7"));
  ASSERT_TRUE(terminal.shows("culvert: 9"));
  EXPECT_EQ(terminal.shown().find("hunter"), std::string::npos);
  EXPECT_EQ(terminal.shown().find("words"), std::string::npos);
  EXPECT_TRUE(terminal.echoes());
  EXPECT_EQ(terminal.wait(), 0);
}

TEST(PassphrasePrompt, SaysWhatIsNoPassphrase) {
  Terminal terminal(ask_and_tell);
  ASSERT_TRUE(terminal.shows("First: "));
  terminal.type("\n");
  ASSERT_TRUE(terminal.shows("Second: "));
  terminal.type("\x04");
  ASSERT_TRUE(terminal.shows("culvert: the passphrase is empty"));
  ASSERT_TRUE(terminal.shows("culvert: no passphrase was given"));
  EXPECT_TRUE(terminal.echoes());

  Terminal other(ask_and_tell);
  ASSERT_TRUE(other.shows("First: "));
  other.type(std::string(PassphrasePrompt::kMaxLength, 'x') + "\n");
  ASSERT_TRUE(other.shows("Second: "));
  other.type(std::string(PassphrasePrompt::kMaxLength + 1, 'x') + "\n");
  ASSERT_TRUE(other.shows("culvert: 1024"));
  ASSERT_TRUE(other.shows("culvert: the passphrase is longer than 1024 bytes"));
}

TEST(PassphrasePrompt, ASignalEndsTheProcessAndTheTerminalIsAsItWas) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    for (const bool other_thread : {false, true}) {
      Terminal terminal([other_thread] {
        // The signal is for the whole process: whichever thread takes it.
        if (other_thread) standard_error().start_thread();
        ask_and_tell();
      });
      ASSERT_TRUE(terminal.shows("First: "));
      terminal.type("half");
      if (signal == SIGINT) {
        terminal.type("\x03");
      } else {
        ::kill(terminal.child(), signal);
      }
      const int status = terminal.wait();
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << signal << " " << status;
      EXPECT_TRUE(terminal.echoes()) << signal;
    }
  }
}

TEST(PassphrasePrompt, AStoppedProcessAsksAgain) {
  Terminal terminal([] {
    // No shell controls this process group, so it ignores the stop signals of terminals; it is asked about
    // another way.
    std::signal(SIGTSTP, [](int) { std::raise(SIGSTOP); });
    ask_and_tell();
  });
  ASSERT_TRUE(terminal.shows("First: "));
  terminal.type("half\x1a");
  ASSERT_TRUE(WIFSTOPPED(terminal.wait(WUNTRACED)));
  EXPECT_TRUE(terminal.echoes());
  ::kill(terminal.child(), SIGCONT);
  ASSERT_TRUE(terminal.shows("First: "));
  EXPECT_FALSE(terminal.echoes());
  terminal.type("entire\n");
  ASSERT_TRUE(terminal.shows("Second: "));
  terminal.type("x\n");
  ASSERT_TRUE(terminal.shows("culvert: 6"));
}

TEST(PassphrasePrompt, NeedsATerminal) {
  Descriptor file(::open("/dev/null", O_RDONLY));
  EXPECT_FALSE(PassphrasePrompt::is_terminal(file.get()));
  PassphrasePrompt prompt(file.get());
  EXPECT_EQ(prompt.ask("First: ").error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace culvert
