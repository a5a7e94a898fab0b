#pragma once
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/rate_limit.h"
#include "edge/context.h"
#include "edge/udp_batch.h"
#include "edge/udp_carrier.h"
#include "net/packet_io.h"
#include "tunnel/datagram_sender.h"
#include "tunnel/flow_table.h"

namespace culvert::edge {

// A UDP port of a route on the worker that it belongs to: its socket and the flows of its clients. A flow is
// what one client address sends to one address of the edge; it keeps its agent until that agent's tunnel
// goes, and its datagrams go to the worker that has the tunnel and come back from there in batches.
//
//   first datagram ──limits, pick──▶ flow ──no datagram for the idle timeout; evicted; no route──▶ gone
class UdpPort {
 public:
  // Errors as net::bind_udp. The references outlive it.
  static Result<std::unique_ptr<UdpPort>> bind(WorkerContext& context, UdpCarrier& carrier,
                                               const route::PublicPort& port, const SocketAddr& address);
  ~UdpPort();
  UdpPort(const UdpPort&) = delete;

  // After its route changed, and still has this port.
  void follow();
  // The agent of this tunnel stops: its flows move where there is another.
  void tunnel_drains(uint64_t generation);
  void tunnel_ended(uint64_t generation);
  // From the agents.
  void take(const UdpBatch& replies);
  // The edge stops: flows that are there go on, no others begin.
  void drain() { is_draining_ = true; }

 private:
  // A tunnel that flows go through.
  struct Via {
    EndpointId agent;
    unsigned worker;
    uint64_t generation;
    bool is_draining = false;
    bool is_gone = false;
    std::unique_ptr<UdpBatch> batch = nullptr;  // of this turn
  };
  using ViaPtr = std::shared_ptr<Via>;
  struct Place {
    SocketAddr client;
    SocketAddr edge;  // that the client used: its answers come from there
    bool operator==(const Place&) const = default;
  };
  // Keyed: clients choose what is hashed, and must not choose what collides.
  struct PlaceHash {
    uint64_t key;
    size_t operator()(const Place& place) const;
  };
  struct Flow {
    Place place;
    PublicKey tenant;
    ViaPtr via;
    TunnelRegistry::Load load;
    TenantPlaces::Place place_of_tenant;
    WorkerTraffic::Use traffic;
    TimePoint began;
    bool is_known = false;    // the agent was heard of it: it needs no address any more
    bool has_looked = false;  // for another agent, because its own stops
    uint64_t bytes_to_origin = 0;
    uint64_t bytes_to_client = 0;
  };
  using Flows = tunnel::FlowTable<Flow>;
  enum class End : uint8_t { kIdle, kEvicted, kUnrouted, kClosed };

  UdpPort(WorkerContext& context, UdpCarrier& carrier, const route::PublicPort& port);
  void receive(const net::ReceivedDatagram& datagram);
  void send_batches();
  const route::Route* find_route() const;
  Flows::Entry* begin(const route::Route& route, const Place& place, TimePoint now);
  bool is_of_the_edge(const Place& place) const;
  bool may_move(const Flow& flow, size_t bytes, TimePoint now);
  bool evict();
  bool find_agent(Flow& flow, const route::Route& route, TimePoint now);
  ViaPtr via_of(const TunnelRegistry::Pick& pick);
  void leave(Via& via);
  void drop(Counters::Count& counter, std::string_view reason, const SocketAddr& client);
  void ended(Flows::Entry entry, End end);
  void end_all(End end);
  void watch_idle();

  WorkerContext& context_;
  UdpCarrier& carrier_;
  const route::PublicPort port_;
  std::unique_ptr<net::PacketIo> socket_;
  tunnel::DatagramSender sender_;
  Flows flows_;
  std::unordered_map<Place, uint64_t, PlaceHash> by_place_;
  std::unordered_map<uint64_t, ViaPtr> vias_;  // that are not gone, by generation
  std::vector<ViaPtr> touched_;                // that have a batch
  std::optional<const route::Route*> route_;   // find_route(), in this turn
  UdpTransit transit_;
  uint64_t next_flow_ = 0;
  RateLimit drop_lines_{1, std::chrono::seconds(10)};
  net::Timer idle_timer_;
  bool is_draining_ = false;
};

}  // namespace culvert::edge
