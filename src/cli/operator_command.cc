#include "cli/operator_command.h"

#include "cli/output.h"

namespace culvert::cli {

ListCommand::ListCommand(ListCommandInfo info)
    : OperatorCommand(std::move(info.command)),
      path_(std::move(info.path)),
      listing_(std::move(info.listing)) {
  SettingsBuilder builder = settings_.builder();
  describe(builder, output_);
  access_.describe(builder);
}

Result<> ListCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  return access_.find(settings_, environment);
}

Result<> ListCommand::run() {
  auto text = fetch_listing(listing_, path_, output_,
                            [this](std::string path) { return access_.call("GET", std::move(path), ""); });
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

}  // namespace culvert::cli
