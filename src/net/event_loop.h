#pragma once
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "net/deadlines.h"
#include "net/platform.h"

// The only module with Asio and calls on sockets. Above it a coroutine is a Task, a worker's loop is an
// EventLoop.
namespace culvert::net {

class Poller;

using Executor = boost::asio::io_context::executor_type;

// A coroutine on an event loop. It is awaited or given to a TaskGroup; it is never left to itself.
template <class T = void>
using Task = boost::asio::awaitable<T, Executor>;

// One thread's loop: epoll and a queue of deadlines; Asio resumes its coroutines. Everything made from it
// lives and dies on the thread that calls run(); post(), stop() and the clocks may be used from any thread.
class EventLoop {
 public:
  // `platform` outlives it.
  explicit EventLoop(Platform& platform = system_platform());
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Until nothing is left to wait for, or stop().
  void run();
  // Until stop(), also while nothing waits: for a loop that others post to.
  void run_until_stopped();
  // Runs what is ready and what is due; if there is nothing, waits for it until `deadline`. False: nothing is
  // left to wait for.
  bool run_once(TimePoint deadline) { return run_ready() || turn(deadline, false); }
  void stop();
  template <class F>
  void post(F&& work) {
    boost::asio::post(context_, std::forward<F>(work));
    wake();
  }

  // The time for everything on this loop. Asked of the clock each time: a turn that takes long must not arm
  // its deadlines in the past.
  TimePoint now() const { return platform_.now(); }
  UnixTime unix_now() const { return platform_.unix_now(); }
  Random& random() { return platform_.random(); }
  Platform& platform() { return platform_; }
  Executor executor() { return context_.get_executor(); }
  boost::asio::io_context& context() { return context_; }

  // Runs what is ready and what is due, without waiting; false: nothing was. Platforms that run their loops
  // call it.
  bool run_ready();
  // The next moment at which something will be due; TimePoint::max(): none.
  TimePoint next_deadline() const;
  // stop() was called.
  bool is_stopped() const { return is_stopped_.load(); }

 private:
  friend class Timer;
  friend class Notify;
  friend class ReadySocket;
  struct Sleep;      // a coroutine's wait
  struct Suspended;  // what resumes one
  struct Suspensions;
  friend Task<> sleep_until(EventLoop& loop, TimePoint when);

  // One more callback of a socket waits, or one less.
  void note_wait(int change) { waiting_sockets_ += change; }
  Poller& poller() { return *poller_; }
  void wake();
  bool is_idle() const;
  bool run_queued();
  bool turn(TimePoint until, bool keeps_waiting);

  Platform& platform_;
  std::atomic<bool> is_stopped_ = false;
  ptrdiff_t waiting_sockets_ = 0;
  // Coroutines that die with the context still take their sockets and deadlines out.
  const std::unique_ptr<Poller> poller_;  // nullptr where the platform runs the loop
  Deadlines deadlines_;
  const std::unique_ptr<Suspensions> suspended_;
  boost::asio::io_context context_;  // a queue: nothing waits in it
};

// A one-shot timer with a callback; re-arming or destroying it drops the callback that was waiting.
// Moving the deadline of an armed timer to a later time costs nothing.
class Timer {
 public:
  explicit Timer(EventLoop& loop);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void at(TimePoint when, std::move_only_function<void()> callback);
  void after(Duration delay, std::move_only_function<void()> callback);
  void cancel();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Suspends the calling coroutine.
Task<> sleep_until(EventLoop& loop, TimePoint when);
Task<> sleep_for(EventLoop& loop, Duration delay);

// Wakes coroutines that wait for a condition. notify() is level-free: it wakes those waiting now. Destroying
// it wakes them too. Not thread-safe.
class Notify {
 public:
  explicit Notify(EventLoop& loop) : loop_(loop) {}
  ~Notify() { notify(); }
  Notify(const Notify&) = delete;
  Notify& operator=(const Notify&) = delete;

  void notify();
  Task<> wait();
  // False when `deadline` came first.
  Task<bool> wait_until(TimePoint deadline);

 private:
  struct Waiter;
  EventLoop& loop_;
  Waiter* first_ = nullptr;  // a list through the frames of the waiting coroutines
};

// Owns coroutines. spawn() starts one; join() waits until all have ended; an exception out of a task is a bug
// and ends the process. Stop tasks by closing what they wait on, or by cancel(), then join. Must be empty
// when destroyed or its loop no longer runs.
class TaskGroup {
 public:
  explicit TaskGroup(EventLoop& loop);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  void spawn(Task<> task);
  size_t size() const;
  Task<> join();
  // Ends all tasks, for an owner that ends as well: what a task waits for ends as if its deadline had come,
  // its next await throws, and its frames are unwound. A task that is spawned later is destroyed at once.
  void cancel();

 private:
  struct State;
  EventLoop& loop_;
  Notify idle_;
  std::shared_ptr<State> state_;
};

}  // namespace culvert::net
