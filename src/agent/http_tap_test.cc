#include "agent/http_tap.h"

#include <gtest/gtest.h>

namespace culvert::agent {
namespace {

using std::chrono::milliseconds;

struct Fixture {
  std::vector<RequestLine> lines;
  HttpTap tap{"app.example.com", [this](const RequestLine& line) { lines.push_back(line); }};
  TimePoint now{std::chrono::hours(1)};

  void request(std::string_view text) { tap.request_bytes(as_bytes(text), now); }
  void response(std::string_view text) { tap.response_bytes(as_bytes(text), now); }
  std::string summary() const {
    std::string out;
    for (const auto& line : lines) out += fmt::format("{} {} {}\n", line.method, line.target, line.status);
    return out;
  }
};

struct Exchange {
  std::string request;
  std::string response;
};

// A connection with every framing that keeps it alive, one after the other.
const std::vector<Exchange>& conversation() {
  static const std::vector<Exchange> kAll = {
      {"GET /a?x=1 HTTP/1.1\r\nHost: app\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
      {"HEAD /b HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"},
      {"POST /c HTTP/1.1\r\ncontent-LENGTH: 20\r\n\r\nGET /no HTTP/1.1\r\n\r\n",
       "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No "
       "Content\r\n\r\n"},
      {"PUT /d HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4;ext=1\r\nabcd\r\n1A\r\n"
       "abcdefghijklmnopqrstuvwxyz\r\n0\r\nTrailer: x\r\n\r\n",
       "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n12\r\nHTTP/1.1 500 X\r\n\r\n\r\n0\r\n\r\n"},
      {"\r\nGET /e HTTP/1.1\n\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"},
      {"DELETE /f HTTP/1.0\r\n\r\n", "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n"},
  };
  return kAll;
}
constexpr const char* kConversation =
    "GET /a?x=1 200\nHEAD /b 200\nPOST /c 204\nPUT /d 201\nGET /e 304\nDELETE /f 404\n";

TEST(HttpTap, FollowsKeepAliveThroughEveryFraming) {
  Fixture f;
  for (const auto& [request, response] : conversation()) {
    f.request(request);
    f.response(response);
  }
  EXPECT_EQ(f.summary(), kConversation);
  EXPECT_FALSE(f.tap.is_quiet());
  EXPECT_EQ(f.lines.at(0).host, "app.example.com");
}

TEST(HttpTap, FollowsPipelining) {
  Fixture f;
  std::string requests, responses;
  for (const auto& [request, response] : conversation()) {
    requests += request;
    responses += response;
  }
  f.request(requests);
  f.response(responses);
  EXPECT_EQ(f.summary(), kConversation);
}

TEST(HttpTap, DoesNotCareHowBytesAreCut) {
  for (size_t piece : {1u, 2u, 3u, 7u, 50u}) {
    Fixture f;
    for (const auto& [request, response] : conversation()) {
      for (size_t at = 0; at < request.size(); at += piece)
        f.request(std::string_view(request).substr(at, piece));
      for (size_t at = 0; at < response.size(); at += piece)
        f.response(std::string_view(response).substr(at, piece));
    }
    EXPECT_EQ(f.summary(), kConversation) << piece;
  }
}

TEST(HttpTap, MeasuresFromTheWholeHeadToTheFinalAnswer) {
  Fixture f;
  f.request("GET / HTTP/1.1\r\n");
  f.now += milliseconds(1000);
  f.request("\r\n");
  f.now += milliseconds(20);
  f.response("HTTP/1.1 100 Continue\r\n\r\n");
  f.now += milliseconds(22);
  f.response("HTTP/1.1 200 OK\r\n\r\n");
  ASSERT_EQ(f.lines.size(), 1u);
  EXPECT_EQ(f.lines[0].duration, milliseconds(42));
}

TEST(HttpTap, StopsAfterAnUpgrade) {
  Fixture f;
  f.request("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
  f.response("HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05hello");
  f.request("GET /not-http HTTP/1.1\r\n\r\n");
  f.response("HTTP/1.1 200 OK\r\n\r\n");
  f.tap.closed(f.now);
  EXPECT_EQ(f.summary(), "GET /ws 101\n");
  EXPECT_TRUE(f.tap.is_quiet());
}

TEST(HttpTap, StopsAfterConnect) {
  Fixture f;
  f.request("CONNECT db:5432 HTTP/1.1\r\n\r\nGET /inside HTTP/1.1\r\n\r\n");
  f.response("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
  f.tap.closed(f.now);
  EXPECT_EQ(f.summary(), "CONNECT db:5432 200\n");
}

TEST(HttpTap, ReadsABodyThatEndsWithTheConnection) {
  Fixture f;
  f.request("GET /old HTTP/1.0\r\n\r\n");
  f.response("HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 500 no\r\n\r\n");
  f.tap.closed(f.now);
  EXPECT_EQ(f.summary(), "GET /old 200\n");
}

TEST(HttpTap, ReportsRequestsWithoutAnAnswerAsZero) {
  Fixture f;
  f.request("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /unfinished HTTP/1.1\r\n");
  f.response("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  f.tap.closed(f.now);
  f.tap.closed(f.now);
  EXPECT_EQ(f.summary(), "GET /1 200\nGET /2 0\n");
}

TEST(HttpTap, AnErrorAnswerBeforeTheBodyIsSentIsReported) {
  Fixture f;
  f.request("POST /big HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nabc");
  f.response("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(f.summary(), "POST /big 413\n");
}

TEST(HttpTap, GoesQuietOnGarbageRequests) {
  for (std::string_view garbage : {
           "\x16\x03\x01\x02\x00\n\n",
           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
           "GET\r\n\r\n",
           "GET /\r\n\r\n",
           "GET / HTTP/1.2\r\n\r\n",
           "GET /a b HTTP/1.1\r\n\r\n",
           "G(T / HTTP/1.1\r\n\r\n",
           "GET / HTTP/1.1\r\nno colon\r\n\r\n",
           "GET / HTTP/1.1\r\nspace : x\r\n\r\n",
           "GET / HTTP/1.1\r\n folded: x\r\n\r\n",
           "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
           "GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
           "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
       }) {
    Fixture f;
    f.request(garbage);
    f.request("GET /later HTTP/1.1\r\n\r\n");
    f.response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    f.tap.closed(f.now);
    EXPECT_EQ(f.summary(), "") << garbage;
    EXPECT_TRUE(f.tap.is_quiet()) << garbage;
  }
}

TEST(HttpTap, DoesNotGuessAtSmuggledFraming) {
  for (std::string_view fields : {"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                                  "Transfer-Encoding: gzip\r\n", "Transfer-Encoding: chunked, gzip\r\n"}) {
    Fixture f;
    f.request(fmt::format("POST /x HTTP/1.1\r\n{}\r\nGET /hidden HTTP/1.1\r\n\r\n", fields));
    f.response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    EXPECT_EQ(f.summary(), "POST /x 200\n") << fields;
  }
}

TEST(HttpTap, GoesQuietOnBadChunks) {
  for (std::string_view chunks : {"zz\r\n", "\r\n", "-1\r\n", "4\r\nabcdX\r\n", "fffffffffffffffff\r\n"}) {
    Fixture f;
    f.request("GET / HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
    f.response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    f.response(chunks);
    f.response("HTTP/1.1 200 OK\r\n\r\n");
    EXPECT_EQ(f.summary(), "GET / 200\n") << chunks;
    EXPECT_TRUE(f.tap.is_quiet()) << chunks;
  }
}

TEST(HttpTap, GoesQuietOnGarbageAnswers) {
  for (std::string_view garbage : {"\x15\x03\x01\n\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n",
                                   "HTTP/1.1 099 x\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1\r\n\r\n"}) {
    Fixture f;
    f.request("GET / HTTP/1.1\r\n\r\n");
    f.response(garbage);
    f.tap.closed(f.now);
    EXPECT_EQ(f.summary(), "") << garbage;
    EXPECT_TRUE(f.tap.is_quiet()) << garbage;
  }
}

TEST(HttpTap, AnAnswerToNoRequestEndsIt) {
  Fixture f;
  f.response("HTTP/1.1 408 Request Timeout\r\n\r\n");
  EXPECT_EQ(f.summary(), "");
  EXPECT_TRUE(f.tap.is_quiet());
}

TEST(HttpTap, LongHeadsAreFollowed) {
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  const std::string kLong(70'000, 'a');
  for (size_t piece : {1u, 1000u, 100'000u}) {
    Fixture f;
    const auto send = [&](const std::string& text) {
      for (size_t at = 0; at < text.size(); at += piece) f.request(text.substr(at, piece));
      f.response(answer);
    };
    send("POST /header HTTP/1.1\r\nX: " + kLong + "\r\nContent-Length: 4\r\n\r\nbody");
    std::string many = "GET /fields HTTP/1.1\r\n";
    for (int i = 0; i < 1000; ++i) many += fmt::format("X-{}: {}\r\n", i, std::string(100, 'v'));
    send(many + "\r\n");
    send("GET /" + kLong + " HTTP/1.1\r\n\r\n");
    send("GET /last HTTP/1.0\r\n\r\n");
    ASSERT_EQ(f.lines.size(), 4u) << piece;
    EXPECT_EQ(f.lines[0].target, "/header");
    EXPECT_EQ(f.lines[1].target, "/fields");
    EXPECT_TRUE(f.lines[2].target.starts_with("/aaa"));
    EXPECT_TRUE(f.lines[2].target.ends_with("..."));
    EXPECT_EQ(f.lines[3].target, "/last");
    EXPECT_FALSE(f.tap.is_quiet());
  }
}

TEST(HttpTap, ARequestLineOfAnyLengthIsFollowed) {
  // Around the length from which a line is kept in two pieces.
  constexpr size_t kAround = http::H1LineReader::kMaxObserved;
  for (size_t size = kAround - 20; size < kAround + 20; ++size) {
    for (const char* line_end : {"\r\n", "\n"}) {
      Fixture f;
      const std::string start = "GET /";
      const std::string version = " HTTP/1.1";
      f.request(start + std::string(size - start.size() - version.size(), 'a') + version + line_end +
                line_end);
      f.response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      EXPECT_EQ(f.lines.size(), 1u) << size;
    }
  }
}

TEST(HttpTap, ALongLineThatIsNoHttpEndsIt) {
  for (const std::string& line :
       {std::string(100'000, 'a'), "GET " + std::string(100'000, 'a'),
        "GET /" + std::string(100'000, 'a') + " HTTP/2.0", "GET /" + std::string(100'000, ' ') + " HTTP/1.1",
        "GET / HTTP/1.1\r\nContent-Length: " + std::string(100'000, '0')}) {
    Fixture f;
    f.request(line + "\r\n\r\n");
    f.response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    EXPECT_EQ(f.lines.size(), 0u);
    EXPECT_TRUE(f.tap.is_quiet());
  }
}

TEST(HttpTap, PipelineIsCapped) {
  Fixture f;
  for (size_t i = 0; i <= HttpTap::kMaxPending; ++i) f.request("GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(f.tap.is_quiet());
  f.tap.closed(f.now);
  EXPECT_EQ(f.lines.size(), 0u);
}

TEST(HttpTap, TargetsAreSafeToPrint) {
  Fixture f;
  f.request("GET /\x1b[31m\xc3\xa9 HTTP/1.1\r\n\r\n");
  f.request("GET /" + std::string(2000, 'a') + " HTTP/1.1\r\n\r\n");
  f.tap.closed(f.now);
  ASSERT_EQ(f.lines.size(), 2u);
  EXPECT_EQ(f.lines[0].target, "/\\x1b[31m\\xc3\\xa9");
  EXPECT_EQ(f.lines[1].target.size(), HttpTap::kMaxShown + 3);
}

}  // namespace
}  // namespace culvert::agent
