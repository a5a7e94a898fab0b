#pragma once
#include <string>

#include "base/result.h"
#include "base/socket_addr.h"

namespace culvert::cli {

struct LocalAnswer {
  int status;
  std::string body;
};

// Asks a process on this host at its --metrics-listen. An address that means every one is reached at
// loopback. Runs a loop of its own until it is answered. Errors say why nothing was.
Result<LocalAnswer> get_locally(SocketAddr listen, std::string path);

}  // namespace culvert::cli
