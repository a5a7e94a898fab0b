#include "quic/engine.h"

#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/crypto.h"

namespace culvert::quic {
namespace {

// A Retry token is used at once or not at all.
constexpr ngtcp2_duration kRetryTokenLife = 10 * NGTCP2_SECONDS;
// RFC 9000, 10.3.3: a reset is shorter than what it answers, so that two endpoints cannot answer each other
// for ever, and long enough to pass for a packet where it can be.
constexpr size_t kMinReset = 21;
constexpr size_t kMaxReset = 43;

// How long a connection rests whose batch the socket did not take; the socket's own word usually comes first.
constexpr Duration kBlockedPause = std::chrono::milliseconds(10);

std::string route_key(const uint8_t* id, size_t size) { return std::string(as_text({id, size})); }

ngtcp2_tstamp stamp(TimePoint time) { return static_cast<ngtcp2_tstamp>(time.time_since_epoch().count()); }

}  // namespace

Engine::Engine(Config config, Random& random, EngineHost& host)
    : config_(std::move(config)),
      random_(random),
      host_(host),
      tls_(config_.key, config_.accept_alpns),
      budget_(config_.limits.max_endpoint_window) {
  // From the identity, not from chance: a restarted process must reset the connections of the one before it.
  reset_key_ = hmac_sha256(config_.key.expose_seed(), as_bytes("culvert stateless reset"));
  random_.fill(token_key_);
}

Engine::~Engine() = default;

// ---- ConnectionHost

void Engine::on_dirty(Connection& connection) {
  auto found = connections_.find(&connection);
  if (found == connections_.end() || found->second.dirty) return;  // being built: adopt() settles it
  found->second.dirty = true;
  dirty_.push_back(found->second.connection);
  if (!flushing_) host_.want_flush();
}

void Engine::add_route(const ngtcp2_cid& id, Connection& connection) {
  std::string key = route_key(id.data, id.datalen);
  routes_[key] = &connection;
  auto owner = connections_.find(&connection);
  if (owner != connections_.end())
    owner->second.routes.push_back(std::move(key));  // else adopt() asks for all
}

void Engine::remove_route(const ngtcp2_cid& id) {
  forget(routes_, &Entry::routes, route_key(id.data, id.datalen));
}

void Engine::add_reset_token(ByteView token, Connection& connection) {
  auto owner = connections_.find(&connection);
  if (owner == connections_.end()) return;
  auto [place, fresh] = reset_tokens_.try_emplace(std::string(as_text(token)), &connection);
  if (fresh) owner->second.reset_tokens.push_back(place->first);
}

void Engine::remove_reset_token(ByteView token) {
  forget(reset_tokens_, &Entry::reset_tokens, std::string(as_text(token)));
}

// Whoever holds most pays, not whoever happens to receive at the cap.
void Engine::on_overload() {
  while (held_ > config_.limits.max_endpoint_held) {
    auto largest =
        std::ranges::max_element(connections_, {}, [](const auto& entry) { return entry.first->held(); });
    if (largest == connections_.end() || !largest->first->give_up_stalled()) return;
  }
}

void Engine::forget(std::unordered_map<std::string, Connection*>& map, std::vector<std::string> Entry::* keys,
                    const std::string& key) {
  auto place = map.find(key);
  if (place == map.end()) return;
  auto owner = connections_.find(place->second);
  if (owner != connections_.end()) std::erase(owner->second.*keys, key);
  map.erase(place);
}

void Engine::make_connection_id(ngtcp2_cid& id, uint8_t* reset_token) {
  id.datalen = kIdSize;
  random_.fill({id.data, kIdSize});
  // The kernel steers by this byte; the largest multiple of `workers` below 256 keeps it unbiased enough.
  unsigned multiples = 256 / config_.workers;
  id.data[0] = static_cast<uint8_t>(id.data[0] % multiples * config_.workers + config_.worker);
  CHECK(ngtcp2_crypto_generate_stateless_reset_token(reset_token, reset_key_.data(), reset_key_.size(),
                                                     &id) == 0);
}

// ---- In

std::shared_ptr<Connection> Engine::connect(const SocketAddr& local, const SocketAddr& remote,
                                            const EndpointId& peer, const std::string& alpn, TimePoint now) {
  std::shared_ptr<Connection> connection = Connection::client(shared(), local, remote, peer, alpn, now);
  adopt(connection);
  return connection;
}

void Engine::adopt(std::shared_ptr<Connection> connection) {
  Connection* raw = connection.get();
  connections_.emplace(raw, Entry{std::move(connection)});
  for (const ngtcp2_cid& id : raw->connection_ids()) add_route(id, *raw);
  on_dirty(*raw);
}

void Engine::receive(const net::ReceivedDatagram& datagram, TimePoint now) {
  ++counters_.datagrams_received;
  if (datagram.data.empty()) {  // ngtcp2 asserts that there is a first byte
    ++counters_.datagrams_malformed;
    return;
  }
  ngtcp2_version_cid ids;
  int error = ngtcp2_pkt_decode_version_cid(&ids, datagram.data.data(), datagram.data.size(), kIdSize);
  if (error != 0 && error != NGTCP2_ERR_VERSION_NEGOTIATION) {
    ++counters_.datagrams_malformed;
    return;
  }
  auto found = routes_.find(route_key(ids.dcid, ids.dcidlen));
  if (found != routes_.end()) {
    found->second->read(datagram, now);
    return;
  }
  ++counters_.datagrams_unknown;
  if (error == NGTCP2_ERR_VERSION_NEGOTIATION) {
    send_version_negotiation(datagram, ids);
  } else {
    receive_unknown(datagram, ids, now);
  }
}

void Engine::receive_unknown(const net::ReceivedDatagram& datagram, const ngtcp2_version_cid& ids,
                             TimePoint now) {
  bool is_long_header = (datagram.data[0] & 0x80) != 0;
  if (!is_long_header) {
    if (datagram.data.size() >= kMinReset) {
      auto found =
          reset_tokens_.find(std::string(as_text(datagram.data.last(NGTCP2_STATELESS_RESET_TOKENLEN))));
      if (found != reset_tokens_.end()) return found->second->read(datagram, now);
    }
    return send_stateless_reset(datagram, ids, now);
  }
  ngtcp2_pkt_hd header;
  if (!tls_.accepts() || ngtcp2_accept(&header, datagram.data.data(), datagram.data.size()) != 0) {
    ++counters_.datagrams_malformed;
    return;
  }

  Connection::ServerStart start{header, std::nullopt};
  if (header.tokenlen > 0 && header.token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2) {
    sockaddr_storage remote;
    socklen_t remote_size = datagram.remote.to_sockaddr(remote);
    ngtcp2_cid odcid;
    int bad = ngtcp2_crypto_verify_retry_token2(
        &odcid, header.token, header.tokenlen, token_key_.data(), token_key_.size(), header.version,
        reinterpret_cast<sockaddr*>(&remote), remote_size, &header.dcid, kRetryTokenLife, stamp(now));
    if (bad != 0) {
      ++counters_.tokens_invalid;
      return refuse(datagram, header, NGTCP2_INVALID_TOKEN);
    }
    start.odcid = odcid;
  }
  if (connections_.size() >= config_.limits.max_connections ||
      handshaking_.size() >= config_.limits.max_handshakes) {
    ++counters_.handshakes_refused;
    return refuse(datagram, header, NGTCP2_CONNECTION_REFUSED);
  }
  if (!start.odcid && unvalidated_ >= config_.limits.max_unvalidated) {
    return send_retry(datagram, header, now);
  }

  ++counters_.handshakes_started;
  std::shared_ptr<Connection> connection =
      Connection::server(shared(), datagram.local, datagram.remote, start, now);
  handshaking_.insert(connection.get());
  if (!start.odcid) ++unvalidated_;
  adopt(connection);
  // Until the client has learnt an id of ours, its packets carry the one it chose.
  add_route(header.dcid, *connection);
  connection->read(datagram, now);
}

// ---- Stateless answers

void Engine::reply(const net::ReceivedDatagram& datagram, ByteView packet) {
  // Lost if the sink is full: a stateless answer may be, the peer asks again.
  host_.send({packet, packet.size(), datagram.remote, datagram.local, 0});
}

void Engine::send_version_negotiation(const net::ReceivedDatagram& datagram, const ngtcp2_version_cid& ids) {
  if (!tls_.accepts() || datagram.data.size() < NGTCP2_MAX_UDP_PAYLOAD_SIZE) return;
  std::array<uint8_t, 256> packet;
  uint8_t unused;
  random_.fill({&unused, 1});
  const uint32_t versions[] = {NGTCP2_PROTO_VER_V1};
  ngtcp2_ssize size = ngtcp2_pkt_write_version_negotiation(packet.data(), packet.size(), unused, ids.scid,
                                                           ids.scidlen, ids.dcid, ids.dcidlen, versions, 1);
  if (size <= 0) return;
  ++counters_.version_negotiations_sent;
  reply(datagram, {packet.data(), static_cast<size_t>(size)});
}

void Engine::send_stateless_reset(const net::ReceivedDatagram& datagram, const ngtcp2_version_cid& ids,
                                  TimePoint now) {
  if (datagram.data.size() <= kMinReset || ids.dcidlen != kIdSize || !reset_limit_.allow(now)) return;
  ngtcp2_cid id;
  ngtcp2_cid_init(&id, ids.dcid, ids.dcidlen);
  uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN];
  CHECK(ngtcp2_crypto_generate_stateless_reset_token(token, reset_key_.data(), reset_key_.size(), &id) == 0);
  std::array<uint8_t, kMaxReset> noise;
  random_.fill(noise);
  size_t length = std::min(kMaxReset, datagram.data.size() - 1);
  std::array<uint8_t, kMaxReset> packet;
  ngtcp2_ssize size = ngtcp2_pkt_write_stateless_reset(packet.data(), length, token, noise.data(),
                                                       length - NGTCP2_STATELESS_RESET_TOKENLEN);
  if (size <= 0) return;
  ++counters_.stateless_resets_sent;
  reply(datagram, {packet.data(), static_cast<size_t>(size)});
}

