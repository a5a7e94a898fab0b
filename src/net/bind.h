#pragma once
#include "base/result.h"
#include "base/socket_addr.h"

namespace culvert::net {

// A new non-blocking socket of `type` (SOCK_STREAM or SOCK_DGRAM) bound to `address`, dual-stack where that
// is ::. Errors name the address, the reason and the next step: kConflict (in use), kUnauthorized (privileged
// port), kIo.
Result<int> open_bound(const SocketAddr& address, int type, bool reuse_port);

// What a failed bind or listen means, as above.
Error bind_error(const SocketAddr& address, int type, int system_error);

// The address a socket is bound to; of `fd` -1, or on failure, 0.0.0.0:0.
SocketAddr bound_address(int fd);

}  // namespace culvert::net
