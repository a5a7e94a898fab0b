#include "agent/services.h"
#include "origin/service_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::agent {
namespace {

using origin::parse_port_service;
using origin::parse_service;
using origin::parse_services;
using testing::HasSubstr;
using tunnel::StreamKind;

Result<Service> parse_tcp(std::string_view text) {
  return parse_port_service(route::PortProtocol::kTcp, text);
}
Result<Service> parse_udp(std::string_view text) {
  return parse_port_service(route::PortProtocol::kUdp, text);
}

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
  EXPECT_EQ(a.name(), "app.example.com");
  EXPECT_EQ(a.origin, (Origin{HostPort{"localhost", 3000}}));
  EXPECT_EQ(a.kind(), StreamKind::kPassthrough);
  EXPECT_TRUE(a.proxy_protocol);
  const Service& b = (*services)[1];
  EXPECT_EQ(b.origin, (Origin{HostPort{"::1", 443}}));
  EXPECT_EQ(b.origin.to_string(), "[::1]:443");
  EXPECT_EQ(b.kind(), StreamKind::kTerminate);
  EXPECT_FALSE(b.proxy_protocol);
  EXPECT_EQ((*services)[2].kind(), StreamKind::kTerminate);
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
  EXPECT_EQ(plain->kind(), StreamKind::kPassthrough);
  EXPECT_TRUE(plain->proxy_protocol);
  auto terminated = parse_service("*.example.com=[::1]:3000,terminate");
  ASSERT_TRUE(terminated) << terminated.error().message;
  EXPECT_EQ(terminated->kind(), StreamKind::kTerminate);
  EXPECT_FALSE(terminated->proxy_protocol);
  auto both = parse_service("a.com=x:1,proxy=v2,terminate");
  ASSERT_TRUE(both) << both.error().message;
  EXPECT_TRUE(both->proxy_protocol);
  EXPECT_EQ(both->kind(), StreamKind::kTerminate);
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
  EXPECT_EQ(table.match("app.example.com", StreamKind::kTerminate), &services[1]);
  EXPECT_EQ(table.match("app.example.com", StreamKind::kPassthrough),
            nullptr);  // never falls back to the wildcard
  EXPECT_EQ(table.match("b.example.com", StreamKind::kPassthrough), &services[0]);
  EXPECT_EQ(table.match("b.example.com", StreamKind::kTerminate), nullptr);
  for (std::string_view other :
       {"example.com", "a.b.example.com", "", ".", "com", ".example.com.", "*.other.com"}) {
    EXPECT_EQ(table.match(other, StreamKind::kPassthrough), nullptr) << other;
  }
}

TEST(ServiceTable, PortsAreFoundByTheirNames) {
  const std::vector<Service> services{*parse_tcp("a.test=host:22"), *parse_service("a.test=web:1"),
                                      *parse_udp("a.test=host:53")};
  const ServiceTable table(services);
  EXPECT_EQ(table.match("a.test", StreamKind::kTcpPort), &services[0]);
  EXPECT_EQ(table.match("a.test", StreamKind::kPassthrough), &services[1]);
  EXPECT_EQ(table.match("a.test", StreamKind::kUdpPort), &services[2]);
  EXPECT_EQ(table.match("tcp:a.test", StreamKind::kTcpPort), nullptr);
  EXPECT_EQ(table.match("a.b", StreamKind::kTcpPort), nullptr);
}

TEST(TcpService, ShortFormAndJsonSayTheSame) {
  auto plain = parse_tcp("ssh=localhost:22");
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ(plain->name(), "tcp:ssh");
  EXPECT_EQ(plain->kind(), StreamKind::kTcpPort);
  EXPECT_EQ(plain->port()->listen_port, 0);
  EXPECT_FALSE(plain->proxy_protocol);
  auto full = parse_tcp("Git over SSH=[::1]:22,proxy=v2,port=2222");
  ASSERT_TRUE(full) << full.error().message;
  auto services = parse_services(R"([
    {"protocol":"tcp","name":"ssh","origin":"localhost:22"},
    {"protocol":"tcp","name":"Git over SSH","origin":"[::1]:22","listen_port":2222,"proxy_protocol":"v2"}])");
  ASSERT_TRUE(services) << services.error().message;
  EXPECT_EQ((*services)[0], *plain);
  EXPECT_EQ((*services)[1], *full);
}

