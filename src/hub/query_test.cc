#include "hub/query.h"

#include <gtest/gtest.h>

#include "http/testing.h"

namespace culvert::hub {
namespace {

class QueryTest : public ::testing::Test {
 protected:
  Result<Query> read(std::string target) {
    exchange_.emplace(http::Request{.method = "GET", .target = std::move(target), .headers = {}, .body = {}});
    return Query::read(*exchange_, {"after", "since"});
  }
  std::optional<http::testing::MemoryExchange> exchange_;
};

TEST_F(QueryTest, ReadsWhatIsKnown) {
  auto none = read("/v1/x");
  ASSERT_TRUE(none);
  EXPECT_EQ(none->text("after"), std::nullopt);
  EXPECT_EQ(none->number("after").value(), std::nullopt);
  auto both = read("/v1/x?since=12&after=*.a.eu");
  ASSERT_TRUE(both) << both.error().message;
  EXPECT_EQ(both->text("after"), "*.a.eu");
  EXPECT_EQ(both->number("since").value(), 12u);
  EXPECT_FALSE(both->number("since", 11));
  EXPECT_FALSE(both->number("after"));
}

// As the libraries of HTTP clients write what they are given.
TEST_F(QueryTest, DecodesValues) {
  auto query = read("/v1/x?after=tcp%2F2222%26since%3D1&since=%31%32");
  ASSERT_TRUE(query) << query.error().message;
  EXPECT_EQ(query->text("after"), "tcp/2222&since=1");
  EXPECT_EQ(query->number("since").value(), 12u);
  EXPECT_EQ(read("/v1/x?after=a+b")->text("after"), "a+b");
  EXPECT_FALSE(read("/v1/x?%61fter=1")) << "names are compared as they are written";
}

TEST_F(QueryTest, DecodesTheRestOfThePath) {
  (void)read("/v1/x");
  exchange_->rest = "%2a.b.eu";
  EXPECT_FALSE(decode_rest(*exchange_));
  EXPECT_EQ(exchange_->rest, "*.b.eu");
  exchange_->rest = "a%2";
  auto refused = decode_rest(*exchange_);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 400);
}

// A parameter that is mistyped must not list everything instead of what was asked for.
TEST_F(QueryTest, RefusesWhatItDoesNotKnow) {
  for (const char* target : {"/v1/x?", "/v1/x?after", "/v1/x?after=", "/v1/x?=1", "/v1/x?aftre=1",
                             "/v1/x?after=1&", "/v1/x?&after=1", "/v1/x?after=1&after=2", "/v1/x?after=1&x=2",
                             "/v1/x?After=1", "/v1/x?after=%", "/v1/x?after=%2", "/v1/x?after=%gg"}) {
    auto refused = read(target);
    ASSERT_FALSE(refused) << target;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
    EXPECT_NE(refused.error().message.find("after"), std::string::npos) << refused.error().message;
  }
  for (const char* target : {"/v1/x?since=-1", "/v1/x?since=1x", "/v1/x?since=9223372036854775808"}) {
    auto query = read(target);
    ASSERT_TRUE(query);
    EXPECT_FALSE(query->number("since")) << target;
  }
}

}  // namespace
}  // namespace culvert::hub
