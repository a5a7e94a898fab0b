#include "http/message.h"

#include <gtest/gtest.h>

#include <optional>

#include "http/parser.h"
#include "net/tcp.h"

namespace culvert::http {
namespace {

using namespace std::chrono_literals;
using net::Task;

TimePoint soon() { return monotonic_now() + 20s; }

// A loopback connection: what `server` and `client` do with their ends, to completion.
template <class Server, class Client>
void converse(Server server, Client client) {
  net::EventLoop loop;
  net::TaskGroup tasks(loop);
  auto listener = net::TcpListener::listen(loop, SocketAddr::v4({127, 0, 0, 1}, 0), {});
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  struct Sides {
    static Task<> serve(net::EventLoop& loop, net::TcpListener& listener, Server server) {
      auto fd = co_await listener.accept();
      if (!fd) co_return;
      auto stream = net::make_tcp_stream(loop, *fd);
      co_await server(*stream);
      stream->close();
    }
    static Task<> call(net::EventLoop& loop, SocketAddr address, Client client) {
      auto stream = co_await net::tcp_connect(loop, address, soon());
      if (!stream) co_return;
      co_await client(**stream);
      (*stream)->close();
    }
  };
  tasks.spawn(Sides::serve(loop, **listener, server));
  tasks.spawn(Sides::call(loop, (*listener)->local_addr(), client));
  loop.run();
  EXPECT_EQ(tasks.size(), 0u);
}

Task<> answer_all(net::ByteStream& stream) {
  net::Reader reader(stream);
  RequestParser parser;
  while (true) {
    auto request = co_await read_request(reader, parser, soon(), 10s);
    if (!request || !*request) co_return;
    Response response{.status = 200,
                      .headers = {},
                      .body = (*request)->method + " " + (*request)->target + " " + (*request)->body};
    response.headers.add("X-Host", *(*request)->headers.find("host"));
    auto written = co_await write_response(stream, std::move(response), (*request)->keep_alive, soon());
    if (!written) co_return;
  }
}

std::optional<Result<Response>> g_response;

Task<> post_hello(net::ByteStream& stream) {
  Request request{.method = "POST", .target = "/echo", .headers = {}, .body = "hello"};
  g_response = co_await fetch(stream, "hub.example:8443", std::move(request), soon());
}

TEST(Message, FetchesWhatTheServerAnswers) {
  g_response.reset();
  converse(answer_all, post_hello);
  ASSERT_TRUE(g_response && g_response->has_value());
  EXPECT_EQ((*g_response)->status, 200);
  EXPECT_EQ((*g_response)->body, "POST /echo hello");
  EXPECT_EQ(*(*g_response)->headers.find("x-host"), "hub.example:8443");
}

std::string g_received;

Task<> send_two_then_read(net::ByteStream& stream) {
  std::string_view both =
      "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
  auto written = co_await net::write_all(stream, as_bytes(both), soon());
  if (!written) co_return;
  auto finished = co_await net::finish(stream, soon());
  if (!finished) co_return;
  std::array<uint8_t, 4096> chunk;
  while (true) {
    auto count = co_await net::read_some(stream, chunk, soon());
    if (!count || *count == 0) co_return;
    g_received += as_text(ByteView(chunk).first(*count));
  }
}

TEST(Message, AnswersPipelinedRequestsInOrder) {
  g_received.clear();
  converse(answer_all, send_two_then_read);
  size_t first = g_received.find("GET /1 ");
  size_t second = g_received.find("GET /2 ");
  ASSERT_NE(first, std::string::npos) << g_received;
  ASSERT_NE(second, std::string::npos) << g_received;
  EXPECT_LT(first, second);
  EXPECT_EQ(g_received.find("Connection: close"), g_received.rfind("Connection: close"))
      << "only the last closes";
}

std::optional<Error> g_error;
bool g_clean_end = false;

Task<> read_one(net::ByteStream& stream) {
  net::Reader reader(stream);
  RequestParser parser;
  auto request = co_await read_request(reader, parser, soon(), 100ms);
  if (!request) {
    g_error = request.error();
  } else {
    g_clean_end = !request->has_value();
  }
}

Task<> send_half(net::ByteStream& stream) {
  auto written = co_await net::write_all(stream, as_bytes("GET / HTTP/1.1\r\nHo"), soon());
  (void)written;
}
Task<> send_half_and_wait(net::ByteStream& stream) {
  co_await send_half(stream);
  std::array<uint8_t, 16> chunk;
  auto count = co_await net::read_some(stream, chunk, soon());
  (void)count;
}
Task<> send_nothing(net::ByteStream&) { co_return; }

TEST(Message, TellsACleanEndFromATornRequest) {
  g_error.reset();
  g_clean_end = false;
  converse(read_one, send_nothing);
  EXPECT_TRUE(g_clean_end);
  EXPECT_FALSE(g_error.has_value());
  converse(read_one, send_half);
  ASSERT_TRUE(g_error.has_value());
  EXPECT_EQ(g_error->code, ErrorCode::kReset);
}

TEST(Message, CutsARequestThatNeverEnds) {
  g_error.reset();
  converse(read_one, send_half_and_wait);
  ASSERT_TRUE(g_error.has_value());
  EXPECT_EQ(g_error->code, ErrorCode::kTimeout);
}

Task<> answer_the_late(net::ByteStream& stream) {
  co_await read_one(stream);
  auto written =
      co_await write_response(stream, {.status = 408, .headers = {}, .body = "late"}, false, soon());
  EXPECT_TRUE(written.has_value());
}
Task<> send_half_and_listen(net::ByteStream& stream) {
  co_await send_half(stream);
  std::array<uint8_t, 1024> chunk;
  while (true) {
    auto count = co_await net::read_some(stream, chunk, soon());
    if (!count || *count == 0) co_return;
    g_received += as_text(ByteView(chunk).first(*count));
  }
}

TEST(Message, ARequestThatNeverEndsCanStillBeAnswered) {
  g_received.clear();
  converse(answer_the_late, send_half_and_listen);
  EXPECT_TRUE(g_received.starts_with("HTTP/1.1 408 Request Timeout\r\n")) << g_received;
  EXPECT_TRUE(g_received.ends_with("late")) << g_received;
}

Task<> hang_up(net::ByteStream& stream) {
  net::Reader reader(stream);
  RequestParser parser;
  auto request = co_await read_request(reader, parser, soon(), 10s);
  (void)request;
}

TEST(Message, ReportsAServerThatHangsUp) {
  g_response.reset();
  converse(hang_up, post_hello);
  ASSERT_TRUE(g_response.has_value());
  ASSERT_FALSE(g_response->has_value());
  EXPECT_EQ(g_response->error().code, ErrorCode::kReset);
}

}  // namespace
}  // namespace culvert::http
