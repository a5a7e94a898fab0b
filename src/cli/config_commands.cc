#include "cli/config_commands.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>

#include "cli/output.h"
#include "cli/reference.h"
#include "cli/reload_command.h"

namespace culvert::cli {
namespace {

namespace json = boost::json;
using Commands = std::vector<std::unique_ptr<Command>>;

// Those that run on, whose files are written by hand.
const std::vector<std::string>& checked_commands() {
  static const std::vector<std::string> names = {"node", "hub", "edge", "agent", "http"};
  return names;
}

// Without those whose files fit `node` as well.
constexpr const char* kGuessedCommands[] = {"node", "agent", "http"};

CommandInfo check_info() {
  return {.name = "config check",
          .summary = "Check the settings of a file and of the environment",
          .examples =
              "  culvert config check --config /etc/culvert/node.toml\n"
              "  culvert config check agent --config /etc/culvert/agent.toml\n"
              "  CULVERT_WORKERS=4 culvert config check node\n",
          .positional = Positional{
              .name = "COMMAND",
              .help = "node, hub, edge, agent or http; without it, the one of node, agent and http "
                      "that the file fits best",
              .choices = checked_commands(),
              .is_optional = true}};
}

CommandInfo show_info() {
  return {
      .name = "config show",
      .summary = "Show the settings that a command would use, and where each comes from",
      .examples =
          "  culvert config show node --config /etc/culvert/node.toml\n"
          "  culvert config show agent --max-streams 100 -o yaml\n"
          "  culvert config show invite list\n",
      .positional = Positional{
          .name = "COMMAND", .help = "the command; its own flags may follow", .choices = checked_commands()}};
}

CommandInfo reference_info() {
  return {.name = "config reference",
          .summary = "Print the settings of all commands as Markdown, with their defaults and meaning",
          .examples = "  culvert config reference | less\n  culvert config reference node\n",
          .positional = Positional{.name = "COMMAND",
                                   .help = "the only command that is wanted",
                                   .choices = checked_commands(),
                                   .is_optional = true}};
}

Result<std::unique_ptr<Command>> find_target(const std::string& name) {
  Commands commands = make_commands();
  auto found =
      std::ranges::find_if(commands, [&name](const auto& each) { return each->info().name == name; });
  if (found == commands.end())
    return fail(ErrorCode::kInvalid, "COMMAND: {}", describe_stray(name, "culvert", true));
  if ((*found)->declared().empty()) return fail(ErrorCode::kInvalid, "COMMAND: {} has no settings", name);
  return std::move(*found);
}

// As the target itself would: everything that is wrong with the settings, or else with what they mean
// together.
std::vector<Error> find_problems(Command& target, Arguments arguments, const Environment& environment) {
  // `http` wants to know what to serve, which is no setting.
  arguments.positional = target.info().positional ? target.info().positional->example : "";
  auto resolved = target.resolve(arguments, environment);
  if (resolved) return {};
  const std::vector<Error>& problems = target.settings()->problems();
  return problems.empty() ? std::vector<Error>{resolved.error()} : problems;
}

struct Verdict {
  std::string name;
  std::vector<Error> problems;
};

Result<Verdict> judge(const std::string& name, const Arguments& arguments, const Environment& environment) {
  if (std::ranges::find(checked_commands(), name) == checked_commands().end())
    return fail(ErrorCode::kInvalid,
                "COMMAND: is not one that is checked (expected node, hub, edge, agent or http)");
  auto target = find_target(name);
  if (!target) return std::unexpected(target.error());
  return Verdict{name, find_problems(**target, arguments, environment)};
}

// The command that finds the least wrong.
Result<Verdict> judge_best(const Arguments& arguments, const Environment& environment) {
  std::optional<Verdict> best;
  for (const char* name : kGuessedCommands) {
    auto verdict = judge(name, arguments, environment);
    if (!verdict) return verdict;
    if (!best || verdict->problems.size() < best->problems.size()) best = std::move(*verdict);
  }
  return std::move(*best);
}

// For people only where nothing is wrong.
Result<std::string> format_verdict(const Verdict& verdict, const OutputOptions& options) {
  json::array problems;
  for (const Error& problem : verdict.problems) problems.push_back(json::string(problem.message));
  const json::object document{{"command", verdict.name},
                              {"status", verdict.problems.empty() ? "ok" : "invalid"},
                              {"problems", std::move(problems)}};
  return format_done(fmt::format("ok: `culvert {}` takes these settings", verdict.name),
                     json::serialize(document), options);
}

json::object row_of(const Setting& setting, const Settings::Given* given) {
  json::object row;
  row["setting"] = dotted_name(setting);
  row["value"] = given != nullptr               ? json::value(given->value)
                 : setting.default_text.empty() ? json::value(nullptr)
                                                : json::value(setting.default_text);
  row["source"] = given != nullptr ? given->place : "default";
  return row;
}

// The command's own settings: the file is the target's.
Result<> resolve_own(Settings& settings, OutputOptions& output, const Arguments& arguments,
                     const Environment& environment) {
  Arguments own = arguments;
  own.values.erase("config");
  auto resolved = settings.resolve(own, [&environment](const std::string& name) {
    return name == "CULVERT_CONFIG" ? std::nullopt : environment(name);
  });
  if (!resolved) return resolved;
  return complete(output, arguments, environment);
}

}  // namespace

Result<Arguments> ConfigCommand::parse(std::span<const std::string> words) const {
  const Commands commands = make_commands();
  const auto [target, size] = leading_command(commands, words);
  if (target == nullptr) return parse_arguments(info(), own_flags(), words);
  return parse_for(*target, words.subspan(size));
}

std::vector<ValueFlag> ConfigCommand::own_flags() const {
  std::vector<ValueFlag> flags = flags_of(declared());
  if (settings() != nullptr) flags.push_back({"config"});
  return flags;
}

Result<Arguments> ConfigCommand::parse_for(const Command& target, std::span<const std::string> words) const {
  std::vector<ValueFlag> flags = own_flags();
  if (settings() != nullptr) std::ranges::copy(flags_of(target.declared()), std::back_inserter(flags));
  CommandInfo without_word = info();
  without_word.positional.reset();
  auto arguments = parse_arguments(without_word, flags, words);
  if (arguments) arguments->positional = target.info().name;
  return arguments;
}

ConfigCheckCommand::ConfigCheckCommand() : ConfigCommand(check_info()), settings_(info().name) {
  SettingsBuilder builder = settings_.builder();
  describe(builder, output_);
}

Result<> ConfigCheckCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = resolve_own(settings_, output_, arguments, environment);
  if (!resolved) return resolved;
  const bool has_file = arguments.values.contains("config") || environment("CULVERT_CONFIG");
  if (arguments.positional.empty() && !has_file)
    return fail(ErrorCode::kInvalid,
                "--config: is missing; give a file, or node, hub, edge, agent or http to check the "
                "environment alone");
  auto verdict = arguments.positional.empty() ? judge_best(arguments, environment)
                                              : judge(arguments.positional, arguments, environment);
  if (!verdict) return std::unexpected(verdict.error());
  auto shown = format_verdict(*verdict, output_);
  if (!shown) return std::unexpected(shown.error());
  verdict_ = std::move(*shown);
  if (verdict->problems.empty()) return {};
  if (output_.format != OutputFormat::kTable) print("{}", verdict_);
  Error last = std::move(verdict->problems.back());
  verdict->problems.pop_back();
  for (const Error& problem : verdict->problems) print_message("{}", problem.message);
  return std::unexpected(std::move(last));
}

