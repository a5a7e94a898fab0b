#include "net/ready_socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/post.hpp>
#include <utility>

#include "base/check.h"

namespace culvert::net {

// Shared with the waits that Asio holds, so that a completion which is queued already finds out that its
// socket is gone.
struct ReadySocket::State {
  explicit State(EventLoop& owner) : loop(owner), descriptor(owner.context()) {}

  // `wait` tells a completion that was queued before cancel() from that of a later wait.
  void run(Direction direction, uint64_t wait) {
    if (wait != waits[direction]) return;
    ReadyCallback callback = std::exchange(callbacks[direction], nullptr);
    if (callback) callback();
  }

  EventLoop& loop;
  boost::asio::posix::basic_stream_descriptor<Executor> descriptor;
  std::array<ReadyCallback, 2> callbacks;
  std::array<uint64_t, 2> waits{};  // how many were begun
};

ReadySocket::ReadySocket(EventLoop& loop, int fd) : state_(std::make_shared<State>(loop)), fd_(fd) {
  boost::system::error_code error;
  state_->descriptor.assign(fd, error);
  if (!error) return;
  ::close(fd);
  fd_ = -1;
}

ReadySocket::ReadySocket(ReadySocket&& other) noexcept
    : state_(std::move(other.state_)), fd_(std::exchange(other.fd_, -1)) {}

ReadySocket::~ReadySocket() {
  if (!state_) return;
  for (ReadyCallback& callback : state_->callbacks) callback = nullptr;
  close();
}

EventLoop& ReadySocket::loop() const { return state_->loop; }

void ReadySocket::when(Direction direction, ReadyCallback callback) {
  CHECK(!state_->callbacks[direction]);
  state_->callbacks[direction] = std::move(callback);
  const uint64_t wait = ++state_->waits[direction];
  if (fd_ < 0) {
    post(direction);
    return;
  }
  using Descriptor = decltype(state_->descriptor);
  state_->descriptor.async_wait(
      direction == kRead ? Descriptor::wait_read : Descriptor::wait_write,
      [state = state_, direction, wait](const boost::system::error_code&) { state->run(direction, wait); });
}

void ReadySocket::soon_readable(ReadyCallback callback) {
  CHECK(!state_->callbacks[kRead]);
  state_->callbacks[kRead] = std::move(callback);
  ++state_->waits[kRead];
  post(kRead);
}

void ReadySocket::post(Direction direction) {
  state_->loop.post(
      [state = state_, direction, wait = state_->waits[direction]] { state->run(direction, wait); });
}

void ReadySocket::cancel() {
  // Destroying a callback may destroy what owns this socket.
  const std::array<ReadyCallback, 2> dropped{std::exchange(state_->callbacks[kRead], nullptr),
                                             std::exchange(state_->callbacks[kWrite], nullptr)};
  if (fd_ < 0) return;
  boost::system::error_code ignored;
  state_->descriptor.cancel(ignored);
}

void ReadySocket::close() {
  if (fd_ < 0) return;
  fd_ = -1;
  boost::system::error_code ignored;
  state_->descriptor.close(ignored);
}

void ReadySocket::reset() {
  if (fd_ < 0) return;
  const linger abort_on_close{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof abort_on_close);
  close();
}

int ReadySocket::release() {
  CHECK(!state_->callbacks[kRead] && !state_->callbacks[kWrite]);
  if (fd_ < 0) return -1;
  fd_ = -1;
  return state_->descriptor.release();
}

}  // namespace culvert::net
