#include "cli/output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <csignal>

#include "base/log.h"
#include "cli/program.h"

namespace culvert::cli {
namespace {

TEST(Message, IsOneLineAndEndsNothingWhenItCannotBeWritten) {
  testing::internal::CaptureStderr();
  print_message("hub: {}", "no\nculvert: warning\x1b[m");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "culvert: hub: no\\x0aculvert: warning\\x1b[m\n");
  for (bool has_reader : {true, false}) {
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe(ends.data()), 0);
    if (!has_reader) close(ends[0]);
    pid_t child = fork();
    if (child == 0) {
      std::signal(SIGPIPE, SIG_IGN);
      dup2(has_reader ? ::open("/dev/full", O_WRONLY) : ends[1], STDERR_FILENO);
      dup2(STDERR_FILENO, STDOUT_FILENO);
      print_message("the connection to the edge was lost");
      print_line("GET /");
      // What ends it is the bad usage, not the message about it.
      std::_Exit(run_program({"nonsense"}, [](const std::string&) { return std::nullopt; }, {}));
    }
    close(ends[1]);
    if (has_reader) close(ends[0]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 2);
  }
}

// A reader that takes nothing, like a pager that waits for a key.
TEST(Message, NothingWaitsForAStuckReader) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    standard_error().start_thread();
    standard_output().start_thread();
    for (int i = 0; i < 20'000; ++i) {
      print_line("GET /{}", i);
      print_message("connected again");
    }
    drain_output();
    std::_Exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace culvert::cli
