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

// What a proxy brings is no source's until it says whose it is, and then that client's.
TEST(Unserved, AProxysConnectionsCountForTheClientsThatItNames) {
  Unserved unserved({.total = 4, .per_source = 2});
  std::vector<Unserved::Place> places;
  for (int i = 0; i < 4; ++i) {
    auto admitted = unserved.admit_from_proxy(3);
    ASSERT_TRUE(admitted.place);
    EXPECT_FALSE(admitted.dropped);
    places.push_back(std::move(*admitted.place));
  }
  EXPECT_FALSE(unserved.admit(from("9.9.9.9:1"), 0).place) << "the cap of all holds for them too";
  EXPECT_FALSE(places[0].move_to_source(from("1.0.0.1:1")));
  EXPECT_FALSE(places[1].move_to_source(from("1.0.0.1:2")));
  EXPECT_FALSE(places[2].move_to_source(from("1.0.0.2:1")));
  const auto dropped = places[3].move_to_source(from("1.0.0.1:3"));
  ASSERT_TRUE(dropped);
  EXPECT_EQ(dropped->id, places[0].id());
  EXPECT_EQ(dropped->worker, 3u);
  auto next = unserved.admit(from("9.9.9.9:1"), 0);
  EXPECT_TRUE(next.place) << "the evicted one's place is free";
  EXPECT_FALSE(places[0].move_to_source(from("1.0.0.5:3"))) << "it has none any more";
  places.clear();
  next.place.reset();
  for (int i = 0; i < 4; ++i) {
    auto again = unserved.admit(from(i < 2 ? "1.0.0.1:1" : "1.0.0.2:1"), 0);
    ASSERT_TRUE(again.place && !again.dropped) << "all were given back";
    places.push_back(std::move(*again.place));
  }
}

}  // namespace
}  // namespace culvert::edge
