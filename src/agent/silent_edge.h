#pragma once
#include <string>
#include <vector>

#include "base/socket_addr.h"
#include "net/event_loop.h"

namespace culvert::agent {

// What to say of an edge that does not answer by UDP although the hub answered by TCP, so that its host is
// there. `names` are as the hub gave them, `addresses` what they resolved to.
std::string silent_edge(net::EventLoop& loop, const std::vector<std::string>& names,
                        const std::vector<SocketAddr>& addresses);

}  // namespace culvert::agent