void Engine::send_retry(const net::ReceivedDatagram& datagram, const ngtcp2_pkt_hd& header, TimePoint now) {
  ngtcp2_cid source;
  uint8_t unused_token[NGTCP2_STATELESS_RESET_TOKENLEN];
  make_connection_id(source, unused_token);
  sockaddr_storage remote;
  socklen_t remote_size = datagram.remote.to_sockaddr(remote);
  std::array<uint8_t, NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2> token;
  ngtcp2_ssize token_size = ngtcp2_crypto_generate_retry_token2(
      token.data(), token_key_.data(), token_key_.size(), header.version,
      reinterpret_cast<sockaddr*>(&remote), remote_size, &source, &header.dcid, stamp(now));
  if (token_size < 0) return;
  std::array<uint8_t, NGTCP2_MAX_UDP_PAYLOAD_SIZE> packet;
  ngtcp2_ssize size =
      ngtcp2_crypto_write_retry(packet.data(), packet.size(), header.version, &header.scid, &source,
                                &header.dcid, token.data(), static_cast<size_t>(token_size));
  if (size <= 0) return;
  ++counters_.retries_sent;
  reply(datagram, {packet.data(), static_cast<size_t>(size)});
}

void Engine::refuse(const net::ReceivedDatagram& datagram, const ngtcp2_pkt_hd& header, uint64_t error) {
  std::array<uint8_t, NGTCP2_MAX_UDP_PAYLOAD_SIZE> packet;
  ngtcp2_ssize size = ngtcp2_crypto_write_connection_close(packet.data(), packet.size(), header.version,
                                                           &header.scid, &header.dcid, error, nullptr, 0);
  if (size > 0) reply(datagram, {packet.data(), static_cast<size_t>(size)});
}

