#include "agent/udp_server.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "net/resolver.h"
#include "tunnel/protocol.h"
#include "wire/proxy_protocol.h"

namespace culvert::agent {
namespace {

// How often flows that are idle are looked for.
constexpr Duration kIdleLook = std::chrono::milliseconds(500);
// What a flow may have while its origin's name is resolved: a few datagrams of a handshake, or a long one.
constexpr size_t kMaxWaiting = 8;
constexpr size_t kMaxWaitingBytes = 64 * 1024;
constexpr size_t kMaxWaitingOfAll = 4 * 1024 * 1024;
// "Forgotten" costs the edge an address in one more datagram; a flood of them would cost more.
constexpr uint32_t kForgottenBurst = 100;
constexpr Duration kForgottenInterval = std::chrono::milliseconds(10);

Result<Bytes> proxy_header(const tunnel::UdpClient& client, uint16_t port) {
  return wire::encode_proxy_v2(
      {.source = client.client, .destination = client.edge.with_port(port), .tlvs = {}},
      wire::ProxyTransport::kDatagram);
}

}  // namespace

class UdpServer::Channel final : public tunnel::UdpChannel::Owner {
 public:
  Channel(UdpServer& server, std::shared_ptr<tunnel::UdpChannels> channels, endpoint::StreamPtr stream,
          const tunnel::StreamHeader& header)
      : server_(server),
        channels_(std::move(channels)),
        service_(header.authority),
        port_(header.public_addr.port()),
        channel_(*channels_, std::move(stream), tunnel::UdpChannel::Side::kAgent, *this) {}

  void start(ByteView begun) { channel_.start(begun); }
  const std::string& service() const { return service_; }
  uint16_t port() const { return port_; }
  tunnel::UdpChannel& out() { return channel_; }
  std::unordered_map<uint64_t, uint64_t>& flows() { return flows_; }
  void forgot(uint64_t flow) {
    if (forgotten_.allow(server_.loop_.now())) channel_.send_forgotten(flow);
  }

  void on_datagram(const tunnel::UdpDatagram& datagram) override { server_.receive(*this, datagram); }
  void on_forgotten(uint64_t) override {}  // an edge says none
  void on_batch_end() override { server_.flush(); }
  void on_ended() override { server_.end_channel(*this); }

