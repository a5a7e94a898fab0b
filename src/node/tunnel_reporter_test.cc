#include "node/tunnel_reporter.h"

#include <gtest/gtest.h>

namespace culvert::node {
namespace {

using namespace std::chrono_literals;

EndpointId agent(uint16_t number) {
  Bytes seed(SecretKey::kSize, 1);
  seed[0] = static_cast<uint8_t>(number);
  seed[1] = static_cast<uint8_t>(number >> 8);
  return SecretKey::from_seed(seed)->public_key();
}

class TunnelReporterTest : public testing::Test {
 protected:
  void hear(std::vector<uint16_t> numbers) {
    std::vector<route::AgentHeard> heard;
    for (uint16_t number : numbers) heard.push_back({agent(number), now_});
    reporter_.heard(heard);
  }
  std::optional<hubapi::TunnelReport> next() { return reporter_.next(now_, ++sessions_); }

  TunnelReporter reporter_;
  TimePoint now_{std::chrono::hours(1)};
  uint64_t sessions_ = 0;
};

TEST_F(TunnelReporterTest, TellsWhatChangedAndNothingElse) {
  hear({1, 2});
  auto report = next();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->number, 0U);
  EXPECT_EQ(report->heard.size(), 2U);
  reporter_.confirmed();
  for (int i = 0; i < 3; ++i) {
    now_ += 2s;
    hear({1, 2});
    EXPECT_FALSE(next());
  }
  reporter_.closed(agent(1));
  reporter_.left(agent(2));
  report = next();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->number, 1U);
  EXPECT_EQ(report->closed, std::vector{agent(1)});
  EXPECT_EQ(report->left, std::vector{agent(2)});
  EXPECT_TRUE(report->heard.empty());
}

TEST_F(TunnelReporterTest, SaysNowAndThenThatItIsThere) {
  ASSERT_TRUE(next());  // begins a session, with nothing in it
  reporter_.confirmed();
  now_ += TunnelReporter::kHeartbeat - 1s;
  EXPECT_FALSE(next());
  now_ += 1s;
  EXPECT_TRUE(next());
}

TEST_F(TunnelReporterTest, AnAgentThatIsNotHeardIsSilentAndMayComeBack) {
  hear({1});
  ASSERT_TRUE(next());
  reporter_.confirmed();
  now_ += 7s;
  auto report = next();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->silent, std::vector{agent(1)});
  reporter_.confirmed();
  now_ += 1s;
  EXPECT_FALSE(next());
  hear({1});
  report = next();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->heard, std::vector{agent(1)});
}

TEST_F(TunnelReporterTest, AReportThatWasNotConfirmedIsToldAnew) {
  hear({1});
  ASSERT_TRUE(next());
  reporter_.confirmed();
  reporter_.left(agent(2));
  auto lost = next();
  ASSERT_TRUE(lost);
  reporter_.restart();
  auto report = next();
  ASSERT_TRUE(report);
  EXPECT_NE(report->session, lost->session);
  EXPECT_EQ(report->number, 0U);
  EXPECT_EQ(report->heard, std::vector{agent(1)});
  EXPECT_EQ(report->left, std::vector{agent(2)});
  reporter_.confirmed();
  EXPECT_FALSE(next());
}

TEST_F(TunnelReporterTest, ManyAgentsAreSeveralReports) {
  std::vector<uint16_t> numbers;
  const size_t count = hubapi::kMaxReportedAgents * 2 + 10;
  for (size_t i = 0; i < count; ++i) numbers.push_back(static_cast<uint16_t>(i));
  hear(numbers);
  std::set<EndpointId> told;
  size_t reports = 0;
  while (auto report = next()) {
    ASSERT_LT(hubapi::encode(*report).size(), 64U * 1024);
    told.insert(report->heard.begin(), report->heard.end());
    reporter_.confirmed();
    ++reports;
  }
  EXPECT_EQ(told.size(), count);
  EXPECT_EQ(reports, 3U);
}

}  // namespace
}  // namespace culvert::node
