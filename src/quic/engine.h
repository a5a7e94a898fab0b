#pragma once
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/key.h"
#include "base/random.h"
#include "base/rate_limit.h"
#include "quic/connection.h"
#include "quic/counters.h"
#include "quic/memory_policy.h"
#include "quic/protocols.h"

namespace culvert::quic {

namespace core {
struct Received;
}

// What an engine needs from the code that moves its datagrams: a driver with a socket, or the simulator.
class EngineHost : public BatchSink {
 public:
  // A client's handshake is complete; its identity is verified. Take the connection or close it.
  virtual void on_accepted(std::shared_ptr<Connection> connection) = 0;
  // flush() is wanted soon: something changed outside of receive() and on_deadline().
  virtual void want_flush() = 0;
};

// All QUIC connections of one socket: routing by connection id, Retry under load, version negotiation,
// stateless reset, timers. Sans-I/O and single-threaded: datagrams and time in; batches, notifications and
// the next deadline out.
class Engine final : private ConnectionHost {
 public:
  struct Config {
    SecretKey key;
    std::vector<Protocol> protocols = {};  // that it accepts; none: it only dials
    Limits limits = {};                    // of connections that it dials
    EndpointLimits caps = {};              // of all together
    unsigned worker = 0;                   // in bits 0 to 6 of the first byte of our connection ids
    unsigned workers = 1;
    uint8_t generation = 0;  // in the second byte: of the process that owns them
  };

  Engine(Config config, Random& random, EngineHost& host);
  ~Engine() override;
  Engine(const Engine&) = delete;

  // nullptr for an address that cannot be dialled: port 0, or the unspecified address.
  std::shared_ptr<Connection> connect(const SocketAddr& remote, const EndpointId& peer,
                                      const std::string& alpn, TimePoint now);
  std::shared_ptr<Connection> connect(const SocketAddr& remote, const X509Server& server,
                                      const std::string& alpn, TimePoint now);
  void receive(const net::ReceivedDatagram& datagram, TimePoint now);
  // Dispatches what happened, then writes what may be sent. After a batch of receive(), or when wanted.
  void flush(TimePoint now);
  // The earliest moment at which on_deadline() has something to do.
  TimePoint deadline() const;
  void on_deadline(TimePoint now);
  // The sink takes batches again.
  void on_writable(TimePoint now);
  // The local addresses changed.
  void network_changed(TimePoint now);
  void close_all(AppCode code, const std::string& reason, TimePoint now);

  size_t connection_count() const { return connections_.size(); }
  size_t unfinished_handshakes() const { return handshaking_.size(); }
  const EndpointMemory& memory() const { return memory_; }
  EngineCounters counters() const;

 private:
  void on_dirty(Connection& connection) override;
  void on_overload() override { policy_.relieve_receiving(connections_); }
  void on_starved(Connection& connection) override;

  void send_response(const core::Received& received, const net::ReceivedDatagram& datagram);
  std::shared_ptr<Connection> dialled(core::Connection* core, std::optional<EndpointId> peer,
                                      const std::string& alpn, TimePoint now);
  void add(std::shared_ptr<Connection> connection);
  void block(Connection& connection);
  void settle(Connection& connection, TimePoint now);
  void schedule(Connection& connection, TimePoint now);
  void remove(Connection& connection);
  void complete_handshake(Connection& connection);
  void report_faults(TimePoint now);
  std::vector<std::shared_ptr<Connection>> in_order() const;
  Shared shared(const Limits& limits) { return {core_, limits, memory_, counters_, *this}; }

  Config config_;
  Protocols protocols_;
  EngineHost& host_;
  core::Endpoint* core_ = nullptr;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections_;
  std::unordered_set<Connection*> handshaking_;  // started by peers, not complete
  size_t unvalidated_ = 0;                       // of those, from addresses that proved nothing
  EndpointMemory memory_;
  MemoryPolicy policy_{memory_, counters_};
  // By deadline and number: not by address, so that a simulated run repeats.
  std::map<std::pair<TimePoint, uint64_t>, Connection*> timers_;
  uint64_t last_number_ = 0;
  std::vector<std::shared_ptr<Connection>> dirty_;
  std::vector<std::shared_ptr<Connection>> blocked_;  // the sink was full
  bool flushing_ = false;
  uint64_t faults_reported_ = 0;
  RateLimit fault_lines_{5, std::chrono::minutes(1)};  // a peer that found a way may use it again and again
  EngineCounters counters_;
};

}  // namespace culvert::quic
