#include "net/signals.h"

#include <csignal>
#include <optional>

#include "net/testing.h"

namespace culvert::net {
namespace {

using namespace testing;

class Signals : public ::testing::Test {
 protected:
  // The number of the signal that ends the wait; none when `number` does not count.
  std::optional<int> raised(int number) {
    if (!waits_) {
      got_.reset();
      tasks_.spawn(keep_result(signals_.next(), got_));
    }
    drain(loop_);
    EXPECT_FALSE(got_);
    raise(number);
    drain(loop_);
    waits_ = !got_;
    return got_;
  }

  // The test may itself run under nohup, where StopSignals leaves SIGHUP ignored.
  struct DefaultHangUp {
    DefaultHangUp() { std::signal(SIGHUP, SIG_DFL); }
  };
  DefaultHangUp default_hang_up_;
  EventLoop loop_;
  StopSignals signals_{loop_};
  std::optional<int> got_;
  bool waits_ = false;
  TaskGroup tasks_{loop_};
};

TEST_F(Signals, EachStopSignalIsReported) {
  for (const int number : {SIGTERM, SIGINT, SIGTERM}) EXPECT_EQ(raised(number), number);
}

TEST_F(Signals, AClosedTerminalStopsLikeTheOthers) { EXPECT_EQ(raised(SIGHUP), SIGHUP); }

TEST_F(Signals, AHangUpThatFollowsIsNoSecondRequest) {
  EXPECT_EQ(raised(SIGHUP), SIGHUP);
  EXPECT_EQ(raised(SIGHUP), std::nullopt);
  EXPECT_EQ(raised(SIGTERM), SIGTERM);
  EXPECT_EQ(raised(SIGHUP), std::nullopt);
}

TEST_F(Signals, WhatComesBetweenTwoWaitsIsKept) {
  EXPECT_EQ(raised(SIGTERM), SIGTERM);
  raise(SIGINT);
  std::optional<int> got;
  TaskGroup tasks(loop_);
  tasks.spawn(keep_result(signals_.next(), got));
  run_until(loop_, [&] { return got.has_value(); });
  EXPECT_EQ(got, SIGINT);
}

TEST(ReloadingHangUp, CountsAsOftenAsItComesUntilTheStop) {
  std::signal(SIGHUP, SIG_DFL);
  EventLoop loop;
  StopSignals signals(loop, HangUp::kReloads);
  TaskGroup tasks(loop);
  for (const int number : {SIGHUP, SIGHUP, SIGTERM}) {
    std::optional<int> got;
    tasks.spawn(keep_result(signals.next(), got));
    drain(loop);
    raise(number);
    run_until(loop, [&] { return got.has_value(); });
    EXPECT_EQ(got, number);
  }
  std::optional<int> late;
  tasks.spawn(keep_result(signals.next(), late));
  raise(SIGHUP);
  drain(loop);
  EXPECT_EQ(late, std::nullopt) << "who is stopping reads nothing again";
  raise(SIGTERM);
  run_until(loop, [&] { return late.has_value(); });
}

TEST(IgnoredHangUp, StaysIgnored) {
  std::signal(SIGHUP, SIG_IGN);
  {
    EventLoop loop;
    StopSignals signals(loop);
    struct sigaction action{};
    sigaction(SIGHUP, nullptr, &action);
    EXPECT_EQ(action.sa_handler, SIG_IGN);
    raise(SIGHUP);
  }
  std::signal(SIGHUP, SIG_DFL);
}

}  // namespace
}  // namespace culvert::net
