#include "dns/visibility.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "dns/testing.h"
#include "dns/testing_server.h"
#include "dns/testing_site.h"
#include "net/resolver.h"

namespace culvert::dns {
namespace {

using net::testing::run_task;
using testing::FakeServer;
using ::testing::HasSubstr;
using testing::name;
using testing::Site;
using namespace std::chrono_literals;

constexpr const char* kName = "_acme-challenge.example.net";

// A resolver that knows delegations, and ns1.test and ns2.test at 127.0.0.2 and 127.0.0.3.
struct VisibilityTest : ::testing::Test {
  VisibilityTest() {
    hosts = ::testing::TempDir() + "visibility-hosts-" + std::to_string(::getpid());
    std::ofstream(hosts) << "127.0.0.2 ns1.test\n127.0.0.3 ns2.test\n";
    net::configure_resolver(
        loop, {.servers = resolver.address().to_string(), .resolv_conf = "/dev/null", .hosts = hosts});
    delegations["example.net"] = {"ns1.test", "ns2.test"};
    first = std::make_unique<Site>(loop, net::testing::addr("127.0.0.2:0"), "example.net");
    port = first->server->local_addr().port();
    second = std::make_unique<Site>(loop, net::testing::addr("127.0.0.3:0").with_port(port), "example.net");
  }
  ~VisibilityTest() override { std::filesystem::remove(hosts); }

  std::optional<Bytes> resolve(ByteView bytes) {
    const Message query = decode(bytes).value();
    EXPECT_TRUE(query.header.recursion_desired);
    Message answer = testing::answer_to(query);
    const Name& asked = query.questions[0].name;
    answer.header.rcode = failure;
    if (query.questions[0].type == Type::kNs) {
      for (const std::string& server : delegations[asked.to_lower().to_string()])
        answer.answers.push_back({.name = asked, .type = Type::kNs, .data = Ns{name(server)}});
    }
    return encode(answer);
  }
  Result<> wait(VisibilityOptions options = {}, std::string_view where = kName) {
    options.port = port;
    return run_task(loop, wait_until_visible(loop, name(where), "value", std::move(options)));
  }
  std::string failed(std::string_view where = kName, std::optional<Name> zone = {}) {
    // One look, which has time.
    const auto waited = wait({.timeout = 15s, .interval = 15s, .zone = std::move(zone)}, where);
    EXPECT_FALSE(waited);
    if (waited) return {};
    EXPECT_EQ(waited.error().code, ErrorCode::kTimeout);
    return waited.error().message;
  }

  net::EventLoop loop;
  std::string hosts;
  uint16_t port = 0;
  std::map<std::string, std::vector<std::string>> delegations;
  Rcode failure = Rcode::kNoError;
  FakeServer resolver{loop, [this](ByteView bytes, bool) { return resolve(bytes); }};
  std::unique_ptr<Site> first, second;
};

TEST_F(VisibilityTest, AllServersHaveIt) {
  for (Site* site : {first.get(), second.get()}) {
    site->put(kName, "another");
    site->put(kName, "value");
  }
  const auto waited = wait();
  EXPECT_TRUE(waited) << waited.error().message;
}

TEST_F(VisibilityTest, WaitsForTheLastServer) {
  first->put(kName, "value");
  net::Timer timer(loop);
  timer.after(200ms, [&] { second->put(kName, "value"); });
  const TimePoint begun = loop.now();
  EXPECT_TRUE(wait({.interval = 50ms}));
  EXPECT_GE(loop.now() - begun, 190ms);
}

TEST_F(VisibilityTest, TellsWhichServerLacksIt) {
  first->put(kName, "value");
  second->put(kName, "another");
  const std::string message = failed();
  EXPECT_THAT(message, HasSubstr("the TXT value of _acme-challenge.example.net is not visible after "));
  EXPECT_THAT(message, HasSubstr("ns2.test (127.0.0.3:" + std::to_string(port) + ") has 1 other TXT values"));
  second->authority.find(name(kName))->remove(name(kName), "another");
  EXPECT_THAT(failed(), HasSubstr("answers NXDOMAIN"));
  second->put("below._acme-challenge.example.net", "value");
  EXPECT_THAT(failed(), HasSubstr("has no TXT record"));
}

TEST_F(VisibilityTest, AServerThatIsDownLacksNothing) {
  second->put(kName, "value");
  first->stop();
  EXPECT_TRUE(wait());
  second->stop();
  EXPECT_THAT(failed(), HasSubstr("ns1.test: "));
}

TEST_F(VisibilityTest, AMissingDelegationIsTold) {
  const std::string message = failed(kName, name(kName));
  EXPECT_THAT(message, HasSubstr("is served by the name servers of the zone example.net"));
  EXPECT_THAT(message,
              HasSubstr("the NS record of _acme-challenge.example.net is missing in its parent zone"));
}

TEST_F(VisibilityTest, ADelegatedZoneHasItsOwnServers) {
  Site own(loop, net::testing::addr("127.0.0.4:0").with_port(port), kName);
  std::ofstream(hosts, std::ios::app) << "127.0.0.4 ns3.test\n";
  delegations[kName] = {"ns3.test"};
  own.put(kName, "value");
  EXPECT_TRUE(wait({.zone = name(kName)}));
}

TEST_F(VisibilityTest, AliasesAreFollowed) {
  std::map<std::string, std::string> aliases;
  FakeServer other(
      loop,
      [&](ByteView bytes, bool) {
        const Message query = decode(bytes).value();
        Message answer = testing::answer_to(query);
        const auto alias = aliases.find(query.questions[0].name.to_string());
        if (alias != aliases.end())
          answer.answers = {
              {.name = query.questions[0].name, .type = Type::kCname, .data = Cname{name(alias->second)}}};
        return encode(answer);
      },
      "127.0.0.5:" + std::to_string(port));
  std::ofstream(hosts, std::ios::app) << "127.0.0.5 ns4.test\n";
  delegations["customer.test"] = {"ns4.test"};
  aliases["_acme-challenge.customer.test"] = kName;
  for (Site* site : {first.get(), second.get()}) site->put(kName, "value");
  EXPECT_TRUE(wait({.zone = name("example.net")}, "_acme-challenge.customer.test"));
  aliases["_acme-challenge.customer.test"] = "a.customer.test";
  aliases["a.customer.test"] = "_acme-challenge.customer.test";
  EXPECT_THAT(failed("_acme-challenge.customer.test"), HasSubstr("more than 8 aliases"));
}

TEST_F(VisibilityTest, ResolversThatFailAreTold) {
  failure = Rcode::kServerFailure;
  EXPECT_THAT(failed(), HasSubstr("(SERVFAIL): those that its parent zone names do not answer"));
  failure = Rcode::kNameError;
  delegations.clear();
  EXPECT_THAT(failed(), HasSubstr("no name server is known for _acme-challenge.example.net"));
}

}  // namespace
}  // namespace culvert::dns
