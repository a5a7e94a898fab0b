#include "sim/network.h"

#include <algorithm>

namespace culvert::sim {
namespace {

constexpr uint8_t kCongestionExperienced = 3;  // RFC 3168

}  // namespace

// ---- Nat

SocketAddr Nat::map(const SocketAddr& inside) {
  auto found = outside_.find(inside);
  if (found != outside_.end()) return found->second;
  const SocketAddr outside = std::exchange(next_, next_.with_port(static_cast<uint16_t>(next_.port() + 1)));
  outside_[inside] = outside;
  inside_[outside] = inside;
  return outside;
}

SocketAddr Nat::outbound(const SocketAddr& inside, const SocketAddr& remote) {
  const SocketAddr outside = map(inside);
  open_.emplace(outside, remote);
  return outside;
}

std::optional<SocketAddr> Nat::inbound(const SocketAddr& remote, const SocketAddr& outside) const {
  auto found = inside_.find(outside);
  if (found == inside_.end() || !open_.contains({outside, remote})) return std::nullopt;
  return found->second;
}

void Nat::rebind() {
  outside_.clear();
  inside_.clear();
  open_.clear();
}

// ---- Host

Host::Host(Network& network, SocketAddr address, quic::Engine::Config config)
    : network_(network), address_(address), public_address_(address) {
  network_.hosts_.push_back(this);
  restart(std::move(config));
}

void Host::restart(quic::Engine::Config config) {
  engine_.reset();
  engine_.reset(new quic::Engine(std::move(config), network_.random_, *this));  // the base is private to us
}

std::shared_ptr<quic::Connection> Host::connect(const SocketAddr& remote, const EndpointId& peer,
                                                const std::string& alpn) {
  return engine_->connect(remote, peer, alpn, network_.now());
}

void Host::move_to(SocketAddr address) {
  address_ = public_address_ = address;
  engine_->network_changed(network_.now());
}

bool Host::send(const net::DatagramBatch& batch) {
  if (takes_batch_ && !takes_batch_()) return false;
  network_.transmit(*this, batch);
  return true;
}

TimePoint Host::network_now() const { return network_.now(); }

SocketAddr Host::source_for(const SocketAddr& local, const SocketAddr& remote) {
  if (relayed_address_ && network_.is_relayed(remote)) return *relayed_address_;
  for (const SocketAddr& each : more_addresses_) {
    if (!local.is_unspecified() && std::ranges::equal(each.ip(), local.ip())) return each;
  }
  return nat_ != nullptr ? nat_->outbound(address_, remote) : public_address_;
}

std::optional<SocketAddr> Host::local_for(const SocketAddr& source, const SocketAddr& destination) const {
  if (destination == relayed_address_) return destination;
  if (std::ranges::count(more_addresses_, destination) > 0) return destination;
  if (nat_ != nullptr) return nat_->inbound(source, destination);
  return destination == public_address_ ? std::optional(address_) : std::nullopt;
}

// ---- Network

void Network::set_default_link(const LinkConfig& config) {
  default_link_ = config;
  reconfigure_links();
}

void Network::set_link(const Host& from, const Host& to, const LinkConfig& config) {
  configs_[{&from, &to}] = config;
  reconfigure_links();
}

void Network::set_path(const SocketAddr& from, const SocketAddr& to, const LinkConfig& config) {
  path_configs_[{from, to}] = config;
  reconfigure_links();
}

// What waits for a line goes on waiting.
void Network::reconfigure_links() {
  for (auto& [addresses, link] : links_) link.config = config_for(addresses.first, addresses.second);
}

bool Network::chance(double probability) {
  return probability > 0 && static_cast<double>(random_.below(1'000'000)) < probability * 1'000'000;
}

void Network::note(std::initializer_list<uint64_t> values) {
  for (uint64_t value : values) digest_ = (digest_ ^ value) * 0x100000001b3;  // FNV-1a, by words
}

const Host* Network::host_at(const SocketAddr& address) const {
  auto is_there = [&](const Host* host) {
    return host->public_address_ == address || host->relayed_address_ == address ||
           std::ranges::count(host->more_addresses_, address) > 0;
  };
  auto found = std::ranges::find_if(hosts_, is_there);
  return found == hosts_.end() ? nullptr : *found;
}

bool Network::is_relayed(const SocketAddr& address) const {
  return std::ranges::any_of(hosts_, [&](const Host* host) { return host->relayed_address_ == address; });
}

const LinkConfig& Network::config_for(const SocketAddr& source, const SocketAddr& destination) const {
  auto path = path_configs_.find({source, destination});
  if (path != path_configs_.end()) return path->second;
  auto config = configs_.find({host_at(source), host_at(destination)});
  return config == configs_.end() ? default_link_ : config->second;
}

Network::Link& Network::link_for(const SocketAddr& source, const SocketAddr& destination) {
  auto found = links_.find({source, destination});
  if (found != links_.end()) return found->second;
  return links_[{source, destination}] = Link{config_for(source, destination)};
}

void Network::transmit(Host& from, const net::DatagramBatch& batch) {
  const SocketAddr source = from.source_for(batch.local, batch.remote);
  for (ByteView rest = batch.data; !rest.empty();) {
    size_t size = std::min(rest.size(), batch.segment_size);
    transmit_one(source, batch.remote, rest.first(size), batch.ecn);
    rest = rest.subspan(size);
  }
}

void Network::transmit_one(const SocketAddr& source, const SocketAddr& destination, ByteView data,
                           uint8_t ecn) {
  if (tap_) tap_(source, destination, data);
  Link& link = link_for(source, destination);
  const LinkConfig& config = link.config;
  Duration line_time{};
  Duration waiting{};
  bool lost = data.size() > config.mtu || chance(config.loss);
  if (!lost && config.bits_per_second > 0) {
    auto nanoseconds = [&](uint64_t bytes) {
      return Duration(static_cast<int64_t>(bytes * 8 * 1'000'000'000 / config.bits_per_second));
    };
    line_time = nanoseconds(data.size() + 28);
    link.busy_until = std::max(link.busy_until, now());
    waiting = link.busy_until - now();
    lost = waiting > nanoseconds(config.queue_bytes);
    if (!lost) link.busy_until += line_time;
    if (config.congestion_marks && ecn != 0 && waiting > nanoseconds(config.queue_bytes / 2)) {
      ecn = kCongestionExperienced;
    }
  }
  note({static_cast<uint64_t>(now().time_since_epoch().count()), source.port(), destination.port(),
        data.size(), lost});
  if (lost) {
    ++dropped_;
    return;
  }
  Duration delay = config.delay + waiting + line_time;
  if (chance(config.reorder)) {
    delay +=
        Duration(static_cast<int64_t>(random_.below(static_cast<uint64_t>(config.reorder_delay.count()))));
  }
  deliver(source, destination, to_bytes(data), ecn, delay);
  if (chance(config.duplicate)) deliver(source, destination, to_bytes(data), ecn, delay + config.delay / 10);
}

void Network::deliver(const SocketAddr& source, const SocketAddr& destination, Bytes data, uint8_t ecn,
                      Duration delay) {
  at(now() + delay, [this, source, destination, ecn, data = std::move(data)] {
    Host* host = nullptr;
    std::optional<SocketAddr> local;
    for (size_t i = 0; i < hosts_.size() && !local; ++i)
      local = (host = hosts_[i])->local_for(source, destination);
    note({static_cast<uint64_t>(now().time_since_epoch().count()), data.size(), local.has_value()});
    if (!local) return;
    ++delivered_;
    host->engine_->receive({data, source, *local, ecn}, now());
    host->flush_wanted_ = true;
  });
}

void Network::inject(const SocketAddr& source, const SocketAddr& destination, Bytes data) {
  deliver(source, destination, std::move(data), 0, Duration(0));
}

bool Network::run_ready() {
  bool worked = false;
  for (Host* host : hosts_) {
    if (host->engine_->deadline() <= now()) {
      host->engine_->on_deadline(now());
      worked = true;
    }
    if (std::exchange(host->flush_wanted_, false)) {
      host->engine_->flush(now());
      worked = true;
    }
  }
  return worked;
}

TimePoint Network::next_ready() const {
  TimePoint next = TimePoint::max();
  for (Host* host : hosts_) next = std::min(next, host->engine_->deadline());
  return next;
}

}  // namespace culvert::sim
