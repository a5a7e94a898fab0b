#include "agent/probe.h"

#include <array>
#include <optional>

#include "agent/http_tap.h"
#include "base/key.h"
#include "base/random.h"
#include "net/tcp.h"
#include "tls/tls.h"

namespace culvert::agent {
namespace {

// The status of the answer to one GET; the tap knows where heads end, and no body has to be read.
net::Task<Result<int>> ask(net::ByteStream& stream, std::string hostname, std::string target,
                           TimePoint deadline) {
  std::optional<int> status;
  HttpTap tap(hostname, [&status](const RequestLine& line) { status = line.status; });
  std::string request = fmt::format(
      "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: culvert-readiness\r\nAccept: */*\r\nConnection: "
      "close\r\n\r\n",
      target, hostname);
  tap.request_bytes(as_bytes(request), monotonic_now());
  auto written = co_await net::write_all(stream, as_bytes(request), deadline);
  if (!written) co_return std::unexpected(written.error());

  std::array<uint8_t, 2048> chunk;
  while (!status) {
    auto got = co_await net::read_some(stream, chunk, deadline);
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0)
      co_return fail(ErrorCode::kUnavailable, "{} closed the connection without an answer", hostname);
    tap.response_bytes(ByteView(chunk).first(*got), monotonic_now());
    if (!status && tap.is_quiet())
      co_return fail(ErrorCode::kUnavailable, "{} did not answer in HTTP", hostname);
  }
  co_return *status;
}

}  // namespace

net::Task<Result<int>> probe(net::EventLoop& loop, ProbeTarget target, TimePoint deadline) {
  auto transport = co_await net::tcp_connect(loop, target.host, target.port, deadline);
  if (!transport) co_return std::unexpected(transport.error());

  bool passthrough = target.tls_mode == route::TlsMode::kPassthrough;
  tls::ClientTrust trust{.pinned_key = std::nullopt, .root_pem = target.root_pem};
  if (passthrough) {
    // The origin's certificate is its own affair. Demanding a key that nobody has makes the handshake fail
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
