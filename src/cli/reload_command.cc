#include "cli/reload_command.h"

#include "base/json.h"
#include "base/text.h"
#include "cli/output.h"

namespace culvert::cli {

ReloadCommand::ReloadCommand()
    : OperatorCommand(
          {.name = "config reload",
           .summary = "Have a node read its configuration again",
           .examples = "  culvert config reload    # for an agent: kill -HUP, or systemctl reload\n"}) {
  SettingsBuilder builder = settings_.builder();
  describe(builder, output_);
  access_.describe(builder);
}

Result<> ReloadCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = settings_.resolve(arguments, environment);
  if (!resolved) return resolved;
  auto completed = complete(output_, arguments, environment);
  if (!completed) return completed;
  return access_.find(settings_, environment);
}

Result<> ReloadCommand::run() {
  auto answer = access_.call("POST", "/v1/reload", "");
  if (!answer) return std::unexpected(answer.error());
  auto text = format_reload(*answer, output_);
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

Result<std::string> format_reload(std::string_view text, const OutputOptions& options) {
  constexpr std::string_view kSource = "the hub's answer";
  auto body = parse_json_object(kSource, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kSource, *body);
  const auto changed = reader.texts("changed");
  const auto needs_restart = reader.texts("needs_restart");
  if (reader.error()) return std::unexpected(*reader.error());
  std::string out;
  for (const std::string& each : changed) out += fmt::format("changed: {}\n", printable(each));
  for (const std::string& each : needs_restart) out += fmt::format("needs a restart: {}\n", printable(each));
  if (out.empty()) out = "nothing has changed\n";
  out.pop_back();  // format_done ends the last line
  return format_done(out, text, options);
}

}  // namespace culvert::cli
