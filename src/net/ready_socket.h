#pragma once
#include <boost/asio/posix/stream_descriptor.hpp>
#include <memory>

#include "net/byte_stream.h"

namespace culvert::net {

// Owns a non-blocking descriptor and tells when it can be read or written. Inside net/ only: everything with
// a socket is made of one of these. Destroying it drops the callbacks that wait, close() runs them from the
// loop.
class ReadySocket {
 public:
  // A descriptor that the kernel cannot watch is closed at once: fd() is -1.
  ReadySocket(EventLoop& loop, int fd);
  ~ReadySocket();
  // Callbacks that wait go along. What was moved from may only be destroyed.
  ReadySocket(ReadySocket&& other) noexcept;
  ReadySocket& operator=(ReadySocket&&) = delete;

  int fd() const { return fd_; }  // -1 once closed
  bool is_open() const { return fd_ >= 0; }
  EventLoop& loop() const;

  // Once, from the loop, never from inside the call; on a closed socket as well. One waiter for each
  // direction.
  void when_readable(ReadyCallback callback) { when(kRead, std::move(callback)); }
  void when_writable(ReadyCallback callback) { when(kWrite, std::move(callback)); }
  // Runs the callback soon, ready or not: for a layer that holds bytes the kernel does not know of.
  void soon_readable(ReadyCallback callback);

  // Drops the callbacks that wait; others may wait at once.
  void cancel();
  void close();
  void reset();   // RST instead of FIN
  int release();  // the descriptor is the caller's now; nothing may wait on it

 private:
  enum Direction { kRead, kWrite };
  struct State;

  void when(Direction direction, ReadyCallback callback);
  void post(Direction direction);

  std::shared_ptr<State> state_;
  int fd_;
};

}  // namespace culvert::net
