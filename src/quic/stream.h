#pragma once
#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "quic/send_buffer.h"

namespace culvert::quic {

class Connection;

// Application error codes travel in RESET_STREAM, STOP_SENDING and CONNECTION_CLOSE (RFC 9000, 20.2).
using AppCode = uint64_t;
using StreamId = int64_t;

// Told about changes of one stream, from the connection's thread, never from inside a call on the stream itself.
class StreamObserver {
 public:
  virtual ~StreamObserver() = default;
  virtual void on_readable() = 0;  // readable(), finished() or reset_code() changed; after a whole batch of packets
  virtual void on_writable() = 0;  // writable() was 0 and no longer is, or stop_code() was set
  virtual void on_closed() = 0;    // the connection ended; nothing more will come
};

// One QUIC stream: bounded buffers both ways. Both sides' flow control follows what the application consumes, so a
// slow reader stalls its own sender and nobody else. Owned by shared_ptr; it outlives its connection harmlessly:
// after on_closed() reads give what had arrived, writes accept nothing.
class Stream {
 public:
  // More unsent bytes than this make writable() 0: enough to fill a send batch while the application is away.
  static constexpr size_t kMaxUnsent = 256 * 1024;

  StreamId id() const { return id_; }
  bool is_bidirectional() const { return (id_ & 2) == 0; }
  void set_observer(StreamObserver* observer) { observer_ = observer; }

  // Receiving. readable() is contiguous and valid until the next call that consumes or the next batch of packets.
  ByteView readable() const { return ByteView(received_).subspan(consumed_); }
  void consume(size_t count);
  bool finished() const { return fin_received_ && readable().empty(); }  // everything was read, the peer ended cleanly
  bool was_reset() const { return reset_; }                              // the peer gave up; readable() is not the whole
  AppCode reset_code() const { return reset_code_; }

  // Sending. write() copies as much as fits and says how much.
  size_t writable() const;
  size_t write(ByteView data);
  void finish();                 // FIN after what was written
  void reset(AppCode code);      // gives up sending: RESET_STREAM
  void stop(AppCode code);       // gives up receiving: STOP_SENDING
  bool was_stopped() const { return stopped_; }  // the peer does not want more
  AppCode stop_code() const { return stop_code_; }
  bool is_open() const { return connection_ != nullptr; }
  bool all_acknowledged() const { return fin_acknowledged_; }  // FIN included

 private:
  friend class Connection;
  Stream(Connection* connection, StreamId id) : connection_(connection), id_(id) {}

  Connection* connection_;  // null once closed
  StreamId id_;
  StreamObserver* observer_ = nullptr;

  Bytes received_;
  size_t consumed_ = 0;
  uint64_t credit_owed_ = 0;     // consumed but not yet granted back to the peer
  uint64_t window_ = 0;          // receive window granted to the peer
  uint64_t window_used_ = 0;     // consumed since window_mark_
  int64_t window_mark_ns_ = 0;   // when that count began
  SendBuffer send_;
  AppCode reset_code_ = 0;
  AppCode stop_code_ = 0;
  bool fin_received_ = false;
  bool reset_ = false;
  bool stopped_ = false;
  bool fin_acknowledged_ = false;
  bool send_closed_ = false;    // finish() or reset() was called
  bool receive_closed_ = false; // stop() was called
  bool want_write_ = false;     // in the connection's send queue
  bool blocked_ = false;        // by the peer's flow control, until extend_max_stream_data
  bool full_ = false;           // writable() answered 0: owe an on_writable
  bool fresh_ = false;          // in the connection's list of streams to announce
};

}  // namespace culvert::quic
