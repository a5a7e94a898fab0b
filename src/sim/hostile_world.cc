#include "sim/hostile_world.h"

#include <algorithm>

#include "base/check.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

const SocketAddr kVictim = SocketAddr::v4({10, 0, 0, 1}, 443);
const SocketAddr kHonest = SocketAddr::v4({10, 0, 0, 2}, 50000);
constexpr std::array<uint8_t, 4> kHostile = {10, 0, 0, 66};

// More turns than any exchange of a test takes: what does not end by then answers itself for ever.
constexpr int kMaxTurns = 2000;

SecretKey key(uint8_t fill) { return *SecretKey::from_seed(Bytes(32, fill)); }

void for_each_segment(const net::DatagramBatch& batch, const std::function<void(ByteView)>& each) {
  for (ByteView rest = batch.data; !rest.empty();) {
    const size_t size = std::min(rest.size(), batch.segment_size);
    each(rest.first(size));
    rest = rest.subspan(size);
  }
}

}  // namespace

// The honest client's side: an engine that only connects.
class HostileWorld::HonestHost final : public quic::EngineHost {
 public:
  HonestHost(quic::Limits limits, Random& random)
      : engine({.key = key(1), .limits = limits}, random, *this) {}

  bool send(const net::DatagramBatch& batch) override {
    for_each_segment(batch, [&](ByteView data) { sent.push_back(to_bytes(data)); });
    return true;
  }
  void on_accepted(std::shared_ptr<quic::Connection>) override {}
  void want_flush() override {}

  std::vector<Bytes> sent;
  quic::Engine engine;
};

HostileWorld::HostileWorld(uint64_t seed, quic::Limits limits, quic::EndpointLimits caps)
    : random_(seed),
      victim_(new quic::Engine(
          {.key = key(2), .protocols = {{.alpn = kAlpn, .limits = limits}}, .limits = limits, .caps = caps},
          random_, *this)),
      honest_(std::make_unique<HonestHost>(limits, random_)) {}

HostileWorld::~HostileWorld() = default;

HostilePeer::Config HostileWorld::hooks() { return {.key = key(66), .alpn = kAlpn, .address = {}}; }

SocketAddr HostileWorld::next_address() { return SocketAddr::v4(kHostile, next_port_++); }

HostilePeer& HostileWorld::add_client(HostilePeer::Config config) {
  config.is_server = false;
  config.address = next_address();
  HostilePeer& peer = *peers_.emplace_back(std::make_unique<HostilePeer>(std::move(config), random_));
  peer_at_[peer.address()] = &peer;
  peer.start();
  return peer;
}

HostilePeer& HostileWorld::add_server(HostilePeer::Config config) {
  config.is_server = true;
  config.address = next_address();
  const EndpointId id = config.key.public_key();
  HostilePeer& peer = *peers_.emplace_back(std::make_unique<HostilePeer>(std::move(config), random_));
  peer_at_[peer.address()] = &peer;
  add_connection(victim_->connect(peer.address(), id, kAlpn, now_));
  return peer;
}

void HostileWorld::add_connection(std::shared_ptr<quic::Connection> connection) {
  Peer& peer = *connections_.emplace_back(std::make_unique<Peer>(std::move(connection)));
  peer.answer = kAnswer;
}

bool HostileWorld::send(const net::DatagramBatch& batch) {
  for_each_segment(batch, [&](ByteView data) { sent_.push_back({batch.remote, to_bytes(data)}); });
  return true;
}

void HostileWorld::on_accepted(std::shared_ptr<quic::Connection> connection) {
  add_connection(std::move(connection));
}

void HostileWorld::receive(const SocketAddr& from, ByteView data, uint8_t ecn) {
  victim_->receive({data, from, kVictim, ecn}, now_);
}

// One turn of everything under way. False: nothing was.
bool HostileWorld::deliver() {
  bool any = false;
  for (const std::unique_ptr<HostilePeer>& peer : peers_) {
    for (const HostilePeer::Datagram& datagram : peer->take()) {
      any = true;
      peer_at_[datagram.source] = peer.get();
      receive(datagram.source, datagram.data);
    }
  }
  for (const Bytes& data : std::exchange(honest_->sent, {})) {
    any = true;
    receive(kHonest, data);
  }
  for (const Sent& sent : std::exchange(sent_, {})) {
    any = true;
    if (sent.remote == kHonest) {
      honest_->engine.receive({sent.data, kVictim, kHonest, 0}, now_);
      continue;
    }
    if (auto peer = peer_at_.find(sent.remote); peer != peer_at_.end()) {
      peer->second->receive(sent.data);
    } else {
      ++reflected_.datagrams;
      reflected_.bytes += sent.data.size();
    }
  }
  return any;
}

bool HostileWorld::run() {
  for (int turn = 0; turn < kMaxTurns; ++turn) {
    victim_->flush(now_);
    honest_->engine.flush(now_);
    if (!deliver()) return true;
    now_ += 1ms;
    if (victim_->deadline() <= now_) victim_->on_deadline(now_);
    if (honest_->engine.deadline() <= now_) honest_->engine.on_deadline(now_);
  }
  return false;
}

void HostileWorld::run_for(Duration time) {
  const TimePoint end = now_ + time;
  run();
  while (now_ < end) {
    now_ = std::clamp(std::min(victim_->deadline(), honest_->engine.deadline()), now_, end);
    victim_->on_deadline(now_);
    honest_->engine.on_deadline(now_);
    run();
  }
}

bool HostileWorld::is_usable(HostilePeer& peer) {
  // Far from the first streams, which tests use.
  const uint64_t index = next_stream_.try_emplace(&peer, 50).first->second++;
  const uint64_t stream = 4 * index + (peer.is_server() ? 1 : 0);
  peer.send(Level::kOneRtt, frames::stream(stream, 0, as_bytes("hello"), true));
  run_for(20ms);
  return !peer.closed() && std::ranges::any_of(peer.received_frames<StreamFrame>(), [&](const auto& frame) {
    return frame.stream == stream && frame.fin;
  });
}

bool HostileWorld::serves_honest_client() {
  constexpr uint64_t kRequest = 3000;
  Peer client(honest_->engine.connect(kVictim, key(2).public_key(), kAlpn, now_));
  run_for(500ms);
  if (client.connection().state() != quic::Connection::State::kOpen) return false;
  client.send(kRequest);
  run_for(100ms);
  const bool answered = client.receivers[0]->finished() && client.receivers[0]->received() == kAnswer;
  client.connection().close(0, "");
  run();
  return answered;
}

void HostileWorld::clear() {
  peers_.clear();
  peer_at_.clear();
  next_stream_.clear();
  victim_->close_all(0, "", now_);
  connections_.clear();
  run_for(60s);
}

uint64_t HostileWorld::core_faults() const {
  return victim_->counters().core_faults + honest_->engine.counters().core_faults;
}

uint64_t HostileWorld::held() const {
  uint64_t sum = 0;
  for (const std::unique_ptr<Peer>& peer : connections_)
    sum += peer->connection().streams().reading().buffered();
  return sum;
}

}  // namespace culvert::sim
