// UDP channels between real endpoints, all on one loop over loopback.
#include "tunnel/udp_channel.h"

#include <gtest/gtest.h>

#include "net/testing.h"
#include "tunnel/protocol.h"

namespace culvert::tunnel {
namespace {

using namespace std::chrono_literals;
using endpoint::ConnectionPtr;
using endpoint::Endpoint;
using endpoint::StreamPtr;
using net::testing::run_task;
using net::testing::run_until;
using net::testing::soon;

SecretKey key(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value(); }

// One end of a channel, and what came there.
struct End final : UdpChannel::Owner {
  struct Got {
    uint64_t flow;
    std::optional<UdpClient> client;
    Bytes payload;
  };
  void on_datagram(const UdpDatagram& datagram) override {
    got.push_back({datagram.flow, datagram.client, to_bytes(datagram.payload)});
  }
  void on_forgotten(uint64_t flow) override { forgotten.push_back(flow); }
  void on_batch_end() override { ++batches; }
  void on_ended() override {
    ended = true;
    channel.reset();
  }

  std::vector<Got> got;
  std::vector<uint64_t> forgotten;
  int batches = 0;
  bool ended = false;
  std::unique_ptr<UdpChannel> channel;
};

class UdpChannelTest : public testing::Test {
 public:
  UdpChannelTest() {
    const SocketAddr any = SocketAddr::v4({127, 0, 0, 1}, 0);
    edge_endpoint_ =
        Endpoint::bind(loop_, {.key = key(1), .bind = any, .protocols = {{.alpn = "x"}}}).value();
    agent_endpoint_ = Endpoint::bind(loop_, {.key = key(2), .bind = any, .limits = {}}).value();
    const endpoint::EndpointAddr address{
        .id = edge_endpoint_->id(), .relay_urls = {}, .ip_addrs = {edge_endpoint_->local_addr()}};
    agent_connection_ = run_task(loop_, agent_endpoint_->connect(address, "x", soon())).value();
    edge_connection_ = run_task(loop_, edge_endpoint_->accept("x")).value();
    edge_channels_.emplace(edge_connection_, [this] { ++edge_dropped_; });
    agent_channels_.emplace(agent_connection_, [this] { ++agent_dropped_; });
  }
  ~UdpChannelTest() override {
    edge_.channel.reset();
    agent_.channel.reset();
    edge_endpoint_->close(0, "test over");
    agent_endpoint_->close(0, "test over");
  }

  void open_at_edge() {
    edge_stream_ = run_task(loop_, edge_connection_->open_bidi()).value();
    edge_.channel =
        std::make_unique<UdpChannel>(*edge_channels_, edge_stream_, UdpChannel::Side::kEdge, edge_);
  }
  void accept_at_agent() {
    const StreamPtr stream = run_task(loop_, agent_connection_->accept_bidi()).value();
    agent_.channel = std::make_unique<UdpChannel>(*agent_channels_, stream, UdpChannel::Side::kAgent, agent_);
    agent_.channel->start({});
  }
  // Until datagrams of a kilobyte fit and the edge knows that the agent has the channel.
  void open() {
    open_at_edge();
    EXPECT_EQ(send(edge_, 1, "opens"), UdpChannel::Sent::kInStream);
    accept_at_agent();
    wait([&] { return send(edge_, 1, "again") == UdpChannel::Sent::kAsDatagram; });
    wait([&] { return agent_.got.size() >= 2; });
    agent_.got.clear();
  }
  static UdpChannel::Sent send(End& end, uint64_t flow, std::string_view payload) {
    return end.channel->send({.flow = flow, .payload = as_bytes(payload)});
  }
  void wait(auto condition) { run_until(loop_, condition); }

