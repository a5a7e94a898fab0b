#include "agent/silent_edge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/network_watch.h"

namespace culvert::agent {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(SilentEdge, NamesThePortAndThePath) {
  net::EventLoop loop;
  const SocketAddr loopback = SocketAddr::v4({127, 0, 0, 1}, 443);
  ASSERT_GE(net::path_mtu(loop, loopback).value_or(0), 1280u);
  const std::string said = silent_edge(loop, {"hub.example.com:443"}, {loopback});
  EXPECT_THAT(said, AllOf(HasSubstr("UDP hub.example.com:443"), HasSubstr("firewalls"), HasSubstr("MTU")));
}

}  // namespace
}  // namespace culvert::agent
