#include "net/event_loop.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <list>

#include "base/check.h"
#include "base/log.h"

namespace culvert::net {
namespace {

namespace asio = boost::asio;

using SteadyTimer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                               asio::wait_traits<std::chrono::steady_clock>, Executor>;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable_t<Executor>{});

}  // namespace

// The armed wait outlives re-arming: `generation` tells a wait that was dropped while its completion was
// queued already, `armed_for` lets a later deadline ride on an earlier wait. QUIC moves its deadline with
// every batch of packets; each re-arming of an Asio timer would cost a queued cancellation and often a system
// call.
struct Timer::State : std::enable_shared_from_this<Timer::State> {
  explicit State(EventLoop& its_loop) : loop(its_loop), timer(its_loop.context()) {}

  void arm() {
    armed = true;
    armed_for = due;
    timer.expires_at(due);
    timer.async_wait([self = shared_from_this(), mine = ++generation](const boost::system::error_code&) {
      if (mine == self->generation) self->fired();
    });
  }

  void disarm() {
    callback = nullptr;
    if (!armed) return;
    armed = false;
    ++generation;
    timer.cancel();
  }

  void fired() {
    armed = false;
    if (loop.now() < due) {
      arm();
      return;
    }
    auto ready = std::move(callback);
    callback = nullptr;
    ready();
  }

  EventLoop& loop;
  SteadyTimer timer;
  std::move_only_function<void()> callback;
  TimePoint due;
  TimePoint armed_for;
  bool armed = false;
  uint64_t generation = 0;
};

Timer::Timer(EventLoop& loop) : loop_(loop), state_(std::make_shared<State>(loop)) {}

Timer::~Timer() { state_->disarm(); }

void Timer::at(TimePoint when, std::move_only_function<void()> callback) {
  state_->callback = std::move(callback);
  state_->due = when;
  if (!state_->armed || when < state_->armed_for) state_->arm();
}

void Timer::cancel() { state_->disarm(); }

Task<> sleep_until(EventLoop& loop, TimePoint when) {
  SteadyTimer timer(loop.context(), when);
  co_await timer.async_wait(kAwait);
}

Task<> sleep_for(EventLoop& loop, Duration delay) { return sleep_until(loop, loop.now() + delay); }

// Lives in the frame of the waiting coroutine; linked while it waits.
struct Notify::Waiter {
  Waiter(Notify& notify, TimePoint deadline) : timer(notify.loop_.context(), deadline), head(&notify.first_) {
    next = *head;
    if (next) next->previous = this;
    *head = this;
  }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter() {
    if (!head) return;
    (previous ? previous->next : *head) = next;
    if (next) next->previous = previous;
  }

  SteadyTimer timer;
  Waiter** head;  // null once notified: the Notify may be gone
  Waiter* next = nullptr;
  Waiter* previous = nullptr;
};

void Notify::notify() {
  for (Waiter* waiter = std::exchange(first_, nullptr); waiter; waiter = waiter->next) {
    waiter->head = nullptr;
    waiter->timer.cancel();
  }
}

Task<> Notify::wait() {
  Waiter waiter(*this, TimePoint::max());
  co_await waiter.timer.async_wait(kAwait);
}

Task<bool> Notify::wait_until(TimePoint deadline) {
  Waiter waiter(*this, deadline);
  co_await waiter.timer.async_wait(kAwait);
  co_return waiter.head == nullptr;
}

// Shared with the completions, which outlive the group when its loop no longer runs.
struct TaskGroup::State {
  std::list<asio::cancellation_signal> tasks;  // one for each
  bool cancelled = false;
};

TaskGroup::TaskGroup(EventLoop& loop) : loop_(loop), idle_(loop), state_(std::make_shared<State>()) {}
TaskGroup::~TaskGroup() = default;

size_t TaskGroup::size() const { return state_->tasks.size(); }

namespace {

// What an await of a cancelled task throws.
bool is_cancellation(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const boost::system::system_error& error) {
    return error.code() == asio::error::operation_aborted;
  } catch (...) {
    return false;
  }
}

[[noreturn]] void report_bug(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    log_error("task_exception", "what={}", quoted(error.what()));
  } catch (...) {
    log_error("task_exception", "what=unknown");
  }
  check_failed(__FILE__, __LINE__, "no exception leaves a task");
}

}  // namespace

void TaskGroup::spawn(Task<> task) {
  if (state_->cancelled) return;
  const auto place = state_->tasks.emplace(state_->tasks.end());
  auto ended = [this, state = state_, place](const std::exception_ptr& exception) {
    if (exception && !(state->cancelled && is_cancellation(exception))) report_bug(exception);
    state->tasks.erase(place);
    if (state->tasks.empty()) idle_.notify();
  };
  asio::co_spawn(loop_.executor(), std::move(task),
                 asio::bind_cancellation_slot(place->slot(), std::move(ended)));
}

// Posted, because a task that has not begun yet must not be cancelled: Asio 1.26 would throw out of run().
void TaskGroup::cancel() {
  state_->cancelled = true;
  loop_.post([state = state_] {
    for (asio::cancellation_signal& task : state->tasks) task.emit(asio::cancellation_type::terminal);
  });
}

Task<> TaskGroup::join() {
  while (size() > 0) co_await idle_.wait();
}

}  // namespace culvert::net
