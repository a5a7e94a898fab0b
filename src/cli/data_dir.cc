#include "cli/data_dir.h"

#include "base/limits.h"
#include "cli/paths.h"

namespace culvert::cli {

void DataDir::describe(SettingsBuilder& settings) {
  settings.section("").add(
      {.name = "data-dir",
       .help = "the directory of the node's keys, its database and its internal CA",
       .details = "It is made with mode 0700. Where XDG_STATE_HOME is set, the default is "
                  "`$XDG_STATE_HOME/culvert`.",
       .value_name = "DIR",
       .default_text = fmt::format("{} for root, else ~/.local/state/culvert", kRootDataDir),
       .default_is_words = true,
       .example = kRootDataDir,
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
