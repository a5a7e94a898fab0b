#include "quic/send_budget.h"

#include <gtest/gtest.h>

#include <deque>

namespace culvert::quic {
namespace {

constexpr uint64_t kCap = 64 * 1024 * 1024;
constexpr uint64_t kMaxWindow = 8 * 1024 * 1024;
constexpr uint64_t kMaxPending = 16 * 1024 * 1024;

class SendBudgetTest : public testing::Test {
 protected:
  ~SendBudgetTest() override {
    for (SendBudget::Share& share : shares_) budget_.release(share);
    EXPECT_EQ(budget_.used(), 0u);
    EXPECT_EQ(budget_.fair(), kCap / 2);
  }
  SendBudget::Share& share() { return shares_.emplace_back(nullptr); }
  // Takes all that it gets.
  void hog(SendBudget::Share& share) {
    while (budget_.grow(share, 1, kMaxWindow) > 0) {
    }
    for (int stream = 0; stream < 1024; ++stream) {
      budget_.add_pending(share, budget_.room(share, kMaxPending));
      ASSERT_LE(budget_.used(), kCap);
    }
  }

  SendBudget budget_{kCap};
  std::deque<SendBudget::Share> shares_;
};

TEST_F(SendBudgetTest, WindowsGrowByWhatIsWantedAndDoubleAtLeast) {
  SendBudget::Share& one = share();
  EXPECT_EQ(budget_.grow(one, 1, kMaxWindow), SendBudget::kStep);
  EXPECT_EQ(budget_.grow(one, 64 * 1024, kMaxWindow), 64 * 1024u);
  EXPECT_EQ(one.window, 68 * 1024u);
  EXPECT_EQ(budget_.grow(one, 1, kMaxWindow), 68 * 1024u);
  EXPECT_EQ(budget_.grow(one, 1, one.window + 100), 0u) << "a step does not fit";
  EXPECT_EQ(budget_.used(), one.window);
  EXPECT_FALSE(budget_.take_shortage());
}

TEST_F(SendBudgetTest, NeitherPartOfAShareIsMoreThanAQuarterOfWhatIsLeft) {
  SendBudget::Share& one = share();
  while (budget_.grow(one, 1, kCap) > 0) {
  }
  EXPECT_TRUE(budget_.take_shortage());
  EXPECT_FALSE(budget_.take_shortage()) << "it is told once";
  EXPECT_LE(one.window, (kCap - budget_.used()) / 4);
  EXPECT_GT(one.window, kCap / 6);
  EXPECT_FALSE(budget_.can_grow(one));
  while (const uint64_t room = budget_.room(one, kCap)) budget_.add_pending(one, room);
  EXPECT_LE(one.pending, (kCap - budget_.used()) / 4);
  EXPECT_GT(one.pending, kCap / 8);
}

TEST_F(SendBudgetTest, FewHogsLeaveRoomForTheNext) {
  for (int i = 0; i < 10; ++i) {
    SendBudget::Share& newcomer = share();
    ASSERT_TRUE(budget_.can_grow(newcomer)) << i;
    ASSERT_GE(budget_.room(newcomer, kMaxPending), SendBudget::kUsualRoom) << i;
    hog(newcomer);
  }
}

// And then some of them have more than is fair: the engine can evict from these.
TEST_F(SendBudgetTest, ManyHogsNeverTakeMoreThanThereIs) {
  for (int i = 0; i < 2000; ++i) hog(share());
  SendBudget::Share& newcomer = share();
  EXPECT_EQ(budget_.room(newcomer, kMaxPending), 0u);
  EXPECT_FALSE(budget_.can_grow(newcomer));
  EXPECT_LE(newcomer.total(), budget_.fair());
  EXPECT_GT(shares_.front().total(), budget_.fair());
}

TEST_F(SendBudgetTest, StalledStreamsOfOneConnectionShareItsPendingBytes) {
  constexpr uint64_t kPending = 1024 * 1024;
  SendBudget::Share& one = share();
  uint64_t last = SendBudget::kMostRoom;
  for (int stream = 0; stream < 500; ++stream) {
    const uint64_t room = budget_.room(one, kPending);
    ASSERT_GE(room, SendBudget::kUsualRoom) << stream;
    ASSERT_LE(room, last);
    last = room;
    budget_.add_pending(one, room);
  }
  EXPECT_LE(one.pending, kPending + 500 * SendBudget::kUsualRoom);
}

TEST_F(SendBudgetTest, WindowsAreLookedAtInTurn) {
  EXPECT_EQ(budget_.next_to_shrink(), nullptr);
  SendBudget::Share& one = share();
  SendBudget::Share& two = share();
  SendBudget::Share& three = share();
  for (SendBudget::Share* each : {&one, &two, &three}) budget_.grow(*each, 1, kMaxWindow);
  budget_.grow(one, 1, kMaxWindow);
  EXPECT_EQ(budget_.next_to_shrink(), &two);
  EXPECT_EQ(budget_.next_to_shrink(), &three);
  budget_.shrink(one, 0);
  EXPECT_EQ(budget_.next_to_shrink(), &two);
  EXPECT_EQ(budget_.next_to_shrink(), &three);
}

TEST_F(SendBudgetTest, ATinyBudgetGivesNothingRatherThanTooMuch) {
  SendBudget tiny(1000);
  SendBudget::Share& one = share();
  EXPECT_EQ(tiny.grow(one, 1, kMaxWindow), 0u);
  EXPECT_EQ(tiny.room(one, kMaxPending), 0u);
  EXPECT_FALSE(tiny.can_grow(one));
  EXPECT_TRUE(tiny.take_shortage());
}

}  // namespace
}  // namespace culvert::quic
