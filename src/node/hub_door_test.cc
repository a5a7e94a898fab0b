#include "node/hub_door.h"

#include <algorithm>

#include "base/log.h"
#include "edge/testing.h"
#include "net/tcp.h"
#include "node/node_fixture.h"

namespace culvert::node {
namespace {

using namespace testing;

class HubDoorTest : public NodeTest {
 public:
  void open(HubDoor::Limits limits) {
    ASSERT_TRUE(files().create());
    hub_ = hub::Hub::open(loop_, {.database = files().database(),
                                  .operator_key = "operator",
                                  .public_urls = {},
                                  .key = key_,
                                  .edges = {},
                                  .internal_ca_pem = ""})
               .value();
    auto pinned = tls::self_signed_identity(key_, key_.public_key().tls_name(), unix_now()).value();
    auto certificates =
        std::make_shared<tls::Certificates>(files().load_or_create_ca(unix_now()).value(), unix_now);
    door_ = std::make_unique<HubDoor>(loop_, *hub_, pinned, certificates, std::unordered_set<std::string>{},
                                      limits, random_);
    listener_ = net::TcpListener::listen(loop_, SocketAddr::v4({127, 0, 0, 1}, 0), {}).value();
  }
  ~HubDoorTest() override {
    if (!door_) return;
    door_->close();
    hub_.reset();
    clients_.clear();
    EXPECT_TRUE(run_task(loop_, all_gone()));
  }

  net::Task<bool> all_gone() {
    co_await door_->join();
    co_return true;
  }

  std::unique_ptr<net::ByteStream> connect() {
    auto client = run_task(loop_, net::tcp_connect(loop_, listener_->local_addr(), soon())).value();
    edge::PublicConnection connection{.socket = run_task(loop_, listener_->accept()).value()};
    connection.client = connection.socket->remote_addr();
    connection.detach();
    door_->admit(std::move(connection));
    return client;
  }
  // A connection at the door that says nothing.
  net::ByteStream& knock() {
    clients_.push_back(connect());
    return *clients_.back();
  }
  Result<std::unique_ptr<net::ByteStream>> handshake(std::unique_ptr<net::ByteStream> tcp) {
    tls::ClientTrust trust;
    trust.pinned_key = key_.public_key();
    return run_task(loop_, tls::connect(std::move(tcp), "x.example", std::move(trust), soon()));
  }
  // One that sends a whole request and keeps the connection.
  net::ByteStream& ask() {
    clients_.push_back(handshake(connect()).value());
    Bytes answer(4096);
    EXPECT_TRUE(run_task(
        loop_,
        net::write_all(*clients_.back(), as_bytes("GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n"), soon())));
    EXPECT_GT(run_task(loop_, net::read_some(*clients_.back(), answer, soon())).value(), 0u);
    return *clients_.back();
  }
  bool dropped(net::ByteStream& client) {
    Bytes byte(1);
    return !run_task(loop_, net::read_some(client, byte, soon())).has_value();
  }
  bool open_still(net::ByteStream& client) {
    Bytes byte(1);
    return client.try_read(byte).status == net::IoStatus::kWantRead;
  }

  SeededRandom random_{3};
  net::EventLoop loop_;
  SecretKey key_ = edge::testing::key(9);
  std::unique_ptr<hub::Hub> hub_;
  std::unique_ptr<HubDoor> door_;
  std::unique_ptr<net::TcpListener> listener_;
  std::vector<std::unique_ptr<net::ByteStream>> clients_;
};

TEST_F(HubDoorTest, WhenFullOneThatAskedNothingLosesItsPlace) {
  open({.connections = 4, .per_source = 100});
  net::ByteStream& asked = ask();
  std::vector<net::ByteStream*> silent;
  for (int i = 0; i < 3; ++i) silent.push_back(&knock());
  ::testing::internal::CaptureStderr();
  ask();
  std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("hub_connections_full"), std::string::npos) << log;
  EXPECT_EQ(std::ranges::count_if(silent, [&](net::ByteStream* each) { return open_still(*each); }), 2);
  EXPECT_TRUE(open_still(asked)) << "although it is the oldest";
  EXPECT_EQ(door_->size(), 4u);
}

// The hub's limits are for the client that a proxy names, not for the proxy.
TEST_F(HubDoorTest, TheHubIsToldWhoTheClientIs) {
  open({.connections = 4, .per_source = 100});
  set_log_level(LogLevel::kDebug);
  ::testing::internal::CaptureStderr();
  auto tcp = run_task(loop_, net::tcp_connect(loop_, listener_->local_addr(), soon())).value();
  edge::PublicConnection connection{.socket = run_task(loop_, listener_->accept()).value()};
  connection.client = *SocketAddr::parse("203.0.113.7:51234");
  connection.detach();
  door_->admit(std::move(connection));
  auto client = handshake(std::move(tcp)).value();
  Bytes answer(4096);
  EXPECT_TRUE(run_task(loop_, net::write_all(*client, as_bytes("no HTTP\r\n\r\n"), soon())));
  EXPECT_GT(run_task(loop_, net::read_some(*client, answer, soon())).value(), 0u);
  const std::string log = ::testing::internal::GetCapturedStderr();
  set_log_level(LogLevel::kInfo);
  EXPECT_NE(log.find("hub_request_refused client=203.0.113.7:51234"), std::string::npos) << log;
}

TEST_F(HubDoorTest, RequestsDoNotKeepHandshakesOut) {
  open({.connections = 4, .per_source = 100});
  net::ByteStream& first = ask();
  for (int i = 0; i < 3; ++i) ask();
  auto honest = connect();
  EXPECT_TRUE(dropped(first)) << "when all have asked, the oldest goes";
  ask();  // the newcomers of such a flood have asked nothing yet, either
  auto tls = handshake(std::move(honest));
  EXPECT_TRUE(tls) << tls.error().message;
}

// Each handshake takes so long that the flood can fill all places meanwhile.
TEST_F(HubDoorTest, HonestHandshakesSurviveAFlood) {
  constexpr size_t kPlaces = 16;
  open({.connections = kPlaces, .per_source = 1000});
  for (size_t i = 0; i < kPlaces; ++i) knock();
  int survived = 0;
  for (int i = 0; i < 20; ++i) {
    auto honest = connect();
    for (size_t flood = 0; flood < kPlaces; ++flood) knock();
    if (handshake(std::move(honest))) ++survived;
    clients_.erase(clients_.begin(), clients_.end() - kPlaces);
  }
  // A third or so; with the oldest as the victim, none.
  EXPECT_GE(survived, 2);
}

TEST_F(HubDoorTest, AFullSourceLosesItsOwnOldestThatAskedNothing) {
  open({.connections = 100, .per_source = 3});
  ask();
  net::ByteStream& first = knock();
  net::ByteStream& second = knock();
  ::testing::internal::CaptureStderr();
  net::ByteStream& third = knock();
  EXPECT_TRUE(dropped(first));
  EXPECT_TRUE(open_still(second));
  ask();
  EXPECT_TRUE(dropped(second));
  std::string log = ::testing::internal::GetCapturedStderr();
  size_t at = log.find("hub_source_full");
  EXPECT_NE(at, std::string::npos) << log;
  EXPECT_EQ(log.find("hub_source_full", at + 1), std::string::npos) << "not rate-limited: " << log;
  ask();
  EXPECT_TRUE(dropped(third));
  EXPECT_TRUE(dropped(knock())) << "when all of its connections have asked, it gets no more";
  clients_.front()->close();
  run_until(loop_, [&] { return door_->size() == 2; });
  ask();
}
}  // namespace
}  // namespace culvert::node
