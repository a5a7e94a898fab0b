#include "net/tcp.h"

#include <gmock/gmock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <deque>

#include "net/bind.h"
#include "net/testing.h"

namespace {

std::deque<int> accept_failures;  // errno values for the next calls

}  // namespace

extern "C" int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  if (accept_failures.empty()) return static_cast<int>(syscall(SYS_accept4, fd, address, length, flags));
  errno = accept_failures.front();
  accept_failures.pop_front();
  return -1;
}

namespace culvert::net {
namespace {

using namespace std::chrono_literals;
using namespace testing;
using ::testing::AnyOf;
using ::testing::HasSubstr;

Bytes pattern(size_t size) {
  Bytes out(size);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<uint8_t>(i * 131 + i / 257);
  return out;
}

Task<Result<Bytes>> read_to_end(ByteStream& stream, size_t piece) {
  Bytes all, buffer(piece);
  for (;;) {
    const auto got = co_await read_some(stream, buffer, soon());
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0) co_return all;
    all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(*got));
    if (all.size() % 64 < 2) co_await sleep_for(stream.loop(), 1ms);
  }
}

Task<> write_and_finish(ByteStream& stream, const Bytes& data, bool& done) {
  const auto written = co_await write_all(stream, data, soon());
  EXPECT_TRUE(written);
  const auto finished = co_await finish(stream, soon());
  EXPECT_TRUE(finished);
  done = true;
}

TEST(TcpStream, AddressesAndNoDelay) {
  EventLoop loop;
  TcpPair pair(loop);
  EXPECT_EQ(pair.client->local_addr(), pair.server->remote_addr());
  EXPECT_EQ(pair.client->remote_addr(), pair.server->local_addr());
  EXPECT_EQ(&pair.client->loop(), &loop);
  EXPECT_TRUE(pair.client->is_open());
}

TEST(TcpStream, HalfCloseLeavesTheOtherDirectionOpen) {
  EventLoop loop;
  TcpPair pair(loop);
  EXPECT_EQ(pair.client->try_finish().status, IoStatus::kOk);
  Bytes buffer(10);
  EXPECT_EQ(run_task(loop, read_some(*pair.server, buffer, soon())).value(), 0u);
  EXPECT_EQ(pair.server->try_read(buffer).status, IoStatus::kEof);
  ASSERT_TRUE(run_task(loop, write_all(*pair.server, as_bytes("late"), soon())));
  EXPECT_EQ(run_task(loop, read_some(*pair.client, buffer, soon())).value(), 4u);
  EXPECT_EQ(pair.client->try_write(as_bytes("x")).status, IoStatus::kError);
}

TEST(TcpStream, ResetIsNotTakenForTheEnd) {
  EventLoop loop;
  TcpPair pair(loop);
  ASSERT_TRUE(run_task(loop, write_all(*pair.client, as_bytes("part of it"), soon())));
  pair.client->reset();
  EXPECT_FALSE(pair.client->is_open());
  Bytes buffer(100);
  auto got = run_task(loop, read_some(*pair.server, buffer, soon()));
  if (got) got = run_task(loop, read_some(*pair.server, buffer, soon()));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kReset);
  EXPECT_THAT(got.error().message, HasSubstr("reset by peer"));
  EXPECT_THAT(got.error().message, HasSubstr(pair.server->remote_addr().to_string()));
}

TEST(TcpStream, BulkThroughASlowReader) {
  EventLoop loop;
  TcpPair pair(loop);
  const Bytes data = pattern(24 << 20);
  bool done = false;
  TaskGroup tasks(loop);
  tasks.spawn(write_and_finish(*pair.client, data, done));
  drain(loop);
  EXPECT_FALSE(done);  // the kernel's buffers are smaller than that: the writer waits
  const auto received = run_task(loop, read_to_end(*pair.server, 8191));
  ASSERT_TRUE(received);
  EXPECT_TRUE(*received == data);
  EXPECT_TRUE(done);
}

