#include "net/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "base/check.h"
#include "net/tcp_stream.h"

namespace culvert::net {

bool can_splice(const ByteStream& stream) { return dynamic_cast<const TcpStream*>(&stream) != nullptr; }

std::unique_ptr<Pipe> Pipe::open() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) return nullptr;
  std::unique_ptr<Pipe> pipe(new Pipe(Descriptor(ends[0]), Descriptor(ends[1])));
  // A user's pipes together have a limit; one of the usual size does as well.
  (void)::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(kBytes));
  return pipe;
}

IoResult Pipe::fill(ByteStream& from) {
  CHECK(is_empty());
  const IoResult got = dynamic_cast<TcpStream&>(from).try_splice_to(write_end_.get(), kBytes);
  if (got.status == IoStatus::kOk) bytes_ = got.bytes;
  return got;
}

IoResult Pipe::drain(ByteStream& to) {
  CHECK(!is_empty());
  const IoResult put = dynamic_cast<TcpStream&>(to).try_splice_from(read_end_.get(), bytes_);
  if (put.status == IoStatus::kOk) bytes_ -= put.bytes;
  return put;
}

std::unique_ptr<Pipe> PipePool::take() {
  if (!unused_.empty()) {
    std::unique_ptr<Pipe> pipe = std::move(unused_.back());
    unused_.pop_back();
    return pipe;
  }
  if (open_ == kMostOpen) return nullptr;
  std::unique_ptr<Pipe> pipe = Pipe::open();
  if (pipe) ++open_;
  return pipe;
}

void PipePool::give_back(std::unique_ptr<Pipe> pipe) {
  if (pipe->is_empty() && unused_.size() < kMostUnused) {
    unused_.push_back(std::move(pipe));
  } else {
    --open_;
  }
}

}  // namespace culvert::net
