#pragma once
#include <boost/asio/signal_set.hpp>

#include "net/event_loop.h"

namespace culvert::net {

// The signals that stop the program: SIGINT, SIGTERM, and SIGHUP from a terminal that is closed. Between its
// construction and its destruction none of them ends the process.
class StopSignals {
 public:
  explicit StopSignals(EventLoop& loop);

  // Waits for the next one and returns its number. One caller at a time. A SIGHUP that follows another stop
  // signal is no second request to stop and does not count: the shell and the kernel each send one, and
  // service managers send it after SIGTERM.
  Task<int> next();

 private:
  boost::asio::basic_signal_set<Executor> signals_;
  bool is_stopping_ = false;
};

}  // namespace culvert::net
