#include "tunnel/datagram_sender.h"

#include <gtest/gtest.h>

#include <vector>

namespace culvert::tunnel {
namespace {

// Takes note of what it is given.
class Recorder final : public net::PacketIo {
 public:
  SocketAddr local_addr() const override { return {}; }
  void start(std::function<void(const net::ReceivedDatagram&)>, std::function<void()>) override {}
  SendStatus send(const net::DatagramBatch& batch) override {
    sizes.push_back({batch.data.size(), batch.segment_size});
    return status;
  }
  void when_writable(std::function<void()>) override {}
  Result<> rebind() override { return {}; }
  void close() override {}

  using Sizes = std::vector<std::pair<size_t, size_t>>;
  Sizes sizes;  // total and segment
  SendStatus status = SendStatus::kSent;
};

const SocketAddr kOne = SocketAddr::v4({192, 0, 2, 1}, 1), kOther = SocketAddr::v4({192, 0, 2, 2}, 1);

class DatagramSenderTest : public testing::Test {
 public:
  void send(size_t size, const SocketAddr& remote = kOne, const SocketAddr& local = {}) {
    sender_.send(socket_, Bytes(size), remote, local);
  }
  Recorder::Sizes sent() {
    sender_.flush();
    return std::exchange(socket_.sizes, {});
  }

  Recorder socket_;
  DatagramSender sender_;
};

TEST_F(DatagramSenderTest, OnesOfOneSizeToOneAddressLeaveTogether) {
  for (int i = 0; i < 3; ++i) send(1200);
  EXPECT_EQ(sent(), (Recorder::Sizes{{3600, 1200}}));
  // A shorter one may be the last.
  for (const size_t size : {1000u, 1000u, 10u, 10u}) send(size);
  EXPECT_EQ(sent(), (Recorder::Sizes{{2010, 1000}, {10, 10}}));
  for (const size_t size : {10u, 1000u}) send(size);
  EXPECT_EQ(sent(), (Recorder::Sizes{{10, 10}, {1000, 1000}}));
  EXPECT_EQ(sent(), Recorder::Sizes());
}

TEST_F(DatagramSenderTest, OthersLeaveAlone) {
  send(100);
  send(100, kOther);
  send(100, kOther, kOne);
  send(0);
  send(0);
  EXPECT_EQ(sent(), (Recorder::Sizes{{100, 100}, {100, 100}, {100, 100}, {0, 1}, {0, 1}}));
  // Larger than what devices cut.
  send(1473);
  send(1473);
  EXPECT_EQ(sent(), (Recorder::Sizes{{1473, 1473}, {1473, 1473}}));
  Recorder other;
  send(100);
  sender_.send(other, Bytes(100), kOne, {});
  EXPECT_EQ(sent(), (Recorder::Sizes{{100, 100}}));
  EXPECT_EQ(other.sizes, (Recorder::Sizes{{100, 100}}));
}

TEST_F(DatagramSenderTest, ABatchIsNoLargerThanTheSystemTakes) {
  for (int i = 0; i < 70; ++i) send(100);
  EXPECT_EQ(sent(), (Recorder::Sizes{{6400, 100}, {600, 100}}));
  for (int i = 0; i < 50; ++i) send(1472);
  const auto sizes = sent();
  ASSERT_EQ(sizes.size(), 2u);
  EXPECT_LE(sizes[0].first, 65000u);
}

TEST_F(DatagramSenderTest, WhatTheSocketDoesNotTakeIsCounted) {
  socket_.status = net::PacketIo::SendStatus::kBlocked;
  for (int i = 0; i < 3; ++i) send(100);
  (void)sent();
  EXPECT_EQ(sender_.take_dropped(), 3u);
  EXPECT_EQ(sender_.take_dropped(), 0u);
}

}  // namespace
}  // namespace culvert::tunnel
