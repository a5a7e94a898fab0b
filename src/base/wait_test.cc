#include "base/wait.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

namespace culvert {
namespace {

using namespace std::chrono_literals;

struct Pipe {
  Pipe() { EXPECT_EQ(::pipe(ends), 0); }
  ~Pipe() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  int ends[2];
};

TEST(WaitTest, EndsWhenThereIsSomethingToRead) {
  Pipe pipe;
  EXPECT_EQ(wait(pipe.ends[0], false, 10ms), Ready::kNothing);
  ASSERT_EQ(::write(pipe.ends[1], "x", 1), 1);
  EXPECT_EQ(wait(pipe.ends[0], false, 60s), Ready::kDescriptor);
  EXPECT_EQ(wait(pipe.ends[1], true, 60s), Ready::kDescriptor) << "there is room to write";
}

TEST(WaitTest, AnotherThreadEndsIt) {
  Pipe pipe;
  const Wakeup wakeup = Wakeup::make().value();
  std::thread other([&] {
    std::this_thread::sleep_for(10ms);
    wakeup.wake();
  });
  EXPECT_EQ(wait(pipe.ends[0], false, 60s, &wakeup), Ready::kWakeup);
  other.join();
  EXPECT_EQ(wait(pipe.ends[0], false, 60s, &wakeup), Ready::kWakeup) << "it stays awake";
}

}  // namespace
}  // namespace culvert
