#include "quic/datagram_queue.h"

#include <gtest/gtest.h>

namespace culvert::quic {
namespace {

Bytes datagram(size_t size, uint8_t fill) { return Bytes(size, fill); }

TEST(DatagramQueue, DropsTheOldestAtItsNumber) {
  DatagramQueue queue(2, 1000);
  EXPECT_EQ(queue.push(datagram(1, 1)), 0u);
  EXPECT_EQ(queue.push(datagram(1, 2)), 0u);
  EXPECT_EQ(queue.push(datagram(1, 3)), 1u);
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_EQ(queue.pop(), datagram(1, 2));
  EXPECT_EQ(queue.pop(), datagram(1, 3));
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(DatagramQueue, DropsAsManyAsTheBytesNeed) {
  DatagramQueue queue(100, 1000);
  for (uint8_t i = 0; i < 10; ++i) EXPECT_EQ(queue.push(datagram(100, i)), 0u);
  EXPECT_EQ(queue.push(datagram(250, 10)), 3u);
  EXPECT_EQ(queue.bytes(), 950u);
  EXPECT_EQ(queue.pop(), datagram(100, 3));
  EXPECT_EQ(queue.bytes(), 850u);
}

TEST(DatagramQueue, WhatNeverFitsIsDroppedAloneAndEmptyDatagramsCount) {
  DatagramQueue queue(3, 1000);
  EXPECT_EQ(queue.push(datagram(1000, 1)), 0u);
  EXPECT_EQ(queue.push(datagram(1001, 2)), 1u);
  EXPECT_EQ(queue.pop(), datagram(1000, 1)) << "it made no room for what never fits";
  for (int i = 0; i < 5; ++i) (void)queue.push({});
  EXPECT_EQ(queue.size(), 3u);
  DatagramQueue none(0, 1000);
  EXPECT_EQ(none.push(datagram(1, 1)), 1u);
  EXPECT_EQ(none.size(), 0u);
}

}  // namespace
}  // namespace culvert::quic
