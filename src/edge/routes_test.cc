// Changes of routes at a whole edge: what they cut, and that they touch nothing else.
#include <gtest/gtest.h>

#include "edge/edge_fixture.h"

namespace culvert::edge {
namespace {

using namespace testing;

using EdgeRoutesTest = EdgeFixture;

TEST_F(EdgeRoutesTest, AnAgentWhoseLastRouteGoesIsCutWithItsStreams) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  Received& answer = open_client("pass.test").answer;
  set_routes({});
  wait([&] { return agent.closed.has_value() && answer.ended(); });
  EXPECT_EQ(agent.closed->code, tunnel::kCloseRevoked);
  EXPECT_TRUE(answer.broken) << "a cut must not look like an end";
  EXPECT_EQ(say_hello("pass.test").bytes, kUnrecognizedName);
}

TEST_F(EdgeRoutesTest, ARouteThatGoesTakesOnlyItsOwnStreams) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  set_routes({route("pass.test", route::TlsMode::kPassthrough, {agent.id()}),
              route("also.test", route::TlsMode::kPassthrough, {agent.id()})});
  Received& cut = open_client("pass.test").answer;
  const auto [stays, kept] = open_client("also.test");
  set_routes({route("also.test", route::TlsMode::kPassthrough, {agent.id()})});
  wait([&] { return cut.ended(); });
  EXPECT_TRUE(cut.broken);
  size_t before = kept.bytes.size();
  send(stays, as_bytes("still here"));
  wait([&] { return kept.bytes.size() == before + 10; });
  EXPECT_FALSE(agent.closed);
}

TEST_F(EdgeRoutesTest, AChangeOfOneTenantsRoutesTouchesNoConnectionOfAnother) {
  FakeAgent agent(loop_, 1), other(loop_, 2);
  Config several = config();
  several.options.workers = 2;
  start(std::move(several));
  const route::Route theirs = route("their.test", route::TlsMode::kPassthrough, {other.id()});
  set_routes({route("pass.test", route::TlsMode::kPassthrough, {agent.id()}),
              route("keep.test", route::TlsMode::kPassthrough, {agent.id()}), theirs});
  connect(agent);
  connect(other);
  std::vector<Received*> kept;
  for (int i = 0; i < 20; ++i) kept.push_back(&open_client("their.test").answer);
  kept.push_back(&open_client("keep.test").answer);
  Received& cut = open_client("pass.test").answer;
  EXPECT_EQ(counters().connections_rechecked, 0u);

  const route::Delta delta{.from = version_,
                           .to = version_ + 1,
                           .upserts = {route("new.test", route::TlsMode::kPassthrough, {agent.id()})},
                           .removals = {route("pass.test", route::TlsMode::kPassthrough, {}).id()}};
  apply_routes(delta);
  wait([&] { return cut.ended(); });
  EXPECT_TRUE(cut.broken);
  EXPECT_EQ(counters().connections_rechecked, 1u) << "of 22";
  kept.push_back(&open_client("new.test").answer);
  for (Received* each : kept) EXPECT_FALSE(each->ended());

  auto refused = edge_->apply_routes(delta);
  ASSERT_FALSE(refused) << "it is one of the routes before";
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  set_routes({theirs});
  wait([&] { return agent.closed.has_value(); });
  EXPECT_EQ(agent.closed->code, tunnel::kCloseRevoked);
  wait([&] { return kept[20]->ended() && kept[21]->ended(); });
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(kept[static_cast<size_t>(i)]->ended());
  EXPECT_FALSE(other.closed);
}

TEST_F(EdgeRoutesTest, ARouteOfExactlyANameTakesItFromTheAgentsOfTheWildcard) {
  FakeAgent agent(loop_, 1), other(loop_, 2);
  start(config());
  const route::Route wildcard = route("*.w.test", route::TlsMode::kPassthrough, {agent.id()});
  set_routes({wildcard, route("other.test", route::TlsMode::kPassthrough, {other.id()})});
  connect(agent);
  connect(other);
  std::vector<Received*> answers;
  for (std::string_view host : {"x.w.test", "y.w.test"}) answers.push_back(&open_client(host).answer);
  set_routes({wildcard, route("x.w.test", route::TlsMode::kPassthrough, {other.id()})});
  wait([&] { return answers[0]->ended(); });
  EXPECT_TRUE(answers[0]->broken);
  EXPECT_EQ(counters().connections_rechecked, 1u);
  EXPECT_FALSE(answers[1]->ended());
}

TEST_F(EdgeRoutesTest, ASuspendedTenantIsRefusedAndKeepsItsTunnels) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  const auto with = [&](bool is_suspended) {
    std::vector<route::Route> routes = {route("pass.test", route::TlsMode::kPassthrough, {agent.id()}),
                                        route("term.test", route::TlsMode::kTerminate, {agent.id()})};
    for (route::Route& each : routes) each.is_suspended = is_suspended;
    return routes;
  };
  set_routes(with(false));
  Received& cut = open_client("pass.test").answer;
  set_routes(with(true));
  wait([&] { return cut.ended(); });
  EXPECT_TRUE(cut.broken);
  EXPECT_EQ(say_hello("pass.test").bytes, kInternalError);
  EXPECT_TRUE(get("term.test").contains("503: this service is suspended")) << "a page where we end TLS";
  EXPECT_EQ(counters().refused_suspended, 2u);
  EXPECT_EQ(counters().refused_no_agent, 0u);
  EXPECT_FALSE(agent.closed);
  set_routes(with(false));
  open_client("pass.test");
  EXPECT_FALSE(agent.closed) << "it never had to come back";
}

TEST_F(EdgeRoutesTest, ATenantThatHasEndedIsRefusedThoughNoHubSaysSo) {
  FakeAgent agent(loop_, 1);
  start_with(agent);
  route::Route ending = route("pass.test", route::TlsMode::kPassthrough, {agent.id()});
  ending.ends_at = loop_.unix_now() + 1h;
  set_routes({ending});
  open_client("pass.test");
  ending.ends_at = loop_.unix_now();
  set_routes({ending});
  open_client("pass.test");  // the hub knows better when that is
  edge_->set_hub_is_heard(false);
  EXPECT_EQ(say_hello("pass.test").bytes, kInternalError);
}

TEST_F(EdgeRoutesTest, AReservedNameIsAnsweredLikeOneWithoutALiveAgentAndNotByTheWildcard) {
  FakeAgent agent(loop_, 1);
  start(config());
  const route::Route wildcard = route("*.w.test", route::TlsMode::kPassthrough, {agent.id()});
  route::Route reserved = route("x.w.test", route::TlsMode::kPassthrough, {});
  reserved.tls_mode.reset();
  set_routes({wildcard, reserved});
  connect(agent);
  open_client("y.w.test");
  EXPECT_EQ(say_hello("x.w.test").bytes, kInternalError);
  EXPECT_EQ(counters().refused_no_agent, 1u);
  // One that was open when the name was reserved is cut.
  set_routes({wildcard});
  Received& cut = open_client("x.w.test").answer;
  set_routes({wildcard, reserved});
  wait([&] { return cut.ended(); });
  EXPECT_TRUE(cut.broken);
}

}  // namespace
}  // namespace culvert::edge
