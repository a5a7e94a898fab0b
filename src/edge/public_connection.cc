#include "edge/public_connection.h"

#include "base/check.h"
#include "edge/answers.h"

namespace culvert::edge {

void PublicConnection::end_as(CloseReason reason) {
  set_reason((pending ? pending->dropped() : std::nullopt).value_or(reason));
}

void PublicConnection::detach() {
  CHECK(!use);  // sessions belong to their loop
  if (pending) pending->detach();
  in_transit.emplace(std::move(socket));
}

void PublicConnection::attach(net::EventLoop& loop) {
  socket = std::move(*in_transit).attach(loop);
  in_transit.reset();
}

std::optional<tunnel::StreamKind> kind_of(const route::Route& route) {
  if (const auto* port = route.match.port()) {
    return port->protocol == route::PortProtocol::kTcp ? tunnel::StreamKind::kTcpPort
                                                       : tunnel::StreamKind::kUdpPort;
  }
  if (!route.tls_mode) return std::nullopt;
  return tunnel::kind_of(*route.tls_mode);
}

bool takes(const route::Route& route, tunnel::StreamKind kind) {
  const auto own = kind_of(route);
  return own == kind || (own == tunnel::StreamKind::kPassthrough && kind == tunnel::StreamKind::kChallenge);
}

net::Task<> refuse(PublicConnection connection, Bytes message) {
  connection.pending.reset();
  co_await say_and_close(std::move(connection.socket), std::move(message));
}

}  // namespace culvert::edge