Result<> ConfigCheckCommand::run() {
  print("{}", verdict_);
  return {};
}

ConfigShowCommand::ConfigShowCommand() : ConfigCommand(show_info()), settings_(info().name) {
  SettingsBuilder builder = settings_.builder();
  describe(builder, output_);
}

Result<> ConfigShowCommand::resolve(const Arguments& arguments, const Environment& environment) {
  auto resolved = resolve_own(settings_, output_, arguments, environment);
  if (!resolved) return resolved;
  auto target = find_target(arguments.positional);
  if (!target) return std::unexpected(target.error());
  // What is wrong besides the settings, as a token that is missing, is not asked for here.
  (void)(*target)->resolve(arguments, environment);
  const Settings& shown = *(*target)->settings();
  if (!shown.problems().empty()) return std::unexpected(shown.problems().front());
  json::array rows;
  for (const Setting& setting : shown.declared()) rows.push_back(row_of(setting, shown.given(setting.flag)));
  json_ = json::serialize(json::object{{"settings", std::move(rows)}});
  return {};
}

Result<> ConfigShowCommand::run() {
  const ListingInfo listing{.member = "settings",
                            .columns = {{"SETTING", "setting"}, {"VALUE", "value"}, {"SOURCE", "source"}}};
  auto text = fetch_listing(listing, "", output_, [this](const std::string&) { return json_; });
  if (!text) return std::unexpected(text.error());
  print("{}", *text);
  return {};
}

ConfigReferenceCommand::ConfigReferenceCommand() : ConfigCommand(reference_info()) {}

Result<> ConfigReferenceCommand::resolve(const Arguments& arguments, const Environment&) {
  only_ = arguments.positional;
  if (only_.empty()) return {};
  auto target = find_target(only_);
  if (!target) return std::unexpected(target.error());
  return {};
}

Result<> ConfigReferenceCommand::run() {
  print("{}", settings_reference(make_commands(), only_));
  return {};
}

std::vector<std::unique_ptr<Command>> make_config_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<ConfigCheckCommand>());
  commands.push_back(std::make_unique<ConfigShowCommand>());
  commands.push_back(std::make_unique<ConfigReferenceCommand>());
  commands.push_back(std::make_unique<ReloadCommand>());
  return commands;
}

}  // namespace culvert::cli
