#include "agent/probe.h"

#include "base/key.h"
#include "base/random.h"
#include "http/client.h"
#include "net/tcp.h"
#include "tls/tls.h"

namespace culvert::agent {
namespace {

// The status of the answer to one GET. How the origin frames it is its own affair: no body is read.
net::Task<Result<int>> ask(net::ByteStream& stream, std::string hostname, std::string target,
                           TimePoint deadline) {
  http::Request request{.method = "GET", .target = std::move(target), .headers = {}, .body = {}};
  request.headers.add("Host", hostname);
  request.headers.add("User-Agent", "culvert-readiness");
  request.headers.add("Accept", "*/*");
  request.headers.add("Connection", "close");
  http::Client client(stream, http::H1Rules::kObserver);
  auto sent = co_await client.send(std::move(request), deadline);
  if (!sent) co_return std::unexpected(sent.error());
  auto head = co_await client.read_head(deadline);
  if (head) co_return head->status;
  if (head.error().code == ErrorCode::kInvalid)
    co_return fail(ErrorCode::kUnavailable, "{} did not answer in HTTP", hostname);
  if (head.error().code == ErrorCode::kReset)
    co_return fail(ErrorCode::kUnavailable, "{} closed the connection without an answer", hostname);
  co_return std::unexpected(head.error());
}

}  // namespace

net::Task<Result<int>> probe(net::EventLoop& loop, ProbeTarget target, TimePoint deadline) {
  auto transport = co_await net::tcp_connect(loop, target.host, target.port, deadline);
  if (!transport) co_return std::unexpected(transport.error());

  bool passthrough = target.tls_mode == route::TlsMode::kPassthrough;
  tls::ClientTrust trust{.pinned_key = std::nullopt, .root_pem = target.root_pem, .system_roots = true};
  if (passthrough) {
    // The origin's certificate is not checked. Demanding a key that no peer has makes the handshake fail
    // exactly when a certificate has come, and that is the answer we wait for.
    trust.pinned_key = SecretKey::generate(loop.random()).public_key();
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
