#include "base/limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace culvert {

bool running_as_root() { return geteuid() == 0; }

Result<uint64_t> raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return fail(ErrorCode::kIo, "cannot read the limit of open files: {}", std::strerror(errno));
  }
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit raised = limit;
    raised.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &raised) != 0) {
      return fail(ErrorCode::kIo, "cannot raise the limit of open files from {} to {}: {}", limit.rlim_cur,
                  limit.rlim_max, std::strerror(errno));
    }
    limit = raised;
  }
  return limit.rlim_cur;
}

}  // namespace culvert