TEST(TcpStream, CallbacksComeFromTheLoopAndCloseRunsThem) {
  for (const bool reset : {false, true}) {
    EventLoop loop;
    TcpPair pair(loop);
    int readable = 0, writable = 0;
    pair.client->when_writable([&] { ++writable; });
    EXPECT_EQ(writable, 0);
    run_until(loop, [&] { return writable == 1; });
    pair.client->when_readable([&] { ++readable; });
    drain(loop);
    EXPECT_EQ(readable, 0);
    if (reset) {
      pair.client->reset();
    } else {
      pair.client->close();
    }
    EXPECT_EQ(readable, 0);
    drain(loop);
    EXPECT_EQ(readable, 1);
    EXPECT_EQ(writable, 1);
    // After that: the same answers, still from the loop.
    pair.client->when_readable([&] { ++readable; });
    EXPECT_EQ(readable, 1);
    drain(loop);
    EXPECT_EQ(readable, 2);
    Bytes buffer(1);
    EXPECT_EQ(pair.client->try_read(buffer).status, IoStatus::kError);
    EXPECT_EQ(pair.client->try_write(buffer).status, IoStatus::kError);
    EXPECT_EQ(pair.client->try_finish().status, IoStatus::kError);
    EXPECT_EQ(pair.client->last_error(), "the connection was closed here");
    pair.client->close();
    pair.client->reset();
  }
}

TEST(TcpStream, DestructionDropsCallbacks) {
  EventLoop loop;
  TcpPair pair(loop);
  auto held = std::make_shared<int>(0);
  pair.client->when_readable([held] { FAIL(); });
  pair.client.reset();
  EXPECT_EQ(held.use_count(), 1);
  // Also when its completion is queued already.
  pair.server->when_writable([held] { FAIL(); });
  pair.server->close();
  pair.server.reset();
  EXPECT_EQ(held.use_count(), 1);
  drain(loop);
}

TEST(TcpStream, MayBeDestroyedFromItsOwnCallback) {
  EventLoop loop;
  TcpPair pair(loop);
  bool ran = false;
  pair.client->when_readable([] { FAIL(); });
  pair.client->when_writable([&] {
    pair.client.reset();
    ran = true;
  });
  run_until(loop, [&] { return ran; });
  drain(loop);
}

TEST(TcpStream, ReadinessWithUnreadBytesComesAgain) {
  EventLoop loop;
  TcpPair pair(loop);
  ASSERT_TRUE(run_task(loop, write_all(*pair.client, as_bytes("abc"), soon())));
  for (int i = 0; i < 3; ++i) {
    bool ready = false;
    pair.server->when_readable([&] { ready = true; });
    run_until(loop, [&] { return ready; });
    Bytes one(1);
    EXPECT_EQ(pair.server->try_read(one).status, IoStatus::kOk);
  }
  Bytes one(1);
  EXPECT_EQ(pair.server->try_read(one).status, IoStatus::kWantRead);
}

TEST(TcpStream, TimeoutsCloseTheStream) {
  EventLoop loop;
  TcpPair pair(loop);
  Bytes buffer(100);
  auto got = run_task(loop, read_some(*pair.client, buffer, monotonic_now() + 5ms));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kTimeout);
  EXPECT_FALSE(pair.client->is_open());
  const Bytes data = pattern(64 << 20);
  TcpPair other(loop);
  auto written = run_task(loop, write_all(*other.client, data, monotonic_now() + 50ms));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::kTimeout);
  EXPECT_FALSE(other.client->is_open());
  drain(loop);
}

TEST(Reader, LeavesTheStreamOpenWhenItsDeadlinePassesAndReadsOn) {
  EventLoop loop;
  TcpPair pair(loop);
  Reader reader(*pair.client);
  Bytes buffer(100);
  for (int i = 0; i < 3; ++i) {
    auto got = run_task(loop, reader.read_some(buffer, monotonic_now() + 5ms));
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, ErrorCode::kTimeout);
  }
  EXPECT_TRUE(pair.client->is_open());
  EXPECT_TRUE(run_task(loop, write_all(*pair.client, pattern(10), soon())));
  EXPECT_TRUE(run_task(loop, write_all(*pair.server, pattern(10), soon())));
  EXPECT_EQ(run_task(loop, reader.read_some(buffer, soon())).value(), 10u);
  EXPECT_TRUE(run_task(loop, finish(*pair.server, soon())));
  EXPECT_EQ(run_task(loop, reader.read_some(buffer, soon())).value(), 0u);
}

