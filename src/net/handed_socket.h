#pragma once
#include <cstdint>
#include <vector>

#include "base/descriptor.h"
#include "base/socket_addr.h"

namespace culvert::net {

enum class SocketKind : uint8_t { kTcp, kUdp };

// A socket that others send to, on its way from one process to the next. Both have it until one closes it.
struct HandedSocket {
  // Of a UDP socket: the datagrams of connections of the process with this generation are to be written here.
  struct Feed {
    uint8_t generation;
    Descriptor socket;
  };

  SocketKind kind = SocketKind::kTcp;
  SocketAddr address = {};
  Descriptor socket = {};
  std::vector<Feed> feeds = {};
};

}  // namespace culvert::net
