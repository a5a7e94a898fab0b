#include "net/byte_stream.h"

#include <utility>

#include "base/check.h"

namespace culvert::net {

// The callback shares the Notify because it may run after the waiting coroutine has gone on.
Task<bool> wait_ready(ByteStream& stream, IoStatus want, TimePoint deadline) {
  auto ready = std::make_shared<Notify>(stream.loop());
  auto wake = [ready] { ready->notify(); };
  if (want == IoStatus::kWantRead) {
    stream.when_readable(wake);
  } else {
    stream.when_writable(wake);
  }
  const bool in_time = co_await ready->wait_until(deadline);
  if (!in_time) stream.close();
  co_return in_time;
}

namespace {

std::unexpected<Error> timed_out(const char* doing, const ByteStream& stream) {
  return fail(ErrorCode::kTimeout, "{} {} took too long", doing, stream.peer_text());
}

std::unexpected<Error> broken(const char* doing, const ByteStream& stream) {
  return fail(ErrorCode::kReset, "{} {}: {}", doing, stream.peer_text(), stream.last_error());
}

}  // namespace

// Shared with the callback, which may run after the reader is gone.
struct Reader::Wait {
  explicit Wait(EventLoop& loop) : ready(loop) {}
  Notify ready;
  bool under_way = false;
};

Reader::Reader(ByteStream& stream) : stream_(stream), wait_(std::make_shared<Wait>(stream.loop())) {}

Task<Result<size_t>> Reader::read_some(MutableBytes into, TimePoint deadline) {
  CHECK(!into.empty());
  for (;;) {
    const IoResult result = stream_.try_read(into);
    if (result.status == IoStatus::kOk) co_return result.bytes;
    if (result.status == IoStatus::kEof) co_return size_t{0};
    if (result.status == IoStatus::kError) co_return broken("reading from", stream_);
    if (!std::exchange(wait_->under_way, true)) {
      stream_.when_readable([wait = wait_] {
        wait->under_way = false;
        wait->ready.notify();
      });
    }
    const bool ready = co_await wait_->ready.wait_until(deadline);
    if (!ready) co_return timed_out("reading from", stream_);
  }
}

Task<Result<size_t>> read_some(ByteStream& stream, MutableBytes into, TimePoint deadline) {
  Reader reader(stream);
  auto count = co_await reader.read_some(into, deadline);
  if (!count && count.error().code == ErrorCode::kTimeout) stream.close();
  co_return count;
}

Task<Result<>> write_all(ByteStream& stream, ByteView from, TimePoint deadline) {
  while (!from.empty()) {
    const IoResult result = stream.try_write(from);
    if (result.status == IoStatus::kOk) {
      from = from.subspan(result.bytes);
      continue;
    }
    if (result.status == IoStatus::kError) co_return broken("writing to", stream);
    const bool ready = co_await wait_ready(stream, result.status, deadline);
    if (!ready) co_return timed_out("writing to", stream);
  }
  co_return Result<>();
}

Task<Result<>> finish(ByteStream& stream, TimePoint deadline) {
  for (;;) {
    const IoResult result = stream.try_finish();
    if (result.status == IoStatus::kOk) co_return Result<>();
    if (result.status == IoStatus::kError) co_return broken("finishing towards", stream);
    const bool ready = co_await wait_ready(stream, result.status, deadline);
    if (!ready) co_return timed_out("finishing towards", stream);
  }
}

}  // namespace culvert::net
