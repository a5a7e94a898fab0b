#pragma once
#include "net/ready_socket.h"

namespace culvert::net {

// What SIGHUP asks for: a program of a terminal that is closed has to stop; one without a terminal, a daemon,
// has to read its configuration again.
enum class HangUp : uint8_t { kStops, kReloads };
// By whether the process has a terminal.
HangUp meaning_of_hang_up();

// The signals that stop the program: SIGINT, SIGTERM, and SIGHUP from a terminal that is closed. Between its
// construction and its destruction none of them ends the process. One at a time in a process.
class StopSignals {
 public:
  explicit StopSignals(EventLoop& loop, HangUp hang_up = HangUp::kStops);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // Waits for the next one and returns its number: SIGHUP is none to stop where it reloads. One caller at a
  // time. A SIGHUP that follows another stop signal is no second request to stop and does not count: the
  // shell and the kernel each send one, and service managers send it after SIGTERM.
  Task<int> next();

 private:
  ReadySocket arrived_;  // the reading end of a pipe that the handlers write to
  const HangUp hang_up_;
  bool is_stopping_ = false;
};

}  // namespace culvert::net
