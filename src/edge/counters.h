#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/metrics.h"
#include "edge/options.h"
#include "tunnel/moved_bytes.h"

namespace culvert::edge {

// What the edge has done and refused since it started. Written by every worker, read by any thread.
struct Counters {
  using Count = std::atomic<uint64_t>;

  Count connections_active{0};  // public connections open now
  Count connections_accepted{0};
  Count connections_to_hub{0};
  Count challenges_answered{0};    // of CAs, on either port
  Count challenges_forwarded{0};   // on port 80, to origins of passthrough hostnames
  Count redirected{0};             // from HTTP to HTTPS
  Count connections_moved{0};      // to the worker that holds the tunnel
  Count connections_rechecked{0};  // because their route changed
  Count streams_carried{0};
  Count ports_open{0};       // that are listened on now, for routes
  Count ports_failed{0};     // that routes name and that cannot be bound now
  Count streams_retried{0};  // given to another agent because the first did not answer

  Count refused_max_connections{0};
  Count refused_max_hellos{0};
  Count refused_tenant_full{0};
  Count refused_tenant_rate{0};
  Count refused_client_full{0};  // a source had too many, or more than its part of what is scarce
  Count refused_client_rate{0};
  Count refused_connection_rate{0};
  Count refused_overload{0};
  Count refused_hub_full{0};       // for the hub, whose queue was full
  Count dropped_source_full{0};    // the oldest unserved of a source that had too many
  Count refused_hello_timeout{0};  // includes clients that left before their hello was whole
  Count refused_not_tls{0};        // includes hellos past the cap
  Count refused_plain_http{0};
  Count refused_proxy_header{0};  // none came from a trusted proxy
  Count proxy_tlvs_cut{0};        // headers of trusted proxies whose TLVs do not all go on to the origin
  Count refused_certificate{0};   // none could be made for the hostname
  Count refused_unknown_hostname{0};
  Count refused_no_agent{0};   // no open tunnel, or none whose agent answers
  Count refused_suspended{0};  // the tenant is
  Count refused_stream_limit{0};
  Count stalled_clients_cut{0};
  Count refused_by_agent{0};  // reset before the first byte of an answer
  Count origins_failed{0};    // refused by an agent whose origin did not work, and given to another
  Count failed_tls_handshake{0};

  // Of UDP ports. A flow is what one client address and port sends to one of them.
  Count udp_flows_active{0};
  Count udp_flows{0};
  Count udp_flows_evicted{0};
  Count udp_flows_moved{0};  // to another agent, because their own left
  Count udp_datagrams_to_origin{0};
  Count udp_datagrams_to_client{0};
  Count udp_bytes_to_origin{0};
  Count udp_bytes_to_client{0};
  Count udp_in_stream{0};           // too large for a QUIC datagram, or the agent did not know the channel
  Count udp_dropped_suspended{0};   // the tenant is, or has ended
  Count udp_dropped_no_agent{0};    // none has an open tunnel, or the edge drains
  Count udp_dropped_bandwidth{0};   // more bytes than the edge or the tenant may move
  Count udp_dropped_rate{0};        // too many flows of the tenant began
  Count udp_dropped_full{0};        // too many flows, and none of the port to evict
  Count udp_dropped_spoofed{0};     // from a port of the edge itself, or from none
  Count udp_dropped_no_channel{0};  // the agent refused the channel, or its tunnel was just closed
  Count udp_dropped_congestion{0};  // more than the tunnel takes
  Count udp_dropped_stream_stalled{0};  // a long one, while the agent reads none
  Count udp_dropped_worker_behind{0};   // the other worker did not take what waits for it
  Count udp_dropped_not_sent{0};        // the port's socket did not take it
  Count udp_dropped_unknown_flow{0};    // from an agent: the flow is gone, or another's
  Count udp_dropped_malformed{0};       // from an agent: or of no channel

  Count tunnels_active{0};
  Count tunnels_accepted{0};
  Count tunnels_suspected{0};      // data was unanswered for a few round trips; again whenever it happens
  Count tunnels_closed_silent{0};  // data and probes were unanswered, and another agent was there
  Count services_unhealthy{0};     // now, by the word of their agents; one of several agents counts as often
  Count services_failed{0};        // how often one became so
  Count refused_tunnel_hello{0};
  Count refused_tunnel_no_lease{0};
  Count refused_tunnel_limit{0};
};

// `moved`: by all workers.
void report(const Counters& counters, const tunnel::PumpCounters& moved, Metrics& metrics);

inline void count(Counters::Count& counter, uint64_t by = 1) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

// One place among the `max` public connections that may be open at once, one among its client's, and once it
// is carried one among its tenant's; given back when destroyed.
class ConnectionSlot {
 public:
  static std::optional<ConnectionSlot> take(Counters& counters, size_t max) {
    if (counters.connections_active.fetch_add(1, std::memory_order_relaxed) < max)
      return ConnectionSlot(&counters);
    counters.connections_active.fetch_sub(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  ConnectionSlot(ConnectionSlot&& other) noexcept
      : counters_(std::exchange(other.counters_, nullptr)),
        source_(std::move(other.source_)),
        tenant_(std::move(other.tenant_)) {}
  ConnectionSlot& operator=(ConnectionSlot&& other) noexcept {
    std::swap(counters_, other.counters_);
    std::swap(source_, other.source_);
    std::swap(tenant_, other.tenant_);
    return *this;
  }
  ~ConnectionSlot() {
    if (counters_ != nullptr) counters_->connections_active.fetch_sub(1, std::memory_order_relaxed);
  }
  // nullopt: it has it, perhaps from before.
  std::optional<SourcePlaces::Refusal> take_source(SourcePlaces& places, const SocketAddr& client,
                                                   TimePoint now, SourcePlaces::Terms terms) {
    return take(source_, places, client.source_prefix(), now, terms);
  }
  std::optional<TenantPlaces::Refusal> take_tenant(TenantPlaces& places, const PublicKey& tenant,
                                                   TimePoint now, TenantPlaces::Terms terms) {
    return take(tenant_, places, tenant, now, terms);
  }
  // What its bytes count against, `of_all` included. They live as long as it. That of its tenant is among
  // them without a limit too, because the hub may set one at any time.
  std::vector<tunnel::ByteBudget*> budgets(tunnel::ByteBudget& of_all) const {
    std::vector<tunnel::ByteBudget*> counting;
    if (tenant_) counting.push_back(&tenant_->bytes());
    if (source_ && source_->bytes().is_limited()) counting.push_back(&source_->bytes());
    if (of_all.is_limited()) counting.push_back(&of_all);
    return counting;
  }

 private:
  explicit ConnectionSlot(Counters* counters) : counters_(counters) {}

  template <class Key>
  static std::optional<typename Places<Key>::Refusal> take(std::optional<typename Places<Key>::Place>& place,
                                                           Places<Key>& places, const Key& key, TimePoint now,
                                                           typename Places<Key>::Terms terms) {
    if (place) return std::nullopt;
    auto taken = places.take(key, now, terms);
    if (!taken) return taken.error();
    place.emplace(std::move(*taken));
    return std::nullopt;
  }

  Counters* counters_;
  std::optional<SourcePlaces::Place> source_;
  std::optional<TenantPlaces::Place> tenant_;
};

}  // namespace culvert::edge
