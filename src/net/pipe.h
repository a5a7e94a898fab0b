#pragma once
#include <memory>
#include <vector>

#include "base/descriptor.h"
#include "net/byte_stream.h"

namespace culvert::net {

// Whether bytes of this stream can go through a pipe: it is a socket of the kernel and nothing above it.
bool can_splice(const ByteStream& stream);

// A pipe of the kernel: bytes go through it from one socket to another and are not copied. Of one loop.
class Pipe {
 public:
  // What it has room for, unless the system allows less: of 64 KiB a fast sender fills one in a few
  // microseconds, and each turn costs two system calls.
  static constexpr size_t kBytes = 256 * 1024;

  // nullptr: there are no descriptors, or no memory for pipes.
  static std::unique_ptr<Pipe> open();

  bool is_empty() const { return bytes_ == 0; }
  // As ByteStream::try_read; only while it is empty. can_splice(from).
  IoResult fill(ByteStream& from);
  // As ByteStream::try_write of what it has; only while it has something. can_splice(to).
  IoResult drain(ByteStream& to);

 private:
  Pipe(Descriptor read_end, Descriptor write_end)
      : read_end_(std::move(read_end)), write_end_(std::move(write_end)) {}

  Descriptor read_end_, write_end_;
  size_t bytes_ = 0;
};

// The pipes of one loop. Those that nobody uses are kept, since making one costs four system calls.
class PipePool {
 public:
  // At one time: each has two descriptors, and up to Pipe::kBytes while a receiver is slow.
  static constexpr size_t kMostOpen = 512;
  static constexpr size_t kMostUnused = 32;

  // An empty one; nullptr: there is none left.
  std::unique_ptr<Pipe> take();
  // One of take(), which may have something.
  void give_back(std::unique_ptr<Pipe> pipe);

 private:
  std::vector<std::unique_ptr<Pipe>> unused_;
  size_t open_ = 0;
};

}  // namespace culvert::net
