#include "base/wait.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace culvert {

Result<Wakeup> Wakeup::make() {
  Descriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return fail(ErrorCode::kIo, "cannot make an event descriptor: {}", std::strerror(errno));
  return Wakeup(std::move(event));
}

void Wakeup::wake() const {
  const uint64_t one = 1;
  // It fails only when the count is full, and then it is awake.
  [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof one);
}

Ready wait(int descriptor, bool or_written, Duration patience, const Wakeup* wakeup) {
  const TimePoint deadline = monotonic_now() + patience;
  std::array<pollfd, 2> watched{
      {{.fd = descriptor, .events = static_cast<short>(or_written ? POLLIN | POLLOUT : POLLIN), .revents = 0},
       {.fd = wakeup == nullptr ? -1 : wakeup->descriptor(), .events = POLLIN, .revents = 0}}};
  while (true) {
    const auto left = std::max(deadline - monotonic_now(), Duration::zero());
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    const int ready =
        ::poll(watched.data(), watched.size(), static_cast<int>(std::min<int64_t>(milliseconds, 60'000)));
    if (ready > 0) return watched[1].revents != 0 ? Ready::kWakeup : Ready::kDescriptor;
    if (ready < 0 && errno != EINTR) return Ready::kDescriptor;  // its reader finds out why
    if (monotonic_now() >= deadline) return Ready::kNothing;
  }
}

}  // namespace culvert
