#include "http/server.h"

#include <gmock/gmock.h>

#include "http/client.h"
#include "http/router.h"
#include "net/testing.h"

namespace culvert::http {
namespace {

using namespace net::testing;
using net::Task;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A server on loopback whose handler answers by path.
class HttpServer : public ::testing::Test {
 protected:
  HttpServer() {
    const auto add = [&](std::string method, std::string path, Task<> (HttpServer::*handler)(Exchange&)) {
      router_.add(std::move(method), std::move(path),
                  [this, handler](Exchange& e) { return (this->*handler)(e); });
    };
    add("GET", "/text", &HttpServer::text);
    add("HEAD", "/text", &HttpServer::text);
    add("GET", "/none", &HttpServer::none);
    add("GET", "/silent", &HttpServer::silent);
    add("GET", "/stream", &HttpServer::stream);
    add("HEAD", "/stream", &HttpServer::stream);
    add("GET", "/short", &HttpServer::short_of_its_length);
    add("GET", "/torn", &HttpServer::torn);
    add("GET", "/hold", &HttpServer::hold);
    add("POST", "/whole", &HttpServer::whole);
    add("POST", "/echo", &HttpServer::echo);
    add("POST", "/unread", &HttpServer::text);
    add("POST", "/held", &HttpServer::read_when_told);
  }
  ~HttpServer() override {
    if (server_) server_->close();
    told_.notify();
    run_until(loop_, [this] { return tasks_.size() == 0; });
  }

