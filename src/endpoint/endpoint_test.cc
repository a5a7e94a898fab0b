// Endpoints over real sockets on loopback; what depends on the behaviour of a network is in
// sim/quic_sim_test.cc.
#include "endpoint/endpoint.h"

#include "endpoint/endpoint_fixture.h"

namespace culvert::endpoint {
namespace {

TEST_F(EndpointTest, EchoesStreamsAndDatagrams) {
  auto scenario = [](EndpointTest* t) -> Task<> {
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
  run(scenario(this));
}

TEST_F(EndpointTest, DatagramsThatCameTogetherAreToldOfOnce) {
  auto scenario = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> connection = co_await t->client_->connect(t->server_addr(), kAlpn, soon());
    EXPECT_TRUE(connection.has_value());
    if (!connection) co_return;
    net::Notify all_came(t->loop_);
    int calls = 0, came = 0;
    (*connection)->set_on_datagrams([&, handle = connection->get()] {
      ++calls;
      while (handle->try_receive_datagram()) ++came;
      if (came == 20) all_came.notify();
    });
    for (int i = 0; i < 20; ++i) EXPECT_TRUE((*connection)->send_datagram(as_bytes("ping")).has_value());
    const bool in_time = co_await all_came.wait_until(soon());
    EXPECT_TRUE(in_time);
    EXPECT_LT(calls, 20);
    EXPECT_EQ((*connection)->try_receive_datagram(), std::nullopt);
    (*connection)->set_on_datagrams({});
  };
  run(scenario(this));
}

TEST_F(EndpointTest, RefusesAnotherKeyAndAnotherProtocol) {
  auto scenario = [](EndpointTest* t) -> Task<> {
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
  run(scenario(this));
}

TEST_F(EndpointTest, TimesOutWithoutAnAnswerAndTakesTheAddressThatAnswers) {
  auto scenario = [](EndpointTest* t) -> Task<> {
    EndpointAddr addr = t->server_addr();
    addr.ip_addrs = {SocketAddr::v4({127, 0, 0, 1}, 1)};
    Result<ConnectionPtr> none = co_await t->client_->connect(addr, kAlpn, monotonic_now() + 200ms);
    EXPECT_FALSE(none.has_value());
    if (!none) EXPECT_EQ(none.error().code, ErrorCode::kTimeout);
    addr.ip_addrs.push_back(t->server_->local_addr());
    Result<ConnectionPtr> one = co_await t->client_->connect(addr, kAlpn, soon());
    EXPECT_TRUE(one.has_value());
    EndpointAddr empty = t->server_addr();
    empty.ip_addrs.clear();
    Result<ConnectionPtr> invalid = co_await t->client_->connect(empty, kAlpn, soon());
    EXPECT_EQ(invalid.error().code, ErrorCode::kInvalid);
  };
  run(scenario(this));
}

TEST_F(EndpointTest, RebindingMovesOpenConnections) {
  auto scenario = [](EndpointTest* t) -> Task<> {
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
  run(scenario(this));
}

TEST_F(EndpointTest, CloseReachesEveryWaiter) {
  auto scenario = [](EndpointTest* t) -> Task<> {
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
  run(scenario(this));
}

TEST_F(EndpointTest, ConnectionsOutliveTheirEndpointHarmlessly) {
  auto scenario = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> connection = co_await t->client_->connect(t->server_addr(), kAlpn, soon());
    Result<StreamPtr> stream = co_await (*connection)->open_bidi();
    t->client_ = std::move(
        *Endpoint::bind(t->loop_, {.key = key(1), .bind = SocketAddr::v4({127, 0, 0, 1}, 0), .limits = {}}));
    EXPECT_FALSE((*connection)->is_open());
    EXPECT_EQ((*stream)->write(as_bytes("x")), 0u);
    EXPECT_EQ((*connection)->try_open_bidi(), nullptr);
    CloseReason reason = co_await (*connection)->closed();
    EXPECT_EQ(reason.kind, CloseReason::Kind::kLocal);
  };
  run(scenario(this));
}

TEST_F(EndpointTest, AServerSaysWhereItSeesAClient) {
  auto scenario = [](EndpointTest* t, const Certificate* certificate) -> Task<> {
    Result<ConnectionPtr> connection = co_await t->dial_name(certificate->server(), "h3");
    EXPECT_TRUE(connection.has_value());
    if (!connection) co_return;
    PathEvent observed = co_await t->next(*connection, PathEvent::Kind::kObservedAddress);
    EXPECT_EQ(observed.address, SocketAddr::v4({127, 0, 0, 1}, t->client_->local_addr().port()));
  };
  Certificate certificate;
  serve_paths(certificate);
  run(scenario(this, &certificate));
}

TEST_F(EndpointTest, PathsAreOpenedRankedAndClosed) {
  auto scenario = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> dialled = co_await t->dial_key(kAlpn);
    EXPECT_TRUE(dialled.has_value());
    if (!dialled) co_return;
    ConnectionPtr connection = *dialled;
    EXPECT_TRUE(connection->is_multipath());
    EXPECT_EQ(connection->paths().size(), 1u);
    // The first connection ids for further paths come after the handshake.
    bool good = co_await t->echoes(connection, "one path");
    EXPECT_TRUE(good);

    Result<PathId> second = connection->open_path(t->server_at(2), true);
    EXPECT_TRUE(second.has_value()) << second.error().message;
    if (!second) co_return;
    PathEvent established = co_await t->next(connection, PathEvent::Kind::kEstablished);
    EXPECT_EQ(established.path, *second);
    EXPECT_EQ(connection->path_stats().remote, t->server_at(1));
    EXPECT_TRUE(connection->set_backup(*second, false));
    EXPECT_TRUE(connection->set_backup(0, true));
    EXPECT_EQ(connection->path_stats().remote, t->server_at(2));
    EXPECT_TRUE(connection->set_path_timers(0, 30s, 5s));
    EXPECT_TRUE(connection->ping_path(0));
    good = co_await t->echoes(connection, "two paths");
    EXPECT_TRUE(good);

    EXPECT_TRUE(connection->close_path(0));
    PathEvent abandoned = co_await t->next(connection, PathEvent::Kind::kAbandoned);
    EXPECT_EQ(abandoned.path, 0u);
    EXPECT_FALSE(connection->close_path(*second)) << "the last path";
    good = co_await t->echoes(connection, "the other path");
    EXPECT_TRUE(good);

    connection->close(0, "done");
    EXPECT_TRUE(connection->paths().empty());
    EXPECT_EQ(connection->open_path(t->server_at(3), true).error().code, ErrorCode::kClosed);
    EXPECT_FALSE(connection->set_backup(*second, true));
  };
  serve_paths(Certificate());
  run(scenario(this));
}

TEST_F(EndpointTest, NatTraversalOpensAPathToACandidate) {
  auto scenario = [](EndpointTest* t) -> Task<> {
    Result<ConnectionPtr> dialled = co_await t->dial_key(kAlpn);
    EXPECT_TRUE(dialled.has_value());
    if (!dialled) co_return;
    ConnectionPtr connection = *dialled;
    bool good = co_await t->echoes(connection, "x");
    EXPECT_TRUE(good);
    ConnectionPtr accepted = t->accepted_.at(0);
    EXPECT_EQ(accepted->punch().error().code, ErrorCode::kUnavailable) << "only clients start rounds";

    EXPECT_TRUE(accepted->add_candidate(t->server_at(3)));
    PathEvent added = co_await t->next(connection, PathEvent::Kind::kRemoteCandidateAdded);
    EXPECT_EQ(added.address, t->server_at(3));
    EXPECT_TRUE(connection->add_candidate(SocketAddr::v4({127, 0, 0, 1}, t->client_->local_addr().port())));
    Result<size_t> probed = connection->punch();
    EXPECT_EQ(probed.value_or(0), 1u);
    PathEvent established = co_await t->next(connection, PathEvent::Kind::kEstablished);
    std::vector<PathStats> paths = connection->paths();
    auto path = std::ranges::find(paths, established.path, &PathStats::id);
    EXPECT_TRUE(path != paths.end() && path->remote == t->server_at(3) && path->backup);

    EXPECT_TRUE(accepted->remove_candidate(t->server_at(3)));
    PathEvent removed = co_await t->next(connection, PathEvent::Kind::kRemoteCandidateRemoved);
    EXPECT_EQ(removed.address, t->server_at(3));
  };
  serve_paths(Certificate());
  run(scenario(this));
}

TEST_F(EndpointTest, PortsInUseAreNamed) {
  auto taken = Endpoint::bind(loop_, {.key = key(3), .bind = server_->local_addr(), .limits = {}});
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().code, ErrorCode::kConflict);
  EXPECT_NE(taken.error().message.find(server_->local_addr().to_string()), std::string::npos);
}

}  // namespace
}  // namespace culvert::endpoint
