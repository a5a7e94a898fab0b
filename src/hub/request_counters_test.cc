#include "hub/request_counters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/testing.h"

namespace culvert::hub {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(RequestCounters, CountsByPatternMethodAndStatus) {
  RequestCounters counters;
  const auto answered = [&](const char* method, const char* target, std::string_view pattern, int status,
                            Duration took) {
    http::testing::MemoryExchange exchange(
        http::Request{.method = method, .target = target, .headers = {}, .body = {}});
    exchange.now = TimePoint(1h);
    exchange.pattern = pattern;
    exchange.answer_status = status;
    counters.count(exchange, exchange.now + took);
  };
  answered("GET", "/v1/invites/a", "/v1/invites/*", 200, 1500us);
  answered("GET", "/v1/invites/b", "/v1/invites/*", 200, 1500us);
  answered("GET", "/v1/invites/b", "/v1/invites/*", 404, 1ms);
  answered("DELETE", "/v1/invites/b", "/v1/invites/*", 200, 7ms);
  // What a client makes up is one series, not many.
  answered("BREW", "/pot", "", 405, 0ms);
  answered("GET", "/etc/passwd", "", 404, 0ms);
  answered("GET", "/wp-login", "", 404, 0ms);
  Metrics metrics;
  counters.report(metrics);
  const std::string text = metrics.to_text();
  for (const char* line :
       {"culvert_hub_requests_total{endpoint=\"/v1/invites/*\",method=\"GET\",status=\"200\"} 2\n",
        "culvert_hub_requests_total{endpoint=\"/v1/invites/*\",method=\"GET\",status=\"404\"} 1\n",
        "culvert_hub_requests_total{endpoint=\"/v1/invites/*\",method=\"DELETE\",status=\"200\"} 1\n",
        "culvert_hub_requests_total{endpoint=\"unmatched\",method=\"any\",status=\"404\"} 2\n",
        "culvert_hub_requests_total{endpoint=\"unmatched\",method=\"any\",status=\"405\"} 1\n",
        "culvert_hub_request_duration_seconds_bucket{endpoint=\"/v1/invites/*\",method=\"GET\",le=\"0.001\"} "
        "1\n",
        "culvert_hub_request_duration_seconds_bucket{endpoint=\"/v1/invites/*\",method=\"GET\",le=\"0.005\"} "
        "3\n",
        "culvert_hub_request_duration_seconds_bucket{endpoint=\"/v1/invites/*\",method=\"GET\",le=\"+Inf\"} "
        "3\n",
        "culvert_hub_request_duration_seconds_sum{endpoint=\"/v1/invites/*\",method=\"GET\"} 0.004\n",
        "culvert_hub_request_duration_seconds_count{endpoint=\"/v1/invites/*\",method=\"GET\"} 3\n",
        "culvert_hub_request_duration_seconds_bucket{endpoint=\"/v1/invites/"
        "*\",method=\"DELETE\",le=\"0.005\"} 0\n",
        "culvert_hub_request_duration_seconds_count{endpoint=\"/v1/invites/*\",method=\"DELETE\"} 1\n",
        "culvert_hub_request_duration_seconds_count{endpoint=\"unmatched\",method=\"any\"} 3\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("BREW")));
  EXPECT_THAT(text, Not(HasSubstr("passwd")));
}

TEST(RequestCounters, HasItsFamiliesFromTheStart) {
  Metrics metrics;
  RequestCounters().report(metrics);
  EXPECT_EQ(metrics.describe().size(), 2u);
}

}  // namespace
}  // namespace culvert::hub
