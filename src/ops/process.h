#pragma once
#include <string_view>

#include "base/clock.h"
#include "base/metrics.h"

namespace culvert::ops {

// The series that every program of Culvert reports of itself.
void report_process(std::string_view version, UnixTime started, Metrics& metrics);

}  // namespace culvert::ops
