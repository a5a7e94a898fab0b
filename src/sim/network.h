#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <vector>

#include "base/random.h"
#include "quic/engine.h"

// Tests only: QUIC engines over a simulated network with its own clock. Everything follows from the seed.
namespace culvert::sim {

// One direction between two hosts.
struct LinkConfig {
  Duration delay = std::chrono::milliseconds(10);
  uint64_t bits_per_second = 100'000'000;  // 0: no limit
  size_t queue_bytes = 256 * 1024;         // what waits for the line; more is dropped
  double loss = 0;                         // probabilities, per datagram
  double duplicate = 0;
  double reorder = 0;  // extra delay of up to reorder_delay
  Duration reorder_delay = std::chrono::milliseconds(20);
  size_t mtu = 1500 - 28;         // UDP payload; larger datagrams vanish, as with don't-fragment
  bool congestion_marks = false;  // sets CE on ECN-capable datagrams while the queue is half full
};

class Network;

// A host with one QUIC engine. What the engine accepts is handed to `on_accepted`.
class Host final : private quic::EngineHost {
 public:
  Host(Network& network, SocketAddr address, quic::Engine::Config config);

  quic::Engine& engine() { return *engine_; }
  const SocketAddr& address() const { return address_; }
  std::shared_ptr<quic::Connection> connect(const SocketAddr& remote, const EndpointId& peer,
                                            const std::string& alpn);
  void set_on_accepted(std::function<void(std::shared_ptr<quic::Connection>)> callback) {
    on_accepted_ = std::move(callback);
  }
  // A NAT in front gives the host another public address: the peer sees a new source, the host notices
  // nothing.
  void set_public_address(SocketAddr address) { public_address_ = address; }
  // The host itself moves to a new local address and tells its engine.
  void move_to(SocketAddr address);
  // A new process on the same host: every connection is forgotten, nothing is said to peers.
  void restart(quic::Engine::Config config);

 private:
  friend class Network;
  bool send(const net::DatagramBatch& batch) override;
  void on_accepted(std::shared_ptr<quic::Connection> connection) override {
    if (on_accepted_) on_accepted_(std::move(connection));
  }
  void want_flush() override { flush_wanted_ = true; }

  Network& network_;
  SocketAddr address_;
  SocketAddr public_address_;
  bool flush_wanted_ = false;
  std::function<void(std::shared_ptr<quic::Connection>)> on_accepted_;
  std::unique_ptr<quic::Engine> engine_;
};

class Network {
 public:
  explicit Network(uint64_t seed) : random_(seed) {}

  TimePoint now() const { return now_; }
  Random& random() { return random_; }
  // Applies to every direction without a config of its own.
  void set_default_link(const LinkConfig& config) { default_link_ = config; }
  void set_link(const Host& from, const Host& to, const LinkConfig& config);

  // Runs until the condition holds; false when `limit` of simulated time went by first, or nothing more can
  // happen.
  bool run_until(const std::function<bool()>& done, Duration limit);
  void run_for(Duration time);
  void at(TimePoint when, std::function<void()> action);
  // A datagram out of nowhere, as an attacker with a spoofed source would send it.
  void inject(const SocketAddr& source, const SocketAddr& destination, Bytes data);

  // Sees every datagram that is sent, also those that will be lost.
  using Tap = std::function<void(const SocketAddr& source, const SocketAddr& destination, ByteView data)>;
  void set_tap(Tap tap) { tap_ = std::move(tap); }

  // Over every datagram: when, from where, to where, how long, and its fate. Not its bytes: they are
  // encrypted with keys that no seed decides.
  uint64_t digest() const { return digest_; }
  uint64_t delivered() const { return delivered_; }
  uint64_t dropped() const { return dropped_; }

 private:
  friend class Host;
  struct Event {
    TimePoint when;
    uint64_t order;
    std::function<void()> action;
    bool operator>(const Event& other) const {
      return std::pair(when, order) > std::pair(other.when, other.order);
    }
  };
  struct Link {
    LinkConfig config;
    TimePoint busy_until{};
  };

  void transmit(Host& from, const net::DatagramBatch& batch);
  void transmit_one(const SocketAddr& source, const SocketAddr& destination, ByteView data, uint8_t ecn);
  void deliver(const SocketAddr& source, const SocketAddr& destination, Bytes data, uint8_t ecn,
               Duration delay);
  Link& link_for(const SocketAddr& source, const SocketAddr& destination);
  bool chance(double probability);
  void note(std::initializer_list<uint64_t> values);
  // Handles what is due at now_. False when nothing was.
  bool step();
  TimePoint next_event() const;

  TimePoint now_{std::chrono::hours(1)};
  SeededRandom random_;
  LinkConfig default_link_;
  std::map<std::pair<const Host*, const Host*>, LinkConfig> configs_;
  std::map<std::pair<SocketAddr, SocketAddr>, Link> links_;
  std::vector<Host*> hosts_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  uint64_t next_order_ = 0;
  Tap tap_;
  uint64_t digest_ = 0xcbf29ce484222325;
  uint64_t delivered_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace culvert::sim
