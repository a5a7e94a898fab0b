#include "agent/services.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::agent {
namespace {

using route::TlsMode;
using testing::HasSubstr;

TEST(Services, ReadsTheWholeShape) {
  auto services = parse_services(R"([
    {"hostname":"App.Example.com","origin":"localhost:3000"},
    {"hostname":"*.b.com","origin":"[::1]:443","tls_mode":"terminate"},
    {"hostname":"c.com","origin":"10.0.0.1:80","tls_mode":{"mode":"terminate"},"proxy_protocol":"v2"},
    {"hostname":"d.com","origin":"svc_1.local:65535","tls_mode":"passthrough","proxy_protocol":"none"}
  ])");
  ASSERT_TRUE(services) << services.error().message;
  ASSERT_EQ(services->size(), 4u);
  const Service& a = (*services)[0];
  EXPECT_EQ(a.hostname.text(), "app.example.com");
  EXPECT_EQ(a.origin_host, "localhost");
  EXPECT_EQ(a.origin_port, 3000);
  EXPECT_EQ(a.tls_mode, TlsMode::kPassthrough);
  EXPECT_TRUE(a.proxy_protocol);
  const Service& b = (*services)[1];
  EXPECT_EQ(b.origin_host, "::1");
  EXPECT_EQ(origin_text(b), "[::1]:443");
  EXPECT_EQ(b.tls_mode, TlsMode::kTerminate);
  EXPECT_FALSE(b.proxy_protocol);
  EXPECT_EQ((*services)[2].tls_mode, TlsMode::kTerminate);
  EXPECT_TRUE((*services)[2].proxy_protocol);
  EXPECT_FALSE((*services)[3].proxy_protocol);
  EXPECT_EQ(parse_services(" [] \n")->size(), 0u);
}

TEST(Services, ErrorsNameEntryMemberAndRemedy) {
  struct Case {
    const char* json;
    const char* expected;
  };
  for (auto [text, expected] : std::initializer_list<Case>{
           {"", "too early"},
           {"[{]", "invalid JSON"},
           {"[\n\n{,]", "line 3"},
           {"[] x", "invalid JSON"},
           {"{}", "must be a JSON array"},
           {R"([{"hostname":"a.com","origin":"x:1","origin":"y:2"}])", "member \"origin\" is given twice"},
           {"[1]", "service 1: must be an object"},
           {R"([{"hostname":"a.com","origin":"x:1"},{"origin":"x:1"}])", "service 2: hostname is missing"},
           {R"([{"hostname":"a.com"}])", "service 1: origin is missing"},
           {R"([{"hostname":7,"origin":"x:1"}])", "hostname must be a string"},
           {R"([{"hostname":"a.com","origin":null}])", "origin must be a string"},
           {R"([{"hostname":"bad host.com","origin":"x:1"}])", "service 1: hostname: "},
           {R"([{"hostname":"a.com","origin":"x"}])", "origin: \"x\" has no port"},
           {R"([{"hostname":"a.com","origin":"http://x:1"}])", "without a scheme"},
           {R"([{"hostname":"a.com","origin":"x:1","orign":"y"}])",
            "member \"orign\" is unknown; allowed are"},
           {R"([{"hostname":"a.com","origin":"x:1","tls_mode":"tls"}])",
            "tls_mode: \"tls\" is unknown; use \"passthrough\""},
           {R"([{"hostname":"a.com","origin":"x:1","tls_mode":{"mode":"terminate","x":1}}])",
            "tls_mode must be"},
           {R"([{"hostname":"a.com","origin":"x:1","tls_mode":{}}])", "tls_mode must be"},
           {R"([{"hostname":"a.com","origin":"x:1","tls_mode":true}])", "tls_mode must be"},
           {R"([{"hostname":"a.com","origin":"x:1","proxy_protocol":"v1"}])",
            "proxy_protocol: \"v1\" is unknown; use \"v2\""},
           {R"([{"hostname":"a.com","origin":"x:1","proxy_protocol":true}])", "proxy_protocol must be"},
           {R"([{"hostname":"a.com","origin":"x:1"},{"hostname":"A.com","origin":"y:2"}])",
            "hostname a.com is given twice"},
       }) {
    auto services = parse_services(text);
    ASSERT_FALSE(services) << text;
    EXPECT_EQ(services.error().code, ErrorCode::kInvalid) << text;
    EXPECT_THAT(services.error().message, HasSubstr(expected)) << text;
  }
}

TEST(ShortForm, ReadsModeAndProxy) {
  auto plain = parse_service("app.example.com=localhost:3000");
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ(plain->tls_mode, TlsMode::kPassthrough);
  EXPECT_TRUE(plain->proxy_protocol);
  auto terminated = parse_service("*.example.com=[::1]:3000,terminate");
  ASSERT_TRUE(terminated) << terminated.error().message;
  EXPECT_EQ(terminated->tls_mode, TlsMode::kTerminate);
  EXPECT_FALSE(terminated->proxy_protocol);
  auto both = parse_service("a.com=x:1,proxy=v2,terminate");
  ASSERT_TRUE(both) << both.error().message;
  EXPECT_TRUE(both->proxy_protocol);
  EXPECT_EQ(both->tls_mode, TlsMode::kTerminate);
  EXPECT_FALSE(parse_service("a.com=x:1,proxy=none")->proxy_protocol);
}

TEST(ShortForm, RefusesTheRest) {
  for (std::string_view text :
       {"", "a.com", "=x:1", "a.com=", "a.com=x", "a.com=x:1,", "a.com=x:1,tls", "a.com=x:1,proxy=v1",
        "a.com=x:1,terminate,passthrough", "a.com=x:1,proxy=v2,proxy=v2", "a.com=,x:1"}) {
    EXPECT_FALSE(parse_service(text)) << text;
  }
}

TEST(ServiceTable, ExactFirstThenOneLevelWildcardAndTheModeMustFit) {
  std::vector<Service> services;
  services.push_back(*parse_service("*.example.com=wild:1"));
  services.push_back(*parse_service("app.example.com=app:1,terminate"));
  ServiceTable table(services);
  EXPECT_EQ(table.match("app.example.com", TlsMode::kTerminate), &services[1]);
  EXPECT_EQ(table.match("app.example.com", TlsMode::kPassthrough),
            nullptr);  // never falls back to the wildcard
  EXPECT_EQ(table.match("b.example.com", TlsMode::kPassthrough), &services[0]);
  EXPECT_EQ(table.match("b.example.com", TlsMode::kTerminate), nullptr);
  for (std::string_view other :
       {"example.com", "a.b.example.com", "", ".", "com", ".example.com.", "*.other.com"}) {
    EXPECT_EQ(table.match(other, TlsMode::kPassthrough), nullptr) << other;
  }
}

}  // namespace
}  // namespace culvert::agent
