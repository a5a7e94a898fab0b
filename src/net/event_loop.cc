#include "net/event_loop.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/intrusive/list.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <list>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "net/poller.h"

namespace culvert::net {
namespace {

namespace asio = boost::asio;

// What is queued runs so often before sockets and deadlines get their turn.
constexpr int kQueuedPerTurn = 256;

constexpr asio::use_awaitable_t<Executor> kAwait;

}  // namespace

// A coroutine that waits. What resumes it owns its frame, so it is not kept in there.
struct EventLoop::Suspended
    : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  virtual ~Suspended() = default;
  virtual void resume(EventLoop& loop) = 0;  // soon; destroys this

  template <class Handler>
  struct With;
};

template <class Handler>
struct EventLoop::Suspended::With final : Suspended {
  explicit With(Handler&& its_handler) : handler(std::move(its_handler)) {}
  void resume(EventLoop& loop) override {
    asio::post(loop.context_, std::move(handler));
    delete this;
  }
  Handler handler;
};

struct EventLoop::Suspensions
    : boost::intrusive::list<Suspended, boost::intrusive::constant_time_size<false>> {};

EventLoop::EventLoop(Platform& platform)
    : platform_(platform),
      poller_(platform.runs_loops() ? nullptr : std::make_unique<Poller>()),
      suspended_(std::make_unique<Suspensions>()),
      context_(1) {
  platform_.loop_begins(*this);
}

EventLoop::~EventLoop() {
  platform_.loop_ends(*this);
  while (!suspended_->empty()) delete &suspended_->front();  // one frame may destroy others
}

void EventLoop::run() {
  while (!is_stopped() && turn(TimePoint::max(), false)) {
  }
}

void EventLoop::run_until_stopped() {
  while (!is_stopped()) turn(TimePoint::max(), true);
}

void EventLoop::stop() {
  is_stopped_.store(true);
  wake();
}

void EventLoop::wake() {
  if (poller_) poller_->wake();
}

bool EventLoop::run_ready() {
  if (is_stopped()) return false;
  if (poller_) poller_->poll(Duration::zero());
  return run_queued();
}

TimePoint EventLoop::next_deadline() const { return is_stopped() ? TimePoint::max() : deadlines_.next(); }

bool EventLoop::is_idle() const {
  return waiting_sockets_ == 0 && deadlines_.is_empty() && suspended_->empty();
}

// Runs what is due and what is queued; false: nothing was.
bool EventLoop::run_queued() {
  bool worked = deadlines_.run(now());
  context_.restart();  // it stops whenever it is empty
  for (int i = 0; i < kQueuedPerTurn && !is_stopped() && context_.poll_one() > 0; ++i) worked = true;
  return worked;
}

// Runs what is due, queued and ready, and waits for something until `until` if there was nothing. False:
// nothing is left to wait for, and nothing was waited for; unless `keeps_waiting`, for what others post.
bool EventLoop::turn(TimePoint until, bool keeps_waiting) {
  run_queued();
  poller_->prepare();
  // What was posted before did not end a wait.
  const bool worked = run_queued();
  if (is_stopped()) return true;
  if (!worked && !keeps_waiting && is_idle()) return false;
  Duration wait = Duration::zero();
  if (!worked) {
    until = std::min(until, deadlines_.next());
    wait = until == TimePoint::max() ? Duration::max() : std::max(until - now(), Duration::zero());
  }
  poller_->poll(wait);
  return true;
}

// A deadline that moves to a later time keeps its place in the queue until that comes: QUIC moves its own
// with every batch of packets.
struct Timer::State final : Deadlines::Entry {
  explicit State(EventLoop& its_loop) : loop(its_loop) {}

  void on_expired() override {
    if (loop.now() < due) return loop.deadlines_.set(*this, due);
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
  if (!state_->is_set() || when < state_->when()) state_->loop.deadlines_.set(*state_, when);
}

void Timer::after(Duration delay, std::move_only_function<void()> callback) {
  at(state_->loop.now() + delay, std::move(callback));
}

void Timer::cancel() {
  state_->callback = nullptr;
  Deadlines::drop(*state_);
}

// Lives in the frame of the waiting coroutine.
struct EventLoop::Sleep : Deadlines::Entry {
  Sleep(EventLoop& its_loop, TimePoint deadline) : loop(its_loop) {
    if (deadline != TimePoint::max()) loop.deadlines_.set(*this, deadline);
  }

  auto wait() {
    return asio::async_initiate<const asio::use_awaitable_t<Executor>, void()>(
        [this](auto handler) { suspend(std::move(handler)); }, kAwait);
  }
  template <class Handler>
  void suspend(Handler handler) {
    // Until the coroutine goes on: a cancellation ends the wait as its deadline would.
    auto cancellation = asio::get_associated_cancellation_slot(handler);
    if (cancellation.is_connected()) cancellation.assign([this](asio::cancellation_type) { wake(); });
    suspended = new Suspended::With<Handler>(std::move(handler));
    loop.suspended_->push_back(*suspended);
  }
  void wake() {
    if (Suspended* const waiting = std::exchange(suspended, nullptr)) waiting->resume(loop);
  }
  void on_expired() override { wake(); }

  EventLoop& loop;
  Suspended* suspended = nullptr;
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
