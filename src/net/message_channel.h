#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/descriptor.h"
#include "net/event_loop.h"

namespace culvert::net {

// What two processes of this host send each other at once.
struct ChannelMessage {
  Bytes data = {};
  std::vector<Descriptor> descriptors = {};
};
inline constexpr size_t kMaxChannelMessage = 64 * 1024;
inline constexpr size_t kMaxChannelDescriptors = 128;  // the kernel's limit is 253 (unix(7))

// A unix socket between two processes that keeps messages whole and passes descriptors (SOCK_SEQPACKET).
// Lives on one loop.
class MessageChannel {
 public:
  // As unix_connect, at a path of any length.
  static Result<std::unique_ptr<MessageChannel>> connect(EventLoop& loop, const std::filesystem::path& path);
  // One end of a connected socket.
  MessageChannel(EventLoop& loop, Descriptor socket);
  ~MessageChannel();
  MessageChannel(const MessageChannel&) = delete;

  // One call at a time. kClosed: the other end is gone, or close() was called; kTimeout; kInvalid: a message
  // that is too long, or with descriptors that did not fit this process.
  Task<Result<ChannelMessage>> receive(TimePoint deadline);
  // Never waits. kClosed; kLimit: the other end does not read. CHECKs the sizes.
  Result<> send(const ChannelMessage& message);
  // What the other end sends from now on fails there; what it has sent is received as before.
  void refuse_more();
  // For another process; kIo.
  Result<Descriptor> duplicate() const;
  void close();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Accepts such channels at a path, from processes of the same user and of root.
class MessageListener {
 public:
  // Takes the place of a socket that is there in one step. Errors name the path.
  static Result<std::unique_ptr<MessageListener>> listen(EventLoop& loop, const std::filesystem::path& path);
  ~MessageListener();
  MessageListener(const MessageListener&) = delete;

  // kClosed after close().
  Task<Result<std::unique_ptr<MessageChannel>>> accept();
  void close();

 private:
  struct Impl;
  explicit MessageListener(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace culvert::net
