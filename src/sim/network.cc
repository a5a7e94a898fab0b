#include "sim/network.h"

#include <algorithm>

#include "base/check.h"

namespace culvert::sim {
namespace {

constexpr uint8_t kCongestionExperienced = 3;  // RFC 3168

}  // namespace

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
  return engine_->connect(address_, remote, peer, alpn, network_.now());
}

void Host::move_to(SocketAddr address) {
  address_ = public_address_ = address;
  engine_->migrate(address, network_.now());
}

bool Host::send(const net::DatagramBatch& batch) {
  // Packets for an address that was left are lost, as quic::Driver loses them.
  if (batch.local == address_) network_.transmit(*this, batch);
  return true;
}

// ---- Network

void Network::set_link(const Host& from, const Host& to, const LinkConfig& config) {
  configs_[{&from, &to}] = config;
  links_.clear();
}

bool Network::chance(double probability) {
  return probability > 0 && static_cast<double>(random_.below(1'000'000)) < probability * 1'000'000;
}

void Network::note(std::initializer_list<uint64_t> values) {
  for (uint64_t value : values) digest_ = (digest_ ^ value) * 0x100000001b3;  // FNV-1a, by words
}

Network::Link& Network::link_for(const SocketAddr& source, const SocketAddr& destination) {
  auto found = links_.find({source, destination});
  if (found != links_.end()) return found->second;
  auto host_at = [this](const SocketAddr& address) -> const Host* {
    auto host = std::ranges::find(hosts_, address, [](const Host* each) { return each->public_address_; });
    return host == hosts_.end() ? nullptr : *host;
  };
  auto config = configs_.find({host_at(source), host_at(destination)});
  return links_[{source, destination}] = Link{config == configs_.end() ? default_link_ : config->second};
}

void Network::transmit(Host& from, const net::DatagramBatch& batch) {
  for (ByteView rest = batch.data; !rest.empty();) {
    size_t size = std::min(rest.size(), batch.segment_size);
    transmit_one(from.public_address_, batch.remote, rest.first(size), batch.ecn);
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
    link.busy_until = std::max(link.busy_until, now_);
    waiting = link.busy_until - now_;
    lost = waiting > nanoseconds(config.queue_bytes);
    if (!lost) link.busy_until += line_time;
    if (config.congestion_marks && ecn != 0 && waiting > nanoseconds(config.queue_bytes / 2)) {
      ecn = kCongestionExperienced;
    }
  }
  note({static_cast<uint64_t>(now_.time_since_epoch().count()), source.port(), destination.port(),
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
  at(now_ + delay, [this, source, destination, ecn, data = std::move(data)] {
    auto host =
        std::ranges::find(hosts_, destination, [](const Host* each) { return each->public_address_; });
    note({static_cast<uint64_t>(now_.time_since_epoch().count()), data.size(), host != hosts_.end()});
    if (host == hosts_.end()) return;
    ++delivered_;
    (*host)->engine_->receive({data, source, (*host)->address_, ecn}, now_);
    (*host)->flush_wanted_ = true;
  });
}

void Network::inject(const SocketAddr& source, const SocketAddr& destination, Bytes data) {
  deliver(source, destination, std::move(data), 0, Duration(0));
}

void Network::at(TimePoint when, std::function<void()> action) {
  events_.push({std::max(when, now_), next_order_++, std::move(action)});
}

bool Network::step() {
  bool worked = false;
  while (!events_.empty() && events_.top().when <= now_) {
    auto action = std::move(const_cast<Event&>(events_.top()).action);
    events_.pop();
    action();
    worked = true;
  }
  for (Host* host : hosts_) {
    if (host->engine_->deadline() <= now_) {
      host->engine_->on_deadline(now_);
      worked = true;
    }
    if (std::exchange(host->flush_wanted_, false)) {
      host->engine_->flush(now_);
      worked = true;
    }
  }
  return worked;
}

TimePoint Network::next_event() const {
  TimePoint next = events_.empty() ? TimePoint::max() : events_.top().when;
  for (Host* host : hosts_) next = std::min(next, host->engine_->deadline());
  return next;
}

bool Network::run_until(const std::function<bool()>& done, Duration limit) {
  const TimePoint end = now_ + limit;
  while (true) {
    // An engine that keeps wanting something at one moment is a bug, not slowness.
    for (int rounds = 0; step(); ++rounds) CHECK(rounds < 100'000);
    if (done()) return true;
    TimePoint next = next_event();
    if (next > end) {
      now_ = end;
      return false;
    }
    now_ = std::max(now_, next);
  }
}

void Network::run_for(Duration time) {
  run_until([] { return false; }, time);
}

}  // namespace culvert::sim
