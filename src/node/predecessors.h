#pragma once
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "base/metrics.h"
#include "hub/live_status.h"
#include "net/event_loop.h"
#include "node/hand_over_messages.h"
#include "node/take_over.h"
#include "route/delta.h"

namespace culvert::node {

// The processes that this one, or one before it, took over from, and that drain. Lives on the control loop.
class Predecessors {
 public:
  struct Events {
    // A connection for the hub that one of them accepted.
    std::function<void(HandOverPassed passed, Descriptor socket)> passed;
    std::function<void(uint8_t generation)> ended;
    std::function<void()> changed;  // how many there are
  };

  Predecessors(net::EventLoop& loop, Events events) : loop_(loop), events_(std::move(events)), tasks_(loop) {}
  Predecessors(const Predecessors&) = delete;

  void add(Draining process);
  size_t size() const { return has_left_ ? 0 : processes_.size(); }
  std::vector<hub::FormerProcess> all() const;
  // Public connections that they have, as they told last.
  uint64_t connections() const;
  // Their connections are cut where a change says so.
  void tell(const route::Delta& changes);
  // They are to end in the time of a stop.
  void stop();
  // Duplicates of their channels, for the process after this one; adds to both.
  Result<> add_to(HandOverReleased& message, std::vector<Descriptor>& descriptors) const;
  // They go on, and another process has them.
  void leave();
  net::Task<> join() { return tasks_.join(); }

 private:
  struct Process {
    Draining draining;
    uint64_t connections = 0;
    std::deque<Bytes> unsent = {};
  };

  net::Task<> watch(std::list<Process>::iterator process);
  void send(const Bytes& message);
  // As much as the channel takes; false: all of it.
  bool flush(Process& process);
  net::Task<> deliver();

  net::EventLoop& loop_;
  const Events events_;
  std::list<Process> processes_;
  bool has_left_ = false;
  bool is_delivering_ = false;
  net::TaskGroup tasks_;
};

}  // namespace culvert::node
