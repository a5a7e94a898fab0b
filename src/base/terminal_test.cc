#include "base/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "base/descriptor.h"

namespace culvert {
namespace {

TEST(Terminal, HasItsWidthAndAFileHasNone) {
  Descriptor file(open("/dev/null", O_RDWR));
  EXPECT_EQ(terminal_width(file.get()), std::nullopt);
  Descriptor control(posix_openpt(O_RDWR | O_NOCTTY));
  ASSERT_GE(control.get(), 0);
  ASSERT_EQ(grantpt(control.get()), 0);
  ASSERT_EQ(unlockpt(control.get()), 0);
  Descriptor terminal(open(ptsname(control.get()), O_RDWR | O_NOCTTY));
  ASSERT_GE(terminal.get(), 0);
  winsize size{.ws_row = 24, .ws_col = 132, .ws_xpixel = 0, .ws_ypixel = 0};
  ASSERT_EQ(ioctl(terminal.get(), TIOCSWINSZ, &size), 0);
  EXPECT_EQ(terminal_width(terminal.get()), 132u);
  size.ws_col = 0;
  ASSERT_EQ(ioctl(terminal.get(), TIOCSWINSZ, &size), 0);
  EXPECT_EQ(terminal_width(terminal.get()), 80u);
}

}  // namespace
}  // namespace culvert
