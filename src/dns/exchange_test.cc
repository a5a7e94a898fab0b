#include "dns/exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns/testing.h"
#include "dns/testing_server.h"

namespace culvert::dns {
namespace {

using net::testing::run_task;
using testing::FakeServer;
using ::testing::HasSubstr;
using testing::query;
using namespace std::chrono_literals;

struct Exchange : ::testing::Test {
  Result<Answer> ask(const FakeServer& server, Duration time = 20s) { return ask(server.address(), time); }
  Result<Answer> ask(const SocketAddr& server, Duration time) {
    return run_task(loop,
                    exchange(loop, server, encode(query("example.net", Type::kTxt)), loop.now() + time));
  }
  static Bytes good(ByteView asked) { return encode(testing::answer_to(decode(asked).value())); }

  net::EventLoop loop;
};

TEST_F(Exchange, UdpIsEnough) {
  FakeServer server(loop, [](ByteView asked, bool) { return good(asked); });
  const auto answer = ask(server);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->message.questions, query("example.net", Type::kTxt).questions);
  EXPECT_EQ(server.over_tcp(), 0);
}

TEST_F(Exchange, ALostQueryIsRepeated) {
  int seen = 0;
  FakeServer server(
      loop, [&](ByteView asked, bool) { return ++seen == 1 ? std::nullopt : std::optional(good(asked)); });
  EXPECT_TRUE(ask(server));
  EXPECT_EQ(server.over_udp(), 2);
}

TEST_F(Exchange, ATruncatedAnswerIsAskedForOverTcp) {
  FakeServer server(loop, [](ByteView asked, bool over_tcp) {
    Message answer = testing::answer_to(decode(asked).value());
    answer.header.is_truncated = !over_tcp;
    return encode(answer);
  });
  const auto answer = ask(server);
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->message.header.is_truncated);
  EXPECT_EQ(server.over_tcp(), 1);
}

TEST_F(Exchange, WhereUdpIsLostTcpIsUsed) {
  FakeServer server(loop, [](ByteView asked, bool over_tcp) {
    return over_tcp ? std::optional(good(asked)) : std::nullopt;
  });
  EXPECT_TRUE(ask(server));
}

TEST_F(Exchange, AnswersToOtherQueriesAreIgnored) {
  int seen = 0;
  FakeServer server(loop, [&](ByteView asked, bool over_tcp) {
    Message answer = testing::answer_to(decode(asked).value());
    if (++seen == 1) answer.header.id ^= 1;
    if (seen == 2) answer.questions = query("example.org", Type::kTxt).questions;
    EXPECT_EQ(over_tcp, seen == 3);
    return encode(answer);
  });
  EXPECT_TRUE(ask(server));
  EXPECT_EQ(seen, 3);
}

TEST_F(Exchange, ARefusalMayLeaveTheQuestionOut) {
  FakeServer server(loop, [](ByteView asked, bool) {
    Message answer = testing::answer_to(decode(asked).value());
    answer.header.rcode = Rcode::kFormatError;
    answer.questions.clear();
    return encode(answer);
  });
  EXPECT_EQ(ask(server)->message.header.rcode, Rcode::kFormatError);
}

TEST_F(Exchange, SilenceHasAnEnd) {
  FakeServer server(loop, [](ByteView, bool) { return std::nullopt; });
  const auto answer = ask(server, 300ms);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kTimeout);
  EXPECT_THAT(answer.error().message, HasSubstr(server.address().to_string() + " does not answer"));
}

TEST_F(Exchange, GarbageOverTcpIsNamed) {
  FakeServer server(loop, [](ByteView asked, bool over_tcp) -> std::optional<Bytes> {
    if (over_tcp) return Bytes(20, 0xff);
    Message answer = testing::answer_to(decode(asked).value());
    answer.header.is_truncated = true;
    return encode(answer);
  });
  const auto answer = ask(server);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(answer.error().message, HasSubstr("not with a DNS message"));
}

TEST_F(Exchange, WhereNobodyListensThatIsTold) {
  SocketAddr nobody;
  {
    FakeServer server(loop, [](ByteView, bool) { return std::nullopt; });
    nobody = server.address();
  }
  const auto answer = ask(nobody, 20s);
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().message, HasSubstr("Connection refused"));
}

}  // namespace
}  // namespace culvert::dns
