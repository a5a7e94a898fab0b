#include "net/message_channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "net/ready_socket.h"

namespace culvert::net {
namespace {

namespace fs = std::filesystem;

constexpr int kBacklog = 8;

std::unexpected<Error> path_error(std::string_view action, const fs::path& path, int error) {
  const ErrorCode code = error == ENOENT || error == ECONNREFUSED ? ErrorCode::kNotFound : ErrorCode::kIo;
  return fail(code, "cannot {} {}: {}", action, path.native(), std::strerror(error));
}

Descriptor new_socket() {
  return Descriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// A sockaddr_un has no room for long paths; one through the descriptor of the directory is short.
struct ShortPath {
  explicit ShortPath(const fs::path& path) : name(path.filename().native()) {
    const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
    directory.reset(::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }

  // 0 or an errno.
  int fill(sockaddr_un& address, const std::string& last) const {
    if (!directory) return errno;
    const std::string text = fmt::format("/proc/self/fd/{}/{}", directory.get(), last);
    if (text.size() >= sizeof address.sun_path) return ENAMETOOLONG;
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, text.data(), text.size());
    return 0;
  }

  std::string name;
  Descriptor directory;
};

bool is_of_our_user(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == ::geteuid() || peer.uid == 0;
}

// Takes all of them, so that none is left open when the message is not taken.
std::vector<Descriptor> descriptors_of(msghdr& message) {
  std::vector<Descriptor> out;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      out.emplace_back(fd);
    }
  }
  return out;
}

struct alignas(cmsghdr) Control {
  std::array<uint8_t, CMSG_SPACE(kMaxChannelDescriptors * sizeof(int))> bytes{};
};

}  // namespace

struct MessageChannel::Impl {
  Impl(EventLoop& loop, int fd) : socket(loop, fd), ready(loop) {}

