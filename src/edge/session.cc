#include "edge/session.h"

#include <utility>
#include <vector>

#include "base/log.h"
#include "edge/answers.h"
#include "edge/worker.h"
#include "tunnel/protocol.h"

namespace culvert::edge {
namespace {

// An agent dials as soon as its declaration is answered; the routes that follow from it may be a moment
// behind.
constexpr Duration kLeaseGrace = std::chrono::seconds(1);

const char* to_string(endpoint::CloseReason::Kind kind) {
  using Kind = endpoint::CloseReason::Kind;
  switch (kind) {
    case Kind::kLocal:
      return "local";
    case Kind::kApplication:
      return "agent";
    case Kind::kTransport:
      return "transport";
    case Kind::kIdleTimeout:
      return "idle_timeout";
    case Kind::kStatelessReset:
      return "stateless_reset";
    case Kind::kHandshake:
      return "handshake";
  }
  return "unknown";
}

// The control stream, after a hello that speaks our protocol.
net::Task<Result<tunnel::ControlStream>> greet(net::EventLoop& loop, endpoint::ConnectionPtr connection,
                                               TimePoint deadline) {
  // accept_bidi has no deadline of its own: the end of the connection ends it.
  net::Timer impatience(loop);
  impatience.at(deadline, [connection] { connection->close(tunnel::kCloseProtocol, "no hello in time"); });
  auto stream = co_await connection->accept_bidi();
  impatience.cancel();
  if (!stream) co_return std::unexpected(stream.error());

  tunnel::ControlStream control(loop, *stream);
  auto message = co_await control.receive(deadline);
  if (!message) co_return std::unexpected(message.error());
  const auto* hello = std::get_if<tunnel::Hello>(&*message);
  if (hello == nullptr) co_return fail(ErrorCode::kInvalid, "the first message was no hello");
  auto same = tunnel::check_protocol(hello->protocol, "the agent", hello->agent_version);
  if (!same) co_return std::unexpected(same.error());
  co_return control;
}

// What an agent says after its hello must be well formed.
net::Task<> listen_to(SessionPtr session) {
  while (true) {
    auto message = co_await session->control().receive(TimePoint::max());
    if (message && std::holds_alternative<tunnel::Drain>(*message)) session->drain();
    if (message) continue;
    if (message.error().code == ErrorCode::kInvalid) {
      session->close(tunnel::kCloseProtocol, message.error().message);
    }
    co_return;
  }
}

}  // namespace

void Session::carry(CarriedConnection connection, std::unique_ptr<net::ByteStream> socket,
                    Opening::Taken opened) {
  CarriedConnection& entry = worker_.carried().add(std::move(connection));
  ++carried_;
  tunnel::Pump::Config config;
  config.socket = std::move(socket);
  config.stream = std::move(opened.stream);
  config.scratch = worker_.scratch();
  config.abort_code = tunnel::kStreamClientGone;
  config.initial = std::move(opened.initial);
  config.initial_sent = opened.sent;
  config.return_refused_socket = true;
  config.limits = worker_.shared().config.options.pump;
  config.return_unanswered = opened.repeatable;
  config.on_done = [self = shared_from_this(), id = entry.id](tunnel::PumpResult result) {
    self->ended(id, std::move(result));
  };
  auto pump = tunnel::Pump::create(std::move(config));
  entry.pump = pump;
  count(worker_.shared().counters.streams_carried);
  pump->start();  // may end it, and the entry, at once
}

void Session::ended(uint64_t id, tunnel::PumpResult result) {
  CarriedConnection connection = worker_.carried().remove(id);
  --carried_;
  Counters& counters = worker_.shared().counters;
  count(counters.bytes_to_origin, result.bytes.to_stream);
  count(counters.bytes_to_client, result.bytes.to_socket);
  log_debug("connection_closed",
            "id={:x} host={} client={} agent={} bytes_in={} bytes_out={} reason={} code={} duration_ms={}",
            connection.id, culvert::quoted(connection.host), connection.client.to_string(),
            agent().short_text(), result.bytes.to_stream, result.bytes.to_socket,
            tunnel::to_string(result.end), tunnel::stream_code_name(result.code),
            std::chrono::duration_cast<std::chrono::milliseconds>(worker_.loop().now() - connection.accepted)
                .count());
  if (result.given_up) worker_.log_stalled_client(connection.host, connection.client);
  if (result.unanswered_socket) {
    const ByteView received = ByteView(result.initial).subspan(connection.header_size);
    worker_.serve_again(std::move(result.unanswered_socket), to_bytes(received), std::move(connection));
  } else if (result.refused_socket) {
    count(counters.refused_by_agent);
    worker_.say_and_close(std::move(result.refused_socket), refusal_answer(connection.tls_mode, result.code),
                          std::move(connection.slot));
  }
  tell_if_drained();
}

void Session::drain() {
  if (std::exchange(is_draining_, true)) return;
  worker_.shared().tunnels.set_draining(agent_, generation);
  log_info("agent_draining", "agent={} connections={}", agent_.short_text(), connections());
  tell_if_drained();
}

// Once: no connection comes after the last has ended. An agent that does not take the message waits its own
// time.
void Session::tell_if_drained() {
  if (!is_draining_ || connections() > 0 || !is_open()) return;
  if (!std::exchange(is_drained_, true)) (void)control_.send(tunnel::Drained{});
}

void Session::close(endpoint::AppCode code, std::string reason) {
  auto keep = shared_from_this();
  connection_->close(code, std::move(reason));
}

net::Task<> serve_tunnel(Worker& worker, endpoint::ConnectionPtr connection,
                         std::shared_ptr<void> unwelcomed) {
  Shared& shared = worker.shared();
  if (!connection->remote_id()) {
    connection->close(tunnel::kCloseProtocol, "a tunnel is for endpoints with a key");
    co_return;
  }
  const EndpointId agent = *connection->remote_id();
  const SocketAddr address = connection->path_stats().remote;

  auto control =
      co_await greet(worker.loop(), connection, worker.loop().now() + shared.config.tunnel_hello_timeout);
  if (!control) {
    count(shared.counters.refused_tunnel_hello);
    log_debug("tunnel_refused", "agent={} addr={} reason={}", agent.short_text(), address.to_string(),
              culvert::quoted(control.error().message));
    connection->close(tunnel::kCloseProtocol, control.error().message);
    co_return;
  }
  bool leased = co_await worker.wait_until_served(agent, worker.loop().now() + kLeaseGrace);
  if (!leased) {
    count(shared.counters.refused_tunnel_no_lease);
    log_debug("tunnel_refused", "agent={} addr={} reason=no_lease", agent.short_text(), address.to_string());
    connection->close(tunnel::kCloseNoLease, "this edge knows no lease of this agent; declare again");
    co_return;
  }
  if (worker.draining()) {
    connection->close(tunnel::kCloseDraining, "the edge is shutting down");
    co_return;
  }

  auto session = std::make_shared<Session>(worker, connection, std::move(*control));
  auto welcomed = session->control().send(
      tunnel::Welcome{tunnel::kControlProtocol, shared.config.version, shared.config.public_addr});
  if (!welcomed) {
    session->close(tunnel::kCloseProtocol, welcomed.error().message);
    co_return;
  }
  connection->admit();
  unwelcomed.reset();
  worker.add_session(session);
  count(shared.counters.tunnels_accepted);
  count(shared.counters.tunnels_active);
  log_info("agent_connected", "agent={} addr={}", agent.short_text(), address.to_string());

  co_await listen_to(session);
  endpoint::CloseReason reason = co_await connection->closed();
  const auto left = worker.remove_session(*session);
  shared.counters.tunnels_active.fetch_sub(1, std::memory_order_relaxed);
  log_info("agent_disconnected", "agent={} addr={} by={} code={} reason={}", agent.short_text(),
           address.to_string(), to_string(reason.kind), reason.code, culvert::quoted(reason.message));
  // Any other code leaves the lease alone: the agent may still serve through other edges.
  bool goodbye =
      reason.kind == endpoint::CloseReason::Kind::kApplication && reason.code == tunnel::kCloseGoodbye;
  if (!left) co_return;
  if (goodbye) {
    shared.control.agent_left(agent);
  } else if (*left == 0) {
    shared.control.tunnel_closed(agent);
  }
}

}  // namespace culvert::edge
