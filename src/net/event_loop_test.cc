#include "net/event_loop.h"

#include <gtest/gtest.h>

#include <list>
#include <optional>
#include <stdexcept>
#include <thread>

namespace culvert::net {
namespace {

using namespace std::chrono_literals;

TEST(EventLoop, PostRunsOnTheLoopFromAnotherThread) {
  EventLoop loop;
  std::thread::id ran_on;
  std::thread poster([&] { loop.post([&] { ran_on = std::this_thread::get_id(); }); });
  poster.join();
  loop.run();
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

// A platform with a time of its own and nothing else.
struct FakePlatform final : Platform {
  TimePoint now() const override { return time; }
  UnixTime unix_now() const override { return UnixTime(1'000'000s); }
  Random& random() override { return randomness; }
  bool runs_loops() const override { return true; }
  Result<std::unique_ptr<TcpListener>> listen_tcp(EventLoop&, const SocketAddr&,
                                                  const ListenOptions&) override {
    return none();
  }
  std::unique_ptr<ConnectAttempt> connect_tcp(EventLoop&, const SocketAddr&, const ConnectOptions&,
                                              std::shared_ptr<Notify>) override {
    return nullptr;
  }
  Result<std::unique_ptr<ByteStream>> connect_unix(EventLoop&, const std::string&) override { return none(); }
  Result<std::unique_ptr<PacketIo>> bind_udp(EventLoop&, const SocketAddr&, const UdpOptions&) override {
    return none();
  }
  Result<std::unique_ptr<NetworkWatch>> watch_network(EventLoop&, std::function<void()>) override {
    return none();
  }
  Result<SocketAddr> source_address_for(const SocketAddr&) override { return none(); }
  std::optional<size_t> path_mtu(const SocketAddr&) override { return std::nullopt; }
  static std::unexpected<Error> none() { return fail(ErrorCode::kIo, "no network"); }

  TimePoint time{1h};
  SeededRandom randomness{1};
};

Task<> note_times(EventLoop& loop, std::vector<TimePoint>& woken) {
  co_await sleep_for(loop, 3h);
  woken.push_back(loop.now());
  Notify never(loop);
  const bool notified = co_await never.wait_until(loop.now() + 10min);
  EXPECT_FALSE(notified);
  woken.push_back(loop.now());
}

TEST(EventLoop, RunsInTheTimeOfItsPlatform) {
  FakePlatform platform;
  EventLoop loop(platform);
  EXPECT_EQ(loop.now(), TimePoint(1h));
  EXPECT_EQ(loop.unix_now(), UnixTime(1'000'000s));
  std::vector<TimePoint> woken;
  TaskGroup tasks(loop);
  tasks.spawn(note_times(loop, woken));
  Timer timer(loop);
  timer.after(1h, [&] { woken.push_back(loop.now()); });
  while (tasks.size() > 0) {
    while (loop.run_ready()) {
    }
    ASSERT_NE(loop.next_deadline(), TimePoint::min());
    if (tasks.size() > 0) platform.time = loop.next_deadline();
  }
  EXPECT_EQ(woken, (std::vector<TimePoint>{TimePoint(2h), TimePoint(4h), TimePoint(4h + 10min)}));
  EXPECT_EQ(loop.next_deadline(), TimePoint::max()) << "a deadline was left behind";
}

TEST(EventLoop, OfAPlatformRunsNothingBeforeItIsDueOrAfterStop) {
  FakePlatform platform;
  EventLoop loop(platform);
  bool ran = false;
  Timer timer(loop);
  timer.after(1s, [&] { ran = true; });
  EXPECT_FALSE(loop.run_ready());
  platform.time += 1s;
  EXPECT_TRUE(loop.run_ready());
  EXPECT_TRUE(std::exchange(ran, false));
  loop.post([&] { loop.stop(); });
  EXPECT_TRUE(loop.run_ready());
  EXPECT_TRUE(loop.is_stopped());
  loop.post([&] { ran = true; });
  EXPECT_FALSE(loop.run_ready());
  EXPECT_FALSE(ran);
}

TEST(Timer, OnesThatAreDueAtOnceRunInTheOrderInWhichTheyWereSet) {
  FakePlatform platform;
  EventLoop loop(platform);
  std::string order;
  std::list<Timer> timers;
  for (const char name : {'a', 'b', 'c', 'd'}) {
    timers.emplace_back(loop).at(platform.time + 1s, [&, name] { order += name; });
  }
  timers.front().at(platform.time + 2s, [&] { order += 'A'; });
  timers.erase(std::next(timers.begin()));
  platform.time += 1s;
  EXPECT_TRUE(loop.run_ready());
  EXPECT_EQ(order, "cd");
  EXPECT_EQ(loop.next_deadline(), platform.time + 1s);
}

TEST(Timer, FiresOnceAndNeverEarly) {
  EventLoop loop;
  Timer timer(loop);
  int fired = 0;
  const TimePoint due = monotonic_now() + 5ms;
  timer.at(due, [&] {
    ++fired;
    EXPECT_GE(monotonic_now(), due);
  });
  EXPECT_EQ(fired, 0);
  loop.run();
  EXPECT_EQ(fired, 1);
}

TEST(Timer, RearmingDropsTheOlderCallback) {
  EventLoop loop;
  Timer timer(loop);
  std::string order;
  timer.after(1ms, [&] { order += 'a'; });
  const TimePoint later = monotonic_now() + 20ms;
  timer.at(later, [&] {
    order += 'b';
    EXPECT_GE(monotonic_now(), later);
  });
  loop.run();
  EXPECT_EQ(order, "b");
  timer.after(1h, [&] { order += 'c'; });
  timer.after(1ms, [&] { order += 'd'; });
  loop.run();
  EXPECT_EQ(order, "bd");
}

TEST(Timer, CancelledOrDestroyedWhileItsCompletionIsQueuedRunsNothing) {
  EventLoop loop;
  auto timer = std::make_unique<Timer>(loop);
  Timer cancelled(loop);
  // All three expire in one turn of the loop; the first to run drops the others.
  const TimePoint due = monotonic_now();
  Timer first(loop);
  first.at(due - 1ms, [&] {
    timer.reset();
    cancelled.cancel();
  });
  timer->at(due, [] { FAIL() << "destroyed timer fired"; });
  cancelled.at(due, [] { FAIL() << "cancelled timer fired"; });
  std::this_thread::sleep_for(1ms);
  loop.run();
}

TEST(Timer, CanRearmAndDestroyItselfFromItsCallback) {
  EventLoop loop;
  auto timer = std::make_unique<Timer>(loop);
  int fired = 0;
  timer->after(0ms, [&] {
    ++fired;
    timer->after(0ms, [&] {
      ++fired;
      timer.reset();
    });
  });
  loop.run();
  EXPECT_EQ(fired, 2);
}

TEST(Timer, WaitingWhenTheLoopIsDestroyedDropsTheCallback) {
  auto held = std::make_shared<int>(1);
  {
    EventLoop loop;
    Timer timer(loop);
    timer.after(1h, [held] {});
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
}

Task<> wait_and_count(Notify& notify, int& woken) {
  co_await notify.wait();
  ++woken;
}

Task<> wait_until_and_keep(Notify& notify, TimePoint deadline, std::optional<bool>& result) {
  const bool notified = co_await notify.wait_until(deadline);
  result = notified;
}

TEST(Notify, WakesThoseWaitingNowAndNobodyLater) {
  EventLoop loop;
  Notify notify(loop);
  TaskGroup tasks(loop);
  int woken = 0;
  notify.notify();  // no waiter: forgotten
  tasks.spawn(wait_and_count(notify, woken));
  tasks.spawn(wait_and_count(notify, woken));
  loop.run_ready();
  EXPECT_EQ(woken, 0);
  notify.notify();
  loop.run_ready();
  EXPECT_EQ(woken, 2);
  EXPECT_EQ(tasks.size(), 0u);
}

TEST(Notify, DeadlineAndNotificationAreToldApart) {
  EventLoop loop;
  Notify notify(loop);
  TaskGroup tasks(loop);
  std::optional<bool> early, late;
  tasks.spawn(wait_until_and_keep(notify, monotonic_now() + 1ms, early));
  tasks.spawn(wait_until_and_keep(notify, monotonic_now() + 1h, late));
  while (!early) loop.run_once(loop.now() + 1s);
  EXPECT_FALSE(*early);
  EXPECT_FALSE(late);
  notify.notify();
  loop.run();
  ASSERT_TRUE(late);
  EXPECT_TRUE(*late);
}

TEST(Notify, ANotificationBeatsADeadlineWhoseCompletionIsQueued) {
  EventLoop loop;
  Notify notify(loop);
  TaskGroup tasks(loop);
  std::optional<bool> result;
  Timer first(loop);
  const TimePoint due = monotonic_now() + 2ms;
  tasks.spawn(wait_until_and_keep(notify, due, result));
  loop.run_ready();
  first.at(due - 1ms, [&] { notify.notify(); });
  std::this_thread::sleep_for(5ms);
  loop.run();
  ASSERT_TRUE(result);
  EXPECT_TRUE(*result);
}

TEST(Notify, DestroyingItWakesItsWaiters) {
  EventLoop loop;
  auto notify = std::make_unique<Notify>(loop);
  TaskGroup tasks(loop);
  int woken = 0;
  tasks.spawn(wait_and_count(*notify, woken));
  loop.run_ready();
  notify.reset();
  loop.run();
  EXPECT_EQ(woken, 1);
}

TEST(Notify, WaitersDieWithTheLoop) {
  auto loop = std::make_unique<EventLoop>();
  Notify notify(*loop);
  TaskGroup tasks(*loop);
  int woken = 0;
  tasks.spawn(wait_and_count(notify, woken));
  tasks.spawn(wait_and_count(notify, woken));
  loop->run_ready();
  loop.reset();
  notify.notify();  // the list must be empty by now
  EXPECT_EQ(woken, 0);
}

Task<> join_and_note(TaskGroup& tasks, bool& joined) {
  co_await tasks.join();
  joined = true;
}

TEST(TaskGroup, JoinWaitsForAll) {
  EventLoop loop;
  TaskGroup tasks(loop), outer(loop);
  Notify notify(loop);
  int woken = 0;
  bool joined = false;
  tasks.spawn(sleep_for(loop, 2ms));
  tasks.spawn(wait_and_count(notify, woken));
  outer.spawn(join_and_note(tasks, joined));
  while (tasks.size() == 2) loop.run_once(loop.now() + 1s);
  loop.run_ready();
  EXPECT_FALSE(joined);
  notify.notify();
  loop.run();
  EXPECT_TRUE(joined);
  EXPECT_EQ(outer.size(), 0u);
}

TEST(TaskGroup, JoinOfAnEmptyGroupReturnsAtOnce) {
  EventLoop loop;
  TaskGroup tasks(loop), outer(loop);
  bool joined = false;
  outer.spawn(join_and_note(tasks, joined));
  loop.run();
  EXPECT_TRUE(joined);
}

// Waits in a loop for what never comes, two frames deep, with a destructor to be run in each.
Task<> wait_in_vain(Notify& notify, std::shared_ptr<int> alive, int& waits) {
  while (true) {
    ++waits;
    co_await notify.wait();
  }
}
Task<> call_and_wait(Notify& notify, std::shared_ptr<int> alive, int& waits) {
  co_await wait_in_vain(notify, alive, waits);
  ADD_FAILURE() << "went on";
}

TEST(TaskGroup, CancelUnwindsEveryTask) {
  EventLoop loop;
  Notify notify(loop);
  TaskGroup tasks(loop), outer(loop);
  auto alive = std::make_shared<int>();
  int waits = 0;
  bool joined = false;
  std::optional<bool> in_time;
  tasks.spawn(call_and_wait(notify, alive, waits));
  tasks.spawn(call_and_wait(notify, alive, waits));
  tasks.spawn(wait_until_and_keep(notify, monotonic_now() + 1h, in_time));
  loop.run_ready();
  EXPECT_EQ(waits, 2);
  tasks.spawn(call_and_wait(notify, alive, waits));  // has not begun
  outer.spawn(join_and_note(tasks, joined));
  tasks.cancel();
  loop.run();
  EXPECT_TRUE(joined);
  EXPECT_EQ(tasks.size(), 0u);
  EXPECT_EQ(alive.use_count(), 1);
  EXPECT_EQ(in_time, false);  // a wait ends as if its deadline had come
  notify.notify();            // its list is empty by now
  tasks.spawn(call_and_wait(notify, alive, waits));
  EXPECT_EQ(alive.use_count(), 1);  // a task that comes too late is destroyed at once
}

Task<> throw_something(EventLoop& loop) {
  co_await sleep_for(loop, 0ms);
  throw std::runtime_error("broken");
}

TEST(TaskGroupDeathTest, AnExceptionEndsTheProcess) {
  EXPECT_DEATH(
      {
        EventLoop loop;
        TaskGroup tasks(loop);
        tasks.spawn(throw_something(loop));
        loop.run();
      },
      "broken");
}

Task<> throw_when_cancelled(Notify& notify) {
  co_await notify.wait();
  throw std::runtime_error("broken");
}

TEST(TaskGroupDeathTest, AnExceptionOfACancelledTaskEndsTheProcessToo) {
  EXPECT_DEATH(
      {
        EventLoop loop;
        Notify notify(loop);
        TaskGroup tasks(loop);
        tasks.spawn(throw_when_cancelled(notify));
        loop.run_ready();
        tasks.cancel();
        loop.run();
      },
      "broken");
}

}  // namespace
}  // namespace culvert::net
