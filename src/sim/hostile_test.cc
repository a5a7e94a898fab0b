// What a hostile peer can do to an engine: in either role, with keys of its own, or before it has any.
#include <gtest/gtest.h>

#include "sim/hostile_world.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

std::string role_name(const testing::TestParamInfo<bool>& info) { return info.param ? "Server" : "Client"; }

// The parameter is the role of the hostile peer.
class Hostile : public testing::TestWithParam<bool> {
 protected:
  bool peer_is_server() const { return GetParam(); }
  HostilePeer& connect(HostilePeer::Config config = HostileWorld::hooks()) {
    HostilePeer& peer = world.add(peer_is_server(), std::move(config));
    EXPECT_TRUE(world.run());
    return peer;
  }
  HostileWorld world{1};
};
INSTANTIATE_TEST_SUITE_P(As, Hostile, testing::Bool(), role_name);

TEST_P(Hostile, WellBehavedPeerIsServed) {
  HostilePeer& peer = connect();
  EXPECT_TRUE(peer.complete());
  EXPECT_TRUE(peer.confirmed());
  EXPECT_TRUE(world.is_usable(peer));
  EXPECT_EQ(peer.malformed(), 0u);
  EXPECT_TRUE(world.serves_honest_client());
  world.clear();
  EXPECT_EQ(world.victim().connection_count(), 0u);
}

}  // namespace
}  // namespace culvert::sim
