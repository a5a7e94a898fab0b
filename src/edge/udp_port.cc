#include "edge/udp_port.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "base/text.h"

namespace culvert::edge {
namespace {

// How often flows that are idle are looked for.
constexpr Duration kIdleLook = std::chrono::milliseconds(500);

}  // namespace

Result<std::unique_ptr<UdpPort>> UdpPort::bind(WorkerContext& context, UdpCarrier& carrier,
                                               const route::PublicPort& port, const SocketAddr& address) {
  auto socket = net::bind_udp(context.loop, address, {.fragments = true});
  if (!socket) return std::unexpected(socket.error());
  std::unique_ptr<UdpPort> made(new UdpPort(context, carrier, port));
  made->socket_ = std::move(*socket);
  made->socket_->start(
      [self = made.get()](const net::ReceivedDatagram& datagram) { self->receive(datagram); },
      [self = made.get()] { self->send_batches(); });
  made->watch_idle();
  return made;
}

UdpPort::UdpPort(WorkerContext& context, UdpCarrier& carrier, const route::PublicPort& port)
    : context_(context),
      carrier_(carrier),
      port_(port),
      by_place_(0, PlaceHash{context.loop.random().u64()}),
      idle_timer_(context.loop) {}

size_t UdpPort::PlaceHash::operator()(const Place& place) const {
  std::array<char, sizeof key + 2 * 16 + sizeof(uint16_t)> bytes{};
  char* at = bytes.data();
  const auto add = [&](const void* from, size_t size) {
    at = static_cast<char*>(std::memcpy(at, from, size)) + size;
  };
  const uint16_t port = place.client.port();
  add(&key, sizeof key);
  add(place.client.ip().data(), place.client.ip().size());
  add(place.edge.ip().data(), place.edge.ip().size());
  add(&port, sizeof port);
  return std::hash<std::string_view>()({bytes.data(), static_cast<size_t>(at - bytes.data())});
}

UdpPort::~UdpPort() {
  end_all(End::kClosed);
  socket_->close();
}

// nullptr: nobody may use it now.
const route::Route* UdpPort::find_route() const {
  const route::Route* route = context_.routes.current().match(port_);
  if (route == nullptr || route->is_suspended) return nullptr;
  const bool is_told = context_.shared.hub_is_heard.load(std::memory_order_relaxed);
  return is_told || !route->is_over(context_.loop.unix_now()) ? route : nullptr;
}

void UdpPort::drop(Counters::Count& counter, std::string_view reason, const SocketAddr& client) {
  count(counter);
  if (!drop_lines_.allow(context_.loop.now())) return;
  log_info("datagrams_dropped", "port={} client={} reason={} suppressed={}", port_.text(), client.to_string(),
           reason, drop_lines_.take_refused());
}

void UdpPort::receive(const net::ReceivedDatagram& datagram) {
  Counters& counters = context_.shared.counters;
  const TimePoint now = context_.loop.now();
  if (!route_) route_ = find_route();
  const route::Route* served = *route_;
  if (served == nullptr) return drop(counters.udp_dropped_suspended, "suspended", datagram.remote);
  const Place place{datagram.remote, datagram.local};
  const auto known = by_place_.find(place);
  Flows::Entry* entry = known != by_place_.end() ? flows_.find(known->second) : begin(*served, place, now);
  if (entry == nullptr) return;
  Flow& flow = entry->flow;
  if (!find_agent(flow, *served, now)) return drop(counters.udp_dropped_no_agent, "no_agent", place.client);
  if (!may_move(flow, datagram.data.size(), now))
    return drop(counters.udp_dropped_bandwidth, "bandwidth", place.client);

  flows_.use(*entry, tunnel::FlowDirection::kToOrigin, now);
  flow.bytes_to_origin += datagram.data.size();
  flow.traffic.moved().add_to_stream(datagram.data.size());
  Via& via = *flow.via;
  if (!via.batch) {
    via.batch = std::make_unique<UdpBatch>(port_, via.agent, via.generation);
    touched_.push_back(flow.via);
  }
  tunnel::UdpDatagram out{.flow = entry->id, .payload = datagram.data};
  if (!flow.is_known) out.client = tunnel::UdpClient{place.client, place.edge};
  via.batch->add(out);
}

void UdpPort::send_batches() {
  route_.reset();
  for (const ViaPtr& via : std::exchange(touched_, {})) {
    const std::unique_ptr<UdpBatch> batch = std::move(via->batch);
    if (via->worker == context_.index) {
      carrier_.send(*batch);
    } else if (auto part = transit_.take(batch->bytes())) {
      context_.shared.workers[via->worker]->carry_udp(std::move(*batch), std::move(*part));
    } else {
      count(context_.shared.counters.udp_dropped_worker_behind, batch->size());
    }
  }
}

// nullptr: none may begin.
UdpPort::Flows::Entry* UdpPort::begin(const route::Route& served, const Place& place, TimePoint now) {
  Shared& shared = context_.shared;
  if (is_of_the_edge(place) || place.client.port() == 0) {
    drop(shared.counters.udp_dropped_spoofed, "spoofed", place.client);
    return nullptr;
  }
  if (is_draining_) {
    drop(shared.counters.udp_dropped_no_agent, "draining", place.client);
    return nullptr;
  }
  const TenantPlaces::Terms terms{.own = own_flows(served.own_limits)};
  auto place_of_tenant = shared.flows.take(served.tenant, now, terms);
  if (!place_of_tenant && place_of_tenant.error() == TenantPlaces::Refusal::kRate) {
    drop(shared.counters.udp_dropped_rate, "too_many_new_flows", place.client);
    return nullptr;
  }
  if (!place_of_tenant && evict()) place_of_tenant = shared.flows.take(served.tenant, now, terms);
  if (!place_of_tenant) {
    drop(shared.counters.udp_dropped_full, "too_many_flows", place.client);
    return nullptr;
  }
  auto pick = shared.tunnels.pick(served, context_.index, now);
  if (!pick) {
    drop(shared.counters.udp_dropped_no_agent, "no_agent", place.client);
    return nullptr;
  }
  if (flows_.size() >= shared.options.get()->max_udp_flows_per_port) (void)evict();
  const uint64_t id = next_flow_++;
  by_place_.emplace(place, id);
  count(shared.counters.udp_flows);
  count(shared.counters.udp_flows_active);
  Flow flow{.place = place,
            .tenant = served.tenant,
            .via = via_of(*pick),
            .load = std::move(pick->load),
            .place_of_tenant = std::move(*place_of_tenant),
            .traffic = context_.traffic.begin(served, pick->target, now),
            .began = now};
  return &flows_.add(id, std::move(flow), now);
}

// Answers to such a datagram would come back as one of a client: for ever, where both ends answer everything.
bool UdpPort::is_of_the_edge(const Place& place) const {
  return std::ranges::equal(place.client.ip(), place.edge.ip()) &&
         context_.routes.current().match({route::PortProtocol::kUdp, place.client.port()}) != nullptr;
}

// False: the tenant or the edge has moved as many bytes as it may.
bool UdpPort::may_move(const Flow& flow, size_t bytes, TimePoint now) {
  tunnel::ByteBudget& of_tenant = flow.place_of_tenant.bytes();
  tunnel::ByteBudget& of_all = context_.shared.udp_bandwidth;
  if (std::max(of_tenant.debt(now), of_all.debt(now)) > Duration::zero()) return false;
  (void)of_tenant.charge(bytes, now);
  (void)of_all.charge(bytes, now);
  return true;
}

// False: there is none to evict.
bool UdpPort::evict() {
  auto victim = flows_.take_victim();
  if (!victim) return false;
  ended(std::move(*victim), End::kEvicted);
  return true;
}

// False: there is none. A flow keeps its agent: another does not know what was said before.
bool UdpPort::find_agent(Flow& flow, const route::Route& served, TimePoint now) {
  const bool is_served = !flow.via->is_gone;
  if (is_served && (!flow.via->is_draining || std::exchange(flow.has_looked, true))) return true;
  auto pick = context_.shared.tunnels.pick(served, context_.index, now);
  if (!pick) return is_served;
  count(context_.shared.counters.udp_flows_moved);
  flow.via = via_of(*pick);
  flow.load = std::move(pick->load);
  flow.traffic = context_.traffic.begin(served, pick->target, now);
  flow.is_known = false;
  flow.has_looked = false;
  return true;
}

UdpPort::ViaPtr UdpPort::via_of(const TunnelRegistry::Pick& pick) {
  ViaPtr& via = vias_[pick.generation];
  if (!via) via = std::make_shared<Via>(pick.agent(), pick.worker, pick.generation);
  return via;
}

void UdpPort::leave(Via& via) {
  via.is_gone = true;
  vias_.erase(via.generation);
}

void UdpPort::tunnel_drains(uint64_t generation) {
  const auto found = vias_.find(generation);
  if (found != vias_.end()) found->second->is_draining = true;
}

void UdpPort::tunnel_ended(uint64_t generation) {
  const auto found = vias_.find(generation);
  if (found == vias_.end()) return;
  const ViaPtr via = found->second;
  leave(*via);
}

void UdpPort::follow() {
  const route::Route* served = context_.routes.current().match(port_);
  if (served == nullptr || served->is_suspended) return end_all(End::kUnrouted);
  const auto vias = vias_;
  for (const auto& [generation, via] : vias) {
    if (!served->leads_to(via->agent)) leave(*via);
  }
  std::vector<uint64_t> of_others;
  for (const auto& [place, id] : by_place_) {
    if (flows_.find(id)->flow.tenant != served->tenant) of_others.push_back(id);
  }
  for (const uint64_t id : of_others) ended(std::move(*flows_.take(id)), End::kUnrouted);
}

void UdpPort::take(const UdpBatch& replies) {
  Counters& counters = context_.shared.counters;
  const TimePoint now = context_.loop.now();
  uint64_t sent = 0, bytes = 0, unknown = 0, over_bandwidth = 0;
  replies.for_each([&](const UdpBatch::Item& item, ByteView payload) {
    Flows::Entry* entry = flows_.find(item.flow);
    // One agent must not answer the clients of another.
    if (entry == nullptr || entry->flow.via->generation != replies.generation) {
      ++unknown;
      return;
    }
    Flow& flow = entry->flow;
    flow.is_known = !item.is_forgotten;
    if (item.is_forgotten) return;
    flows_.use(*entry, tunnel::FlowDirection::kToClient, now);
    if (!may_move(flow, payload.size(), now)) {
      ++over_bandwidth;
      return;
    }
    flow.bytes_to_client += payload.size();
    flow.traffic.moved().add_to_socket(payload.size());
    sender_.send(*socket_, payload, flow.place.client, flow.place.edge);
    ++sent;
    bytes += payload.size();
  });
  sender_.flush();
  const uint64_t not_sent = sender_.take_dropped();
  count(counters.udp_datagrams_to_client, sent - not_sent);
  count(counters.udp_bytes_to_client, bytes);
  if (over_bandwidth > 0) count(counters.udp_dropped_bandwidth, over_bandwidth);
  if (not_sent > 0) count(counters.udp_dropped_not_sent, not_sent);
  if (unknown > 0) count(counters.udp_dropped_unknown_flow, unknown);
}

void UdpPort::ended(Flows::Entry entry, End end) {
  Counters& counters = context_.shared.counters;
  by_place_.erase(entry.flow.place);
  counters.udp_flows_active.fetch_sub(1, std::memory_order_relaxed);
  if (end == End::kEvicted) count(counters.udp_flows_evicted);
  // Nobody answered: what a flood consists of has no line each.
  const bool is_worth_a_line = entry.to_client > 0;
  if (!is_worth_a_line || !context_.access_log.is_on()) return;
  constexpr std::string_view kReasons[] = {"idle", "evicted", "unrouted", "closed"};
  context_.access_log.flow_ended({.port = port_,
                                  .client = entry.flow.place.client,
                                  .tenant = entry.flow.tenant,
                                  .agent = entry.flow.via->agent,
                                  .datagrams_in = entry.to_origin,
                                  .datagrams_out = entry.to_client,
                                  .bytes_in = entry.flow.bytes_to_origin,
                                  .bytes_out = entry.flow.bytes_to_client,
                                  .duration = entry.used - entry.flow.began,
                                  .reason = kReasons[static_cast<size_t>(end)]});
}

void UdpPort::end_all(End end) {
  while (auto entry = flows_.take_victim()) ended(std::move(*entry), end);
}

void UdpPort::watch_idle() {
  idle_timer_.after(kIdleLook, [this] { watch_idle(); });
  const TimePoint unused_since = context_.loop.now() - context_.shared.options.get()->udp_idle_timeout;
  while (auto entry = flows_.take_unused(unused_since)) ended(std::move(*entry), End::kIdle);
}

}  // namespace culvert::edge
