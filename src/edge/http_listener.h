#pragma once
#include <optional>
#include <string>

#include "edge/carrier.h"
#include "edge/context.h"
#include "edge/public_connection.h"
#include "http/server.h"

namespace culvert::edge {

// Serves the port for plain HTTP: answers the challenges of CAs (RFC 8555, 8.3), gives those of passthrough
// hostnames to their agents, and sends clients of names that the edge has routes for to HTTPS.
class HttpListener {
 public:
  // Both outlive it.
  HttpListener(WorkerContext& context, Carrier& carrier);
  HttpListener(const HttpListener&) = delete;

  // `begun` has come already.
  net::Task<> serve(PublicConnection connection, Bytes begun);
  // Ends all connections.
  void close() { server_.close(); }
  size_t size() const { return server_.size(); }

 private:
  // The host that the challenge is for, and the request as its origin gets it.
  struct Challenge {
    std::string host;
    Bytes request;
  };

  // Reads until it is known whether it is a challenge; false: the client is gone.
  net::Task<bool> read_head(net::ByteStream& socket, Bytes& begun);
  // Of a passthrough hostname; nullopt: it is answered here.
  std::optional<Challenge> challenge_in(const Bytes& begun) const;
  net::Task<> answer(http::Exchange& exchange);
  http::Response response_to(const http::Exchange& exchange);

  WorkerContext& context_;
  Carrier& carrier_;
  http::Server server_;
};

}  // namespace culvert::edge
