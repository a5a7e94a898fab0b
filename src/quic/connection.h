#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/key.h"
#include "net/datagram.h"
#include "quic/config.h"
#include "quic/connection_info.h"
#include "quic/silence_watch.h"
#include "quic/stream.h"

namespace culvert::quic {

namespace core {
struct Endpoint;
struct Connection;
struct Event;
}  // namespace core

// What a connection asks of the engine that owns it. Called from inside the connection: note it, act later.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  // Has something to write or to dispatch, or a new deadline.
  virtual void on_dirty(class Connection& connection) = 0;
  // All connections together buffer more than Limits::max_endpoint_buffered.
  virtual void on_overload() = 0;
};

// The connection's user: notified after a batch of packets, outside of QUIC processing; may call anything.
class ConnectionObserver {
 public:
  virtual ~ConnectionObserver() = default;
  virtual void on_connected() = 0;  // the handshake is complete and the peer's identity is verified
  virtual void on_streams() = 0;    // the peer opened streams, or raised the limit for ours
  virtual void on_datagrams() = 0;  // datagrams arrived
  virtual void on_path(const PathEvent&) {}
  virtual void on_silence(Silence) {}                     // with Limits::watch_silence: it changed
  virtual void on_closed(const CloseReason& reason) = 0;  // once, last
};

// What all connections of an engine share.
struct Shared {
  core::Endpoint* core;
  const Limits& limits;
  uint64_t& buffered;  // bytes that arrived and were not consumed, of all connections
  ConnectionHost& host;
};

// What the engine keeps about a connection.
struct EngineSlot {
  TimePoint armed = TimePoint::max();  // of its timer
  bool dirty = false;
  bool blocked = false;  // the sink was full
};

// Takes complete batches. False: the socket is full, the batch was not taken.
class BatchSink {
 public:
  virtual ~BatchSink() = default;
  virtual bool send(const net::DatagramBatch& batch) = 0;
};

