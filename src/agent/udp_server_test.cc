// UDP services of an agent, as edges use them.
#include <gmock/gmock.h>

#include "agent/agent_fixture.h"
#include "base/metrics_testing.h"
#include "net/packet_io.h"
#include "tunnel/udp_channel.h"
#include "wire/proxy_protocol.h"

namespace culvert::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using tunnel::UdpChannel;

// Answers each datagram with the same.
struct UdpOrigin {
  UdpOrigin(net::EventLoop& loop, const SocketAddr& address) {
    socket = net::bind_udp(loop, address, {.fragments = true}).value();
    socket->start(
        [this](const net::ReceivedDatagram& datagram) {
          got.emplace_back(as_text(datagram.data));
          clients.push_back(datagram.remote);
          if (is_dumb) return;
          socket->send({.data = datagram.data,
                        .segment_size = std::max<size_t>(datagram.data.size(), 1),
                        .remote = datagram.remote,
                        .local = {}});
        },
        [] {});
  }
  uint16_t port() const { return socket->local_addr().port(); }

  std::vector<std::string> got;
  std::vector<SocketAddr> clients;
  bool is_dumb = false;
  std::unique_ptr<net::PacketIo> socket;
};

class UdpServerTest : public AgentTest, public UdpChannel::Owner {
 public:
  ~UdpServerTest() override {
    channel_.reset();
    channels_.reset();
  }
  void on_datagram(const tunnel::UdpDatagram& datagram) override {
    got_.push_back(fmt::format("{}: {}", datagram.flow, as_text(datagram.payload)));
  }
  void on_forgotten(uint64_t flow) override { forgotten_.push_back(flow); }
  void on_batch_end() override {}
  void on_ended() override {
    ended_ = true;
    channel_.reset();
  }

  static Service dns(std::string host, uint16_t port, bool proxy = false) {
    return {
        hubapi::DeclaredPort{route::PortProtocol::kUdp, "dns", 53}, {HostPort{std::move(host), port}}, proxy};
  }
  void start_with(const Service& service, Options options = {}) {
    verdicts_ = {};
    port_verdicts_ = {{route::PortProtocol::kUdp, "dns", 53, true}};
    std::string hub_url = fmt::format("https://{}:{}", hub_host_, hub_->local_addr().port());
    agent_.emplace(loop_,
                   Config{.token = {{hub_url}, key(9).public_key(), {}, {}, key(7)},
                          .services = {service},
                          .options = options},
                   *this);
    tasks_.spawn(run_agent());
    wait([&] { return links_.size() == 1; });
    channels_.emplace(links_[0].connection, [] {});
    open_channel("dns");
  }
  void open_channel(std::string service, uint16_t port = 53) {
    auto stream = run_task(loop_, links_[0].connection->open_bidi()).value();
    const tunnel::StreamHeader header{addr("0.0.0.0:0"), addr("0.0.0.0:0").with_port(port),
                                      std::move(service), tunnel::StreamKind::kUdpPort, 1};
    const Bytes head = encode(header);
    EXPECT_EQ(stream->write(head), head.size());
    channel_ = std::make_unique<UdpChannel>(*channels_, stream, UdpChannel::Side::kEdge, *this);
  }
  void send(uint64_t flow, std::string_view payload, bool names_client = true) {
    tunnel::UdpDatagram datagram{.flow = flow, .payload = as_bytes(payload)};
    if (names_client) datagram.client = client_;
    channel_->send(datagram);
  }
  double metric(const std::string& name) const {
    Metrics metrics;
    agent_->report(metrics);
    return Exposition(metrics.to_text()).value(name).value();
  }

  const tunnel::UdpClient client_{addr("198.51.100.2:1234"), addr("203.0.113.1:0")};
  std::optional<tunnel::UdpChannels> channels_;
  std::unique_ptr<UdpChannel> channel_;
  std::vector<std::string> got_;
  std::vector<uint64_t> forgotten_;
  bool ended_ = false;
};