TEST(Reader, MayGoBeforeTheWaitItLeftBehind) {
  EventLoop loop;
  TcpPair pair(loop);
  Bytes buffer(100);
  {
    Reader reader(*pair.client);
    EXPECT_FALSE(run_task(loop, reader.read_some(buffer, monotonic_now() + 5ms)));
  }
  EXPECT_TRUE(run_task(loop, write_all(*pair.server, pattern(10), soon())));
  drain(loop);
  EXPECT_EQ(run_task(loop, read_some(*pair.client, buffer, soon())).value(), 10u);
}

TEST(TcpStream, AReaderWhoseStreamIsClosedByAnotherLearnsIt) {
  EventLoop loop;
  TcpPair pair(loop);
  Timer timer(loop);
  timer.after(5ms, [&] { pair.client->close(); });
  Bytes buffer(100);
  auto got = run_task(loop, read_some(*pair.client, buffer, soon()));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kReset);
}

TEST(TcpStream, WaitingReaderDiesWithTheLoop) {
  auto loop = std::make_unique<EventLoop>();
  auto pair = std::make_unique<TcpPair>(*loop);
  Bytes buffer(100);
  TaskGroup tasks(*loop);
  std::optional<Result<size_t>> out;
  tasks.spawn(keep_result(read_some(*pair->client, buffer, soon()), out));
  drain(*loop);
  pair.reset();
  loop.reset();
  EXPECT_FALSE(out);
}

TEST(TcpStream, MovesToAnotherLoop) {
  EventLoop first, second;
  TcpPair pair(first);
  ASSERT_TRUE(run_task(first, write_all(*pair.client, as_bytes("before"), soon())));
  pair.server->leave_loop();
  pair.server->join_loop(second);
  const auto moved = std::move(pair.server);
  EXPECT_EQ(&moved->loop(), &second);
  EXPECT_EQ(moved->remote_addr(), pair.client->local_addr());
  Bytes buffer(100);
  EXPECT_EQ(run_task(second, read_some(*moved, buffer, soon())).value(), 6u);
  ASSERT_TRUE(run_task(second, write_all(*moved, as_bytes("after"), soon())));
  EXPECT_EQ(run_task(first, read_some(*pair.client, buffer, soon())).value(), 5u);
}

TEST(TcpStream, CancelledWaitsNeitherRunNorStandInTheWay) {
  EventLoop loop;
  TcpPair pair(loop);
  ByteStream& socket = *pair.server;
  bool old_ran = false, new_ran = false;
  // Writable at once: the completion of the first wait may be queued when it is cancelled.
  socket.when_readable([&] { old_ran = true; });
  socket.when_writable([&] { old_ran = true; });
  loop.run_ready();
  if (old_ran) socket.when_writable([&] { FAIL(); });
  old_ran = false;
  socket.cancel();
  socket.when_readable([&] { new_ran = true; });
  testing::drain(loop);
  EXPECT_FALSE(old_ran || new_ran) << "there is nothing to read";
  ASSERT_TRUE(run_task(loop, write_all(*pair.client, as_bytes("x"), soon())));
  run_until(loop, [&] { return new_ran; });
  EXPECT_FALSE(old_ran);
  socket.when_readable([&] { old_ran = true; });
  socket.cancel();
  socket.close();
  testing::drain(loop);
  EXPECT_FALSE(old_ran);
  socket.cancel();
}

