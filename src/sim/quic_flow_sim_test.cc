// Flow control and memory caps of QUIC in the simulator: slow readers, stalled readers, streams that nobody
// accepts.
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/two_hosts.h"

namespace culvert::sim {
namespace {

using namespace std::chrono_literals;

TEST(QuicFlow, SlowReaderStallsItsSenderAndNobodyElse) {
  TwoHosts world(7);
  ASSERT_TRUE(world.connect());
  world.server().paused = true;
  Sender& slow = world.client().send(50'000'000);
  world.net.run_for(5s);
  const uint64_t stalled_at = slow.written();
  EXPECT_LT(stalled_at, 2'000'000u);
  // And what the core charges for the packets around the data.
  EXPECT_LE(world.server().receivers[0]->waiting(), quic::Limits{}.initial_stream_window * 21 / 20);

  world.server().paused = false;
  world.client().send(5'000'000);
  ASSERT_TRUE(world.net.run_until(
      [&] { return world.server().receivers.size() == 2 && world.server().receivers[1]->finished(); }, 60s));
  EXPECT_EQ(slow.written(), stalled_at);

  world.server().receivers[0]->resume();
  ASSERT_TRUE(world.net.run_until([&] { return world.server().receivers[0]->finished(); }, 600s));
  EXPECT_TRUE(world.server().receivers[0]->intact());
}

TEST(QuicFlow, ManyStalledReadersDoNotStopTheOthers) {
  TwoHosts world(20);
  ASSERT_TRUE(world.connect());
  world.server().paused = true;
  // More than the connection's window in all, and some of them grown before they stall.
  for (int i = 0; i < 12; ++i) world.client().send(50'000'000);
  world.net.run_for(5s);
  world.server().paused = false;
  world.client().send(3'000'000);
  ASSERT_TRUE(world.net.run_until(
      [&] { return world.server().receivers.size() == 13 && world.server().receivers[12]->finished(); },
      60s));
  EXPECT_TRUE(world.server().receivers[12]->intact());
  world.client().connection().close(0, "");
  world.net.run_for(10s);
}

TEST(QuicFlow, StalledReadersAreGivenUpAtTheCap) {
  quic::Limits limits;
  limits.max_connection_buffered = 600'000;
  TwoHosts world(21, {}, limits);
  ASSERT_TRUE(world.connect());
  world.server().paused = true;
  for (int i = 0; i < 5; ++i) world.client().send(10'000'000);
  world.net.run_for(5s);
  size_t given_up = 0;
  uint64_t held = 0;
  for (auto& receiver : world.server().receivers) {
    given_up += receiver->stream().was_evicted();
    held += receiver->waiting();
    EXPECT_EQ(receiver->stream().reset_code(), receiver->stream().was_reset() ? limits.overload_code : 0);
  }
  EXPECT_GE(given_up, 2u);
  EXPECT_LE(held, limits.max_connection_buffered);
  world.server().paused = false;
  world.client().send(1'000'000);
  EXPECT_TRUE(world.net.run_until([&] { return world.server().receivers.back()->finished(); }, 60s));
}

TEST(QuicFlow, AnEvictedStreamIsFreedWhenItsUserDropsIt) {
  quic::Limits limits;
  limits.max_connection_buffered = 1'000'000;
  TwoHosts world(28, {}, limits);
  world.server_answer = 1000;  // these are sent and acknowledged before the eviction
  ASSERT_TRUE(world.connect());
  world.server().paused = true;
  for (int i = 0; i < 8; ++i) world.client().send(1'000'000);
  world.net.run_for(5s);
  std::vector<std::weak_ptr<quic::Stream>> evicted;
  for (auto& receiver : world.server().receivers) {
    if (receiver->stream().was_evicted()) evicted.push_back(receiver->stream().weak_from_this());
  }
  ASSERT_FALSE(evicted.empty());
  world.server().receivers.clear();
  world.server().senders.clear();
  EXPECT_TRUE(std::ranges::all_of(evicted, [](const auto& stream) { return stream.expired(); }));
}

// A reader that takes what has come every 20 ms: between its turns it holds more than any of those that never
// read.
TEST(QuicFlow, ASteadyReaderOutlivesStalledOnesAtTheCap) {
  quic::Limits limits;
  limits.max_connection_buffered = 8'000'000;
  LinkConfig fat;
  fat.bits_per_second = 1'000'000'000;
  fat.queue_bytes = 4'000'000;
  TwoHosts world(25, fat, limits);
  ASSERT_TRUE(world.connect());
  world.client().send(60'000'000);
  ASSERT_TRUE(world.net.run_until([&] { return !world.server().receivers.empty(); }, 10s));
  Receiver& steady = *world.server().receivers[0];
  world.server().paused = true;
  uint64_t most = 0;
  for (int turn = 0; turn < 2000 && !steady.finished(); ++turn) {
    if (turn >= 20 && turn < 80) world.client().send(1'000'000);
    steady.pause();
    world.net.run_for(20ms);
    most = std::max(most, steady.waiting());
    steady.resume();
    ASSERT_FALSE(steady.stream().was_reset()) << "turn " << turn;
  }
  EXPECT_TRUE(steady.finished() && steady.intact());
  EXPECT_GT(most, limits.initial_stream_window) << "no more than a stalled reader holds: this tests nothing";
  auto given_up = std::ranges::count_if(world.server().receivers,
                                        [](const auto& receiver) { return receiver->stream().was_reset(); });
  EXPECT_GE(given_up, 1);
}

// Whoever takes a byte now and then keeps its grown window full all the same.
TEST(QuicFlow, ADribblingReaderIsNotABusyOne) {
  quic::Limits limits;
  limits.max_connection_buffered = 8'000'000;
  LinkConfig fat;
  fat.bits_per_second = 1'000'000'000;
  fat.queue_bytes = 4'000'000;
  TwoHosts world(27, fat, limits);
  ASSERT_TRUE(world.connect());
  for (int i = 0; i < 2; ++i) world.client().send(200'000'000);
  world.net.run_for(1s);  // until their windows have grown
  auto& receivers = world.server().receivers;
  ASSERT_EQ(receivers.size(), 2u);
  for (auto& dribbler : receivers) dribbler->pause();
  world.net.run_for(50ms);
  // A client that is away for a while.
  world.server().paused = true;
  world.client().send(100'000);
  auto cut = [&] {
    return std::ranges::count_if(receivers, [](auto& r) { return r->stream().was_reset(); });
  };
  for (int turn = 0; turn < 200 && cut() == 0; ++turn) {
    for (size_t i = 0; i < 2; ++i) {
      if (!receivers[i]->stream().readable().empty()) receivers[i]->stream().consume(1);
    }
    if (turn > 20) world.client().send(300'000);
    world.net.run_for(50ms);
  }
  EXPECT_TRUE(receivers[0]->stream().was_reset() || receivers[1]->stream().was_reset());
  ASSERT_GT(receivers.size(), 3u);
  EXPECT_FALSE(receivers[2]->stream().was_reset());
}

TEST(QuicFlow, TheConnectionThatHoldsMostPaysForTheEndpoint) {
  quic::EndpointLimits caps;
  caps.max_receive_memory = 1'500'000;
  TwoHosts world(26, {}, {}, caps);
  ASSERT_TRUE(world.connect());
  Peer& modest = world.client();
  Peer& modest_server = world.server();
  modest_server.paused = true;
  modest.send(200'000);
  ASSERT_TRUE(world.connect());
  world.server().paused = true;
  // The modest one goes on receiving while the other takes all there is.
  for (int i = 0; i < 20; ++i) {
    world.client().send(1'000'000);
    modest.send(10'000);
    world.net.run_for(1s);
  }
  uint64_t held = 0;
  for (auto& server : world.servers) held += server->connection().streams().reading().buffered();
  EXPECT_LE(held, caps.max_receive_memory);
  ASSERT_EQ(modest_server.receivers.size(), 21u);
  for (auto& receiver : modest_server.receivers) {
    EXPECT_FALSE(receiver->stream().was_reset());
    receiver->resume();
    EXPECT_TRUE(receiver->finished() && receiver->intact());
  }
}

TEST(QuicFlow, StalledSendersLeaveRoomForTheNext) {
  quic::Limits limits;
  limits.max_connection_pending = 1'000'000;
  TwoHosts world(22, {}, limits);
  ASSERT_TRUE(world.connect());
  world.server().paused = true;
  for (int i = 0; i < 100; ++i) world.client().send(5'000'000);
  world.net.run_for(5s);
  world.server().paused = false;
  world.client().send(500'000);
  ASSERT_TRUE(world.net.run_until(
      [&] { return world.server().receivers.size() == 101 && world.server().receivers[100]->finished(); },
      120s));
}

TEST(QuicFlow, StreamsThatNobodyAcceptsStayBounded) {
  quic::Limits limits;
  limits.max_streams_uni = 8;
  TwoHosts world(23, {}, limits);
  world.on_accepted = [](Peer& server) { server.accepting = false; };
  ASSERT_TRUE(world.connect());
  size_t opened = 0;
  for (int round = 0; round < 20; ++round) {
    while (auto stream = world.client().connection().open_uni()) {
      stream->finish();
      ++opened;
    }
    world.net.run_for(1s);
  }
  EXPECT_EQ(opened, 8u);
}

// 100 ms and 1 Gbit/s: the first window alone would need more than ten seconds for this.
TEST(QuicFlow, AReadStreamGetsTheLargeWindow) {
  LinkConfig fat;
  fat.delay = 50ms;
  fat.bits_per_second = 1'000'000'000;
  fat.queue_bytes = 16'000'000;
  TwoHosts world(8, fat);
  ASSERT_TRUE(world.connect());
  world.client().send(40'000'000);
  EXPECT_TRUE(world.net.run_until(
      [&] { return !world.server().receivers.empty() && world.server().receivers[0]->finished(); }, 5s));
}

// What arrives behind a lost packet, until that is sent again, takes more memory than the window has bytes.
TEST(QuicFlow, AFullWindowBehindALostPacketIsNotTheEnd) {
  LinkConfig fat;
  fat.delay = 50ms;
  fat.bits_per_second = 1'000'000'000;
  fat.queue_bytes = 16'000'000;
  for (uint64_t nth : {1u, 25u}) {
    TwoHosts world(nth, fat);
    ASSERT_TRUE(world.connect());
    world.client().send(60'000'000);
    world.net.run_for(1500ms);  // until the window has grown
    LinkConfig dead = fat;
    dead.loss = 1;
    uint64_t sent = 0;
    world.net.set_tap([&](const SocketAddr& source, const SocketAddr&, ByteView) {
      if (source != TwoHosts::kClientAddr || sent > nth) return;
      world.set_links(++sent == nth ? dead : fat, fat);
    });
    Receiver& receiver = *world.server().receivers.at(0);
    EXPECT_TRUE(world.net.run_until([&] { return receiver.finished(); }, 20s))
        << nth << ": " << receiver.received() << " bytes were read, " << receiver.waiting() << " wait";
    EXPECT_TRUE(receiver.intact());
    EXPECT_EQ(world.net.dropped(), 1u);
  }
}

}  // namespace
}  // namespace culvert::sim