TEST(UdpService, ShortFormAndJsonSayTheSame) {
  auto full = parse_udp("dns=localhost:53,port=53,proxy=v2");
  ASSERT_TRUE(full) << full.error().message;
  EXPECT_EQ(full->name(), "udp:dns");
  EXPECT_EQ(full->kind(), StreamKind::kUdpPort);
  auto services = parse_services(R"([
    {"protocol":"udp","name":"dns","origin":"localhost:53","listen_port":53,"proxy_protocol":"v2"},
    {"protocol":"tcp","name":"dns","origin":"localhost:53","listen_port":53}])");
  ASSERT_TRUE(services) << services.error().message;
  EXPECT_EQ((*services)[0], *full);
  EXPECT_FALSE(parse_udp("dns=localhost:53")->proxy_protocol);
}

TEST(UdpService, HasAnOriginOfAHostAndPortOnly) {
  const std::vector<std::pair<std::string, std::string>> short_forms{
      {"dns", "give name=host:port, e.g. dns="},
      {"dns=unix:/run/dns.sock", "is a unix socket, which a UDP service cannot use"},
      {"dns=x:53,tls=a.test", "tls: the agent speaks no TLS with the origin of a UDP service"},
      {"dns=x:53,insecure", "insecure: the agent speaks no TLS with the origin of a UDP service"},
      {"dns=x:53,health=tcp", "health: the origin of a UDP service cannot be checked"},
      {"dns=x:53,terminate", "may follow ,port=2222, ,proxy=v2 or ,proxy=none"}};
  for (const auto& [text, expected] : short_forms) {
    auto service = parse_udp(text);
    ASSERT_FALSE(service) << text;
    EXPECT_THAT(service.error().message, HasSubstr(expected)) << text;
  }
  const std::vector<std::pair<std::string, std::string>> members{
      {R"("origin":"unix:@dns")", "origin: \"unix:@dns\" is a unix socket, which a UDP service cannot use"},
      {R"("origin":"x:53","origin_server_name":"a.test")",
       "origin_server_name: the agent speaks no TLS with the origin of a UDP service"},
      {R"("origin":"x:53","origin_tls":"insecure")",
       "origin_tls: the agent speaks no TLS with the origin of a UDP service"},
      {R"("origin":"x:53","health":"/up")", "health: the origin of a UDP service cannot be checked"}};
  for (const auto& [text, expected] : members) {
    auto services = parse_services(R"([{"protocol":"udp","name":"dns",)" + text + "}]");
    ASSERT_FALSE(services) << text;
    EXPECT_THAT(services.error().message, HasSubstr(expected)) << text;
  }
}

TEST(TcpService, ErrorsNameWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> short_forms{
      {"ssh", "has no '='"},
      {"=x:1", "the name is empty"},
      {"ssh=x", "has no port"},
      {"ssh=x:1,port=0", "port: "},
      {"ssh=x:1,port=65536", "port: "},
      {"ssh=x:1,terminate", "unknown"},
      {"ssh=x:1,proxy=v1", "proxy: "},
      {"ssh=x:1,port=1,port=2", "given twice"}};
  for (const auto& [text, expected] : short_forms) {
    auto service = parse_tcp(text);
    ASSERT_FALSE(service) << text;
    EXPECT_THAT(service.error().message, HasSubstr(expected)) << text;
  }
  const std::vector<std::pair<std::string, std::string>> members{
      {R"("protocol":"sctp","name":"a","origin":"x:1")", "protocol: \"sctp\" is unknown"},
      {R"("protocol":"tcp","origin":"x:1")", "name is missing"},
      {R"("protocol":"tcp","name":"","origin":"x:1")", "name: the name is empty"},
      {R"("protocol":"tcp","name":"a")", "origin is missing"},
      {R"("protocol":"tcp","name":"a","origin":"x:1","listen_port":65536)", "listen_port must be"},
      {R"("protocol":"tcp","name":"a","origin":"x:1","listen_port":"1")", "listen_port must be"},
      {R"("protocol":"tcp","name":"a","origin":"x:1","hostname":"a.eu")", "\"hostname\" is unknown"},
      {R"("protocol":"tcp","name":"a","origin":"x:1","listen_port":1},{"protocol":"tcp","name":"b","origin":"x:1","listen_port":1)",
       "port 1 is given to tcp:a and to tcp:b"},
      {R"("protocol":"tcp","name":"a","origin":"x:1"},{"protocol":"tcp","name":"a","origin":"y:1")",
       "service tcp:a is given twice"}};
  for (const auto& [text, expected] : members) {
    auto services = parse_services("[{" + text + "}]");
    ASSERT_FALSE(services) << text;
    EXPECT_THAT(services.error().message, HasSubstr(expected)) << text;
  }
}

