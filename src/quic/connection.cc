#include "quic/connection.h"

#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "base/log.h"
#include "quic/callbacks.h"

namespace culvert::quic {
namespace {

// Linux takes 64 segments and just under 64 KiB in one UDP_SEGMENT send.
constexpr size_t kMaxSegments = 64;
constexpr size_t kMaxBatchBytes = 65'000;

// Of the peer's connection ids: what ngtcp2 can hold, and how many of those the peer is not told of. A server
// needs one: after a NAT rebinding and a deliberate move in quick succession ngtcp2 (1.11) counts one retired
// id for some seconds more (see Connection::migrate), and without a spare the peer's replacement for it is a
// CONNECTION_ID_LIMIT_ERROR.
constexpr uint64_t kMaxIds = 8;
constexpr uint64_t kSpareIds = 1;

// How long a server may look after paths that share an id: it validates the new path, again if its first
// challenge had to be small, and then the old one, each for three PTO (RFC 9000, 8.2.4) that are at least
// those of an unknown path, a second each.
constexpr int kSettlingPtos = 9;
constexpr Duration kMinSettling = std::chrono::seconds(10);

// RFC 9002, 6.1.2: kGranularity.
constexpr Duration kTimerGranularity = std::chrono::milliseconds(1);

// RFC 9001, 4.8: CRYPTO_ERROR codes are 0x100 plus the TLS alert.
constexpr uint64_t kCryptoError = 0x100;

ngtcp2_tstamp stamp(TimePoint time) { return static_cast<ngtcp2_tstamp>(time.time_since_epoch().count()); }

ngtcp2_duration nanos(Duration duration) { return static_cast<ngtcp2_duration>(duration.count()); }

// A path for ngtcp2 with the storage its pointers need.
struct PathHolder {
  PathHolder(const SocketAddr& local, const SocketAddr& remote) {
    path.local.addrlen = local.to_sockaddr(local_storage);
    path.remote.addrlen = remote.to_sockaddr(remote_storage);
    path.local.addr = reinterpret_cast<sockaddr*>(&local_storage);
    path.remote.addr = reinterpret_cast<sockaddr*>(&remote_storage);
    path.user_data = nullptr;
  }
  PathHolder(const PathHolder&) = delete;

