#include "net/event_loop.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <list>
#include <optional>

#include "base/check.h"
#include "base/log.h"
#include "net/deadlines.h"

namespace culvert::net {
namespace {

namespace asio = boost::asio;

using SteadyTimer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                               asio::wait_traits<std::chrono::steady_clock>, Executor>;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable_t<Executor>{});

}  // namespace

// All deadlines of the loop, and the one Asio timer that wakes the loop for the first of them. That is never
// armed where the platform keeps the time.
struct EventLoop::Timers {
  explicit Timers(EventLoop& owner) : loop(owner) {}

  void set(Deadlines::Entry& entry, TimePoint when) {
    deadlines.set(entry, when);
    if (when < armed_for) arm(when);
  }
  void drop(Deadlines::Entry& entry) {
    if (!entry.is_set()) return;
    Deadlines::drop(entry);
    // An armed timer would keep run() from returning.
    if (wake && deadlines.is_empty() && armed_for != TimePoint::max()) {
      armed_for = TimePoint::max();
      ++generation;
      wake->cancel();
    }
  }
  // An armed wait is left alone while it is the earliest: each new one costs a queued cancellation and often
  // a system call. `generation` tells a wait that was replaced while its completion was queued already.
  void arm(TimePoint when) {
    if (!wake) return;
    armed_for = when;
    wake->expires_at(when);
    wake->async_wait([this, mine = ++generation](const boost::system::error_code&) {
      if (mine == generation) woken();
    });
  }
  void woken() {
    armed_for = TimePoint::max();
    deadlines.run(loop.now());
    if (deadlines.next() < armed_for) arm(deadlines.next());
  }

  EventLoop& loop;
  Deadlines deadlines;
  std::optional<SteadyTimer> wake;  // ends before the context does
  TimePoint armed_for = TimePoint::max();
  uint64_t generation = 0;
};

EventLoop::EventLoop(Platform& platform)
    : platform_(platform),
      runs_by_platform_(platform.runs_loops()),
      timers_(std::make_unique<Timers>(*this)),
      context_(1) {
  if (!runs_by_platform_) timers_->wake.emplace(context_);
  platform_.loop_begins(*this);
}

EventLoop::~EventLoop() {
  platform_.loop_ends(*this);
  timers_->wake.reset();
}

bool EventLoop::run_ready() {
  if (is_stopped()) return false;
  bool worked = timers_->deadlines.run(now());
  if (!worked && !has_work_) return false;
  context_.restart();  // it stops whenever it has nothing to wait for
  worked = context_.poll() > 0 || worked;
  has_work_ = false;
  return worked;
}

TimePoint EventLoop::next_deadline() const {
  return is_stopped() ? TimePoint::max() : timers_->deadlines.next();
}

// A deadline that moves to a later time keeps its place in the queue until that comes: QUIC moves its own
// with every batch of packets.
struct Timer::State final : Deadlines::Entry {
  explicit State(EventLoop& its_loop) : loop(its_loop) {}
  ~State() override { loop.timers_->drop(*this); }

  void on_expired() override {
    if (loop.now() < due) return loop.timers_->set(*this, due);
    auto ready = std::exchange(callback, nullptr);
    ready();
  }

  EventLoop& loop;
  std::move_only_function<void()> callback;
  TimePoint due;
};

Timer::Timer(EventLoop& loop) : state_(std::make_unique<State>(loop)) {}

Timer::~Timer() = default;

void Timer::at(TimePoint when, std::move_only_function<void()> callback) {
  state_->callback = std::move(callback);
  state_->due = when;
  if (!state_->is_set() || when < state_->when()) state_->loop.timers_->set(*state_, when);
}

void Timer::after(Duration delay, std::move_only_function<void()> callback) {
  at(state_->loop.now() + delay, std::move(callback));
}

void Timer::cancel() {
  state_->callback = nullptr;
  state_->loop.timers_->drop(*state_);
}

// Lives in the frame of the waiting coroutine. Asio's timer suspends it and is what a cancellation of the
// coroutine ends; it never expires by itself.
struct EventLoop::Sleep : Deadlines::Entry {
  Sleep(EventLoop& its_loop, TimePoint deadline)
      : loop(its_loop), timer(its_loop.context(), TimePoint::max()) {
    if (deadline != TimePoint::max()) loop.timers_->set(*this, deadline);
  }
  ~Sleep() override { loop.timers_->drop(*this); }

  auto wait() { return timer.async_wait(kAwait); }
  void wake() { timer.cancel(); }
  void on_expired() override { wake(); }

  EventLoop& loop;
  SteadyTimer timer;
};

Task<> sleep_until(EventLoop& loop, TimePoint when) {
  EventLoop::Sleep sleep(loop, when);
  co_await sleep.wait();
}

Task<> sleep_for(EventLoop& loop, Duration delay) { return sleep_until(loop, loop.now() + delay); }

// Lives in the frame of the waiting coroutine; linked while it waits.
struct Notify::Waiter final : EventLoop::Sleep {
  Waiter(Notify& notify, TimePoint deadline) : Sleep(notify.loop_, deadline), head(&notify.first_) {
    next = *head;
    if (next) next->previous = this;
    *head = this;
  }
  ~Waiter() override {
    if (!head) return;
    (previous ? previous->next : *head) = next;
    if (next) next->previous = previous;
  }

  Waiter** head;  // null once notified: the Notify may be gone
  Waiter* next = nullptr;
  Waiter* previous = nullptr;
};

void Notify::notify() {
  if (first_) loop_.note_work();
  for (Waiter* waiter = std::exchange(first_, nullptr); waiter; waiter = waiter->next) {
    waiter->head = nullptr;
    waiter->wake();
  }
}

Task<> Notify::wait() {
  Waiter waiter(*this, TimePoint::max());
  co_await waiter.wait();
}

Task<bool> Notify::wait_until(TimePoint deadline) {
  Waiter waiter(*this, deadline);
  co_await waiter.wait();
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
  loop_.note_work();
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
