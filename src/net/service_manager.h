#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace culvert::net {

// Tells a service manager what becomes of this process: "READY=1", lines of sd_notify(3). `socket` is the
// value of NOTIFY_SOCKET: a path, or "@name". Never waits. Errors: kInvalid, kIo.
Result<> notify_service_manager(const std::string& socket, std::string_view state);

}  // namespace culvert::net
