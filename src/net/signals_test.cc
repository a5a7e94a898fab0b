#include "net/signals.h"

#include <csignal>

#include "net/testing.h"

namespace culvert::net {
namespace {

using namespace testing;

TEST(Signals, BothStopSignalsAreReported) {
  for (const int number : {SIGTERM, SIGINT}) {
    EventLoop loop;
    TaskGroup tasks(loop);
    std::optional<int> got;
    tasks.spawn(keep_result(wait_for_stop_signal(loop), got));
    drain(loop);
    EXPECT_FALSE(got);
    raise(number);
    run_until(loop, [&] { return tasks.size() == 0; });
    EXPECT_EQ(got, number);
  }
}

}  // namespace
}  // namespace culvert::net
