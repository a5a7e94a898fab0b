#include "hubapi/declaration.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "base/random.h"
#include "base/small_order_keys.h"

namespace culvert::hubapi {
namespace {

using namespace std::chrono_literals;

PublicKey test_key(uint64_t seed) {
  SeededRandom random(seed);
  return SecretKey::generate(random).public_key();
}

route::HostPattern pattern(std::string_view text) { return *route::HostPattern::parse(text); }

Declaration sample() {
  Declaration declaration{{}, {}, test_key(1), {}};
  declaration.invite_id.fill(0x11);
  declaration.invite_secret = SecretBytes<32>::from(Bytes(32, 0x22));
  declaration.services.push_back({pattern("app.example.com"), route::TlsMode::kPassthrough});
  declaration.services.push_back({pattern("*.dev.example.com"), route::TlsMode::kTerminate});
  return declaration;
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what << " in " << text;
  return text.replace(at, what.size(), with);
}

TEST(Declaration, HasTheDocumentedForm) {
  EXPECT_EQ(encode(sample()),
            R"({"protocol":1,"invite_id":"EREREREREREREREREREREQ",)"
            R"("invite_secret":"IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI","agent_id":")" +
                test_key(1).to_string() +
                R"(","services":[{"hostname":"app.example.com","tls_mode":"passthrough"},)"
                R"({"hostname":"*.dev.example.com","tls_mode":"terminate"}]})");
}

TEST(Declaration, ComesBackAsItWent) {
  auto decoded = decode_declaration(encode(sample()));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(decoded->invite_id, sample().invite_id);
  EXPECT_TRUE(decoded->invite_secret == sample().invite_secret);
  EXPECT_EQ(decoded->agent_id, sample().agent_id);
  ASSERT_EQ(decoded->services.size(), 2u);
  EXPECT_EQ(decoded->services[1].hostname.text(), "*.dev.example.com");
  EXPECT_EQ(decoded->services[1].tls_mode, route::TlsMode::kTerminate);
}

Declaration with_ports() {
  Declaration declaration = sample();
  declaration.services.pop_back();
  declaration.ports = {{route::PortProtocol::kTcp, "ssh", 2222},
                       {route::PortProtocol::kTcp, "db", 0},
                       {route::PortProtocol::kUdp, "ssh", 2222}};
  declaration.is_exclusive = true;
  return declaration;
}

TEST(Declaration, PortsAndExclusiveAreThereOnlyWhenDeclared) {
  EXPECT_TRUE(encode(with_ports())
                  .ends_with(R"("tcp_services":[{"name":"ssh","listen_port":2222},{"name":"db"}],)"
                             R"("udp_services":[{"name":"ssh","listen_port":2222}],"exclusive":true})"))
      << encode(with_ports());
  auto decoded = decode_declaration(encode(with_ports()));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->ports, with_ports().ports);
  EXPECT_TRUE(decoded->is_exclusive);
  // That of an agent that knows neither.
  decoded = decode_declaration(encode(sample()));
  ASSERT_TRUE(decoded);
  EXPECT_TRUE(decoded->ports.empty());
  EXPECT_FALSE(decoded->is_exclusive);
}

