#include "ca/root_fetch.h"

#include "acme/https_url.h"
#include "ca/resource.h"
#include "http/client.h"
#include "net/tcp.h"
#include "tls/tls.h"

namespace culvert::ca {

net::Task<Result<std::string>> fetch_root(net::EventLoop& loop, std::string url, TimePoint deadline) {
  const auto parsed = acme::parse_https_url(url);
  if (!parsed) co_return std::unexpected(parsed.error());
  const std::string server = parsed->authority();
  auto transport = co_await net::tcp_connect(loop, parsed->host, parsed->port, deadline);
  if (!transport) co_return std::unexpected(transport.error());
  auto connected = co_await tls::connect(std::move(*transport), parsed->host,
                                         tls::make_client_context({.is_insecure = true}), deadline);
  if (!connected.stream) co_return std::unexpected(connected.stream.error());
  http::Request request{
      .method = "GET", .target = Resource{.kind = Resource::Kind::kRoot}.path(), .headers = {}, .body = {}};
  auto response = co_await http::fetch(**connected.stream, server, std::move(request), deadline);
  if (!response) co_return fail(response.error().code, "{}: {}", server, response.error().message);
  if (response->status != 200) {
    co_return fail(
        ErrorCode::kNotFound,
        "{} answers with the status {}: it is not `culvert ca serve`; copy the root of that CA and "
        "give it with --root",
        server, response->status);
  }
  co_return std::move(response->body);
}

}  // namespace culvert::ca
