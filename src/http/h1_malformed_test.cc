#include <gmock/gmock.h>

#include "http/testing_h1.h"

// Requests that no server should take, each with one fault.
namespace culvert::http {
namespace {

using testing::transcript;

constexpr const char* kGet = "GET /v1/health HTTP/1.1\r\nHost: hub\r\n\r\n";

struct Malformed {
  const char* what;
  std::string text;
};

class MalformedRequest : public ::testing::TestWithParam<Malformed> {};

TEST_P(MalformedRequest, IsRefusedHoweverItArrives) {
  const std::string& text = GetParam().text;
  for (size_t step : {text.size(), size_t{1}, size_t{3}}) {
    EXPECT_THAT(transcript(H1Decoder::Role::kRequests, H1Rules::kStrict, "", as_bytes(text), step),
                ::testing::ContainsRegex("invalid the request is malformed: .+\n$"))
        << text;
  }
}

std::string with_fields(std::string_view fields, std::string_view body = "") {
  return "POST / HTTP/1.1\r\nHost: h\r\n" + std::string(fields) + "\r\n" + std::string(body);
}

INSTANTIATE_TEST_SUITE_P(
    Framing, MalformedRequest,
    ::testing::Values(
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

}  // namespace
}  // namespace culvert::http
