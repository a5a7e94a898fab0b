#pragma once
#include <filesystem>

#include "base/result.h"
#include "cli/settings.h"

// Where files are kept by default (XDG Base Directory Specification).
namespace culvert::cli {

constexpr const char* kRootDataDir = "/var/lib/culvert";

// A node's state: /var/lib/culvert for root, otherwise $XDG_STATE_HOME/culvert or ~/.local/state/culvert.
// kInvalid when there is no home directory: the message names the setting to give.
Result<std::filesystem::path> default_data_dir(const Environment& environment, bool is_root);

// What `culvert http` keeps: $XDG_CONFIG_HOME/culvert or ~/.config/culvert.
Result<std::filesystem::path> config_dir(const Environment& environment);

}  // namespace culvert::cli
