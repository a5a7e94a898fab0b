#pragma once
#include <memory>
#include <string>

#include "edge/carried.h"
#include "edge/opening.h"
#include "endpoint/endpoint.h"
#include "tunnel/control.h"
#include "tunnel/pump.h"

namespace culvert::edge {

class Worker;

// An agent's tunnel that was let in, and the public connections in it. Lives on its worker's loop. The
// connection has a remote id.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Worker& worker, endpoint::ConnectionPtr connection, tunnel::ControlStream control)
      : worker_(worker),
        connection_(std::move(connection)),
        agent_(*connection_->remote_id()),
        control_(std::move(control)) {}
  Session(const Session&) = delete;

  const EndpointId& agent() const { return agent_; }
  endpoint::Connection& connection() { return *connection_; }
  tunnel::ControlStream& control() { return control_; }
  bool is_open() const { return connection_->is_open(); }
  TimePoint last_heard() const { return connection_->last_heard(); }
  Duration probe_timeout() const { return connection_->probe_timeout(); }
  uint64_t generation = 0;  // the registry's
  endpoint::Silence silence = endpoint::Silence::kNone;

  // A stream that is being opened for a client: a drain waits for it as for one that is carried.
  class PendingStream {
   public:
    explicit PendingStream(std::shared_ptr<Session> session) : session_(std::move(session)) {
      ++session_->pending_streams_;
    }
    PendingStream(const PendingStream&) = delete;
    ~PendingStream() {
      --session_->pending_streams_;
      session_->tell_if_drained();
    }

   private:
    std::shared_ptr<Session> session_;
  };

  // Joins a client's socket and the stream that was opened for it.
  void carry(CarriedConnection connection, std::unique_ptr<net::ByteStream> socket, Opening::Taken opened);
  // The agent stops: it gets no new connection, and is told when those in its tunnel have ended.
  void drain();
  bool is_draining() const { return is_draining_; }
  void close(endpoint::AppCode code, std::string reason);
  // Connections in the tunnel, and streams that are being opened for some.
  size_t connections() const { return carried_ + pending_streams_; }

 private:
  void ended(uint64_t id, tunnel::PumpResult result);
  void tell_if_drained();

  Worker& worker_;
  endpoint::ConnectionPtr connection_;
  EndpointId agent_;
  tunnel::ControlStream control_;
  size_t carried_ = 0;
  size_t pending_streams_ = 0;
  bool is_draining_ = false;
  bool is_drained_ = false;
};
using SessionPtr = std::shared_ptr<Session>;

// The story of one tunnel, from its handshake to its end. `unwelcomed` is let go when the tunnel is let in.
net::Task<> serve_tunnel(Worker& worker, endpoint::ConnectionPtr connection,
                         std::shared_ptr<void> unwelcomed);

}  // namespace culvert::edge
