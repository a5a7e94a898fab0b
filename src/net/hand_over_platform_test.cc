#include "net/hand_over_platform.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <string>

#include "net/packet_io.h"
#include "net/tcp.h"
#include "net/testing.h"

// Two "processes" in one: each has a platform and a loop of its own, and they run in turns.
namespace culvert::net {
namespace {

using namespace testing;

struct Process {
  std::unique_ptr<TcpListener> listen(const SocketAddr& address, PortShare share = PortShare::kNone) {
    auto listener = TcpListener::listen(loop, address, {.share = share});
    EXPECT_TRUE(listener) << listener.error().message;
    return std::move(*listener);
  }
  std::unique_ptr<PacketIo> bind(const SocketAddr& address, const UdpOptions& options = {}) {
    auto socket = bind_udp(loop, address, options);
    EXPECT_TRUE(socket) << socket.error().message;
    return std::move(*socket);
  }
  void pause() {
    bool is_paused = false;
    platform.pause([&] { is_paused = true; });
    run_until(loop, [&] { return is_paused; });
  }

  HandOverPlatform platform;
  EventLoop loop{platform};
};

struct Arrivals {
  explicit Arrivals(PacketIo& socket) {
    socket.start([this](const ReceivedDatagram& each) { texts.emplace_back(as_text(each.data)); }, [] {});
  }
  std::vector<std::string> texts;
};

struct Client {
  Client() : socket(bind_udp(loop, addr("127.0.0.1:0"), {}).value()) {}
  void send(const SocketAddr& to, const Bytes& data) {
    socket->send({.data = data, .segment_size = data.size(), .remote = to, .local = {}});
  }
  EventLoop loop;
  std::unique_ptr<PacketIo> socket;
};

// With a short header, for a worker and a generation.
Bytes packet(uint8_t worker, uint8_t generation, std::string_view text) {
  Bytes data{0x40, worker, generation, 0, 0, 0, 0, 0, 0};
  data.insert(data.end(), text.begin(), text.end());
  return data;
}

std::string text_of(uint8_t worker, uint8_t generation, std::string_view text) {
  return std::string(as_text(packet(worker, generation, text)));
}

TEST(HandOverPlatform, AQueuedConnectionIsAcceptedByTheNextProcess) {
  Process before;
  auto old = before.listen(addr("127.0.0.1:0"));
  const SocketAddr address = old->local_addr();
  TaskGroup tasks(before.loop);
  std::optional<Result<std::unique_ptr<ByteStream>>> accepted;
  tasks.spawn(keep_result(old->accept(), accepted));
  before.pause();
  EventLoop loop;
  auto first = run_task(loop, tcp_connect(loop, address, soon())).value();
  drain(before.loop);
  EXPECT_FALSE(accepted) << "it is paused";

  {
    Process after;
    after.platform.give(before.platform.hand_over(0).value());
    auto next = after.listen(address);
    EXPECT_EQ(next->local_addr(), address);
    auto at_next = run_task(after.loop, next->accept());
    ASSERT_TRUE(at_next);
    EXPECT_EQ((*at_next)->remote_addr(), first->local_addr());
    auto second = run_task(loop, tcp_connect(loop, address, soon())).value();
    auto more = run_task(after.loop, next->accept());
    EXPECT_TRUE(more);
    EXPECT_EQ(after.platform.drop_unclaimed(), 0u);
    auto third = run_task(loop, tcp_connect(loop, address, soon())).value();
    before.platform.resume();  // as if the next process had died
    run_until(before.loop, [&] { return accepted.has_value(); });
    ASSERT_TRUE(*accepted);
    EXPECT_EQ((**accepted)->remote_addr(), third->local_addr());
  }
  old->close();
  EXPECT_FALSE(run_task(loop, tcp_connect(loop, address, soon()))) << "nobody has the socket any more";
}

TEST(HandOverPlatform, AListenerThatIsClosedWhileItIsPausedSaysSo) {
  Process before;
  auto old = before.listen(addr("127.0.0.1:0"));
  before.pause();
  TaskGroup tasks(before.loop);
  std::optional<Result<std::unique_ptr<ByteStream>>> accepted;
  tasks.spawn(keep_result(old->accept(), accepted));
  drain(before.loop);
  old->close();
  run_until(before.loop, [&] { return accepted.has_value(); });
  EXPECT_EQ(accepted->error().code, ErrorCode::kClosed);
  EXPECT_TRUE(before.platform.hand_over(0)->empty());
}

TEST(HandOverPlatform, WhatNobodyTakesIsClosed) {
  Process before, after;
  auto old = before.listen(addr("127.0.0.1:0"));
  const SocketAddr address = old->local_addr();
  after.platform.give(before.platform.hand_over(0).value());
  old->close();
  EXPECT_FALSE(TcpListener::listen(before.loop, address, {})) << "it is still open there";
  EXPECT_EQ(after.platform.drop_unclaimed(), 1u);
  EXPECT_TRUE(TcpListener::listen(before.loop, address, {}));
}

// For any number of workers: no datagram is at the wrong process, whichever of them lives.
TEST(HandOverPlatform, DatagramsFindTheirGenerationsOverSeveralHandOvers) {
  for (const unsigned workers : {1u, 2u, 3u}) {
    Client client;
    std::vector<std::unique_ptr<Process>> processes;
    std::vector<std::vector<std::unique_ptr<PacketIo>>> sockets;
    std::vector<std::vector<std::unique_ptr<Arrivals>>> arrivals;
    SocketAddr address = addr("127.0.0.1:0");
    const auto run_all = [&](auto condition) {
      const TimePoint give_up = soon();
      while (!condition() && monotonic_now() < give_up) {
        for (const auto& each : processes) each->loop.run_once(each->loop.now() + 1ms);
      }
      EXPECT_TRUE(condition());
    };
    for (uint8_t generation = 0; generation < 3; ++generation) {
      auto process = std::make_unique<Process>();
      if (generation > 0) {
        processes.back()->pause();
        process->platform.give(
            processes.back()->platform.hand_over(static_cast<uint8_t>(generation - 1)).value());
        drain(processes.back()->loop);
      }
      sockets.emplace_back();
      arrivals.emplace_back();
      for (unsigned worker = 0; worker < workers; ++worker) {
        UdpOptions options{.has_connections = true};
        if (workers > 1) options.share = worker == 0 ? PortShare::kFirst : PortShare::kSibling;
        if (workers > 1 && worker == workers - 1) options.steer_by_connection_id = workers;
        sockets.back().push_back(process->bind(address, options));
        address = sockets.back().back()->local_addr();
        arrivals.back().push_back(std::make_unique<Arrivals>(*sockets.back().back()));
      }
      processes.push_back(std::move(process));
      for (uint8_t to = 0; to <= generation; ++to) {
        for (uint8_t worker = 0; worker < workers; ++worker) {
          client.send(address, packet(worker, to, "first"));
          client.send(address, packet(worker, to, "second"));
        }
      }
      for (uint8_t to = 0; to <= generation; ++to) {
        for (uint8_t worker = 0; worker < workers; ++worker) {
          std::vector<std::string>& texts = arrivals[to][worker]->texts;
          run_all([&] { return texts.size() >= 2; });
          EXPECT_EQ(texts, (std::vector{text_of(worker, to, "first"), text_of(worker, to, "second")}))
              << int{to} << " of " << int{generation} << ", worker " << int{worker};
          texts.clear();
        }
      }
    }
    // A process that has ended is not waited for: the youngest answers in its place. It learns of the end
    // from the node, or from what it sends.
    sockets.erase(sockets.begin());
    processes.erase(processes.begin());
    client.send(address, packet(0, 0, "late"));
    drain(processes.back()->loop);
    client.send(address, packet(0, 0, "later"));
    run_all([&] { return !arrivals[2][0]->texts.empty(); });
    EXPECT_EQ(arrivals[2][0]->texts.back(), text_of(0, 0, "later"));
    processes.back()->platform.forget(1);
    drain(processes.back()->loop);
    client.send(address, packet(0, 1, "too late"));
    run_all([&] { return arrivals[2][0]->texts.back() == text_of(0, 1, "too late"); });
    sockets.clear();
    processes.clear();
  }
}

TEST(HandOverPlatform, AProcessThatTakesItsSocketsBackReadsThemAgain) {
  Client client;
  Process before;
  auto old = before.bind(addr("127.0.0.1:0"), {.has_connections = true});
  Arrivals at_old(*old);
  before.pause();
  client.send(old->local_addr(), packet(0, 0, "queued"));
  {
    Process after;
    after.platform.give(before.platform.hand_over(0).value());
    auto next = after.bind(old->local_addr(), {.has_connections = true});
    drain(before.loop);
    EXPECT_TRUE(at_old.texts.empty());
  }
  before.platform.resume();
  run_until(before.loop, [&] { return at_old.texts.size() == 1; });
  client.send(old->local_addr(), packet(0, 0, "more"));
  run_until(before.loop, [&] { return at_old.texts.size() == 2; });
}

}  // namespace
}  // namespace culvert::net
