#include "dns/exchange.h"

#include <algorithm>

#include "base/text.h"
#include "dns/stream_framing.h"
#include "net/packet_io.h"
#include "net/tcp.h"

namespace culvert::dns {
namespace {

// From then on TCP, which also tells of a refusal.
constexpr int kUdpTries = 2;
constexpr Duration kUdpWait = std::chrono::seconds(1);

// An answer to this query: to forge one, the port of the socket and the id have to be guessed.
std::optional<Answer> as_answer(ByteView bytes, const Message& query) {
  auto message = decode(bytes);
  if (!message || !message->header.is_response || message->header.id != query.header.id ||
      message->header.opcode != query.header.opcode)
    return std::nullopt;
  // One that refuses the query may leave the question out.
  const bool may_be_bare = message->questions.empty() && message->header.rcode != Rcode::kNoError;
  if (!may_be_bare && message->questions != query.questions) return std::nullopt;
  return Answer{to_bytes(bytes), std::move(*message)};
}

std::unexpected<Error> no_answer(const SocketAddr& server, std::string_view reason) {
  return fail(ErrorCode::kTimeout, "the name server {} {}", server.to_string(), reason);
}

// kTimeout: no answer.
net::Task<Result<Answer>> exchange_udp(net::EventLoop& loop, SocketAddr server, Bytes query,
                                       TimePoint deadline) {
  const Message asked = decode(query).value();
  const SocketAddr any = server.is_v4() ? SocketAddr::v4({}, 0) : SocketAddr::v6({}, 0);
  auto bound = net::bind_udp(loop, any, {});
  if (!bound) co_return std::unexpected(bound.error());
  const std::unique_ptr<net::PacketIo> socket = std::move(*bound);
  std::optional<Answer> answer;
  net::Notify answered(loop);
  socket->start(
      [&](const net::ReceivedDatagram& datagram) {
        if (answer || datagram.remote != server) return;
        answer = as_answer(datagram.data, asked);
      },
      [&] {
        if (answer) answered.notify();
      });
  for (int i = 0; i < kUdpTries && !answer && loop.now() < deadline; ++i) {
    // What the socket does not take is lost like a datagram on the way.
    (void)socket->send({.data = query, .segment_size = query.size(), .remote = server, .local = {}});
    const bool in_time = co_await answered.wait_until(std::min(deadline, loop.now() + kUdpWait));
    (void)in_time;
  }
  socket->close();
  if (!answer) co_return no_answer(server, "does not answer");
  co_return std::move(*answer);
}

net::Task<Result<Answer>> exchange_tcp(net::EventLoop& loop, SocketAddr server, Bytes query,
                                       TimePoint deadline) {
  const Message asked = decode(query).value();
  auto connected = co_await net::tcp_connect(loop, server, deadline);
  if (!connected) co_return std::unexpected(connected.error());
  const std::unique_ptr<net::ByteStream> stream = std::move(*connected);
  Bytes framed;
  append_framed(query, framed);
  auto written = co_await net::write_all(*stream, framed, deadline);
  if (!written) co_return no_answer(server, "does not take the query over TCP");
  FrameReader reader(kMaxMessageSize);
  Bytes chunk(4096);
  while (true) {
    auto got = co_await net::read_some(*stream, chunk, deadline);
    if (!got && got.error().code == ErrorCode::kTimeout)
      co_return no_answer(server, "does not answer over TCP");
    if (!got || *got == 0)
      co_return fail(ErrorCode::kUnavailable, "the name server {} ended the TCP connection without an answer",
                     server.to_string());
    reader.feed(ByteView(chunk).first(*got));
    auto message = reader.next();
    if (!message)
      co_return fail(ErrorCode::kUnavailable, "the name server {}: {}", server.to_string(),
                     message.error().message);
    if (!*message) continue;
    auto answer = as_answer(**message, asked);
    if (!answer)
      co_return fail(ErrorCode::kUnavailable,
                     "the name server {} answers another query, or not with a DNS message",
                     server.to_string());
    co_return std::move(*answer);
  }
}

}  // namespace

net::Task<Result<Answer>> exchange(net::EventLoop& loop, SocketAddr server, Bytes query, TimePoint deadline) {
  auto over_udp = co_await exchange_udp(loop, server, query, deadline);
  if (over_udp && !over_udp->message.header.is_truncated) co_return std::move(over_udp);
  if (!over_udp && loop.now() >= deadline) co_return std::move(over_udp);
  auto over_tcp = co_await exchange_tcp(loop, server, std::move(query), deadline);
  co_return std::move(over_tcp);
}

}  // namespace culvert::dns
