#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "cli/config_file.h"
#include "cli/node_command.h"

using namespace culvert;

// A configuration file: what it holds is taken apart, and given to the settings of a node.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = as_text(ByteView(data, size));
  const auto file = cli::parse_config(text, "node.toml");
  if (!file) {
    CHECK(file.error().code == ErrorCode::kInvalid);
    CHECK(file.error().message.starts_with("node.toml"));
    CHECK(is_printable(file.error().message));
    return 0;
  }
  const cli::NodeCommand command;
  for (const cli::ConfigEntry& entry : file->entries) {
    CHECK(entry.line > 0 && is_printable(file->place(entry)));
    const auto setting = std::ranges::find_if(command.declared(), [&](const Setting& each) {
      return each.section == entry.section && each.name == entry.key;
    });
    if (setting == command.declared().end() || entry.values.empty()) continue;
    const auto applied = cli::Settings::apply_entry(*setting, *file, entry);
    if (applied) continue;
    CHECK(applied.error().message.starts_with("node.toml:"));
    CHECK(is_printable(applied.error().message));
  }
  return 0;
}
