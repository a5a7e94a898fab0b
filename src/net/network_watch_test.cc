#include "net/network_watch.h"

#include <gtest/gtest.h>

namespace culvert::net {
namespace {

TEST(NetworkWatch, StartsAndIsQuietWhileNothingChanges) {
  EventLoop loop;
  int changes = 0;
  auto watch = NetworkWatch::start(loop, [&] { ++changes; });
  ASSERT_TRUE(watch) << watch.error().message;
  Timer end(loop);
  end.after(std::chrono::milliseconds(20), [&] { loop.stop(); });
  loop.run();
  EXPECT_EQ(changes, 0);
}

TEST(NetworkWatch, MayGoWhileTheLoopStillHasItsWork) {
  EventLoop loop;
  auto watch = NetworkWatch::start(loop, [] {});
  ASSERT_TRUE(watch);
  watch->reset();
  loop.run();  // nothing is left to wait for
}

TEST(SourceAddress, IsLoopbackForLoopback) {
  EventLoop loop;
  auto source = source_address_for(loop, SocketAddr::v4({127, 0, 0, 1}, 443));
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_TRUE(source->is_loopback());
  EXPECT_EQ(source->port(), 0);
}

}  // namespace
}  // namespace culvert::net
