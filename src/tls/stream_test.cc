#include "tls/detached_stream.h"
#include "tls/tls_fixture.h"

namespace culvert::tls {
namespace {

net::Task<> write_then_finish(net::ByteStream& stream, const Bytes& data, Result<>& out) {
  out = co_await write_all(stream, data, soon());
  if (!out) co_return;
  out = co_await finish(stream, soon());
}

TEST(Stream, BulkBothWaysThroughSlowReadersAndHalfClose) {
  net::EventLoop loop;
  TlsPair pair(loop);
  Bytes data(8 << 20);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint8_t>(i * 37 + i / 1021);
  net::TaskGroup tasks(loop);
  Result<> up, down;
  tasks.spawn(write_then_finish(*pair.client, data, up));
  drain(loop);
  const auto read_all = [](net::ByteStream& stream, Bytes& all) -> net::Task<> {
    Bytes buffer(3001);
    for (;;) {
      const auto got = co_await read_some(stream, buffer, soon());
      EXPECT_TRUE(got);
      if (!got || *got == 0) co_return;
      all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(*got));
      if (all.size() % 50 == 0) co_await sleep_for(stream.loop(), 1ms);
    }
  };
  Bytes at_server, at_client;
  tasks.spawn(read_all(*pair.server, at_server));
  run_until(loop, [&] { return tasks.size() == 0; });
  EXPECT_TRUE(up);
  EXPECT_TRUE(at_server == data);
  // The client has finished; the other direction lives on.
  tasks.spawn(write_then_finish(*pair.server, data, down));
  tasks.spawn(read_all(*pair.client, at_client));
  run_until(loop, [&] { return tasks.size() == 0; });
  EXPECT_TRUE(down);
  EXPECT_TRUE(at_client == data);
  EXPECT_EQ(pair.client->try_write(data).status, net::IoStatus::kError);
}

TEST(Stream, TruncationIsNotTheEnd) {
  net::EventLoop loop;
  for (const int how : {0, 1, 2}) {
    TlsPair pair(loop);
    ASSERT_TRUE(run_task(loop, write_all(*pair.client, as_bytes("most of it"), soon())));
    if (how == 0) pair.client->close();
    if (how == 1) pair.client->reset();
    if (how == 2) static_cast<Stream&>(*pair.client).transport().try_finish();
    Bytes buffer(100);
    auto got = run_task(loop, read_some(*pair.server, buffer, soon()));
    if (got) {
      EXPECT_EQ(*got, 10u);
      got = run_task(loop, read_some(*pair.server, buffer, soon()));
    }
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, ErrorCode::kReset);
    if (how == 2) EXPECT_THAT(got.error().message, HasSubstr("close_notify"));
    EXPECT_EQ(pair.server->try_read(buffer).status, net::IoStatus::kError);
  }
}

TEST(Stream, GarbageInTheStreamIsAnError) {
  net::EventLoop loop;
  TlsPair pair(loop);
  ASSERT_TRUE(run_task(loop, write_all(static_cast<Stream&>(*pair.client).transport(),
                                       as_bytes("not a record at all"), soon())));
  Bytes buffer(100);
  auto got = run_task(loop, read_some(*pair.server, buffer, soon()));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kReset);
  // As OpenSSL 3.0 and 3.5 say it.
  EXPECT_THAT(got.error().message, AnyOf(HasSubstr("wrong version"), HasSubstr("record layer failure")));
  EXPECT_EQ(pair.server->try_write(buffer).status, net::IoStatus::kError);
  EXPECT_EQ(pair.server->try_finish().status, net::IoStatus::kError);
}

TEST(Stream, BytesInsideOpensslAreReadable) {
  net::EventLoop loop;
  TlsPair pair(loop);
  ASSERT_TRUE(run_task(loop, write_all(*pair.client, as_bytes("abc"), soon())));
  for (const char expected : {'a', 'b', 'c'}) {
    Bytes one(1);
    ASSERT_TRUE(run_task(loop, read_some(*pair.server, one, soon())));
    EXPECT_EQ(one[0], expected);
    if (expected == 'c') break;
    bool ready = false;
    pair.server->when_readable([&] { ready = true; });
    EXPECT_FALSE(ready);
    run_until(loop, [&] { return ready; });
  }
}

