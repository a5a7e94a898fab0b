#include "edge/directory.h"

#include <gtest/gtest.h>

namespace culvert::edge {
namespace {

using namespace std::chrono_literals;

EndpointId id(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value().public_key(); }
const TimePoint kStart{1h};

TEST(Directory, FindsWhatWasAddedLast) {
  Directory directory;
  EXPECT_FALSE(directory.newest({id(1)}));
  auto first = directory.add(id(1), 3, kStart);
  EXPECT_FALSE(first.replaced);
  EXPECT_EQ(directory.newest({id(1)})->worker, 3u);
  auto second = directory.add(id(1), 5, kStart + 1s);
  ASSERT_TRUE(second.replaced);
  EXPECT_EQ(second.replaced->worker, 3u);
  EXPECT_EQ(second.replaced->generation, first.generation);
  EXPECT_EQ(directory.newest({id(1)})->worker, 5u);
  EXPECT_EQ(directory.newest({id(1)})->since, kStart + 1s);
  EXPECT_FALSE(directory.newest({id(2)}));
}

TEST(Directory, TheYoungestOfSeveralAgentsIsTold) {
  Directory directory;
  directory.add(id(1), 0, kStart);
  auto second = directory.add(id(2), 1, kStart);
  directory.add(id(3), 2, kStart);
  EXPECT_EQ(directory.newest({id(1), id(2)})->generation, second.generation);
  EXPECT_EQ(directory.newest({id(2), id(1), id(9)})->worker, 1u);
  EXPECT_TRUE(directory.remove(id(2), second.generation));
  EXPECT_EQ(directory.newest({id(1), id(2)})->worker, 0u);
}

TEST(Directory, TheOldDoesNotRemoveTheNew) {
  Directory directory;
  auto first = directory.add(id(1), 0, kStart);
  auto second = directory.add(id(1), 0, kStart);
  EXPECT_FALSE(directory.remove(id(1), first.generation));
  EXPECT_TRUE(directory.newest({id(1)}));
  EXPECT_TRUE(directory.remove(id(1), second.generation));
  EXPECT_FALSE(directory.newest({id(1)}));
  EXPECT_FALSE(directory.remove(id(1), second.generation));
}

}  // namespace
}  // namespace culvert::edge
