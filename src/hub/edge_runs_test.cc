#include "hub/edge_runs.h"

#include <gtest/gtest.h>

namespace culvert::hub {
namespace {

using namespace std::chrono_literals;

class EdgeRunsTest : public ::testing::Test {
 protected:
  bool admit(std::string_view run, const char* client) {
    return runs_.admit(edge_, run, SocketAddr::parse(client).value(), now_).has_value();
  }
  EdgeRuns runs_;
  EndpointId edge_ = SecretKey::from_seed(Bytes(32, 1)).value().public_key();
  TimePoint now_{1h};
};

TEST_F(EdgeRunsTest, ARestartedEdgeSpeaksAtOnceAndOftenEnough) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(admit(fmt::format("run {}", i), "192.0.2.1:5"));
    EXPECT_TRUE(admit(fmt::format("run {}", i), "192.0.2.1:6"));
  }
  EXPECT_FALSE(runs_.other_place(edge_, now_));
}

TEST_F(EdgeRunsTest, OfTwoWithOneTokenTheLastSpeaksAndTheOtherIsTold) {
  EXPECT_TRUE(admit("a", "192.0.2.1:5"));
  EXPECT_TRUE(admit("b", "192.0.2.2:5"));
  for (int i = 0; i < 10; ++i, now_ += 30s) {
    const auto refused = runs_.admit(edge_, "a", SocketAddr::parse("192.0.2.1:5").value(), now_);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_NE(refused.error().message.find("192.0.2.2"), std::string::npos);
    EXPECT_TRUE(admit("b", "192.0.2.2:5"));
    EXPECT_EQ(runs_.other_place(edge_, now_), "192.0.2.1");
  }
  // The other is stopped: the first may speak again, and the conflict is forgotten.
  now_ += EdgeRuns::kSilence;
  EXPECT_TRUE(admit("a", "192.0.2.1:5"));
  now_ += EdgeRuns::kShown;
  EXPECT_FALSE(runs_.other_place(edge_, now_));
}

TEST_F(EdgeRunsTest, WhatDoesNotSayItsRunIsTaken) {
  EXPECT_TRUE(admit("a", "192.0.2.1:5"));
  EXPECT_TRUE(admit("", "192.0.2.2:5"));
  EXPECT_TRUE(admit("a", "192.0.2.1:5"));
}

}  // namespace
}  // namespace culvert::hub
