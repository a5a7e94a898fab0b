#include "edge/refusals.h"

#include "base/log.h"
#include "base/text.h"
#include "wire/proxy_tlvs.h"

namespace culvert::edge {

void Refusals::full(Counters::Count& counter, RateLimit& lines, std::string_view event, size_t cap) {
  count(counter);
  if (!lines.allow(loop_.now())) return;
  log_warn(event, "cap={} refused={}", cap, counter.load(std::memory_order_relaxed));
}

void Refusals::connections_full(size_t cap) {
  full(counters_.refused_max_connections, connections_full_lines_, "connections_full", cap);
}

void Refusals::hellos_full(size_t cap) {
  full(counters_.refused_max_hellos, hellos_full_lines_, "hellos_full", cap);
}

void Refusals::source_full(size_t cap) {
  full(counters_.dropped_source_full, source_full_lines_, "source_full", cap);
}

void Refusals::tunnels_full(size_t cap) {
  full(counters_.refused_tunnel_limit, tunnels_full_lines_, "tunnels_full", cap);
}

void Refusals::tenant_full(std::string_view host, size_t cap, OverloadState state) {
  count(counters_.refused_tenant_full);
  if (!tenant_full_lines_.allow(loop_.now())) return;
  log_warn("tenant_full", "host={} cap={} refused={} state={}", culvert::quoted(host), cap,
           counters_.refused_tenant_full.load(std::memory_order_relaxed), to_string(state));
}

void Refusals::tenant_rate(std::string_view host, uint32_t per_second) {
  count(counters_.refused_tenant_rate);
  if (!tenant_rate_lines_.allow(loop_.now())) return;
  log_warn("tenant_rate", "host={} per_second={} refused={}", culvert::quoted(host), per_second,
           counters_.refused_tenant_rate.load(std::memory_order_relaxed));
}

void Refusals::client_full(const SocketAddr& client, size_t cap, OverloadState state) {
  count(counters_.refused_client_full);
  if (!client_full_lines_.allow(loop_.now())) return;
  log_warn("client_full", "client={} cap={} refused={} state={}", client.to_string(), cap,
           counters_.refused_client_full.load(std::memory_order_relaxed), to_string(state));
}

void Refusals::client_rate(const SocketAddr& client, uint32_t per_second) {
  count(counters_.refused_client_rate);
  if (!client_rate_lines_.allow(loop_.now())) return;
  log_warn("client_rate", "client={} per_second={} refused={}", client.to_string(), per_second,
           counters_.refused_client_rate.load(std::memory_order_relaxed));
}

void Refusals::connection_rate(uint32_t per_second) {
  full(counters_.refused_connection_rate, connection_rate_lines_, "connection_rate", per_second);
}

void Refusals::overload() {
  count(counters_.refused_overload);
  if (!overload_lines_.allow(loop_.now())) return;
  log_warn("overload_refused", "refused={} meaning={}",
           counters_.refused_overload.load(std::memory_order_relaxed),
           culvert::quoted("new connections are reset until the edge has room again"));
}

void Refusals::unknown_hostname(std::string_view host, const SocketAddr& client) {
  count(counters_.refused_unknown_hostname);
  if (!unknown_hostname_lines_.allow(loop_.now())) return;
  log_info("unknown_hostname", "host={} client={} suppressed={}", culvert::quoted(host), client.to_string(),
           unknown_hostname_lines_.take_refused());
}

void Refusals::no_agent(std::string_view host, const SocketAddr& client) {
  count(counters_.refused_no_agent);
  if (!no_agent_lines_.allow(loop_.now())) return;
  log_info("no_agent", "host={} client={} suppressed={}", culvert::quoted(host), client.to_string(),
           no_agent_lines_.take_refused());
}

void Refusals::suspended(std::string_view host, const SocketAddr& client) {
  count(counters_.refused_suspended);
  if (!suspended_lines_.allow(loop_.now())) return;
  log_info("tenant_suspended", "host={} client={} suppressed={}", culvert::quoted(host), client.to_string(),
           suspended_lines_.take_refused());
}

void Refusals::plain_http(const SocketAddr& client) {
  count(counters_.refused_plain_http);
  if (!plain_http_lines_.allow(loop_.now())) return;
  log_info("plain_http", "client={} suppressed={} reason={}", client.to_string(),
           plain_http_lines_.take_refused(),
           culvert::quoted("an HTTP request without TLS came to the HTTPS port; answered with status 400"));
}

void Refusals::no_proxy_header(const SocketAddr& proxy, const Error& error) {
  count(counters_.refused_proxy_header);
  if (!no_proxy_header_lines_.allow(loop_.now())) return;
  log_warn("proxy_header_missing", "proxy={} suppressed={} reason={} hint={}", proxy.to_string(),
           no_proxy_header_lines_.take_refused(), culvert::quoted(error.message),
           culvert::quoted("turn the PROXY protocol on there, or take it out of --trusted-proxies"));
}

void Refusals::proxy_tlvs_cut(const SocketAddr& proxy) {
  count(counters_.proxy_tlvs_cut);
  if (!proxy_tlvs_cut_lines_.allow(loop_.now())) return;
  log_warn("proxy_tlvs_cut", "proxy={} suppressed={} limit_bytes={} hint={}", proxy.to_string(),
           proxy_tlvs_cut_lines_.take_refused(), wire::kMostForwardedTlvs,
           culvert::quoted("origins do not get the last TLVs of its PROXY headers: let it send fewer"));
}

void Refusals::no_certificate(std::string_view host, const Error& error) {
  count(counters_.refused_certificate);
  if (!no_certificate_lines_.allow(loop_.now())) return;
  log_error("certificate_failed", "host={} refused={} reason={}", culvert::quoted(host),
            counters_.refused_certificate.load(std::memory_order_relaxed), culvert::quoted(error.message));
}

void Refusals::stalled_client(std::string_view host, const SocketAddr& client) {
  count(counters_.stalled_clients_cut);
  if (!stalled_client_lines_.allow(loop_.now())) return;
  log_warn("stalled_client_cut", "host={} client={} suppressed={} reason={}", culvert::quoted(host),
           client.to_string(), stalled_client_lines_.take_refused(),
           culvert::quoted("too much waits for clients that do not read; this one had read nothing for the "
                           "longest time"));
}

}  // namespace culvert::edge
