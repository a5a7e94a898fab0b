// The port for plain HTTP: challenges of CAs, and the way to HTTPS.
#include "edge/http_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "edge/edge_fixture.h"

namespace culvert::edge {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class HttpListenerTest : public EdgeFixture {
 public:
  void start_http(std::vector<IpPrefix> trusted_proxies = {}) {
    Config with_http = config();
    with_http.options.http_listen = SocketAddr::v4({127, 0, 0, 1}, 0);
    with_http.options.trusted_proxies = std::move(trusted_proxies);
    with_http.options.hello_timeout = 300ms;
    with_http.challenges = challenges_;
    start(std::move(with_http));
  }
  Received& begin(std::string_view text) {
    net::ByteStream& socket =
        keep(run_task(loop_, net::tcp_connect(loop_, *edge_->http_addr(), soon())).value());
    send(socket, as_bytes(text));
    return read(socket);
  }
  Received& say(std::string_view text) {
    Received& answer = begin(text);
    wait([&] { return answer.ended(); });
    return answer;
  }
  std::string get(std::string_view host, std::string_view target) {
    return say(fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target, host)).text();
  }

  std::shared_ptr<acme::ChallengeTable> challenges_ = std::make_shared<acme::ChallengeTable>();
};

TEST_F(HttpListenerTest, AnswersChallengesAndSendsKnownNamesToHttps) {
  const auto challenge =
      acme::Challenge::make(acme::ChallengeType::kHttp01, "new.test", "token_1", tls::P256Key::generate());
  ASSERT_TRUE(challenges_->add(challenge, unix_now()));
  FakeAgent agent(loop_, 1);
  start_http();
  set_usual_routes(agent);
  const std::string answer = get("New.test:80", challenge.http_path());
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\n" + challenge.key_authorization)) << answer;
  wait([&] { return counters().challenges_answered == 1u; });
  EXPECT_THAT(get("other.test", challenge.http_path()), StartsWith("HTTP/1.1 404"));

  const std::string port = std::to_string(edge_->tcp_addr().port());
  EXPECT_THAT(get("pass.test", "/a?b=c"), HasSubstr("Location: https://pass.test:" + port + "/a?b=c\r\n"));
  EXPECT_THAT(get("x.w.test", "/"), StartsWith("HTTP/1.1 308"));
  EXPECT_THAT(get("hub.test", "/"), StartsWith("HTTP/1.1 308"));
  wait([&] { return counters().redirected == 3u; });
  EXPECT_THAT(get("unknown.test", "/"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(get("127.0.0.1", "/"), StartsWith("HTTP/1.1 404"));
}

TEST_F(HttpListenerTest, NoTextOfAClientGetsIntoTheAnswersFields) {
  FakeAgent agent(loop_, 1);
  start_http();
  set_usual_routes(agent);
  for (const char* target : {"//evil.example/", "/\\evil", "http://evil.example/", "/a%0d%0aX: y"}) {
    const std::string answer = get("pass.test", target);
    if (answer.contains("Location:"))
      EXPECT_THAT(answer, HasSubstr(fmt::format("Location: https://pass.test:{}/", edge_->tcp_addr().port())))
          << target;
    EXPECT_THAT(answer, ::testing::Not(HasSubstr("\nX: y")));
  }
  EXPECT_THAT(say("GET / HTTP/1.1\r\nHost: pass.test\r\nHost: evil.test\r\n\r\n").text(),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(say("SSH-2.0-x\r\n\r\n").text(), StartsWith("HTTP/1.1 400"));
}

TEST_F(HttpListenerTest, ASilentClientIsCutAndATrustedProxyIsHeard) {
  FakeAgent agent(loop_, 1);
  start_http({IpPrefix::parse("127.0.0.0/8").value()});
  set_usual_routes(agent);
  EXPECT_THAT(
      say("PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\nGET / HTTP/1.0\r\nHost: pass.test\r\n\r\n").text(),
      StartsWith("HTTP/1.1 308"));
  EXPECT_THAT(say("PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n").text(),
              ::testing::AnyOf("", StartsWith("HTTP/1.1 408")));
  EXPECT_EQ(say("").text(), "");
  wait([&] { return counters().refused_hello_timeout == 1u; });
  wait([&] { return counters().connections_active == 0; });
}

TEST_F(HttpListenerTest, ChallengesOfPassthroughHostnamesGoToTheirAgents) {
  FakeAgent agent(loop_, 1);
  start_http();
  set_usual_routes(agent);
  connect(agent);
  const std::string path = "/.well-known/acme-challenge/token_1";
  // What the agent gets, and echoes, is one request of ours, whatever else the client says.
  const Received& echoed = begin("GET " + path +
                                 " HTTP/1.1\r\nHost: Pass.test:80\r\nCookie: c\r\n\r\n"
                                 "GET /admin HTTP/1.1\r\nHost: pass.test\r\n\r\n");
  wait([&] {
    return echoed.text() == "GET " + path + " HTTP/1.1\r\nHost: pass.test\r\nConnection: close\r\n\r\n";
  });
  ASSERT_EQ(agent.headers.size(), 1u);
  EXPECT_EQ(agent.headers[0].kind, tunnel::StreamKind::kChallenge);
  EXPECT_EQ(agent.headers[0].authority, "pass.test");
  wait([&] { return counters().challenges_forwarded == 1u; });
  const Received& head = begin("HEAD " + path + " HTTP/1.1\r\nHost: pass.test\r\n\r\n");
  wait([&] { return head.text().starts_with("HEAD " + path); });

  // Nothing else.
  for (const auto& [method, host, target] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {"GET", "pass.test", "/"},
           {"GET", "pass.test", path + "/../../admin"},
           {"GET", "pass.test", path + "?x"},
           {"GET", "term.test", path},
           {"GET", "x.w.test", path},
           {"GET", "unknown.test", path},
           {"POST", "pass.test", path}}) {
    const std::string answer =
        say(fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", method, target, host))
            .text();
    EXPECT_THAT(answer, StartsWith(host == "unknown.test" ? "HTTP/1.1 404" : "HTTP/1.1 308")) << target;
  }
  EXPECT_THAT(say("GET " + path + " HTTP/1.1\r\nHost: pass.test\r\nContent-Length: 1\r\n\r\nx").text(),
              StartsWith("HTTP/1.1 308"));
  EXPECT_EQ(agent.headers.size(), 2u);
  // A challenge of ours is answered here, also for such a hostname.
  const auto own =
      acme::Challenge::make(acme::ChallengeType::kHttp01, "pass.test", "token_1", tls::P256Key::generate());
  ASSERT_TRUE(challenges_->add(own, unix_now()));
  EXPECT_TRUE(get("pass.test", path).ends_with(own.key_authorization));
  EXPECT_EQ(agent.headers.size(), 2u);
}

TEST_F(HttpListenerTest, AChallengeThatNobodyTakesIsAnsweredInHttp) {
  FakeAgent agent(loop_, 1);
  start_http();
  set_usual_routes(agent);
  const std::string path = "/.well-known/acme-challenge/token_1";
  EXPECT_THAT(get("pass.test", path), AllOf(StartsWith("HTTP/1.1 502"), HasSubstr("agent is not connected")));
  connect(agent);
  // As an agent of an earlier version, which does not know this kind of stream.
  agent.refuse_with = tunnel::kStreamBadHeader;
  EXPECT_THAT(get("pass.test", path), StartsWith("HTTP/1.1 502"));
  wait([&] { return counters().connections_active == 0; });
}

}  // namespace
}  // namespace culvert::edge
