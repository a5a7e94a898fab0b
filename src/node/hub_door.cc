#include "node/hub_door.h"

#include "base/log.h"
#include "net/tcp.h"

namespace culvert::node {
namespace {

constexpr Duration kHandshakeTimeout = std::chrono::seconds(10);

}  // namespace

HubDoor::HubDoor(net::EventLoop& loop, hub::Hub& hub, net::TlsIdentityPtr pinned,
                 std::shared_ptr<edge::Certificates> certificates,
                 std::unordered_set<std::string> public_hosts)
    : loop_(loop),
      hub_(hub),
      pinned_(std::move(pinned)),
      certificates_(std::move(certificates)),
      public_hosts_(std::move(public_hosts)),
      tasks_(loop) {}

void HubDoor::admit(edge::HubConnection connection) {
  if (closing_ || tasks_.size() >= kMaxConnections) {
    net::make_tcp_stream(loop_, connection.fd)->reset();
    return;
  }
  tasks_.spawn(serve(std::move(connection)));
}

net::Task<> HubDoor::serve(edge::HubConnection connection) {
  auto socket = net::make_tcp_stream(loop_, connection.fd);
  const SocketAddr client = socket->remote_addr();
  net::TlsIdentityPtr identity = pinned_;
  if (public_hosts_.contains(connection.server_name)) {
    auto leaf = certificates_->leaf(connection.server_name);
    if (leaf) {
      identity = *leaf;
    } else {
      log_error("certificate_failed", "host={} reason={}", culvert::quoted(connection.server_name),
                culvert::quoted(leaf.error().message));
    }
  }
  auto tls = co_await net::tls_accept(std::move(socket), std::move(connection.received), std::move(identity),
                                      {"http/1.1"}, monotonic_now() + kHandshakeTimeout);
  if (!tls) {
    log_debug("hub_handshake_failed", "client={} reason={}", client.to_string(),
              culvert::quoted(tls.error().message));
    co_return;
  }
  if (closing_) co_return;
  co_await hub_.serve(std::move(*tls));
}

}  // namespace culvert::node