TEST(Stream, HalfARecordDoesNotSpin) {
  net::EventLoop loop;
  const SecretKey key = test_key(3);
  TcpPair near(loop), far(loop);
  net::TaskGroup tasks(loop);
  std::optional<Result<StreamPtr>> accepted, connected;
  tasks.spawn(keep_result(accept(std::move(far.server), {}, self_signed(key), {}, soon()), accepted));
  tasks.spawn(keep_result(connect(std::move(near.client), "x.test", pinned(key), soon()), connected));
  Bytes buffer(65536);
  const auto relay = [&](net::ByteStream& from, net::ByteStream& to, size_t keep_back) {
    const net::IoResult got = from.try_read(buffer);
    if (got.status != net::IoStatus::kOk) return;
    EXPECT_EQ(to.try_write(ByteView(buffer).first(got.bytes - keep_back)).bytes, got.bytes - keep_back);
  };
  run_until(loop, [&] {
    relay(*near.server, *far.client, 0);
    relay(*far.client, *near.server, 0);
    return accepted && connected;
  });
  net::ByteStream& server = ***accepted;
  ASSERT_TRUE(run_task(loop, write_all(***connected, Bytes(1000, 'x'), soon())));
  drain(loop);
  relay(*near.server, *far.client, 500);
  drain(loop);
  Bytes into(2000);
  EXPECT_EQ(server.try_read(into).status, net::IoStatus::kWantRead);
  server.when_readable([] {});  // once it may be told of what has been read already
  drain(loop);
  server.cancel();
  EXPECT_EQ(server.try_read(into).status, net::IoStatus::kWantRead);
  bool ready = false;
  server.when_readable([&] { ready = true; });
  drain(loop);
  EXPECT_FALSE(ready);
  (*connected)->reset();
  near.server->close();
  far.client->close();
  run_until(loop, [&] { return ready; });
  EXPECT_EQ(server.try_read(into).status, net::IoStatus::kError);
}

// Fills the connection until the stream refuses for good; returns how many bytes it took.
size_t fill(net::ByteStream& stream, ByteView data) {
  size_t written = 0;
  for (int refused = 0; refused < 5;) {
    const net::IoResult put = stream.try_write(data);
    written += put.bytes;
    if (put.status == net::IoStatus::kOk) {
      refused = 0;
    } else {
      ++refused;
      drain(stream.loop());  // the kernel moves bytes from one buffer to the other
    }
  }
  return written;
}

TEST(Stream, AKeyUpdateThatCannotBeAnsweredYetBlocksNobody) {
  net::EventLoop loop;
  TlsPair pair(loop);
  // The client reads nothing but asks for new keys.
  const size_t written = fill(*pair.server, Bytes(16384, 'd'));
  auto& client = static_cast<Stream&>(*pair.client);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    ASSERT_EQ(client.try_write(as_bytes("u")).status, net::IoStatus::kOk);
  }
  EXPECT_EQ(read_text(loop, *pair.server), "uuu");
  Bytes buffer(65536);
  EXPECT_EQ(pair.server->try_read(buffer).status, net::IoStatus::kWantRead);
  EXPECT_EQ(pair.server->try_write(buffer).status, net::IoStatus::kWantWrite);
  pair.server->when_readable([] {});  // once it may be told of what has been read already
  drain(loop);
  pair.server->cancel();
  EXPECT_EQ(pair.server->try_read(buffer).status, net::IoStatus::kWantRead);
  bool readable = false, writable = false;
  pair.server->when_readable([&] { readable = true; });
  pair.server->when_writable([&] { writable = true; });
  drain(loop);
  EXPECT_FALSE(writable);
  // What was accepted arrives although the server's owner does not call again.
  size_t read = 0;
  run_until(loop, [&] {
    for (net::IoResult got = client.try_read(buffer); got.status == net::IoStatus::kOk;
         got = client.try_read(buffer))
      read += got.bytes;
    return read == written;
  });
  EXPECT_TRUE(writable);
  EXPECT_FALSE(readable);
  ASSERT_EQ(pair.server->try_write(as_bytes("with new keys")).status, net::IoStatus::kOk);
  EXPECT_EQ(read_text(loop, client), "with new keys");
  ASSERT_EQ(client.try_write(as_bytes("bye")).status, net::IoStatus::kOk);
  run_until(loop, [&] { return readable; });
  EXPECT_EQ(read_text(loop, *pair.server), "bye");
}

