#include "http/parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace culvert::http {
namespace {

constexpr const char* kGet = "GET /v1/health HTTP/1.1\r\nHost: hub\r\n\r\n";
constexpr const char* kPost =
    "POST /v1/leases?x=y HTTP/1.1\r\nHost: hub\r\nContent-Length: 5\r\nX-Two: a\r\nx-two: b\r\n\r\nhello";
constexpr const char* kChunked =
    "POST / HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: "
    "chunked\r\n\r\n3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\n\r\n";

TEST(RequestParser, ReadsMethodTargetFieldsAndBody) {
  RequestParser parser;
  EXPECT_TRUE(parser.idle());
  ASSERT_EQ(parser.feed(as_bytes(kPost)), ParseState::kDone);
  Request request = parser.take();
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/v1/leases?x=y");
  EXPECT_EQ(request.body, "hello");
  EXPECT_TRUE(request.keep_alive);
  ASSERT_NE(request.headers.find("hOsT"), nullptr);
  EXPECT_EQ(*request.headers.find("host"), "hub");
  EXPECT_EQ(request.headers.count("X-TWO"), 2u);
  EXPECT_EQ(*request.headers.find("X-Two"), "a");
  EXPECT_EQ(request.headers.find("absent"), nullptr);
  EXPECT_TRUE(parser.idle());
}

TEST(RequestParser, ReadsWhateverTheSegmentation) {
  for (const char* text : {kGet, kPost, kChunked}) {
    std::string whole(text);
    for (size_t step : {1u, 2u, 3u, 7u, 50u}) {
      RequestParser parser;
      for (size_t at = 0; at < whole.size(); at += step) {
        ASSERT_EQ(parser.state(), ParseState::kNeedMore) << text << " step " << step << " at " << at;
        parser.feed(as_bytes(whole).subspan(at, std::min(step, whole.size() - at)));
      }
      ASSERT_EQ(parser.state(), ParseState::kDone) << text << " step " << step;
      EXPECT_EQ(parser.take().body, text == kGet ? "" : "hello");
    }
  }
}

TEST(RequestParser, KeepsPipelinedRequestsApart) {
  RequestParser parser;
  std::string three = std::string(kChunked) + kGet + kPost;
  ASSERT_EQ(parser.feed(as_bytes(three)), ParseState::kDone);
  EXPECT_EQ(parser.take().target, "/");
  ASSERT_EQ(parser.state(), ParseState::kDone);
  EXPECT_EQ(parser.take().target, "/v1/health");
  ASSERT_EQ(parser.state(), ParseState::kDone);
  EXPECT_EQ(parser.take().body, "hello");
  EXPECT_EQ(parser.state(), ParseState::kNeedMore);
  EXPECT_TRUE(parser.idle());
}

TEST(RequestParser, KnowsWhoWantsToKeepTheConnection) {
  struct Case {
    const char* text;
    bool keep_alive;
  };
  for (const Case& c : {Case{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
                        Case{"GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n", false},
                        Case{"GET / HTTP/1.0\r\n\r\n", false},
                        Case{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true}}) {
    RequestParser parser;
    ASSERT_EQ(parser.feed(as_bytes(c.text)), ParseState::kDone) << c.text;
    EXPECT_EQ(parser.take().keep_alive, c.keep_alive) << c.text;
  }
}

struct Malformed {
  const char* what;
  std::string text;
};

class MalformedRequest : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedRequest, IsRefusedHoweverItArrives) {
  const std::string& text = GetParam().text;
  RequestParser whole;
  EXPECT_EQ(whole.feed(as_bytes(text)), ParseState::kError) << text;
  EXPECT_EQ(whole.error().code, ErrorCode::kInvalid) << whole.error().message;
  EXPECT_FALSE(whole.error().message.empty());
  EXPECT_EQ(whole.feed(as_bytes(kGet)), ParseState::kError) << "nothing is trusted after an error";

