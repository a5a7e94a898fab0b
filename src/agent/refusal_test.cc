#include "agent/refusal.h"

#include <gtest/gtest.h>

#include "hubapi/hub_client.h"

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;

// Declarations in the second hour of nothing but answers of this status, after a first one of another.
int asked_in_an_hour(int status, uint64_t seed, int first_status) {
  SeededRandom random(seed);
  Backoff backoff;
  RetryCap cap;
  Error error = hubapi::error_from_response(first_status, "");
  int asked = 0;
  for (Duration elapsed{}; elapsed < 2h; elapsed += backoff.next(random, cap.after(error))) {
    if (elapsed > Duration::zero()) error = hubapi::error_from_response(status, "");
    if (elapsed >= 1h) ++asked;
  }
  return asked;
}
int asked_in_an_hour(int status, uint64_t seed) { return asked_in_an_hour(status, seed, status); }

TEST(Refusal, ARefusedAgentAsksEveryFewMinutes) {
  for (int status : {400, 401, 403, 404, 409, 410, 413, 422}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      EXPECT_LE(asked_in_an_hour(status, seed), 60) << status;  // 24 on average
      EXPECT_GE(asked_in_an_hour(status, seed), 8) << status;
    }
  }
}

TEST(Refusal, ARefusedAgentThatIsLimitedThenDoesNotAskMoreOften) {
  for (int status : {408, 429, 503}) EXPECT_LE(asked_in_an_hour(status, 1, 401), 60) << status;
}

TEST(Refusal, AnAgentOfABusyHubKeepsAskingWithinSeconds) {
  for (int status : {408, 429, 500, 503}) {
    EXPECT_FALSE(is_refusal(hubapi::error_from_response(status, "")));
    EXPECT_GE(asked_in_an_hour(status, 1), 3600 / 4) << status;
  }
}

}  // namespace
}  // namespace culvert::agent
