#include "hubapi/hub_connection.h"

#include <string_view>

#include "net/tcp.h"
#include "tls/tls.h"

namespace culvert::hubapi {

net::Task<Result<std::unique_ptr<net::ByteStream>>> connect_to_hub(net::EventLoop& loop, HubUrl url,
                                                                   PublicKey hub_key, TimePoint deadline) {
  auto transport = co_await net::tcp_connect(loop, url.host, url.port, deadline);
  if (!transport) co_return fail(ErrorCode::kUnavailable, "{}", transport.error().message);
  tls::ClientTrust trust{.pinned_key = hub_key, .root_pem = {}};
  auto stream = co_await tls::connect(std::move(*transport), hub_key.tls_name(), std::move(trust), deadline);
  if (!stream && met_another_hub(stream.error())) {
    stream.error().message = fmt::format(
        "another hub or server answers there, without the hub key {}; a hub whose data directory was lost "
        "has a new key and needs new tokens",
        hub_key.short_text());
  }
  co_return stream;
}

// The holder of the pinned key knows its name and proves the key: a server that does neither is another, most
// often the same node with its data directory lost.
bool met_another_hub(const Error& error) {
  return error.code == ErrorCode::kNotFound || error.code == ErrorCode::kUnauthorized;
}

std::string host_field(const HubUrl& url) {
  std::string text = url.to_string();
  constexpr std::string_view kScheme = "https://";
  return text.starts_with(kScheme) ? text.substr(kScheme.size()) : text;
}

}  // namespace culvert::hubapi
