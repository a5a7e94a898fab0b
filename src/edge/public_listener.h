#pragma once
#include <functional>
#include <memory>

#include "edge/admission.h"
#include "edge/context.h"
#include "edge/public_connection.h"
#include "net/tcp.h"

namespace culvert::edge {

// Accepts public connections of a worker: admits them as far as the caps allow, and learns from a trusted
// proxy whose connection it is.
class PublicListener {
 public:
  // Gets each connection, and what its client has sent so far.
  using Serve = std::function<net::Task<>(PublicConnection connection, Bytes begun)>;

  // The references outlive it.
  PublicListener(WorkerContext& context, Admission& admission) : context_(context), admission_(admission) {}
  PublicListener(const PublicListener&) = delete;

  // Until the listener is closed.
  net::Task<> accept(std::shared_ptr<net::TcpListener> listener, Serve serve);

 private:
  std::optional<PublicConnection> take(std::unique_ptr<net::ByteStream> socket, bool is_from_proxy);
  bool is_proxy(const SocketAddr& address) const;
  net::Task<> identify(PublicConnection connection, Serve serve);

  WorkerContext& context_;
  Admission& admission_;
};

}  // namespace culvert::edge
