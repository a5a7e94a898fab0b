#include <malloc.h>

#include <csignal>

#include "base/log.h"
#include "cli/output.h"
#include "cli/program.h"

namespace {

// Buffers of 64 KiB come and go with every batch: without this, glibc gives the top of the heap back to the
// kernel and takes it again, a page fault for every 4 KiB of a bulk transfer. What is kept is bounded by the
// first value.
constexpr int kKeepFree = 4 * 1024 * 1024;
constexpr int kMapAbove = 1024 * 1024;

}  // namespace

int main(int argc, char** argv) {
  // First: everything below may open a file.
  if (!culvert::open_standard_descriptors()) return 1;
  mallopt(M_TRIM_THRESHOLD, kKeepFree);
  mallopt(M_MMAP_THRESHOLD, kMapAbove);
  std::signal(SIGPIPE, SIG_IGN);  // a peer that leaves is an error of that one write
  culvert::standard_error().start_thread();
  const int status = culvert::cli::run_program({argv + 1, argv + argc}, culvert::cli::process_environment(),
                                               culvert::cli::culvert_variables());
  culvert::cli::drain_output();
  return status;
}
