#include "agent/probe.h"

#include <array>

#include "base/key.h"
#include "base/random.h"
#include "http/h1_codec.h"
#include "net/tcp.h"
#include "tls/tls.h"

namespace culvert::agent {
namespace {

// The status of the answer to one GET. How the origin frames it is its own affair: no body is read.
net::Task<Result<int>> ask(net::ByteStream& stream, std::string hostname, std::string target,
                           TimePoint deadline) {
  using Event = http::H1Decoder::Event;
  http::Headers headers;
  headers.add("Host", hostname);
  headers.add("User-Agent", "culvert-readiness");
  headers.add("Accept", "*/*");
  headers.add("Connection", "close");
  std::string request;
  http::append_request_head(request, "GET", target, headers);
  auto written = co_await net::write_all(stream, as_bytes(request), deadline);
  if (!written) co_return std::unexpected(written.error());

  http::H1Decoder answers(http::H1Decoder::Role::kResponses, http::H1Rules::kObserver);
  std::array<uint8_t, 2048> chunk;
  for (;;) {
    auto got = co_await net::read_some(stream, chunk, deadline);
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0)
      co_return fail(ErrorCode::kUnavailable, "{} closed the connection without an answer", hostname);
    ByteView input = ByteView(chunk).first(*got);
    Event event = answers.next(input);
    while (event == Event::kInterim) event = answers.next(input);
    if (event == Event::kHead) co_return answers.response().status;
    if (event != Event::kMore) co_return fail(ErrorCode::kUnavailable, "{} did not answer in HTTP", hostname);
  }
}

}  // namespace

net::Task<Result<int>> probe(net::EventLoop& loop, ProbeTarget target, TimePoint deadline) {
  auto transport = co_await net::tcp_connect(loop, target.host, target.port, deadline);
  if (!transport) co_return std::unexpected(transport.error());

  bool passthrough = target.tls_mode == route::TlsMode::kPassthrough;
  tls::ClientTrust trust{.pinned_key = std::nullopt, .root_pem = target.root_pem};
  if (passthrough) {
    // The origin's certificate is not checked. Demanding a key that no peer has makes the handshake fail
    // exactly when a certificate has come, and that is the answer we wait for.
    SystemRandom random;
    trust.pinned_key = SecretKey::generate(random).public_key();
  }
  auto stream = co_await tls::connect(std::move(*transport), target.hostname, std::move(trust), deadline);
  if (passthrough) {
    bool answered = stream.has_value() || stream.error().code == ErrorCode::kUnauthorized;
    if (!answered) co_return std::unexpected(stream.error());
    co_return 0;
  }
  if (!stream) co_return std::unexpected(stream.error());
  auto status = co_await ask(**stream, target.hostname, target.target, deadline);
  (*stream)->close();
  co_return status;
}

}  // namespace culvert::agent
