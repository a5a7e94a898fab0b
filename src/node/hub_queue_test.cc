#include "node/hub_queue.h"

#include <gtest/gtest.h>

#include "edge/testing.h"

namespace culvert::node {
namespace {

using namespace std::chrono_literals;
using edge::testing::client_hello;
using net::testing::drain;
using net::testing::run_task;
using net::testing::run_until;
using net::testing::soon;

class HubQueueTest : public ::testing::Test {
 public:
  void open(HubQueue::Limits limits) {
    queue_ = std::make_unique<HubQueue>(control_, limits, [this](edge::PublicConnection connection) {
      admitted_.push_back(connection.host);
    });
  }
  // The client's end of a connection that is pushed.
  net::ByteStream& push(std::string name, TimePoint now, bool expect_taken = true) {
    net::testing::TcpPair pair(loop_);
    clients_.push_back(std::move(pair.client));
    edge::PublicConnection connection{.socket = std::move(pair.server)};
    connection.host = std::move(name);
    connection.detach();
    EXPECT_EQ(queue_->push(std::move(connection), now), expect_taken);
    return *clients_.back();
  }
  bool is_open(net::ByteStream& client) {
    Bytes byte(1);
    return client.try_read(byte).status == net::IoStatus::kWantRead;
  }

  net::EventLoop loop_;     // of the clients
  net::EventLoop control_;  // stalls unless a test runs it
  std::unique_ptr<HubQueue> queue_;
  std::vector<std::string> admitted_;
  std::vector<std::unique_ptr<net::ByteStream>> clients_;
};

TEST_F(HubQueueTest, AdmitsInOrderOnTheLoop) {
  open({.connections = 10});
  for (const char* name : {"a", "b", "c"}) push(name, monotonic_now());
  EXPECT_TRUE(admitted_.empty());
  drain(control_);
  EXPECT_EQ(admitted_, (std::vector<std::string>{"a", "b", "c"}));
  push("d", monotonic_now());
  drain(control_);
  EXPECT_EQ(admitted_.back(), "d") << "it is woken again";
}

TEST_F(HubQueueTest, ClosesAtOnceWhatIsOverTheCap) {
  open({.connections = 2});
  net::ByteStream& first = push("a", monotonic_now());
  push("b", monotonic_now());
  ::testing::internal::CaptureStderr();
  net::ByteStream& refused = push("c", monotonic_now(), false);
  push("d", monotonic_now(), false);
  std::string log = ::testing::internal::GetCapturedStderr();
  size_t at = log.find("event=hub_queue_full");
  EXPECT_NE(at, std::string::npos) << log;
  EXPECT_EQ(log.find("event=hub_queue_full", at + 1), std::string::npos) << "not rate-limited: " << log;
  EXPECT_FALSE(is_open(refused));
  EXPECT_TRUE(is_open(first));
  EXPECT_EQ(queue_->counters().refused_full, 2u);
  drain(control_);
  EXPECT_EQ(admitted_.size(), 2u);
  push("e", monotonic_now());
}

TEST_F(HubQueueTest, ClosesWhatWaitedTooLong) {
  open({.connections = 2, .patience = 5s});
  const TimePoint start = monotonic_now() - 60s;
  net::ByteStream& first = push("a", start);
  net::ByteStream& second = push("b", start + 3s);
  push("c", start + 5s, false);
  net::ByteStream& in_time = push("d", start + 6s);
  EXPECT_FALSE(is_open(first)) << "it makes room for others";
  EXPECT_TRUE(is_open(second));
  EXPECT_EQ(queue_->counters().expired, 1u);
  drain(control_);
  EXPECT_TRUE(admitted_.empty()) << "nobody waits for an answer any more";
  EXPECT_FALSE(is_open(second));
  EXPECT_FALSE(is_open(in_time));
  EXPECT_EQ(queue_->counters().expired, 3u);
}

TEST_F(HubQueueTest, TakesNothingWhenItIsClosed) {
  open({.connections = 2});
  net::ByteStream& waits = push("a", monotonic_now());
  queue_->close();
  EXPECT_FALSE(is_open(waits));
  EXPECT_FALSE(is_open(push("b", monotonic_now(), false)));
  drain(control_);
  EXPECT_TRUE(admitted_.empty());
}

// A flood for the hub while the control thread does something else.
TEST_F(HubQueueTest, AStalledControlThreadDoesNotDisturbTheEdge) {
  constexpr size_t kCap = 5, kFlood = 20;
  open({.connections = kCap, .patience = 60s});
  auto certificates = std::make_shared<tls::Certificates>(
      tls::InternalCa::load(tls::InternalCa::create("test root", unix_now())).value(), unix_now);
  auto edge =
      edge::Edge::bind(
          {.key = edge::testing::key(9),
           .options = {.tcp_listen = SocketAddr::v4({127, 0, 0, 1}, 0), .workers = 2, .max_connections = 100},
           .hub_names = {},
           .public_addr = {},
           .version = "test"},
          certificates)
          .value();
  edge->set_names({"hub.test"}, "hub.test:443");
  edge->start({.serve_hub =
                   [this](edge::PublicConnection connection) {
                     return queue_->push(std::move(connection), monotonic_now());
                   },
               .agent_left = [](EndpointId) {},
               .stopped = [] {}});
  auto say_hello = [&](std::string_view name) -> net::ByteStream& {
    clients_.push_back(run_task(loop_, net::tcp_connect(loop_, edge->tcp_addr(), soon())).value());
    EXPECT_TRUE(run_task(loop_, net::write_all(*clients_.back(), client_hello(name), soon())));
    return *clients_.back();
  };
  const edge::Counters& counters = edge->counters();
  for (size_t i = 0; i < kFlood; ++i) {
    say_hello("hub.test");
    run_until(loop_, [&] { return counters.connections_to_hub + counters.refused_hub_full == i + 1; });
  }
  EXPECT_EQ(counters.connections_to_hub, kCap);
  EXPECT_EQ(counters.refused_hub_full, kFlood - kCap);
  EXPECT_EQ(std::ranges::count_if(clients_, [&](const auto& client) { return is_open(*client); }),
            ptrdiff_t{kCap});
  for (int i = 0; i < 20; ++i) {
    Bytes alert(100);
    net::ByteStream& client = say_hello("elsewhere.test");
    auto got = run_task(loop_, net::read_some(client, alert, soon()));
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_EQ(*got, tls::alert_record(tls::Alert::kUnrecognizedName).size());
    client.close();
  }
  // What waits for the hub takes no place of the public's.
  run_until(loop_, [&] { return counters.connections_active == 0u; });
  drain(control_);
  EXPECT_EQ(admitted_.size(), kCap);
}

}  // namespace
}  // namespace culvert::node
