#include "cli/data_dir.h"

#include "base/limits.h"
#include "cli/paths.h"
#include "cli/values.h"

namespace culvert::cli {

void DataDir::add_to(Settings& settings) {
  settings.add({.key = "data-dir",
                .value_name = "DIR",
                .help = "the node's keys, database and internal CA",
                .default_text = running_as_root() ? kRootDataDir : "~/.local/state/culvert",
                .apply = [this](std::string_view text) -> Result<> {
                  if (text.empty()) return fail(ErrorCode::kInvalid, "is empty; give a directory");
                  given_ = text;
                  return {};
                }});
}

Result<std::filesystem::path> DataDir::path(const Environment& environment) const {
  if (!given_.empty()) return std::filesystem::path(given_);
  return default_data_dir(environment, running_as_root());
}

std::string DataDir::advice() const {
  std::error_code ignored;
  if (!given_.empty() || running_as_root() || !std::filesystem::exists(kRootDataDir, ignored)) return {};
  return fmt::format("; {0} exists: for the node there run this with sudo, or give --data-dir {0}",
                     kRootDataDir);
}

}  // namespace culvert::cli
