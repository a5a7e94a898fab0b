#include "base/shared_library.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace culvert {
namespace {

TEST(SharedLibraryTest, FindsFunctions) {
  auto library = SharedLibrary::load("libc.so.6");
  ASSERT_TRUE(library) << library.error().message;
  decltype(&::getppid) function = nullptr;
  ASSERT_TRUE(library->find("getppid", function));
  EXPECT_EQ(function(), ::getppid());
}

TEST(SharedLibraryTest, SaysWhatIsMissing) {
  auto absent = SharedLibrary::load("libno-such-thing.so.5");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_NE(absent.error().message.find("libno-such-thing.so.5"), std::string::npos)
      << absent.error().message;
  decltype(&::getppid) function = nullptr;
  auto found = SharedLibrary::load("libc.so.6")->find("no_such_function", function);
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message.find("no_such_function"), std::string::npos) << found.error().message;
}

}  // namespace
}  // namespace culvert
