#include "edge/worker.h"

#include <algorithm>
#include <utility>

#include "tunnel/protocol.h"

namespace culvert::edge {
namespace {

// One for each worker, not for each connection.
constexpr size_t kScratch = 64 * 1024;
// How often a drain looks whether everything has ended.
constexpr Duration kDrainLook = std::chrono::milliseconds(50);
// After a hand-over, for agents to come to the other process before they are told that this one ends.
constexpr Duration kMoveTime = std::chrono::seconds(1);
// After everything was closed: for coroutines to notice.
constexpr Duration kLastWait = std::chrono::seconds(2);
// What a peer may send before it is welcomed: four of the largest control messages.
constexpr uint64_t kUnwelcomedWindow = 4 * tunnel::kMaxControlMessage;

// A stream's that is slowed down: of some 500 in one tunnel all fit.
constexpr uint64_t kPacedWindow = 128 * 1024;

// How often what is used is compared with what there is.
constexpr Duration kOverloadLook = std::chrono::milliseconds(100);

// How often entries of routes that are gone are looked for (WorkerTraffic::forget_gone).
constexpr Duration kTrafficLook = std::chrono::seconds(5);

// One turn of the socket brings no more of 1,200 bytes each; smaller ones share packets.
constexpr size_t kQueuedDatagrams = 4096;

}  // namespace

Result<std::unique_ptr<Worker>> Worker::bind(Shared& shared, unsigned index) {
  std::unique_ptr<Worker> worker(new Worker(shared, index));
  const Config& config = shared.config;
  const unsigned workers = config.options.workers;
  net::ListenOptions options;
  if (workers > 1) options.share = index == 0 ? net::PortShare::kFirst : net::PortShare::kSibling;
  auto tcp = net::TcpListener::listen(worker->loop_, *config.options.tcp_listen, options);
  if (!tcp) return std::unexpected(tcp.error());
  worker->tcp_ = std::move(*tcp);
  if (index == 0 && config.options.http_listen) {
    auto http = net::TcpListener::listen(worker->loop_, *config.options.http_listen, {});
    if (!http) return fail(http.error().code, "plain HTTP: {}", http.error().message);
    worker->http_tcp_ = std::move(*http);
  }
  if (!config.takes_tunnels) return worker;

  quic::Limits limits;
  // An agent opens one stream, for control; unauthenticated peers get no more to fill. Its datagrams count
  // once it is welcomed.
  limits.max_streams_bidi = 4;
  limits.max_streams_uni = 0;
  limits.max_queued_datagrams = kQueuedDatagrams;
  limits.watch_silence = true;
  // What waits for its turn is kept, and too much of that ends connections.
  if (has_bandwidth_limit(config.options))
    limits.max_stream_window = limits.initial_stream_window = kPacedWindow;
  // Until it is welcomed: any peer with a key gets so far.
  limits.unadmitted_window = kUnwelcomedWindow;
  auto endpoint =
      endpoint::Endpoint::bind(worker->loop_, {.key = config.key,
                                               .bind = *config.options.udp_listen,
                                               .protocols = {{.alpn = tunnel::kTunnelAlpn, .limits = limits}},
                                               .worker = index,
                                               .workers = workers,
                                               .generation = config.generation});
  if (!endpoint) return std::unexpected(endpoint.error());
  worker->endpoint_ = std::move(*endpoint);
  return worker;
}

Worker::Worker(Shared& shared, unsigned index)
    : admission_(shared, index, loop_, refusals_),
      scratch_(kScratch),
      loop_(shared.platform),
      refusals_(loop_, shared.counters),
      routes_(loop_),
      tunnel_came_(loop_),
      context_{shared,
               index,
               loop_,
               tasks_,
               refusals_,
               routes_,
               shared.access_log,
               [this](const UdpBatch& replies) { ports_.take(replies); },
               tunnel_came_,
               traffic_},
      tunnels_(context_),
      carrier_(context_, tunnels_, admission_, scratch_),
      listener_(context_, admission_),
      sni_(context_, carrier_),
      udp_carrier_(context_, tunnels_),
      ports_(context_, listener_, carrier_, udp_carrier_),
      http_(context_, carrier_),
      drain_skipped_(loop_),
      last_wait_(loop_),
      overload_timer_(loop_),
      traffic_timer_(loop_),
      tasks_(loop_),
      closing_(loop_),
      origin_watch_(shared, loop_, tasks_) {}

Worker::~Worker() = default;

void Worker::start(std::function<void()> on_end) {
  on_end_ = std::move(on_end);
  tasks_.spawn(listener_.accept(tcp_, [this](PublicConnection connection, Bytes begun) {
    return sni_.serve(std::move(connection), std::move(begun));
  }));
  if (http_tcp_) {
    tasks_.spawn(listener_.accept(http_tcp_, [this](PublicConnection connection, Bytes begun) {
      return http_.serve(std::move(connection), std::move(begun));
    }));
  }
  if (context_.index == 0) watch_overload();
  watch_traffic();
  if (!endpoint_) return;
  tasks_.spawn(tunnels_.accept(*endpoint_));
  tunnels_.watch();
}

void Worker::watch_overload() {
  context_.shared.watch_overload();
  overload_timer_.after(kOverloadLook, [this] { watch_overload(); });
}

void Worker::watch_traffic() {
  traffic_.forget_gone(routes_.current(), loop_.now());
  traffic_timer_.after(kTrafficLook, [this] { watch_traffic(); });
}

void Worker::update_routes(RouteUpdate update) {
  loop_.post([this, update = std::move(update)] { take_routes(update); });
}

void Worker::take_routes(const RouteUpdate& update) {
  const route::SnapshotPtr before = routes_.take(update);
  tunnels_.close_unserved(*before, *update.changes);
  context_.shared.follow_own_limits(*update.changes);
  carrier_.recheck(*update.changes);
  udp_carrier_.recheck(*update.changes);
  ports_.follow(*update.changes);
  tunnels_.tell_of_ports(*update.changes);
  if (--*update.workers_left == 0) context_.shared.tunnels.forget(*update.changes);
}

void Worker::declare_again(Duration spread) {
  loop_.post([this, spread] { tunnels_.send_declare_again(spread); });
}

void Worker::adopt(PublicConnection connection) {
  loop_.post(
      [this, moved = std::move(connection)]() mutable { tasks_.spawn(carrier_.adopt(std::move(moved))); });
}

void Worker::drop_pending(uint64_t id) {
  loop_.post([this, id] { admission_.drop(id); });
}

void Worker::tell_agents(tunnel::PortState state) {
  loop_.post([this, state = std::move(state)] { tunnels_.tell(state); });
}

void Worker::carry_udp(UdpBatch batch, UdpTransit::Part part) {
  loop_.post([this, batch = std::move(batch), part = std::move(part)] { udp_carrier_.send(batch); });
}

void Worker::return_udp(UdpBatch batch, UdpTransit::Part part) {
  loop_.post([this, batch = std::move(batch), part = std::move(part)] { ports_.take(batch); });
}

void Worker::tunnel_changed(uint64_t generation, bool has_ended) {
  loop_.post([this, generation, has_ended] {
    ports_.tunnel_changed(generation, has_ended);
    if (has_ended) udp_carrier_.tunnel_ended(generation);
  });
}

void Worker::tunnel_came() {
  loop_.post([this] { tunnel_came_.notify(); });
}

void Worker::watch_origins(std::vector<StaticOriginPtr> origins) {
  loop_.post([this, origins = std::move(origins)] {
    if (!is_ending_) origin_watch_.follow(origins);
  });
}

void Worker::origin_observed(StaticOriginPtr origin, std::optional<origin::OriginFault> fault) {
  loop_.post([this, origin = std::move(origin), fault = std::move(fault)]() mutable {
    origin_watch_.observed(origin, std::move(fault));
  });
}

void Worker::shutdown() {
  loop_.post([this] {
    drained_by_ = std::min(drained_by_, loop_.now() + context_.shared.options.get()->drain_timeout);
    if (std::exchange(context_.draining, true)) return http_.close();
    closing_.spawn(drain(false));
  });
}

void Worker::hand_over(Duration patience) {
  loop_.post([this, patience] {
    if (std::exchange(context_.draining, true)) return;
    drained_by_ = loop_.now() + patience;
    closing_.spawn(drain(true));
  });
}

void Worker::skip_drain() {
  loop_.post([this] {
    skip_drain_ = true;
    drain_skipped_.notify();
  });
}

net::Task<> Worker::drain(bool is_handed_over) {
  const TimePoint not_before = is_handed_over ? loop_.now() + kMoveTime : loop_.now();
  tcp_->close();
  ports_.drain();
  if (http_tcp_) http_tcp_->close();
  if (!is_handed_over) http_.close();
  sni_.drain();
  tunnels_.send_drain();
  const auto is_busy = [this, not_before] {
    return tunnels_.connections() > 0 || carrier_.local_connections() > 0 || !admission_.empty() ||
           sni_.unasked() > 0 || loop_.now() < not_before ||
           context_.shared.predecessors.load(std::memory_order_relaxed) > 0;
  };
  while (is_busy() && !skip_drain_ && loop_.now() < drained_by_) {
    co_await drain_skipped_.wait_until(std::min(drained_by_, loop_.now() + kDrainLook));
  }
  http_.close();
  admission_.drop_all();
  ports_.close();
  if (endpoint_) endpoint_->close(tunnel::kCloseDraining, "the edge has shut down");
  carrier_.cut_local();
  is_ending_ = true;
  origin_watch_.stop();
  last_wait_.after(kLastWait, [this] { end(); });
  co_await tasks_.join();
  end();
}

void Worker::end() {
  last_wait_.cancel();
  overload_timer_.cancel();
  traffic_timer_.cancel();
  loop_.stop();
  if (auto on_end = std::exchange(on_end_, nullptr)) on_end();
}

Metrics Worker::report() const {
  Metrics metrics;
  if (endpoint_) endpoint_->report(metrics);
  return metrics;
}

}  // namespace culvert::edge
