#include "acme/renewal.h"

#include <gtest/gtest.h>

#include <set>

namespace culvert::acme {
namespace {

using namespace std::chrono_literals;
using std::chrono::days;

const UnixTime kStart{1'800'000'000s};

Validity living(std::chrono::seconds lifetime) {
  return {.not_before = kStart, .not_after = kStart + lifetime};
}

TEST(Renewal, ByLifetime) {
  SeededRandom random(1);
  struct Case {
    std::chrono::seconds lifetime, left;
  };
  for (const Case& c : {Case{days(90), days(30)}, Case{days(45), days(15)}, Case{160h, 80h},
                        Case{days(10), days(5)}, Case{days(11), 88h}, Case{30s, 15s}}) {
    const Validity validity = living(c.lifetime);
    std::set<UnixTime> chosen;
    for (int i = 0; i < 1000; ++i) {
      const UnixTime at = renewal_by_lifetime(validity, random);
      EXPECT_LE(at, validity.not_after - c.left);
      EXPECT_GE(at, validity.not_after - c.left - c.left / 10);
      chosen.insert(at);
    }
    if (c.lifetime >= 1h) EXPECT_GT(chosen.size(), 500u) << "renewed at different times";
  }
}

TEST(Renewal, InTheWindowOfTheCa) {
  SeededRandom random(1);
  const Validity validity = living(days(90));
  const RenewalWindow window{.start = kStart + days(50), .end = kStart + days(52)};
  UnixTime first = UnixTime::max(), last = UnixTime::min();
  for (int i = 0; i < 1000; ++i) {
    const UnixTime at = renewal_in_window(window, validity, random);
    first = std::min(first, at);
    last = std::max(last, at);
  }
  EXPECT_GE(first, window.start);
  EXPECT_LT(first, window.start + 1h);
  EXPECT_LE(last, window.end);
  EXPECT_GT(last, window.end - 1h);
}

TEST(Renewal, AWindowIsNotBelievedBeyondReason) {
  SeededRandom random(1);
  const Validity validity = living(days(90));
  const RenewalWindow past{.start = kStart - days(50), .end = kStart - days(49)};
  EXPECT_EQ(renewal_in_window(past, validity, random), kStart + 6h);
  const RenewalWindow late{.start = kStart + days(100), .end = kStart + days(101)};
  EXPECT_EQ(renewal_in_window(late, validity, random), kStart + days(81));
  EXPECT_EQ(renewal_in_window(past, living(40h), random), kStart + 2h);
}

TEST(Renewal, RetriesWaitFromAMinuteToADay) {
  SeededRandom random(1);
  const std::chrono::seconds bases[] = {1min, 3min, 9min, 27min, 81min, 243min, 729min, 24h, 24h};
  for (uint32_t failures = 1; failures <= std::size(bases); ++failures) {
    for (int i = 0; i < 100; ++i) {
      const auto wait = retry_wait(failures, random);
      EXPECT_GE(wait, bases[failures - 1]);
      EXPECT_LE(wait, std::min<std::chrono::seconds>(bases[failures - 1] * 11 / 10, 24h));
    }
  }
  EXPECT_EQ(retry_wait(UINT32_MAX, random), 24h);
  // As the comment says.
  EXPECT_LE((1 + 3 + 9 + 27) * 1min, 40min);
  EXPECT_GE((1 + 3 + 9 + 27 + 81) * 1min, 120min);
}

TEST(Renewal, WindowsAreAskedForWithinADay) {
  SeededRandom random(1);
  EXPECT_GE(window_wait(std::nullopt, random), 6h);
  EXPECT_LE(window_wait(std::nullopt, random), 6h + 36min);
  EXPECT_GE(window_wait(0s, random), 1min);
  EXPECT_LE(window_wait(days(30), random), 24h + 144min);
}

}  // namespace
}  // namespace culvert::acme