  net::EventLoop loop_;
  std::unique_ptr<Endpoint> edge_endpoint_, agent_endpoint_;
  ConnectionPtr edge_connection_, agent_connection_;
  std::optional<UdpChannels> edge_channels_, agent_channels_;
  StreamPtr edge_stream_;
  int edge_dropped_ = 0, agent_dropped_ = 0;
  End edge_, agent_;
};

TEST_F(UdpChannelTest, NothingIsLostThatIsSentBeforeTheAgentHasTheChannel) {
  open_at_edge();
  const UdpClient client{SocketAddr::v4({203, 0, 113, 7}, 1), SocketAddr::v4({198, 51, 100, 1}, 0)};
  for (uint64_t flow = 0; flow < 20; ++flow) {
    EXPECT_EQ(edge_.channel->send({.flow = flow, .client = client, .payload = as_bytes("first")}),
              UdpChannel::Sent::kInStream);
  }
  accept_at_agent();
  wait([&] { return agent_.got.size() == 20; });
  EXPECT_EQ(agent_.got[19].flow, 19u);
  EXPECT_EQ(agent_.got[19].client, client);
  EXPECT_EQ(as_text(agent_.got[19].payload), "first");
  EXPECT_GE(agent_.batches, 1);
}

TEST_F(UdpChannelTest, WhatFitsGoesAsADatagramAndTheRestInTheStreamBothWays) {
  open();
  const std::string small(1000, 's'), large(kMaxUdpPayload, 'l');
  for (End* from : {&edge_, &agent_}) {
    End& to = from == &edge_ ? agent_ : edge_;
    EXPECT_EQ(send(*from, 7, small), UdpChannel::Sent::kAsDatagram);
    EXPECT_EQ(send(*from, 7, ""), UdpChannel::Sent::kAsDatagram);
    EXPECT_EQ(send(*from, 8, large), UdpChannel::Sent::kInStream);
    size_t bytes = 0;
    wait([&] {
      // Others may still come of those that opened the channel.
      std::erase_if(to.got, [](const End::Got& each) { return each.flow == 1; });
      return to.got.size() == 3;
    });
    for (const auto& each : to.got) bytes += each.payload.size();
    EXPECT_EQ(bytes, small.size() + large.size());
  }
}

TEST_F(UdpChannelTest, AStreamThatStandsStillDropsAndDatagramsGoOn) {
  open();
  const std::string large(kMaxUdpPayload, 'l');
  // Nothing runs in between: the peer cannot read.
  int taken = 0;
  while (send(edge_, 1, large) == UdpChannel::Sent::kInStream && taken < 10'000) ++taken;
  EXPECT_LT(taken, 1000);
  EXPECT_EQ(send(edge_, 2, "not behind them"), UdpChannel::Sent::kAsDatagram);
  // What is in the stream comes; a datagram behind such a burst may be lost, and the next is not.
  wait([&] { return agent_.got.size() >= static_cast<size_t>(taken); });
  const size_t before = agent_.got.size();
  EXPECT_EQ(send(edge_, 2, "not behind them"), UdpChannel::Sent::kAsDatagram);
  wait([&] { return agent_.got.size() > before; });
  wait([&] { return send(edge_, 1, large) == UdpChannel::Sent::kInStream; });
}

TEST_F(UdpChannelTest, TheAgentSaysWhatItHasForgotten) {
  open();
  agent_.channel->send_forgotten(4711);
  wait([&] { return edge_.forgotten == std::vector<uint64_t>{4711}; });
}

TEST_F(UdpChannelTest, DatagramsOfNoChannelAreDroppedAndCounted) {
  open();
  EXPECT_TRUE(edge_connection_->send_datagram(Bytes{0x3f, 2, 'x'}));
  EXPECT_TRUE(edge_connection_->send_datagram(Bytes{}));
  wait([&] { return agent_dropped_ == 2; });
  agent_.channel.reset();
  EXPECT_EQ(send(edge_, 1, "late"), UdpChannel::Sent::kAsDatagram);
  wait([&] { return agent_dropped_ == 3; });
}

TEST_F(UdpChannelTest, EitherSideEndsIt) {
  open();
  agent_.channel.reset();
  wait([&] { return edge_.ended; });

  edge_.ended = false;
  open();
  edge_.channel->reset(kStreamUnknownService);
  wait([&] { return agent_.ended; });
  edge_.channel.reset();

  agent_.ended = false;
  open();
  edge_connection_->close(0, "gone");
  wait([&] { return edge_.ended && agent_.ended; });
}

TEST_F(UdpChannelTest, AMalformedFrameEndsItForBoth) {
  open();
  edge_stream_->write(Bytes{2, 0, 0x40});
  wait([&] { return agent_.ended && edge_.ended; });
  EXPECT_TRUE(edge_stream_->was_reset());
  EXPECT_EQ(edge_stream_->reset_code(), kStreamBadHeader);
}

}  // namespace
}  // namespace culvert::tunnel
