// The port for plain HTTP: challenges of CAs, and the way to HTTPS.
#include "edge/http_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "edge/edge_fixture.h"

namespace culvert::edge {
namespace {

using namespace testing;
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
  Received& say(std::string_view text) {
    net::ByteStream& socket =
        keep(run_task(loop_, net::tcp_connect(loop_, *edge_->http_addr(), soon())).value());
    send(socket, as_bytes(text));
    Received& answer = read(socket);
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

}  // namespace
}  // namespace culvert::edge
