// Endpoints over real sockets on loopback; what depends on the network's moods is in sim/quic_sim_test.cc.
#include "endpoint/endpoint.h"

#include <gtest/gtest.h>

namespace culvert::endpoint {
namespace {

using namespace std::chrono_literals;
using net::Task;

constexpr const char* kAlpn = "echo/1";

SecretKey key(uint8_t fill) { return *SecretKey::from_seed(Bytes(32, fill)); }
TimePoint soon() { return monotonic_now() + 10s; }

class EndpointTest : public testing::Test {
 public:
  EndpointTest() {
    server_ = std::move(*Endpoint::bind(
        loop_,
        {.key = key(2), .bind = SocketAddr::v4({127, 0, 0, 1}, 0), .accept_alpns = {kAlpn}, .limits = {}}));
    client_ = std::move(*Endpoint::bind(
        loop_, {.key = key(1), .bind = SocketAddr::v4({0, 0, 0, 0}, 0), .accept_alpns = {}, .limits = {}}));
  }

  EndpointAddr server_addr(uint8_t fill = 2) {
    return {.id = key(fill).public_key(), .relay_urls = {}, .ip_addrs = {server_->local_addr()}};
  }

  // Runs one story to its end; the server echoes meanwhile.
  void run(Task<> story) {
    net::TaskGroup tasks(loop_);
    tasks.spawn(serve(tasks));
    tasks.spawn(finish(std::move(story)));
    loop_.run();
  }

  Task<> finish(Task<> story) {
    co_await std::move(story);
    client_->close(0, "done");
    server_->close(0, "done");
  }

  Task<> serve(net::TaskGroup& tasks) {
    while (true) {
      Result<ConnectionPtr> connection = co_await server_->accept();
      if (!connection) co_return;
      accepted_.push_back(*connection);
      tasks.spawn(echo_streams(*connection, tasks));
      tasks.spawn(echo_datagrams(*connection));
    }
  }
  Task<> echo_streams(ConnectionPtr connection, net::TaskGroup& tasks) {
    while (true) {
      Result<StreamPtr> stream = co_await connection->accept_bidi();
      if (!stream) co_return;
      tasks.spawn(echo(*stream));
    }
  }
  Task<> echo(StreamPtr stream) {
    Bytes buffer(16 * 1024);
    while (true) {
      Result<size_t> count = co_await read_some(loop_, stream, buffer, soon());
      if (!count) co_return;
      if (*count == 0) break;
      Result<> wrote = co_await write_all(loop_, stream, ByteView(buffer).first(*count), soon());
      if (!wrote) co_return;
    }
    stream->finish();
  }
  Task<> echo_datagrams(ConnectionPtr connection) {
    while (true) {
      Result<Bytes> datagram = co_await connection->receive_datagram();
      if (!datagram) co_return;
      (void)connection->send_datagram(*datagram);
    }
  }

  Task<> write_and_finish(StreamPtr stream, Bytes data) {
    Result<> wrote = co_await write_all(loop_, stream, data, soon());
    EXPECT_TRUE(wrote.has_value());
    stream->finish();
  }
  Task<Bytes> read_to_end(StreamPtr stream) {
    Bytes all;
    Bytes buffer(64 * 1024);
    while (true) {
      Result<size_t> count = co_await read_some(loop_, stream, buffer, soon());
      EXPECT_TRUE(count.has_value());
      if (!count || *count == 0) co_return all;
      all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(*count));
    }
  }

  net::EventLoop loop_;
  std::unique_ptr<Endpoint> server_;
  std::unique_ptr<Endpoint> client_;
  std::vector<ConnectionPtr> accepted_;
};

TEST_F(EndpointTest, EchoesStreamsAndDatagrams) {
  auto story = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> connection = co_await t->client_->connect(t->server_addr(), kAlpn, soon());
    EXPECT_TRUE(connection.has_value());
    if (!connection) co_return;
    EXPECT_EQ((*connection)->remote_id(), key(2).public_key());
    EXPECT_EQ((*connection)->alpn(), kAlpn);

    Bytes data(5'000'000);
    SeededRandom(1).fill(data);
    Result<StreamPtr> stream = co_await (*connection)->open_bidi();
    net::TaskGroup writer(t->loop_);
    writer.spawn(t->write_and_finish(*stream, data));
    Bytes echoed = co_await t->read_to_end(*stream);
    co_await writer.join();
    EXPECT_TRUE(echoed == data);

    EXPECT_TRUE((*connection)->send_datagram(as_bytes("ping")).has_value());
    Result<Bytes> pong = co_await (*connection)->receive_datagram();
    EXPECT_TRUE(pong.has_value() && as_text(*pong) == "ping");
    EXPECT_GT((*connection)->path_stats().bytes_received, data.size());
  };
  run(story(this));
}

