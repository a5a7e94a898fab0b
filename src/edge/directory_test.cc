#include "edge/directory.h"

#include <gtest/gtest.h>

namespace culvert::edge {
namespace {

EndpointId id(uint8_t fill) { return SecretKey::from_seed(Bytes(32, fill)).value().public_key(); }

TEST(Directory, FindsWhatWasAddedLast) {
  Directory directory;
  EXPECT_FALSE(directory.find(id(1)));
  auto first = directory.add(id(1), 3);
  EXPECT_FALSE(first.replaced);
  EXPECT_EQ(directory.find(id(1)), 3u);
  auto second = directory.add(id(1), 5);
  ASSERT_TRUE(second.replaced);
  EXPECT_EQ(second.replaced->worker, 3u);
  EXPECT_EQ(second.replaced->generation, first.generation);
  EXPECT_EQ(directory.find(id(1)), 5u);
  EXPECT_FALSE(directory.find(id(2)));
}

TEST(Directory, TheOldDoesNotRemoveTheNew) {
  Directory directory;
  auto first = directory.add(id(1), 0);
  auto second = directory.add(id(1), 0);
  EXPECT_FALSE(directory.remove(id(1), first.generation));
  EXPECT_TRUE(directory.find(id(1)));
  EXPECT_TRUE(directory.remove(id(1), second.generation));
  EXPECT_FALSE(directory.find(id(1)));
  EXPECT_FALSE(directory.remove(id(1), second.generation));
}

}  // namespace
}  // namespace culvert::edge
