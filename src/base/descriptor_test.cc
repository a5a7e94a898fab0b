#include "base/descriptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace culvert {
namespace {

int open_null() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(Descriptor, ClosesWhatItOwns) {
  const int fd = open_null();
  ASSERT_GE(fd, 0);
  {
    Descriptor owner(fd);
  }
  EXPECT_FALSE(is_open(fd));
}

TEST(Descriptor, AReleasedOneStaysOpen) {
  Descriptor owner(open_null());
  const int fd = owner.release();
  EXPECT_FALSE(owner);
  EXPECT_EQ(owner.get(), -1);
  EXPECT_TRUE(is_open(fd));
  ::close(fd);
}

TEST(Descriptor, AMoveClosesTheTargetAndEmptiesTheSource) {
  Descriptor first(open_null());
  Descriptor second(open_null());
  const int kept = first.get();
  const int closed = second.get();
  second = std::move(first);
  EXPECT_FALSE(first);
  EXPECT_EQ(second.get(), kept);
  EXPECT_TRUE(is_open(kept));
  EXPECT_FALSE(is_open(closed));
  const Descriptor third(std::move(second));
  EXPECT_FALSE(second);
  EXPECT_EQ(third.get(), kept);
}

}  // namespace
}  // namespace culvert
