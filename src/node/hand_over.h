#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/metrics.h"
#include "edge/public_connection.h"
#include "net/event_loop.h"
#include "net/hand_over_platform.h"
#include "net/message_channel.h"
#include "node/assembly.h"
#include "node/hand_over_messages.h"
#include "node/predecessors.h"

namespace culvert::node {

struct HandOverStatus {
  uint8_t generation = 0;  // 0: it did not take over from another process
  size_t predecessors = 0;
  uint64_t predecessor_connections = 0;
  uint64_t failed = 0;  // hand-overs to a next process
};
void report(const HandOverStatus& status, Metrics& metrics);

// Hands a running node over to the process that asks for it: one at a time, and once. Lives on the control
// loop.
//
//    waiting ──hello, ready──▶ releasing ──serving──▶ handed over
//       ▲                          │
//       └──channel closed, late────┘  takes everything back
class HandOver {
 public:
  // All outlive it.
  struct Parts {
    net::HandOverPlatform& platform;
    Assembly& assembly;
    Predecessors& predecessors;
    HandOverHello self;  // that another has to equal
    uint8_t generation;
    std::function<bool()> is_stopping;
    // The locks of this process, the data directory's first.
    std::function<Result<std::vector<Descriptor>>()> locks;
    // They are this process's again, or those of the other.
    std::function<void(bool is_handed_over)> ended;
    // The process that took over has ended; what is left here has nothing to live from.
    std::function<void()> successor_lost;
    std::function<void()> stop;  // the other process stops
  };

  HandOver(net::EventLoop& loop, Parts parts)
      : loop_(loop), parts_(std::move(parts)), paused_(loop), closed_(loop), tasks_(loop) {}
  HandOver(const HandOver&) = delete;

  // Where processes may ask. Errors name the path.
  Result<> listen(const std::filesystem::path& path);
  void close();
  net::Task<> join() { return tasks_.join(); }

  bool is_handed_over() const { return is_handed_over_; }
  uint64_t failed() const { return failed_; }  // hand-overs that were begun

 private:
  net::Task<> serve();
  net::Task<bool> serve_one(std::shared_ptr<net::MessageChannel> channel);
  std::string why_not(const HandOverHello& hello) const;
  net::Task<Result<>> release(std::shared_ptr<net::MessageChannel> channel);
  net::Task<Result<>> send(std::shared_ptr<net::MessageChannel> channel, net::ChannelMessage message,
                           TimePoint deadline);
  net::Task<Result<>> send_sockets(std::shared_ptr<net::MessageChannel> channel, TimePoint deadline);
  net::Task<Result<>> pause();
  net::Task<> take_back();
  void hand_over(std::shared_ptr<net::MessageChannel> channel);
  net::Task<> watch(std::shared_ptr<net::MessageChannel> channel);
  void follow(const HandOverRoutes& changes);
  net::Task<> tell(std::shared_ptr<net::MessageChannel> channel);

  net::EventLoop& loop_;
  const Parts parts_;
  std::unique_ptr<net::MessageListener> listener_;
  bool is_handed_over_ = false;
  bool is_closed_ = false;
  uint64_t failed_ = 0;
  net::Notify paused_;
  net::Notify closed_;
  net::TaskGroup tasks_;
};

}  // namespace culvert::node
