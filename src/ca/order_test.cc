#include "ca/order.h"

#include <gtest/gtest.h>

namespace culvert::ca {
namespace {

using namespace std::chrono_literals;

const UnixTime kNow{1'800'000'000s};

PlacedOrder order(int number, size_t authorizations, UnixTime expires_at = kNow + 24h) {
  PlacedOrder out{.id = std::to_string(number),
                  .account_id = "account-" + std::to_string(number % 100),
                  .names = {},
                  .authorizations = {},
                  .expires_at = expires_at};
  out.authorizations.resize(authorizations);
  return out;
}

TEST(Orders, AFinishedOneMakesRoom) {
  Orders orders;
  const int most = Orders::kMaxAuthorizations / Orders::kMaxNames;
  for (int i = 0; i < most; ++i) ASSERT_TRUE(orders.add(order(i, Orders::kMaxNames), kNow));
  EXPECT_FALSE(orders.add(order(most, 1), kNow)) << "all of them are wanted";
  orders.find("7", kNow)->status = acme::OrderStatus::kValid;
  orders.find("9", kNow)->status = acme::OrderStatus::kInvalid;
  EXPECT_TRUE(orders.add(order(most, 1), kNow));
  EXPECT_EQ(orders.find("7", kNow), nullptr);
  EXPECT_NE(orders.find("9", kNow), nullptr);
  EXPECT_EQ(orders.size(), static_cast<size_t>(most));
  EXPECT_EQ(orders.of_account("account-9", kNow).size(), 2u);
}

TEST(Orders, ExpiredOnesAreGone) {
  Orders orders;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(orders.add(order(i, 1, kNow + i * 1h), kNow - 1h));
  EXPECT_EQ(orders.find("2", kNow + 2h), nullptr);
  EXPECT_NE(orders.find("3", kNow + 2h), nullptr);
  EXPECT_EQ(orders.size(), 7u);
}

TEST(PlacedOrder, FollowsItsAuthorizations) {
  PlacedOrder placed = order(1, 2);
  placed.update();
  EXPECT_EQ(placed.status, acme::OrderStatus::kPending);
  for (OrderAuthorization& each : placed.authorizations) each.status = acme::AuthorizationStatus::kValid;
  placed.update();
  EXPECT_EQ(placed.status, acme::OrderStatus::kReady);
  placed.authorizations[0].status = acme::AuthorizationStatus::kDeactivated;
  placed.update();
  EXPECT_EQ(placed.status, acme::OrderStatus::kInvalid);
  placed.authorizations[0].status = acme::AuthorizationStatus::kValid;
  placed.update();
  EXPECT_EQ(placed.status, acme::OrderStatus::kInvalid) << "for ever";
}

}  // namespace
}  // namespace culvert::ca
