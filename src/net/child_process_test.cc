#include "net/child_process.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "net/testing.h"

namespace culvert::net {
namespace {

using namespace testing;
using ::testing::HasSubstr;

struct ChildProcess : ::testing::Test {
  ProcessEnd run(const std::string& script, Duration time = 20s, size_t max_output = 16 * 1024) {
    return run_task(loop, run_process(loop,
                                      {.program = "/bin/sh",
                                       .arguments = {"-c", script},
                                       .environment = {"PATH=/usr/bin:/bin"},
                                       .max_output = max_output},
                                      loop.now() + time))
        .value();
  }
  // The process with this id is gone, or about to be.
  static bool is_gone(pid_t pid) {
    for (int i = 0; i < 200; ++i) {
      if (::kill(pid, 0) != 0) return true;
      std::ifstream status("/proc/" + std::to_string(pid) + "/stat");
      std::string text;
      std::getline(status, text);
      if (text.find(") Z ") != text.npos) return true;  // nobody has reaped it here
      ::usleep(10'000);
    }
    return false;
  }

  EventLoop loop;
};

TEST_F(ChildProcess, ReportsStatusAndOutput) {
  const ProcessEnd end = run("echo one; echo two >&2; exit 3");
  EXPECT_FALSE(end.succeeded());
  EXPECT_EQ(end.exit_status, 3);
  EXPECT_EQ(end.to_string(), "exit status 3");
  EXPECT_EQ(end.output, "one\ntwo\n");
  EXPECT_FALSE(end.is_output_cut);
  EXPECT_TRUE(run("true").succeeded());
}

TEST_F(ChildProcess, ReportsSignals) {
  const ProcessEnd end = run("kill -SEGV $$");
  EXPECT_FALSE(end.succeeded());
  EXPECT_EQ(end.signal, SIGSEGV);
  EXPECT_EQ(end.to_string(), "signal 11 (Segmentation fault)");
}

TEST_F(ChildProcess, GetsNothingOfOurs) {
  ::setenv("CULVERT_CHILD_TEST", "secret", 1);
  const int leak = ::dup(0);
  const auto end =
      run_task(loop, run_process(loop,
                                 {.program = "/bin/sh",
                                  .arguments = {"-c", "/usr/bin/env; pwd; ls /proc/self/fd; cat"},
                                  .environment = {"ONE=1", "PATH=/usr/bin:/bin"}},
                                 soon()));
  ::close(leak);
  ASSERT_TRUE(end);
  EXPECT_TRUE(end->succeeded());
  EXPECT_THAT(end->output, HasSubstr("ONE=1\n"));
  EXPECT_THAT(end->output, ::testing::Not(HasSubstr("CULVERT_CHILD_TEST")));
  EXPECT_THAT(end->output, HasSubstr("/\n0\n1\n2\n3\n"));  // 3: ls has the directory open
}

TEST_F(ChildProcess, SignalsAreAsAtTheStart) {
  const auto before = ::signal(SIGPIPE, SIG_IGN);
  sigset_t blocked, old;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &old);
  const ProcessEnd pipe = run("kill -PIPE $$");
  const ProcessEnd term = run("kill -TERM $$");
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  ::signal(SIGPIPE, before);
  EXPECT_EQ(pipe.signal, SIGPIPE);
  EXPECT_EQ(term.signal, SIGTERM);
}

TEST_F(ChildProcess, OutputWithoutEndIsCut) {
  const ProcessEnd end = run("i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done", 20s, 100);
  EXPECT_TRUE(end.succeeded());
  EXPECT_EQ(end.output.size(), 100u);
  EXPECT_TRUE(end.is_output_cut);
  const ProcessEnd endless = run("yes", 200ms, 100);
  EXPECT_FALSE(endless.in_time);
  EXPECT_EQ(endless.output.size(), 100u);
}

TEST_F(ChildProcess, IsKilledWithItsGroupAtTheDeadline) {
  const TimePoint begun = loop.now();
  const ProcessEnd end = run("trap '' TERM; sleep 600 & echo $!; echo $$; wait", 300ms);
  EXPECT_LT(loop.now() - begun, 10s);
  EXPECT_FALSE(end.succeeded());
  EXPECT_FALSE(end.in_time);
  EXPECT_EQ(end.to_string(), "no end in time");
  std::istringstream pids(end.output);
  pid_t background = 0, shell = 0;
  pids >> background >> shell;
  ASSERT_GT(background, 1);
  ASSERT_GT(shell, 1);
  EXPECT_TRUE(is_gone(background));
  EXPECT_TRUE(is_gone(shell));
}

TEST_F(ChildProcess, WhatItLeavesRunningIsKilledAndDelaysNothing) {
  const TimePoint begun = loop.now();
  const ProcessEnd end = run("sleep 600 & echo $!");
  EXPECT_LT(loop.now() - begun, 10s);
  EXPECT_TRUE(end.succeeded());
  EXPECT_TRUE(is_gone(std::stoi(end.output)));
}

TEST_F(ChildProcess, IsKilledWhenItsTaskIsCancelled) {
  const std::string file = ::testing::TempDir() + "child-" + std::to_string(::getpid());
  std::optional<Result<ProcessEnd>> out;
  {
    TaskGroup tasks(loop);
    tasks.spawn(keep_result(run_process(loop,
                                        {.program = "/bin/sh",
                                         .arguments = {"-c", "echo $$ > " + file + "; sleep 600"},
                                         .environment = {"PATH=/usr/bin:/bin"}},
                                        soon()),
                            out));
    run_until(loop, [&] {
      std::ifstream text(file);
      pid_t pid = 0;
      return static_cast<bool>(text >> pid);
    });
    tasks.cancel();
    run_until(loop, [&] { return tasks.size() == 0; });
  }
  EXPECT_FALSE(out);
  pid_t pid = 0;
  std::ifstream(file) >> pid;
  EXPECT_TRUE(is_gone(pid));
  EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1);  // reaped
  ::unlink(file.c_str());
}

TEST_F(ChildProcess, TheLoopGoesOnMeanwhile) {
  bool ticked = false;
  Timer timer(loop);
  timer.after(10ms, [&] { ticked = true; });
  EXPECT_TRUE(run("sleep 0.2").succeeded());
  EXPECT_TRUE(ticked);
}

TEST_F(ChildProcess, AProgramThatCannotBeStartedIsNamed) {
  for (const char* program : {"/nonexistent/program", "/etc/passwd", "/"}) {
    const auto end = run_task(loop, run_process(loop, {.program = program}, soon()));
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code, ErrorCode::kIo);
    EXPECT_THAT(end.error().message, HasSubstr(std::string("cannot run ") + program + ": "));
  }
}

TEST(CheckProgram, SaysWhyAFileCannotBeRun) {
  EXPECT_TRUE(check_program("/bin/sh"));
  const std::pair<const char*, const char*> bad[] = {{"", "not absolute"},
                                                     {"sh", "not absolute"},
                                                     {"/nonexistent", "No such file"},
                                                     {"/etc", "not a regular file"},
                                                     {"/etc/passwd", "chmod +x"}};
  for (const auto& [path, fault] : bad) {
    const auto checked = check_program(path);
    ASSERT_FALSE(checked) << path;
    EXPECT_EQ(checked.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(checked.error().message, HasSubstr(fault));
  }
}

}  // namespace
}  // namespace culvert::net
