#include "cli/exit_status.h"

#include <gtest/gtest.h>

#include "hubapi/hub_client.h"

namespace culvert::cli {
namespace {

TEST(ExitStatus, FollowsFromTheHubsAnswer) {
  struct Case {
    int http;
    ExitStatus expected;
  };
  for (const Case& c : std::initializer_list<Case>{{400, ExitStatus::kRefused},
                                                   {401, ExitStatus::kRefused},
                                                   {403, ExitStatus::kRefused},
                                                   {404, ExitStatus::kNotFound},
                                                   {409, ExitStatus::kRefused},
                                                   {429, ExitStatus::kUnreachable},
                                                   {503, ExitStatus::kUnreachable},
                                                   {507, ExitStatus::kFailed}}) {
    EXPECT_EQ(status_of_call(hubapi::error_from_response(c.http, "{}").code), c.expected) << c.http;
  }
}

TEST(ExitStatus, TheListIsComplete) {
  int expected = 0;
  for (const ExitStatusInfo& each : exit_statuses()) EXPECT_EQ(static_cast<int>(each.status), expected++);
  EXPECT_EQ(expected, static_cast<int>(ExitStatus::kNotFound) + 1);
}

}  // namespace
}  // namespace culvert::cli