TEST(Services, ARangeOfUdpPortsLeadsToAsManyOfTheOriginOrToOne) {
  const auto each = parse_udp("turn=localhost:50000,port=40000-40100");
  ASSERT_TRUE(each) << each.error().message;
  EXPECT_EQ(each->port()->listen_port, 40000);
  EXPECT_EQ(each->port()->more_ports, 100);
  EXPECT_EQ(each->origin_of(40000)->port, 50000);
  EXPECT_EQ(each->origin_of(40100)->port, 50100);
  EXPECT_FALSE(each->origin_of(39999));
  EXPECT_FALSE(each->origin_of(40101));
  const auto one = parse_udp("turn=localhost:65535,port=40000-40100,origin-ports=one");
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->origin_of(40100)->port, 65535);
  EXPECT_EQ(parse_udp("dns=localhost:53,port=5353")->origin_of(9999)->port, 53)
      << "the edge may be behind a NAT";
  const auto json = parse_services(R"([
    {"protocol":"udp","name":"turn","origin":"localhost:50000","listen_port":"40000-40100","origin_ports":"each"},
    {"protocol":"udp","name":"rtp","origin":"localhost:65535","listen_port":"40101-40200","origin_ports":"one"}])");
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ((*json)[0], *each);
  EXPECT_TRUE((*json)[1].has_one_origin_port);
  EXPECT_TRUE(parse_udp("turn=localhost:65024,port=1-512")) << "up to 65535";
}

TEST(Services, RefusesRangesThatAreNone) {
  struct Bad {
    const char* text;
    const char* named;
  };
  for (const auto& [text, named] :
       {Bad{"a=x:1,port=40000-40512", "has 513 ports, and one service may have 512"},
        Bad{"a=x:1,port=40100-40000", "does not ascend"}, Bad{"a=x:1,port=40000-40000", "does not ascend"},
        Bad{"a=x:1,port=0-10", "\"0-10\" is not a port from 1 to 65535"},
        Bad{"a=x:1,port=65530-65536", "is not a port from 1 to 65535"},
        Bad{"a=x:1,port=1-2-3", "is not a port from 1 to 65535"},
        Bad{"a=x:65435,port=40000-40101", "ports 65435 to 65536"},
        Bad{"a=x:1,port=40000,origin-ports=one", "a range of ports"},
        Bad{"a=x:1,origin-ports=one", "a range of ports"},
        Bad{"a=x:1,port=1-2,origin-ports=all", "\"all\" is unknown"},
        Bad{"a=x:1,port=1-2,origin-ports=one,origin-ports=one", "given twice"}}) {
    const auto service = parse_udp(text);
    ASSERT_FALSE(service) << text;
    EXPECT_NE(service.error().message.find(named), std::string::npos) << service.error().message;
  }
  const auto tcp = parse_tcp("a=x:1,port=40000-40001");
  ASSERT_FALSE(tcp);
  EXPECT_NE(tcp.error().message.find("is for UDP services"), std::string::npos) << tcp.error().message;
  for (const auto& [text, named] :
       {Bad{R"("listen_port":"40000-40512")", "listen_port: the range \"40000-40512\" has 513"},
        Bad{R"("listen_port":"40000-")", "listen_port: \"40000-\" is not a port"},
        Bad{R"("listen_port":"40000")", "listen_port must be"},
        Bad{R"("listen_port":"1-2","origin_ports":"all")", "origin_ports: \"all\" is unknown"},
        Bad{R"("origin_ports":"one")", "origin_ports: it is for"}}) {
    const auto services =
        parse_services(fmt::format(R"([{{"protocol":"udp","name":"a","origin":"x:1",{}}}])", text));
    ASSERT_FALSE(services) << text;
    EXPECT_NE(services.error().message.find(named), std::string::npos) << services.error().message;
  }
  const auto overlap =
      origin::check_services({*parse_udp("a=x:1,port=40000-40100"), *parse_udp("b=x:1,port=40100-40200")});
  ASSERT_FALSE(overlap);
  EXPECT_NE(overlap.error().message.find("port 40100 is given to udp:a and to udp:b"), std::string::npos);
  EXPECT_TRUE(origin::check_services({*parse_udp("a=x:1,port=40000-40100"), *parse_udp("b=x:1,port=40101")}));
}

}  // namespace
}  // namespace culvert::agent
