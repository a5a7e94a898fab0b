#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/reload.h"
#include "base/result.h"
#include "cli/settings.h"

namespace culvert::cli {

// What differs between the settings that are in force and others, both resolved, as "edge.hello-timeout: 10s,
// was 5s"; of secrets only that they differ. The file and other sources are not told apart. Settings that may
// change are in force in `running` from then on.
ReloadReport take_changes(Settings& running, const Settings& wanted);

// All that is wrong, as one error.
Error join_problems(const Settings& wanted, const Error& first);

// Into the log, on one line.
void log_reload(const Result<ReloadReport>& outcome);

}  // namespace culvert::cli
