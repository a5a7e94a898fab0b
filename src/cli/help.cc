#include "cli/help.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

namespace culvert::cli {
namespace {

constexpr CommandGroup kGroups[] = {
    {"invite", "Create, list and revoke the invites that agents connect with"},
    {"ca", "The internal certificate authority: print its root, trust it, issue certificates over ACME"},
    {"token", "Look at an invite token"},
    {"tenant", "Show, suspend and remove the hub's tenants, or leave as one"},
    {"entry", "Give hostnames to one's own tenant"},
    {"claim", "List the ports that tenants have claimed"},
    {"refused", "List what agents declare and are refused"},
    {"operator", "Keys of those who administer the hub"},
    {"operator key", "Create, list and revoke operator keys"},
    {"edge-invite", "Create, list and revoke the tokens of edges on other hosts"},
    {"route", "List and show the routes that edges serve"},
    {"audit", "List who changed what on the hub"},
    {"config", "Check, show and reload settings, and print their reference"},
};

// A list of names, each with its line of text, in columns.
void append_list(std::string& out, const std::vector<std::pair<std::string, std::string>>& rows) {
  size_t width = 0;
  for (const auto& [name, text] : rows) width = std::max(width, name.size());
  for (const auto& [name, text] : rows)
    fmt::format_to(std::back_inserter(out), "  {:<{}}  {}\n", name, width, text);
}

// Below the name: names with their values are too long for columns.
void append_item(std::string& out, std::string_view name, std::string_view text) {
  fmt::format_to(std::back_inserter(out), "  {}\n      {}\n", name, text);
}

bool is_in(const CommandGroup& group, const Command& command) {
  return command.info().name.starts_with(fmt::format("{} ", group.name));
}

}  // namespace

std::string command_help(const Command& command) {
  const CommandInfo& info = command.info();
  std::string words = info.positional ? info.positional->name : "";
  if (info.positional) words = info.positional->is_optional ? " [" + words + "]" : " " + words;
  std::string out = fmt::format("{}\n\nUsage: culvert {} [FLAG]...{}\n\n", info.summary, info.name, words);
  if (info.positional) append_item(out, info.positional->name, info.positional->help);
  for (const Setting& setting : command.declared()) {
    std::string text = setting.help;
    if (!setting.default_text.empty()) text += fmt::format(" (default {})", setting.default_text);
    text += fmt::format(" [{}]", variable_name(setting));
    const std::string letter = setting.letter == 0 ? "" : fmt::format("-{}, ", setting.letter);
    append_item(out, fmt::format("{}--{} {}", letter, setting.flag, setting.value_name), text);
  }
  if (command.settings() != nullptr)
    append_item(out, "--config FILE", "a TOML file with these settings [CULVERT_CONFIG]");
  for (const Switch& each : info.switches) append_item(out, "--" + each.flag, each.help);
  append_item(out, "--help", "print this help");
  return out + "\nExamples:\n" + info.examples;
}

const CommandGroup* find_group(std::string_view name) {
  const auto* found = std::ranges::find(kGroups, name, &CommandGroup::name);
  return found == std::end(kGroups) ? nullptr : found;
}

std::pair<const CommandGroup*, size_t> leading_group(std::span<const std::string> words) {
  constexpr size_t kLongestName = 2;
  for (size_t size = std::min(kLongestName, words.size()); size > 0; --size) {
    const auto* group = find_group(fmt::format("{}", fmt::join(words.first(size), " ")));
    if (group != nullptr) return {group, size};
  }
  return {nullptr, 0};
}

std::string group_help(const CommandGroup& group, const std::vector<std::unique_ptr<Command>>& commands) {
  std::string out =
      fmt::format("{}\n\nUsage: culvert {} COMMAND [FLAG]...\n\nCommands:\n", group.summary, group.name);
  std::vector<std::pair<std::string, std::string>> rows;
  std::string examples;
  for (const auto& command : commands) {
    if (!is_in(group, *command)) continue;
    rows.emplace_back(command->info().name.substr(group.name.size() + 1), command->info().summary);
    examples += command->info().examples.substr(0, command->info().examples.find('\n') + 1);
  }
  append_list(out, rows);
  return out + "\nExamples:\n" + examples;
}

std::string program_help(const std::vector<std::unique_ptr<Command>>& commands) {
  std::string out =
      "Gives local services public HTTPS URLs, through QUIC tunnels to a node of your own.\n\n"
      "Usage: culvert COMMAND [FLAG]...\n\nCommands:\n";
  std::vector<std::pair<std::string, std::string>> rows;
  for (const auto& command : commands) {
    if (!command->info().is_hidden) rows.emplace_back(command->info().name, command->info().summary);
  }
  append_list(out, rows);
  out +=
      "\nFlags:\n"
      "  --help     print this help\n"
      "  --version  print the version, like `culvert version`\n"
      "\nExit statuses:\n";
  for (const ExitStatusInfo& each : exit_statuses())
    fmt::format_to(std::back_inserter(out), "  {}  {}\n", static_cast<int>(each.status), each.meaning);
  return out +
         "\nExamples:\n"
         "  culvert node --public-url https://hub.example.com         # on the public host\n"
         "  culvert invite create --name laptop --hostnames '*.example.com' > token\n"
         "  culvert http 3000 --token-file token                      # where the service runs\n"
         "\n"
         "Every setting has an environment variable, shown in [brackets]. `culvert COMMAND --help` says "
         "more.\n";
}

}  // namespace culvert::cli
