#include "edge/udp_carrier.h"

#include <vector>

#include "base/log.h"
#include "net/bind.h"
#include "tunnel/protocol.h"
#include "tunnel/stream_header.h"

namespace culvert::edge {
namespace {

// After an agent refused a channel, or its tunnel had no stream left: for each datagram another attempt would
// cost more than the datagram.
constexpr Duration kOpenAgain = std::chrono::seconds(1);

}  // namespace

class UdpCarrier::Channel final : public tunnel::UdpChannel::Owner {
 public:
  Channel(WorkerContext& context, SessionPtr session, const route::PublicPort& port, std::string service)
      : context_(context), session_(std::move(session)), port_(port), service_(std::move(service)) {
    open();
  }

  bool is_open() const { return channel_ != nullptr; }
  const std::string& service() const { return service_; }
  const EndpointId& agent() const { return session_->agent(); }
  // Where it was refused, and that is long enough ago.
  void open_again() {
    if (!channel_ && context_.loop.now() >= retry_at_) open();
  }

  void send(const UdpBatch& batch) {
    Counters& counters = context_.shared.counters;
    uint64_t sent = 0, bytes = 0, in_stream = 0, full = 0, stalled = 0;
    batch.for_each([&](const UdpBatch::Item& item, ByteView payload) {
      if (!channel_) return;
      switch (channel_->send({.flow = item.flow, .client = item.client, .payload = payload})) {
        case tunnel::UdpChannel::Sent::kInStream:
          ++in_stream;
          [[fallthrough]];
        case tunnel::UdpChannel::Sent::kAsDatagram:
          ++sent;
          bytes += payload.size();
          break;
        case tunnel::UdpChannel::Sent::kQueueFull:
          ++full;
          break;
        case tunnel::UdpChannel::Sent::kStreamStalled:
          ++stalled;
          break;
      }
    });
    count(counters.udp_datagrams_to_origin, sent);
    count(counters.udp_bytes_to_origin, bytes);
    if (in_stream > 0) count(counters.udp_in_stream, in_stream);
    if (full > 0) count(counters.udp_dropped_congestion, full);
    if (stalled > 0) count(counters.udp_dropped_stream_stalled, stalled);
  }

  // Ends it for the agent.
  void refuse() {
    if (channel_) channel_->reset(tunnel::kStreamUnknownService);
  }

  void on_datagram(const tunnel::UdpDatagram& datagram) override { replies().add(datagram); }
  void on_forgotten(uint64_t flow) override { replies().add_forgotten(flow); }
  void on_batch_end() override {
    if (!replies_) return;
    const std::unique_ptr<UdpBatch> batch = std::move(replies_);
    const unsigned owner = context_.shared.worker_of(port_);
    if (owner == context_.index) {
      context_.udp_replies(*batch);
    } else if (auto part = transit_.take(batch->bytes())) {
      context_.shared.workers[owner]->return_udp(std::move(*batch), std::move(*part));
    } else {
      count(context_.shared.counters.udp_dropped_worker_behind, batch->size());
    }
  }
  void on_ended() override {
    log_debug("udp_channel_ended", "port={} agent={}", port_.text(), agent().short_text());
    channel_.reset();
    retry_at_ = context_.loop.now() + kOpenAgain;
  }

 private:
  void open() {
    retry_at_ = context_.loop.now() + kOpenAgain;
    endpoint::StreamPtr stream = session_->connection().try_open_bidi();
    if (!stream) return;
    const SocketAddr address = context_.shared.config.options.tcp_listen->with_port(port_.number);
    const SocketAddr nobody = address.is_v4() ? SocketAddr() : SocketAddr::v6({}, 0);
    const Bytes header = tunnel::encode(
        tunnel::StreamHeader{nobody, address, service_, tunnel::StreamKind::kUdpPort,
                             context_.shared.next_connection.fetch_add(1, std::memory_order_relaxed)});
    if (stream->write(header) < header.size()) {
      stream->reset(tunnel::kStreamLimit);
      return;
    }
    channel_ = std::make_unique<tunnel::UdpChannel>(session_->udp(), std::move(stream),
                                                    tunnel::UdpChannel::Side::kEdge, *this);
  }
  UdpBatch& replies() {
    if (!replies_) replies_ = std::make_unique<UdpBatch>(port_, agent(), session_->generation());
    return *replies_;
  }

  WorkerContext& context_;
  const SessionPtr session_;
  const route::PublicPort port_;
  const std::string service_;
  std::unique_ptr<UdpBatch> replies_;  // that came together
  UdpTransit transit_;
  TimePoint retry_at_{};
  std::unique_ptr<tunnel::UdpChannel> channel_;  // nullptr: the agent ended it, or had no stream for it
};

UdpCarrier::UdpCarrier(WorkerContext& context, Tunnels& tunnels) : context_(context), tunnels_(tunnels) {}
UdpCarrier::~UdpCarrier() = default;

void UdpCarrier::send(const UdpBatch& batch) {
  Channel* channel = open(batch);
  if (channel == nullptr || !channel->is_open()) {
    count(context_.shared.counters.udp_dropped_no_channel, batch.size());
    return;
  }
  channel->send(batch);
}

// nullptr: there is no such tunnel or route any more.
UdpCarrier::Channel* UdpCarrier::open(const UdpBatch& batch) {
  const auto found = channels_.find({batch.port, batch.generation});
  if (found != channels_.end()) {
    found->second->open_again();
    return found->second.get();
  }
  SessionPtr session = tunnels_.open_session(batch.agent);
  const route::Route* route = context_.routes.current().match(batch.port);
  if (!session || session->generation() != batch.generation || route == nullptr ||
      !route->leads_to(batch.agent))
    return nullptr;
  auto made = std::make_unique<Channel>(context_, std::move(session), batch.port, route->service);
  return channels_.emplace(Key(batch.port, batch.generation), std::move(made)).first->second.get();
}

void UdpCarrier::recheck(const route::Delta& changes) {
  const auto look_at = [&](const route::Match& match) {
    if (match.port() == nullptr) return;
    const route::PublicPort last = match.port()->at(match.port()->more);
    for (auto at = channels_.lower_bound({match.port()->at(0), 0});
         at != channels_.end() && at->first.first <= last;) {
      Channel& channel = *at->second;
      const route::Route* route = context_.routes.current().match(at->first.first);
      if (route != nullptr && route->leads_to(channel.agent()) && route->service == channel.service()) {
        ++at;
      } else {
        channel.refuse();
        at = channels_.erase(at);
      }
    }
  };
  for (const route::RouteId& removed : changes.removals) {
    if (const auto match = route::Match::parse(removed.text())) look_at(*match);
  }
  for (const route::Route& changed : changes.upserts) look_at(changed.match);
}

void UdpCarrier::tunnel_ended(uint64_t generation) {
  std::erase_if(channels_, [&](const auto& entry) { return entry.first.second == generation; });
}

}  // namespace culvert::edge