TEST(TcpStream, AResetThatAWriteMetIsStillNoCleanEnd) {
  EventLoop loop;
  TcpPair pair(loop);
  ASSERT_TRUE(run_task(loop, write_all(*pair.server, as_bytes("unread"), soon())));
  ASSERT_TRUE(run_task(loop, write_all(*pair.client, as_bytes("answer"), soon())));
  pair.client->close();  // with bytes unread: RST
  IoResult put{IoStatus::kOk};
  run_until(loop, [&] { return (put = pair.server->try_write(as_bytes("more"))).status != IoStatus::kOk; });
  EXPECT_EQ(put.status, IoStatus::kError);
  Bytes buffer(100);
  const IoResult got = pair.server->try_read(buffer);
  ASSERT_EQ(got.status, IoStatus::kOk) << "what came before the RST can be read";
  EXPECT_EQ(got.bytes, 6u);
  EXPECT_EQ(pair.server->try_read(buffer).status, IoStatus::kError);
}

TEST(TcpListener, AcceptsBothFamiliesOnTheUnspecifiedAddress) {
  EventLoop loop;
  auto listener = TcpListener::listen(loop, addr("[::]:0"), {}).value();
  const uint16_t port = listener->local_addr().port();
  ASSERT_NE(port, 0);
  for (const char* to : {"127.0.0.1:0", "[::1]:0"}) {
    auto client = run_task(loop, tcp_connect(loop, addr(to).with_port(port), soon()));
    ASSERT_TRUE(client) << client.error().message;
    auto server = run_task(loop, listener->accept()).value();
    EXPECT_EQ(server->local_addr(), addr(to).with_port(port));
    EXPECT_EQ(server->remote_addr(), (*client)->local_addr());
  }
}

TEST(TcpListener, ErrorsNameAddressReasonAndNextStep) {
  EventLoop loop;
  auto first = TcpListener::listen(loop, addr("127.0.0.1:0"), {}).value();
  auto second = TcpListener::listen(loop, first->local_addr(), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_EQ(second.error().message, "cannot listen on " + first->local_addr().to_string() +
                                        "/tcp: the address is in use by another program; stop it or choose "
                                        "another address");
  auto foreign = TcpListener::listen(loop, addr("192.0.2.1:0"), {});
  ASSERT_FALSE(foreign);
  EXPECT_EQ(foreign.error().code, ErrorCode::kIo);
  const Error privileged = bind_error(addr("0.0.0.0:443"), SOCK_STREAM, EACCES);
  EXPECT_EQ(privileged.code, ErrorCode::kUnauthorized);
  EXPECT_THAT(privileged.message, HasSubstr("0.0.0.0:443/tcp"));
  EXPECT_THAT(privileged.message, HasSubstr("setcap cap_net_bind_service"));
}

TEST(TcpListener, SharesItsPortWhenAsked) {
  EventLoop loop;
  auto first = TcpListener::listen(loop, addr("127.0.0.1:0"), {.share = PortShare::kFirst}).value();
  auto second = TcpListener::listen(loop, first->local_addr(), {.share = PortShare::kSibling});
  EXPECT_TRUE(second);
  EXPECT_FALSE(TcpListener::listen(loop, first->local_addr(), {}));
  // Another group, as a second node has it, does not join this one.
  auto other = TcpListener::listen(loop, first->local_addr(), {.share = PortShare::kFirst});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::kConflict);
  EXPECT_THAT(other.error().message, HasSubstr(first->local_addr().to_string() + "/tcp"));
}

TEST(TcpListener, ClosingOrDestroyingEndsAWaitingAccept) {
  for (const bool destroy : {false, true}) {
    EventLoop loop;
    auto listener = TcpListener::listen(loop, addr("127.0.0.1:0"), {}).value();
    TaskGroup tasks(loop);
    std::optional<Result<std::unique_ptr<ByteStream>>> accepted;
    tasks.spawn(keep_result(listener->accept(), accepted));
    drain(loop);
    EXPECT_FALSE(accepted);
    if (destroy) {
      listener.reset();
    } else {
      listener->close();
    }
    run_until(loop, [&] { return tasks.size() == 0; });
    ASSERT_FALSE(*accepted);
    EXPECT_EQ(accepted->error().code, ErrorCode::kClosed);
    if (!destroy) EXPECT_EQ(run_task(loop, listener->accept()).error().code, ErrorCode::kClosed);
  }
}

