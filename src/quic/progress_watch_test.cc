#include "quic/progress_watch.h"

#include <gtest/gtest.h>

namespace culvert::quic {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint kStart{std::chrono::hours(1)};
constexpr Duration kKeepAlive = 5s;

// Looks whenever it is due until `end`; returns when it first saw no progress.
TimePoint look_until(ProgressWatch& watch, uint64_t acks, TimePoint end, Duration round_trip = 10ms) {
  while (watch.next_look() <= end) {
    const TimePoint now = watch.next_look();
    if (watch.look(acks, round_trip, now)) return now;
    EXPECT_GT(watch.next_look(), now);
  }
  return TimePoint::max();
}

TEST(ProgressWatch, NothingIsWatchedBeforeItStarts) {
  EXPECT_EQ(ProgressWatch(kKeepAlive).next_look(), TimePoint::max());
}

TEST(ProgressWatch, TwoMissedKeepAlivesAndAMarginAreNoProgress) {
  ProgressWatch watch(kKeepAlive);
  watch.start(kStart);
  EXPECT_EQ(look_until(watch, 0, kStart + 1min), kStart + 2 * kKeepAlive + ProgressWatch::kNoProgress);
}

TEST(ProgressWatch, AcknowledgementsAreProgress) {
  ProgressWatch watch(kKeepAlive);
  watch.start(kStart);
  TimePoint now = kStart;
  for (uint64_t acks = 1; acks < 100; ++acks) {
    now += kKeepAlive;
    EXPECT_EQ(look_until(watch, acks, now), TimePoint::max()) << acks;
  }
}

TEST(ProgressWatch, AfterAChangeOfTheNetworkItIsQuick) {
  ProgressWatch watch(kKeepAlive);
  watch.start(kStart);
  watch.network_changed(7, kStart + 1s);
  const TimePoint stuck = look_until(watch, 7, kStart + 1min);
  EXPECT_GE(stuck, kStart + 1s + ProgressWatch::kNoProgress);
  EXPECT_LT(stuck, kStart + 1s + ProgressWatch::kNoProgress + 100ms);
  // And patient again after the first acknowledgement.
  EXPECT_FALSE(watch.look(8, 10ms, stuck + 1s));
  EXPECT_EQ(look_until(watch, 8, stuck + 1s + 2 * kKeepAlive), TimePoint::max());
}

TEST(ProgressWatch, SlowRoundTripsTakeTheirTime) {
  ProgressWatch watch(kKeepAlive);
  watch.start(kStart);
  watch.network_changed(0, kStart);
  const TimePoint stuck = look_until(watch, 0, kStart + 5min, 10s);
  EXPECT_GE(stuck, kStart + ProgressWatch::kNoProgressRoundTrips * 10s);
}

}  // namespace
}  // namespace culvert::quic
