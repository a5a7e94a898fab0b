#include "edge/public_listener.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/log.h"
#include "wire/proxy_protocol.h"

namespace culvert::edge {
namespace {

// A proxy knows what to say before it connects.
constexpr Duration kProxyTimeout = std::chrono::seconds(2);

struct FromProxy {
  wire::ProxyHeader header;
  Bytes rest;  // that came behind it
};

// Errors: kTimeout and kReset when the proxy did not finish its header, kInvalid when it sends none.
net::Task<Result<FromProxy>> read_proxy_header(net::ByteStream& socket, TimePoint deadline) {
  Bytes received;
  std::array<uint8_t, 2048> chunk;
  while (true) {
    auto got = co_await net::read_some(socket, chunk, deadline);
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0) co_return fail(ErrorCode::kReset, "the proxy left");
    received.insert(received.end(), chunk.begin(), chunk.begin() + static_cast<ptrdiff_t>(*got));
    auto decoded = wire::decode_proxy(received);
    if (!decoded) co_return std::unexpected(decoded.error());
    if (!*decoded) continue;
    const auto rest = ByteView(received).subspan((*decoded)->consumed);
    co_return FromProxy{std::move((*decoded)->header), to_bytes(rest)};
  }
}

}  // namespace

net::Task<> PublicListener::accept(std::shared_ptr<net::TcpListener> listener, Serve serve) {
  while (true) {
    auto accepted = co_await listener->accept();
    if (!accepted) {
      if (accepted.error().code != ErrorCode::kClosed) {
        log_error("accept_failed", "worker={} addr={} reason={}", context_.index,
                  listener->local_addr().to_string(), culvert::quoted(accepted.error().message));
      }
      co_return;
    }
    count(context_.shared.counters.connections_accepted);
    const bool is_from_proxy = is_proxy((*accepted)->remote_addr());
    auto connection = take(std::move(*accepted), is_from_proxy);
    if (!connection) continue;
    context_.tasks.spawn(is_from_proxy ? identify(std::move(*connection), serve)
                                       : serve(std::move(*connection), {}));
  }
}

// nullopt: a cap was met, and it was reset.
std::optional<PublicConnection> PublicListener::take(std::unique_ptr<net::ByteStream> socket,
                                                     bool is_from_proxy) {
  PublicConnection connection{.socket = std::move(socket)};
  connection.record_to(context_.access_log);
  connection.id = context_.shared.next_connection.fetch_add(1, std::memory_order_relaxed);
  connection.client = connection.socket->remote_addr();
  connection.public_addr = connection.socket->local_addr();
  connection.accepted = context_.loop.now();
  auto admitted = admission_.admit(*connection.socket, is_from_proxy);
  if (!admitted) {
    connection.end_as(admitted.error());
    connection.socket->reset();
    return std::nullopt;
  }
  connection.slot.emplace(std::move(admitted->slot));
  connection.pending.emplace(std::move(admitted->pending));
  return connection;
}

bool PublicListener::is_proxy(const SocketAddr& address) const {
  const auto options = context_.shared.options.get();
  return std::ranges::any_of(options->trusted_proxies,
                             [&](const IpPrefix& network) { return network.contains(address); });
}

net::Task<> PublicListener::identify(PublicConnection connection, Serve serve) {
  Shared& shared = context_.shared;
  const Duration patience = std::min(kProxyTimeout, shared.hello_patience());
  auto told = co_await read_proxy_header(*connection.socket, connection.accepted + patience);
  if (!told && told.error().code != ErrorCode::kInvalid) {
    count(shared.counters.refused_hello_timeout);
    connection.end_as(told.error().code == ErrorCode::kTimeout ? CloseReason::kHelloTimeout
                                                               : CloseReason::kClientGone);
    co_return;
  }
  if (!told) {
    connection.end_as(CloseReason::kProxyHeader);
    context_.refusals.no_proxy_header(connection.client, told.error());
    connection.socket->reset();
    co_return;
  }
  if (!told->header.local) {
    connection.proxy = connection.client;
    connection.client = told->header.source;
    connection.public_addr = told->header.destination;
  }
  auto forwarded = wire::forwarded_tlvs(std::move(told->header.tlvs));
  if (forwarded.is_cut) context_.refusals.proxy_tlvs_cut(connection.socket->remote_addr());
  connection.proxy_tlvs = std::move(forwarded.tlvs);
  const auto refusal = admission_.identify(*connection.slot, *connection.pending, connection.client);
  if (refusal) {
    connection.end_as(*refusal);
    connection.socket->reset();
    co_return;
  }
  co_await serve(std::move(connection), std::move(told->rest));
}

}  // namespace culvert::edge
