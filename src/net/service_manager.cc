#include "net/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/descriptor.h"
#include "base/text.h"

namespace culvert::net {

Result<> notify_service_manager(const std::string& socket, std::string_view state) {
  sockaddr_un address{};
  const bool is_known = socket.starts_with('/') || socket.starts_with('@');
  if (!is_known || socket.size() >= sizeof address.sun_path)
    return fail(ErrorCode::kInvalid, "NOTIFY_SOCKET is neither a path nor an abstract name: {}",
                quoted(socket));
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket.data(), socket.size());
  if (socket.front() == '@') address.sun_path[0] = '\0';
  const Descriptor fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket.size());
  if (fd.get() < 0 || ::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
                               reinterpret_cast<const sockaddr*>(&address), length) < 0)
    return fail(ErrorCode::kIo, "cannot tell the service manager at {}: {}", socket, std::strerror(errno));
  return {};
}

}  // namespace culvert::net
