#include "sim/product/visitor.h"

#include <array>

#include "net/tcp.h"
#include "sim/transfer.h"
#include "tls/tls.h"

namespace culvert::sim {
namespace {

constexpr Duration kConnectTime = std::chrono::seconds(10);
constexpr Duration kReadTime = std::chrono::seconds(40);

net::Task<Result<std::unique_ptr<net::ByteStream>>> open(net::EventLoop& loop, const Visit& visit) {
  const TimePoint deadline = loop.now() + kConnectTime;
  auto socket = co_await net::tcp_connect(loop, visit.edge, deadline);
  if (!socket) co_return std::unexpected(socket.error());
  tls::ClientTrust trust;
  if (visit.mode == route::TlsMode::kPassthrough) {
    trust.pinned_key = visit.origin_key;
  } else {
    trust.root_pem = visit.root_pem;
  }
  auto stream = co_await tls::connect(std::move(*socket), visit.host, std::move(trust), deadline);
  co_return stream;
}

// Reads what comes back of `sent` bytes; true at the end of the stream.
net::Task<Result<bool>> read_back(net::EventLoop& loop, net::ByteStream& stream, size_t sent,
                                  VisitResult& result) {
  std::array<uint8_t, 8192> chunk;
  auto got = co_await net::read_some(stream, chunk, loop.now() + kReadTime);
  if (!got) co_return std::unexpected(got.error());
  // Behind terminate the edge has words of its own; no pattern begins like this.
  const std::string_view text = as_text(ByteView(chunk).first(*got));
  if (result.received == 0 && text.starts_with("HTTP/1.1 50"))
    co_return fail(ErrorCode::kUnavailable, "the edge answered {}", text.substr(text.find("\r\n\r\n") + 4));
  for (size_t i = 0; i < *got; ++i) {
    if (result.received >= sent || chunk[i] != pattern(result.received)) {
      result.end = VisitEnd::kWrong;
      co_return fail(ErrorCode::kInvalid, "byte {} of {} is not what was sent", result.received, sent);
    }
    ++result.received;
  }
  if (*got > 0) result.last_byte = loop.now();
  co_return *got == 0;
}

net::Task<Result<>> converse(net::EventLoop& loop, net::ByteStream& stream, const Visit& visit,
                             VisitResult& result) {
  for (size_t sent = 0; sent < visit.bytes;) {
    Bytes piece(std::min(visit.piece, visit.bytes - sent));
    for (size_t i = 0; i < piece.size(); ++i) piece[i] = pattern(sent + i);
    auto written = co_await net::write_all(stream, piece, loop.now() + kReadTime);
    if (!written) co_return written;
    sent += piece.size();
    while (result.received < sent) {
      auto ended = co_await read_back(loop, stream, sent, result);
      if (!ended) co_return std::unexpected(ended.error());
      if (*ended) co_return fail(ErrorCode::kReset, "the stream ended after {} bytes", result.received);
    }
    if (visit.pause > Duration::zero()) co_await net::sleep_for(loop, visit.pause);
  }
  auto finished = co_await net::finish(stream, loop.now() + kReadTime);
  if (!finished) co_return finished;
  auto ended = co_await read_back(loop, stream, visit.bytes, result);
  if (!ended) co_return std::unexpected(ended.error());
  if (!*ended) co_return fail(ErrorCode::kInvalid, "more bytes came back than were sent");
  co_return Result<>();
}

}  // namespace

net::Task<> visit(net::EventLoop& loop, Visit visit, VisitResult& result) {
  result.began = result.last_byte = loop.now();
  Result<> done;
  auto stream = co_await open(loop, visit);
  if (stream) {
    done = co_await converse(loop, **stream, visit, result);
    (*stream)->close();
  } else {
    done = std::unexpected(stream.error());
  }
  if (done) {
    result.end = VisitEnd::kEchoed;
  } else {
    result.reason = done.error().message;
    if (result.end != VisitEnd::kWrong)
      result.end = result.received > 0 ? VisitEnd::kBroken : VisitEnd::kRefused;
  }
  result.is_over = true;
}

}  // namespace culvert::sim