TEST(Stream, AskingForKeysWithoutReadingEndsAtABound) {
  net::EventLoop loop;
  TlsPair pair(loop);
  fill(*pair.server, Bytes(16384, 'd'));
  auto& client = static_cast<Stream&>(*pair.client);
  Bytes buffer(65536);
  net::IoResult got{net::IoStatus::kOk};
  for (int i = 0; i < 10000 && got.status != net::IoStatus::kError; ++i) {
    ASSERT_EQ(SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    ASSERT_EQ(client.try_write(as_bytes("u")).status, net::IoStatus::kOk);
    got = pair.server->try_read(buffer);
  }
  EXPECT_EQ(got.status, net::IoStatus::kError);
  EXPECT_EQ(pair.server->last_error(), "the peer does not read");
}

TEST(Stream, FinishWaitsForWhatWasAccepted) {
  net::EventLoop loop;
  TlsPair pair(loop);
  const size_t written = fill(*pair.server, Bytes(16384, 'd'));
  EXPECT_EQ(pair.server->try_finish().status, net::IoStatus::kWantWrite);
  net::TaskGroup tasks(loop);
  std::optional<Result<>> finished;
  tasks.spawn(keep_result(finish(*pair.server, soon()), finished));
  Bytes buffer(65536);
  size_t read = 0;
  for (;;) {
    const auto got = run_task(loop, read_some(*pair.client, buffer, soon()));
    ASSERT_TRUE(got) << got.error().message;
    if (*got == 0) break;
    read += *got;
  }
  EXPECT_EQ(read, written);
  run_until(loop, [&] { return tasks.size() == 0; });
  EXPECT_TRUE(*finished);
}

TEST(Stream, CloseRunsCallbacksDestructionDropsThem) {
  net::EventLoop loop;
  for (const bool destroy : {false, true}) {
    TlsPair pair(loop);
    Bytes buffer(65536);
    fill(*pair.server, buffer);
    int calls = 0;
    pair.server->when_readable([&] { ++calls; });
    pair.server->when_writable([&] { ++calls; });
    drain(loop);
    ASSERT_EQ(calls, 0);
    if (destroy) {
      pair.server.reset();
    } else {
      pair.server->close();
    }
    EXPECT_EQ(calls, 0);
    drain(loop);
    EXPECT_EQ(calls, destroy ? 0 : 2);
    if (!destroy) {
      EXPECT_FALSE(pair.server->is_open());
      EXPECT_EQ(pair.server->try_read(buffer).status, net::IoStatus::kError);
    }
  }
}

TEST(Stream, MovesToAnotherLoopWithWhatIsBufferedInside) {
  net::EventLoop here, there;
  TlsPair pair(here);
  // The client sends two records in one go: OpenSSL reads both and is asked for the first only.
  ASSERT_TRUE(run_task(here, write_all(*pair.client, as_bytes("first"), soon())));
  ASSERT_TRUE(run_task(here, write_all(*pair.client, as_bytes("second"), soon())));
  Bytes buffer(5);
  EXPECT_EQ(run_task(here, read_some(*pair.server, buffer, soon())).value(), 5u);
  bool ran = false;
  pair.server->when_readable([&] { ran = true; });
  pair.server->when_writable([&] { ran = true; });
  DetachedStream leaving(std::move(pair.server));
  StreamPtr moved = std::move(leaving).attach(there);
  EXPECT_EQ(&moved->loop(), &there);
  buffer.resize(6);
  EXPECT_EQ(run_task(there, read_some(*moved, buffer, soon())).value(), 6u);
  EXPECT_EQ(as_text(buffer), "second");
  ASSERT_TRUE(run_task(there, write_all(*moved, as_bytes("answer"), soon())));
  ASSERT_TRUE(run_task(there, finish(*moved, soon())));
  EXPECT_EQ(run_task(here, read_some(*pair.client, buffer, soon())).value(), 6u);
  EXPECT_EQ(as_text(buffer), "answer");
  EXPECT_EQ(run_task(here, read_some(*pair.client, buffer, soon())).value(), 0u);
  EXPECT_FALSE(ran);
}

TEST(Stream, OneThatIsNeverAttachedIsClosed) {
  net::EventLoop loop;
  TlsPair pair(loop);
  {
    const DetachedStream lost(std::move(pair.server));
  }
  Bytes buffer(1);
  EXPECT_FALSE(run_task(loop, read_some(*pair.client, buffer, soon())));
}

}  // namespace
}  // namespace culvert::tls
