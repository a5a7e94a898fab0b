#pragma once
#include <optional>
#include <string>
#include <variant>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "net/event_loop.h"
#include "quic/stream.h"
#include "route/match.h"
#include "route/picker.h"
#include "route/route.h"

// Messages between agent and edge on the first bidirectional stream, which the agent opens: a 4-byte
// big-endian length and that many bytes of JSON, an object with a "type". Unknown types and members are
// ignored: a newer peer may say more.
namespace culvert::tunnel {

constexpr int kControlProtocol = 1;
constexpr size_t kMaxControlMessage = 16 * 1024;

// Agent to edge, first.
struct Hello {
  int protocol = kControlProtocol;
  std::string agent_version;
  route::Share share = {};
  bool operator==(const Hello&) const = default;
};

// Edge to agent: the tunnel is accepted, streams may follow.
struct Welcome {
  int protocol = kControlProtocol;
  std::string edge_version;
  std::string public_addr;  // "host:port" where the public reaches this edge
  bool operator==(const Welcome&) const = default;
};

// Either way: the sender goes away. Open streams go on; an edge opens no new ones from then on.
struct Drain {
  bool operator==(const Drain&) const = default;
};

// Edge to agent, after the agent's drain: every stream of this tunnel has ended, and none will come.
struct Drained {
  bool operator==(const Drained&) const = default;
};

// Edge to agent: declare again, at a moment of your own within `spread`, because the hub has other edges now.
struct DeclareAgain {
  Duration spread;
  bool operator==(const DeclareAgain&) const = default;
};

// Edge to agent: whether the edge listens on a port that a service of the agent has. Sent when it does not,
// and when it does after all.
struct PortState {
  route::PublicPort port;
  bool is_bound;
  std::string reason;  // why not, for people
  bool operator==(const PortState&) const = default;
};

// Agent to edge: whether the origin of a service works. Sent behind the hello for each service whose origin
// does not, and at each change. What was never told of works.
struct Health {
  std::string service;  // as in health_name()
  bool is_healthy;
  std::string reason;  // why not, for the public: without addresses, names and paths
  bool operator==(const Health&) const = default;
};
constexpr size_t kMaxHealthReason = 200;
// "app.example.com", "*.example.com", "tcp:ssh": what agent and edge call a service in Health.
std::string health_name(const route::Route& route);

using ControlMessage = std::variant<Hello, Welcome, Drain, Drained, DeclareAgain, PortState, Health>;

// Length and JSON.
Bytes encode(const ControlMessage& message);

// Takes messages out of a byte stream that arrives in any pieces. Sans-I/O; holds at most one message.
class ControlReader {
 public:
  void feed(ByteView bytes) { pending_.insert(pending_.end(), bytes.begin(), bytes.end()); }
  // The next known message; nullopt: feed more. kInvalid: too long, not JSON, a member missing or of the
  // wrong type.
  Result<std::optional<ControlMessage>> next();

 private:
  Bytes pending_;
};

// kInvalid, naming both versions, unless `theirs` is ours. `who` is the peer: "the agent".
Result<> check_protocol(int theirs, std::string_view who, std::string_view their_version);

// A control stream on a live connection. One receive() at a time; send() at any time.
class ControlStream {
 public:
  ControlStream(net::EventLoop& loop, std::shared_ptr<quic::Stream> stream)
      : loop_(loop), stream_(std::move(stream)) {}

  // Never waits: messages are far smaller than what a stream buffers. kUnavailable when the peer reads so
  // little that this one does not fit, kClosed when the connection ended.
  Result<> send(const ControlMessage& message);
  // Errors: kInvalid as ControlReader::next, kTimeout, kReset, kClosed (also when the peer finished the
  // stream).
  net::Task<Result<ControlMessage>> receive(TimePoint deadline);

 private:
  net::EventLoop& loop_;
  std::shared_ptr<quic::Stream> stream_;
  ControlReader reader_;
};

}  // namespace culvert::tunnel
