#include "edge/unserved.h"

#include <gtest/gtest.h>

namespace culvert::edge {
namespace {

SocketAddr from(const char* text) { return SocketAddr::parse(text).value(); }

TEST(Unserved, IsFullForAllAndHasRoomAgain) {
  Unserved unserved({.total = 2, .per_source = 2});
  auto first = unserved.admit(from("1.0.0.1:1"), 0);
  {
    auto second = unserved.admit(from("1.0.0.2:1"), 1);
    EXPECT_TRUE(first.place && second.place);
    EXPECT_FALSE(unserved.admit(from("1.0.0.3:1"), 2).place);
    auto moved = std::move(*second.place);
    EXPECT_FALSE(unserved.admit(from("1.0.0.3:1"), 2).place);
  }
  EXPECT_TRUE(unserved.admit(from("1.0.0.3:1"), 2).place);
}

TEST(Unserved, AFullSourceLosesItsOldestAlsoWhenAllIsFull) {
  Unserved unserved({.total = 3, .per_source = 2});
  auto other = unserved.admit(from("[2001:db8::1]:9"), 7);
  auto first = unserved.admit(from("[2001:db8:0:1::1]:1"), 0);
  first.place->move_to(5);
  auto second = unserved.admit(from("[2001:db8:0:1:ffff::2]:2"), 1);
  auto third = unserved.admit(from("[2001:db8:0:1::3]:3"), 2);
  ASSERT_TRUE(third.place && third.dropped);
  EXPECT_EQ(third.dropped->id, first.place->id());
  EXPECT_EQ(third.dropped->worker, 5u);
  first.place.reset();  // gives back nothing: its place is the third's
  EXPECT_FALSE(unserved.admit(from("9.9.9.9:1"), 0).place);
  second.place.reset();
  auto fourth = unserved.admit(from("[2001:db8:0:1::4]:4"), 2);
  EXPECT_TRUE(fourth.place);
  EXPECT_FALSE(fourth.dropped);
}

}  // namespace
}  // namespace culvert::edge
