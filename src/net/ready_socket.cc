#include "net/ready_socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "base/check.h"
#include "net/poller.h"

namespace culvert::net {
namespace {

enum Direction { kRead, kWrite };

}  // namespace

struct ReadySocket::State final : Poller::Watched {
  State(EventLoop& owner, int its_fd) : loop(owner), token(owner.poller().enter(*this)), fd(its_fd) {
    if (loop.poller().add(fd, token)) return;
    ::close(fd);
    fd = -1;
  }
  ~State() override {
    cancel();
    close_fd();
    loop.poller().leave(token);
  }

  // Edge-triggered: what comes while no callback waits is noted. A peer's FIN may be told of together with
  // bytes before it, and an end does not pass.
  void on_events(uint32_t events) override {
    if (events & (EPOLLRDHUP | EPOLLHUP)) ended[kRead] = true;
    if (events & EPOLLHUP) ended[kWrite] = true;
    if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) seen[kRead] = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) seen[kWrite] = true;
    const Poller& poller = loop.poller();
    const Poller::Token mine = token;
    if (seen[kRead] && callbacks[kRead]) run(kRead);
    if (poller.find(mine) && seen[kWrite] && callbacks[kWrite]) run(kWrite);
  }

  void run(Direction direction) {
    seen[direction] = false;
    ReadyCallback callback = take(direction);
    callback();  // may destroy this
  }

  ReadyCallback take(Direction direction) {
    if (callbacks[direction]) loop.note_wait(-1);
    return std::exchange(callbacks[direction], nullptr);
  }

  void store(Direction direction, ReadyCallback callback) {
    CHECK(!callbacks[direction]);
    callbacks[direction] = std::move(callback);
    loop.note_wait(+1);
    ++waits[direction];
  }

  void wait(Direction direction, ReadyCallback callback) {
    store(direction, std::move(callback));
    if (fd < 0) return post(direction);
    seen[direction] = false;
    loop.poller().ask_again(fd, token, reads);
  }

  void wait_again(Direction direction, ReadyCallback callback) {
    store(direction, std::move(callback));
    if (direction == kRead && !reads && fd >= 0) return;
    if (fd < 0 || seen[direction] || ended[direction]) post(direction);
  }

  void set_reads(bool wanted) {
    if (reads == wanted || fd < 0) return;
    reads = wanted;
    loop.poller().ask_again(fd, token, reads);
  }

  void post(Direction direction) {
    loop.post([&poller = loop.poller(), mine = token, direction, wait = waits[direction]] {
      auto* const self = static_cast<State*>(poller.find(mine));
      // A later wait than that which it was posted for is not for it.
      if (self && self->waits[direction] == wait && self->callbacks[direction]) self->run(direction);
    });
  }

  void cancel() {
    // Destroying a callback may destroy what owns this socket.
    const std::array<ReadyCallback, 2> dropped{take(kRead), take(kWrite)};
  }

  int release() {
    if (fd >= 0) loop.poller().remove(fd);
    return std::exchange(fd, -1);
  }

  // Ends the watch too. Where a duplicate keeps it alive, its events find no token any more; those of a
  // socket that another process has for good are not asked for either.
  void close_fd() {
    if (fd < 0) return;
    if (!reads) loop.poller().remove(fd);
    ::close(std::exchange(fd, -1));
  }

  void close() {
    if (fd < 0) return;
    close_fd();
    if (callbacks[kRead]) post(kRead);
    if (callbacks[kWrite]) post(kWrite);
  }

  EventLoop& loop;
  const Poller::Token token;
  int fd;
  bool reads = true;
  std::array<bool, 2> seen{};       // ready since the last callback
  std::array<bool, 2> ended{};      // for ever
  std::array<uint32_t, 2> waits{};  // how many were begun
  std::array<ReadyCallback, 2> callbacks;
};

ReadySocket::ReadySocket(EventLoop& loop, int fd) : state_(std::make_unique<State>(loop, fd)) {}
ReadySocket::ReadySocket(ReadySocket&& other) noexcept = default;
ReadySocket::~ReadySocket() = default;

int ReadySocket::fd() const { return state_->fd; }
EventLoop& ReadySocket::loop() const { return state_->loop; }

void ReadySocket::when_readable(ReadyCallback callback) { state_->wait(kRead, std::move(callback)); }
void ReadySocket::when_writable(ReadyCallback callback) { state_->wait(kWrite, std::move(callback)); }

void ReadySocket::when_readable_again(ReadyCallback callback) {
  state_->wait_again(kRead, std::move(callback));
}

void ReadySocket::when_writable_again(ReadyCallback callback) {
  state_->wait_again(kWrite, std::move(callback));
}

void ReadySocket::soon_readable(ReadyCallback callback) {
  state_->store(kRead, std::move(callback));
  state_->post(kRead);
}

void ReadySocket::pause_reading() { state_->set_reads(false); }
void ReadySocket::resume_reading() { state_->set_reads(true); }

void ReadySocket::cancel() { state_->cancel(); }
void ReadySocket::close() { state_->close(); }

void ReadySocket::reset() {
  if (!is_open()) return;
  const linger abort_on_close{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd(), SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof abort_on_close);
  close();
}

int ReadySocket::release() {
  CHECK(!state_->callbacks[kRead] && !state_->callbacks[kWrite]);
  return state_->release();
}

}  // namespace culvert::net
