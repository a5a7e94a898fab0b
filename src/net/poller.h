#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "base/descriptor.h"

namespace culvert::net {

// The descriptors that one loop watches, by epoll, edge-triggered: each costs a system call when it is added,
// and none whenever somebody waits for it. Inside net/ only; on the loop's thread, apart from wake().
class Poller {
 public:
  // What is told of events; it has a token from enter() to leave().
  class Watched {
   public:
    virtual ~Watched() = default;

   private:
    friend class Poller;
    // EPOLLIN and so on, as they are now. May destroy any Watched.
    virtual void on_events(uint32_t events) = 0;
  };
  using Token = uint64_t;

  Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // A token is never given twice, so that what was queued for one that has left meets no successor.
  Token enter(Watched& watched);
  void leave(Token token);
  Watched* find(Token token) const;  // nullptr: it has left

  // False: the kernel takes no more, or cannot watch such a descriptor.
  bool add(int fd, Token token);
  void remove(int fd);
  // Tells what is ready once more, whether or not it changed; of a descriptor that is not read now, only
  // whether it can be written.
  void ask_again(int fd, Token token, bool reads);

  // Tells what is ready. If nothing is, waits for it: not at all for a timeout of 0, else until it has passed
  // or wake() is called; Duration::max(): as long as that takes.
  void poll(Duration timeout);
  // From here to the end of the next poll() a wake() ends it. What was posted before is to be looked for
  // after this call.
  void prepare() { asleep_.store(true); }
  // From any thread.
  void wake();

 private:
  struct Slot {
    Watched* watched = nullptr;
    uint32_t generation = 0;
    uint32_t next_free = 0;
  };

  Descriptor epoll_;
  Descriptor wake_up_;  // an eventfd
  std::atomic<bool> asleep_ = false;
  bool has_precise_wait_ = true;  // epoll_pwait2: Linux 5.11
  std::vector<Slot> slots_;
  uint32_t first_free_ = 0;  // an index into slots_, or its size
};

}  // namespace culvert::net
