#include "base/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

namespace culvert {

std::optional<size_t> terminal_width(int descriptor) {
  constexpr size_t kUsual = 80;
  if (isatty(descriptor) == 0) return std::nullopt;
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsual;
  return size.ws_col;
}

}  // namespace culvert
