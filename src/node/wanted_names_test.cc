#include "node/wanted_names.h"

#include <gmock/gmock.h>

#include "base/random.h"

namespace culvert::node {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class WantedNamesTest : public ::testing::Test {
 protected:
  route::Route route_of(const std::string& match, std::optional<route::TlsMode> mode) {
    return {.match = route::Match::parse(match).value(),
            .tenant = tenant_,
            .tls_mode = mode,
            .targets = {{agent_}}};
  }
  route::Route terminated(const std::string& match) { return route_of(match, route::TlsMode::kTerminate); }
  std::vector<std::string> take() { return std::exchange(told_, {}); }

  SeededRandom random_{3};
  PublicKey tenant_ = SecretKey::generate(random_).public_key();
  const EndpointId agent_ = SecretKey::generate(random_).public_key();
  net::EventLoop loop_;
  std::vector<std::string> told_;
  bool proves_wildcards_ = false;
  WantedNames names_{
      loop_,
      {.proves_wildcards = [this](const std::string&) { return proves_wildcards_; },
       .want = [this](const std::string& name, const std::string&) { told_.push_back("+" + name); },
       .unwant = [this](const std::string& name) { told_.push_back("-" + name); }}};
};

TEST_F(WantedNamesTest, OnlyWhatTheEdgeEndsTlsForAndSomebodyServes) {
  route::Route reserved = terminated("reserved.test"), suspended = terminated("suspended.test"),
               over = terminated("over.test");
  reserved.targets.clear();
  suspended.is_suspended = true;
  over.ends_at = loop_.unix_now() - std::chrono::seconds(1);
  names_.replace(*route::Snapshot::of(
      {terminated("a.test"), terminated("*.w.test"), route_of("pass.test", route::TlsMode::kPassthrough),
       route_of("tcp/2222", std::nullopt), reserved, suspended, over},
      1));
  EXPECT_THAT(take(), ElementsAre("+a.test"));
  proves_wildcards_ = true;
  names_.follow({1, 2, {terminated("*.w.test")}, {}});
  EXPECT_THAT(take(), ElementsAre("+*.w.test"));
  EXPECT_TRUE(names_.contains("*.w.test"));
  names_.replace(*route::Snapshot::of({terminated("*.w.test")}, 3));
  EXPECT_THAT(take(), ElementsAre("-a.test"));
}

TEST_F(WantedNamesTest, ChangesOfTargetsAreNoNews) {
  names_.follow({0, 1, {terminated("a.test")}, {}});
  EXPECT_THAT(take(), ElementsAre("+a.test"));
  names_.follow({1, 2, {terminated("a.test")}, {}});
  EXPECT_THAT(take(), IsEmpty());
  tenant_ = SecretKey::generate(random_).public_key();
  names_.follow({2, 3, {terminated("a.test")}, {}});
  EXPECT_THAT(take(), ElementsAre("+a.test"));
  EXPECT_EQ(names_.of_routes().at("a.test"), tenant_.to_string());
  route::Route suspended = terminated("a.test");
  suspended.is_suspended = true;
  names_.follow({3, 4, {suspended}, {}});
  names_.follow({4, 5, {}, {route::RouteId(suspended.match)}});
  EXPECT_THAT(take(), ElementsAre("-a.test")) << "once";
}

TEST_F(WantedNamesTest, NamesOfTheNodeStay) {
  names_.add_own({"hub.test", "192.0.2.1", "localhost", "a.test"});
  EXPECT_THAT(take(), ElementsAre("+hub.test", "+a.test"));
  names_.follow({0, 1, {terminated("a.test")}, {}});
  EXPECT_EQ(names_.size(), 2u);
  names_.replace(route::Snapshot());
  EXPECT_TRUE(names_.contains("a.test"));
  EXPECT_FALSE(names_.is_of_route("a.test"));
}

}  // namespace
}  // namespace culvert::node
