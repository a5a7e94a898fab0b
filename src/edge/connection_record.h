#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/key.h"
#include "base/socket_addr.h"
#include "edge/close_reason.h"
#include "route/route.h"
#include "tunnel/stream_header.h"

namespace culvert::edge {

class AccessLog;

// What is known of a public connection.
struct ConnectionFacts {
  std::string host = {};                       // as the client asked for it; empty: it named none
  std::optional<route::PublicPort> port = {};  // of its route; nullopt: it came to the port for HTTPS or HTTP
  SocketAddr client = {};
  std::optional<SocketAddr> proxy = {};  // that named the client
  SocketAddr public_addr = {};           // that the client connected to
  uint64_t id = 0;                       // in the logs of both ends
  TimePoint accepted = {};

  // Of its route.
  tunnel::StreamKind kind = tunnel::StreamKind::kPassthrough;
  std::optional<route::RouteId> route = {};
  std::optional<PublicKey> tenant = {};
  // Where the edge ended TLS, as OpenSSL names the version; otherwise empty.
  std::string tls_version = {};
  std::string alpn = {};  // empty: the client asked for none that is known here

  std::optional<EndpointId> agent = {};  // that has it, or was tried last
  std::string origin = {};               // the same of one beside the edge; otherwise empty
  unsigned attempts = 0;                 // streams and connections to origins that were opened for it
  std::optional<TimePoint> taken = {};   // when an agent or an origin took it
  uint64_t bytes_in = 0;                 // from the client, to its agent or origin
  uint64_t bytes_out = 0;

  void belongs_to(const route::Route& its) {
    if (route && *route == its.id() && tenant == its.tenant) return;
    route = its.id();
    tenant = its.tenant;
  }
};

// The same, and why the connection ends; told to the access log once, when it is destroyed.
class ConnectionRecord : public ConnectionFacts {
 public:
  ConnectionRecord() = default;
  ConnectionRecord(ConnectionRecord&& other) noexcept
      : ConnectionFacts(std::move(other)), log_(std::exchange(other.log_, nullptr)), reason_(other.reason_) {}
  ConnectionRecord& operator=(ConnectionRecord&& other) noexcept {
    if (this == &other) return *this;
    finish();
    ConnectionFacts::operator=(std::move(other));
    log_ = std::exchange(other.log_, nullptr);
    reason_ = other.reason_;
    return *this;
  }
  ~ConnectionRecord() { finish(); }

  // Begins it; without this nothing is told. The log outlives it.
  void record_to(AccessLog& log) { log_ = &log; }
  // Takes what is to be told out of one that others go on with.
  ConnectionRecord split() {
    ConnectionRecord own;
    static_cast<ConnectionFacts&>(own) = *this;
    own.log_ = std::exchange(log_, nullptr);
    return own;
  }
  void set_reason(CloseReason reason) { reason_ = reason; }

 private:
  void finish();

  AccessLog* log_ = nullptr;
  // What ends without a word to say was cut by the end of its worker.
  CloseReason reason_ = CloseReason::kDrained;
};

}  // namespace culvert::edge
