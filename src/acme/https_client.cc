#include "acme/https_client.h"

#include <algorithm>

#include "base/version.h"
#include "http/client.h"
#include "net/tcp.h"
#include "tls/tls.h"

namespace culvert::acme {

struct HttpsClient::Connection {
  Connection(HttpsUrl url, std::unique_ptr<net::ByteStream> connected)
      : server(std::move(url)), stream(std::move(connected)), client(*stream) {}

  bool serves(const HttpsUrl& url) const {
    return server.host == url.host && server.port == url.port && client.is_reusable() && stream->is_open() &&
           !stream->peer_has_ended();
  }

  HttpsUrl server;
  std::unique_ptr<net::ByteStream> stream;
  http::Client client;
};

HttpsClient::HttpsClient(net::EventLoop& loop, std::string root_pem)
    : loop_(loop), root_pem_(std::move(root_pem)) {}
HttpsClient::~HttpsClient() = default;

net::Task<Result<http::Response>> HttpsClient::call(HttpsUrl url, http::Request request, size_t cap,
                                                    TimePoint deadline) {
  deadline = std::min(deadline, loop_.now() + kRequestTime);
  const std::string server = url.authority();
  if (!connection_ || !connection_->serves(url)) {
    auto connected = co_await connect(url, deadline);
    if (!connected) {
      co_return fail(connected.error().code, "cannot reach {}: {}", server, connected.error().message);
    }
  }
  request.target = url.target;
  request.headers.add("Host", server);
  request.headers.add("User-Agent", fmt::format("culvert/{}", kVersion));
  auto response = co_await exchange(std::move(request), cap, deadline);
  if (!response) {
    connection_.reset();
    co_return fail(response.error().code, "no usable answer from {}: {}", server, response.error().message);
  }
  if (response->status >= 300 && response->status < 400) {
    co_return fail(ErrorCode::kInvalid,
                   "{} answers {} with a redirect, which ACME does not know; configure the URL it leads to",
                   server, url.to_string());
  }
  co_return response;
}

net::Task<Result<>> HttpsClient::connect(HttpsUrl url, TimePoint deadline) {
  connection_.reset();
  auto transport = co_await net::tcp_connect(loop_, url.host, url.port, deadline);
  if (!transport) co_return fail(ErrorCode::kUnavailable, "{}", transport.error().message);
  tls::ClientTrust trust{.pinned_key = {}, .root_pem = root_pem_, .system_roots = root_pem_.empty()};
  auto stream = co_await tls::connect(std::move(*transport), url.host, std::move(trust), deadline);
  if (!stream && stream.error().code == ErrorCode::kUnauthorized) {
    co_return fail(ErrorCode::kUnauthorized, "{}; if it is a CA of your own, configure its root",
                   stream.error().message);
  }
  if (!stream) co_return std::unexpected(stream.error());
  connection_ = std::make_unique<Connection>(std::move(url), std::move(*stream));
  co_return Result<>();
}

net::Task<Result<http::Response>> HttpsClient::exchange(http::Request request, size_t cap,
                                                        TimePoint deadline) {
  http::Client& client = connection_->client;
  auto sent = co_await client.send(std::move(request), deadline);
  // A server that refuses early may answer and stop reading: its answer is worth more than our failed write.
  if (!sent && sent.error().code == ErrorCode::kTimeout) co_return std::unexpected(sent.error());
  auto head = co_await client.read_head(deadline);
  if (!head) co_return std::unexpected(head.error());
  auto body = co_await client.read_all(cap, deadline);
  if (!body) co_return std::unexpected(body.error());
  co_return http::Response{
      .status = head->status, .headers = std::move(head->headers), .body = std::move(*body)};
}

}  // namespace culvert::acme
