#pragma once
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "agent/agent.h"
#include "agent/counters.h"
#include "agent/services.h"
#include "base/rate_limit.h"
#include "endpoint/endpoint.h"
#include "net/packet_io.h"
#include "tunnel/datagram_sender.h"
#include "tunnel/flow_table.h"
#include "tunnel/udp_channel.h"

namespace culvert::agent {

// Serves the UDP channels that edges open: each flow has a socket of its own, so that the origin tells the
// clients apart, and its answers go back in the flow. Bounded by Options::max_udp_flows. Lives on one loop;
// what the constructor takes outlives it.
class UdpServer {
 public:
  UdpServer(net::EventLoop& loop, const Config& config, Counters& counters, net::TaskGroup& tasks);
  ~UdpServer();
  UdpServer(const UdpServer&) = delete;

  // A channel of the tunnel that `channels` belongs to, after its header: `begun` is what followed that.
  void serve(std::shared_ptr<tunnel::UdpChannels> channels, endpoint::StreamPtr stream,
             const tunnel::StreamHeader& header, ByteView begun);
  // The services of the configuration are others. Those that it had before outlive this.
  void services_changed() { table_ = ServiceTable(config_.services); }
  size_t flows() const { return flows_.size(); }

 private:
  class Channel;
  struct Flow {
    Channel* channel;
    uint64_t number;  // in its channel
    tunnel::UdpClient client;
    const Service* service;
    std::unique_ptr<net::PacketIo> socket = nullptr;  // nullptr: the origin's name is being resolved
    std::vector<SocketAddr> origins = {};             // that were not tried yet, the next one last
    SocketAddr origin = {};
    // What waits for the socket; with further origins what the present one has not answered.
    std::vector<Bytes> waiting = {};
    bool is_introduced = false;  // the PROXY header was sent
  };
  using Flows = tunnel::FlowTable<Flow>;

  void receive(Channel& channel, const tunnel::UdpDatagram& datagram);
  Flows::Entry* begin(Channel& channel, const tunnel::UdpDatagram& datagram);
  net::Task<> find_origin(uint64_t id);
  void try_next_origin(uint64_t id);
  void refused(uint64_t id);
  bool keep(Flow& flow, ByteView payload);
  std::vector<Bytes> take_waiting(Flow& flow);
  void send(Flow& flow, ByteView payload);
  void flush();
  void answer(uint64_t id, ByteView payload);
  void ended(Flows::Entry entry);
  void end_flow(uint64_t id);
  void end_channel(Channel& channel);
  void watch_idle();

  net::EventLoop& loop_;
  const Config& config_;
  Counters& counters_;
  net::TaskGroup& tasks_;
  ServiceTable table_;
  std::list<std::unique_ptr<Channel>> channels_;
  Flows flows_;
  size_t waiting_bytes_ = 0;                               // Flow::waiting of all
  uint64_t next_flow_ = 0;                                 // ids in the table: channels number their own
  std::unordered_map<std::string, SocketAddr> answering_;  // by service: the origin's address that does
  tunnel::DatagramSender sender_;
  RateLimit failure_lines_{3, std::chrono::minutes(1)};
  net::Timer idle_timer_;
};

}  // namespace culvert::agent
