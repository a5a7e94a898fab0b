#include "node/hub_door.h"

#include "base/log.h"
#include "net/tcp.h"

namespace culvert::node {
namespace {

constexpr Duration kHandshakeTimeout = std::chrono::seconds(10);

using OpenStreams = std::shared_ptr<std::unordered_set<net::ByteStream*>>;

// A stream that is on a list as long as it lives, so that whoever owns the list can end it.
class ListedStream final : public net::ByteStream {
 public:
  ListedStream(std::unique_ptr<net::ByteStream> inner, OpenStreams list)
      : inner_(std::move(inner)), list_(std::move(list)) {
    list_->insert(this);
  }
  ~ListedStream() override { list_->erase(this); }

  net::IoResult try_read(MutableBytes into) override { return inner_->try_read(into); }
  net::IoResult try_write(ByteView from) override { return inner_->try_write(from); }
  net::IoResult try_finish() override { return inner_->try_finish(); }
  void when_readable(net::ReadyCallback callback) override { inner_->when_readable(std::move(callback)); }
  void when_writable(net::ReadyCallback callback) override { inner_->when_writable(std::move(callback)); }
  void close() override { inner_->close(); }
  void reset() override { inner_->reset(); }
  bool is_open() const override { return inner_->is_open(); }
  SocketAddr local_addr() const override { return inner_->local_addr(); }
  SocketAddr remote_addr() const override { return inner_->remote_addr(); }
  std::string last_error() const override { return inner_->last_error(); }
  net::EventLoop& loop() override { return inner_->loop(); }

 private:
  std::unique_ptr<net::ByteStream> inner_;
  OpenStreams list_;
};

}  // namespace

HubDoor::HubDoor(net::EventLoop& loop, hub::Hub& hub, net::TlsIdentityPtr pinned,
                 std::shared_ptr<edge::Certificates> certificates,
                 std::unordered_set<std::string> public_hosts)
    : loop_(loop),
      hub_(hub),
      pinned_(std::move(pinned)),
      certificates_(std::move(certificates)),
      public_hosts_(std::move(public_hosts)),
      open_(std::make_shared<std::unordered_set<net::ByteStream*>>()),
      tasks_(loop) {}

void HubDoor::admit(edge::HubConnection connection) {
  if (closing_ || tasks_.size() >= kMaxConnections) {
    net::make_tcp_stream(loop_, connection.fd)->reset();
    return;
  }
  tasks_.spawn(serve(std::move(connection)));
}

void HubDoor::close() {
  closing_ = true;
  for (net::ByteStream* stream : *open_) stream->close();
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
  co_await hub_.serve(std::make_unique<ListedStream>(std::move(*tls), open_));
}

}  // namespace culvert::node
