#include "http/h1_codec.h"

#include <gmock/gmock.h>

#include "http/testing_h1.h"

namespace culvert::http {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::transcript;
using Role = H1Decoder::Role;
using Event = H1Decoder::Event;

// However the bytes arrive, they are understood in one way.
std::string decode(Role role, std::string_view text, std::string_view method = "GET",
                   H1Rules rules = H1Rules::kStrict) {
  const std::string all_at_once = transcript(role, rules, method, as_bytes(text), text.size() + 1);
  for (size_t step : {1u, 2u, 3u, 7u}) {
    EXPECT_EQ(transcript(role, rules, method, as_bytes(text), step), all_at_once) << text << " by " << step;
  }
  return all_at_once;
}
std::string requests(std::string_view text) { return decode(Role::kRequests, text); }
std::string responses(std::string_view text, std::string_view method = "GET") {
  return decode(Role::kResponses, text, method);
}

TEST(H1Requests, HeadBodyAndEnd) {
  EXPECT_EQ(
      requests(
          "POST /a?b=c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX-Empty:\r\nx:\t a b \t\r\n\r\nhello"),
      "POST /a?b=c [Host: h] [Content-Length: 5] [X-Empty: ] [x: a b]\n<hello>\nend\n");
  EXPECT_EQ(
      requests(
          "GET / HTTP/1.1\r\nHost: h\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n"),
      "GET / [Host: h]\nend\nHEAD /2 [Host: h] [Connection: x, Close] closes\nend\n");
  EXPECT_EQ(requests("PUT / HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n"),
            "PUT / [Host: ] [Content-Length: 0]\nend\n");
  EXPECT_EQ(requests("DELETE / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
            "DELETE / [Host: h] [Transfer-Encoding: Chunked]\n<x>\nend\n");
}

TEST(H1Requests, OldHttp) {
  EXPECT_EQ(requests("GET / HTTP/1.0\r\n\r\n"), "GET / closes\nend\n");
  EXPECT_EQ(requests("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
            "GET / [Connection: Keep-Alive]\nend\n");
  EXPECT_EQ(requests("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"),
            "GET / [Connection: keep-alive, close] closes\nend\n");
  EXPECT_THAT(requests("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), HasSubstr("HTTP/1.0"));
}

TEST(H1Requests, ChunksWithExtensionsAndTrailers) {
  EXPECT_EQ(
      requests(
          "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
          "3\r\nhel\r\n2;a=\"b;c\"\r\nlo\r\n000\r\nGrpc-Status: 0\r\nX: y\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
      "POST / [Host: h] [Transfer-Encoding: chunked]\n<hello>\ntrailers [Grpc-Status: 0] [X: y]\nend\n"
      "GET / closes\nend\n");
  for (const char* name : {"Content-Length", "transfer-encoding", "HOST", "Authorization", "Cookie",
                           "Trailer", "Connection", "Content-Encoding"}) {
    EXPECT_THAT(
        requests(fmt::format(
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}: 1\r\n\r\n", name)),
        EndsWith("invalid the request is malformed: a field behind its body that may not be there\n"))
        << name;
  }
}

TEST(H1Requests, TargetFormsFitTheirMethods) {
  for (const char* good :
       {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET https://H:443?x HTTP/1.1\r\nHost: h:443\r\n\r\n",
        "GET http://[::1]:8/ HTTP/1.1\r\nHost: [::1]:8\r\n\r\n", "GET //x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: a_b.c-d\r\n\r\n"}) {
    EXPECT_THAT(requests(good), EndsWith("\nend\n")) << good;
  }
  EXPECT_EQ(requests("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
            "CONNECT h:443 [Host: h:443]\nend\nopaque\n");
  for (const char* bad :
       {"GET * HTTP/1.1\r\nHost: h\r\n\r\n", "GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET x HTTP/1.1\r\nHost: h\r\n\r\n", "GET http:// HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n", "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http:/h HTTP/1.1\r\nHost: h\r\n\r\n", "GET ://h HTTP/1.1\r\nHost: h\r\n\r\n",
        "CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n",
        "CONNECT h:1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h:x\r\n\r\n", "GET / HTTP/1.1\r\nHost: h/x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "GET / HTTP/1.1\r\nHost: []\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h:1234567\r\n\r\n", "GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\t HTTP/1.1\r\nHost: h\r\n\r\n"}) {
    EXPECT_THAT(requests(bad), StartsWith("invalid the request is malformed: ")) << bad;
  }
}

TEST(H1Requests, WhatCouldBeReadInTwoWaysIsRefused) {
  const auto with = [](std::string_view fields, std::string_view body = "") {
    return fmt::format("POST / HTTP/1.1\r\nHost: h\r\n{}\r\n{}", fields, body);
  };
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  struct Case {
    std::string text;
    const char* reason;
  };
  for (const Case& c : std::vector<Case>{
           {with("Content-Length: 1\r\n" + chunked), "both Content-Length and Transfer-Encoding"},
           {with("Content-Length: 1\r\ncontent-length: 1\r\n"), "more than one Content-Length"},
           {with("Content-Length: 1,1\r\n"), "not a number"},
           {with("Content-Length: 007\r\n"), "begins with a zero"},
           {with("Content-Length: 1 1\r\n"), "not a number"},
           {with("Content-Length: 18446744073709551616\r\n"), "not a number"},
           {with(chunked + chunked), "more than one Transfer-Encoding"},
           {with("Transfer-Encoding: xchunked\r\n"), "other than chunked"},
           {with("Transfer-Encoding: \"chunked\"\r\n"), "other than chunked"},
           {with("Transfer-Encoding: chunked,\r\n"), "other than chunked"},
           {with("Transfer-Encoding : chunked\r\n"), "not a token"},
           {with("Transfer-Encoding\t: chunked\r\n"), "not a token"},
           {with(" Transfer-Encoding: chunked\r\n"), "folded"},
           {with("X: a\r\n\tb\r\n"), "folded"},
           {with("X: a\rb\r\n"), "carriage return without line feed"},
           {with("X: a\r\r\n"), "carriage return without line feed"},
           {with("X: a\n"), "line feed without carriage return"},
           {"POST / HTTP/1.1\r\nHost: h\r\n\n", "line feed without carriage return"},
           {"POST / HTTP/1.1\r\r\nHost: h\r\n\n", "carriage return without line feed"},
           {with(std::string("X: a\0\r\n", 8)), "control character"},
           {with("X: a\x7f\r\n"), "control character"},
           {with("X\xc3\xa9: a\r\n"), "not a token"},
           {"\r\nGET / HTTP/1.0\r\n\r\n", "an empty line"},
           {"\nGET / HTTP/1.0\r\n\r\n", "line feed without"},
           {"GET  / HTTP/1.0\r\n\r\n", "spaces in its first line"},
           {"GET / HTTP/1.0 \r\n\r\n", "version"},
           {" GET / HTTP/1.0\r\n\r\n", "method"},
           {"GET\t/ HTTP/1.0\r\n\r\n", "method, target and version"},
           {"GET / HTTP/1.2\r\n\r\n", "version"},
           {"GET / HTTP/0.9\r\n\r\n", "version"},
           {"GET / HTTP/1.10\r\n\r\n", "version"},
           {std::string(33, 'G') + " / HTTP/1.0\r\n\r\n", "method"},
           {with(chunked, "1\r\nxx\r\n0\r\n\r\n"), "longer than its size"},
           {with(chunked, "1\r\nx\n0\r\n\r\n"), "longer than its size"},
           {with(chunked, "1\r\nx\r0\r\n\r\n"), "longer than its size"},
           {with(chunked, "1\nx\r\n0\r\n\r\n"), "line feed without carriage return"},
           {with(chunked, "1 \r\nx\r\n"), "no extension"},
           {with(chunked, " 1\r\nx\r\n"), "hexadecimal"},
           {with(chunked, "+1\r\nx\r\n"), "hexadecimal"},
           {with(chunked, "0x1\r\nx\r\n"), "no extension"},
           {with(chunked, "1_0\r\nx\r\n"), "no extension"},
           {with(chunked, "0000000000000001\r\nx\r\n"), "too many digits"},
           {with(chunked, "1;a\x01\r\nx\r\n"), "control character"},
           {with(chunked, "1;a\rb\r\nx\r\n"), "carriage return without line feed"},
           {with(chunked, "0\r\nno colon\r\n\r\n"), "without a colon"},
           {with(chunked, "0\r\n X: y\r\n\r\n"), "folded"},
       }) {
    EXPECT_THAT(requests(c.text), HasSubstr(c.reason)) << c.text;
    EXPECT_THAT(requests(c.text), HasSubstr("invalid ")) << c.text;
  }
}

TEST(H1Requests, CapsHold) {
  const std::string start = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (size_t extra : {0u, 1u}) {
    const std::string head =
        start + "X: " + std::string(H1Decoder::kMaxHead + extra - start.size() - 7, 'x') + "\r\n\r\n";
    EXPECT_EQ(requests(head).ends_with("end\n"), extra == 0) << extra;
    std::string fields = start;
    for (size_t i = 1; i < H1Decoder::kMaxFields + extra; ++i) fields += "X: y\r\n";
    EXPECT_EQ(requests(fields + "\r\n").ends_with("end\n"), extra == 0) << extra;
  }
  EXPECT_EQ(requests(start + "X: " + std::string(2 * H1Decoder::kMaxHead, 'x')),
            "limit the request has a head of more than 16384 bytes\n");
  const std::string chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_THAT(requests(chunked + "1;" + std::string(2000, 'x')), HasSubstr("extensions that are too long"));
  EXPECT_THAT(requests(chunked + "0\r\nX: " + std::string(20'000, 'x')), HasSubstr("limit "));
  std::string fields = chunked + "0\r\n";
  for (size_t i = 0; i <= H1Decoder::kMaxFields; ++i) fields += "X: y\r\n";
  EXPECT_THAT(requests(fields), HasSubstr("trailer fields"));
  std::string extensions = chunked, tiny = chunked;
  for (int i = 0; i < 100; ++i) extensions += "1;" + std::string(500, 'x') + "\r\ny\r\n";
  EXPECT_THAT(requests(extensions),
              HasSubstr("limit the request has chunks that are more framing than content"));
  for (int i = 0; i < 20'000; ++i) tiny += "1\r\ny\r\n";
  EXPECT_THAT(requests(tiny + "0\r\n\r\n"), EndsWith("end\n")) << "small chunks are honest";
}

TEST(H1Requests, ABodyOfAnyLengthStreams) {
  H1Decoder decoder(Role::kRequests);
  std::string_view head = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775807\r\n\r\n";
  ByteView input = as_bytes(head);
  EXPECT_EQ(decoder.next(input), Event::kHead);
  EXPECT_EQ(decoder.body_length(), 9223372036854775807u);
  const Bytes data(100'000);
  input = data;
  EXPECT_EQ(decoder.next(input), Event::kData);
  EXPECT_EQ(decoder.data().data(), data.data()) << "bodies are not copied";
  EXPECT_EQ(decoder.data().size(), data.size());
  EXPECT_EQ(decoder.next(input), Event::kMore);
  EXPECT_EQ(decoder.end_of_input(), Event::kError);
  EXPECT_EQ(decoder.error().code, ErrorCode::kReset);
}

TEST(H1Responses, EveryKindOfBody) {
  EXPECT_EQ(
      responses("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 404\r\nContent-Length: 0\r\n\r\n"),
      "200 [Content-Length: 2]\n<hi>\nend\n404 [Content-Length: 0]\nend\n");
  EXPECT_EQ(responses("HTTP/1.0 200 \r\n\r\nhi"), "200 closes\n<hi>\nend\n");
  EXPECT_EQ(responses("HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n"), "204 [Content-Length: 5]\nend\n");
  EXPECT_EQ(responses("HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "304 [Transfer-Encoding: chunked]\nend\n");
  EXPECT_EQ(responses("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD"),
            "200 [Content-Length: 5]\nend\n");
  EXPECT_EQ(responses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD"),
            "200 [Transfer-Encoding: chunked]\nend\n");
}

TEST(H1Responses, InterimOnesComeBeforeTheFinalOne) {
  EXPECT_EQ(responses("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 "
                      "OK\r\nContent-Length: 0\r\n\r\n"),
            "interim 100\ninterim 103 [Link: x]\n200 [Content-Length: 0]\nend\n");
}

TEST(H1Responses, WhatEndsHttpLeavesTheRestAlone) {
  EXPECT_EQ(responses("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw"),
            "101 [Upgrade: x]\nend\nopaque\n");
  EXPECT_EQ(responses("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nraw", "CONNECT"),
            "200 [Content-Length: 1]\nend\nopaque\n");
  EXPECT_EQ(responses("HTTP/1.1 405 No\r\nContent-Length: 1\r\n\r\nx", "CONNECT"),
            "405 [Content-Length: 1]\n<x>\nend\n");
  H1Decoder decoder(Role::kResponses);
  std::string_view text = "HTTP/1.1 101 Switching Protocols\r\n\r\nraw";
  ByteView input = as_bytes(text);
  EXPECT_EQ(decoder.next(input), Event::kHead);
  EXPECT_EQ(decoder.next(input), Event::kEnd);
  EXPECT_EQ(decoder.next(input), Event::kOpaque);
  EXPECT_EQ(as_text(input), "raw");
}

TEST(H1Responses, TruncationAndGarbageAreErrors) {
  for (const char* text : {"HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
                           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"}) {
    EXPECT_THAT(responses(text), EndsWith("reset the response ends in its middle\n")) << text;
  }
  EXPECT_EQ(responses(""), "") << "nothing had begun";
  for (const char* text :
       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 2 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1 +20 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n", "HTTP/2 200\r\n\r\n", "\x15\x03\x01"}) {
    EXPECT_THAT(responses(text), StartsWith("invalid ")) << text;
  }
}

TEST(H1Observer, AcceptsWhatTheEndsMayAccept) {
  const auto observed = [](Role role, std::string_view text) {
    return decode(role, text, "GET", H1Rules::kObserver);
  };
  EXPECT_EQ(
      observed(Role::kRequests,
               "\r\n\nGET /\xff HTTP/1.1\nX: y\n\nPUT /2 HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
               "1 ;x\n.\n0\nHost: x\n\nGET /3 HTTP/1.0\n\n"),
      "GET /\xff\nend\nPUT /2\n<.>\nend\nGET /3 closes\nend\n");
  EXPECT_EQ(observed(Role::kRequests,
                     "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nGET / "
                     "HTTP/1.1\r\n\r\n"),
            "POST /x\nend\nopaque\n");
  EXPECT_EQ(observed(Role::kResponses, "HTTP/1.1 200\nTransfer-Encoding: gzip\nContent-Length: 4\n\nrest"),
            "200\n<rest>\nend\n");
}

TEST(H1Encoder, WritesWhatTheDecoderReads) {
  Headers fields;
  fields.add("Host", "h");
  fields.add("Transfer-Encoding", "chunked");
  std::string out;
  append_request_head(out, "POST", "/x?y", fields);
  append_chunk_size(out, 26);
  out.append("abcdefghijklmnopqrstuvwxyz").append(kChunkEnd);
  Headers trailers;
  trailers.add("Grpc-Status", "0");
  append_last_chunk(out, trailers);
  EXPECT_EQ(out,
            "POST /x?y HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
            "chunked\r\n\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n"
            "0\r\nGrpc-Status: 0\r\n\r\n");
  EXPECT_EQ(requests(out),
            "POST /x?y [Host: h] [Transfer-Encoding: chunked]\n<abcdefghijklmnopqrstuvwxyz>\ntrailers "
            "[Grpc-Status: 0]\nend\n");
  out.clear();
  append_response_head(out, 404, {});
  append_response_head(out, 299, {});
  EXPECT_EQ(out, "HTTP/1.1 404 Not Found\r\n\r\nHTTP/1.1 299 \r\n\r\n");
}

TEST(H1EncoderDeathTest, ALineBreakInAFieldIsABug) {
  Headers fields;
  fields.add("X", "a\r\nHost: evil");
  std::string out;
  EXPECT_DEATH(append_response_head(out, 200, fields), "CHECK|find_first_of");
  EXPECT_DEATH(append_request_head(out, "GET", "/ HTTP/1.1\r\n", {}), "CHECK|find_first_of");
}

TEST(Headers, KnowElementsOfLists) {
  Headers fields;
  fields.add("Connection", "a,, B ");
  fields.add("connection", "close");
  EXPECT_TRUE(fields.lists("CONNECTION", "a"));
  EXPECT_TRUE(fields.lists("connection", "b"));
  EXPECT_TRUE(fields.lists("connection", "close"));
  EXPECT_FALSE(fields.lists("connection", "clos"));
  EXPECT_FALSE(fields.lists("x", "a"));
}

}  // namespace
}  // namespace culvert::http