TEST_F(UdpServerTest, EachFlowHasASocketOfItsOwnAndGetsItsAnswers) {
  UdpOrigin origin(loop_, addr("127.0.0.1:0"));
  start_with(dns("127.0.0.1", origin.port()));
  send(1, "one");
  send(2, "two");
  wait([&] { return got_.size() == 2; });
  EXPECT_THAT(got_, ElementsAre("1: one", "2: two"));
  EXPECT_NE(origin.clients[0], origin.clients[1]);
  send(1, "and again", false);
  wait([&] { return got_.size() == 3; });
  EXPECT_EQ(got_[2], "1: and again");
  EXPECT_EQ(origin.clients[2], origin.clients[0]);
  const std::string longest(65507, 'x');
  send(2, longest);
  send(2, "");
  wait([&] { return got_.size() == 5; });
  EXPECT_THAT(got_, ::testing::Contains("2: " + longest));
  EXPECT_EQ(agent_->status().services[0].service, "udp:dns");
  agent_->stop();
  wait([&] { return ended_; });
}

TEST_F(UdpServerTest, TheOriginIsToldOfTheClientInTheFirstDatagramOfAFlow) {
  UdpOrigin origin(loop_, addr("127.0.0.1:0"));
  start_with(dns("127.0.0.1", origin.port(), true));
  send(1, "first");
  send(1, "second");
  wait([&] { return origin.got.size() == 2; });
  const auto header = wire::encode_proxy_v2(
      {.source = addr("198.51.100.2:1234"), .destination = addr("203.0.113.1:53"), .tlvs = {}},
      wire::ProxyTransport::kDatagram);
  EXPECT_EQ(origin.got[0], std::string(as_text(*header)) + "first");
  EXPECT_EQ(origin.got[1], "second");
}

TEST_F(UdpServerTest, AFlowThatItDoesNotHaveIsForgotten) {
  UdpOrigin origin(loop_, addr("127.0.0.1:0"));
  start_with(dns("127.0.0.1", origin.port()));
  send(7, "from whom?", false);
  wait([&] { return forgotten_ == std::vector<uint64_t>{7}; });
  send(7, "from him");
  wait([&] { return got_.size() == 1; });
  EXPECT_THAT(origin.got, ElementsAre("from him"));
  // Not one for each datagram of a flood.
  for (int i = 0; i < 1000; ++i) send(8, "from whom?", false);
  send(9, "after them");
  wait([&] { return got_.size() == 2; });
  EXPECT_LT(forgotten_.size(), 300u);
}

TEST_F(UdpServerTest, AnOriginsOtherAddressIsTriedWhenOneRefuses) {
  // localhost is ::1 as well, and nothing listens there.
  UdpOrigin origin(loop_, addr("127.0.0.1:0"));
  start_with(dns("localhost", origin.port()));
  send(1, "one");
  send(1, "two");
  wait([&] { return got_.size() == 2; });
  EXPECT_THAT(origin.got, ElementsAre("one", "two"));
  const double errors = metric("culvert_agent_udp_icmp_errors_total");
  send(2, "the next flow knows");
  wait([&] { return got_.size() == 3; });
  EXPECT_EQ(metric("culvert_agent_udp_icmp_errors_total"), errors);
}

TEST_F(UdpServerTest, AnOriginThatIsDownIsCountedAndWorksOnceItIsUp) {
  auto origin = std::make_unique<UdpOrigin>(loop_, addr("127.0.0.1:0"));
  const uint16_t port = origin->port();
  origin.reset();
  start_with(dns("127.0.0.1", port));
  send(1, "lost");
  wait([&] { return metric("culvert_agent_udp_icmp_errors_total") >= 1; });
  origin = std::make_unique<UdpOrigin>(loop_, addr("127.0.0.1:0").with_port(port));
  send(1, "taken");
  wait([&] { return got_.size() == 1; });
  EXPECT_EQ(got_[0], "1: taken");
}

