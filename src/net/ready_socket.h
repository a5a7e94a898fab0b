#pragma once
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

  int fd() const;  // -1 once closed
  bool is_open() const { return fd() >= 0; }
  EventLoop& loop() const;

  // Once, from the loop, never from inside the call; on a closed socket as well. One waiter for each
  // direction. Ready sockets are told of at once, which costs a system call.
  void when_readable(ReadyCallback callback);
  void when_writable(ReadyCallback callback);
  // The same without a system call, for an owner whose last try found nothing more: EAGAIN, or fewer bytes
  // than it wanted. After anything else it might wait for ever.
  void when_readable_again(ReadyCallback callback);
  void when_writable_again(ReadyCallback callback);
  // Runs the callback soon, ready or not: for a layer that holds bytes the kernel does not know of.
  void soon_readable(ReadyCallback callback);

  // No wait for reading ends between these two: another process reads from the same socket. It does not cost
  // this loop a turn whenever something comes there.
  void pause_reading();
  void resume_reading();

  // Drops the callbacks that wait; others may wait at once.
  void cancel();
  void close();
  void reset();   // RST instead of FIN
  int release();  // the descriptor is the caller's now; nothing may wait on it

 private:
  struct State;

  std::unique_ptr<State> state_;
};

}  // namespace culvert::net
