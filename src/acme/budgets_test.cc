#include "acme/budgets.h"

#include <gtest/gtest.h>

namespace culvert::acme {
namespace {

using namespace std::chrono_literals;
using std::chrono::days;

const UnixTime kStart{1'800'000'000s};

Budgets::Order first_of(const std::string& tenant, const std::string& domain) {
  return {.tenant = tenant, .domain = domain, .is_renewal = false};
}

void issue(Budgets& budgets, const Budgets::Order& order, UnixTime now) {
  EXPECT_EQ(budgets.allowed_at(order, now), now);
  budgets.begin(order, now);
  budgets.end(order, true, now);
}

TEST(Budgets, OfADomain) {
  Budgets budgets({.domain = {.most = 2, .span = days(7)}});
  issue(budgets, first_of("a", "x.test"), kStart);
  issue(budgets, first_of("b", "x.test"), kStart + 1h);
  EXPECT_EQ(budgets.allowed_at(first_of("c", "x.test"), kStart + 2h), kStart + days(7));
  EXPECT_EQ(budgets.allowed_at(first_of("c", "y.test"), kStart + 2h), kStart + 2h);
  issue(budgets, first_of("c", "x.test"), kStart + days(7));
  EXPECT_EQ(budgets.allowed_at(first_of("d", "x.test"), kStart + days(7)), kStart + days(7) + 1h);
}

TEST(Budgets, OfADomainAreCertificatesAndWhatRuns) {
  Budgets budgets({.domain = {.most = 1, .span = days(7)}});
  const auto order = first_of("a", "x.test");
  budgets.begin(order, kStart);
  EXPECT_EQ(budgets.allowed_at(order, kStart), kStart + 1min) << "one runs";
  budgets.end(order, false, kStart);
  EXPECT_EQ(budgets.allowed_at(order, kStart), kStart) << "it failed";
}

TEST(Budgets, OfATenantAreOrders) {
  Budgets budgets({.tenant = {.most = 2, .span = 24h}});
  for (int i = 0; i < 2; ++i) {
    const auto order = first_of("a", "x.test");
    budgets.begin(order, kStart);
    budgets.end(order, false, kStart);
  }
  EXPECT_EQ(budgets.allowed_at(first_of("a", "y.test"), kStart), kStart + 24h);
  EXPECT_EQ(budgets.allowed_at(first_of("b", "x.test"), kStart), kStart);
}

TEST(Budgets, RenewalsCountAgainstAllAlone) {
  const BudgetLimits limits{
      .domain = {.most = 0, .span = 1h}, .all = {.most = 2, .span = 3h}, .tenant = {.most = 0, .span = 1h}};
  Budgets budgets(limits);
  const Budgets::Order renewal{.tenant = "a", .domain = "x.test", .is_renewal = true};
  EXPECT_EQ(budgets.allowed_at(first_of("a", "x.test"), kStart), kStart + 1h) << "a budget of nothing";
  issue(budgets, renewal, kStart);
  issue(budgets, renewal, kStart);
  EXPECT_EQ(budgets.allowed_at(renewal, kStart), kStart + 3h);
}

TEST(Budgets, SurviveARestart) {
  const BudgetLimits limits{.domain = {.most = 1, .span = days(7)}};
  Budgets before(limits);
  issue(before, first_of("a", "x.test"), kStart);
  Budgets after(limits);
  ASSERT_TRUE(after.restore(before.encode(kStart)));
  EXPECT_EQ(after.allowed_at(first_of("b", "x.test"), kStart), kStart + days(7));
  EXPECT_EQ(before.encode(kStart + days(8)), R"({"orders":[],"domains":{},"tenants":{}})")
      << "old times are forgotten";
}

TEST(Budgets, DamagedTextIsRefused) {
  Budgets budgets({});
  for (const char* text :
       {"", "[]", "{}", R"({"orders":[-1],"domains":{},"tenants":{}})",
        R"({"orders":[],"domains":{"a":5},"tenants":{}})", R"({"orders":[],"domains":[],"tenants":{}})",
        R"({"orders":["x"],"domains":{},"tenants":{}})"}) {
    EXPECT_FALSE(budgets.restore(text)) << text;
  }
}

// A clock that was wrong must not block for as long as it was wrong.
TEST(Budgets, TimesOfTheFutureAreForgotten) {
  Budgets budgets({.tenant = {.most = 1, .span = 24h}});
  issue(budgets, first_of("a", "x.test"), kStart + days(3650));
  budgets.begin(first_of("b", "x.test"), kStart);
  EXPECT_EQ(budgets.allowed_at(first_of("a", "x.test"), kStart), kStart);
}

}  // namespace
}  // namespace culvert::acme
