#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/socket_addr.h"
#include "net/handed_socket.h"

// What two processes of one node say to each other while the new one takes over from the old one: JSON, one
// object in each message of a net::MessageChannel, some with descriptors.
//
//    new                                old
//    Hello        ──────────────────▶
//                 ◀──────────────────   Refused, or Accepted
//    Ready        ──────────────────▶   answers what has come, gives up hub and orders, reads no more
//                 ◀──────────────────   Sockets, as many as there are, then Released
//    Serving      ──────────────────▶   drains
//                 ◀──────────────────   Left, Passed, again and again
//    Routes, Stop ──────────────────▶
//
// Whichever end finds the channel closed knows that the other process has ended: before Serving the old one
// goes on as if nothing had been, after it the new one has everything.
namespace culvert::node {

// Of these messages. Processes with different ones do not hand over.
inline constexpr int kHandOverProtocol = 1;
// Processes that drain at one time; each costs its memory, and a look at each datagram.
inline constexpr size_t kMaxPredecessors = 16;

struct HandOverHello {
  int protocol = kHandOverProtocol;
  std::string version;
  std::string id;     // of the node
  std::string roles;  // to_string(Roles)
  unsigned workers = 0;
  SocketAddr tcp;
  SocketAddr udp;
};

struct HandOverRefused {
  std::string reason;
};

struct HandOverAccepted {
  uint8_t generation = 0;  // of the new process
  std::string version;     // of the old one
  int64_t pid = 0;
};

struct HandOverReady {};

// Its descriptors: for each socket its own, then those of its feeds.
struct HandOverSockets {
  struct Socket {
    net::SocketKind kind = net::SocketKind::kTcp;
    SocketAddr address;
    std::vector<uint8_t> feeds;  // generations
  };
  std::vector<Socket> sockets;
};

// Its descriptors: the lock of the data directory, that of the database where it has one, and the channel of
// each process that drains.
struct HandOverReleased {
  struct Predecessor {
    uint8_t generation = 0;
    int64_t pid = 0;
  };
  bool has_database_lock = false;
  std::string run;  // HubLink::run()
  std::vector<Predecessor> predecessors;
};

struct HandOverServing {};

// Public connections that the old process still has.
struct HandOverLeft {
  uint64_t connections = 0;
};

// A connection for the hub that the old process accepted. Its descriptor: the socket.
struct HandOverPassed {
  std::string host;
  SocketAddr client;
  SocketAddr public_addr;
  Bytes received;
};

// Changes of the routes: encode_route() of those that are other or new, and the ids of those that are gone.
struct HandOverRoutes {
  std::vector<std::string> upserts;
  std::vector<std::string> removals;
};

// The old process is to end in the time of a stop.
struct HandOverStop {};

using HandOverMessage = std::variant<HandOverHello, HandOverRefused, HandOverAccepted, HandOverReady,
                                     HandOverSockets, HandOverReleased, HandOverServing, HandOverLeft,
                                     HandOverPassed, HandOverRoutes, HandOverStop>;

Bytes encode(const HandOverMessage& message);
// kInvalid: says what is wrong with it.
Result<HandOverMessage> decode_hand_over(ByteView data);

}  // namespace culvert::node