TEST_F(UdpServerTest, FlowsAreBoundedAndOnesInUseStay) {
  UdpOrigin origin(loop_, addr("127.0.0.1:0"));
  start_with(dns("127.0.0.1", origin.port()), {.max_udp_flows = 10});
  send(1, "one");
  send(1, "two");
  wait([&] { return got_.size() == 2; });
  for (uint64_t flow = 100; flow < 150; ++flow) send(flow, "flood");
  wait([&] { return metric("culvert_agent_udp_flows_total") == 51; });
  EXPECT_EQ(metric("culvert_agent_udp_flows"), 10);
  EXPECT_EQ(metric("culvert_agent_evicted_udp_flows_total"), 41);
  send(1, "still there", false);
  wait([&] { return got_.back() == "1: still there"; });
  EXPECT_THAT(forgotten_, IsEmpty());
}

TEST_F(UdpServerTest, IdleFlowsEndAndSoDoThoseOfAChannel) {
  UdpOrigin origin(loop_, addr("127.0.0.1:0"));
  start_with(dns("127.0.0.1", origin.port()), {.udp_idle_timeout = 200ms});
  send(1, "one");
  wait([&] { return metric("culvert_agent_udp_flows") == 1; });
  wait([&] { return metric("culvert_agent_udp_flows") == 0; });
  send(2, "two");
  wait([&] { return metric("culvert_agent_udp_flows") == 1; });
  channel_.reset();
  wait([&] { return metric("culvert_agent_udp_flows") == 0; });
}

TEST_F(UdpServerTest, AnUnknownServiceIsRefused) {
  UdpOrigin origin(loop_, addr("127.0.0.1:0"));
  start_with(dns("127.0.0.1", origin.port()));
  channel_.reset();
  open_channel("other");
  wait([&] { return ended_; });
}

TEST_F(UdpServerTest, EachPortOfARangeHasAnOriginOfItsOwn) {
  UdpOrigin first(loop_, addr("127.0.0.1:0"));
  const auto next_addr = addr("127.0.0.1:0").with_port(static_cast<uint16_t>(first.port() + 1));
  UdpOrigin second(loop_, next_addr);
  Service service = dns("127.0.0.1", first.port(), true);
  std::get<hubapi::DeclaredPort>(service.face).more_ports = 1;  // 53 and 54
  start_with(service);
  send(1, "to the first");
  wait([&] { return got_.size() == 1; });
  ASSERT_EQ(first.got.size(), 1u);
  open_channel("dns", 54);
  send(1, "to the second");
  wait([&] { return got_.size() == 2; });
  ASSERT_EQ(second.got.size(), 1u);
  const auto header = wire::encode_proxy_v2(
      {.source = addr("198.51.100.2:1234"), .destination = addr("203.0.113.1:54"), .tlvs = {}},
      wire::ProxyTransport::kDatagram);
  EXPECT_EQ(second.got[0], std::string(as_text(*header)) + "to the second");
  // A port that is not in the range: an edge that has another configuration.
  open_channel("dns", 55);
  send(1, "to nobody");
  wait([&] { return metric("culvert_agent_dropped_udp_datagrams_total{reason=\"unknown_service\"}") == 1; });
  EXPECT_EQ(first.got.size() + second.got.size(), 2u);
}

TEST_F(UdpServerTest, AllPortsOfARangeMayHaveOneOrigin) {
  UdpOrigin origin(loop_, addr("127.0.0.1:0"));
  Service service = dns("127.0.0.1", origin.port());
  std::get<hubapi::DeclaredPort>(service.face).more_ports = 1;
  service.has_one_origin_port = true;
  start_with(service);
  send(1, "53");
  wait([&] { return got_.size() == 1; });
  open_channel("dns", 54);
  send(1, "54");
  wait([&] { return got_.size() == 2; });
  EXPECT_THAT(origin.got, ElementsAre("53", "54"));
}

}  // namespace
}  // namespace culvert::agent
