#include "agent/challenge_forwarder.h"

#include <gmock/gmock.h>

#include "agent/agent_fixture.h"
#include "agent/services.h"
#include "origin/service_text.h"

namespace culvert::agent {
namespace {

using origin::parse_service;
using origin::parse_services;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kPath = "/.well-known/acme-challenge/token_1";

// The origin of the test is where challenges of "own.test" go.
class ChallengeForwarderTest : public AgentTest {
 protected:
  void begin(std::string http_origin = "") {
    if (http_origin.empty()) http_origin = fmt::format("127.0.0.1:{}", origin_->local_addr().port());
    more_services_ = {parse_service("own.test=127.0.0.1:1,http=" + http_origin).value()};
    verdicts_.push_back({"own.test", true, ""});
    start_and_link();
  }
  endpoint::StreamPtr ask(std::string_view request, const std::string& host = "own.test") {
    const Bytes head = encode(tunnel::StreamHeader{addr("198.51.100.2:1234"), addr("203.0.113.1:80"), host,
                                                   tunnel::StreamKind::kChallenge, 1});
    return open(links_[0], std::string(as_text(head)) + std::string(request));
  }
  static std::string request(std::string_view method = "GET", std::string_view target = kPath) {
    return fmt::format("{} {} HTTP/1.1\r\nHost: own.test\r\nCookie: secret\r\n\r\n", method, target);
  }
  std::string read_to_end(const endpoint::StreamPtr& stream) {
    std::string all;
    while (true) {
      Bytes piece(4096);
      auto got = run_task(loop_, endpoint::read_some(loop_, stream, piece, soon()));
      if (!got || *got == 0) return all;
      all += as_text(ByteView(piece).first(*got));
    }
  }
};

TEST_F(ChallengeForwarderTest, TheOriginAnswersAndIsAskedNothingElse) {
  begin();
  auto stream = ask(request() + "GET /admin HTTP/1.1\r\nHost: own.test\r\n\r\n");
  auto origin = accept_at_origin();
  const std::string asked = read(*origin);
  EXPECT_THAT(asked, StartsWith(fmt::format("GET {} HTTP/1.1\r\n", kPath)));
  EXPECT_THAT(asked, HasSubstr("Host: own.test\r\n"));
  EXPECT_THAT(asked, ::testing::Not(HasSubstr("secret")));
  EXPECT_THAT(asked, ::testing::Not(HasSubstr("admin")));
  write(*origin,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nSet-Cookie: c\r\nContent-Length: 9\r\n\r\ntoken.key");
  const std::string answer = read_to_end(stream);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain\r\n"));
  EXPECT_THAT(answer, ::testing::Not(HasSubstr("Set-Cookie")));
  EXPECT_TRUE(answer.ends_with("\r\n\r\ntoken.key"));
  stream->finish();
  wait([&] { return agent_->open_connections() == 0; });
}

TEST_F(ChallengeForwarderTest, ARedirectGoesBackAsItIs) {
  begin();
  auto stream = ask(request("HEAD"));
  auto origin = accept_at_origin();
  EXPECT_THAT(read(*origin), StartsWith("HEAD "));
  write(*origin, "HTTP/1.1 301 Moved\r\nLocation: https://own.test/x\r\nContent-Length: 5\r\n\r\n");
  EXPECT_THAT(read_to_end(stream), HasSubstr("Location: https://own.test/x\r\n"));
}

TEST_F(ChallengeForwarderTest, OtherRequestsAreRefusedHereAsWell) {
  begin();
  for (const std::string& wrong :
       {request("POST"), request("GET", "/admin"), request("GET", std::string(kPath) + "/../x"),
        std::string("nonsense\r\n\r\n"), "GET " + std::string(5000, 'x')})
    expect_refused(ask(wrong), tunnel::kStreamBadHeader);
  expect_refused(ask(request(), "term.test"), tunnel::kStreamUnknownService);
  expect_refused(ask(request(), "unknown.test"), tunnel::kStreamUnknownService);
}

TEST_F(ChallengeForwarderTest, AnOriginThatDoesNotAnswerIsTold) {
  origin_timeout_ = 200ms;
  begin();
  auto late = ask(request());
  auto origin = accept_at_origin();
  expect_refused(late, tunnel::kStreamOriginTimeout);
  auto large = ask(request());
  auto again = accept_at_origin();
  write(*again,
        fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", origin::kMaxChallengeAnswer + 1));
  expect_refused(large, tunnel::kStreamOriginUnreachable);
}

TEST_F(ChallengeForwarderTest, NoneMeansNowhere) {
  begin("none");
  expect_refused(ask(request()), tunnel::kStreamUnknownService);
}

TEST(HttpOrigin, IsPortEightyOfTheOriginsHostUnlessToldOtherwise) {
  const auto of = [](std::string_view text) {
    const auto service = parse_service(text).value();
    return service.http_origin ? service.http_origin->to_string() : std::string("none");
  };
  EXPECT_EQ(of("a.test=web:8443"), "web:80");
  EXPECT_EQ(of("a.test=web:8443,http=localhost:8080"), "localhost:8080");
  EXPECT_EQ(of("a.test=web:8443,http=unix:/run/web.sock"), "unix:/run/web.sock");
  EXPECT_EQ(of("a.test=web:8443,http=none"), "none");
  EXPECT_EQ(of("a.test=unix:/run/web.sock"), "none");
  EXPECT_EQ(of("a.test=web:80,terminate"), "none");
  EXPECT_THAT(parse_service("a.test=web:80,terminate,http=web:80").error().message, HasSubstr("passthrough"));
  EXPECT_FALSE(parse_service("a.test=web:80,http=nonsense"));
  EXPECT_FALSE(parse_service("a.test=web:80,http=none,http=none"));
  const auto json = parse_services(R"([{"hostname":"a.test","origin":"web:8443","http_origin":"web:8080"}])");
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(json->front().http_origin->to_string(), "web:8080");
  EXPECT_THAT(parse_services(R"([{"hostname":"a.test","origin":"web:1","http_origin":1}])").error().message,
              HasSubstr("http_origin"));
  EXPECT_FALSE(
      parse_services(R"([{"protocol":"tcp","name":"ssh","origin":"web:22","http_origin":"web:80"}])"));
}

}  // namespace
}  // namespace culvert::agent
