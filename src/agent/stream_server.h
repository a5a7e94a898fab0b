#pragma once
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/agent.h"
#include "agent/counters.h"
#include "agent/first_bytes.h"
#include "agent/observer.h"
#include "agent/services.h"
#include "agent/udp_server.h"
#include "base/rate_limit.h"
#include "endpoint/endpoint.h"
#include "net/byte_stream.h"
#include "tunnel/pump.h"
#include "tunnel/stream_header.h"

namespace culvert::agent {

// Serves the streams that edges open: header, authorisation, origin, pump. Lives on one loop; what
// the constructor takes outlives it.
class StreamServer {
 public:
  StreamServer(net::EventLoop& loop, const Config& config, AgentObserver& observer, Counters& counters,
               UdpServer& udp);
  StreamServer(const StreamServer&) = delete;

  // A failure to connect says nothing of the origin's state after this time.
  static constexpr Duration kFaultMemory = std::chrono::minutes(1);

  // From the stream's first byte until its pump runs or it is refused. `is_trusted` answers whether the edge
  // that opened it may still do so. `channels` is for the UDP channels of its tunnel.
  net::Task<> serve(endpoint::StreamPtr stream, std::shared_ptr<tunnel::UdpChannels> channels,
                    EndpointId edge, bool is_trusted);

  // The services of the configuration are others. Those that it had before outlive this.
  void services_changed();
  // Streams that are being served, pumps included.
  size_t active() const { return active_; }
  // Of these, connections that their origin has taken.
  size_t connected() const { return connected_; }
  // The owner is about to cancel what is being served: failures from now on are not counted against an
  // origin.
  void stop() { stopping_ = true; }
  // Called whenever active() falls.
  void set_ended_callback(std::function<void()> callback) { on_ended_ = std::move(callback); }
  // A request that the agent itself sent through its public address: its target is not reported.
  void ignore_target(std::string target) { ignored_target_ = std::move(target); }
  // Called with what became of each attempt to reach the origin of a service; nullopt: it was reached.
  using OriginCallback = std::function<void(const Service&, const std::optional<OriginFault>&)>;
  void set_origin_callback(OriginCallback callback) { on_origin_ = std::move(callback); }
  // Why the last connection did not reach the origin, within kFaultMemory.
  std::optional<OriginFault> origin_fault(const Service& service) const;
  // Connections of this service that its origin has taken.
  uint64_t reached(const Service& service) const { return origins_.at(&service).reached; }
  // Of these, those that are open.
  uint64_t open(const Service& service) const { return origins_.at(&service).open; }
  // What they have moved so far.
  tunnel::PumpCounters moved(const Service& service) const { return origins_.at(&service).moved.get(); }
  // Of these, those on which it has sent something.
  uint64_t answered(const Service& service) const { return origins_.at(&service).answered; }

 private:
  // What is remembered of a service's origin, so that a broken one fills no log.
  struct OriginState {
    RateLimit unreachable_lines{1, std::chrono::minutes(1)};
    RateLimit refusal_lines{1, std::chrono::minutes(1)};
    uint64_t reached = 0;
    uint64_t answered = 0;
    uint64_t open = 0;
    tunnel::MovedBytes moved = {};
    std::optional<OriginFault> fault = {};  // of the last attempt; nullopt: it succeeded
    TimePoint failed_at = {};
  };
  struct Accepted {
    tunnel::StreamHeader header;
    Bytes rest;  // what followed the header already
  };

  net::Task<Result<Accepted>> read_header(endpoint::StreamPtr stream);
  net::Task<> serve_challenge(endpoint::StreamPtr stream, const Service& service, std::string host,
                              Bytes begun);
  net::Task<origin::Reached> reach_origin(const Service& service, Bytes before_tls, bool writes_at_once);
  void refuse_unreached(quic::Stream& stream, OriginFault::Kind kind);
  void refuse(quic::Stream& stream, quic::AppCode code, uint64_t& counter);
  void start_pump(endpoint::StreamPtr stream, std::unique_ptr<net::ByteStream> origin, const Service& service,
                  const tunnel::StreamHeader& header, ByteView first);
  void pump_ended(const Service& service, const FirstBytes& first_bytes, const tunnel::PumpResult& result);
  void tls_refused(const Service& service, const std::string& reason);
  void ended();

  net::EventLoop& loop_;
  const Config& config_;
  AgentObserver& observer_;
  Counters& counters_;
  UdpServer& udp_;
  ServiceTable table_;
  std::unordered_map<const Service*, OriginState> origins_;
  RateLimit header_lines_{3, std::chrono::minutes(1)};
  Bytes scratch_;  // shared by all pumps of the loop
  std::string ignored_target_;
  std::function<void()> on_ended_;
  OriginCallback on_origin_;
  size_t active_ = 0;
  size_t connected_ = 0;
  bool stopping_ = false;
};

}  // namespace culvert::agent
