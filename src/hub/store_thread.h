#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "hub/record_database.h"
#include "net/event_loop.h"

namespace culvert::hub {

// The one thread that may block in the database. Does one piece of work after the other, in the order of the
// posts. Made, used, closed and destroyed on the hub's loop.
class StoreThread {
 public:
  // On the thread. Owns all that it touches besides the database: a thread that hangs in a dead disk outlives
  // its owner.
  using Work = std::move_only_function<void(RecordDatabase&)>;
  // On the loop, once, unless the work is cancelled. False: the thread was closed before the work was done.
  using Then = std::move_only_function<void(bool done)>;
  using Ticket = uint64_t;

  StoreThread(net::EventLoop& loop, std::unique_ptr<RecordDatabase> database, size_t max_waiting);
  ~StoreThread() { close(Duration::zero()); }
  StoreThread(const StoreThread&) = delete;
  StoreThread& operator=(const StoreThread&) = delete;

  // nullopt: `max_waiting` pieces of work wait already, or it is closed.
  std::optional<Ticket> post(Work work, Then then);
  // The same without regard to max_waiting, for the last work before close().
  void post_last(Work work, Then then);
  // True: the work had not begun, and is dropped with its `then`.
  bool cancel(Ticket ticket);

  // Waits at most `bound` for what was posted to be done, and drops what is not; every `then` is called
  // before this returns. A thread that still hangs is left behind with its database.
  void close(Duration bound);

 private:
  struct Shared;
  static void run(const std::shared_ptr<Shared>& shared);
  Ticket enqueue(Work work, Then then);
  void collect();

  std::shared_ptr<Shared> shared_;
  std::map<Ticket, Then> thens_;
  Ticket last_ticket_ = 0;
  std::thread thread_;
};

}  // namespace culvert::hub
