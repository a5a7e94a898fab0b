#pragma once
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/random.h"
#include "net/datagram.h"
#include "quic/config.h"
#include "quic/connection_info.h"
#include "quic/stream.h"
#include "quic/tls.h"
#include "quic/tls_messages.h"

namespace culvert::quic {

// What a connection asks of the engine that owns it. Called from inside the connection: note it, act later.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  virtual void on_dirty(
      class Connection& connection) = 0;  // has something to write, to announce, or a new deadline
  virtual void add_route(const ngtcp2_cid& id, Connection& connection) = 0;
  virtual void remove_route(const ngtcp2_cid& id) = 0;
  // Packets that end in this token are the peer's stateless resets of this connection.
  virtual void add_reset_token(ByteView token, Connection& connection) = 0;
  virtual void remove_reset_token(ByteView token) = 0;
  // All connections together hold more than Limits::max_endpoint_held.
  virtual void on_overload() = 0;
  // The peer broke a rule of RFC 9001 on TLS in QUIC; its connection ends.
  virtual void on_tls_violation() = 0;
  // A connection id of ours that leads back to this worker, and its stateless reset token.
  virtual void make_connection_id(ngtcp2_cid& id, uint8_t* reset_token) = 0;
};

// The connection's user: told after a batch of packets, outside of QUIC processing; may call anything.
class ConnectionObserver {
 public:
  virtual ~ConnectionObserver() = default;
  virtual void on_connected() = 0;  // the handshake is done and the peer's key is verified
  virtual void on_streams() = 0;    // the peer opened streams, or raised the limit for ours
  virtual void on_datagrams() = 0;  // datagrams arrived
  virtual void on_closed(const CloseReason& reason) = 0;  // once, last
};

// What all connections of an engine share.
struct Shared {
  const Limits& limits;
  TlsContext& tls;
  Random& random;
  WindowBudget& budget;
  uint64_t& held;  // bytes that arrived and were not consumed, of all connections
  ConnectionHost& host;
};

// Takes finished batches. False: the socket is full, the batch was not taken.
class BatchSink {
 public:
  virtual ~BatchSink() = default;
  virtual bool send(const net::DatagramBatch& batch) = 0;
};

// One QUIC connection: sans-I/O around ngtcp2 (RFC 9000, 9001, 9002, 9221). Packets and time in; packets,
// announcements and the next deadline out. Single-threaded.
//
//   handshaking ──keys verified──▶ open ──close()/error──▶ closing ──3 PTO──▶ dead
//        └───────────failure──────────┴──peer's close────▶ draining ─3 PTO──▶ dead
//                                      └──silence, reset──────────────────────▶ dead
class Connection final : private TlsEvents {
 public:
  enum class State { kHandshaking, kOpen, kClosing, kDraining, kDead };

  struct ServerStart {
    ngtcp2_pkt_hd header;             // of the client's Initial
    std::optional<ngtcp2_cid> odcid;  // set when a Retry token was verified: the address is valid
  };

  static std::shared_ptr<Connection> client(Shared shared, const SocketAddr& local, const SocketAddr& remote,
                                            const EndpointId& peer, const std::string& alpn, TimePoint now);
  static std::shared_ptr<Connection> server(Shared shared, const SocketAddr& local, const SocketAddr& remote,
                                            const ServerStart& start, TimePoint now);
  ~Connection() override;
  Connection(const Connection&) = delete;

  void set_observer(ConnectionObserver* observer) { observer_ = observer; }
  State state() const { return state_; }
  bool is_server() const { return is_server_; }
  bool address_validated() const { return address_validated_; }
  // The client answered a Retry before any state was made for it.
  bool came_with_token() const { return came_with_token_; }
  const EndpointId& remote_id() const { return *remote_id_; }  // once open; for clients always
  const std::string& alpn() const { return alpn_; }
  bool was_resumed() const { return resumed_; }
  PathStats path_stats() const;
  // When the last datagram came.
  TimePoint last_heard() const { return last_heard_; }

  // Engine side.
  void read(const net::ReceivedDatagram& datagram, TimePoint now);
  // Writes what may be sent now. False: the sink is full; call again when it is not.
  bool write(TimePoint now, BatchSink& sink);
  void announce();
  bool has_announcements() const {
    return announce_connected_ || announce_streams_ || announce_datagrams_ || announce_closed_ ||
           !announcements_.empty();
  }
  TimePoint deadline() const;
  void on_deadline(TimePoint now);
  // The socket was replaced: this (client) connection goes on from the new local address, with another
  // destination connection id where that can be (RFC 9000, 9.5).
  void migrate(const SocketAddr& local, TimePoint now);
  // Bytes that arrived and were not consumed.
  uint64_t held() const { return held_; }
  // Ends the stream whose reader has stood still longest. False: nothing is held.
  bool give_up_stalled();
  // Every connection id that leads here.
  std::vector<ngtcp2_cid> connection_ids() const;

  // User side. open_* give nullptr at the peer's limit or when the connection is not open.
  std::shared_ptr<Stream> open_bidi();
  std::shared_ptr<Stream> open_uni();
  std::shared_ptr<Stream> accept_bidi();  // nullptr: none waits
  std::shared_ptr<Stream> accept_uni();
  Result<> send_datagram(ByteView data);
  size_t max_datagram_size() const;
  std::optional<Bytes> receive_datagram();
  void close(AppCode code, std::string reason);
  const std::optional<CloseReason>& close_reason() const { return close_reason_; }

