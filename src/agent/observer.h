#pragma once
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "hubapi/declaration.h"
#include "origin/service.h"
#include "tunnel/control.h"

namespace culvert::agent {

using origin::Service;

// One HTTP exchange seen on a terminated stream.
struct RequestLine {
  std::string host;
  std::string method;
  std::string target;
  int status;  // 0: the origin gave none
  Duration duration;
};

// A service whose public URL has not answered yet.
struct Silence {
  const Service& service;
  std::string reason;
  bool is_the_origin;  // the edge answered in the origin's place
  Duration elapsed;    // since the agent began to ask
};

// The hub does not accept all that was declared.
struct HubRefusal {
  Error error;  // the message is for the user
  // It may end without anyone's doing, and the agent asks again within seconds. Otherwise only a person can
  // change it (revoked, hostname not granted); the agent still asks now and then.
  bool is_temporary = false;
};

// What an agent reports while it runs, on its loop. Unless overridden, each event is a log line.
class AgentObserver {
 public:
  virtual ~AgentObserver() = default;

  // The hub granted or renewed the lease.
  virtual void lease_granted(const hubapi::LeaseAnswer&) {}
  // The public URL of every service that the hub accepted has answered through the public address. Again when
  // these are others.
  virtual void ready(const std::vector<std::string>& urls);
  // The last edge was lost; ready() follows when one is back.
  virtual void lost();
  // Once until something else happens.
  virtual void refused(const HubRefusal& refusal);
  // The hub has not answered for `elapsed`, zero at first; again now and then, until hub_reached(). The agent
  // continues to ask.
  virtual void hub_unreachable(const Error& error, Duration elapsed);
  virtual void hub_reached(Duration elapsed);
  // The clock of this machine or of the hub is wrong: the message says by how much. The agent works with the
  // hub's.
  virtual void clock_differs(const std::string& message);
  // `others` further agents of the same invite have this service and share its connections.
  virtual void shared(const std::string& service, size_t others);
  // Whether an edge listens on the port of a service: when it does not, and when it does after all.
  virtual void port_changed(const EndpointId& edge, const tunnel::PortState& state);
  // The hub's operator has suspended the tenant: agents keep their tunnels, and clients are refused; or has
  // resumed it.
  virtual void suspended(bool is_suspended);
  // Called for every attempt in vain until it returns true: then this service was reported, and is not again
  // before the next ready().
  virtual bool service_silent(const Silence& silence);
  // A ready service has a hostname without a DNS record, or with one that leads to `elsewhere`; it should
  // point at `public_host`.
  virtual void misdirected(const std::string& hostname, const std::string& elsewhere,
                           const std::string& public_host);
  // Terminated streams are parsed for request() only if this is true at the start.
  virtual bool wants_requests() const { return false; }
  virtual void request(const RequestLine&) {}
};

}  // namespace culvert::agent