// One QUIC connection: sans-I/O around n0's state machine (RFC 9000, 9001, 9002, 9221,
// draft-ietf-quic-multipath). Packets and time in; packets, notifications and the next deadline out.
// Single-threaded.
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
  bool is_server() const { return is_server_; }
  // The client's address was validated by a token before any state was made for it.
  bool came_with_token() const { return came_with_token_; }
  // The key that the peer proved, once open; for clients always. None where the peer speaks an X.509
  // protocol.
  bool has_remote_id() const { return remote_id_.has_value(); }
  const EndpointId& remote_id() const { return *remote_id_; }
  const std::string& alpn() const { return alpn_; }
  // When something was last received that only the peer can have sent: no junk with an id of this connection,
  // no replay.
  TimePoint last_heard() const { return last_heard_; }
  // RFC 9002, 6.2.1: how long to wait for an acknowledgement before something is wrong.
  Duration probe_timeout() const;

  // Engine side.
  void received(TimePoint now);  // the core was given a datagram of this connection
  // Takes what the core has to tell; then dispatch() notifies the users.
  void collect();
  void dispatch();
  bool has_notifications() const {
    return notify_connected_ || notify_streams_ || notify_datagrams_ || notify_closed_ || !paths_.empty() ||
           !notifications_.empty() || silence_told_ != silence_.verdict();
  }
  // Writes what may be sent now. False: the sink is full; call again when it is not.
  bool write(TimePoint now, BatchSink& sink);
  TimePoint deadline() const { return state_ == State::kDead ? TimePoint::min() : deadline_; }
  void on_deadline(TimePoint now);
  // The local addresses changed.
  void network_changed(TimePoint now);
  void set_send_window(uint64_t bytes);
  uint64_t buffered() const { return buffered_; }
  // Drops the stream whose reader has been idle longest. False: nothing is buffered.
  bool evict_stalled();
  // Asks the core for the next deadline, and whether the connection is over; after any other call above.
  void refresh();
  EngineSlot slot;

  // User side. open_* return nullptr at the peer's limit or when the connection is not open.
  std::shared_ptr<Stream> open_bidi() { return open(false); }
  std::shared_ptr<Stream> open_uni() { return open(true); }
  std::shared_ptr<Stream> accept_bidi() { return accept(incoming_bidi_); }  // nullptr: none is pending
  std::shared_ptr<Stream> accept_uni() { return accept(incoming_uni_); }
  Result<> send_datagram(ByteView data);
  size_t max_datagram_size() const;
  std::optional<Bytes> receive_datagram();
  void close(AppCode code, std::string reason);
  const std::optional<CloseReason>& close_reason() const { return close_reason_; }

  // Paths. The one that carries data now:
  PathStats path_stats() const;
  std::vector<PathStats> paths() const;
  bool is_multipath() const;
  // Clients: a path to another address of the peer, or the open one that leads there. Errors: kUnavailable
  // without multipath and for servers; kLimit when no path id or connection id of the peer is left.
  Result<PathId> open_path(const SocketAddr& remote, bool backup, TimePoint now);
  // False for the last path and for an unknown one.
  bool close_path(PathId path, TimePoint now);
  bool set_backup(PathId path, bool backup);
  // 0 turns a timer off. False for an unknown path.
  bool set_path_timers(PathId path, Duration idle_timeout, Duration keep_alive, TimePoint now);
  bool ping_path(PathId path);
  // Addresses that the peer may reach us at (n0's NAT traversal). False where it is not negotiated, or at the
  // peer's limit.
  bool add_candidate(const SocketAddr& address);
  bool remove_candidate(const SocketAddr& address);
  // Clients: tells the server our candidates and probes the server's; each that answers becomes a backup
  // path. Returns how many are probed. Errors: kUnavailable.
  Result<size_t> punch(TimePoint now);

 private:
  friend class Stream;

  void take(const core::Event& event);
  void on_connected();
  void on_lost();
  void accept_from_core(bool unidirectional);
  void on_readable(Stream& stream, uint64_t held, uint64_t frames);
  void on_stopped(Stream& stream, AppCode code);
  void on_finished(Stream& stream);
  void on_path_event(const core::Event& event);
  void on_datagrams_received();
  void on_datagram(ByteView data);
  void fill(Stream& stream, size_t consumed);
  void flush_pending(Stream& stream);
  void stopped_sending(Stream& stream);
  void forget_if_done(Stream& stream);

  // From Stream.
  ByteView stream_front(const Stream& stream) const;
  size_t stream_pieces(const Stream& stream, std::span<ByteView> out) const;
  void stream_consumed(Stream& stream, size_t count);
  size_t stream_room(Stream& stream);
  void stream_write(Stream& stream, ByteView data);
  void stream_finish(Stream& stream);
  void stream_reset(Stream& stream, AppCode code);
  void stream_stop(Stream& stream, AppCode code);
  void stream_forgotten(Stream& stream);
  bool stream_answered(const Stream& stream) const;
  void stream_notify_answered(Stream& stream);

  bool is_usable() const { return state_ == State::kHandshaking || state_ == State::kOpen; }
  void set_held(Stream& stream, uint64_t bytes);
  void evict(Stream& stream);
  void drop_unread(Stream& stream);
  void drop_pending(Stream& stream);
  std::shared_ptr<Stream> open(bool unidirectional);
  std::shared_ptr<Stream> accept(std::deque<std::shared_ptr<Stream>>& pending);
  std::shared_ptr<Stream> add_stream(StreamId id);
  std::shared_ptr<Stream> find_stream(StreamId id);
  void keep_rest(Stream& stream);
  void mark_readable(Stream& stream);
  void mark_writable(Stream& stream);
  void list(Stream& stream);
  void mark_dirty() { shared_.host.on_dirty(*this); }
  void ended(CloseReason reason);
  void check_progress(TimePoint now);
  void watch_silence(TimePoint now);
  bool watches_silence() const { return shared_.limits.watch_silence && state_ == State::kOpen; }

  Shared shared_;
  core::Connection* core_;
  State state_ = State::kHandshaking;
  bool is_server_;
  bool came_with_token_;
  std::optional<EndpointId> remote_id_;
  std::string alpn_;
  ConnectionObserver* observer_ = nullptr;
  TimePoint now_;  // of the packet or deadline being processed
  TimePoint started_;
  TimePoint last_heard_;
  TimePoint closed_at_;
  TimePoint deadline_ = TimePoint::max();
  // Clients: the next look whether the peer still acknowledges, and what the last looks saw.
  TimePoint next_look_ = TimePoint::max();
  uint64_t acks_ = 0;
  TimePoint acked_at_;
  Duration patience_{};

  // Whether the peer answers: times of packets as the core tells them.
  bool received_ = false;                  // a datagram since the last collect()
  TimePoint transmitted_at_;               // the last time that packets were written
  TimePoint acked_;                        // when the latest packet was sent that is acknowledged
  std::optional<TimePoint> data_written_;  // transmitted_at_ when data was last written
  SilenceWatch silence_;
  Silence silence_told_ = Silence::kNone;
  std::vector<std::shared_ptr<Stream>> awaiting_answer_;

  std::unordered_map<StreamId, std::shared_ptr<Stream>> streams_;  // that QUIC knows
  std::unordered_set<Stream*> known_;                              // every Stream object that points here
  std::deque<std::shared_ptr<Stream>> incoming_bidi_;
  std::deque<std::shared_ptr<Stream>> incoming_uni_;
  std::vector<std::shared_ptr<Stream>> notifications_;
  std::vector<PathEvent> paths_;
  std::deque<Bytes> datagrams_;
  size_t datagram_bytes_ = 0;
  uint64_t buffered_ = 0;
  uint64_t pending_ = 0;  // bytes in Stream::pending_
  uint64_t read_turns_ = 0;

  bool notify_connected_ = false;
  bool notify_streams_ = false;
  bool notify_datagrams_ = false;
  bool notify_closed_ = false;
  std::optional<CloseReason> close_reason_;
  Bytes unsent_;  // a batch that the sink did not take
  net::DatagramBatch unsent_batch_{};
};

}  // namespace culvert::quic