TEST(Declaration, RefusesPortServicesThatAreWrong) {
  const std::string good = encode(with_ports());
  const struct {
    const char* what;
    const char* with;
    const char* names;
  } cases[] = {
      {R"("name":"db")", R"("name":"ssh")", "twice"},
      {R"({"name":"db"})", R"({"name":"db","listen_port":2222})", "port 2222 twice"},
      {R"("name":"db")", R"("name":"")", "the name is empty"},
      {R"("name":"db")", R"("name":"d\nb")", "control character"},
      {R"("name":"db")", R"("title":"db")", "title"},
      {R"("listen_port":2222)", R"("listen_port":65536)", "listen_port"},
      {R"("listen_port":2222)", R"("listen_port":2222,"last_port":2223)", "last_port is for UDP services"},
      {R"("listen_port":2222)", R"("listen_port":-1)", "listen_port"},
      {R"("listen_port":2222)", R"("listen_port":"2222")", "listen_port"},
      {R"({"name":"db"})", R"("db")", "not a JSON object"},
      {R"("exclusive":true)", R"("exclusive":1)", "exclusive"},
  };
  for (const auto& each : cases) {
    auto decoded = decode_declaration(replaced(good, each.what, each.with));
    ASSERT_FALSE(decoded) << each.with;
    EXPECT_NE(decoded.error().message.find(each.names), std::string::npos) << decoded.error().message;
  }
  EXPECT_TRUE(decode_declaration(replaced(good, R"("name":"db")", R"("name":"db","listen_port":0)")));
  EXPECT_TRUE(
      decode_declaration(replaced(good, R"("name":"db")", "\"name\":\"" + std::string(64, 'x') + "\"")));
  EXPECT_FALSE(
      decode_declaration(replaced(good, R"("name":"db")", "\"name\":\"" + std::string(65, 'x') + "\"")));
  Declaration many = sample();
  for (int i = 0; i < static_cast<int>(kMaxServices) - 2; ++i)
    many.ports.push_back({route::PortProtocol::kTcp, std::to_string(i)});
  EXPECT_TRUE(decode_declaration(encode(many)));
  many.ports.push_back({route::PortProtocol::kUdp, "one more"});
  EXPECT_FALSE(decode_declaration(encode(many))) << "all services count together";
}

TEST(LeaseAnswer, CarriesVerdictsOnPorts) {
  LeaseAnswer answer{.tenant = test_key(1),
                     .granted = {},
                     .edges = {},
                     .services = {},
                     .public_port = 443,
                     .internal_ca_pem = {},
                     .renew_after = 30s,
                     .ports = {{route::PortProtocol::kTcp, "ssh", 2222, true, "", std::nullopt, 1},
                               {route::PortProtocol::kTcp, "db", 0, false, "no port is free"},
                               {route::PortProtocol::kUdp, "ssh", 53, false, "taken", 9s}}};
  auto decoded = decode_lease_answer(encode(answer));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(*decoded, answer);
  answer.ports.clear();
  EXPECT_EQ(encode(answer).find("tcp_services"), std::string::npos);
}

TEST(Declaration, FoldsHostnames) {
  auto decoded = decode_declaration(replaced(encode(sample()), "app.example.com", "APP.Example.COM"));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->services[0].hostname.text(), "app.example.com");
}

TEST(Declaration, NamesBothVersionsWhenTheyDiffer) {
  // Whatever else another version brings, its number is the answer.
  for (const char* text :
       {R"({"protocol":7})", R"({"protocol":7,"new_member":[1,2]})", R"({"protocol":0})"}) {
    auto decoded = decode_declaration(text);
    ASSERT_FALSE(decoded.has_value());
    EXPECT_EQ(decoded.error().code, ErrorCode::kConflict);
    EXPECT_NE(decoded.error().message.find("version 1"), std::string::npos) << decoded.error().message;
  }
  EXPECT_NE(decode_declaration(R"({"protocol":7})").error().message.find("version 7"), std::string::npos);
}

