#pragma once
#include <map>
#include <memory>
#include <vector>

#include "base/random.h"
#include "quic/engine.h"
#include "sim/hostile_peer.h"
#include "sim/transfer.h"

namespace culvert::sim {

// Tests only: an engine, the hostile peers that attack it, and an honest engine that must get its service all
// the while. Datagrams arrive in order after a millisecond and none is lost.
class HostileWorld : private quic::EngineHost {
 public:
  // How the victim answers each bidirectional stream of a peer.
  static constexpr uint64_t kAnswer = 100;
  static constexpr const char* kAlpn = "test/1";

  explicit HostileWorld(uint64_t seed, quic::Limits limits = {}, quic::EndpointLimits caps = {});
  ~HostileWorld() override;

  // The hooks of a peer that a test wants to set; address, key and role are filled in here.
  static HostilePeer::Config hooks();
  // A hostile client that sends its ClientHello, or a hostile server that the victim connects to. Nothing is
  // delivered before run().
  HostilePeer& add_client(HostilePeer::Config config = hooks());
  HostilePeer& add_server(HostilePeer::Config config = hooks());
  HostilePeer& add(bool is_server, HostilePeer::Config config = hooks()) {
    return is_server ? add_server(std::move(config)) : add_client(std::move(config));
  }

  // Delivers until no datagram is left. False: it does not come to rest.
  bool run();
  // And lets timers expire.
  void run_for(Duration time);

  // A datagram from anywhere. Nobody gets the answer unless a peer sent from there.
  void inject(const SocketAddr& from, ByteView data, uint8_t ecn = 0) { receive(from, data, ecn); }
  // An address that nobody has.
  SocketAddr next_address();

  // The victim answers a new stream of this peer.
  bool is_usable(HostilePeer& peer);
  // An honest client connects to the victim, sends, and gets its answer.
  bool serves_honest_client();
  // Forgets all hostile peers and closes what the victim still has, until it has no connection.
  void clear();

  quic::Engine& victim() { return *victim_; }
  // Panics that the QUIC core caught, of both engines.
  uint64_t core_faults() const;
  // What the victim sent to addresses that no datagram came from: what a peer can make it send to others.
  struct Reflected {
    uint64_t datagrams = 0;
    uint64_t bytes = 0;
  };
  const Reflected& reflected() const { return reflected_; }
  // Bytes that the victim's connections hold for their readers.
  uint64_t held() const;
  // What the victim's application has of its connections, in order of their start.
  const std::vector<std::unique_ptr<Peer>>& connections() const { return connections_; }
  Random& random() { return random_; }
  TimePoint now() const { return now_; }

 private:
  class HonestHost;
  struct Sent {
    SocketAddr remote;
    Bytes data;
  };

  bool send(const net::DatagramBatch& batch) override;
  void on_accepted(std::shared_ptr<quic::Connection> connection) override;
  void want_flush() override {}
  void add_connection(std::shared_ptr<quic::Connection> connection);
  bool deliver();
  void receive(const SocketAddr& from, ByteView data, uint8_t ecn = 0);

  SeededRandom random_;
  TimePoint now_{std::chrono::hours(1)};
  std::unique_ptr<quic::Engine> victim_;
  std::unique_ptr<HonestHost> honest_;
  std::vector<std::unique_ptr<HostilePeer>> peers_;
  std::map<SocketAddr, HostilePeer*> peer_at_;
  std::map<HostilePeer*, uint64_t> next_stream_;
  std::vector<std::unique_ptr<Peer>> connections_;
  std::vector<Sent> sent_;
  Reflected reflected_;
  uint16_t next_port_ = 10'000;
};

}  // namespace culvert::sim
