#include "ops/process.h"

namespace culvert::ops {

void report_process(std::string_view version, UnixTime started, Metrics& metrics) {
  metrics.gauge("culvert_build_info", "1, with the version of the program.", 1, {{"version", version}});
  metrics.gauge("culvert_start_time_seconds", "When the process started, in seconds since 1970.",
                static_cast<double>(started.time_since_epoch().count()));
}

}  // namespace culvert::ops