TEST(Declaration, RefusesWhatIsMalformedAndNamesThePart) {
  std::string good = encode(sample());
  struct Case {
    std::string text;
    const char* named;
  };
  for (const Case& c : {
           Case{"", "invalid JSON"},
           Case{"[]", "not a JSON object"},
           Case{"{", "invalid JSON"},
           Case{good + "x", "invalid JSON"},
           Case{"{}", "\"protocol\" is missing"},
           Case{std::string(10'000, '['), "invalid JSON"},
           Case{replaced(good, "\"protocol\":1", "\"protocol\":\"1\""), "\"protocol\" is not"},
           Case{replaced(good, "\"protocol\":1", "\"protocol\":1.0"), "\"protocol\" is not"},
           Case{replaced(good, "\"protocol\":1", "\"protocol\":-1"), "\"protocol\" is not"},
           Case{replaced(good, "\"protocol\":1", "\"protocol\":99999999999999999999"), "\"protocol\" is not"},
           Case{replaced(good, "\"services\"", "\"colour\":1,\"services\""), "unknown member \"colour\""},
           Case{replaced(good, "\"invite_id\"", "\"inviteid\""), "unknown member \"inviteid\""},
           Case{replaced(good, "EREREREREREREREREREREQ", "EREREREREREREREREREQ"),
                "\"invite_id\" is not 16 bytes"},
           Case{replaced(good, "EREREREREREREREREREREQ", "!REREREREREREREREREREQ"),
                "\"invite_id\" is not 16 bytes"},
           Case{replaced(good, "\"IiIi", "\"Ii"), "\"invite_secret\" is not 32 bytes"},
           Case{replaced(good, "\"agent_id\":\"", "\"agent_id\":\"0"), "\"agent_id\" is not a public key"},
           Case{replaced(good, test_key(1).to_string(), std::string(64, 'f')),
                "\"agent_id\" is not a public key"},
           Case{replaced(good, "\"agent_id\":\"" + test_key(1).to_string() + "\"", "\"agent_id\":null"),
                "not a string"},
           Case{replaced(good, R"({"hostname":"app)", R"(1,{"hostname":"app)"),
                "service 1 is not a JSON object"},
           Case{replaced(good, R"({"hostname":"*)", R"({"port":1,"hostname":"*)"),
                "service 2 has an unknown member"},
           Case{replaced(good, "app.example.com", "app"), "service 1"},
           Case{replaced(good, "app.example.com", "a..b"), "service 1"},
           Case{replaced(good, "\"passthrough\"", "\"tcp\""), "tls_mode \"tcp\""},
           Case{replaced(good, "\"passthrough\"", "true"), "\"tls_mode\" is not a string"},
           Case{replaced(good, ",\"tls_mode\":\"terminate\"", ""), "\"tls_mode\" is missing"},
           Case{replaced(good, "*.dev.example.com", "APP.example.com"), "app.example.com twice"},
       }) {
    auto decoded = decode_declaration(c.text);
    ASSERT_FALSE(decoded.has_value()) << c.text;
    EXPECT_EQ(decoded.error().code, ErrorCode::kInvalid);
    EXPECT_NE(decoded.error().message.find(c.named), std::string::npos) << decoded.error().message << "\n"
                                                                        << c.text;
    EXPECT_EQ(decoded.error().message.find("IiIi"), std::string::npos) << "the secret is in the message";
  }
}

TEST(Declaration, RefusesAgentsOfSmallOrder) {
  const std::string good = encode(sample());
  for (const char* key : kSmallOrderKeys) {
    auto decoded = decode_declaration(replaced(good, test_key(1).to_string(), key));
    ASSERT_FALSE(decoded.has_value()) << key;
    EXPECT_NE(decoded.error().message.find("agent_id"), std::string::npos) << decoded.error().message;
  }
}

TEST(Declaration, BoundsTheNumberOfServices) {
  Declaration declaration = sample();
  declaration.services.clear();
  // None at all is a question: what does the invite grant?
  EXPECT_TRUE(decode_declaration(encode(declaration)).has_value());
  for (size_t i = 0; i < kMaxServices; ++i) {
    declaration.services.push_back(
        {pattern(fmt::format("h{}.example.com", i)), route::TlsMode::kPassthrough});
  }
  EXPECT_TRUE(decode_declaration(encode(declaration)).has_value());
  declaration.services.push_back({pattern("more.example.com"), route::TlsMode::kPassthrough});
  EXPECT_FALSE(decode_declaration(encode(declaration)).has_value());
}

LeaseAnswer sample_answer() {
  return {.tenant = test_key(2),
          .granted = {"*.example.com"},
          .edges = {{test_key(3), {"192.0.2.1:443", "[2001:db8::1]:443"}}},
          .services = {{"app.example.com", true, ""}, {"x.other.com", false, "not \"granted\""}},
          .public_port = 8443,
          .internal_ca_pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
          .renew_after = 30s};
}

TEST(LeaseAnswer, ComesBackAsItWent) {
  auto decoded = decode_lease_answer(encode(sample_answer()));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(*decoded, sample_answer());
  LeaseAnswer other = sample_answer();
  other.services = {{"app.example.com", false, "another mode", 8s}, {"b.example.com", true, "", {}, 3}};
  other.is_suspended = true;
  EXPECT_EQ(decode_lease_answer(encode(other)).value(), other);
}

TEST(LeaseAnswer, IgnoresWhatANewerHubAdds) {
  std::string text = replaced(encode(sample_answer()), "{", R"({"relay":{"url":"x"},)");
  text = replaced(text, R"("edges":[{)", R"("edges":[{"region":"eu",)");
  EXPECT_TRUE(decode_lease_answer(text).has_value());
}

TEST(LeaseAnswer, RefusesWhatIsMalformed) {
  std::string good = encode(sample_answer());
  for (const std::string& text : {
           std::string(),
           std::string("{}"),
           std::string("null"),
           replaced(good, "\"tenant\":\"", "\"tenant\":\"x"),
           replaced(good, "8443", "0"),
           replaced(good, "8443", "65536"),
           replaced(good, "8443", "\"8443\""),
           replaced(good, "\"renew_after_secs\":30", "\"renew_after_secs\":0"),
           replaced(good, "\"renew_after_secs\":30", "\"renew_after_secs\":1000000000000"),
           replaced(good, "\"granted\":[", "\"granted\":[1,"),
           replaced(good, "\"edges\":[", "\"edges\":[1,"),
           replaced(good, "\"addresses\"", "\"address\""),
           replaced(good, "\"services\":[", "\"services\":[[],"),
           replaced(good, "\"accepted\":true", "\"accepted\":1"),
       }) {
    auto decoded = decode_lease_answer(text);
    ASSERT_FALSE(decoded.has_value()) << text;
    EXPECT_EQ(decoded.error().code, ErrorCode::kInvalid);
  }
}

Declaration with_ports(std::vector<DeclaredPort> ports) {
  Declaration declaration = sample();
  declaration.ports = std::move(ports);
  return declaration;
}

TEST(Declaration, ARangeOfPortsIsOneEntry) {
  using route::PortProtocol;
  const Declaration ranged =
      with_ports({{PortProtocol::kUdp, "turn", 40000, 100}, {PortProtocol::kUdp, "rtp", 40101, 511}});
  const std::string text = encode(ranged);
  EXPECT_NE(text.find(R"("udp_services":[{"name":"turn","listen_port":40000,"last_port":40100},)"),
            std::string::npos)
      << text;
  const auto decoded = decode_declaration(text);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->ports, ranged.ports);
  const std::pair<const char*, const char*> kBad[] = {
      {R"("last_port":40000)", "last_port"},
      {R"("last_port":39999)", "last_port"},
      {R"("last_port":40512)", "last_port"},
      {R"("last_port":65536)", "last_port"},
      {R"("last_port":"40100")", "last_port"},
      {R"("last_port":40101)", "udp port 40101 twice, for \"turn\" and \"rtp\""},
  };
  for (const auto& [member, named] : kBad) {
    const auto bad = decode_declaration(replaced(text, R"("last_port":40100)", member));
    ASSERT_FALSE(bad) << member;
    EXPECT_NE(bad.error().message.find(named), std::string::npos) << bad.error().message;
  }
  const auto unnamed =
      decode_declaration(replaced(text, R"("listen_port":40000,"last_port":40100)", R"("last_port":5)"));
  ASSERT_FALSE(unnamed);
  EXPECT_NE(unnamed.error().message.find("give its first port"), std::string::npos)
      << unnamed.error().message;
}

TEST(LeaseAnswer, NamesTheRangeOfAService) {
  LeaseAnswer answer = sample_answer();
  answer.ports = {{route::PortProtocol::kUdp, "turn", 40000, true}};
  answer.ports[0].more_ports = 100;
  EXPECT_NE(encode(answer).find(R"("last_port":40100)"), std::string::npos);
  EXPECT_EQ(decode_lease_answer(encode(answer)).value(), answer);
}

}  // namespace
}  // namespace culvert::hubapi
