#include "cli/command.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace culvert::cli {

const std::vector<Setting>& Command::declared() const {
  static const std::vector<Setting> none;
  return settings() == nullptr ? none : settings()->declared();
}

Result<Arguments> Command::parse(std::span<const std::string> words) const {
  std::vector<ValueFlag> flags = flags_of(declared());
  if (settings() != nullptr) flags.push_back({"config"});
  return parse_arguments(info_, flags, words);
}

std::vector<std::unique_ptr<Command>> make_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(make_http_command());
  commands.push_back(make_agent_command());
  for (auto& command : make_node_commands()) commands.push_back(std::move(command));
  for (auto& command : make_invite_commands()) commands.push_back(std::move(command));
  for (auto& command : make_status_commands()) commands.push_back(std::move(command));
  for (auto& command : make_hub_commands()) commands.push_back(std::move(command));
  for (auto& command : make_hub_archive_commands()) commands.push_back(std::move(command));
  for (auto& command : make_tenant_commands()) commands.push_back(std::move(command));
  for (auto& command : make_key_backup_commands()) commands.push_back(std::move(command));
  commands.push_back(make_ca_export_command());
  commands.push_back(make_ca_serve_command());
  commands.push_back(make_ca_trust_command());
  commands.push_back(make_token_inspect_command());
  for (auto& command : make_config_commands()) commands.push_back(std::move(command));
  commands.push_back(make_completion_command());
  commands.push_back(make_version_command());
  return commands;
}

Command* find_command(const std::vector<std::unique_ptr<Command>>& commands, std::string_view name) {
  auto found =
      std::ranges::find_if(commands, [name](const auto& command) { return command->info().name == name; });
  return found == commands.end() ? nullptr : found->get();
}

std::pair<Command*, size_t> leading_command(const std::vector<std::unique_ptr<Command>>& commands,
                                            std::span<const std::string> words) {
  constexpr size_t kLongestName = 3;
  for (size_t size = std::min(kLongestName, words.size()); size > 0; --size) {
    const std::string name = fmt::format("{}", fmt::join(words.first(size), " "));
    if (Command* command = find_command(commands, name)) return {command, size};
  }
  return {nullptr, 0};
}

}  // namespace culvert::cli
