// The memory of an endpoint with many connections: what it sends stays below a cap whatever its peers do, and
// peers that the application has not admitted pay first.
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/hostile_fixture.h"
#include "sim/two_hosts.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kSendMemory = 2 * 1024 * 1024;

// Clients that ask a server for much more than it may keep, and an honest client on another host.
struct Greedy {
  explicit Greedy(uint64_t seed)
      : net(seed),
        server_host(net, TwoHosts::kServerAddr,
                    TwoHosts::server_config({}, {.max_send_memory = kSendMemory})),
        greedy_host(
            net, TwoHosts::kClientAddr,
            {.key = test_key(1), .limits = {.initial_stream_window = 0, .max_stream_window = 256 * 1024}}),
        honest_host(net, SocketAddr::v4({10, 0, 0, 3}, 50000), {.key = test_key(3)}) {
    server_host.set_on_accepted([this](std::shared_ptr<quic::Connection> accepted) {
      servers.push_back(std::make_unique<Peer>(std::move(accepted)));
      servers.back()->answer = answer;
    });
  }

  std::unique_ptr<Peer> dial(Host& host) {
    auto peer = std::make_unique<Peer>(
        host.connect(TwoHosts::kServerAddr, test_key(2).public_key(), TwoHosts::kAlpn));
    EXPECT_TRUE(net.run_until([&] { return peer->connected(); }, 30s));
    return peer;
  }
  // `reads`: they read what arrives.
  void add_greedy(size_t connections, size_t streams, bool reads) {
    for (size_t i = 0; i < connections; ++i) {
      greedy.push_back(dial(greedy_host));
      for (size_t stream = 0; stream < streams; ++stream) {
        greedy.back()->send(1);
        if (!reads) greedy.back()->receivers.back()->pause();
      }
      check();
    }
  }
  quic::Engine& engine() { return server_host.engine(); }

  // What the server's streams took and no client has.
  uint64_t unacknowledged() const {
    uint64_t sum = 0;
    for (const auto& server : servers) {
      for (const auto& sender : server->senders) {
        if (sender->stream().is_open() && !sender->stream().was_stopped()) sum += sender->written();
      }
    }
    for (const auto* peers : {&greedy, &honest}) {
      for (const auto& peer : *peers) {
        for (const auto& receiver : peer->receivers) {
          if (!receiver->stream().was_reset())
            sum -= std::min(sum, receiver->received() + receiver->waiting());
        }
      }
    }
    return sum;
  }
  void check() {
    EXPECT_LE(engine().memory().sending.used(), kSendMemory);
    EXPECT_LE(unacknowledged(), kSendMemory);
  }
  void run_for(Duration time) {
    for (; time > 0s; time -= 100ms) {
      net.run_for(100ms);
      check();
    }
  }
  // An honest client connects, and gets the whole answer in time.
  bool serves(uint64_t bytes, Duration time) {
    answer = bytes;
    honest.push_back(dial(honest_host));
    honest.back()->send(1);
    Receiver& receiver = *honest.back()->receivers.back();
    for (; time > 0s && !receiver.finished(); time -= 100ms) run_for(100ms);
    return receiver.finished() && receiver.intact() && receiver.received() == bytes;
  }

  Network net;
  Host server_host;
  Host greedy_host;
  Host honest_host;
  uint64_t answer = 1'000'000;
  std::vector<std::unique_ptr<Peer>> servers;
  std::vector<std::unique_ptr<Peer>> greedy;
  std::vector<std::unique_ptr<Peer>> honest;
};