// ---- Out

void Engine::flush(TimePoint now) {
  if (flushing_) return;
  flushing_ = true;
  // Announcing may make more connections dirty, and their users may then write to the first ones again; what
  // is still dirty after this round is flushed by the next want_flush().
  std::vector<std::shared_ptr<Connection>> round = std::exchange(dirty_, {});
  for (const std::shared_ptr<Connection>& connection : round) {
    if (connection->state() != Connection::State::kHandshaking && handshaking_.contains(connection.get())) {
      finish_handshake(*connection);
      // Before its first announcement: streams may have come with the handshake.
      if (connection->state() == Connection::State::kOpen) host_.on_accepted(connection);
    }
    connection->announce();
  }
  for (const std::shared_ptr<Connection>& connection : round) {
    if (auto found = connections_.find(connection.get()); found != connections_.end())
      found->second.dirty = false;
    if (!connection->write(now, host_)) block(*connection);
    settle(*connection, now);
  }
  flushing_ = false;
  if (!dirty_.empty()) host_.want_flush();
}

void Engine::block(Connection& connection) {
  auto found = connections_.find(&connection);
  if (found == connections_.end() || found->second.blocked) return;
  found->second.blocked = true;
  blocked_.push_back(found->second.connection);
}

void Engine::finish_handshake(Connection& connection) {
  if (handshaking_.erase(&connection) > 0 && !connection.came_with_token()) --unvalidated_;
}

