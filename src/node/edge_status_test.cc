#include "node/edge_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace culvert::node {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

EdgeStatus good() {
  return {.version = "1",
          .id = "ab",
          .name = "paris",
          .region = "eu-west",
          .started = UnixTime(std::chrono::seconds(1'700'000'000)),
          .addresses = {"192.0.2.1:443"},
          .hub_urls = {"https://hub.eu"},
          .hub = EdgeStatus::Hub::kFollowed,
          .hub_since = UnixTime(std::chrono::seconds(1'700'000'001)),
          .routes = 3,
          .routes_version = hubapi::RoutesVersion{.epoch = 0x1f, .version = 12},
          .routes_as_of = UnixTime(std::chrono::seconds(1'700'000'060)),
          .tunnels = 2,
          .connections = 5};
}

TEST(EdgeStatus, IsReadyWhenAllIsWell) {
  EXPECT_THAT(faults_of(good()), IsEmpty());
  const auto body = parse_json_object("the status", to_json(good()));
  ASSERT_TRUE(body) << body.error().message;
  EXPECT_EQ(body->at("status"), "ready");
  EXPECT_EQ(body->at("name"), "paris");
  EXPECT_EQ(body->at("hub"), "followed");
  EXPECT_EQ(body->at("hub_since"), 1'700'000'001);
  EXPECT_EQ(body->at("routes"), 3);
  EXPECT_EQ(body->at("routes_version"), "1f.12");
  EXPECT_EQ(body->at("routes_as_of"), 1'700'000'060);
  EXPECT_EQ(body->at("tunnels"), 2);
  EXPECT_EQ(body->at("connections"), 5);
  EXPECT_TRUE(body->at("faults").as_array().empty());
}

TEST(EdgeStatus, SaysWhatIsWrongAndWhatToDo) {
  EdgeStatus away = good();
  away.hub = EdgeStatus::Hub::kAway;
  away.hub_reason = "connection refused";
  EXPECT_THAT(
      faults_of(away),
      ElementsAre(AllOf(HasSubstr("has not answered since 2023-11-14 22:13:21 UTC: connection refused"),
                        HasSubstr("serves the routes that it has"), HasSubstr("reaches https://hub.eu"))));
  EdgeStatus fresh;
  fresh.hub_urls = {"https://hub.eu", "https://hub.us"};
  EXPECT_THAT(faults_of(fresh),
              ElementsAre(AllOf(HasSubstr("has not answered since the start; the edge has no routes"),
                                HasSubstr("https://hub.eu or https://hub.us"))));
  const auto body = parse_json_object("the status", to_json(fresh)).value();
  EXPECT_EQ(body.at("status"), "degraded");
  EXPECT_TRUE(body.at("routes_version").is_null());
  EXPECT_TRUE(body.at("routes_as_of").is_null());
  EXPECT_TRUE(body.at("hub_since").is_null());

  EdgeStatus revoked = good();
  revoked.hub = EdgeStatus::Hub::kRevoked;
  EXPECT_THAT(faults_of(revoked), ElementsAre(HasSubstr("culvert edge-invite create")));

  EdgeStatus refused = good();
  refused.hub = EdgeStatus::Hub::kRefused;
  refused.hub_reason = "another process uses its token";
  EXPECT_THAT(
      faults_of(refused),
      ElementsAre(HasSubstr("refuses this edge: another process uses its token; agents are not sent")));
  EXPECT_EQ(parse_json_object("the status", to_json(refused)).value().at("hub"), "refused");

  EdgeStatus alone = good();
  alone.tunnels = 0;
  EXPECT_THAT(faults_of(alone), ElementsAre(HasSubstr("see that UDP 192.0.2.1:443 is open")));
  alone.routes = 0;
  EXPECT_THAT(faults_of(alone), IsEmpty()) << "there is nothing to serve";

  EdgeStatus full = good();
  full.are_routes_kept = false;
  full.stuck = {"worker 1 has not answered for 2 s"};
  EXPECT_THAT(faults_of(full),
              ElementsAre(HasSubstr("worker 1 has not answered"), HasSubstr("routes_not_kept")));
}

}  // namespace
}  // namespace culvert::node
