#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/socket_addr.h"
#include "net/event_loop.h"

namespace culvert::net {

enum class IoStatus {
  kOk,         // `bytes` were moved, at least one
  kWantRead,   // nothing possible until the socket is readable
  kWantWrite,  // nothing possible until the socket is writable
  kEof,        // reads only: the peer finished cleanly (FIN; for TLS close_notify)
  kError,      // the connection is broken; for reads this includes RST and TLS truncation
};

struct IoResult {
  IoStatus status;
  size_t bytes = 0;
};

using ReadyCallback = std::move_only_function<void()>;

// A connected, non-blocking byte stream: TCP, a unix socket, or TLS over one of them. Lives on one event
// loop. close() and reset() run every callback that waits, after which try_* answer kError.
class ByteStream {
 public:
  virtual ~ByteStream() = default;

  virtual IoResult try_read(MutableBytes into) = 0;
  // After kWantWrite the next call must offer the same bytes first, at least as many: TLS may have sealed
  // them already.
  virtual IoResult try_write(std::span<const ByteView> from) = 0;
  IoResult try_write(ByteView from) { return try_write(std::span(&from, 1)); }
  // Ends the sending half after what was written: FIN, for TLS close_notify and FIN. Call until it answers
  // kOk or kError.
  virtual IoResult try_finish() = 0;

  // One callback at a time for each direction; called once, from the loop, never from inside this call.
  virtual void when_readable(ReadyCallback callback) = 0;
  virtual void when_writable(ReadyCallback callback) = 0;

  // Runs the callback soon, ready or not: for a layer that holds bytes the socket does not know of.
  virtual void soon_readable(ReadyCallback callback) = 0;
  // Drops the callbacks that wait, without a call: for an owner that passes the stream on.
  virtual void cancel() = 0;

  // Between these two it belongs to no loop and may change threads: it may be destroyed, which closes it, and
  // nothing else may be called. Nothing waits on it when it leaves.
  virtual void leave_loop() = 0;
  virtual void join_loop(EventLoop& loop) = 0;

  virtual void close() = 0;  // FIN if nothing is unread, kernel rules otherwise
  // RST: the peer must not take what it has for the whole. A unix socket has none: its peer sees the end of
  // the stream, or an error if it had sent what was not read.
  virtual void reset() = 0;
  virtual bool is_open() const = 0;
  // Whether the peer has sent FIN or RST, even behind bytes that were not read yet.
  virtual bool peer_has_ended() const = 0;

  // Both 0.0.0.0:0 for a unix socket, which has no such address.
  virtual SocketAddr local_addr() const = 0;
  virtual SocketAddr remote_addr() const = 0;
  // Whom it leads to, for messages: the remote address, or "unix:" and a path.
  virtual std::string peer_text() const { return remote_addr().to_string(); }
  // Why the last operation answered kError, for logs.
  virtual std::string last_error() const = 0;
  virtual EventLoop& loop() = 0;
};

// Waits until what `want` (kWantRead or kWantWrite) asks for is possible. False when the deadline came first:
// the stream is closed then.
Task<bool> wait_ready(ByteStream& stream, IoStatus want, TimePoint deadline);

// Coroutine forms. After kTimeout the stream is closed: a half-done operation has no other honest end.
// read_some: 0 bytes means end of stream. Errors: kTimeout, kReset.
Task<Result<size_t>> read_some(ByteStream& stream, MutableBytes into, TimePoint deadline);
Task<Result<>> write_all(ByteStream& stream, ByteView from, TimePoint deadline);
Task<Result<>> finish(ByteStream& stream, TimePoint deadline);

// Reads, and leaves the stream open when a deadline passes: for who has an answer even to the slow. A wait
// that ran out stays with the stream and the next read takes it over, so no other caller may wait to read
// from it meanwhile.
class Reader {
 public:
  // The stream outlives it.
  explicit Reader(ByteStream& stream);

  EventLoop& loop() const { return stream_.loop(); }
  // As net::read_some otherwise.
  Task<Result<size_t>> read_some(MutableBytes into, TimePoint deadline);

 private:
  struct Wait;
  ByteStream& stream_;
  std::shared_ptr<Wait> wait_;
};

}  // namespace culvert::net
