#pragma once
#include "edge/context.h"
#include "edge/public_connection.h"
#include "http/server.h"

namespace culvert::edge {

// Serves the port for plain HTTP: answers the challenges of CAs (RFC 8555, 8.3), and sends clients of names
// that the edge has routes for to HTTPS.
class HttpListener {
 public:
  // The context outlives it.
  explicit HttpListener(WorkerContext& context);
  HttpListener(const HttpListener&) = delete;

  // `begun` has come already.
  net::Task<> serve(PublicConnection connection, Bytes begun);
  // Ends all connections.
  void close() { server_.close(); }
  size_t size() const { return server_.size(); }

 private:
  net::Task<> answer(http::Exchange& exchange);
  http::Response response_to(const http::Exchange& exchange);

  WorkerContext& context_;
  http::Server server_;
};

}  // namespace culvert::edge
