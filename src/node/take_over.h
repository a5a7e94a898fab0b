#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "net/event_loop.h"
#include "net/handed_socket.h"
#include "net/message_channel.h"
#include "node/hand_over_messages.h"

namespace culvert::node {

// A process that was handed over from and drains.
struct Draining {
  uint8_t generation = 0;
  int64_t pid = 0;
  std::unique_ptr<net::MessageChannel> channel;
};

// What the process before this one gives. While its channel is open and HandOverServing was not sent, that
// process waits, and goes on by itself if the channel closes.
struct TakenOver {
  uint8_t generation = 0;
  std::vector<net::HandedSocket> sockets;
  std::vector<Descriptor> locks;  // the data directory's, then that of a database elsewhere
  std::string run;                // HubLink::run()
  Draining before;
  std::vector<Draining> draining;  // those that it took over from
};

// Asks the process that listens at `socket`. Errors: kNotFound (no process listens there), kConflict (it
// refuses; the message has its reason), kTimeout, kClosed, kInvalid.
net::Task<Result<TakenOver>> take_over(net::EventLoop& loop, std::filesystem::path socket,
                                       HandOverHello hello);

}  // namespace culvert::node
