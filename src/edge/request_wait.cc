#include "edge/request_wait.h"

#include <array>

namespace culvert::edge {
namespace {

// One record of a small request; the rest is read by the pump.
constexpr size_t kFirst = 4096;

// kOk: into `into`. No coroutine: its buffer is on the stack only as long as it is filled.
net::IoStatus read_now(net::ByteStream& stream, Bytes& into) {
  std::array<uint8_t, kFirst> part;
  const net::IoResult got = stream.try_read(part);
  if (got.status == net::IoStatus::kOk) into = to_bytes(ByteView(part).first(got.bytes));
  return got.status;
}

}  // namespace

net::Task<std::optional<Bytes>> RequestWait::first_bytes(net::ByteStream& stream, TimePoint deadline) {
  struct Waiting {
    std::set<net::Notify*>& all;
    net::ByteStream& stream;
    net::Notify news;
    Waiting(std::set<net::Notify*>& among, net::ByteStream& of) : all(among), stream(of), news(of.loop()) {
      all.insert(&news);
    }
    ~Waiting() {
      all.erase(&news);
      stream.cancel();
    }
  } waiting(waiting_, stream);
  Bytes first;
  while (true) {
    switch (read_now(stream, first)) {
      case net::IoStatus::kOk:
        co_return first;
      case net::IoStatus::kWantRead:
        stream.cancel();
        stream.when_readable([&waiting] { waiting.news.notify(); });
        break;
      case net::IoStatus::kWantWrite:
        stream.cancel();
        stream.when_writable([&waiting] { waiting.news.notify(); });
        break;
      case net::IoStatus::kEof:
      case net::IoStatus::kError:
        co_return std::nullopt;
    }
    if (is_over_) co_return first;
    const bool in_time = co_await waiting.news.wait_until(deadline);
    if (!in_time) co_return std::nullopt;
  }
}

void RequestWait::end() {
  is_over_ = true;
  for (net::Notify* each : waiting_) each->notify();
}

}  // namespace culvert::edge
