#include "edge/edge.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "endpoint/endpoint.h"
#include "net/bind.h"
#include "tunnel/protocol.h"

namespace culvert::edge {
namespace {

constexpr uint16_t kHttpsPort = 443;

}  // namespace

SocketAddr public_address(const Options& options) {
  return options.tcp_listen ? *options.tcp_listen : net::every_address(kHttpsPort);
}

SocketAddr tunnel_address(const Options& options) {
  return options.udp_listen ? *options.udp_listen : public_address(options);
}

Result<std::unique_ptr<Edge>> Edge::bind(Config config, std::shared_ptr<tls::Certificates> certificates,
                                         net::Platform& platform) {
  CHECK(config.options.workers > 0);
  Options& chosen = config.options;
  chosen.tcp_listen = public_address(chosen);
  chosen.udp_listen = tunnel_address(chosen);
  std::unique_ptr<Edge> edge(new Edge(std::move(config), std::move(certificates), platform));
  auto recording = edge->shared_.access_log.open(edge->shared_.config.options.access_log);
  if (!recording) return std::unexpected(recording.error());
  Options& bound = edge->shared_.config.options;
  for (unsigned index = 0; index < bound.workers; ++index) {
    auto worker = Worker::bind(edge->shared_, index);
    if (!worker) return std::unexpected(worker.error());
    bound.tcp_listen = (*worker)->tcp_addr();
    if (const auto udp = (*worker)->udp_addr()) bound.udp_listen = *udp;
    edge->shared_.workers.push_back(worker->get());
    edge->workers_.push_back(std::move(*worker));
  }
  if (!bound.routes.empty()) edge->set_static_routes(bound.routes);
  return edge;
}

Edge::Edge(Config config, std::shared_ptr<tls::Certificates> certificates, net::Platform& platform)
    : shared_(std::move(config), std::move(certificates), platform) {}

Edge::~Edge() {
  stop();
  stop();
  join();
}

void Edge::set_names(std::unordered_set<std::string> hub_names, std::string public_addr) {
  CHECK(threads_.empty());
  shared_.config.hub_names = std::move(hub_names);
  shared_.config.public_addr = std::move(public_addr);
}

void Edge::reconfigure(const Options& wanted) {
  shared_.options.change(wanted);
  // Also when it is the same: it may have been renamed.
  auto recording = shared_.access_log.open(wanted.access_log);
  if (!recording) {
    log_error("access_log_failed", "reason={} meaning={}", culvert::quoted(recording.error().message),
              culvert::quoted("access records go where they went before"));
  }
  const auto now = shared_.options.get();
  shared_.unserved.set_limits(unserved_limits(*now));
  shared_.sources.set_limits(source_limits(*now));
  shared_.tenants.set_limits(tenant_limits(*now));
  shared_.flows.set_limits(flow_limits(*now));
  set_static_routes(wanted.routes);
}

void Edge::start(ControlPlane control) {
  CHECK(threads_.empty());
  shared_.control = std::move(control);
  shared_.origin_observed = [watcher = workers_.front().get()](StaticOriginPtr origin,
                                                               std::optional<origin::OriginFault> fault) {
    watcher->origin_observed(std::move(origin), std::move(fault));
  };
  running_ = workers_.size();
  shared_.agents_expected_until = shared_.platform.now() + shared_.config.agents_grace;
  for (const auto& worker : workers_) {
    worker->start([this] {
      if (--running_ == 0) shared_.control.stopped();
    });
    if (!shared_.platform.runs_loops()) threads_.emplace_back([&loop = worker->loop()] { loop.run(); });
  }
}

Result<> Edge::apply_routes(const route::Delta& changes) {
  auto given = given_->apply(changes);
  if (!given) return std::unexpected(given.error());
  given_ = std::move(*given);
  for (const route::Route& changed : changes.upserts) tell_of_conflict(changed);
  route::Delta own = without_static(changes);
  auto routes = routes_->apply(own);
  CHECK(routes);  // it has the version of the given ones
  update_routes(std::move(*routes), std::move(own));
  return {};
}

void Edge::replace_routes(route::SnapshotPtr routes) {
  given_ = std::move(routes);
  for (const route::Route& each : static_routes_) {
    if (const route::Route* given = given_->find(each.id())) tell_of_conflict(*given);
  }
  const uint64_t version = given_->version();
  auto all = given_->apply({.from = version, .to = version, .upserts = static_routes_, .removals = {}});
  route::Delta changes = routes_->changes_to(**all);
  update_routes(std::move(*all), std::move(changes));
}

const route::Route* Edge::static_route(std::string_view match) const {
  const auto found = std::ranges::find_if(
      static_routes_, [&](const route::Route& route) { return route.match.text() == match; });
  return found == static_routes_.end() ? nullptr : &*found;
}

route::Delta Edge::without_static(const route::Delta& changes) const {
  if (static_routes_.empty()) return changes;
  route::Delta own{.from = changes.from, .to = changes.to, .upserts = {}, .removals = {}};
  for (const route::Route& changed : changes.upserts) {
    if (static_route(changed.match.text()) == nullptr) own.upserts.push_back(changed);
  }
  for (const route::RouteId& removed : changes.removals) {
    if (static_route(removed.text()) == nullptr) own.removals.push_back(removed);
  }
  return own;
}

// Once for each name: what tenants declare must not fill the log.
void Edge::tell_of_conflict(const route::Route& given) {
  const std::string& name = given.match.text();
  if (given.targets.empty() || static_route(name) == nullptr || !conflicts_.insert(name).second) return;
  log_warn(
      "static_route_conflict", "route={} tenant={} hint={}", culvert::quoted(name), given.tenant.short_text(),
      culvert::quoted("the static route serves it; take the route out, or the tenant's grant of this name"));
}

void Edge::set_static_routes(const std::vector<StaticRoute>& routes) {
  if (routes == configured_) return;
  configured_ = routes;
  std::vector<StaticOriginPtr> origins = origins_of(routes);
  shared_.tunnels.set_origins(origins, shared_.platform.now());
  workers_.front()->watch_origins(std::move(origins));
  static_routes_ = routes_of(routes, shared_.config.key.public_key());
  replace_routes(given_);
}

void Edge::update_routes(route::SnapshotPtr routes, route::Delta changes) {
  routes_ = std::move(routes);
  const RouteUpdate update{++route_updates_, routes_,
                           std::make_shared<const route::Delta>(std::move(changes)),
                           std::make_shared<std::atomic<unsigned>>(workers())};
  for (const auto& worker : workers_) worker->update_routes(update);
}

void Edge::declare_again(Duration spread) {
  for (const auto& worker : workers_) worker->declare_again(spread);
}

void Edge::ask_workers(const std::function<void(unsigned, Metrics)>& reply) {
  for (const auto& worker : workers_) {
    worker->loop().post([each = worker.get(), reply] { reply(each->index(), each->report()); });
  }
}

std::vector<route::TrafficRow> Edge::traffic() const {
  std::vector<route::TrafficRow> rows;
  for (const auto& worker : workers_) worker->traffic().read(rows);
  return rows;
}

tunnel::PumpCounters Edge::moved() const {
  tunnel::PumpCounters all;
  for (const auto& worker : workers_) all += worker->moved();
  return all;
}

void Edge::stop() {
  bool again = std::exchange(stopping_, true);
  for (const auto& worker : workers_) {
    if (again) {
      worker->skip_drain();
    } else {
      worker->shutdown();
    }
  }
}

void Edge::hand_over() {
  const Duration patience = shared_.options.get()->upgrade_timeout;
  for (const auto& worker : workers_) worker->hand_over(patience);
}

void Edge::join() {
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void describe_metrics(Metrics& metrics) {
  report(Counters{}, {}, metrics);
  Overload().report(metrics);
  AccessLog(net::system_platform(), "").report(metrics);
  endpoint::report_refused(tunnel::kTunnelAlpn, 0, metrics);
}

}  // namespace culvert::edge
