#pragma once
#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "quic/flow_window.h"
#include "quic/send_buffer.h"

namespace culvert::quic {

class Connection;

// Application error codes travel in RESET_STREAM, STOP_SENDING and CONNECTION_CLOSE (RFC 9000, 20.2).
using AppCode = uint64_t;
using StreamId = int64_t;

// Told about changes of one stream, on the connection's thread, never from inside a call on the stream
// itself.
class StreamObserver {
 public:
  virtual ~StreamObserver() = default;
  virtual void
  on_readable() = 0;  // readable(), finished() or was_reset() changed; once after a batch of packets
  virtual void on_writable() = 0;  // writable() was too small and no longer is, or was_stopped() became true
  virtual void on_closed() = 0;    // the connection ended; nothing more will come
};

// One QUIC stream: bounded buffers both ways. Both sides' flow control follows what the application consumes,
// so a slow reader stalls its own sender and nobody else. Held by shared_ptr; it outlives its connection
// harmlessly: after on_closed() reads give what had arrived, writes accept nothing.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  // More unsent bytes than this make writable() 0: enough to fill send batches while the application is away.
  // Less when the connection keeps much already (Limits::max_send_memory).
  static constexpr size_t kMaxUnsent = 256 * 1024;

  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  StreamId id() const { return id_; }
  bool is_bidirectional() const { return (id_ & 2) == 0; }
  // False once the connection is gone.
  bool is_open() const { return connection_ != nullptr; }
  // Whom to tell; nullptr for nobody. What came before is not announced again: look first.
  void set_observer(StreamObserver* observer) { reader_ = writer_ = observer; }
  // Each direction may have its own: on_readable() goes to the reader, on_writable() to the writer,
  // on_closed() to both.
  void set_reader(StreamObserver* observer) { reader_ = observer; }
  void set_writer(StreamObserver* observer) { writer_ = observer; }

  // Receiving. readable() is contiguous and valid until the next consume() or the next batch of packets.
  ByteView readable() const { return ByteView(received_).subspan(consumed_); }
  void consume(size_t count);
  bool finished() const {
    return fin_received_ && readable().empty();
  }  // all was read, the peer ended cleanly
  bool was_reset() const { return reset_received_; }  // the peer gave up; what is readable is not the whole
  AppCode reset_code() const { return reset_code_; }
  // With was_reset(): it was not the peer; our side gave the stream up at a memory cap (Limits).
  bool was_given_up() const { return given_up_; }

  // Sending. writable() is what write() takes now; write() copies as much as fits and says how much. After
  // either fell short, on_writable() will come.
  size_t writable();
  size_t write(ByteView data);
  void finish();             // FIN after what was written
  void reset(AppCode code);  // gives up sending: RESET_STREAM
  void stop(AppCode code);   // gives up receiving: STOP_SENDING
  // The peer does not want more. ngtcp2 tells only when the stream closes or is written to next, so a silent
  // sender learns of it with its next bytes, and stop_code() may then be 0.
  bool was_stopped() const { return stop_received_; }
  AppCode stop_code() const { return stop_code_; }
  // Everything written, FIN included, is acknowledged.
  bool all_acknowledged() const { return all_acknowledged_; }

 private:
  friend class Connection;
  Stream(Connection* connection, StreamId id, FlowWindow window)
      : connection_(connection), id_(id), window_(window) {}

  Connection* connection_;  // null once the connection is gone
  StreamId id_;
  StreamObserver* reader_ = nullptr;
  StreamObserver* writer_ = nullptr;

  Bytes received_;
  size_t consumed_ = 0;
  // How long its reader has stood still: since the connection's turn at which the oldest unread byte came, or
  // was the newest. A reader that takes byte by byte does not look busy.
  uint64_t stalled_since_ = 0;
  size_t unread_then_ = 0;  // what waited at that turn, and still does
  FlowWindow window_;
  SendBuffer send_;
  AppCode reset_code_ = 0;
  AppCode stop_code_ = 0;

  bool fin_received_ = false;
  bool reset_received_ = false;
  bool given_up_ = false;
  bool stop_received_ = false;
  bool all_acknowledged_ = false;
  bool fin_wanted_ = false;  // finish() was called
  bool fin_sent_ = false;
  bool send_closed_ = false;     // finish() or reset() was called, or the peer stopped us
  bool receive_closed_ = false;  // stop() was called: what still arrives is dropped
  bool accepted_ = false;        // the application took it, or opened it
  bool gone_ = false;            // QUIC forgot the stream; only its connection's credit is left to return
  bool queued_ = false;          // in the connection's send queue
  bool wants_writable_ = false;  // an on_writable() is owed
  bool announce_readable_ = false;
  bool announce_writable_ = false;
  bool announced_ = false;  // in the connection's list of streams to announce
};

}  // namespace culvert::quic
