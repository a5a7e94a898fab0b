#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "net/system.h"
#include "net/tcp_stream.h"
#include "net/unix_socket.h"

namespace culvert::net {
namespace {

static_assert(kMaxUnixPath + 1 == sizeof(sockaddr_un::sun_path));

// The kernel does not tell when a full queue has room (unix(7): EAGAIN), so it is asked again.
constexpr Duration kFirstPause = std::chrono::milliseconds(1);
constexpr Duration kLongestPause = std::chrono::milliseconds(100);

class UnixStream final : public TcpStream {
 public:
  UnixStream(ReadySocket socket, std::string path)
      : TcpStream(std::move(socket), SocketAddr()), path_(std::move(path)) {}
  std::string peer_text() const override { return "unix:" + path_; }

 private:
  const std::string path_;
};

std::unexpected<Error> connect_error(const std::string& path, int system_error) {
  const auto failed = [&](ErrorCode code, std::string_view reason) {
    return fail(code, "cannot connect to unix:{}: {}", path, reason);
  };
  switch (system_error) {
    case ENOENT:
      return failed(ErrorCode::kNotFound, "there is no such file; start the service that makes it");
    case EACCES:
      return failed(
          ErrorCode::kUnauthorized,
          "this user may not write to the socket or not enter its directory; change their mode or group");
    case ECONNREFUSED:
      return failed(ErrorCode::kUnavailable, "no program listens there; start the service");
    case EPROTOTYPE:
      return failed(ErrorCode::kUnavailable, "it is not a stream socket");
    case EAGAIN:
      return failed(ErrorCode::kLimit, "its queue of connections is full");
    default:
      return failed(ErrorCode::kUnavailable, std::strerror(system_error));
  }
}

// An abstract name begins with a zero byte and has no end of its own; a path has one.
socklen_t fill(sockaddr_un& address, const std::string& path) {
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const bool is_abstract = path.front() == '@';
  if (is_abstract) address.sun_path[0] = '\0';
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (is_abstract ? 0 : 1));
}

}  // namespace

Result<std::unique_ptr<ByteStream>> connect_unix_on_system(EventLoop& loop, const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return connect_error(path, errno);
  ReadySocket socket(loop, fd);
  if (!socket.is_open()) return connect_error(path, ENOMEM);
  sockaddr_un address{};
  const socklen_t length = fill(address, path);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), length) != 0)
    return connect_error(path, errno);
  return std::make_unique<UnixStream>(std::move(socket), path);
}

Task<Result<std::unique_ptr<ByteStream>>> unix_connect(EventLoop& loop, std::string path,
                                                       TimePoint deadline) {
  if (path.empty() || path.size() > kMaxUnixPath)
    co_return fail(ErrorCode::kInvalid, "a unix socket's path has 1 to {} bytes, this one {}", kMaxUnixPath,
                   path.size());
  Duration pause = kFirstPause;
  while (true) {
    auto connected = loop.platform().connect_unix(loop, path);
    if (connected || connected.error().code != ErrorCode::kLimit) co_return connected;
    if (loop.now() + pause > deadline) co_return fail(ErrorCode::kTimeout, "{}", connected.error().message);
    co_await sleep_for(loop, pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

}  // namespace culvert::net