 private:
  friend class Stream;
  friend struct Callbacks;

  // RFC 9221: short header, longest connection id, packet number, AEAD tag, frame type and length.
  static constexpr size_t kDatagramOverhead = 1 + NGTCP2_MAX_CIDLEN + 4 + 16 + 1 + 2;

  Connection(Shared shared, const SocketAddr& local, bool is_server, TimePoint now);
  void finish_setup(gnutls_session_t session);
  ngtcp2_settings make_settings(TimePoint now) const;
  ngtcp2_transport_params make_params() const;

  // TlsEvents
  bool accept_peer(const EndpointId& key) override;
  void on_session(Bytes session) override;

  // From ngtcp2's callbacks; false, or an error of ngtcp2's, ends the connection.
  bool on_handshake_completed();
  int on_crypto_data(ngtcp2_encryption_level level, ByteView data);
  void on_stream_opened(StreamId id);
  void on_stream_data(Stream& stream, ByteView data, bool fin);
  void on_stream_acknowledged(Stream& stream, uint64_t up_to);
  void on_stream_reset(Stream& stream, AppCode code);
  void on_stop_sending(Stream& stream, AppCode code);
  void on_stream_closed(Stream& stream, AppCode code);
  void on_datagram(ByteView data);

  // From Stream.
  void stream_consumed(Stream& stream, size_t count);
  size_t stream_room(Stream& stream);
  void stream_wrote(Stream& stream, size_t count);
  void stream_finished(Stream& stream);
  void stream_reset(Stream& stream, AppCode code);
  void stream_stopped(Stream& stream, AppCode code);
  void stream_forgotten(Stream& stream);
  uint64_t unsent_cap() const;
  void hold(size_t count);
  void unhold(size_t count);
  std::shared_ptr<Stream> accept(std::deque<std::shared_ptr<Stream>>& waiting);
  void allow_another(const Stream& stream);

  std::shared_ptr<Stream> add_stream(StreamId id);
  Stream* find_stream(StreamId id);
  void queue(Stream& stream);
  void mark_readable(Stream& stream);
  void mark_writable(Stream& stream);
  void list_for_announcement(Stream& stream);
  void mark_dirty() { shared_.host.on_dirty(*this); }
  ngtcp2_ssize write_packet(MutableBytes out, ngtcp2_path& path, ngtcp2_pkt_info& info, ngtcp2_tstamp now);
  ngtcp2_ssize write_datagrams(MutableBytes out, ngtcp2_path& path, ngtcp2_pkt_info& info, ngtcp2_tstamp now);
  ngtcp2_ssize write_streams(MutableBytes out, ngtcp2_path& path, ngtcp2_pkt_info& info, ngtcp2_tstamp now,
                             bool window_is_used_up);

  int refuse_tls(uint8_t alert);
  void read_failed(int library_error, TimePoint now);
  void fail_with(int library_error, TimePoint now);
  void enter_closing(const ngtcp2_ccerr& error, CloseReason reason, TimePoint now);
  void enter_draining(TimePoint now);
  Duration pto() const;
  Duration closing_time() const;
  uint64_t bytes_in_flight() const;
  void die(CloseReason reason);

  Shared shared_;
  ngtcp2_conn* conn_ = nullptr;
  gnutls_session_t session_ = nullptr;
  ngtcp2_crypto_conn_ref ref_{};
  TlsMessageReader tls_messages_;
  State state_ = State::kHandshaking;
  bool is_server_;
  bool address_validated_ = false;
  bool came_with_token_ = false;
  bool resumed_ = false;
  bool identity_refused_ = false;
  SocketAddr local_;  // clients: the one local address they know; what the kernel picks under it is not their
                      // concern
  TimePoint keeps_id_until_{};  // clients: until then a move must not take a new id, see migrate()
  bool greet_ = false;          // the peer must be asked for an answer, once
  std::optional<EndpointId> remote_id_;
  std::string alpn_;
  ConnectionObserver* observer_ = nullptr;
  TimePoint now_;  // of the packet or deadline being processed
  TimePoint last_heard_;

  std::unordered_map<StreamId, std::shared_ptr<Stream>> streams_;  // that QUIC knows
  std::unordered_set<Stream*> known_;                              // every Stream object that points here
  std::deque<std::shared_ptr<Stream>> incoming_bidi_;
  std::deque<std::shared_ptr<Stream>> incoming_uni_;
  std::deque<Stream*> send_queue_;
  std::vector<std::shared_ptr<Stream>> announcements_;
  std::deque<Bytes> datagrams_in_;
  std::deque<Bytes> datagrams_out_;
  FlowWindow window_;
  uint64_t send_memory_ = 0;
  uint64_t held_ = 0;
  uint64_t read_turns_ = 0;  // for Stream::stalled_since_
  size_t datagram_bytes_in_ = 0;
  uint64_t bytes_sent_ = 0;
  uint64_t bytes_received_ = 0;

  bool announce_connected_ = false;
  bool announce_streams_ = false;
  bool announce_datagrams_ = false;
  bool announce_closed_ = false;
  std::optional<CloseReason> close_reason_;
  Bytes held_back_;  // a batch the sink did not take
  net::DatagramBatch held_batch_{};
  Bytes close_packet_;  // repeated while closing
  SocketAddr close_local_;
  SocketAddr close_remote_;
  bool send_close_ = false;
  uint64_t packets_while_closing_ = 0;
  TimePoint death_ = TimePoint::max();  // end of closing or draining
};

}  // namespace culvert::quic
