#pragma once
#include <memory>
#include <optional>
#include <string>

#include "edge/carrier.h"
#include "edge/context.h"
#include "edge/public_connection.h"
#include "edge/request_wait.h"
#include "tls/tls.h"

namespace culvert::edge {

// Serves the connections of the port for HTTPS: reads the ClientHello, finds the route of the name in it,
// ends TLS where the route says so, and gives what is left to the carrier or to the hub.
class SniListener {
 public:
  // The references outlive it.
  SniListener(WorkerContext& context, Carrier& carrier) : context_(context), carrier_(carrier) {}
  SniListener(const SniListener&) = delete;

  // `begun` has come already.
  net::Task<> serve(PublicConnection connection, Bytes begun);
  // The worker drains: clients that have not asked for anything yet get an agent while there is one.
  void drain() { unasked_.end(); }
  // Their connections.
  size_t unasked() const { return unasked_.size(); }

 private:
  net::Task<> serve_route(PublicConnection connection);
  net::Task<std::optional<PublicConnection>> end_tls(PublicConnection connection, std::string pattern);
  net::Task<> answer_challenge(PublicConnection connection, tls::IdentityPtr identity);
  net::Task<> refuse_hello(PublicConnection connection, ErrorCode why, Bytes received);
  void hand_to_hub(PublicConnection connection);

  WorkerContext& context_;
  Carrier& carrier_;
  RequestWait unasked_;
};

}  // namespace culvert::edge
