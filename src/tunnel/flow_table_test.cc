#include "tunnel/flow_table.h"

#include <gtest/gtest.h>

namespace culvert::tunnel {
namespace {

using namespace std::chrono_literals;

class FlowTableTest : public testing::Test {
 public:
  void add(uint64_t id) {
    auto& entry = table_.add(id, 'x', now_);
    table_.use(entry, FlowDirection::kToOrigin, now_);
  }
  void establish(uint64_t id) {
    table_.use(*table_.find(id), FlowDirection::kToClient, now_);
    table_.use(*table_.find(id), FlowDirection::kToOrigin, now_);
  }
  uint64_t victim() { return table_.take_victim().value().id; }

  FlowTable<char> table_;
  TimePoint now_ = TimePoint() + 1h;
};

TEST_F(FlowTableTest, TheLeastRecentlyUsedIsEvicted) {
  for (uint64_t id = 1; id <= 3; ++id) add(id);
  table_.use(*table_.find(1), FlowDirection::kToOrigin, now_);
  EXPECT_EQ(victim(), 2u);
  EXPECT_EQ(victim(), 3u);
  EXPECT_EQ(victim(), 1u);
  EXPECT_FALSE(table_.take_victim());
}

TEST_F(FlowTableTest, AFloodOfSingleDatagramsEvictsNoEstablishedFlow) {
  add(1);
  establish(1);
  // As spoofed sources would have it: their answers go to others, and nothing more comes from them.
  for (uint64_t id = 2; id < 100'000; ++id) {
    now_ += 10us;
    if (table_.size() >= 100) EXPECT_NE(victim(), 1u);
    add(id);
    table_.use(*table_.find(id), FlowDirection::kToClient, now_);
  }
  ASSERT_NE(table_.find(1), nullptr);
  EXPECT_TRUE(table_.find(1)->is_established());
}

TEST_F(FlowTableTest, EstablishedOnesAreEvictedWhereThereAreNoOthers) {
  for (uint64_t id = 1; id <= 2; ++id) {
    add(id);
    establish(id);
  }
  establish(1);
  EXPECT_EQ(victim(), 2u);
}

TEST_F(FlowTableTest, IdleOnesAreTakenInEitherClass) {
  add(1);
  add(2);
  establish(2);
  now_ += 30s;
  add(3);
  table_.use(*table_.find(1), FlowDirection::kToOrigin, now_);
  now_ += 30s;
  const auto idle = table_.take_unused(now_ - 60s);
  ASSERT_TRUE(idle);
  EXPECT_EQ(idle->id, 2u);
  EXPECT_FALSE(table_.take_unused(now_ - 60s));
  EXPECT_EQ(table_.size(), 2u);
  EXPECT_TRUE(table_.take(3));
  EXPECT_FALSE(table_.take(3));
}

}  // namespace
}  // namespace culvert::tunnel
