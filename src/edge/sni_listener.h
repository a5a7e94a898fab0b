#pragma once
#include <memory>
#include <optional>
#include <string>

#include "edge/admission.h"
#include "edge/carrier.h"
#include "edge/context.h"
#include "net/tcp.h"

namespace culvert::edge {

// Takes public connections from a worker's TCP listener: reads the ClientHello, finds the route of the name
// in it, ends TLS where the route says so, and gives what is left to the carrier or to the hub.
class SniListener {
 public:
  // The references outlive it.
  SniListener(WorkerContext& context, Admission& admission, Carrier& carrier)
      : context_(context), admission_(admission), carrier_(carrier) {}
  SniListener(const SniListener&) = delete;

  // Until the listener is closed.
  net::Task<> accept(net::TcpListener& listener);

 private:
  bool is_proxy(const SocketAddr& address) const;
  net::Task<> identify_and_serve(PublicConnection connection);
  net::Task<> serve(PublicConnection connection, Bytes begun);
  net::Task<> serve_route(PublicConnection connection);
  net::Task<std::optional<PublicConnection>> end_tls(PublicConnection connection, std::string pattern);
  net::Task<> refuse_hello(PublicConnection connection, ErrorCode why, Bytes received);
  void hand_to_hub(PublicConnection connection);

  WorkerContext& context_;
  Admission& admission_;
  Carrier& carrier_;
};

}  // namespace culvert::edge
