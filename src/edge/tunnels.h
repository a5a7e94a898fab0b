#pragma once
#include <optional>
#include <unordered_map>

#include "edge/context.h"
#include "edge/session.h"
#include "endpoint/endpoint.h"

namespace culvert::edge {

// The tunnels of one worker: lets agents in that have a route, watches whether they answer, reports those
// that do, and ends those that nothing leads to any more.
class Tunnels {
 public:
  explicit Tunnels(WorkerContext& context);

  // Until the endpoint is closed.
  net::Task<> accept(endpoint::Endpoint& endpoint);
  // From here on, for as long as the loop runs.
  void watch();

  // The agent's open tunnel on this worker; nullptr: none.
  SessionPtr open_session(const EndpointId& agent) const;
  // After the routes changed from `before`: looks at the agents of the changed routes only.
  void close_unserved(const route::Snapshot& before, const route::Delta& changes);
  // Tells the agents of this port.
  void tell(const tunnel::PortState& state);
  // After the routes changed: tells the agents of the changed routes of ports that cannot be bound.
  void tell_of_ports(const route::Delta& changes);
  // Public connections in them.
  size_t connections() const;
  // Tells every agent that the edge stops.
  void send_drain();
  // Tells every agent to declare again, each at a moment of its own within `spread`.
  void send_declare_again(Duration spread);

 private:
  net::Task<> serve(endpoint::ConnectionPtr connection);
  net::Task<SessionPtr> let_in(endpoint::ConnectionPtr connection);
  net::Task<> listen_to(SessionPtr session);
  void take(Session& session, const tunnel::Health& health);
  void add(const SessionPtr& session);
  std::optional<size_t> remove(const Session& session);
  void look_for_silent();
  void report_heard();
  void report_path(Session& session);
  void tell_of_ports(Session& session);
  void on_silence(const SessionPtr& session, endpoint::Silence silence);
  void close_silent(const SessionPtr& session);

  WorkerContext& context_;
  std::unordered_map<EndpointId, SessionPtr> sessions_;
  size_t pending_ = 0;  // tunnels that were not let in yet
  TimePoint reported_;  // what was heard until then
  net::Timer silence_timer_;
  net::Timer report_timer_;
};

}  // namespace culvert::edge
