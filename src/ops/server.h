#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/result.h"
#include "base/socket_addr.h"
#include "net/event_loop.h"

// What operators and their tools ask a running node or agent.
namespace culvert::ops {

// Why the process cannot do its work, one reason a line; none: it can.
using Faults = std::vector<std::string>;

// Who answers. Called on the loop of the server, for each request again.
struct Sources {
  std::function<net::Task<Metrics>()> metrics;
  // Faults that a restart of the process could end: a worker that does not answer.
  std::function<net::Task<Faults>()> health;
  // Faults that keep traffic from being served now: no lease, no edge.
  std::function<net::Task<Faults>()> readiness;
  // What the process says of itself, a JSON object; not set: it has no such thing.
  std::function<net::Task<std::string>()> status = {};
  // Faults that keep no traffic from being served, for the text of a ready process: a load balancer must not
  // take it out for them. May be missing.
  std::function<Faults()> degradation = nullptr;
};

// Serves GET /metrics (Prometheus text), /healthz and /readyz (200, or 503 with the reasons as text), and
// /status (JSON) where there is one, over plain HTTP. Asks for no credentials: listen on loopback or on a
// network of operators. At most kMaxConnections at once, further ones are refused; each request has
// kRequestTime.
class Server {
 public:
  static constexpr size_t kMaxConnections = 32;
  static constexpr Duration kRequestTime = std::chrono::seconds(10);

  // Errors name the address and the reason.
  static Result<std::unique_ptr<Server>> listen(net::EventLoop& loop, const SocketAddr& address,
                                                Sources sources);
  virtual ~Server() = default;

  virtual SocketAddr local_addr() const = 0;  // with the port that was taken
  // Ends what is open. Sources are not called afterwards.
  virtual net::Task<> stop() = 0;
};

}  // namespace culvert::ops
