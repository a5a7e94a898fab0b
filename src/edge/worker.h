#pragma once
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/rate_limit.h"
#include "edge/carried.h"
#include "edge/public_connection.h"
#include "edge/session.h"
#include "edge/shared.h"
#include "endpoint/endpoint.h"
#include "net/event_loop.h"
#include "net/tcp.h"
#include "route/snapshot.h"

namespace culvert::edge {

// One thread of the edge: a loop with its own TCP listener, its own UDP socket, and the tunnels that came in
// there.
class Worker {
 public:
  // Binds, on the addresses in the shared configuration. Errors as net::TcpListener::listen.
  static Result<std::unique_ptr<Worker>> bind(Shared& shared, unsigned index);
  ~Worker();
  Worker(const Worker&) = delete;

  SocketAddr tcp_addr() const { return listener_->local_addr(); }
  SocketAddr udp_addr() const { return endpoint_->local_addr(); }

  // Serves until the end of shutdown(), on the calling thread.
  void run();

  // From any thread.
  void update_routes(RouteUpdate update);
  void adopt(MovedConnection connection);
  void drop_unserved(uint64_t id);
  // Accepts nothing more, tells the agents, and run() returns when what is open has ended, at latest after
  // the configured drain timeout.
  void shutdown();
  void skip_drain();

  // The series of this thread, on it.
  Metrics report() const;

  // For the stories on this worker's loop.
  net::EventLoop& loop() { return loop_; }
  Shared& shared() { return shared_; }
  unsigned index() const { return index_; }
  const route::Snapshot& routes() const { return *routes_; }
  // The number of the last update of the routes that this worker has taken, and the wait for another.
  uint64_t route_update() const { return route_update_; }
  net::Task<> wait_for_route_update(uint64_t number);
  Carried& carried() { return carried_; }
  MutableBytes scratch() { return scratch_; }
  bool draining() const { return draining_; }
  // Strangers can cause these: a few lines, the rest is counted in the next.
  void log_unknown_hostname(std::string_view host, const SocketAddr& client);
  void log_no_agent(std::string_view host, const SocketAddr& client);
  void log_plain_http(const SocketAddr& client);
  // These count as well.
  void certificate_failed(std::string_view host, const Error& error);
  void tenant_is_full(std::string_view host);
  void log_stalled_client(std::string_view host, const SocketAddr& client);

  // The agent's open tunnel on this worker; nullptr: none.
  SessionPtr open_session(const EndpointId& agent) const;
  void add_session(const SessionPtr& session);
  // How many tunnels the agent has left on any worker; nullopt: another took the place of this one.
  std::optional<size_t> remove_session(const Session& session);
  // False when no route leads to the agent until `deadline`.
  net::Task<bool> wait_until_served(EndpointId agent, TimePoint deadline);

  // A client whose agent was lost before it answered gets another.
  void serve_again(std::unique_ptr<net::ByteStream> socket, Bytes received, CarriedConnection connection);
  void say_and_close(std::unique_ptr<net::ByteStream> socket, Bytes message, ConnectionSlot slot);

  using UnservedSockets = std::unordered_map<uint64_t, net::ByteStream*>;

  // Holds the place of a client socket that is not carried yet, as long as the guard lives: the socket may be
  // reset meanwhile, by shutdown or for a newer one of its source. The socket outlives the guard.
  class UnservedGuard {
   public:
    UnservedGuard(Worker& worker, net::ByteStream& socket, Unserved::Place place)
        : sockets_(worker.unserved_), place_(std::move(place)) {
      sockets_->emplace(place_.id(), &socket);
    }
    UnservedGuard(const UnservedGuard&) = delete;
    ~UnservedGuard() { sockets_->erase(place_.id()); }
    // For a socket that moves to another worker; the guard is to be destroyed then.
    Unserved::Place take_place() { return std::move(place_); }

   private:
    std::shared_ptr<UnservedSockets> sockets_;
    Unserved::Place place_;
  };

 private:
  Worker(Shared& shared, unsigned index);

  net::Task<> accept_public();
  net::Task<> accept_tunnels();
  net::Task<> shut_down();
  void look_for_silent_sessions();
  void report_heard();
  bool is_superseded(const Session& session) const;
  bool has_substitute(const Session& session) const;
  void on_silence(const SessionPtr& session, endpoint::Silence silence);
  void close_silent(const SessionPtr& session);
  void take_routes(RouteUpdate update);
  size_t connections() const;
  // Somebody met a cap: counted, and now and then a line that says how many so far.
  void refused(Counters::Count& counter, RateLimit& lines, std::string_view event, size_t cap);

  Shared& shared_;
  const unsigned index_;
  std::shared_ptr<UnservedSockets> unserved_ = std::make_shared<UnservedSockets>();
  std::vector<uint8_t> scratch_;
  // Coroutines that a forced end left behind die with the loop: above it is what they may touch then.
  net::EventLoop loop_;

  std::unique_ptr<net::TcpListener> listener_;
  std::unique_ptr<endpoint::Endpoint> endpoint_;
  route::SnapshotPtr routes_ = std::make_shared<const route::Snapshot>();
  uint64_t route_update_ = 0;
  net::Notify routes_changed_;
  Carried carried_;
  net::Notify drain_skipped_;
  net::Timer last_wait_;
  net::Timer silence_timer_;
  net::Timer report_timer_;
  TimePoint reported_ = loop_.now();  // what was heard until then
  std::unordered_map<EndpointId, SessionPtr> sessions_;
  // Held by each tunnel until it is let in: its use count is what it is for.
  std::shared_ptr<void> unwelcomed_ = std::make_shared<char>();
  RateLimit unknown_hostname_lines_;
  RateLimit no_agent_lines_;
  RateLimit plain_http_lines_{1, std::chrono::seconds(10)};
  RateLimit certificate_lines_{1, std::chrono::seconds(10)};
  RateLimit tenant_full_lines_{1, std::chrono::seconds(10)};
  RateLimit stalled_client_lines_{1, std::chrono::seconds(10)};
  RateLimit connections_full_lines_{1, std::chrono::seconds(10)};
  RateLimit hellos_full_lines_{1, std::chrono::seconds(10)};
  RateLimit source_full_lines_{1, std::chrono::seconds(10)};
  RateLimit tunnels_full_lines_{1, std::chrono::seconds(10)};
  bool draining_ = false;
  bool skip_drain_ = false;
  net::TaskGroup tasks_;
  net::TaskGroup closing_;
};

}  // namespace culvert::edge
