#include "edge/overload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace culvert::edge {
namespace {

using namespace std::chrono_literals;
using enum OverloadState;
using enum Overload::Resource;

class OverloadTest : public testing::Test {
 public:
  OverloadState use(size_t connections, size_t handshakes = 0, size_t memory = 0) {
    overload_.update({{{connections, 100}, {handshakes, 100}, {memory, 100}}});
    return overload_.state();
  }

  Overload overload_;
};

TEST_F(OverloadTest, EachPartHasItsState) {
  EXPECT_EQ(use(0), kNormal);
  EXPECT_EQ(use(74), kNormal);
  EXPECT_EQ(use(75), kBusy);
  EXPECT_EQ(use(90), kShedding);
  EXPECT_EQ(use(99), kShedding);
  EXPECT_EQ(use(100), kFull);
  EXPECT_EQ(use(300), kFull);
}

TEST_F(OverloadTest, AStateIsLeftWithAMargin) {
  EXPECT_EQ(use(100), kFull);
  EXPECT_EQ(use(91), kFull);
  EXPECT_EQ(use(89), kShedding);
  EXPECT_EQ(use(81), kShedding);
  EXPECT_EQ(use(79), kBusy);
  EXPECT_EQ(use(66), kBusy);
  EXPECT_EQ(use(64), kNormal);
  EXPECT_EQ(use(100), kFull);
  EXPECT_EQ(use(0), kNormal) << "at once, where nothing is used any more";
}

TEST_F(OverloadTest, TheScarcestResourceDecides) {
  EXPECT_EQ(use(10, 80, 20), kBusy);
  EXPECT_EQ(use(10, 80, 95), kShedding);
  EXPECT_EQ(overload_.state(kConnections), kNormal);
  EXPECT_EQ(overload_.state(kHandshakes), kBusy);
  EXPECT_EQ(overload_.state(kMemory), kShedding);
}

TEST_F(OverloadTest, WhatHasNoLimitIsNeverScarce) {
  overload_.update({{{10, 0}, {10, 0}, {1'000'000, 0}}});
  EXPECT_EQ(overload_.state(), kNormal);
}

TEST_F(OverloadTest, ClientsHaveLessTimeWhereItIsBusy) {
  EXPECT_EQ(overload_.patience(10s), 10s);
  use(75);
  EXPECT_EQ(overload_.patience(10s), Overload::kPatience);
  EXPECT_EQ(overload_.patience(300ms), 300ms);
}

TEST_F(OverloadTest, TheOperatorIsToldWhatIsScarceAndWhatToDo) {
  use(89);
  EXPECT_EQ(overload_.fault(), "");
  use(95, 80);
  EXPECT_EQ(overload_.fault(),
            "the edge is shedding: 95 % of its connections in use; raise --max-connections or add an edge");
  use(10, 20, 110);
  EXPECT_EQ(overload_.fault(),
            "the edge is full: 110 % of its memory in use; raise --max-memory or add an edge");
}

TEST_F(OverloadTest, EachChangeHasALineThatNamesWhatIsScarce) {
  testing::internal::CaptureStderr();
  use(10, 0, 92);
  use(10, 0, 93);
  use(10, 0, 20);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(
      log.find(
          "event=overload state=shedding before=normal scarcest=memory used_percent=92 used=92 most=100"),
      std::string::npos)
      << log;
  EXPECT_NE(log.find("event=overload_eased state=normal before=shedding"), std::string::npos) << log;
  EXPECT_EQ(std::ranges::count(log, '\n'), 2) << log;
}

}  // namespace
}  // namespace culvert::edge
