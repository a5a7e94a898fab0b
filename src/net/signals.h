#pragma once
#include "net/ready_socket.h"

namespace culvert::net {

// The signals that stop the program: SIGINT, SIGTERM, and SIGHUP from a terminal that is closed. Between its
// construction and its destruction none of them ends the process. One at a time in a process.
class StopSignals {
 public:
  explicit StopSignals(EventLoop& loop);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // Waits for the next one and returns its number. One caller at a time. A SIGHUP that follows another stop
  // signal is no second request to stop and does not count: the shell and the kernel each send one, and
  // service managers send it after SIGTERM.
  Task<int> next();

 private:
  ReadySocket arrived_;  // the reading end of a pipe that the handlers write to
  bool is_stopping_ = false;
};

}  // namespace culvert::net
