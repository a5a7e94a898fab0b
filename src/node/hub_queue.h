#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

#include "base/metrics.h"
#include "base/rate_limit.h"
#include "edge/public_connection.h"
#include "net/event_loop.h"

namespace culvert::node {

// Connections for the hub on their way from the edge's workers to the control thread. They hold descriptors
// of the whole process: however long the control thread does something else, there are no more than the cap,
// so that the workers never run out.
class HubQueue {
 public:
  struct Limits {
    size_t connections;
    // What waited longer is closed when the next one comes, or at its turn. Clients of the hub give up after
    // as long (hubapi::HubClient).
    Duration patience = std::chrono::seconds(5);
  };
  struct Counters {
    uint64_t refused_full = 0;
    uint64_t expired = 0;
  };

  // `admit` is called on the loop, in the order of the pushes.
  HubQueue(net::EventLoop& loop, Limits limits, std::function<void(edge::PublicConnection)> admit)
      : loop_(loop), limits_(limits), admit_(std::move(admit)) {}
  // On the loop's thread, or when neither the loop nor a worker runs any more.
  ~HubQueue() { close(); }
  HubQueue(const HubQueue&) = delete;
  HubQueue& operator=(const HubQueue&) = delete;

  // From any thread. False: it is full or closed, and the connection was closed.
  bool push(edge::PublicConnection connection, TimePoint now);
  // On the loop's thread: what comes waits until release(), within the limits.
  void hold() { is_held_ = true; }
  void release();
  // On the loop's thread: closes what waits; nothing is taken or admitted from here on.
  void close();

  Counters counters() const;

 private:
  struct Waiting {
    edge::PublicConnection connection;
    TimePoint since;
  };

  void deliver();

  net::EventLoop& loop_;
  const Limits limits_;
  const std::function<void(edge::PublicConnection)> admit_;
  bool is_held_ = false;  // on the loop's thread

  mutable std::mutex mutex_;  // guards what follows
  std::deque<Waiting> waiting_;
  Counters counters_;
  RateLimit log_{1, std::chrono::seconds(10)};
  bool closed_ = false;
};

// Those that found the queue full are among the edge's refused connections.
void report(const HubQueue::Counters& counters, Metrics& metrics);

}  // namespace culvert::node
