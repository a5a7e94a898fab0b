#include "edge/route_feed.h"

#include <gtest/gtest.h>

#include "net/testing.h"
#include "route/testing.h"

namespace culvert::edge {
namespace {

using namespace std::chrono_literals;
using net::testing::run_until;
using route::testing::id;

RouteUpdate update(uint64_t number, const EndpointId& agent) {
  return {number, route::Snapshot::of({route::testing::route("a.test", {agent})}, number),
          std::make_shared<const route::Delta>(number - 1, number), nullptr};
}

TEST(RouteFeed, WaitsForAnUpdateAndForAnAgentsRoute) {
  net::EventLoop loop;
  RouteFeed feed(loop);
  net::TaskGroup tasks(loop);
  std::vector<std::string> seen;
  const auto wait_for = [](RouteFeed& routes, uint64_t number, std::vector<std::string>& out) -> net::Task<> {
    co_await routes.wait_for(number);
    out.push_back(fmt::format("number {}", routes.number()));
  };
  const auto wait_until_served = [](RouteFeed& routes, EndpointId agent, TimePoint deadline,
                                    std::vector<std::string>& out) -> net::Task<> {
    const bool served = co_await routes.wait_until_served(agent, deadline);
    out.push_back(served ? "served" : "not served");
  };
  EXPECT_EQ(feed.current().size(), 0u);
  tasks.spawn(wait_for(feed, 0, seen));
  tasks.spawn(wait_for(feed, 2, seen));
  tasks.spawn(wait_until_served(feed, id(1), net::testing::soon(), seen));
  tasks.spawn(wait_until_served(feed, id(9), loop.now() + 20ms, seen));
  run_until(loop, [&] { return seen.size() == 2; });
  EXPECT_EQ(seen, (std::vector<std::string>{"number 0", "not served"}));
  const auto first = feed.take(update(1, id(2)));
  EXPECT_EQ(first->size(), 0u);
  net::testing::drain(loop);
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_TRUE(feed.take(update(2, id(1)))->serves(id(2)));
  run_until(loop, [&] { return tasks.size() == 0; });
  EXPECT_EQ(seen.size(), 4u);
  EXPECT_EQ(feed.number(), 2u);
}

TEST(RouteFeedDeathTest, AnUpdateThatIsLeftOutIsABug) {
  net::EventLoop loop;
  RouteFeed feed(loop);
  EXPECT_DEATH(feed.take(update(2, id(1))), "CHECK");
}

}  // namespace
}  // namespace culvert::edge
