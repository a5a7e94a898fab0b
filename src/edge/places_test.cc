#include "edge/places.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace culvert::edge {
namespace {

using namespace std::chrono_literals;
using Sources = Places<std::string>;
using Refusal = Sources::Refusal;

class PlacesTest : public testing::Test {
 public:
  // How many of these get a place.
  int take(const std::string& holder, int count, Sources::Terms terms = {}) {
    int taken = 0;
    for (int i = 0; i < count; ++i) {
      auto place = places_.take(holder, now_, terms);
      if (!place) continue;
      kept_.push_back(std::move(*place));
      ++taken;
    }
    return taken;
  }
  Refusal refusal(const std::string& holder, Sources::Terms terms = {}) {
    auto place = places_.take(holder, now_, terms);
    return place ? throw std::logic_error("it got a place") : place.error();
  }

  Sources places_{{}};
  std::vector<Sources::Place> kept_;
  TimePoint now_ = TimePoint() + 1h;
};

TEST_F(PlacesTest, AHolderAndAllHaveALimit) {
  places_.set_limits({.all = 10, .each = 6});
  EXPECT_EQ(take("a", 20), 6);
  EXPECT_EQ(refusal("a"), Refusal::kFull);
  EXPECT_EQ(take("b", 20), 4);
  EXPECT_EQ(refusal("b"), Refusal::kAllFull);
  kept_.pop_back();
  EXPECT_EQ(take("c", 20), 1);
  kept_.clear();
  EXPECT_EQ(places_.size(), 0u);
  places_.set_limits({.all = 3, .each = 2});
  EXPECT_EQ(take("a", 20), 2);
}

TEST_F(PlacesTest, AHoldersOwnLimitCountsIfItIsLower) {
  places_.set_limits({.each = 4});
  EXPECT_EQ(take("a", 20, {.own = {.open = 2}}), 2);
  EXPECT_EQ(take("b", 20, {.own = {.open = 9}}), 4);
  EXPECT_EQ(places_.limits_for({}).open, 4u);
  EXPECT_EQ(places_.limits_for({.open = 2}).open, 2u);
  EXPECT_EQ(places_.limits_for({.open = 9}).open, 4u);
}

TEST_F(PlacesTest, AHoldersOwnRateCountsIfItIsLower) {
  const Sources::Terms slow{.own = {.per_second = 3}}, fast{.own = {.per_second = 50}};
  places_.set_limits({.each_per_second = 10});
  EXPECT_EQ(take("slow", 20, slow), 3);
  EXPECT_EQ(refusal("slow", slow), Refusal::kRate);
  EXPECT_EQ(take("fast", 20, fast), 10);
  EXPECT_EQ(take("other", 20), 10);
  now_ += 1s;
  EXPECT_EQ(take("slow", 20, slow), 3);
  places_.set_limits({});
  now_ += 1s;
  EXPECT_EQ(take("slow", 20, slow), 3) << "the others have none now";
  EXPECT_EQ(take("other", 20), 20);
  EXPECT_EQ(places_.limits_for({.per_second = 3}), (Sources::Own{Sources::kNoLimit, 3, 0}));
}

TEST_F(PlacesTest, AnOwnLimitThatChangesHoldsAtOnce) {
  places_.set_limits({.each = 10, .each_per_second = 100});
  places_.set_own("unknown", {.open = 1});
  EXPECT_EQ(take("unknown", 2), 2) << "nobody knew it, and these terms say nothing";
  EXPECT_EQ(take("a", 2, {.own = {.per_second = 2}}), 2);
  EXPECT_EQ(refusal("a", {.own = {.per_second = 2}}), Refusal::kRate);
  EXPECT_EQ(refusal("a", {.own = {.open = 5, .per_second = 2}}), Refusal::kRate)
      << "a change of something else gives nothing back";
  EXPECT_EQ(take("a", 1, {.own = {.per_second = 4}}), 1);
  EXPECT_EQ(kept_.back().bytes().charge(1'000'000, now_), 0s);
  places_.set_own("a", {.bytes_per_second = 1'000});
  EXPECT_EQ(kept_.back().bytes().charge(1'050, now_), 1s) << "of a place that it had";
  places_.set_limits({.each = 10, .bytes_per_second = 500});
  EXPECT_EQ(places_.limits_for({.bytes_per_second = 1'000}).bytes_per_second, 500u);
  places_.set_limits({.each = 10});
  EXPECT_EQ(places_.limits_for({.bytes_per_second = 1'000}).bytes_per_second, 1'000u);
  EXPECT_TRUE(kept_.back().bytes().is_limited());
  places_.set_own("a", {});
  EXPECT_FALSE(kept_.back().bytes().is_limited());
}

TEST_F(PlacesTest, ARateIsTheHoldersOwnAndComesFirst) {
  places_.set_limits({.all = 1000, .each = 100, .each_per_second = 100});
  EXPECT_EQ(take("a", 100), 100);
  EXPECT_EQ(refusal("a"), Refusal::kRate);
  EXPECT_EQ(take("b", 1), 1);
  now_ += 10ms;
  EXPECT_EQ(refusal("a"), Refusal::kFull) << "which costs nothing of the rate";
  kept_.erase(kept_.begin());
  EXPECT_EQ(take("a", 20), 1);
}

TEST_F(PlacesTest, TheRateOfAllIsNotSpentByWhoIsOverTheOwn) {
  places_.set_limits({.all_per_second = 10, .each_per_second = 4});
  EXPECT_EQ(take("a", 50), 4);
  EXPECT_EQ(take("b", 50), 4);
  EXPECT_EQ(take("c", 50), 2);
  EXPECT_EQ(refusal("c"), Refusal::kAllRate);
  EXPECT_EQ(refusal("a"), Refusal::kRate);
  now_ += 1s;
  EXPECT_EQ(take("a", 50), 4);
}

TEST_F(PlacesTest, ClosingDoesNotGiveARateBack) {
  places_.set_limits({.each_per_second = 5});
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(take("a", 1), 1);
    kept_.clear();
  }
  EXPECT_EQ(refusal("a"), Refusal::kRate);
  EXPECT_EQ(take("b", 1), 1);
  kept_.clear();
  EXPECT_EQ(refusal("a"), Refusal::kRate);
}

TEST_F(PlacesTest, WhoHasNothingOpenIsForgottenOnceItsRateHasRecovered) {
  places_.set_limits({.each_per_second = 10});
  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(take(std::to_string(i), 1), 1);
  EXPECT_EQ(places_.holders(), 1'000u);
  kept_.clear();
  now_ += 2s;
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_EQ(take("again", 1), 1);
    kept_.clear();
    now_ += 100ms;
  }
  EXPECT_EQ(places_.holders(), 1u);
}

TEST_F(PlacesTest, AFloodOfHoldersTakesBoundedMemory) {
  places_.set_limits({.each_per_second = 1});
  for (size_t i = 0; i < 3 * Sources::kMostResting; ++i) {
    EXPECT_EQ(take(std::to_string(i), 1), 1);
    kept_.clear();
  }
  EXPECT_LE(places_.holders(), Sources::kMostResting + 2);
}

TEST_F(PlacesTest, OfWhatIsScarceNobodyGetsMoreThanAnEqualPart) {
  places_.set_limits({});
  const Sources::Terms scarce{.equal_part_of = 12};
  EXPECT_EQ(take("greedy", 8), 8);
  EXPECT_EQ(take("greedy", 20, scarce), 4) << "it is alone";
  EXPECT_EQ(take("new", 20, scarce), 6);
  EXPECT_EQ(refusal("greedy", scarce), Refusal::kFull);
  EXPECT_EQ(take("newer", 20, scarce), 4);
  EXPECT_EQ(refusal("new", scarce), Refusal::kFull);
  EXPECT_EQ(take("newest", 1, {.equal_part_of = 1}), 1) << "who has nothing gets a first one";
  EXPECT_EQ(take("greedy", 1), 1) << "nothing is scarce any more";
}

TEST_F(PlacesTest, ThePlacesOfAHolderShareItsBytes) {
  places_.set_limits({.bytes_per_second = 1'000});
  take("a", 2);
  take("b", 1);
  EXPECT_EQ(kept_[0].bytes().charge(1'050, now_), 1s);
  EXPECT_EQ(kept_[1].bytes().charge(1'000, now_), 2s);
  EXPECT_EQ(kept_[2].bytes().charge(50, now_), 0s);
  places_.set_limits({});
  EXPECT_EQ(kept_[1].bytes().charge(1'000, now_), 0s);
}

// A worker whose loop read its clock a moment before another one comes behind it.
TEST_F(PlacesTest, ATimeBeforeTheLastOneRefusesNobody) {
  EXPECT_EQ(take("a", 1), 1);
  now_ -= 1ms;
  EXPECT_EQ(take("a", 1), 1);
  EXPECT_EQ(take("b", 1), 1);
  places_.set_limits({.all_per_second = 100, .each_per_second = 10});
  now_ += 1h;
  EXPECT_EQ(take("a", 1), 1);
  now_ -= 1ms;
  EXPECT_EQ(take("a", 1), 1);
}

TEST_F(PlacesTest, ThreadsMayTakeAndGiveBack) {
  places_.set_limits({.each = 3});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int each = 0; each < 2'000; ++each) {
        auto place = places_.take(std::to_string(each % (i + 1)), TimePoint() + 1h);
        (void)place;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(places_.size(), 0u);
}

}  // namespace
}  // namespace culvert::edge
