#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "base/clock.h"
#include "quic/reader_order.h"

namespace culvert::quic {

class StreamSet;

// Application error codes travel in RESET_STREAM, STOP_SENDING and CONNECTION_CLOSE (RFC 9000, 20.2).
using AppCode = uint64_t;
using StreamId = uint64_t;

// Notified about changes of one stream, on the connection's thread, never from inside a call on the stream
// itself.
class StreamObserver {
 public:
  virtual ~StreamObserver() = default;
  // readable(), finished() or was_reset() changed; once after a batch of packets.
  virtual void on_readable() = 0;
  // writable() was too small and no longer is, or was_stopped() or an awaited answered() became true.
  virtual void on_writable() = 0;
  // The connection ended; nothing more will come.
  virtual void on_closed() = 0;
};

// One QUIC stream: bounded buffers both ways. Flow control follows what the application consumes, so a slow
// reader stalls its own sender and no other. Held by shared_ptr; it outlives its connection harmlessly:
// after on_closed() reads return what was buffered here, writes accept nothing.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  StreamId id() const { return id_; }
  bool is_bidirectional() const { return (id_ & 2) == 0; }
  // False once the connection is gone.
  bool is_open() const { return set_ != nullptr; }
  // Whom to notify; nullptr for none. Earlier changes are not repeated: look first.
  void set_observer(StreamObserver* observer) { reader_ = writer_ = observer; }
  // Each direction may have its own: on_readable() goes to the reader, on_writable() to the writer,
  // on_closed() to both.
  void set_reader(StreamObserver* observer) { reader_ = observer; }
  void set_writer(StreamObserver* observer) { writer_ = observer; }

  // Receiving. What is readable is valid until the next consume() or the next batch of packets. It is not all
  // that arrived: consuming it may make more readable, and on_readable() follows. The first bytes, in one
  // piece:
  ByteView readable() const;
  // All of it without a copy, as the packets brought it; returns how many of `out` were set. The fast way.
  size_t readable(std::span<ByteView> out) const;
  void consume(size_t count);
  // All that arrived and was not consumed, an upper bound.
  uint64_t buffered() const { return receive_.buffered; }
  // Everything was read, and the peer ended the stream cleanly.
  bool finished() const { return receive_.fin && receive_.available == 0; }
  // The peer cancelled it; what is readable is not all of it.
  bool was_reset() const { return receive_.reset; }
  AppCode reset_code() const { return receive_.reset_code; }
  // With was_reset(): it was not the peer; our side dropped the stream at a memory cap (Limits).
  bool was_evicted() const { return receive_.evicted; }

  // Sending. writable() is what write() takes now; write() copies as much as fits and returns how much. After
  // either fell short, on_writable() will follow.
  size_t writable();
  size_t write(ByteView data);
  void finish();             // FIN after what was written
  void reset(AppCode code);  // cancels sending: RESET_STREAM
  void stop(AppCode code);   // cancels receiving: STOP_SENDING
  // The peer does not want more (STOP_SENDING); sending was reset with its code.
  bool was_stopped() const { return send_.stopped; }
  AppCode stop_code() const { return send_.stop_code; }
  // The peer acknowledged a packet that was sent after the last write(): it was there then, and has what was
  // written or will be sent it again.
  bool answered() const;
  // One on_writable() is to tell when answered() becomes true.
  void notify_answered();
  // Everything written, FIN included, is acknowledged.
  bool all_acknowledged() const { return send_.all_acknowledged; }

 private:
  friend class StreamRegistry;
  friend class StreamReading;
  friend class StreamWriting;
  friend class StreamSet;
  Stream(StreamSet* set, StreamId id) : set_(set), id_(id) {}

  struct ReceivingHalf {
    uint64_t available = 0;  // bytes that can be read now
    uint64_t buffered = 0;   // and those that wait for others or for these to be read, an upper bound
    Bytes rest;              // what was left when the connection ended
    ReaderTurn turn;
    AppCode reset_code = 0;
    bool fin = false;
    bool reset = false;
    bool evicted = false;
    bool stopped = false;   // stop() was called: what still arrives is dropped
    bool done = false;      // nothing of it is left to happen
    bool accepted = false;  // the application took the stream, or opened it
  };
  struct SendingHalf {
    Bytes pending;            // written, and not taken by the core yet
    TimePoint pending_since;  // when the core last took a part of it
    uint64_t given = 0;       // bytes that the core took
    TimePoint written_at;     // Liveness::wrote_data() of the last write()
    AppCode stop_code = 0;
    bool stopped = false;           // by the peer
    bool closed = false;            // finish() or reset() was called, or the peer stopped us
    bool fin_wanted = false;        // finish() was called
    bool all_acknowledged = false;  // FIN included
    bool done = false;              // nothing of it is left to happen
    bool wants_writable = false;    // an on_writable() is owed
  };

  StreamSet* set_;  // null once the connection is gone
  StreamId id_;
  StreamObserver* reader_ = nullptr;
  StreamObserver* writer_ = nullptr;
  ReceivingHalf receive_;
  SendingHalf send_;
  bool notify_readable_ = false;
  bool notify_writable_ = false;
  bool listed_ = false;  // in the registry's list of streams to notify
};

}  // namespace culvert::quic
