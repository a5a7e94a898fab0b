#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace culvert {

void check_failed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "culvert: bug at %s:%d: CHECK(%s) failed\n", file, line, what);
  std::abort();
}

}  // namespace culvert