  // nullopt: there is nothing yet.
  std::optional<Result<ChannelMessage>> try_receive() {
    // One byte more than a message may have: a longer one is seen as such.
    Bytes data(kMaxChannelMessage + 1);
    Control control;
    iovec part{.iov_base = data.data(), .iov_len = data.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.data();
    message.msg_controllen = control.bytes.size();
    ssize_t got;
    do {
      got = ::recvmsg(socket.fd(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN) return std::nullopt;
    if (got <= 0) return fail(ErrorCode::kClosed, "the other process has closed the connection");
    std::vector<Descriptor> descriptors = descriptors_of(message);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || static_cast<size_t>(got) > kMaxChannelMessage)
      return fail(ErrorCode::kInvalid,
                  "a message of the other process is too long, or no descriptors are left");
    data.resize(static_cast<size_t>(got));
    return ChannelMessage{std::move(data), std::move(descriptors)};
  }

  ReadySocket socket;
  Notify ready;
};

MessageChannel::MessageChannel(EventLoop& loop, Descriptor socket)
    : impl_(std::make_shared<Impl>(loop, socket.release())) {}
MessageChannel::~MessageChannel() { close(); }

Result<std::unique_ptr<MessageChannel>> MessageChannel::connect(EventLoop& loop, const fs::path& path) {
  Descriptor socket = new_socket();
  if (!socket) return path_error("connect to", path, errno);
  const ShortPath place(path);
  sockaddr_un address{};
  if (const int error = place.fill(address, place.name); error != 0)
    return path_error("connect to", path, error);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return path_error("connect to", path, errno);
  return std::make_unique<MessageChannel>(loop, std::move(socket));
}

Task<Result<ChannelMessage>> MessageChannel::receive(TimePoint deadline) {
  const std::shared_ptr<Impl> impl = impl_;
  while (impl->socket.is_open()) {
    auto received = impl->try_receive();
    if (received) co_return std::move(*received);
    impl->socket.cancel();  // the wait of a call whose deadline passed
    impl->socket.when_readable([weak = std::weak_ptr(impl)] {
      if (const auto waiting = weak.lock()) waiting->ready.notify();
    });
    const bool in_time = co_await impl->ready.wait_until(deadline);
    if (!in_time) co_return fail(ErrorCode::kTimeout, "the other process has not answered in time");
  }
  co_return fail(ErrorCode::kClosed, "the connection is closed");
}

Result<> MessageChannel::send(const ChannelMessage& message) {
  CHECK(!message.data.empty() && message.data.size() <= kMaxChannelMessage);
  CHECK(message.descriptors.size() <= kMaxChannelDescriptors);
  if (!impl_->socket.is_open()) return fail(ErrorCode::kClosed, "the connection is closed");
  Control control;
  iovec part{.iov_base = const_cast<uint8_t*>(message.data.data()), .iov_len = message.data.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!message.descriptors.empty()) {
    const size_t size = message.descriptors.size() * sizeof(int);
    header.msg_control = control.bytes.data();
    header.msg_controllen = CMSG_SPACE(size);
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(size);
    for (size_t i = 0; i < message.descriptors.size(); ++i) {
      const int fd = message.descriptors[i].get();
      std::memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(impl_->socket.fd(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return {};
  if (errno == EAGAIN || errno == ETOOMANYREFS)
    return fail(ErrorCode::kLimit, "the other process does not read what it is sent");
  return fail(ErrorCode::kClosed, "cannot send to the other process: {}", std::strerror(errno));
}

void MessageChannel::refuse_more() {
  if (impl_->socket.is_open()) (void)::shutdown(impl_->socket.fd(), SHUT_RD);
}

Result<Descriptor> MessageChannel::duplicate() const {
  Descriptor copy(::fcntl(impl_->socket.fd(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail(ErrorCode::kIo, "cannot duplicate a socket: {}", std::strerror(errno));
  return copy;
}

void MessageChannel::close() {
  // A duplicate may live on in another process, so that the kernel would not end the watch.
  impl_->socket.pause_reading();
  impl_->socket.close();
  impl_->ready.notify();
}

struct MessageListener::Impl {
  Impl(EventLoop& loop, int fd) : socket(loop, fd), ready(loop) {}
  ReadySocket socket;
  Notify ready;
};

MessageListener::MessageListener(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
MessageListener::~MessageListener() { close(); }

Result<std::unique_ptr<MessageListener>> MessageListener::listen(EventLoop& loop, const fs::path& path) {
  Descriptor socket = new_socket();
  if (!socket) return path_error("listen at", path, errno);
  const ShortPath place(path);
  sockaddr_un address{};
  const std::string draft = fmt::format("{}.{}", place.name, ::getpid());
  if (const int error = place.fill(address, draft); error != 0) return path_error("listen at", path, error);
  const int directory = place.directory.get();
  ::unlinkat(directory, draft.c_str(), 0);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return path_error("listen at", path, errno);
  if (::fchmodat(directory, draft.c_str(), 0600, 0) != 0 || ::listen(socket.get(), kBacklog) != 0 ||
      ::renameat(directory, draft.c_str(), directory, place.name.c_str()) != 0) {
    const int error = errno;
    ::unlinkat(directory, draft.c_str(), 0);
    return path_error("listen at", path, error);
  }
  return std::unique_ptr<MessageListener>(
      new MessageListener(std::make_shared<Impl>(loop, socket.release())));
}

Task<Result<std::unique_ptr<MessageChannel>>> MessageListener::accept() {
  const std::shared_ptr<Impl> impl = impl_;
  while (impl->socket.is_open()) {
    Descriptor socket(::accept4(impl->socket.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket && is_of_our_user(socket.get()))
      co_return std::make_unique<MessageChannel>(impl->socket.loop(), std::move(socket));
    if (socket || errno == EINTR || errno == ECONNABORTED) continue;
    const bool is_full = errno != EAGAIN;
    impl->socket.cancel();
    impl->socket.when_readable([weak = std::weak_ptr(impl)] {
      if (const auto waiting = weak.lock()) waiting->ready.notify();
    });
    // No descriptors are left: others are closed in time.
    const TimePoint until =
        is_full ? impl->socket.loop().now() + std::chrono::milliseconds(100) : TimePoint::max();
    co_await impl->ready.wait_until(until);
  }
  co_return fail(ErrorCode::kClosed, "the listener is closed");
}

void MessageListener::close() {
  impl_->socket.close();
  impl_->ready.notify();
}

}  // namespace culvert::net