TEST(TcpListener, AcceptsMoreThanOneTurnHolds) {
  EventLoop loop;
  auto listener = TcpListener::listen(loop, addr("127.0.0.1:0"), {}).value();
  std::vector<std::unique_ptr<ByteStream>> clients;
  for (int i = 0; i < 150; ++i) {
    clients.push_back(run_task(loop, tcp_connect(loop, listener->local_addr(), soon())).value());
  }
  for (int i = 0; i < 150; ++i) EXPECT_TRUE(run_task(loop, listener->accept()));
}

TEST(TcpListener, AFullDescriptorTableIsWaitedOutAndAbortedConnectionsAreSkipped) {
  EventLoop loop;
  auto listener = TcpListener::listen(loop, addr("127.0.0.1:0"), {}).value();
  auto client = run_task(loop, tcp_connect(loop, listener->local_addr(), soon())).value();
  accept_failures = {ECONNABORTED, EINTR, EMFILE, EPROTO, ENFILE};
  const TimePoint start = monotonic_now();
  ::testing::internal::CaptureStderr();
  const auto accepted = run_task(loop, listener->accept());
  const std::string log = ::testing::internal::GetCapturedStderr();
  ASSERT_TRUE(accepted);
  EXPECT_GE(monotonic_now() - start, 200ms);
  EXPECT_TRUE(accept_failures.empty());
  const size_t first = log.find("accept_paused");
  EXPECT_NE(first, std::string::npos) << log;
  EXPECT_EQ(log.find("accept_paused", first + 1), std::string::npos) << log;
}

TEST(TcpListener, CloseEndsThePauseOfAFullTable) {
  EventLoop loop;
  auto listener = TcpListener::listen(loop, addr("127.0.0.1:0"), {}).value();
  auto client = run_task(loop, tcp_connect(loop, listener->local_addr(), soon())).value();
  accept_failures = {EMFILE};
  TaskGroup tasks(loop);
  std::optional<Result<std::unique_ptr<ByteStream>>> accepted;
  tasks.spawn(keep_result(listener->accept(), accepted));
  loop.run_ready();
  EXPECT_FALSE(accepted);
  listener.reset();
  run_until(loop, [&] { return tasks.size() == 0; });
  EXPECT_EQ(accepted->error().code, ErrorCode::kClosed);
}

TEST(TcpConnect, RefusalNamesTheAddress) {
  EventLoop loop;
  SocketAddr gone = TcpListener::listen(loop, addr("127.0.0.1:0"), {}).value()->local_addr();
  auto stream = run_task(loop, tcp_connect(loop, gone, soon()));
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(stream.error().message, "cannot connect to " + gone.to_string() + ": Connection refused");
}

TEST(TcpConnect, SilenceIsATimeout) {
  EventLoop loop;
  // A full accept queue drops what arrives: the kernel's own black hole.
  auto listener = TcpListener::listen(loop, addr("127.0.0.1:0"), {.backlog = 0}).value();
  std::vector<std::unique_ptr<ByteStream>> queued;
  for (int i = 0; i < 10; ++i) {
    auto stream = run_task(loop, tcp_connect(loop, listener->local_addr(), monotonic_now() + 50ms));
    if (!stream) {
      EXPECT_EQ(stream.error().code, ErrorCode::kTimeout);
      EXPECT_THAT(stream.error().message, HasSubstr(listener->local_addr().to_string()));
      return;
    }
    queued.push_back(std::move(*stream));
  }
  FAIL() << "every connect was answered";
}

TEST(TcpConnect, TriesEveryAddressOfAName) {
  EventLoop loop;
  for (const char* where : {"127.0.0.1:0", "[::1]:0"}) {
    auto listener = TcpListener::listen(loop, addr(where), {}).value();
    const uint16_t port = listener->local_addr().port();
    auto stream = run_task(loop, tcp_connect(loop, "localhost", port, soon()));
    ASSERT_TRUE(stream) << stream.error().message;
    EXPECT_EQ((*stream)->remote_addr(), listener->local_addr());
    listener.reset();
    auto refused = run_task(loop, tcp_connect(loop, "localhost", port, soon()));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(refused.error().message, HasSubstr("localhost: 2 addresses failed"));
  }
}

}  // namespace
}  // namespace culvert::net
