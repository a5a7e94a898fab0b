#include "quic/engine.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "base/crypto.h"
#include "base/log.h"
#include "quic/core.h"

namespace culvert::quic {
namespace {

// A Retry token is used at once or not at all.
constexpr uint64_t kRetryTokenLifetimeMs = 10'000;
// First packets that wait for a decision inside the core. We decide at once, so few ever do.
constexpr uint64_t kMaxIncoming = 16;
constexpr uint64_t kIncomingBuffer = 64 * 1024;

// How long a connection rests whose batch the socket did not take; the socket's own notification usually
// comes first.
constexpr Duration kBlockedPause = std::chrono::milliseconds(10);

std::vector<core::Slice> slices(const auto& list) {
  std::vector<core::Slice> out;
  for (const auto& each : list) out.push_back({reinterpret_cast<const uint8_t*>(each.data()), each.size()});
  return out;
}

bool is_usable_key(const uint8_t* key) { return PublicKey::from_bytes({key, PublicKey::kSize}).has_value(); }

}  // namespace

Engine::Engine(Config config, Random& random, EngineHost& host)
    : config_(std::move(config)),
      protocols_(std::move(config_.protocols)),
      host_(host),
      memory_(config_.caps) {
  CHECK(core::cq_layout() == core::kLayout);
  core::EndpointConfig core_config{};
  std::ranges::copy(config_.key.expose_seed(), core_config.seed.begin());
  // From the identity, not from chance: a restarted process must reset the connections of the one before it,
  // and a sibling process must accept its tokens.
  core_config.reset_key = hmac_sha256(config_.key.expose_seed(), as_bytes("culvert stateless reset"));
  core_config.token_key = hmac_sha256(config_.key.expose_seed(), as_bytes("culvert retry token"));
  random.fill(core_config.rng_seed);
  random.fill(core_config.id_seed);
  core_config.worker = static_cast<uint8_t>(config_.worker);
  core_config.generation = config_.generation;
  core_config.max_udp_payload =
      static_cast<uint16_t>(std::max(config_.limits.max_udp_payload, protocols_.max_udp_payload()));
  core_config.max_incoming = kMaxIncoming;
  core_config.incoming_buffer = kIncomingBuffer;
  core_config.incoming_buffer_total = kMaxIncoming * kIncomingBuffer;
  core_config.retry_token_lifetime_ms = kRetryTokenLifetimeMs;
  core_config.client = to_core(config_.limits);
  core_config.client.receive_window = UINT64_MAX;
  core_config.key_check = is_usable_key;
  protocols_.describe(core_config);
  core_ = core::cq_endpoint_new(&core_config);
  wipe(core_config.seed);
  CHECK(core_ != nullptr);
}

Engine::~Engine() {
  timers_.clear();
  dirty_.clear();
  blocked_.clear();
  policy_.clear();
  for (auto& [raw, connection] : connections_) CHECK(connection.use_count() >= 1);
  connections_.clear();
  core::cq_endpoint_free(core_);
}

EngineCounters Engine::counters() const {
  EngineCounters counters = counters_;
  counters.keys_verified = core::cq_endpoint_keys_verified(core_);
  counters.core_faults = core::cq_endpoint_panics(core_);
  counters.receive_memory = memory_.received;
  counters.send_memory = memory_.sending.used();
  return counters;
}

// ---- ConnectionHost

void Engine::on_dirty(Connection& connection) {
  if (std::exchange(connection.slot.dirty, true)) return;
  auto found = connections_.find(&connection);
  if (found == connections_.end()) return;  // being built: add() does it
  dirty_.push_back(found->second);
  if (!flushing_) host_.want_flush();
}

void Engine::on_starved(Connection& connection) {
  auto found = connections_.find(&connection);
  if (found == connections_.end()) return;
  policy_.starved(found->second);
  on_dirty(connection);
}

// ---- In

std::shared_ptr<Connection> Engine::connect(const SocketAddr& remote, const EndpointId& peer,
                                            const std::string& alpn, TimePoint now) {
  return dialled(
      core::cq_endpoint_connect(core_, core::to_core(now), core::to_core(remote), peer.bytes().data(),
                                reinterpret_cast<const uint8_t*>(alpn.data()), alpn.size()),
      peer, alpn, now);
}

std::shared_ptr<Connection> Engine::connect(const SocketAddr& remote, const X509Server& server,
                                            const std::string& alpn, TimePoint now) {
  const std::vector<core::Slice> roots = slices(server.roots);
  return dialled(
      core::cq_endpoint_connect_x509(
          core_, core::to_core(now), core::to_core(remote),
          {reinterpret_cast<const uint8_t*>(server.name.data()), server.name.size()}, roots.data(),
          roots.size(), server.proves_key, reinterpret_cast<const uint8_t*>(alpn.data()), alpn.size()),
      std::nullopt, alpn, now);
}

std::shared_ptr<Connection> Engine::dialled(core::Connection* core, std::optional<EndpointId> peer,
                                            const std::string& alpn, TimePoint now) {
  if (core == nullptr) return nullptr;
  auto connection = std::make_shared<Connection>(shared(config_.limits), core, false, false, peer, alpn, now);
  add(connection);
  return connection;
}

void Engine::add(std::shared_ptr<Connection> connection) {
  Connection& added = *connection;
  connections_.emplace(&added, std::move(connection));
  added.slot.dirty = false;
  added.slot.number = ++last_number_;
  on_dirty(added);
}

void Engine::receive(const net::ReceivedDatagram& datagram, TimePoint now) {
  ++counters_.datagrams_received;
  core::Admission admission = core::Admission::kAccept;
  if (connections_.size() >= config_.caps.max_connections ||
      handshaking_.size() >= config_.caps.max_handshakes) {
    admission = core::Admission::kRefuse;
  } else if (unvalidated_ >= config_.caps.max_unvalidated) {
    admission = core::Admission::kRetry;
  }
  // An endpoint that only dials lets the kernel choose the source of what it sends.
  const core::Address local = !protocols_.empty() && !datagram.local.is_unspecified()
                                  ? core::to_core(datagram.local)
                                  : core::Address{};
  core::Received received;
  core::cq_endpoint_receive(core_, core::to_core(now), core::to_core(datagram.remote), local, datagram.ecn,
                            datagram.data.data(), datagram.data.size(), admission, &received);
  switch (received.kind) {
    case core::ReceivedKind::kNothing:
      ++counters_.datagrams_dropped;
      return;
    case core::ReceivedKind::kKnown:
      // A connection that is being destroyed has no user any more.
      if (received.user != nullptr) static_cast<Connection*>(received.user)->received(now);
      return;
    case core::ReceivedKind::kNew: {
      ++counters_.handshakes_started;
      auto connection =
          std::make_shared<Connection>(shared(protocols_.limits(received.policy)), received.connection, true,
                                       received.validated, std::nullopt, "", now);
      handshaking_.insert(connection.get());
      if (!received.validated) ++unvalidated_;
      add(std::move(connection));
      return;
    }
    case core::ReceivedKind::kResponse:
      return send_response(received, datagram);
  }
}

void Engine::send_response(const core::Received& received, const net::ReceivedDatagram& datagram) {
  switch (received.response_kind) {
    case core::ResponseKind::kNone:
      break;
    case core::ResponseKind::kStateless:
      ++counters_.stateless_sent;
      break;
    case core::ResponseKind::kRetry:
      ++counters_.retries_sent;
      break;
    case core::ResponseKind::kRefused:
      ++counters_.handshakes_refused;
      break;
    case core::ResponseKind::kRejected:
      ++counters_.handshakes_rejected;
      break;
  }
  // Lost if the sink is full: a stateless response may be, the peer asks again.
  const core::Transmit& response = received.response;
  host_.send({{response.data, response.size}, response.size, datagram.remote, datagram.local, 0});
}

// ---- Out

void Engine::flush(TimePoint now) {
  if (flushing_) return;
  flushing_ = true;
  // Dispatching may make more connections dirty, and their users may then write to the first ones again; what
  // is still dirty after this round is flushed by the next want_flush().
  std::vector<std::shared_ptr<Connection>> round = std::exchange(dirty_, {});
  for (const std::shared_ptr<Connection>& connection : round) {
    connection->collect();
    if (connection->state() != Connection::State::kHandshaking && handshaking_.contains(connection.get())) {
      complete_handshake(*connection);
      // Before its first notification: streams may have come with the handshake.
      if (connection->state() == Connection::State::kOpen) {
        host_.on_accepted(connection);
      } else {
        ++counters_.handshakes_failed;
      }
    }
    connection->dispatch();
  }
  for (const std::shared_ptr<Connection>& connection : round) {
    connection->slot.dirty = false;
    if (!connection->write(now, host_)) block(*connection);
    connection->collect();
    settle(*connection, now);
  }
  policy_.relieve_sending(connections_, now);
  flushing_ = false;
  report_faults(now);
  if (!dirty_.empty()) host_.want_flush();
}

void Engine::report_faults(TimePoint now) {
  const uint64_t faults = core::cq_endpoint_panics(core_);
  if (std::exchange(faults_reported_, faults) == faults || !fault_lines_.allow(now)) return;
  std::array<char, 1024> text;
  const size_t size = core::cq_last_panic(reinterpret_cast<uint8_t*>(text.data()), text.size());
  log_error("quic_core_fault", "faults={} detail={}", faults, quoted(std::string_view(text.data(), size)));
}

void Engine::block(Connection& connection) {
  if (std::exchange(connection.slot.blocked, true)) return;
  auto found = connections_.find(&connection);
  if (found != connections_.end()) blocked_.push_back(found->second);
}

void Engine::complete_handshake(Connection& connection) {
  if (handshaking_.erase(&connection) > 0 && !connection.came_with_token()) --unvalidated_;
}

// After writing: a failure or room to dispatch, an end, a new deadline.
void Engine::settle(Connection& connection, TimePoint now) {
  connection.refresh();
  if (connection.state() == Connection::State::kDead) {
    connection.dispatch();
    remove(connection);
    return;
  }
  if (connection.has_notifications()) on_dirty(connection);
  schedule(connection, now);
}

void Engine::schedule(Connection& connection, TimePoint now) {
  TimePoint deadline = connection.deadline();
  // Nothing can be sent while the sink is full, and what is due stays due: try again later, not immediately.
  if (connection.slot.blocked) deadline = std::max(deadline, now + kBlockedPause);
  // A later deadline is noticed when the earlier one fires: most of them move with every packet.
  if (deadline >= connection.slot.armed) return;
  if (connection.slot.armed != TimePoint::max())
    timers_.erase({connection.slot.armed, connection.slot.number});
  connection.slot.armed = deadline;
  timers_.emplace(std::pair(deadline, connection.slot.number), &connection);
}

void Engine::remove(Connection& connection) {
  auto found = connections_.find(&connection);
  if (found == connections_.end()) return;
  complete_handshake(connection);
  if (connection.slot.armed != TimePoint::max())
    timers_.erase({connection.slot.armed, connection.slot.number});
  connections_.erase(found);
}

TimePoint Engine::deadline() const {
  return timers_.empty() ? TimePoint::max() : timers_.begin()->first.first;
}

void Engine::on_deadline(TimePoint now) {
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    Connection& connection = *timers_.begin()->second;
    timers_.erase(timers_.begin());
    connection.slot.armed = TimePoint::max();
    if (connection.deadline() <= now) {
      connection.on_deadline(now);
      on_dirty(connection);
    } else {
      schedule(connection, now);
    }
  }
  flush(now);
}

void Engine::on_writable(TimePoint now) {
  for (const std::shared_ptr<Connection>& connection : std::exchange(blocked_, {})) {
    connection->slot.blocked = false;
    on_dirty(*connection);
  }
  flush(now);
}

void Engine::network_changed(TimePoint now) {
  for (const std::shared_ptr<Connection>& connection : in_order()) connection->network_changed(now);
}

std::vector<std::shared_ptr<Connection>> Engine::in_order() const {
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& [raw, connection] : connections_) all.push_back(connection);
  std::ranges::sort(all, {}, [](const auto& connection) { return connection->slot.number; });
  return all;
}

void Engine::close_all(AppCode code, const std::string& reason, TimePoint now) {
  for (const std::shared_ptr<Connection>& connection : in_order()) connection->close(code, reason);
  flush(now);
}

}  // namespace culvert::quic
