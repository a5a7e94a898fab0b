#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "edge/admission.h"
#include "edge/carrier.h"
#include "edge/context.h"
#include "edge/http_listener.h"
#include "edge/origin_watch.h"
#include "edge/port_listeners.h"
#include "edge/public_listener.h"
#include "edge/shared.h"
#include "edge/sni_listener.h"
#include "edge/tunnels.h"
#include "edge/udp_carrier.h"
#include "edge/worker_traffic.h"
#include "endpoint/endpoint.h"
#include "net/event_loop.h"
#include "net/tcp.h"

namespace culvert::edge {

// One thread of the edge: a loop with its own TCP listener, its own UDP socket, and the tunnels that came in
// there. Puts its parts together and ends them; what they do is theirs.
class Worker final : public Peer {
 public:
  // Binds, on the addresses in the shared configuration. Errors as net::TcpListener::listen.
  static Result<std::unique_ptr<Worker>> bind(Shared& shared, unsigned index);
  ~Worker() override;
  Worker(const Worker&) = delete;

  SocketAddr tcp_addr() const { return tcp_->local_addr(); }
  // nullopt: it serves no plain HTTP.
  std::optional<SocketAddr> http_addr() const {
    return http_tcp_ ? std::optional(http_tcp_->local_addr()) : std::nullopt;
  }
  // nullopt: it takes no tunnels.
  std::optional<SocketAddr> udp_addr() const {
    return endpoint_ ? std::optional(endpoint_->local_addr()) : std::nullopt;
  }
  net::EventLoop& loop() { return loop_; }
  unsigned index() const { return context_.index; }
  tunnel::PumpCounters moved() const { return carrier_.moved(); }  // from any thread
  const WorkerTraffic& traffic() const { return traffic_; }        // read() and size() are for any thread

  // Serves until the end of shutdown(), as long as the loop is run; then calls `on_end` there and
  // stops the loop.
  void start(std::function<void()> on_end);

  // From any thread.
  void update_routes(RouteUpdate update);
  void declare_again(Duration spread);
  void adopt(PublicConnection connection) override;
  void drop_pending(uint64_t id) override;
  void tell_agents(tunnel::PortState state) override;
  void carry_udp(UdpBatch batch, UdpTransit::Part part) override;
  void return_udp(UdpBatch batch, UdpTransit::Part part) override;
  void tunnel_changed(uint64_t generation, bool has_ended) override;
  void tunnel_came() override;
  // Of one worker: the origins beside the edge, which it watches for all.
  void watch_origins(std::vector<StaticOriginPtr> origins);
  void origin_observed(StaticOriginPtr origin, std::optional<origin::OriginFault> fault);
  // Accepts nothing more, tells the agents, and ends when what is open has ended, at latest after the
  // configured drain timeout.
  void shutdown();
  void skip_drain();
  // Another process accepts now: as shutdown(), but what is open may go on for `patience`, which shutdown()
  // shortens.
  void hand_over(Duration patience);

  // The series of this thread, on it.
  Metrics report() const;

 private:
  Worker(Shared& shared, unsigned index);

  void watch_overload();
  void watch_traffic();
  void take_routes(const RouteUpdate& update);
  net::Task<> drain(bool is_handed_over);
  void end();

  // Coroutines that a forced end left behind die with the loop: above it is what they may touch then.
  Admission admission_;
  std::vector<uint8_t> scratch_;
  net::EventLoop loop_;

  Refusals refusals_;
  RouteFeed routes_;
  net::Notify tunnel_came_;
  WorkerTraffic traffic_;
  WorkerContext context_;
  Tunnels tunnels_;
  Carrier carrier_;
  PublicListener listener_;
  SniListener sni_;
  UdpCarrier udp_carrier_;
  PortListeners ports_;
  HttpListener http_;
  std::shared_ptr<net::TcpListener> tcp_;
  std::shared_ptr<net::TcpListener> http_tcp_;    // nullptr: no plain HTTP, or another worker has it
  std::unique_ptr<endpoint::Endpoint> endpoint_;  // nullptr: it takes no tunnels
  net::Notify drain_skipped_;
  net::Timer last_wait_;
  net::Timer overload_timer_;
  net::Timer traffic_timer_;
  std::function<void()> on_end_;
  bool skip_drain_ = false;
  bool is_ending_ = false;                   // all that was open is closed
  TimePoint drained_by_ = TimePoint::max();  // while it drains
  net::TaskGroup tasks_;
  net::TaskGroup closing_;
  OriginWatch origin_watch_;
};

}  // namespace culvert::edge