TEST(QuicMemory, PeersThatDoNotReadNeverCostMoreThanTheCap) {
  Greedy world(1);
  world.add_greedy(24, 4, false);
  world.run_for(3s);
  EXPECT_GT(world.engine().memory().sending.used(), kSendMemory / 4) << "little was kept: this tests nothing";
  EXPECT_TRUE(world.serves(1'000'000, 60s));
  EXPECT_TRUE(world.serves(100'000, 20s));
  world.engine().close_all(0, "", world.net.now());
  world.net.run_for(60s);
  world.servers.clear();
  EXPECT_EQ(world.engine().memory().sending.used(), 0u);
}

// And those that acknowledge nothing, until they are found to be gone.
TEST(QuicMemory, PeersThatVanishNeverCostMoreThanTheCap) {
  Greedy world(2);
  LinkConfig slow;
  slow.bits_per_second = 10'000'000;
  world.net.set_link(world.server_host, world.greedy_host, slow);
  world.add_greedy(16, 8, true);
  LinkConfig dead;
  dead.loss = 1;
  world.net.set_link(world.greedy_host, world.server_host, dead);
  world.run_for(2s);
  EXPECT_GT(world.engine().memory().sending.used(), kSendMemory / 2) << "little was kept: this tests nothing";
  EXPECT_TRUE(world.serves(500'000, 20s));
  const quic::EngineCounters counters = world.engine().counters();
  EXPECT_GT(counters.evicted_senders + counters.evicted_connections, 0u);
}

// The core keeps their data until the reset is acknowledged, and does not count it.
TEST(QuicMemory, StreamsThatWereResetCountUntilThePeerKnows) {
  constexpr size_t kWritten = 64 * 1024;
  constexpr size_t kStreams = 200;
  Greedy world(4);
  world.greedy.push_back(world.dial(world.greedy_host));
  ASSERT_TRUE(world.net.run_until([&] { return !world.servers.empty(); }, 10s));
  quic::Connection& connection = world.servers.front()->connection();
  LinkConfig dead;
  dead.loss = 1;
  world.net.set_link(world.greedy_host, world.server_host, dead);
  const size_t before = heap();
  for (size_t i = 0; i < kStreams; ++i) {
    auto stream = connection.open_bidi();
    ASSERT_NE(stream, nullptr) << i;
    (void)stream->write(Bytes(kWritten, 1));
    stream->reset(1);
    world.net.run_for(1ms);
    world.check();
  }
  EXPECT_LT(heap(), before + kStreams * kWritten / 4);

  world.net.set_link(world.greedy_host, world.server_host, {});
  world.net.run_for(20s);
  ASSERT_FALSE(world.servers.front()->closed.has_value());
  auto stream = connection.open_bidi();
  ASSERT_NE(stream, nullptr);
  Sender sender(stream, 1'000'000);
  EXPECT_TRUE(world.net.run_until([&] { return stream->all_acknowledged(); }, 60s));
}

// Windows that were used once and are not any more come back when others need them.
TEST(QuicMemory, IdleConnectionsGiveTheirWindowsBack) {
  Greedy world(3);
  world.answer = 200'000;
  std::vector<std::shared_ptr<quic::Stream>> open;
  for (int i = 0; i < 40; ++i) {
    world.greedy.push_back(world.dial(world.greedy_host));
    Peer& peer = *world.greedy.back();
    peer.send(1);
    ASSERT_TRUE(world.net.run_until([&] { return peer.receivers.back()->finished(); }, 30s)) << i;
    // One stream stays open, as an idle tunnel's does.
    open.push_back(world.servers.back()->connection().open_uni());
    ASSERT_NE(open.back(), nullptr);
    open.back()->write(Bytes(10, 1));
    world.run_for(100ms);
  }
  EXPECT_TRUE(world.serves(2'000'000, 60s));
  const quic::EngineCounters counters = world.engine().counters();
  EXPECT_EQ(counters.evicted_senders + counters.evicted_connections, 0u);
}

// ---- Peers that are not admitted

constexpr uint64_t kUnadmitted = 64 * 1024;

quic::Limits careful() {
  quic::Limits limits;
  limits.unadmitted_window = kUnadmitted;
  return limits;
}

TEST(QuicMemory, APeerThatIsNotAdmittedSendsLittle) {
  TwoHosts world(4, {}, careful());
  world.on_accepted = [](Peer& server) { server.paused = true; };
  ASSERT_TRUE(world.connect());
  std::vector<Sender*> senders;
  for (int i = 0; i < 4; ++i) senders.push_back(&world.client().send(1'000'000));
  world.net.run_for(5s);
  EXPECT_FALSE(world.server().connection().is_admitted());
  EXPECT_LE(world.server().connection().streams().reading().buffered(), 2 * kUnadmitted);

  world.server().connection().admit();
  world.net.run_for(5s);
  EXPECT_GT(world.server().connection().streams().reading().buffered(), 10 * kUnadmitted);
  ASSERT_EQ(world.server().receivers.size(), 4u);
  for (auto& receiver : world.server().receivers) receiver->resume();
  EXPECT_TRUE(world.net.run_until(
      [&] { return std::ranges::all_of(world.server().receivers, [](auto& r) { return r->finished(); }); },
      60s));
}

TEST(QuicMemory, DatagramsOfAPeerThatIsNotAdmittedAreDropped) {
  TwoHosts world(7, {}, careful());
  ASSERT_TRUE(world.connect());
  EXPECT_TRUE(world.client().connection().datagrams().send(as_bytes("early")));
  world.net.run_for(1s);
  EXPECT_TRUE(world.server().datagrams.empty());
  EXPECT_EQ(world.server_host.engine().counters().unread_datagrams_dropped, 1u);
  world.server().connection().admit();
  EXPECT_TRUE(world.client().connection().datagrams().send(as_bytes("now")));
  world.net.run_for(1s);
  EXPECT_EQ(world.server().datagrams, std::vector<Bytes>{to_bytes(as_bytes("now"))});
}

// Small messages go on for as long as the application takes them.
TEST(QuicMemory, APeerThatIsNotAdmittedMayTalk) {
  TwoHosts world(5, {}, careful());
  world.server_answer = 5'000;
  ASSERT_TRUE(world.connect());
  for (int i = 0; i < 40; ++i) {
    world.client().send(10'000);
    ASSERT_TRUE(world.net.run_until([&] { return world.client().receivers.back()->finished(); }, 10s)) << i;
  }
}

TEST(QuicMemory, PeersThatAreNotAdmittedPayFirst) {
  quic::EndpointLimits caps;
  caps.max_receive_memory = 1'000'000;
  TwoHosts world(6, {}, careful(), caps);
  world.on_accepted = [](Peer& server) { server.paused = true; };
  ASSERT_TRUE(world.connect());
  Peer& admitted = world.server();
  admitted.connection().admit();
  world.client().send(300'000);  // more than any of the others may
  world.net.run_for(2s);
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(world.connect());
    world.client().send(1'000'000);
    world.net.run_for(200ms);
    EXPECT_LE(world.server_host.engine().memory().received, caps.max_receive_memory);
  }
  EXPECT_GT(world.server_host.engine().counters().evicted_endpoint_full, 0u);
  ASSERT_EQ(admitted.receivers.size(), 1u);
  admitted.receivers[0]->resume();
  EXPECT_TRUE(world.net.run_until([&] { return admitted.receivers[0]->finished(); }, 30s));
  EXPECT_TRUE(admitted.receivers[0]->intact());
}

}  // namespace
}  // namespace culvert::sim
