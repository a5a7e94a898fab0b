#include "quic/reader_order.h"

#include <gtest/gtest.h>

namespace culvert::quic {
namespace {

TEST(ReaderOrder, TheReaderThatCaughtUpLongestAgoIsFirst) {
  ReaderOrder order;
  ReaderTurn first;
  ReaderTurn second;
  order.catch_up(first, 100);
  order.catch_up(second, 100);
  EXPECT_TRUE(first.is_before(second));
  order.read(first, 100, 50);
  EXPECT_TRUE(second.is_before(first));
  EXPECT_EQ(first.backlog, 50u);
}

TEST(ReaderOrder, ReadingByteByByteIsNotCatchingUp) {
  ReaderOrder order;
  ReaderTurn dribbler;
  ReaderTurn idle;
  order.catch_up(dribbler, 10);
  order.catch_up(idle, 1000);
  for (int i = 0; i < 9; ++i) {
    order.read(dribbler, 1, 1000);
    EXPECT_TRUE(dribbler.is_before(idle)) << i;
  }
  order.read(dribbler, 1, 1000);
  EXPECT_TRUE(idle.is_before(dribbler));
  EXPECT_EQ(dribbler.backlog, 1000u) << "what has come meanwhile";
}

TEST(ReaderOrder, ReadingMoreThanTheBacklogIsCatchingUpOnce) {
  ReaderOrder order;
  ReaderTurn reader;
  order.catch_up(reader, 10);
  order.read(reader, 500, 7);
  EXPECT_EQ(reader.caught_up, 2u);
  EXPECT_EQ(reader.backlog, 7u);
}

}  // namespace
}  // namespace culvert::quic
