#pragma once
#include <memory>
#include <optional>
#include <string>

#include "base/key.h"
#include "quic/batch_writer.h"
#include "quic/connection_host.h"
#include "quic/connection_observer.h"
#include "quic/datagrams.h"
#include "quic/paths.h"
#include "quic/peer_watch.h"
#include "quic/stream_set.h"

namespace culvert::quic {

// One QUIC connection: sans-I/O around n0's state machine (RFC 9000, 9001, 9002, 9221,
// draft-ietf-quic-multipath). Packets and time in; packets, notifications and the next deadline out. Its
// parts do the work: StreamSet, Datagrams, Paths, BatchWriter, PeerWatch. Single-threaded.
//
//   handshaking ──verified──▶ open ──close()/error/peer's close──▶ closing ──3 PTO──▶ dead
//        └─────────failure─────────────────▲
//                                └──silence, stateless reset──────────────────────▶ dead
class Connection final {
 public:
  enum class State { kHandshaking, kOpen, kClosing, kDead };

  // Takes over the core's handle. `peer`: of a client that dials a key.
  Connection(Shared shared, core::Connection* core, bool is_server, bool address_validated,
             std::optional<EndpointId> peer, std::string alpn, TimePoint now);
  ~Connection();
  Connection(const Connection&) = delete;

  void set_observer(ConnectionObserver* observer) { observer_ = observer; }
  State state() const { return state_; }
  // The client's address was validated by a token before any state was made for it.
  bool came_with_token() const { return came_with_token_; }
  // The key that the peer proved, once open; for clients always. None with X.509.
  bool has_remote_id() const { return remote_id_.has_value(); }
  const EndpointId& remote_id() const { return *remote_id_; }
  const std::string& alpn() const { return alpn_; }
  const Liveness& liveness() const { return watch_.liveness(); }
  Paths& paths() { return paths_; }
  const Paths& paths() const { return paths_; }
  Datagrams& datagrams() { return datagrams_; }
  StreamSet& streams() { return streams_; }
  const StreamSet& streams() const { return streams_; }

  // Engine side.
  void received(TimePoint now);  // the core was given a datagram of this connection
  // Takes what the core has to tell; then dispatch() notifies the users.
  void collect();
  void dispatch();
  bool has_notifications() const {
    return notify_connected_ || notify_streams_ || notify_datagrams_ || notify_closed_ ||
           paths_.has_events() || streams_.has_notifications() || watch_.has_verdict();
  }
  // Writes what may be sent now. False: the sink is full; call again when it is not.
  bool write(TimePoint now, BatchSink& sink);
  TimePoint deadline() const { return state_ == State::kDead ? TimePoint::min() : deadline_; }
  void on_deadline(TimePoint now);
  // The local addresses changed.
  void network_changed(TimePoint now);
  // Ends it at once and frees its memory; a stateless reset tells the peer.
  void abandon(std::string reason);
  // Asks the core for the next deadline, and whether the connection is over; after any other call above.
  void refresh();
  EngineSlot slot;

  // User side. open_* return nullptr at the peer's limit or when the connection is not open.
  std::shared_ptr<Stream> open_bidi() { return streams_.open(false); }
  std::shared_ptr<Stream> open_uni() { return streams_.open(true); }
  std::shared_ptr<Stream> accept_bidi() { return streams_.accept(false); }  // nullptr: none is pending
  std::shared_ptr<Stream> accept_uni() { return streams_.accept(true); }
  void close(AppCode code, std::string reason);
  // The application lets the peer in (Limits::unadmitted_window).
  void admit();
  bool is_admitted() const { return context_.is_admitted; }
  const std::optional<CloseReason>& close_reason() const { return close_reason_; }

 private:
  void take(const core::Event& event);
  void on_connected();
  void ended(CloseReason reason);
  bool is_usable() const { return state_ == State::kHandshaking || state_ == State::kOpen; }

  ConnectionContext context_;
  State state_ = State::kHandshaking;
  const bool came_with_token_;
  std::optional<EndpointId> remote_id_;
  std::string alpn_;
  ConnectionObserver* observer_ = nullptr;
  const TimePoint started_;
  TimePoint closed_at_;
  TimePoint deadline_ = TimePoint::max();
  bool received_ = false;  // a datagram since the last collect()

  BatchWriter writer_;
  Paths paths_;
  PeerWatch watch_;
  Datagrams datagrams_;
  StreamSet streams_;

  bool notify_connected_ = false;
  bool notify_streams_ = false;
  bool notify_datagrams_ = false;
  bool notify_closed_ = false;
  std::optional<CloseReason> close_reason_;
};

}  // namespace culvert::quic
