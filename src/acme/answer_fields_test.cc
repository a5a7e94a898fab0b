#include "acme/answer_fields.h"

#include <gtest/gtest.h>

namespace culvert::acme {
namespace {

using namespace std::chrono_literals;

const UnixTime kNow{1'800'000'000s};  // Fri, 15 Jan 2027 08:00:00 GMT

http::Headers field(std::string name, std::string value) {
  http::Headers out;
  out.add(std::move(name), std::move(value));
  return out;
}

TEST(AnswerFields, RetryAfter) {
  const auto read = [](const std::string& value) { return retry_after(field("Retry-After", value), kNow); };
  EXPECT_EQ(read("120"), 120s);
  EXPECT_EQ(read("0"), 0s);
  EXPECT_EQ(read("Fri, 15 Jan 2027 08:01:00 GMT"), 60s);
  EXPECT_EQ(read("Fri, 15 Jan 2027 07:00:00 GMT"), 0s) << "in the past";
  EXPECT_EQ(read("99999999999999999999999"), kMaxRetryAfter);
  EXPECT_EQ(read("Fri, 15 Jan 2100 08:01:00 GMT"), kMaxRetryAfter);
  for (const char* value : {"", "-1", "1.5", "soon"}) EXPECT_EQ(read(value), std::nullopt) << value;
  EXPECT_EQ(retry_after({}, kNow), std::nullopt);
}

TEST(AnswerFields, ReplayNonce) {
  EXPECT_EQ(replay_nonce(field("Replay-Nonce", "oFvnlFP1wIhRlYS2jTaXbA")), "oFvnlFP1wIhRlYS2jTaXbA");
  EXPECT_EQ(replay_nonce(field("Replay-Nonce", "a b")), std::nullopt);
  EXPECT_EQ(replay_nonce({}), std::nullopt);
}

TEST(AnswerFields, Links) {
  http::Headers headers = field("Link", R"(<https://a.example/index>;rel="index")");
  headers.add(
      "link",
      R"(<https://a.example/1>;title="x, <y>; rel=z" ; rel="alternate", <https://a.example/2>; REL=Alternate)");
  headers.add("Link", R"(<https://a.example/3>;rel="up alternate")");
  EXPECT_EQ(links(headers, "alternate"),
            (std::vector<std::string>{"https://a.example/1", "https://a.example/2", "https://a.example/3"}));
  EXPECT_EQ(links(headers, "index"), std::vector<std::string>{"https://a.example/index"});
  for (const char* broken : {"", "<", "<x", ">;rel=alternate", "x <y>;rel=alternate", ";;;,,,",
                             "<x>;rel=\"alternate", "<x>;rel=\"\\", "<>;rel=alternate"}) {
    EXPECT_TRUE(links(field("Link", broken), "alternate").empty()) << broken;
  }
  std::string many;
  for (int i = 0; i < 100; ++i) many += "<https://a.example/x>;rel=alternate,";
  EXPECT_EQ(links(field("Link", many), "alternate").size(), kMaxLinks);
}

}  // namespace
}  // namespace culvert::acme