  RequestParser bytewise;
  for (size_t i = 0; i < text.size() && bytewise.state() == ParseState::kNeedMore; ++i) {
    bytewise.feed(as_bytes(text).subspan(i, 1));
  }
  EXPECT_EQ(bytewise.state(), ParseState::kError) << text;
}

std::string with_fields(std::string_view fields, std::string_view body = "") {
  return "POST / HTTP/1.1\r\nHost: h\r\n" + std::string(fields) + "\r\n" + std::string(body);
}

INSTANTIATE_TEST_SUITE_P(
    Framing, MalformedRequest,
    testing::Values(
        Malformed{"LengthThenChunked",
                  with_fields("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
        Malformed{"ChunkedThenLength",
                  with_fields("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")},
        Malformed{"TwoEqualLengths", with_fields("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")},
        Malformed{"TwoLengths", with_fields("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")},
        Malformed{"LengthList", with_fields("Content-Length: 5, 5\r\n", "hello")},
        Malformed{"LengthPlus", with_fields("Content-Length: +5\r\n", "hello")},
        Malformed{"LengthNegative", with_fields("Content-Length: -5\r\n", "hello")},
        Malformed{"LengthHex", with_fields("Content-Length: 0x5\r\n", "hello")},
        Malformed{"LengthEmpty", with_fields("Content-Length: \r\n", "hello")},
        Malformed{"LengthOverflow", with_fields("Content-Length: 99999999999999999999999\r\n", "hello")},
        Malformed{"TwoCodings",
                  with_fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
        Malformed{"Identity", with_fields("Transfer-Encoding: identity\r\n")},
        Malformed{"GzipChunked", with_fields("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")},
        Malformed{"ChunkedIdentity", with_fields("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")},
        Malformed{"CodingWithJunk", with_fields("Transfer-Encoding: \x0b"
                                                "chunked\r\n",
                                                "0\r\n\r\n")},
        Malformed{"ChunkedInOldHttp", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        Malformed{"FoldedBySpace", with_fields("X-A: b\r\n c\r\n")},
        Malformed{"FoldedByTab", with_fields("X-A: b\r\n\tc\r\n")},
        Malformed{"SpaceBeforeColon", with_fields("Content-Length : 5\r\n", "hello")},
        Malformed{"NoColon", with_fields("Content-Length\r\n")},
        Malformed{"EmptyName", with_fields(": x\r\n")},
        Malformed{"NulInValue", with_fields(std::string("X-A: a\0b\r\n", 10))},
        Malformed{"BareCarriageReturn", with_fields("X-A: a\rb\r\n")},
        Malformed{"BareLineFeeds", "GET / HTTP/1.1\nHost: h\n\n"},
        Malformed{"MixedLineFeeds", "GET / HTTP/1.1\r\nHost: h\n\r\n"},
        Malformed{"NoHost", "GET / HTTP/1.1\r\n\r\n"},
        Malformed{"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"},
        Malformed{"TwoHostsInOldHttp", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"},
        Malformed{"EmptyFirstLine", "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"},
        Malformed{"NoVersion", "GET /\r\nHost: h\r\n\r\n"},
        Malformed{"Version2", "GET / HTTP/2.0\r\nHost: h\r\n\r\n"},
        Malformed{"LowerCaseVersion", "GET / http/1.1\r\nHost: h\r\n\r\n"},
        Malformed{"SpaceInTarget", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"},
        Malformed{"BadMethod", "G@T / HTTP/1.1\r\nHost: h\r\n\r\n"},
        Malformed{"TlsHello", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11)},
        Malformed{"ChunkNotHex", with_fields("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n")},
        Malformed{"ChunkNegative", with_fields("Transfer-Encoding: chunked\r\n", "-5\r\nhello\r\n0\r\n\r\n")},
        Malformed{"ChunkPrefixed",
                  with_fields("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n")},
        Malformed{"ChunkEmptySize", with_fields("Transfer-Encoding: chunked\r\n", "\r\nhello\r\n0\r\n\r\n")},
        Malformed{"ChunkOverflow",
                  with_fields("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n")},
        Malformed{"ChunkTooShort", with_fields("Transfer-Encoding: chunked\r\n", "3\r\nhello\r\n0\r\n\r\n")},
        Malformed{"ChunkBareLineFeed",
                  with_fields("Transfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n")},
        Malformed{"ChunkLineEndless",
                  with_fields("Transfer-Encoding: chunked\r\n", "5;" + std::string(5000, 'x'))},
        Malformed{"Trailer", with_fields("Transfer-Encoding: chunked\r\n", "0\r\nHost: evil\r\n\r\n")},
        Malformed{"TrailerIsNextRequest",
                  with_fields("Transfer-Encoding: chunked\r\n", std::string("0\r\n") + kGet)}),
    [](const auto& info) { return info.param.what; });

TEST(RequestParser, RefusesAnEndlessHeader) {
  RequestParser parser;
  std::string text = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
  text.append(H1Decoder::kMaxHead, 'x');
  ASSERT_EQ(parser.feed(as_bytes(text)), ParseState::kError);
  EXPECT_EQ(parser.error().code, ErrorCode::kLimit);
}

TEST(RequestParser, TakesAHeaderUpToTheCapAndNoMore) {
  for (size_t extra : {0u, 1u}) {
    std::string start = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
    std::string text = start + std::string(H1Decoder::kMaxHead + extra - start.size() - 4, 'x') + "\r\n\r\n";
    RequestParser parser;
    EXPECT_EQ(parser.feed(as_bytes(text)), extra == 0 ? ParseState::kDone : ParseState::kError);
  }
}

TEST(RequestParser, TakesABodyUpToTheCapAndNoMore) {
  for (size_t extra : {0u, 1u}) {
    size_t size = kMaxBodyBytes + extra;
    RequestParser parser;
    std::string head = fmt::format("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", size);
    parser.feed(as_bytes(head));
    if (extra == 0) {
      EXPECT_EQ(parser.feed(as_bytes(std::string(size, 'b'))), ParseState::kDone);
      EXPECT_EQ(parser.take().body.size(), size);
    } else {
      // Refused by its announcement: nobody has to send it first.
      EXPECT_EQ(parser.state(), ParseState::kError);
      EXPECT_EQ(parser.error().code, ErrorCode::kLimit);
    }
  }
}

TEST(RequestParser, CountsChunksTogetherAgainstTheCap) {
  RequestParser parser;
  parser.feed(as_bytes(with_fields("Transfer-Encoding: chunked\r\n")));
  std::string chunk = "1000\r\n" + std::string(0x1000, 'b') + "\r\n";
  for (size_t i = 0; i < kMaxBodyBytes / 0x1000; ++i)
    ASSERT_EQ(parser.feed(as_bytes(chunk)), ParseState::kNeedMore);
  ASSERT_EQ(parser.feed(as_bytes(chunk)), ParseState::kError);
  EXPECT_EQ(parser.error().code, ErrorCode::kLimit);
}

TEST(RequestParser, BoundsTheFramingOfTinyChunks) {
  RequestParser parser;
  parser.feed(as_bytes(with_fields("Transfer-Encoding: chunked\r\n")));
  std::string chunk = "1;" + std::string(500, 'x') + "\r\nb\r\n";
  size_t fed = 0;
  while (parser.feed(as_bytes(chunk)) == ParseState::kNeedMore) {
    fed += chunk.size();
    ASSERT_LT(fed, 16 * kMaxBodyBytes);
  }
  EXPECT_EQ(parser.error().code, ErrorCode::kLimit);
}

Result<Response> parse_response(std::string_view text, bool ended, bool to_head = false) {
  ResponseParser parser(to_head);
  ParseState state = parser.feed(as_bytes(text));
  if (state == ParseState::kNeedMore && ended) state = parser.feed_end();
  if (state == ParseState::kNeedMore) return fail(ErrorCode::kUnavailable, "needs more");
  if (state == ParseState::kError) return std::unexpected(parser.error());
  return parser.take();
}

TEST(ResponseParser, ReadsEveryKindOfBody) {
  for (const char* text :
       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 "
        "OK\r\nContent-Length: 2\r\n\r\nhi"}) {
    auto response = parse_response(text, false);
    ASSERT_TRUE(response.has_value()) << text << response.error().message;
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->body, "hi");
  }
  auto until_end = parse_response("HTTP/1.1 404 Not Found\r\n\r\nhi", true);
  ASSERT_TRUE(until_end.has_value());
  EXPECT_EQ(until_end->status, 404);
  EXPECT_EQ(until_end->body, "hi");
  auto none = parse_response("HTTP/1.1 204 No Content\r\n\r\n", false);
  ASSERT_TRUE(none.has_value());
  auto head = parse_response("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", false, true);
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->body, "");
}

TEST(ResponseParser, TellsTruncationFromAnEnd) {
  for (const char* text :
       {"", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}) {
    auto response = parse_response(text, true);
    ASSERT_FALSE(response.has_value()) << text;
    EXPECT_EQ(response.error().code, ErrorCode::kReset) << text;
  }
}

TEST(ResponseParser, RefusesAmbiguousFramingAndGarbage) {
  for (const char* text : {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
                           "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
                           "SSH-2.0-x\r\n\r\n", "HTTP/1.1 2 OK\r\n\r\n", "\x15\x03\x01"}) {
    auto response = parse_response(text, true);
    ASSERT_FALSE(response.has_value()) << text;
    EXPECT_EQ(response.error().code, ErrorCode::kInvalid) << text;
  }
}

TEST(ResponseParser, SkipsManyInterimResponsesInOneFeed) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "HTTP/1.1 100 Continue\r\n\r\n";
  EXPECT_TRUE(parse_response(text + "HTTP/1.1 204 No Content\r\n\r\n", false).has_value());
}

TEST(ResponseParser, BoundsABodyWithoutALength) {
  auto response =
      parse_response("HTTP/1.1 200 OK\r\n\r\n" + std::string(kMaxResponseBodyBytes + 1, 'x'), true);
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().code, ErrorCode::kLimit);
}

}  // namespace
}  // namespace culvert::http