  sockaddr_storage local_storage;
  sockaddr_storage remote_storage;
  ngtcp2_path path;
};

std::string crypto_error_text(uint64_t code) {
  auto alert = static_cast<gnutls_alert_description_t>(code - kCryptoError);
  if (alert == kAlertNoApplicationProtocol) return "no common application protocol (ALPN)";
  const char* name = gnutls_alert_get_name(alert);
  return fmt::format("TLS alert {} ({})", static_cast<int>(alert), name == nullptr ? "unknown" : name);
}

CloseReason reason_from_peer(const ngtcp2_ccerr& error) {
  std::string text(as_text({error.reason, error.reasonlen}));
  if (error.type == NGTCP2_CCERR_TYPE_APPLICATION)
    return {CloseReason::Kind::kApplication, error.error_code, text};
  if (error.error_code >= kCryptoError && error.error_code < kCryptoError + 256) {
    return {CloseReason::Kind::kHandshake, error.error_code,
            "the peer refused: " + crypto_error_text(error.error_code)};
  }
  if (text.empty()) text = fmt::format("the peer closed with transport error 0x{:x}", error.error_code);
  return {CloseReason::Kind::kTransport, error.error_code, text};
}

}  // namespace

Connection::Connection(Shared shared, const SocketAddr& local, bool is_server, TimePoint now)
    : shared_(shared),
      tls_messages_(is_server),
      is_server_(is_server),
      local_(local),
      now_(now),
      last_heard_(now),
      window_(shared.limits.initial_connection_window, shared.limits.max_connection_window) {
  ref_.get_conn = [](ngtcp2_crypto_conn_ref* ref) {
    return static_cast<Connection*>(static_cast<TlsEvents*>(ref->user_data))->conn_;
  };
  ref_.user_data = static_cast<TlsEvents*>(this);
}

Connection::~Connection() {
  for (Stream* stream : known_) {
    stream->window_.release(shared_.budget);
    stream->connection_ = nullptr;
  }
  window_.release(shared_.budget);
  shared_.held -= held_;
  if (conn_ != nullptr) ngtcp2_conn_del(conn_);
  if (session_ != nullptr) gnutls_deinit(session_);
}

ngtcp2_settings Connection::make_settings(TimePoint now) const {
  ngtcp2_settings settings;
  ngtcp2_settings_default(&settings);
  settings.initial_ts = stamp(now);
  settings.cc_algo = NGTCP2_CC_ALGO_CUBIC;
  settings.max_tx_udp_payload_size = shared_.limits.max_udp_payload;
  settings.handshake_timeout = nanos(shared_.limits.handshake_timeout);
  settings.rand_ctx.native_handle = &shared_.random;
  // 0 switches ngtcp2's own window growth off: ours knows the endpoint's budget.
  settings.max_window = 0;
  settings.max_stream_window = 0;
  return settings;
}

ngtcp2_transport_params Connection::make_params() const {
  const Limits& limits = shared_.limits;
  ngtcp2_transport_params params;
  ngtcp2_transport_params_default(&params);
  params.initial_max_data = limits.initial_connection_window;
  params.initial_max_stream_data_bidi_local = limits.initial_stream_window;
  params.initial_max_stream_data_bidi_remote = limits.initial_stream_window;
  params.initial_max_stream_data_uni = limits.initial_stream_window;
  params.initial_max_streams_bidi = limits.max_streams_bidi;
  params.initial_max_streams_uni = limits.max_streams_uni;
  params.max_idle_timeout = nanos(limits.idle_timeout);
  params.active_connection_id_limit = kMaxIds - kSpareIds;
  params.max_datagram_frame_size = limits.max_datagram_frame;
  return params;
}

std::shared_ptr<Connection> Connection::client(Shared shared, const SocketAddr& local,
                                               const SocketAddr& remote, const EndpointId& peer,
                                               const std::string& alpn, TimePoint now) {
  std::shared_ptr<Connection> made(new Connection(shared, local, false, now));
  made->remote_id_ = peer;
  made->alpn_ = alpn;
  ngtcp2_cid destination;
  destination.datalen = NGTCP2_MAX_CIDLEN;
  shared.random.fill({destination.data, destination.datalen});
  ngtcp2_cid source;
  uint8_t unused_token[NGTCP2_STATELESS_RESET_TOKENLEN];
  shared.host.make_connection_id(source, unused_token);

  PathHolder holder(local, remote);
  ngtcp2_callbacks callbacks = make_callbacks();
  ngtcp2_settings settings = made->make_settings(now);
  ngtcp2_transport_params params = made->make_params();
  CHECK(ngtcp2_conn_client_new(&made->conn_, &destination, &source, &holder.path, NGTCP2_PROTO_VER_V1,
                               &callbacks, &settings, &params, nullptr, made.get()) == 0);
  made->finish_setup(shared.tls.new_client(&made->ref_, peer, alpn));
  return made;
}

std::shared_ptr<Connection> Connection::server(Shared shared, const SocketAddr& local,
                                               const SocketAddr& remote, const ServerStart& start,
                                               TimePoint now) {
  std::shared_ptr<Connection> made(new Connection(shared, local, true, now));
  made->came_with_token_ = made->address_validated_ = start.odcid.has_value();
  ngtcp2_cid source;
  ngtcp2_transport_params params = made->make_params();
  shared.host.make_connection_id(source, params.stateless_reset_token);
  params.stateless_reset_token_present = 1;
  params.original_dcid_present = 1;
  ngtcp2_settings settings = made->make_settings(now);
  if (start.odcid) {
    params.original_dcid = *start.odcid;
    params.retry_scid = start.header.dcid;
    params.retry_scid_present = 1;
    settings.token = start.header.token;
    settings.tokenlen = start.header.tokenlen;
    settings.token_type = NGTCP2_TOKEN_TYPE_RETRY;
  } else {
    params.original_dcid = start.header.dcid;
  }

  PathHolder holder(local, remote);
  ngtcp2_callbacks callbacks = make_callbacks();
  CHECK(ngtcp2_conn_server_new(&made->conn_, &start.header.scid, &source, &holder.path, start.header.version,
                               &callbacks, &settings, &params, nullptr, made.get()) == 0);
  made->finish_setup(shared.tls.new_server(&made->ref_));
  return made;
}

void Connection::finish_setup(gnutls_session_t session) {
  session_ = session;
  ngtcp2_conn_set_tls_native_handle(conn_, session_);
  ngtcp2_conn_set_keep_alive_timeout(conn_, nanos(shared_.limits.keep_alive));
}

// ---- TLS

bool Connection::accept_peer(const EndpointId& key) {
  if (is_server_ || *remote_id_ == key) return true;
  identity_refused_ = true;
  return false;
}

void Connection::on_session(Bytes session) {
  if (!is_server_) shared_.tls.sessions().put(*remote_id_, alpn_, std::move(session));
}

bool Connection::on_handshake_completed() {
  // A resumed handshake carries no certificate and GnuTLS does not call the verify function: check what the
  // session remembers, in both roles and always.
  std::optional<EndpointId> key = peer_key(session_);
  if (!key || !accept_peer(*key)) {
    identity_refused_ = true;
    return false;
  }
  alpn_ = negotiated_alpn(session_);
  if (alpn_.empty()) return false;
  remote_id_ = key;
  resumed_ = gnutls_session_is_resumed(session_) != 0;
  address_validated_ = true;
  if (is_server_) gnutls_session_ticket_send(session_, 1, 0);
  // The peer has been told its limit; ngtcp2 measures it by this one from now on. It has no call to say so.
  const_cast<ngtcp2_transport_params*>(ngtcp2_conn_get_local_transport_params(conn_))
      ->active_connection_id_limit = kMaxIds;
  state_ = State::kOpen;
  announce_connected_ = true;
  mark_dirty();
  return true;
}

int Connection::on_crypto_data(ngtcp2_encryption_level level, ByteView data) {
  // One message at a time, so that the check after the hello comes before anything is built on it.
  while (!data.empty()) {
    std::expected<TlsMessageReader::Part, uint8_t> part = tls_messages_.next(level, data);
    if (!part) return refuse_tls(part.error());
    int error =
        ngtcp2_crypto_recv_crypto_data_cb(conn_, level, 0, part->data.data(), part->data.size(), this);
    if (error != 0) return error;
    // RFC 9001, 8.1 and 8.2. GnuTLS tells of these extensions only when they are there, and ngtcp2 asserts
    // that its transport parameters were.
    const bool has_extensions =
        part->type == (is_server_ ? TlsMessageType::kClientHello : TlsMessageType::kEncryptedExtensions);
    if (!has_extensions || !part->is_last) continue;
    if (ngtcp2_conn_get_remote_transport_params(conn_) == nullptr) return refuse_tls(kAlertMissingExtension);
    if (negotiated_alpn(session_).empty()) return refuse_tls(kAlertNoApplicationProtocol);
  }
  return 0;
}

int Connection::refuse_tls(uint8_t alert) {
  shared_.host.on_tls_violation();
  ngtcp2_conn_set_tls_alert(conn_, alert);
  return NGTCP2_ERR_CRYPTO;
}

// ---- Packets in

void Connection::read(const net::ReceivedDatagram& datagram, TimePoint now) {
  now_ = now;
  last_heard_ = now;
  bytes_received_ += datagram.data.size();
  if (state_ == State::kDead || state_ == State::kDraining) return;
  if (state_ == State::kClosing) {
    // Answer the 1st, 2nd, 4th, 8th ... packet with the close again (RFC 9000, 10.2.1).
    ++packets_while_closing_;
    if ((packets_while_closing_ & (packets_while_closing_ - 1)) == 0) {
      send_close_ = true;
      mark_dirty();
    }
    return;
  }
  PathHolder holder(is_server_ ? datagram.local : local_, datagram.remote);
  ngtcp2_pkt_info info{.ecn = datagram.ecn};
  int error = ngtcp2_conn_read_pkt(conn_, &holder.path, &info, datagram.data.data(), datagram.data.size(),
                                   stamp(now));
  mark_dirty();
  if (error != 0) read_failed(error, now);
}

void Connection::read_failed(int library_error, TimePoint now) {
  switch (library_error) {
    case NGTCP2_ERR_DRAINING:
      // A stateless reset was reported by its callback and needs no draining.
      if (state_ != State::kDead) enter_draining(now);
      return;
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
      return die({CloseReason::Kind::kTransport, 0, "the first packet was not acceptable"});
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
      return die({CloseReason::Kind::kHandshake, 0, "the peer does not speak QUIC version 1"});
    default:
      return fail_with(library_error, now);
  }
}

void Connection::fail_with(int library_error, TimePoint now) {
  if (state_ != State::kHandshaking && state_ != State::kOpen) return;
  ngtcp2_ccerr error;
  ngtcp2_ccerr_default(&error);
  CloseReason reason{CloseReason::Kind::kTransport, 0, ngtcp2_strerror(library_error)};
  uint8_t alert = ngtcp2_conn_get_tls_alert(conn_);
  if (identity_refused_) {
    alert = kAlertBadCertificate;
    reason = {
        CloseReason::Kind::kHandshake, kCryptoError + alert,
        is_server_ ? "the client showed no Ed25519 raw public key" : "the peer proved to be another key"};
    ngtcp2_ccerr_set_tls_alert(&error, alert, nullptr, 0);
  } else if (library_error == NGTCP2_ERR_CRYPTO && alert != 0) {
    // Once the connection is open, it is not the handshake that failed.
    const bool is_open = state_ == State::kOpen;
    reason = {is_open ? CloseReason::Kind::kTransport : CloseReason::Kind::kHandshake, kCryptoError + alert,
              crypto_error_text(kCryptoError + alert)};
    ngtcp2_ccerr_set_tls_alert(&error, alert, nullptr, 0);
  } else {
    ngtcp2_ccerr_set_liberr(&error, library_error, nullptr, 0);
    reason.code = error.error_code;
    if (state_ == State::kHandshaking) reason.kind = CloseReason::Kind::kHandshake;
  }
  enter_closing(error, std::move(reason), now);
}

void Connection::enter_closing(const ngtcp2_ccerr& error, CloseReason reason, TimePoint now) {
  PathHolder holder(local_, local_);
  ngtcp2_pkt_info info;
  close_packet_.resize(NGTCP2_MAX_UDP_PAYLOAD_SIZE);
  ngtcp2_ssize size = ngtcp2_conn_write_connection_close(conn_, &holder.path, &info, close_packet_.data(),
                                                         close_packet_.size(), &error, stamp(now));
  if (size <= 0) return die(std::move(reason));  // nothing can be said to the peer yet
  close_packet_.resize(static_cast<size_t>(size));
  close_local_ = SocketAddr::from_sockaddr(holder.path.local.addr);
  close_remote_ = SocketAddr::from_sockaddr(holder.path.remote.addr);
  send_close_ = true;
  state_ = State::kClosing;
  close_reason_ = std::move(reason);
  announce_closed_ = true;
  mark_dirty();
}

uint64_t Connection::bytes_in_flight() const {
  ngtcp2_conn_info info;
  ngtcp2_conn_get_conn_info(conn_, &info);
  return info.bytes_in_flight;
}

Duration Connection::pto() const { return Duration(static_cast<int64_t>(ngtcp2_conn_get_pto(conn_))); }

// RFC 9000, 10.2. A peer that withholds acknowledgements makes the PTO as long as it likes; after the idle
// timeout no honest peer sends any more.
Duration Connection::closing_time() const { return std::min(3 * pto(), shared_.limits.idle_timeout); }

void Connection::enter_draining(TimePoint now) {
  state_ = State::kDraining;
  death_ = now + closing_time();
  close_reason_ = reason_from_peer(*ngtcp2_conn_get_ccerr(conn_));
  announce_closed_ = true;
  mark_dirty();
}

void Connection::die(CloseReason reason) {
  if (state_ == State::kDead) return;
  state_ = State::kDead;
  death_ = TimePoint::min();
  if (!close_reason_) {
    close_reason_ = std::move(reason);
    announce_closed_ = true;
  }
  mark_dirty();
}

// ---- Packets out

bool Connection::write(TimePoint now, BatchSink& sink) {
  now_ = now;
  if (!held_back_.empty()) {
    held_batch_.data = held_back_;
    if (!sink.send(held_batch_)) return false;
    held_back_.clear();
  }
  if (state_ == State::kClosing && send_close_) {
    net::DatagramBatch batch{close_packet_, close_packet_.size(), close_remote_, close_local_};
    if (!sink.send(batch)) return false;
    send_close_ = false;
    if (death_ == TimePoint::max()) death_ = now + closing_time();
  }
  if (state_ != State::kHandshaking && state_ != State::kOpen) return true;

  // Path and peer may have come to take less since these were queued; ngtcp2 would wait for room that never
  // comes.
  while (!datagrams_out_.empty() && datagrams_out_.front().size() > max_datagram_size())
    datagrams_out_.pop_front();

  // Twice what a batch may hold: a packet that turns out not to fit is written behind it first.
  thread_local std::array<uint8_t, 2 * 65536> buffer;
  const size_t packet_room = ngtcp2_conn_get_max_tx_udp_payload_size(conn_);
  const size_t quantum = ngtcp2_conn_get_send_quantum(conn_);
  net::DatagramBatch batch{};
  ngtcp2_path_storage batch_path;
  size_t segments = 0;
  size_t total = 0;

  auto flush = [&] {
    if (segments == 0) return true;
    segments = 0;
    bytes_sent_ += batch.data.size();
    batch.local = SocketAddr::from_sockaddr(batch_path.path.local.addr);
    batch.remote = SocketAddr::from_sockaddr(batch_path.path.remote.addr);
    if (sink.send(batch)) return true;
    held_back_ = to_bytes(batch.data);
    held_batch_ = batch;
    return false;
  };

  // An expired keep-alive is the only way to make ngtcp2 send a PING, and it sends none while it has anything
  // else to say, an acknowledgement for one.
  const uint64_t in_flight_before = bytes_in_flight();
  if (greet_) ngtcp2_conn_set_keep_alive_timeout(conn_, 1);
  bool taken = true;
  while (taken && total < quantum) {
    ngtcp2_path_storage path;
    ngtcp2_path_storage_zero(&path);
    ngtcp2_pkt_info info{};
    size_t used = segments == 0 ? 0 : batch.data.size();
    uint8_t* start = buffer.data() + used;
    ngtcp2_ssize written = write_packet({start, packet_room}, path.path, info, stamp(now));
    if (written < 0) {
      fail_with(static_cast<int>(written), now);
      break;
    }
    if (written == 0) break;
    auto size = static_cast<size_t>(written);
    total += size;

    bool fits = segments > 0 && size <= batch.segment_size && info.ecn == batch.ecn &&
                segments < kMaxSegments && used + size <= kMaxBatchBytes &&
                ngtcp2_path_eq(&batch_path.path, &path.path);
    if (segments > 0 && !fits) {
      taken = flush();
      std::memmove(buffer.data(), start, size);
      start = buffer.data();
    }
    if (segments == 0) {
      ngtcp2_path_storage_zero(&batch_path);
      ngtcp2_path_copy(&batch_path.path, &path.path);
      batch.segment_size = size;
      batch.ecn = static_cast<uint8_t>(info.ecn);
      if (!taken) {  // the sink is full: this packet joins what was held back, or is lost like any packet may
                     // be
        break;
      }
    }
    batch.data = {buffer.data(), static_cast<size_t>(start - buffer.data()) + size};
    ++segments;
    // A shorter packet ends a batch: all segments but the last have one size.
    if (size < batch.segment_size) taken = flush();
  }
  if (taken) taken = flush();
  if (greet_) {
    ngtcp2_conn_set_keep_alive_timeout(conn_, nanos(shared_.limits.keep_alive));
    // What was in flight before will be probed for on the new path, should nothing more fit.
    const uint64_t in_flight = bytes_in_flight();
    greet_ = in_flight == 0 || (total > 0 && in_flight <= in_flight_before);
  }
  if (state_ == State::kHandshaking || state_ == State::kOpen)
    ngtcp2_conn_update_pkt_tx_time(conn_, stamp(now));
  return taken;
}

ngtcp2_ssize Connection::write_packet(MutableBytes out, ngtcp2_path& path, ngtcp2_pkt_info& info,
                                      ngtcp2_tstamp now) {
  // Asked before the first write: nothing else may be called on ngtcp2 while a packet is being filled.
  const bool window_is_used_up = ngtcp2_conn_get_max_data_left(conn_) == 0;
  ngtcp2_ssize written = write_datagrams(out, path, info, now);
  if (written != NGTCP2_ERR_WRITE_MORE) return written;
  written = write_streams(out, path, info, now, window_is_used_up);
  if (written != NGTCP2_ERR_WRITE_MORE) return written;
  return ngtcp2_conn_writev_stream(conn_, &path, &info, out.data(), out.size(), nullptr,
                                   NGTCP2_WRITE_STREAM_FLAG_NONE, -1, nullptr, 0, now);
}

// WRITE_MORE: the packet has room left.
ngtcp2_ssize Connection::write_datagrams(MutableBytes out, ngtcp2_path& path, ngtcp2_pkt_info& info,
                                         ngtcp2_tstamp now) {
  while (!datagrams_out_.empty() && state_ == State::kOpen) {
    Bytes& datagram = datagrams_out_.front();
    ngtcp2_vec vec{datagram.data(), datagram.size()};
    int accepted = 0;
    ngtcp2_ssize written = ngtcp2_conn_writev_datagram(conn_, &path, &info, out.data(), out.size(), &accepted,
                                                       NGTCP2_WRITE_DATAGRAM_FLAG_MORE, 0, &vec, 1, now);
    // INVALID_ARGUMENT: the peer's limit or the path shrank since it was queued; unreliable data may go.
    if (accepted != 0 || written == NGTCP2_ERR_INVALID_ARGUMENT) datagrams_out_.pop_front();
    if (written == NGTCP2_ERR_WRITE_MORE || written == NGTCP2_ERR_INVALID_ARGUMENT) continue;
    return written;
  }
  return NGTCP2_ERR_WRITE_MORE;
}

// `window_is_used_up`: the connection's window takes no more data; a FIN without data may still go.
ngtcp2_ssize Connection::write_streams(MutableBytes out, ngtcp2_path& path, ngtcp2_pkt_info& info,
                                       ngtcp2_tstamp now, bool window_is_used_up) {
  // Each stream gets one turn in a packet; those that cannot send now go back behind the others.
  for (size_t turns = send_queue_.size(); turns > 0 && !send_queue_.empty();) {
    Stream& stream = *send_queue_.front();
    if (window_is_used_up && stream.send_.unsent_size() > 0) {
      send_queue_.push_back(&stream);
      send_queue_.pop_front();
      --turns;
      continue;
    }
    std::array<ByteView, 8> spans;
    bool all = false;
    size_t count = stream.send_.unsent(spans, all);
    std::array<ngtcp2_vec, 8> vecs;
    for (size_t i = 0; i < count; ++i) vecs[i] = {const_cast<uint8_t*>(spans[i].data()), spans[i].size()};
    bool fin = all && stream.fin_wanted_;

    ngtcp2_ssize taken = -1;
    uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE | (fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0);
    ngtcp2_ssize written = ngtcp2_conn_writev_stream(conn_, &path, &info, out.data(), out.size(), &taken,
                                                     flags, stream.id_, vecs.data(), count, now);
    if (taken >= 0) {
      stream.send_.mark_sent(static_cast<size_t>(taken));
      if (fin && stream.send_.unsent_size() == 0) stream.fin_sent_ = true;
      if (stream.wants_writable_ && stream.send_.unsent_size() <= unsent_cap() / 2) mark_writable(stream);
    }
    bool done = stream.send_.unsent_size() == 0 && (!stream.fin_wanted_ || stream.fin_sent_);
    bool blocked = written == NGTCP2_ERR_STREAM_DATA_BLOCKED;
    bool unusable = written == NGTCP2_ERR_STREAM_SHUT_WR || written == NGTCP2_ERR_STREAM_NOT_FOUND;
    // A stream that its own window blocks waits for extend_max_stream_data.
    if (done || blocked || unusable) {
      send_queue_.pop_front();
      stream.queued_ = false;
      // The other way to learn of STOP_SENDING; the code is ngtcp2's secret.
      const bool reset_here = stream.send_closed_ && !stream.fin_wanted_;
      if (written == NGTCP2_ERR_STREAM_SHUT_WR && !reset_here) on_stop_sending(stream, 0);
    } else if (written > 0 && send_queue_.size() > 1) {
      send_queue_.push_back(send_queue_.front());  // one packet each, in turn
      send_queue_.pop_front();
    }
    if (blocked || unusable) {
      --turns;
      continue;
    }
    if (written == NGTCP2_ERR_WRITE_MORE) continue;
    return written;
  }
  return NGTCP2_ERR_WRITE_MORE;
}

// ---- Time

TimePoint Connection::deadline() const {
  if (state_ != State::kHandshaking && state_ != State::kOpen) return death_;
  if (greet_) return now_ + kTimerGranularity;
  ngtcp2_tstamp expiry = ngtcp2_conn_get_expiry(conn_);
  if (expiry >= static_cast<ngtcp2_tstamp>(TimePoint::max().time_since_epoch().count()))
    return TimePoint::max();
  TimePoint due(Duration(static_cast<int64_t>(expiry)));
  // Pacing names a moment a few microseconds after every packet. While nothing of ours waits to be sent it is
  // not worth a timer: what ngtcp2 itself has left to say, an acknowledgement or a retransmission, may be
  // this much later.
  const bool waits_to_send = !send_queue_.empty() || !datagrams_out_.empty();
  return waits_to_send ? due : std::chrono::ceil<std::chrono::milliseconds>(due);
}

void Connection::on_deadline(TimePoint now) {
  now_ = now;
  if (state_ == State::kClosing || state_ == State::kDraining) {
    if (now >= death_) die(CloseReason{*close_reason_});
    return;
  }
  if (state_ == State::kDead) return;
  mark_dirty();
  int error = ngtcp2_conn_handle_expiry(conn_, stamp(now));
  if (error == 0) return;
  if (error == NGTCP2_ERR_IDLE_CLOSE) {
    return die({CloseReason::Kind::kIdleTimeout, 0, "nothing was heard from the peer for the idle timeout"});
  }
  if (error == NGTCP2_ERR_HANDSHAKE_TIMEOUT) {
    return die({CloseReason::Kind::kHandshake, 0, "the handshake did not finish in time"});
  }
  fail_with(error, now);
}

// An observer of both networks must not recognise a client by its connection id, so a move takes a fresh one.
// Only where ngtcp2 cannot do that, before the handshake is confirmed or with no spare id, the peer sees what
// looks like a NAT rebinding (RFC 9000, 9.3).
//
// The two kinds of move must not mix while the server validates. Two paths with one id are more than an
// ngtcp2 server (1.11) can tell apart: on the next move with a new id,
// conn_recv_non_probing_pkt_on_new_path() copies the shared id into the new validation as its fallback, then
// conn_abort_pv() retires that same id with the old validation. The id is now counted although it is gone
// (see kSpareIds), and should the new validation fail, it is used again: the client answers with a stateless
// reset or PROTOCOL_VIOLATION. So after one move that shares its id, all do until the server must be done.
void Connection::migrate(const SocketAddr& local, TimePoint now) {
  if (is_server_ || (state_ != State::kOpen && state_ != State::kHandshaking)) return;
  SocketAddr remote = SocketAddr::from_sockaddr(ngtcp2_conn_get_path(conn_)->remote.addr);
  PathHolder holder(local, remote);
  const bool may_change_id = now >= keeps_id_until_;
  if (!may_change_id || ngtcp2_conn_initiate_immediate_migration(conn_, &holder.path, stamp(now)) != 0) {
    ngtcp2_conn_set_local_addr(conn_, &holder.path.local);
    keeps_id_until_ = now + std::max(kMinSettling, kSettlingPtos * pto());
    greet_ = true;
  }
  local_ = local;
  mark_dirty();
}

std::vector<ngtcp2_cid> Connection::connection_ids() const {
  std::vector<ngtcp2_cid> ids(ngtcp2_conn_get_scid(conn_, nullptr));
  ids.resize(ngtcp2_conn_get_scid(conn_, ids.data()));
  return ids;
}

PathStats Connection::path_stats() const {
  ngtcp2_conn_info info;
  ngtcp2_conn_get_conn_info(conn_, &info);
  const ngtcp2_path* path = ngtcp2_conn_get_path(conn_);
  return {.local = SocketAddr::from_sockaddr(path->local.addr),
          .remote = SocketAddr::from_sockaddr(path->remote.addr),
          .smoothed_rtt = Duration(static_cast<int64_t>(info.smoothed_rtt)),
          .min_rtt = Duration(static_cast<int64_t>(info.min_rtt)),
          .congestion_window = info.cwnd,
          .bytes_in_flight = info.bytes_in_flight,
          .max_datagram_size = ngtcp2_conn_get_path_max_tx_udp_payload_size(conn_),
          .bytes_sent = bytes_sent_,
          .bytes_received = bytes_received_};
}

// ---- Announcements

void Connection::announce() {
  if (std::exchange(announce_connected_, false) && observer_ != nullptr) observer_->on_connected();
  if (std::exchange(announce_streams_, false) && observer_ != nullptr) observer_->on_streams();
  if (std::exchange(announce_datagrams_, false) && observer_ != nullptr) observer_->on_datagrams();
  std::vector<std::shared_ptr<Stream>> streams = std::exchange(announcements_, {});
  for (const std::shared_ptr<Stream>& stream : streams) {
    stream->announced_ = false;
    bool readable = std::exchange(stream->announce_readable_, false);
    bool writable = std::exchange(stream->announce_writable_, false);
    if (readable && stream->reader_ != nullptr) stream->reader_->on_readable();
    if (writable && stream->writer_ != nullptr) stream->writer_->on_writable();
  }
  if (!std::exchange(announce_closed_, false)) return;
  std::vector<std::shared_ptr<Stream>> left;
  for (Stream* stream : known_) left.push_back(stream->shared_from_this());
  for (const std::shared_ptr<Stream>& stream : left) {
    known_.erase(stream.get());
    stream->window_.release(shared_.budget);
    stream->connection_ = nullptr;
  }
  window_.release(shared_.budget);
  // Their send buffers stay until ngtcp2 is deleted with us: it may still point into them.
  send_queue_.clear();
  shared_.held -= std::exchange(held_, 0);
  for (const std::shared_ptr<Stream>& stream : left) {
    StreamObserver* writer = stream->writer_ == stream->reader_ ? nullptr : stream->writer_;
    if (stream->reader_ != nullptr) stream->reader_->on_closed();
    if (writer != nullptr && writer == stream->writer_) writer->on_closed();
  }
  if (observer_ != nullptr) observer_->on_closed(*close_reason_);
}

}  // namespace culvert::quic
