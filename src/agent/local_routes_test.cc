#include "agent/local_routes.h"

#include <gtest/gtest.h>

#include <string>

namespace culvert::agent {
namespace {

SocketAddr addr(const char* text) { return SocketAddr::parse(text).value(); }

class LocalRoutesTest : public testing::Test {
 protected:
  void route(const char* destination, const char* source) { table_[addr(destination)] = addr(source); }
  void unroute(const char* destination) { table_.erase(addr(destination)); }

  std::map<SocketAddr, SocketAddr> table_;
  size_t lookups_ = 0;
  LocalRoutes routes_{[this](const SocketAddr& remote) -> Result<SocketAddr> {
    ++lookups_;
    auto found = table_.find(remote);
    if (found == table_.end()) return fail(ErrorCode::kUnavailable, "no route");
    return found->second;
  }};
};

TEST_F(LocalRoutesTest, EventsThatConcernNoDestinationAreNoChange) {
  route("198.51.100.1:443", "10.0.0.2:0");
  routes_.watch({addr("198.51.100.1:443"), addr("[2001:db8::1]:443")});
  route("172.18.0.5:80", "172.18.0.1:0");  // a container's network appears, and goes
  EXPECT_FALSE(routes_.changed());
  unroute("172.18.0.5:80");
  EXPECT_FALSE(routes_.changed());
}

TEST_F(LocalRoutesTest, AnotherSourceAddressIsAChangeOnce) {
  route("198.51.100.1:443", "10.0.0.2:0");
  routes_.watch({addr("198.51.100.1:443")});
  route("198.51.100.1:443", "10.0.0.3:0");
  EXPECT_TRUE(routes_.changed());
  EXPECT_FALSE(routes_.changed());
}

TEST_F(LocalRoutesTest, ARouteThatReturnsIsAChangeAndOneThatGoesIsNone) {
  route("198.51.100.1:443", "10.0.0.2:0");
  routes_.watch({addr("198.51.100.1:443")});
  unroute("198.51.100.1:443");
  EXPECT_FALSE(routes_.changed());
  route("198.51.100.1:443", "10.0.0.2:0");
  EXPECT_TRUE(routes_.changed()) << "from the same address, but it was unreachable";
}

TEST_F(LocalRoutesTest, ANewDestinationIsNoChangeAndAnOldOneKeepsItsState) {
  routes_.watch({addr("198.51.100.1:443")});
  route("198.51.100.1:443", "10.0.0.2:0");
  route("198.51.100.2:443", "10.0.0.2:0");
  routes_.watch({addr("198.51.100.1:443"), addr("198.51.100.2:443")});
  EXPECT_TRUE(routes_.changed()) << "the first became reachable before the second was watched";
  EXPECT_FALSE(routes_.changed());
  routes_.watch({addr("198.51.100.3:443")});
  route("198.51.100.1:443", "10.0.0.9:0");
  EXPECT_FALSE(routes_.changed()) << "no longer watched";
}

TEST_F(LocalRoutesTest, LooksAtABoundedNumberOfDestinations) {
  std::set<SocketAddr> many;
  for (uint16_t port = 1; port <= 1000; ++port) many.insert(SocketAddr::v4({198, 51, 100, 1}, port));
  routes_.watch(many);
  EXPECT_EQ(lookups_, LocalRoutes::kMaxDestinations);
}

}  // namespace
}  // namespace culvert::agent
