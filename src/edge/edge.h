#pragma once
#include <atomic>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "edge/shared.h"
#include "edge/worker.h"
#include "route/snapshot.h"

namespace culvert::edge {

// Where an edge with these options listens: what they leave open is every address of this host.
SocketAddr public_address(const Options& options);
SocketAddr tunnel_address(const Options& options);

// The public's way in and the agents' tunnels: some workers, each a thread. Safe to use from one control
// thread.
class Edge {
 public:
  // Binds every socket. Ports given as 0 are chosen once and shared by the workers.
  static Result<std::unique_ptr<Edge>> bind(Config config, std::shared_ptr<tls::Certificates> certificates,
                                            net::Platform& platform = net::system_platform());
  // Ends what still runs without a drain.
  ~Edge();
  Edge(const Edge&) = delete;

  SocketAddr tcp_addr() const { return *shared_.config.options.tcp_listen; }
  // nullopt: it serves no plain HTTP.
  std::optional<SocketAddr> http_addr() const { return workers_.front()->http_addr(); }
  SocketAddr udp_addr() const { return *shared_.config.options.udp_listen; }
  unsigned workers() const { return shared_.config.options.workers; }
  // Each worker that runs reports the series of its thread; `reply` is called there.
  void ask_workers(const std::function<void(unsigned worker, Metrics)>& reply);
  const Counters& counters() const { return shared_.counters; }
  // What each worker moves now and has moved, by route, tenant and target: to be summed.
  std::vector<route::TrafficRow> traffic() const;
  // Bytes of all streams so far, also of those that are open.
  tunnel::PumpCounters moved() const;
  // The series that need no answer of a worker.
  void report(Metrics& metrics) const {
    edge::report(counters(), moved(), metrics);
    shared_.overload.report(metrics);
    shared_.access_log.report(metrics);
  }
  const AccessLog& access_log() const { return shared_.access_log; }
  OverloadState overload_state() const { return shared_.overload.state(); }
  // Overload::fault()
  std::string overload_fault() const { return shared_.overload.fault(); }
  // The ports of routes that cannot be bound now.
  PortFaults::Map port_faults() const { return shared_.port_faults.all(); }
  // Before start(): both follow from the addresses that were bound.
  void set_names(std::unordered_set<std::string> hub_names, std::string public_addr);

  // On a thread for each worker, unless the platform runs the loops.
  void start(ControlPlane control);
  // A worker cuts the connections that this takes from their agents, and looks at no others than those of the
  // changed routes. Error: kConflict, the change is one of other routes than the edge has; replace them.
  Result<> apply_routes(const route::Delta& changes);
  void replace_routes(route::SnapshotPtr routes);
  // What is left of a change of the given routes: without those that static routes take the place of.
  route::Delta without_static(const route::Delta& changes) const;
  std::vector<route::TunnelState> tunnels() const { return shared_.tunnels.tunnels(shared_.platform.now()); }
  // Whether each origin beside the edge works, as far as is known.
  std::vector<TunnelRegistry::OriginState> origins() const { return shared_.tunnels.origins(); }
  // The given ones, and static routes (Options::routes) in place of those with the same match.
  const route::SnapshotPtr& routes() const { return routes_; }
  // Of an edge whose hub is elsewhere; any thread. While it is not heard, routes end by the clock of the
  // edge.
  void set_hub_is_heard(bool is_heard) { shared_.hub_is_heard.store(is_heard, std::memory_order_relaxed); }
  // Tells every agent that has a tunnel here to declare again, at a moment of its own within `spread`.
  void declare_again(Duration spread);
  // Takes over those of `wanted` that may change while the edge runs (LiveOptions, static routes); on the
  // control thread. Connections that are there keep what they have, unless their static route is gone.
  void reconfigure(const Options& wanted);
  // Drains and ends; `stopped` of the control plane is called when every worker has. A second call skips the
  // drain.
  void stop();
  // Another process has the sockets now and takes what comes. Drains and ends as by stop(), but in the time
  // of Options::upgrade_timeout; stop() shortens that.
  void hand_over();
  // Clients that wait for agents that are expected here.
  size_t waiting_clients() const { return shared_.waiting_clients; }
  // Processes that were handed over to this one and still drain; any thread.
  void set_predecessors(size_t count) { shared_.predecessors.store(count, std::memory_order_relaxed); }
  // Waits for the threads.
  void join();

 private:
  Edge(Config config, std::shared_ptr<tls::Certificates> certificates, net::Platform& platform);
  void update_routes(route::SnapshotPtr routes, route::Delta changes);
  void set_static_routes(const std::vector<StaticRoute>& routes);
  const route::Route* static_route(std::string_view match) const;
  void tell_of_conflict(const route::Route& given);

  Shared shared_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
  std::atomic<size_t> running_{0};
  route::SnapshotPtr given_ =
      std::make_shared<const route::Snapshot>();  // by apply_routes and replace_routes
  std::vector<StaticRoute> configured_;
  std::vector<route::Route> static_routes_;  // of these
  std::set<std::string> conflicts_;          // names that were given as well, as logged
  route::SnapshotPtr routes_ = std::make_shared<const route::Snapshot>();
  uint64_t route_updates_ = 0;
  bool stopping_ = false;
};

// The series that an edge and its endpoint have, without values.
void describe_metrics(Metrics& metrics);

}  // namespace culvert::edge
