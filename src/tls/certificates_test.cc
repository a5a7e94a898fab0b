#include "tls/certificates.h"

#include <gtest/gtest.h>

namespace culvert::tls {
namespace {

UnixTime g_now = unix_now();
UnixTime test_clock() { return g_now; }

Certificates make() { return {InternalCa::load(InternalCa::create("root", g_now)).value(), test_clock}; }

TEST(Certificates, ALeafIsMadeOnceAndRenewedInTime) {
  g_now = unix_now();
  auto certificates = make();
  auto first = certificates.leaf("a.test").value();
  EXPECT_EQ(certificates.leaf("a.test").value(), first);
  EXPECT_NE(certificates.leaf("b.test").value(), first);
  g_now += std::chrono::hours(24 * 50);
  EXPECT_EQ(certificates.leaf("a.test").value(), first);
  g_now += std::chrono::hours(24 * 20);
  auto renewed = certificates.leaf("a.test").value();
  EXPECT_NE(renewed, first);
  EXPECT_GT(not_after(*renewed), not_after(*first));
  EXPECT_EQ(certificates.leaf("a.test").value(), renewed);
  EXPECT_EQ(certificates.size(), 2u);
}

TEST(Certificates, ALeafFromBeforeTheClockWasSetBackIsMadeAgain) {
  g_now = unix_now();
  auto certificates = make();
  g_now += std::chrono::hours(24 * 40);
  auto ahead = certificates.leaf("a.test").value();
  g_now -= std::chrono::hours(24 * 40);
  auto right = certificates.leaf("a.test").value();
  EXPECT_LT(not_after(*right), not_after(*ahead));
  EXPECT_EQ(certificates.leaf("a.test").value(), right);
}

TEST(Certificates, OneOfAPublicCaTakesThePlaceOfALeafUntilItIsRemoved) {
  g_now = unix_now();
  auto certificates = make();
  const auto internal = certificates.leaf("a.test").value();
  const auto first = make().leaf("a.test").value(), second = make().leaf("a.test").value();
  certificates.put("a.test", first);
  EXPECT_EQ(certificates.leaf("a.test").value(), first);
  EXPECT_NE(certificates.leaf("b.test").value(), first);
  certificates.put("a.test", second);
  EXPECT_EQ(certificates.leaf("a.test").value(), second);
  certificates.remove("a.test");
  const auto again = certificates.leaf("a.test").value();
  EXPECT_TRUE(again != first && again != second && again != internal);
}

TEST(Certificates, TheCacheIsBoundedAndKeepsWhatIsUsed) {
  g_now = unix_now();
  auto certificates = make();
  auto used = certificates.leaf("used.test").value();
  auto unused = certificates.leaf("unused.test").value();
  for (size_t i = 0; i < Certificates::kMaxLeaves - 1; ++i) {
    certificates.leaf(fmt::format("n{}.test", i)).value();
    EXPECT_EQ(certificates.leaf("used.test").value(), used);
  }
  EXPECT_EQ(certificates.size(), Certificates::kMaxLeaves);
  EXPECT_NE(certificates.leaf("unused.test").value(), unused);
  EXPECT_EQ(certificates.leaf("used.test").value(), used);
}

}  // namespace
}  // namespace culvert::tls