  void start(ServerOptions options = {}) {
    options.wall_clock = [] { return UnixTime(std::chrono::seconds(1'700'000'000)); };
    server_.emplace(loop_, std::move(options), [this](Exchange& e) { return router_.handle(e); });
  }
  std::unique_ptr<net::ByteStream> connect() {
    if (!server_) start();
    TcpPair pair(loop_);
    tasks_.spawn(server_->serve(std::move(pair.server), {.on_request = [this] { ++complete_requests_; }}));
    return std::move(pair.client);
  }
  // All that comes back for `text`, until the server ends or `ends` and it ends after that.
  std::string talk(std::string_view text, bool ends = true) {
    auto client = connect();
    return run_task(loop_, exchange_bytes(*client, std::string(text), ends));
  }
  Task<std::string> exchange_bytes(net::ByteStream& client, std::string text, bool ends) {
    auto written = co_await net::write_all(client, as_bytes(text), soon());
    EXPECT_TRUE(written);
    if (ends) client.try_finish();
    Received received;
    co_await net::testing::read_all(client, received);
    EXPECT_TRUE(received.clean);
    co_return received.text();
  }
  Result<Response> get(std::string target, std::string method = "GET") {
    auto client = connect();
    return run_task(
        loop_,
        fetch(*client, "h",
              {.method = std::move(method), .target = std::move(target), .headers = {}, .body = {}}, soon()));
  }

  Task<> text(Exchange& exchange) {
    Response response{.status = 200, .headers = {}, .body = "hello"};
    response.headers.add("X-Client", exchange.client.to_string());
    auto sent = co_await exchange.respond(std::move(response));
    EXPECT_TRUE(sent);
  }
  Task<> none(Exchange& exchange) {
    auto sent = co_await exchange.respond({.status = 204, .headers = {}, .body = {}});
    EXPECT_TRUE(sent);
  }
  Task<> silent(Exchange&) { co_return; }
  Task<> stream(Exchange& exchange) {
    Headers hint;
    hint.add("Link", "</x>");
    auto hinted = co_await exchange.send_interim(103, std::move(hint), soon());
    EXPECT_TRUE(hinted);
    auto begun = co_await exchange.send_head(200, {}, soon());
    EXPECT_TRUE(begun);
    for (const char* piece : {"one ", "", "two"}) {
      auto written = co_await exchange.write(as_bytes(piece), soon());
      EXPECT_TRUE(written);
    }
    Headers trailers;
    trailers.add("Grpc-Status", "0");
    auto ended = co_await exchange.end(std::move(trailers), soon());
    EXPECT_TRUE(ended);
  }
  Task<> short_of_its_length(Exchange& exchange) {
    Headers headers;
    headers.add("Content-Length", "10");
    auto begun = co_await exchange.send_head(200, std::move(headers), soon());
    auto written = co_await exchange.write(as_bytes("five."), soon());
    EXPECT_TRUE(begun && written);
    auto too_much = co_await exchange.write(as_bytes("and six"), soon());
    EXPECT_EQ(too_much.error().code, ErrorCode::kInvalid);
    auto ended = co_await exchange.end({}, soon());
    EXPECT_EQ(ended.error().code, ErrorCode::kInvalid);
  }
  Task<> torn(Exchange& exchange) {
    auto begun = co_await exchange.send_head(200, {}, soon());
    EXPECT_TRUE(begun);
    exchange.abort();
  }
  Task<> hold(Exchange& exchange) {
    ++holding_;
    co_await told_.wait();
    auto sent = co_await exchange.respond({.status = 200, .headers = {}, .body = "held"});
    (void)sent;
  }
  Task<> whole(Exchange& exchange) {
    auto body = co_await exchange.read_all(1000);
    if (!body) co_return;
    std::string answer = std::move(exchange.request.body);
    auto sent = co_await exchange.respond({.status = 200, .headers = {}, .body = std::move(answer)});
    EXPECT_TRUE(sent);
  }
  Task<> echo(Exchange& exchange) {
    auto begun = co_await exchange.send_head(200, {}, soon());
    EXPECT_TRUE(begun);
    for (;;) {
      auto piece = co_await exchange.read(soon());
      EXPECT_TRUE(piece);
      if (!piece || piece->empty()) break;
      auto written = co_await exchange.write(*piece, soon());
      EXPECT_TRUE(written);
    }
    auto ended = co_await exchange.end(exchange.trailers(), soon());
    EXPECT_TRUE(ended);
  }
  Task<> read_when_told(Exchange& exchange) {
    ++holding_;
    co_await told_.wait();
    for (;;) {
      auto piece = co_await exchange.read(soon());
      if (!piece || piece->empty()) break;
      read_bytes_ += piece->size();
    }
    auto sent = co_await exchange.respond({.status = 200, .headers = {}, .body = {}});
    (void)sent;
  }

  net::EventLoop loop_;
  Router router_{{.not_found = [] { return Response{.status = 404, .headers = {}, .body = {}}; },
                  .method_not_allowed =
                      [](std::string_view) { return Response{.status = 405, .headers = {}, .body = {}}; }}};
  std::optional<Server> server_;
  net::TaskGroup tasks_{loop_};
  net::Notify told_{loop_};
  int holding_ = 0;
  int complete_requests_ = 0;
  size_t read_bytes_ = 0;
};

TEST_F(HttpServer, AnswersWithDateAndLength) {
  const std::string got = talk("GET /text HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false);
  EXPECT_THAT(got, StartsWith("HTTP/1.1 200 OK\r\nX-Client: 127.0.0.1:"));
  EXPECT_THAT(
      got,
      HasSubstr(
          "\r\nContent-Length: 5\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\nConnection: close\r\n\r\nhello"));
  EXPECT_EQ(complete_requests_, 1);
}

TEST_F(HttpServer, PipelinedRequestsAreAnsweredInOrder) {
  const std::string got = talk(
      "GET /text HTTP/1.1\r\nHost: h\r\n\r\nGET /none HTTP/1.1\r\nHost: h\r\n\r\n"
      "POST /whole HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
      "GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /text HTTP/1.1\r\nHost: h\r\n\r\n");
  const size_t first = got.find("HTTP/1.1 200 OK"), second = got.find("HTTP/1.1 204 No Content"),
               third = got.find("\r\n\r\nbody"), fourth = got.find("HTTP/1.1 404 Not Found");
  EXPECT_EQ(first, 0u);
  EXPECT_TRUE(first < second && second < third && third < fourth && fourth != got.npos) << got;
  EXPECT_EQ(got.find("Connection: close"), got.rfind("Connection: close")) << "only the last closes";
  EXPECT_EQ(complete_requests_, 4);
}

TEST_F(HttpServer, OldClientsKeepTheConnectionOnlyWhereTheyAsk) {
  const std::string one = talk("GET /text HTTP/1.0\r\n\r\nGET /text HTTP/1.0\r\n\r\n");
  EXPECT_EQ(one.find("HTTP/1.1 200"), one.rfind("HTTP/1.1 200"));
  const std::string two = talk(
      "GET /text HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /stream HTTP/1.0\r\nConnection: "
      "keep-alive\r\n\r\n");
  EXPECT_THAT(two, HasSubstr("\r\nConnection: keep-alive\r\n"));
  EXPECT_THAT(two, Not(HasSubstr("103"))) << "an old client knows no interim answers";
  EXPECT_THAT(two, Not(HasSubstr("chunked")));
  EXPECT_THAT(two, EndsWith("Connection: close\r\n\r\none two"));
}

TEST_F(HttpServer, StreamsWithInterimAnswersAndTrailers) {
  auto stream = connect();
  Client client(*stream);
  std::vector<int> interim;
  client.on_interim([&](const ResponseHead& head) { interim.push_back(head.status); });
  for (int round = 0; round < 2; ++round) {
    Headers headers;
    headers.add("Host", "h");
    ASSERT_TRUE(run_task(
        loop_, client.send({.method = "GET", .target = "/stream", .headers = headers, .body = {}}, soon())));
    auto head = run_task(loop_, client.read_head(soon()));
    ASSERT_TRUE(head) << head.error().message;
    EXPECT_EQ(head->status, 200);
    EXPECT_FALSE(client.body_length());
    EXPECT_EQ(run_task(loop_, client.read_all(100, soon())).value(), "one two");
    ASSERT_TRUE(client.trailers().find("grpc-status"));
    EXPECT_TRUE(client.is_reusable());
  }
  EXPECT_EQ(interim, (std::vector{103, 103}));
}

TEST_F(HttpServer, AnAnswerToHeadHasNoBody) {
  EXPECT_THAT(talk("HEAD /text HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), EndsWith("\r\n\r\n"));
  EXPECT_THAT(talk("HEAD /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), EndsWith("\r\n\r\n"));
  EXPECT_EQ(get("/text", "HEAD")->body, "");
}

TEST_F(HttpServer, BodiesOfAnySizeStreamBothWays) {
  auto stream = connect();
  Client client(*stream);
  RequestHead head{.method = "POST", .target = "/echo", .minor_version = 1, .headers = {}};
  head.headers.add("Host", "h");
  ASSERT_TRUE(run_task(loop_, client.send_head(std::move(head), soon())));
  constexpr size_t kPieces = 100;
  const std::string piece(64 * 1024, 'x');
  struct Side {
    static Task<> send(Client& to, const std::string& what) {
      for (size_t i = 0; i < kPieces; ++i) {
        auto written = co_await to.write(as_bytes(what), soon());
        EXPECT_TRUE(written);
      }
      Headers trailers;
      trailers.add("X-Sum", "1");
      auto ended = co_await to.end(std::move(trailers), soon());
      EXPECT_TRUE(ended);
    }
  };
  tasks_.spawn(Side::send(client, piece));
  EXPECT_EQ(run_task(loop_, client.read_head(soon()))->status, 200);
  EXPECT_EQ(run_task(loop_, client.read_all(kPieces * piece.size(), soon()))->size(), kPieces * piece.size());
  EXPECT_TRUE(client.trailers().find("X-Sum"));
  EXPECT_EQ(complete_requests_, 1);
}

TEST_F(HttpServer, ABodyWithoutAReaderStopsItsSender) {
  auto stream = connect();
  const std::string head = "POST /held HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n";
  ASSERT_TRUE(run_task(loop_, net::write_all(*stream, as_bytes(head), soon())));
  run_until(loop_, [this] { return holding_ == 1; });
  const Bytes piece(1024 * 1024, 'x');
  size_t taken = 0;
  for (int full = 0; full < 3;) {  // three times in a row with time for the server in between
    const auto put = stream->try_write(piece);
    taken += put.bytes;
    full = put.status == net::IoStatus::kOk ? 0 : full + 1;
    drain(loop_);
    ASSERT_LT(taken, 100'000'000u);
  }
  EXPECT_EQ(read_bytes_, 0u);
  told_.notify();
  run_until(loop_, [&] { return read_bytes_ >= taken; });
}

TEST_F(HttpServer, AClientThatExpectsToBeAskedIsAsked) {
  const std::string head =
      "POST /whole HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\n";
  auto client = connect();
  ASSERT_TRUE(run_task(loop_, net::write_all(*client, as_bytes(head), soon())));
  std::array<uint8_t, 100> chunk;
  auto asked = run_task(loop_, net::read_some(*client, chunk, soon()));
  ASSERT_TRUE(asked);
  EXPECT_EQ(as_text(ByteView(chunk).first(*asked)), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_THAT(run_task(loop_, exchange_bytes(*client, "body", true)), EndsWith("\r\n\r\nbody"));
  // A client that did not wait is not asked, nor is one without a body.
  EXPECT_THAT(talk("GET /text HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n"),
              StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(talk(head + "body"), StartsWith("HTTP/1.1 200 OK\r\n"));
  // A refused client gets its answer, and its body is never read as a request.
  const std::string refused =
      talk("POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n", false);
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(refused, HasSubstr("Connection: close"));
  EXPECT_THAT(talk("POST /whole HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n", false),
              StartsWith("HTTP/1.1 417 Expectation Failed\r\n"));
  EXPECT_THAT(talk("POST /whole HTTP/1.0\r\nExpect: tea\r\nContent-Length: 1\r\n\r\nx", false),
              StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(HttpServer, WhatCannotBeReadIsAnsweredAndClosed) {
  start({.request_time = 300ms});
  struct Case {
    std::string sent;
    const char* status;
  };
  constexpr const char* kTooSlow = "HTTP/1.1 408 Request Timeout\r\n";
  const std::string post = "POST /whole HTTP/1.1\r\nHost: h\r\n";
  for (const Case& c : std::vector<Case>{
           {"GARBAGE\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
           {"GET /text HTTP/1.1\r\nHost: h\r\nX: " + std::string(20'000, 'x'),
            "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
           {post + "Content-Length: 1001\r\n\r\n", "HTTP/1.1 413 Content Too Large\r\n"},
           {post + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'x'),
            "HTTP/1.1 413 Content Too Large\r\n"},
           {post + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "HTTP/1.1 400 Bad Request\r\n"},
           {post + "Content-Length: 10\r\n\r\nhalf", kTooSlow},
           {"GET /te", kTooSlow},
           {"GET /silent HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 500 Internal Server Error\r\n"},
           {"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\nGET /text HTTP/1.1\r\nHost: h\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\n"},
       }) {
    const std::string got = talk(c.sent, std::string_view(c.status) != kTooSlow);
    EXPECT_THAT(got, StartsWith(c.status)) << c.sent;
    EXPECT_THAT(got, HasSubstr("\r\nConnection: close\r\n")) << c.sent;
    EXPECT_THAT(got, HasSubstr("\r\nDate: ")) << c.sent;
    EXPECT_EQ(got.find("HTTP/1.1 "), got.rfind("HTTP/1.1 ")) << "one answer\n" << got;
  }
  EXPECT_EQ(talk("", false), "") << "a connection without a request gets no answer";
  EXPECT_THAT(talk(post + "Content-Length: 1000\r\n\r\n" + std::string(1000, 'x')),
              StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(HttpServer, AnAnswerSurvivesWhatIsStillUnderWay) {
  const std::string head = "POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: ";
  // A small unread body does not delay the next request.
  const std::string next = "GET /none HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string small = talk(head + "1000\r\n\r\n" + std::string(1000, 'x') + next);
  EXPECT_THAT(small, HasSubstr("HTTP/1.1 204 "));
  const std::string large = talk(head + "200000\r\n\r\n" + std::string(200'000, 'x') + next);
  EXPECT_THAT(large, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(large, Not(HasSubstr("HTTP/1.1 204 ")));
}

TEST_F(HttpServer, AnAnswerThatIsNotCompleteNeverLooksSo) {
  for (const char* path : {"/short", "/torn"}) {
    auto response = get(path);
    ASSERT_FALSE(response) << path;
    EXPECT_EQ(response.error().code, ErrorCode::kReset) << path;
  }
}

TEST_F(HttpServer, CloseEndsAllAtOnce) {
  auto idle = connect();
  auto busy = connect();
  ASSERT_TRUE(
      run_task(loop_, net::write_all(*busy, as_bytes("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"), soon())));
  run_until(loop_, [this] { return holding_ == 1; });
  server_->close();
  told_.notify();
  run_until(loop_, [this] { return tasks_.size() == 0; });
  auto late = connect();
  run_until(loop_, [this] { return tasks_.size() == 0; });
}

TEST_F(HttpServer, ADrainEndsConnectionsBetweenRequestsAndLetsTheOthersHaveTheirAnswer) {
  auto idle = connect();
  auto asked = connect();
  auto busy = connect();
  const auto ask = [this](net::ByteStream& client, std::string_view path) {
    const std::string request = fmt::format("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", path);
    EXPECT_TRUE(run_task(loop_, net::write_all(client, as_bytes(request), soon())));
  };
  ask(*asked, "/text");
  Bytes answer(1024);
  EXPECT_GT(run_task(loop_, net::read_some(*asked, answer, soon())).value(), 0u);
  ask(*busy, "/hold");
  run_until(loop_, [this] { return holding_ == 1; });
  server_->drain();
  run_until(loop_, [this] { return tasks_.size() == 2; });
  EXPECT_EQ(run_task(loop_, net::read_some(*asked, answer, soon())).value_or(1), 0u)
      << "its next request goes elsewhere";
  told_.notify();
  Received held;
  net::TaskGroup reading(loop_);
  reading.spawn(read_all(*busy, held));
  run_until(loop_, [&] { return held.ended(); });
  EXPECT_TRUE(held.clean);
  EXPECT_THAT(held.text(), StartsWith("HTTP/1.1 "));
  // One that has not asked yet has come for an answer.
  ask(*idle, "/text");
  Received first;
  reading.spawn(read_all(*idle, first));
  run_until(loop_, [&] { return first.ended(); });
  EXPECT_THAT(first.text(), EndsWith("hello"));
  run_until(loop_, [this] { return tasks_.size() == 0; });
}

TEST_F(HttpServer, IdleConnectionsEndByThemselves) {
  start({.request_time = 100ms, .idle_time = 100ms});
  EXPECT_THAT(talk("GET /text HTTP/1.1\r\nHost: h\r\n\r\n", false), EndsWith("hello"));
}

Task<> say_and_end(net::ByteStream& peer, std::string text) {
  auto written = co_await net::write_all(peer, as_bytes(text), soon());
  (void)written;  // the client may have closed already
  peer.try_finish();
}

TEST_F(HttpServer, AClientReadsEveryKindOfAnswer) {
  const auto fetched = [&](std::string text, std::string method = "GET") {
    TcpPair pair(loop_);
    tasks_.spawn(say_and_end(*pair.server, std::move(text)));
    return run_task(loop_,
                    fetch(*pair.client, "h",
                          {.method = std::move(method), .target = "/", .headers = {}, .body = {}}, soon()));
  };
  EXPECT_EQ(fetched("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")->body, "hi");
  EXPECT_EQ(
      fetched(
          "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
          ->body,
      "hi");
  EXPECT_EQ(fetched("HTTP/1.1 404 Not Found\r\n\r\nhi")->body, "hi");
  EXPECT_EQ(fetched("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "HEAD")->body, "");
  for (const char* torn :
       {"", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"}) {
    EXPECT_EQ(fetched(torn).error().code, ErrorCode::kReset) << torn;
  }
  EXPECT_EQ(fetched("SSH-2.0-x\r\n\r\n").error().code, ErrorCode::kInvalid);
  const std::string much(kMaxResponseBytes + 1, 'x');
  EXPECT_EQ(fetched("HTTP/1.1 200 OK\r\n\r\n" + much).error().code, ErrorCode::kLimit);
  EXPECT_EQ(fetched(fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", much.size())).error().code,
            ErrorCode::kLimit);
}

TEST_F(HttpServer, AClientKnowsWhetherTheConnectionGoesOn) {
  auto stream = connect();
  Client client(*stream);
  EXPECT_FALSE(client.is_reusable()) << "nothing was asked yet";
  for (bool closes : {false, true}) {
    Headers headers;
    headers.add("Host", "h");
    if (closes) headers.add("Connection", "close");
    ASSERT_TRUE(run_task(
        loop_, client.send({.method = "GET", .target = "/text", .headers = headers, .body = {}}, soon())));
    ASSERT_TRUE(run_task(loop_, client.read_head(soon())));
    EXPECT_FALSE(client.is_reusable()) << "its body is still to come";
    EXPECT_EQ(run_task(loop_, client.read_all(5, soon())).value(), "hello");
    EXPECT_EQ(client.is_reusable(), !closes);
  }
}

}  // namespace
}  // namespace culvert::http
