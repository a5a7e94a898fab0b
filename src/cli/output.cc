#include "cli/output.h"

#include <algorithm>

#include "base/log.h"

namespace culvert::cli {

Output& standard_output() {
  constexpr int kDescriptor = 1;
  static Output& instance = *new Output(kDescriptor, [](uint64_t lines) {
    return fmt::format("culvert: {} lines are missing here: they could not be written\n", lines);
  });
  return instance;
}

void write_line(Output& output, std::string_view text) { output.write(printable(text) + "\n"); }

void drain_output() {
  const TimePoint end = monotonic_now() + kOutputPatience;
  for (Output* output : {&standard_error(), &standard_output()})
    output->drain(std::max(Duration::zero(), end - monotonic_now()));
}

}  // namespace culvert::cli