TEST_F(EndpointTest, RefusesAnotherKeyAndAnotherProtocol) {
  auto story = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> wrong_key = co_await t->client_->connect(t->server_addr(9), kAlpn, soon());
    EXPECT_FALSE(wrong_key.has_value());
    if (!wrong_key) EXPECT_EQ(wrong_key.error().code, ErrorCode::kUnauthorized);
    Result<ConnectionPtr> wrong_alpn = co_await t->client_->connect(t->server_addr(), "other/1", soon());
    EXPECT_FALSE(wrong_alpn.has_value());
    if (!wrong_alpn) {
      EXPECT_EQ(wrong_alpn.error().code, ErrorCode::kInvalid);
      EXPECT_NE(wrong_alpn.error().message.find("other/1"), std::string::npos);
    }
  };
  run(story(this));
}

TEST_F(EndpointTest, TimesOutWhereNobodyAnswersAndTakesTheAddressThatDoes) {
  auto story = [](EndpointTest* t) -> Task<> {
    EndpointAddr nobody = t->server_addr();
    nobody.ip_addrs = {SocketAddr::v4({127, 0, 0, 1}, 1)};
    Result<ConnectionPtr> none = co_await t->client_->connect(nobody, kAlpn, monotonic_now() + 200ms);
    EXPECT_FALSE(none.has_value());
    if (!none) EXPECT_EQ(none.error().code, ErrorCode::kTimeout);
    nobody.ip_addrs.push_back(t->server_->local_addr());
    Result<ConnectionPtr> one = co_await t->client_->connect(nobody, kAlpn, soon());
    EXPECT_TRUE(one.has_value());
    EndpointAddr empty = t->server_addr();
    empty.ip_addrs.clear();
    Result<ConnectionPtr> invalid = co_await t->client_->connect(empty, kAlpn, soon());
    EXPECT_EQ(invalid.error().code, ErrorCode::kInvalid);
  };
  run(story(this));
}

TEST_F(EndpointTest, RebindingMovesOpenConnections) {
  auto story = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> connection = co_await t->client_->connect(t->server_addr(), kAlpn, soon());
    Result<StreamPtr> stream = co_await (*connection)->open_bidi();
    (*stream)->write(as_bytes("before "));
    Bytes buffer(100);
    Result<size_t> first = co_await read_some(t->loop_, *stream, buffer, soon());
    EXPECT_TRUE(first.has_value());
    uint16_t old_port = t->client_->local_addr().port();
    EXPECT_TRUE(t->client_->rebind().has_value());
    EXPECT_NE(t->client_->local_addr().port(), old_port);
    (*stream)->write(as_bytes("after"));
    (*stream)->finish();
    Bytes rest = co_await t->read_to_end(*stream);
    EXPECT_EQ(as_text(rest), "after");
    EXPECT_EQ(t->accepted_[0]->path_stats().remote.port(), t->client_->local_addr().port());
  };
  run(story(this));
}

TEST_F(EndpointTest, CloseReachesEveryWaiter) {
  auto story = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> connection = co_await t->client_->connect(t->server_addr(), kAlpn, soon());
    Result<StreamPtr> stream = co_await (*connection)->open_bidi();
    (*stream)->write(as_bytes("x"));
    Bytes buffer(10);
    Result<size_t> echoed = co_await read_some(t->loop_, *stream, buffer, soon());
    EXPECT_TRUE(echoed.has_value());
    t->accepted_[0]->close(7, "seven");
    CloseReason reason = co_await (*connection)->closed();
    EXPECT_EQ(reason.kind, CloseReason::Kind::kApplication);
    EXPECT_EQ(reason.code, 7u);
    Result<size_t> after = co_await read_some(t->loop_, *stream, buffer, soon());
    EXPECT_FALSE(after.has_value());
    Result<StreamPtr> none = co_await (*connection)->open_bidi();
    EXPECT_FALSE(none.has_value());
  };
  run(story(this));
}

TEST_F(EndpointTest, ConnectionsOutliveTheirEndpointHarmlessly) {
  auto story = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> connection = co_await t->client_->connect(t->server_addr(), kAlpn, soon());
    Result<StreamPtr> stream = co_await (*connection)->open_bidi();
    t->client_ = std::move(*Endpoint::bind(
        t->loop_,
        {.key = key(1), .bind = SocketAddr::v4({127, 0, 0, 1}, 0), .accept_alpns = {}, .limits = {}}));
    EXPECT_FALSE((*connection)->is_open());
    EXPECT_EQ((*stream)->write(as_bytes("x")), 0u);
    EXPECT_EQ((*connection)->try_open_bidi(), nullptr);
    CloseReason reason = co_await (*connection)->closed();
    EXPECT_EQ(reason.kind, CloseReason::Kind::kLocal);
  };
  run(story(this));
}

TEST_F(EndpointTest, PortsInUseAreNamed) {
  auto taken =
      Endpoint::bind(loop_, {.key = key(3), .bind = server_->local_addr(), .accept_alpns = {}, .limits = {}});
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().code, ErrorCode::kConflict);
  EXPECT_NE(taken.error().message.find(server_->local_addr().to_string()), std::string::npos);
}

}  // namespace
}  // namespace culvert::endpoint
