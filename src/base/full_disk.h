#pragma once
#include <signal.h>
#include <sys/resource.h>

// Tests only: while one exists, no file of the process grows and writes fail (EFBIG), as on a full disk.
namespace culvert {

class FullDisk {
 public:
  FullDisk() {
    old_handler_ = ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit none{.rlim_cur = 0, .rlim_max = old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int) = SIG_DFL;
};

}  // namespace culvert
