#include "dns/exec_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "dns/testing.h"
#include "net/testing.h"

namespace culvert::dns {
namespace {

using net::testing::run_task;
using net::testing::run_until;
using ::testing::HasSubstr;
using testing::name;
using ::testing::Not;
using namespace std::chrono_literals;

constexpr const char* kName = "_acme-challenge.example.net";

struct ExecHookTest : ::testing::Test {
  ExecHookTest() {
    std::string pattern = ::testing::TempDir() + "hook-XXXXXX";
    directory = mkdtemp(pattern.data());
  }
  ~ExecHookTest() override { std::filesystem::remove_all(directory); }

  // A hook of this shell script; $D is the directory of the test.
  ExecHook& make(const std::string& script, Duration timeout = 20s) {
    const auto path = directory / "hook";
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    hook =
        ExecHook::make(
            loop, {.program = path.native(), .environment = {"D=" + directory.native()}, .timeout = timeout})
            .value();
    return *hook;
  }
  std::string file(const char* of) const {
    std::ifstream in(directory / of);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  net::EventLoop loop;
  std::filesystem::path directory;
  std::unique_ptr<ExecHook> hook;
};

TEST_F(ExecHookTest, IsGivenActionNameAndValue) {
  ExecHook& publisher = make(R"(printf '<%s>' "$#" "$@" >> "$D/calls")");
  ASSERT_TRUE(run_task(loop, publisher.put(name("_acme-challenge.Example.net."), "-v a;l\"$(id)")));
  ASSERT_TRUE(run_task(loop, publisher.remove(name(kName), "value")));
  EXPECT_EQ(file("calls"),
            "<3><add><_acme-challenge.Example.net><-v a;l\"$(id)>"
            "<3><remove><_acme-challenge.example.net><value>");
}

TEST_F(ExecHookTest, HasNoEnvironmentOfOurs) {
  ::setenv("CULVERT_HOOK_TEST", "secret", 1);
  ASSERT_TRUE(run_task(loop, make(R"(/usr/bin/env > "$D/env")").put(name(kName), "value")));
  EXPECT_THAT(file("env"), HasSubstr("PATH=/usr/local/sbin:"));
  EXPECT_THAT(file("env"), HasSubstr("D=" + directory.native()));
  EXPECT_THAT(file("env"), Not(HasSubstr("CULVERT")));
}

TEST_F(ExecHookTest, AFailureIsToldWithItsOutput) {
  const auto failed =
      run_task(loop, make("echo 'no such \033[31mzone' >&2; exit 7").put(name(kName), "value"));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(failed.error().message,
              HasSubstr("hook add _acme-challenge.example.net ...` failed with exit status 7"));
  EXPECT_THAT(failed.error().message, HasSubstr("it printed \"no such \\x1b[31mzone\""));
}

TEST_F(ExecHookTest, OfLongOutputTheEndIsTold) {
  const auto failed = run_task(
      loop, make("i=0; while [ $i -lt 100 ]; do echo progress $i; i=$((i+1)); done; echo reason; exit 1")
                .put(name(kName), "v"));
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("reason\""));
  EXPECT_LT(failed.error().message.size(), 700u);
}

TEST_F(ExecHookTest, SilenceIsTold) {
  const auto failed = run_task(loop, make("kill -KILL $$").remove(name(kName), "value"));
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("failed with signal 9 (Killed); it printed nothing"));
}

TEST_F(ExecHookTest, IsKilledAtItsDeadline) {
  const TimePoint begun = loop.now();
  const auto failed = run_task(loop, make("echo waiting; sleep 600 & wait", 300ms).put(name(kName), "value"));
  EXPECT_LT(loop.now() - begun, 10s);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kTimeout);
  EXPECT_THAT(failed.error().message, HasSubstr("was killed after 0 s; it printed \"waiting\""));
}

TEST_F(ExecHookTest, ValuesThatNoProgramTakesAreRefused) {
  ExecHook& publisher = make("true");
  for (const std::string& value : {std::string(), std::string(256, 'x'), std::string("a\0b", 3)})
    EXPECT_EQ(run_task(loop, publisher.put(name(kName), value)).error().code, ErrorCode::kInvalid);
}

TEST_F(ExecHookTest, RunsFollowOneAnother) {
  ExecHook& publisher = make(R"(echo "$3 begins" >> "$D/calls"; sleep 0.05; echo "$3 ends" >> "$D/calls")");
  net::TaskGroup tasks(loop);
  std::array<std::optional<Result<>>, 3> done;
  for (size_t i = 0; i < done.size(); ++i)
    tasks.spawn(net::testing::keep_result(publisher.put(name(kName), std::to_string(i)), done[i]));
  run_until(loop, [&] { return tasks.size() == 0; });
  EXPECT_EQ(file("calls"), "0 begins\n0 ends\n1 begins\n1 ends\n2 begins\n2 ends\n");
  for (const auto& each : done) EXPECT_TRUE(each && *each);
}

TEST_F(ExecHookTest, NoMoreThanSoManyWait) {
  ExecHook& publisher = make("sleep 600");
  net::TaskGroup tasks(loop);
  std::vector<std::optional<Result<>>> done(ExecHook::kMaxWaiting + 1);
  for (auto& each : done) tasks.spawn(net::testing::keep_result(publisher.put(name(kName), "value"), each));
  net::testing::drain(loop);
  EXPECT_EQ(run_task(loop, publisher.put(name(kName), "value")).error().code, ErrorCode::kLimit);
  tasks.cancel();
  run_until(loop, [&] { return tasks.size() == 0; });
  EXPECT_TRUE(run_task(loop, make("true").put(name(kName), "value")));
}

TEST_F(ExecHookTest, IsFreeAgainWhenARunIsCancelled) {
  ExecHook& publisher = make(R"([ "$3" != slow ] || sleep 600)");
  net::TaskGroup tasks(loop);
  std::optional<Result<>> slow;
  tasks.spawn(net::testing::keep_result(publisher.put(name(kName), "slow"), slow));
  net::testing::drain(loop);
  tasks.cancel();
  run_until(loop, [&] { return tasks.size() == 0; });
  EXPECT_TRUE(run_task(loop, publisher.put(name(kName), "value")));
}

TEST_F(ExecHookTest, ProgramsThatCannotBeRunAreNamedAtTheStart) {
  EXPECT_THAT(ExecHook::make(loop, {.program = "hook"}).error().message, HasSubstr("not absolute"));
  EXPECT_THAT(ExecHook::make(loop, {.program = "/nonexistent/hook"}).error().message,
              HasSubstr("No such file"));
  ExecHook& publisher = make("true");
  std::filesystem::remove(directory / "hook");
  const auto gone = run_task(loop, publisher.put(name(kName), "value"));
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::kIo);
  EXPECT_THAT(gone.error().message, HasSubstr("cannot run " + (directory / "hook").native()));
}

}  // namespace
}  // namespace culvert::dns
