#pragma once
#include <string_view>

#include "base/rate_limit.h"
#include "base/result.h"
#include "base/socket_addr.h"
#include "edge/counters.h"
#include "edge/overload.h"
#include "net/event_loop.h"

namespace culvert::edge {

// What a worker refuses and cuts: counts it, and limits the rate of the lines about it, since unauthenticated
// clients can cause all of it.
class Refusals {
 public:
  // Both outlive it.
  Refusals(const net::EventLoop& loop, Counters& counters) : loop_(loop), counters_(counters) {}

  void connections_full(size_t cap);
  void hellos_full(size_t cap);
  void source_full(size_t cap);
  void tunnels_full(size_t cap);
  void tenant_full(std::string_view host, size_t cap, OverloadState state);
  void tenant_rate(std::string_view host, uint32_t per_second);
  void client_full(const SocketAddr& client, size_t cap, OverloadState state);
  void client_rate(const SocketAddr& client, uint32_t per_second);
  void connection_rate(uint32_t per_second);
  void overload();
  void unknown_hostname(std::string_view host, const SocketAddr& client);
  void no_agent(std::string_view host, const SocketAddr& client);
  void suspended(std::string_view host, const SocketAddr& client);
  void plain_http(const SocketAddr& client);
  void no_proxy_header(const SocketAddr& proxy, const Error& error);
  void proxy_tlvs_cut(const SocketAddr& proxy);
  void no_certificate(std::string_view host, const Error& error);
  void stalled_client(std::string_view host, const SocketAddr& client);

 private:
  // A cap was met: how often so far.
  void full(Counters::Count& counter, RateLimit& lines, std::string_view event, size_t cap);

  const net::EventLoop& loop_;
  Counters& counters_;
  RateLimit connections_full_lines_{1, std::chrono::seconds(10)};
  RateLimit hellos_full_lines_{1, std::chrono::seconds(10)};
  RateLimit source_full_lines_{1, std::chrono::seconds(10)};
  RateLimit tunnels_full_lines_{1, std::chrono::seconds(10)};
  RateLimit tenant_full_lines_{1, std::chrono::seconds(10)};
  RateLimit tenant_rate_lines_{1, std::chrono::seconds(10)};
  RateLimit client_full_lines_{1, std::chrono::seconds(10)};
  RateLimit client_rate_lines_{1, std::chrono::seconds(10)};
  RateLimit connection_rate_lines_{1, std::chrono::seconds(10)};
  RateLimit overload_lines_{1, std::chrono::seconds(10)};
  RateLimit unknown_hostname_lines_{5, std::chrono::seconds(2)};
  RateLimit no_agent_lines_{5, std::chrono::seconds(2)};
  RateLimit suspended_lines_{5, std::chrono::seconds(2)};
  RateLimit plain_http_lines_{1, std::chrono::seconds(10)};
  RateLimit no_proxy_header_lines_{1, std::chrono::seconds(10)};
  RateLimit proxy_tlvs_cut_lines_{1, std::chrono::seconds(10)};
  RateLimit no_certificate_lines_{1, std::chrono::seconds(10)};
  RateLimit stalled_client_lines_{1, std::chrono::seconds(10)};
};

}  // namespace culvert::edge
