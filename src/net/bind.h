#pragma once
#include "base/result.h"
#include "base/socket_addr.h"

namespace culvert::net {

// Whether sockets of this process share an address with SO_REUSEPORT, one for each worker.
enum class PortShare {
  kNone,
  kFirst,    // bound alone, so that an address in use is refused; siblings may join from then on
  kSibling,  // joins the first
};

// A new non-blocking socket of `type` (SOCK_STREAM or SOCK_DGRAM) bound to `address`, dual-stack where that
// is ::. After kFirst, allow_siblings() is due. Errors name the address, the reason and the next step:
// kConflict (in use), kUnauthorized (privileged port), kIo.
Result<int> open_bound(const SocketAddr& address, int type, PortShare share);

// Sets SO_REUSEPORT. Linux lets any process of the same user that sets the option before bind() join those
// that have it, so a first socket gets it only when it owns the address: after bind() for UDP, after listen()
// for TCP (bound but not listening, SO_REUSEADDR still lets another in). Linux looks at the option of the
// earlier sockets when a further one binds.
Result<> allow_siblings(int fd, const SocketAddr& address, int type);

// What a failed bind or listen means, as above.
Error bind_error(const SocketAddr& address, int type, int system_error);

// Every address of this host: [::] where it does IPv6, which takes IPv4 as well, otherwise 0.0.0.0.
SocketAddr every_address(uint16_t port);

// The address a socket is bound to; of `fd` -1, or on failure, 0.0.0.0:0.
SocketAddr bound_address(int fd);

}  // namespace culvert::net
