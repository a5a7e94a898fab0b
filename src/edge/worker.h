#pragma once
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/rate_limit.h"
#include "edge/public_connection.h"
#include "edge/session.h"
#include "edge/shared.h"
#include "endpoint/endpoint.h"
#include "net/event_loop.h"
#include "net/tcp.h"
#include "route/table.h"

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
  void set_table(route::TablePtr table);
  void adopt(MovedConnection connection);
  void close_replaced(EndpointId agent, uint64_t generation);
  // Accepts nothing more, tells the agents, and run() returns when what is open has ended, at latest at
  // `deadline`.
  void shutdown(TimePoint deadline);
  void skip_drain();

  // For the stories on this worker's loop.
  net::EventLoop& loop() { return loop_; }
  Shared& shared() { return shared_; }
  unsigned index() const { return index_; }
  const route::TablePtr& table() const { return table_; }
  MutableBytes scratch() { return scratch_; }
  bool draining() const { return draining_; }
  // Strangers can cause these: a few lines, the rest is counted in the next.
  void log_unknown_hostname(std::string_view host, const SocketAddr& client);
  void log_no_agent(std::string_view host, const SocketAddr& client);
  void log_stalled_client(std::string_view host, const SocketAddr& client);

  // An open tunnel of this worker to one of the route's agents, in turn; nullptr: none.
  SessionPtr pick_session(const route::Route& route);
  // Another worker that holds a tunnel to one of them.
  std::optional<unsigned> pick_worker(const route::Route& route);
  void add_session(const SessionPtr& session);
  // False when another tunnel of the agent has taken its place.
  bool remove_session(const Session& session);
  // False when no table serves the agent until `deadline`.
  net::Task<bool> wait_until_served(EndpointId agent, TimePoint deadline);

  void say_and_close(std::unique_ptr<net::ByteStream> socket, Bytes message, ConnectionSlot slot);

  // Client sockets that are not carried yet; shutdown resets those that are left. Removed when the guard
  // dies.
  class Greeting {
   public:
    Greeting(Worker& worker, net::ByteStream& socket) : sockets_(worker.greetings_), socket_(&socket) {
      sockets_->insert(socket_);
    }
    Greeting(const Greeting&) = delete;
    ~Greeting() { end(); }
    void end() { sockets_->erase(socket_); }

   private:
    std::shared_ptr<std::unordered_set<net::ByteStream*>> sockets_;
    net::ByteStream* socket_;
  };

 private:
  Worker(Shared& shared, unsigned index);

  net::Task<> accept_public();
  net::Task<> accept_tunnels();
  net::Task<> shut_down(TimePoint deadline);
  void take_table(route::TablePtr table);
  void look_for_silent_sessions();
  bool is_superseded(const Session& session) const;
  size_t carried() const;
  // Somebody met a cap: counted, and now and then a line that says how many so far.
  void refused(Counters::Count& counter, RateLimit& lines, std::string_view event, size_t cap);

  Shared& shared_;
  const unsigned index_;
  std::shared_ptr<std::unordered_set<net::ByteStream*>> greetings_;
  std::vector<uint8_t> scratch_;
  // Coroutines that a forced end left behind die with the loop: above it is what they may touch then.
  net::EventLoop loop_;

  std::unique_ptr<net::TcpListener> listener_;
  std::unique_ptr<endpoint::Endpoint> endpoint_;
  route::TablePtr table_;
  net::Notify table_changed_;
  net::Notify drain_skipped_;
  net::Timer last_wait_;
  net::Timer silence_timer_;
  std::unordered_map<EndpointId, SessionPtr> sessions_;
  size_t turn_ = 0;
  // Held by each tunnel until it is let in: its use count is what it is for.
  std::shared_ptr<void> unwelcomed_ = std::make_shared<char>();
  RateLimit unknown_hostname_lines_;
  RateLimit no_agent_lines_;
  RateLimit stalled_client_lines_{1, std::chrono::seconds(10)};
  RateLimit connections_full_lines_{1, std::chrono::seconds(10)};
  RateLimit hellos_full_lines_{1, std::chrono::seconds(10)};
  RateLimit tunnels_full_lines_{1, std::chrono::seconds(10)};
  bool draining_ = false;
  bool skip_drain_ = false;
  net::TaskGroup tasks_;
  net::TaskGroup closing_;
};

}  // namespace culvert::edge
