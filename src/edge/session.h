#pragma once
#include <memory>
#include <string>
#include <utility>

#include "base/rate_limit.h"
#include "edge/tunnel_registry.h"
#include "endpoint/endpoint.h"
#include "tunnel/control.h"
#include "tunnel/udp_channel.h"

namespace culvert::edge {

// An agent's tunnel that was let in. Lives on its worker's loop. The connection has a remote id.
class Session {
 public:
  // `on_dropped`: as of tunnel::UdpChannels.
  Session(TunnelRegistry& registry, endpoint::ConnectionPtr connection, tunnel::ControlStream control,
          const route::Share& share, tunnel::UdpChannels::OnDropped on_dropped)
      : registry_(registry),
        connection_(std::move(connection)),
        agent_(*connection_->remote_id()),
        control_(std::move(control)),
        share_(share),
        udp_(connection_, std::move(on_dropped)) {}
  Session(const Session&) = delete;

  const EndpointId& agent() const { return agent_; }
  endpoint::Connection& connection() { return *connection_; }
  tunnel::ControlStream& control() { return control_; }
  const route::Share& share() const { return share_; }
  tunnel::UdpChannels& udp() { return udp_; }
  bool is_open() const { return connection_->is_open(); }
  TimePoint last_heard() const { return connection_->last_heard(); }
  Duration probe_timeout() const { return connection_->probe_timeout(); }
  // As the registry knows it, once it was added there.
  uint64_t generation() const { return generation_; }
  void set_generation(uint64_t generation) { generation_ = generation; }

  // Held by a public connection that has a stream in the tunnel, also one that is being opened: a drain waits
  // for it.
  class Use {
   public:
    explicit Use(std::shared_ptr<Session> session) : session_(std::move(session)) { ++session_->uses_; }
    Use(Use&&) = default;
    Use& operator=(Use&& other) noexcept {
      std::swap(session_, other.session_);
      return *this;
    }
    ~Use() {
      if (session_) session_->end_use();
    }

   private:
    std::shared_ptr<Session> session_;
  };

  // The agent stops: it gets no new connection, and is told when those in its tunnel have ended.
  void drain();
  bool is_draining() const { return is_draining_; }
  void close(endpoint::AppCode code, std::string reason) { connection_->close(code, std::move(reason)); }
  size_t connections() const { return uses_; }

  // Services of which the agent says, in this tunnel, that they do not work.
  size_t& unhealthy_services() { return unhealthy_services_; }
  RateLimit& health_lines() { return health_lines_; }

  // Data is unanswered. Returns what was the case before.
  endpoint::Silence set_silence(endpoint::Silence silence) { return std::exchange(silence_, silence); }
  endpoint::Silence silence() const { return silence_; }

 private:
  void end_use();
  void tell_if_drained();

  TunnelRegistry& registry_;
  endpoint::ConnectionPtr connection_;
  EndpointId agent_;
  tunnel::ControlStream control_;
  const route::Share share_;
  tunnel::UdpChannels udp_;
  RateLimit health_lines_{5, std::chrono::seconds(10)};
  size_t unhealthy_services_ = 0;
  uint64_t generation_ = 0;
  endpoint::Silence silence_ = endpoint::Silence::kNone;
  size_t uses_ = 0;
  bool is_draining_ = false;
  bool is_drained_ = false;
};
using SessionPtr = std::shared_ptr<Session>;

}  // namespace culvert::edge
