#pragma once
#include <array>
#include <memory>
#include <set>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/rate_limit.h"
#include "quic/connection.h"

namespace culvert::quic {

// What an engine needs from whoever moves its datagrams: a driver with a socket, or the simulator.
class EngineHost : public BatchSink {
 public:
  // A client's handshake finished; the peer's key is verified. Take the connection or close it.
  virtual void on_accepted(std::shared_ptr<Connection> connection) = 0;
  // flush() is wanted soon: something changed outside of receive() and on_deadline().
  virtual void want_flush() = 0;
};

struct EngineCounters {
  uint64_t datagrams_received = 0;
  uint64_t datagrams_malformed = 0;
  uint64_t datagrams_unknown = 0;   // for no connection we know
  uint64_t handshakes_started = 0;  // by peers
  uint64_t handshakes_refused = 0;  // at a cap
  uint64_t retries_sent = 0;
  uint64_t tokens_invalid = 0;
  uint64_t version_negotiations_sent = 0;
  uint64_t stateless_resets_sent = 0;
  uint64_t tls_violations = 0;  // messages that QUIC forbids, or without an extension it needs
};

// All QUIC connections of one socket: routing by connection id, Retry under load, version negotiation,
// stateless reset, timers. Sans-I/O and single-threaded: datagrams and time in; batches, announcements and
// the next deadline out.
class Engine final : private ConnectionHost {
 public:
  struct Config {
    SecretKey key;
    std::vector<std::string> accept_alpns;
    Limits limits;
    unsigned worker = 0;  // connection ids lead to (first byte) mod workers
    unsigned workers = 1;
  };

  Engine(Config config, Random& random, EngineHost& host);
  ~Engine() override;
  Engine(const Engine&) = delete;

  std::shared_ptr<Connection> connect(const SocketAddr& local, const SocketAddr& remote,
                                      const EndpointId& peer, const std::string& alpn, TimePoint now);
  void receive(const net::ReceivedDatagram& datagram, TimePoint now);
  // Announces what happened, then writes what may be sent. After a batch of receive(), or when wanted.
  void flush(TimePoint now);
  // The earliest moment at which on_deadline() has something to do.
  TimePoint deadline() const;
  void on_deadline(TimePoint now);
  // The sink takes batches again.
  void on_writable(TimePoint now);
  void migrate(const SocketAddr& local, TimePoint now);
  void close_all(AppCode code, const std::string& reason, TimePoint now);

  size_t connection_count() const { return connections_.size(); }
  size_t unfinished_handshakes() const { return handshaking_.size(); }
  SessionCache& sessions() { return tls_.sessions(); }
  const EngineCounters& counters() const { return counters_; }
  const WindowBudget& window_budget() const { return budget_; }

 private:
  static constexpr size_t kIdSize = 8;  // of our connection ids: enough to be unique, and iroh's choice

  struct Entry {
    std::shared_ptr<Connection> connection;
    TimePoint armed = TimePoint::max();
    std::vector<std::string> routes = {};        // keys of routes_ that lead here
    std::vector<std::string> reset_tokens = {};  // and of reset_tokens_
    bool dirty = false;
    bool blocked = false;  // the sink was full
  };

  void on_dirty(Connection& connection) override;
  void add_route(const ngtcp2_cid& id, Connection& connection) override;
  void remove_route(const ngtcp2_cid& id) override;
  void add_reset_token(ByteView token, Connection& connection) override;
  void remove_reset_token(ByteView token) override;
  void on_overload() override;
  void on_tls_violation() override { ++counters_.tls_violations; }
  void make_connection_id(ngtcp2_cid& id, uint8_t* reset_token) override;

  void receive_unknown(const net::ReceivedDatagram& datagram, const ngtcp2_version_cid& ids, TimePoint now);
  void send_version_negotiation(const net::ReceivedDatagram& datagram, const ngtcp2_version_cid& ids);
  void send_stateless_reset(const net::ReceivedDatagram& datagram, const ngtcp2_version_cid& ids,
                            TimePoint now);
  void send_retry(const net::ReceivedDatagram& datagram, const ngtcp2_pkt_hd& header, TimePoint now);
  void refuse(const net::ReceivedDatagram& datagram, const ngtcp2_pkt_hd& header, uint64_t error);
  void reply(const net::ReceivedDatagram& datagram, ByteView packet);
  void adopt(std::shared_ptr<Connection> connection);
  void block(Connection& connection);
  void settle(Connection& connection, TimePoint now);
  void schedule(Connection& connection, TimePoint now);
  void remove(Connection& connection);
  void finish_handshake(Connection& connection);
  void forget(std::unordered_map<std::string, Connection*>& map, std::vector<std::string> Entry::* keys,
              const std::string& key);
  Shared shared() { return {config_.limits, tls_, random_, budget_, held_, *this}; }

  Config config_;
  Random& random_;
  EngineHost& host_;
  TlsContext tls_;
  WindowBudget budget_;
  std::array<uint8_t, 32> reset_key_;
  std::array<uint8_t, 32> token_key_;
  std::unordered_map<Connection*, Entry> connections_;
  std::unordered_map<std::string, Connection*> routes_;        // by connection id
  std::unordered_map<std::string, Connection*> reset_tokens_;  // of ids that peers gave us
  std::unordered_set<Connection*> handshaking_;                // started by peers, not finished
  size_t unvalidated_ = 0;                                     // of those, from addresses that proved nothing
  uint64_t held_ = 0;                                          // for Limits::max_endpoint_held
  std::set<std::pair<TimePoint, Connection*>> timers_;
  std::vector<std::shared_ptr<Connection>> dirty_;
  std::vector<std::shared_ptr<Connection>> blocked_;  // the sink was full
  bool flushing_ = false;
  RateLimit reset_limit_{64, std::chrono::milliseconds(10)};
  EngineCounters counters_;
};

}  // namespace culvert::quic