// What writing left behind: a failure or room to announce, an end, a new deadline.
void Engine::settle(Connection& connection, TimePoint now) {
  if (connection.state() == Connection::State::kDead) {
    connection.announce();
    remove(connection);
    return;
  }
  if (connection.has_announcements()) on_dirty(connection);
  schedule(connection, now);
}

void Engine::schedule(Connection& connection, TimePoint now) {
  auto found = connections_.find(&connection);
  if (found == connections_.end()) return;
  Entry& entry = found->second;
  TimePoint deadline = connection.deadline();
  // Nothing can be sent while the sink is full, and what is due stays due: ask again later, not at once.
  if (entry.blocked) deadline = std::max(deadline, now + kBlockedPause);
  // A later deadline is noticed when the earlier one fires: most of them move with every packet.
  if (deadline >= entry.armed) return;
  if (entry.armed != TimePoint::max()) timers_.erase({entry.armed, &connection});
  entry.armed = deadline;
  timers_.emplace(deadline, &connection);
}

void Engine::remove(Connection& connection) {
  auto found = connections_.find(&connection);
  if (found == connections_.end()) return;
  for (const std::string& key : found->second.routes) {
    auto route = routes_.find(key);
    if (route != routes_.end() && route->second == &connection) routes_.erase(route);
  }
  for (const std::string& key : found->second.reset_tokens) reset_tokens_.erase(key);
  finish_handshake(connection);
  if (found->second.armed != TimePoint::max()) timers_.erase({found->second.armed, &connection});
  connections_.erase(found);
}

TimePoint Engine::deadline() const { return timers_.empty() ? TimePoint::max() : timers_.begin()->first; }

void Engine::on_deadline(TimePoint now) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    Connection* connection = timers_.begin()->second;
    timers_.erase(timers_.begin());
    Entry& entry = connections_.at(connection);
    entry.armed = TimePoint::max();
    if (connection->deadline() <= now) {
      connection->on_deadline(now);
      on_dirty(*connection);
    } else {
      schedule(*connection, now);
    }
  }
  flush(now);
}

void Engine::on_writable(TimePoint now) {
  for (const std::shared_ptr<Connection>& connection : std::exchange(blocked_, {})) {
    if (auto found = connections_.find(connection.get()); found != connections_.end())
      found->second.blocked = false;
    on_dirty(*connection);
  }
  flush(now);
}

void Engine::migrate(const SocketAddr& local, TimePoint now) {
  for (auto& [connection, entry] : connections_) connection->migrate(local, now);
}

void Engine::close_all(AppCode code, const std::string& reason, TimePoint now) {
  std::vector<std::shared_ptr<Connection>> all;
  for (auto& [connection, entry] : connections_) all.push_back(entry.connection);
  for (const std::shared_ptr<Connection>& connection : all) connection->close(code, reason);
  flush(now);
}

}  // namespace culvert::quic
