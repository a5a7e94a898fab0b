#include "edge/flow_slots.h"

#include <gtest/gtest.h>

#include <vector>

#include "route/testing.h"

namespace culvert::edge {
namespace {

using namespace std::chrono_literals;
using Refusal = FlowSlots::Refusal;
using route::testing::id;

class FlowSlotsTest : public testing::Test {
 public:
  // How many of these flows may begin.
  int take(uint8_t tenant, int count) {
    int taken = 0;
    for (int i = 0; i < count; ++i) {
      auto slot = slots_.take(id(tenant), now_);
      if (!slot) continue;
      kept_.push_back(std::move(*slot));
      ++taken;
    }
    return taken;
  }
  Refusal refusal(uint8_t tenant) { return slots_.take(id(tenant), now_).error(); }

  FlowSlots slots_{{.all = 10, .of_tenant = 6, .new_per_second = 100}};
  std::vector<FlowSlots::Slot> kept_;
  TimePoint now_ = TimePoint() + 1h;
};

TEST_F(FlowSlotsTest, FlowsAreLimitedForATenantAndForAll) {
  EXPECT_EQ(take(1, 20), 6);
  EXPECT_EQ(refusal(1), Refusal::kTenantFull);
  EXPECT_EQ(take(2, 20), 4);
  EXPECT_EQ(refusal(2), Refusal::kFull);
  kept_.pop_back();
  EXPECT_EQ(take(3, 20), 1);
  kept_.clear();
  EXPECT_EQ(slots_.size(), 0u);
  slots_.set_limits({.all = 3, .of_tenant = 2, .new_per_second = 100});
  EXPECT_EQ(take(1, 20), 2);
}

TEST_F(FlowSlotsTest, ATenantsRateIsItsOwnAndComesFirst) {
  slots_.set_limits({.all = 1000, .of_tenant = 100, .new_per_second = 100});
  EXPECT_EQ(take(1, 100), 100);
  EXPECT_EQ(refusal(1), Refusal::kRate) << "before it is told that others might be evicted";
  EXPECT_EQ(take(2, 1), 1);
  now_ += 10ms;
  EXPECT_EQ(refusal(1), Refusal::kTenantFull) << "which costs nothing of the rate";
  kept_.pop_back();
  kept_.erase(kept_.begin());
  EXPECT_EQ(take(1, 20), 1);
}

}  // namespace
}  // namespace culvert::edge
