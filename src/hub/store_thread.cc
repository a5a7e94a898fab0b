#include "hub/store_thread.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "base/log.h"

namespace culvert::hub {

// The thread's own share of it; outlives both.
struct StoreThread::Shared {
  // The database, and the loop that is told of work done: while `closing` is false it exists.
  std::unique_ptr<RecordDatabase> database;
  net::EventLoop& loop;
  const size_t max_waiting;
  // Only the loop's thread looks behind it.
  std::shared_ptr<StoreThread*> owner;

  std::mutex mutex;  // guards what follows
  std::condition_variable wake;
  std::condition_variable all_done;
  std::deque<std::pair<Ticket, Work>> queue;
  std::vector<Ticket> done;
  bool closing = false;
  bool ended = false;
};

StoreThread::StoreThread(net::EventLoop& loop, std::unique_ptr<RecordDatabase> database, size_t max_waiting)
    : shared_(new Shared{.database = std::move(database),
                         .loop = loop,
                         .max_waiting = max_waiting,
                         .owner = std::make_shared<StoreThread*>(this),
                         .mutex = {},
                         .wake = {},
                         .all_done = {},
                         .queue = {},
                         .done = {}}),
      thread_([shared = shared_] { run(shared); }) {}

void StoreThread::run(const std::shared_ptr<Shared>& shared) {
  std::unique_lock lock(shared->mutex);
  while (true) {
    shared->wake.wait(lock, [&] { return shared->closing || !shared->queue.empty(); });
    if (shared->queue.empty()) break;
    Ticket ticket = shared->queue.front().first;
    Work work = std::move(shared->queue.front().second);
    shared->queue.pop_front();
    lock.unlock();
    work(*shared->database);
    work = nullptr;
    lock.lock();
    shared->done.push_back(ticket);
    if (shared->closing) continue;  // close() collects
    shared->loop.post([owner = shared->owner] {
      if (*owner) (*owner)->collect();
    });
  }
  shared->ended = true;
  shared->all_done.notify_all();
}

StoreThread::Ticket StoreThread::enqueue(Work work, Then then) {
  thens_.emplace(++last_ticket_, std::move(then));
  shared_->queue.emplace_back(last_ticket_, std::move(work));
  shared_->wake.notify_one();
  return last_ticket_;
}

std::optional<StoreThread::Ticket> StoreThread::post(Work work, Then then) {
  std::lock_guard lock(shared_->mutex);
  if (shared_->closing || shared_->queue.size() >= shared_->max_waiting) return std::nullopt;
  return enqueue(std::move(work), std::move(then));
}

void StoreThread::post_last(Work work, Then then) {
  std::lock_guard lock(shared_->mutex);
  if (!shared_->closing) enqueue(std::move(work), std::move(then));
}

bool StoreThread::cancel(Ticket ticket) {
  Work dropped;
  std::lock_guard lock(shared_->mutex);
  auto waiting = std::ranges::find(shared_->queue, ticket, &std::pair<Ticket, Work>::first);
  if (waiting == shared_->queue.end()) return false;
  dropped = std::move(waiting->second);
  shared_->queue.erase(waiting);
  thens_.erase(ticket);
  return true;
}

void StoreThread::collect() {
  std::vector<Ticket> done;
  {
    std::lock_guard lock(shared_->mutex);
    done.swap(shared_->done);
  }
  for (Ticket ticket : done) {
    auto then = thens_.extract(ticket);
    if (then) then.mapped()(true);
  }
}

void StoreThread::close(Duration bound) {
  if (!thread_.joinable()) return;
  std::deque<std::pair<Ticket, Work>> dropped;
  bool ended;
  {
    std::unique_lock lock(shared_->mutex);
    shared_->closing = true;
    shared_->wake.notify_one();
    ended = shared_->all_done.wait_until(lock, monotonic_now() + bound, [&] { return shared_->ended; });
    dropped.swap(shared_->queue);
  }
  if (ended) {
    thread_.join();
  } else {
    // A system call on a dead disk cannot be interrupted, and the end of the node must not wait for it.
    // Nothing of ours is within reach of the thread from here on but Shared, which it owns as well.
    log_error("hub_database_stuck", "meaning={}",
              culvert::quoted("the database did not answer until the node ended; what waited is not stored"));
    thread_.detach();
  }
  collect();
  *shared_->owner = nullptr;
  auto left = std::exchange(thens_, {});
  for (auto& [ticket, then] : left) then(false);
}

}  // namespace culvert::hub
