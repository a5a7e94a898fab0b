#include "net/poller.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>

#include "base/check.h"

namespace culvert::net {
namespace {

constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;
constexpr uint32_t kWriteEvents = EPOLLOUT | EPOLLET;
constexpr size_t kEventsPerPoll = 256;
constexpr uint64_t kWakeUp = ~uint64_t{0};  // in place of a token

timespec to_timespec(Duration duration) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
  return {.tv_sec = seconds.count(), .tv_nsec = (duration - seconds).count()};
}

}  // namespace

Poller::Poller()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), wake_up_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  // Nothing runs without a loop: a process that has no descriptors left for one cannot go on.
  CHECK(epoll_.get() >= 0 && wake_up_.get() >= 0);
  CHECK(add(wake_up_.get(), kWakeUp));
}

Poller::Token Poller::enter(Watched& watched) {
  const uint32_t index = first_free_;
  if (index == slots_.size()) slots_.push_back({.next_free = index + 1});
  Slot& slot = slots_[index];
  first_free_ = slot.next_free;
  slot.watched = &watched;
  return (uint64_t{slot.generation} << 32) | index;
}

void Poller::leave(Token token) {
  const auto index = static_cast<uint32_t>(token);
  Slot& slot = slots_[index];
  slot.watched = nullptr;
  ++slot.generation;
  slot.next_free = first_free_;
  first_free_ = index;
}

Poller::Watched* Poller::find(Token token) const {
  const Slot& slot = slots_[static_cast<uint32_t>(token)];
  return slot.generation == token >> 32 ? slot.watched : nullptr;
}

bool Poller::add(int fd, Token token) {
  epoll_event event{.events = kEvents, .data = {.u64 = token}};
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Poller::remove(int fd) { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void Poller::ask_again(int fd, Token token, bool reads) {
  epoll_event event{.events = reads ? kEvents : kWriteEvents, .data = {.u64 = token}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Poller::poll(Duration timeout) {
  std::array<epoll_event, kEventsPerPoll> events;
  int count = -1;
  if (timeout > Duration::zero() && !has_precise_wait_) {
    pollfd all{.fd = epoll_.get(), .events = POLLIN, .revents = 0};
    const timespec wait = to_timespec(timeout);
    ::ppoll(&all, 1, timeout == Duration::max() ? nullptr : &wait, nullptr);
    timeout = Duration::zero();
  }
  if (timeout <= Duration::zero() || timeout == Duration::max()) {
    count = ::epoll_wait(epoll_.get(), events.data(), events.size(), timeout == Duration::max() ? -1 : 0);
  } else {
    const timespec wait = to_timespec(timeout);
    count = ::epoll_pwait2(epoll_.get(), events.data(), events.size(), &wait, nullptr);
    if (count < 0 && errno == ENOSYS) has_precise_wait_ = false;  // the next one waits
  }
  asleep_.store(false);
  for (int i = 0; i < count; ++i) {
    const epoll_event event = events[static_cast<size_t>(i)];
    if (event.data.u64 == kWakeUp) {
      uint64_t times;
      (void)!::read(wake_up_.get(), &times, sizeof times);
    } else if (Watched* const watched = find(event.data.u64)) {
      watched->on_events(event.events);
    }
  }
}

void Poller::wake() {
  if (!asleep_.exchange(false)) return;
  const uint64_t once = 1;
  (void)!::write(wake_up_.get(), &once, sizeof once);
}

}  // namespace culvert::net