 private:
  UdpServer& server_;
  const std::shared_ptr<tunnel::UdpChannels> channels_;
  const std::string service_;
  const uint16_t port_;                           // of the edge
  std::unordered_map<uint64_t, uint64_t> flows_;  // number in the channel to id in the table
  RateLimit forgotten_{kForgottenBurst, kForgottenInterval};
  tunnel::UdpChannel channel_;
};

UdpServer::UdpServer(net::EventLoop& loop, const Config& config, Counters& counters, net::TaskGroup& tasks)
    : loop_(loop),
      config_(config),
      counters_(counters),
      tasks_(tasks),
      table_(config.services),
      idle_timer_(loop) {}

UdpServer::~UdpServer() = default;

void UdpServer::serve(std::shared_ptr<tunnel::UdpChannels> channels, endpoint::StreamPtr stream,
                      const tunnel::StreamHeader& header, ByteView begun) {
  channels_.push_back(std::make_unique<Channel>(*this, std::move(channels), std::move(stream), header));
  if (channels_.size() == 1) watch_idle();
  channels_.back()->start(begun);
}

void UdpServer::receive(Channel& channel, const tunnel::UdpDatagram& datagram) {
  const auto known = channel.flows().find(datagram.flow);
  Flows::Entry* entry =
      known != channel.flows().end() ? flows_.find(known->second) : begin(channel, datagram);
  if (entry == nullptr) return;
  flows_.use(*entry, tunnel::FlowDirection::kToOrigin, loop_.now());
  Flow& flow = entry->flow;
  // An origin that refuses leaves it to the next one.
  const bool is_kept = !flow.socket || (!flow.origins.empty() && entry->to_client == 0);
  const bool is_taken = is_kept && keep(flow, datagram.payload);
  if (!flow.socket && !is_taken) ++counters_.udp_dropped_waiting;
  if (flow.socket) send(flow, datagram.payload);
}

bool UdpServer::keep(Flow& flow, ByteView payload) {
  size_t bytes = payload.size();
  for (const Bytes& each : flow.waiting) bytes += each.size();
  if (flow.waiting.size() >= kMaxWaiting || bytes > kMaxWaitingBytes ||
      waiting_bytes_ + payload.size() > kMaxWaitingOfAll)
    return false;
  waiting_bytes_ += payload.size();
  flow.waiting.push_back(to_bytes(payload));
  return true;
}

std::vector<Bytes> UdpServer::take_waiting(Flow& flow) {
  for (const Bytes& each : flow.waiting) waiting_bytes_ -= each.size();
  return std::exchange(flow.waiting, {});
}

// nullptr: it cannot.
UdpServer::Flows::Entry* UdpServer::begin(Channel& channel, const tunnel::UdpDatagram& datagram) {
  if (!datagram.client) {
    ++counters_.udp_dropped_forgotten;
    channel.forgot(datagram.flow);
    return nullptr;
  }
  const Service* service = table_.match(channel.service(), tunnel::StreamKind::kUdpPort);
  if (service == nullptr) {
    ++counters_.udp_dropped_unknown_service;
    return nullptr;
  }
  if (flows_.size() >= config_.options.max_udp_flows) {
    ++counters_.udp_flows_evicted;
    if (auto victim = flows_.take_victim()) ended(std::move(*victim));
  }
  const uint64_t id = next_flow_++;
  channel.flows().emplace(datagram.flow, id);
  ++counters_.udp_flows;
  flows_.add(id,
             {.channel = &channel, .number = datagram.flow, .client = *datagram.client, .service = service},
             loop_.now());
  tasks_.spawn(find_origin(id));
  // Where the origin is an address it may be served already, or have ended.
  return flows_.find(id);
}

net::Task<> UdpServer::find_origin(uint64_t id) {
  const Flows::Entry* begun = flows_.find(id);
  if (begun == nullptr) co_return;
  const Service& service = *begun->flow.service;  // it outlives the flow
  const auto place = service.origin_of(begun->flow.channel->port());
  if (!place) {
    ++counters_.udp_dropped_unknown_service;
    co_return end_flow(id);
  }
  auto found =
      co_await net::resolve(loop_, place->host, place->port, loop_.now() + config_.options.origin_timeout);
  Flows::Entry* entry = flows_.find(id);
  if (entry == nullptr) co_return;
  if (!found) {
    ++counters_.udp_dropped_unresolved;
    if (failure_lines_.allow(loop_.now())) {
      log_warn("origin_unreachable", "service={} origin={} reason={}", quoted(service.name()),
               service.origin.to_string(), quoted(found.error().message));
    }
    co_return end_flow(id);
  }
  // The one that answered others is the first to try.
  const auto answering = answering_.find(service.name());
  if (answering != answering_.end()) {
    const auto best = std::ranges::find(*found, answering->second.with_port(place->port));
    if (best != found->end()) std::rotate(found->begin(), best, best + 1);
  }
  std::ranges::reverse(*found);
  entry->flow.origins = std::move(*found);
  try_next_origin(id);
}

// Nothing says whether an origin is there but an ICMP error for what was sent to it, or an answer.
void UdpServer::try_next_origin(uint64_t id) {
  Flow& flow = flows_.find(id)->flow;
  while (!flow.origins.empty()) {
    flow.origin = flow.origins.back();
    flow.origins.pop_back();
    net::UdpOptions options{
        .remote = flow.origin, .on_refused = [this, id] { refused(id); }, .fragments = true};
    const SocketAddr any = flow.origin.is_v4() ? SocketAddr() : SocketAddr::v6({}, 0);
    auto socket = net::bind_udp(loop_, any, options);
    if (!socket) {
      ++counters_.udp_dropped_no_socket;
      if (failure_lines_.allow(loop_.now())) {
        log_warn("origin_unreachable", "service={} origin={} reason={}", quoted(flow.service->name()),
                 flow.origin.to_string(), quoted(socket.error().message));
      }
      continue;
    }
    flush();  // through the one before
    flow.socket = std::move(*socket);
    flow.socket->start([this, id](const net::ReceivedDatagram& datagram) { answer(id, datagram.data); },
                       [] {});
    flow.is_introduced = false;
    const std::vector<Bytes> waiting = flow.origins.empty() ? take_waiting(flow) : flow.waiting;
    for (const Bytes& each : waiting) send(flow, each);
    return flush();
  }
  end_flow(id);
}

void UdpServer::refused(uint64_t id) {
  ++counters_.udp_refused;
  Flows::Entry* entry = flows_.find(id);
  if (entry == nullptr || entry->to_client > 0 || entry->flow.origins.empty()) return;
  try_next_origin(id);
}

void UdpServer::send(Flow& flow, ByteView payload) {
  if (!std::exchange(flow.is_introduced, true) && flow.service->proxy_protocol) {
    auto first = proxy_header(flow.client, flow.channel->port());
    if (!first) return;
    first->insert(first->end(), payload.begin(), payload.end());
    sender_.send(*flow.socket, *first, flow.origin, {});
  } else {
    sender_.send(*flow.socket, payload, flow.origin, {});
  }
  ++counters_.udp_datagrams_to_origin;
  counters_.udp_bytes_to_origin += payload.size();
}

void UdpServer::answer(uint64_t id, ByteView payload) {
  Flows::Entry* entry = flows_.find(id);
  if (entry == nullptr) return;
  Flow& flow = entry->flow;
  if (entry->to_client == 0) {
    (void)take_waiting(flow);
    if (!flow.origins.empty()) answering_.insert_or_assign(flow.service->name(), flow.origin);
  }
  flows_.use(*entry, tunnel::FlowDirection::kToClient, loop_.now());
  switch (flow.channel->out().send({.flow = flow.number, .payload = payload})) {
    case tunnel::UdpChannel::Sent::kInStream:
      ++counters_.udp_in_stream;
      [[fallthrough]];
    case tunnel::UdpChannel::Sent::kAsDatagram:
      ++counters_.udp_datagrams_to_edge;
      counters_.udp_bytes_to_edge += payload.size();
      return;
    case tunnel::UdpChannel::Sent::kQueueFull:
      ++counters_.udp_dropped_congestion;
      return;
    case tunnel::UdpChannel::Sent::kStreamStalled:
      ++counters_.udp_dropped_stream_stalled;
      return;
  }
}

void UdpServer::flush() {
  sender_.flush();
  counters_.udp_dropped_not_sent += sender_.take_dropped();
}

void UdpServer::ended(Flows::Entry entry) {
  flush();  // through its socket, it may be
  (void)take_waiting(entry.flow);
  entry.flow.channel->flows().erase(entry.flow.number);
}

void UdpServer::end_flow(uint64_t id) {
  if (auto entry = flows_.take(id)) ended(std::move(*entry));
}

void UdpServer::end_channel(Channel& channel) {
  const auto ids = channel.flows();
  for (const auto& [number, id] : ids) end_flow(id);
  std::erase_if(channels_, [&](const auto& each) { return each.get() == &channel; });
}

void UdpServer::watch_idle() {
  const TimePoint unused_since = loop_.now() - config_.options.udp_idle_timeout;
  while (auto entry = flows_.take_unused(unused_since)) ended(std::move(*entry));
  if (!channels_.empty()) idle_timer_.after(kIdleLook, [this] { watch_idle(); });
}

}  // namespace culvert::agent
