#include "cli/foreground.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

namespace culvert::cli {
namespace {

using namespace std::chrono_literals;

TEST(Foreground, SpeaksOfOpenConnectionsOnlyWhereThereAreSome) {
  EXPECT_EQ(stopping_notice(0), "");
  EXPECT_THAT(stopping_notice(1), ::testing::HasSubstr("1 open connection has 2 s"));
  EXPECT_THAT(stopping_notice(2), ::testing::HasSubstr("2 open connections have 2 s"));
}

TEST(Foreground, AStopSignalEndsAWait) {
  net::EventLoop loop;
  net::Timer timer(loop);
  timer.after(20ms, [] { std::raise(SIGTERM); });
  EXPECT_FALSE(run_until_signal(loop, net::sleep_for(loop, 1h)));
}

TEST(Foreground, AWaitEndsWithItsWork) {
  net::EventLoop loop;
  EXPECT_TRUE(run_until_signal(loop, net::sleep_for(loop, 1ms)));
}

}  // namespace
}  // namespace culvert::cli
