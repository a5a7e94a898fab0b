#include "cli/paths.h"

namespace culvert::cli {
namespace {

// XDG variables must hold absolute paths; others are ignored, as the specification says.
Result<std::filesystem::path> base_dir(const Environment& environment, const char* variable,
                                       const char* below_home, const char* remedy) {
  if (auto given = environment(variable)) {
    std::filesystem::path path(*given);
    if (path.is_absolute()) return path / "culvert";
  }
  auto home = environment("HOME");
  if (!home) return fail(ErrorCode::kInvalid, "neither {} nor HOME is set; {}", variable, remedy);
  return std::filesystem::path(*home) / below_home / "culvert";
}

}  // namespace

Result<std::filesystem::path> default_data_dir(const Environment& environment, bool is_root) {
  if (is_root) return kRootDataDir;
  return base_dir(environment, "XDG_STATE_HOME", ".local/state", "give --data-dir");
}

Result<std::filesystem::path> config_dir(const Environment& environment) {
  return base_dir(environment, "XDG_CONFIG_HOME", ".config", "give --token each time");
}

}  // namespace culvert::cli
