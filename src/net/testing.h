#pragma once
#include <gtest/gtest.h>

#include <optional>
#include <utility>

#include "net/tcp.h"

// For tests: runs tasks to their end and makes connected pairs over loopback.
namespace culvert::net::testing {

using namespace std::chrono_literals;

inline SocketAddr addr(std::string_view text) { return SocketAddr::parse(text).value(); }
inline TimePoint soon() { return monotonic_now() + 20s; }

// Runs the loop until the condition holds; a test fails after 20 s.
template <class Condition>
void run_until(EventLoop& loop, Condition condition) {
  const TimePoint give_up = soon();
  while (!condition() && monotonic_now() < give_up) {
    loop.run_once(loop.now() + 20ms);
  }
  EXPECT_TRUE(condition()) << "gave up waiting";
}

// Everything that is ready, and what it causes.
inline void drain(EventLoop& loop) {
  const TimePoint end = loop.now() + 20ms;
  while (loop.now() < end && loop.run_once(end)) {
  }
}

template <class T>
Task<> keep_result(Task<T> task, std::optional<T>& out) {
  out = co_await std::move(task);
}

template <class T>
T run_task(EventLoop& loop, Task<T> task) {
  TaskGroup tasks(loop);
  std::optional<T> out;
  tasks.spawn(keep_result(std::move(task), out));
  run_until(loop, [&] { return tasks.size() == 0; });
  return std::move(out).value();
}

// Everything that a stream gave, and how it ended.
struct Received {
  Bytes bytes;
  bool clean = false;
  bool broken = false;
  bool ended() const { return clean || broken; }
  std::string text() const { return std::string(as_text(bytes)); }
};

inline Task<> read_all(ByteStream& stream, Received& into) {
  Bytes chunk(64 * 1024);
  while (true) {
    auto got = co_await read_some(stream, chunk, soon());
    if (!got || *got == 0) {
      (got ? into.clean : into.broken) = true;
      co_return;
    }
    into.bytes.insert(into.bytes.end(), chunk.begin(), chunk.begin() + static_cast<ptrdiff_t>(*got));
  }
}

// Two ends of one TCP connection on loopback.
struct TcpPair {
  explicit TcpPair(EventLoop& loop, std::string_view where = "127.0.0.1:0") {
    auto listener = TcpListener::listen(loop, addr(where), {}).value();
    client = run_task(loop, tcp_connect(loop, listener->local_addr(), soon())).value();
    server = run_task(loop, listener->accept()).value();
  }

  std::unique_ptr<ByteStream> client;
  std::unique_ptr<ByteStream> server;
};

}  // namespace culvert::net::testing
