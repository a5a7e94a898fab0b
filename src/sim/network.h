#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/random.h"
#include "quic/engine.h"
#include "sim/timeline.h"

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

// A NAT with filters on address and port (RFC 4787: "address and port-dependent filtering"): a datagram comes
// in only from where one went out to. Every inside address gets one outside port, whatever it sends to.
class Nat {
 public:
  explicit Nat(SocketAddr first) : next_(first) {}  // the outside address; ports count up from its port

  // The outside address of `inside`; makes one if there is none.
  SocketAddr map(const SocketAddr& inside);
  // A datagram to `remote` goes out: it may answer.
  SocketAddr outbound(const SocketAddr& inside, const SocketAddr& remote);
  // The inside address; nullopt: filtered.
  std::optional<SocketAddr> inbound(const SocketAddr& remote, const SocketAddr& outside) const;
  // Forgets everything, as a restarted router does: later datagrams go out of new ports.
  void rebind();

 private:
  SocketAddr next_;
  std::map<SocketAddr, SocketAddr> outside_;          // by inside
  std::map<SocketAddr, SocketAddr> inside_;           // by outside
  std::set<std::pair<SocketAddr, SocketAddr>> open_;  // outside, remote
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
  // A further address. What is sent from none in particular leaves from the first.
  void add_address(SocketAddr address) { more_addresses_.push_back(address); }
  // Behind `nat` from now on, which must outlive the host.
  void set_nat(Nat* nat) { nat_ = nat; }
  // An address at a relay, that a host behind any NAT has: what is sent to one such address comes from the
  // other's.
  void set_relayed_address(SocketAddr address) { relayed_address_ = address; }
  // Asked before each batch; false: the socket is full. Empty: it never is.
  void set_sink(std::function<bool()> takes_batch) { takes_batch_ = std::move(takes_batch); }
  void notify_writable() { engine_->on_writable(network_now()); }
  // A new process on the same host: every connection is forgotten, nothing is said to peers.
  void restart(quic::Engine::Config config);

 private:
  friend class Network;
  bool send(const net::DatagramBatch& batch) override;
  void on_accepted(std::shared_ptr<quic::Connection> connection) override {
    if (on_accepted_) on_accepted_(std::move(connection));
  }
  void want_flush() override { flush_wanted_ = true; }
  TimePoint network_now() const;
  // What the network sees as the source of a batch; `local` of the engine's choice, or unspecified.
  SocketAddr source_for(const SocketAddr& local, const SocketAddr& remote);
  // The local address that a datagram arrives at; nullopt: it is not for this host.
  std::optional<SocketAddr> local_for(const SocketAddr& source, const SocketAddr& destination) const;

  Network& network_;
  SocketAddr address_;
  SocketAddr public_address_;
  std::vector<SocketAddr> more_addresses_;
  std::optional<SocketAddr> relayed_address_;
  Nat* nat_ = nullptr;
  std::function<bool()> takes_batch_;
  bool flush_wanted_ = false;
  std::function<void(std::shared_ptr<quic::Connection>)> on_accepted_;
  std::unique_ptr<quic::Engine> engine_;
};

class Network final : public Timeline {
 public:
  explicit Network(uint64_t seed) : random_(seed) {}

  Random& random() { return random_; }
  // Applies to every direction without a config of its own.
  void set_default_link(const LinkConfig& config);
  void set_link(const Host& from, const Host& to, const LinkConfig& config);
  // Applies to datagrams between these addresses, as the network sees them, before any other config.
  void set_path(const SocketAddr& from, const SocketAddr& to, const LinkConfig& config);

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
  struct Link {
    LinkConfig config;
    TimePoint busy_until{};
  };

  void transmit(Host& from, const net::DatagramBatch& batch);
  void transmit_one(const SocketAddr& source, const SocketAddr& destination, ByteView data, uint8_t ecn);
  void deliver(const SocketAddr& source, const SocketAddr& destination, Bytes data, uint8_t ecn,
               Duration delay);
  Link& link_for(const SocketAddr& source, const SocketAddr& destination);
  const LinkConfig& config_for(const SocketAddr& source, const SocketAddr& destination) const;
  void reconfigure_links();
  const Host* host_at(const SocketAddr& address) const;
  bool is_relayed(const SocketAddr& address) const;
  bool chance(double probability);
  void note(std::initializer_list<uint64_t> values);
  bool run_ready() override;
  TimePoint next_ready() const override;

  SeededRandom random_;
  LinkConfig default_link_;
  std::map<std::pair<const Host*, const Host*>, LinkConfig> configs_;
  std::map<std::pair<SocketAddr, SocketAddr>, LinkConfig> path_configs_;
  std::map<std::pair<SocketAddr, SocketAddr>, Link> links_;
  std::vector<Host*> hosts_;
  Tap tap_;
  uint64_t digest_ = 0xcbf29ce484222325;
  uint64_t delivered_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace culvert::sim
