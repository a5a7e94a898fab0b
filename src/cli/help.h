#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/command.h"

// What --help prints.
namespace culvert::cli {

std::string command_help(const Command& command);

// Commands whose names begin with the same words.
struct CommandGroup {
  std::string_view name;  // "invite", "operator key"
  std::string_view summary;
};
// nullptr: no group is called so.
const CommandGroup* find_group(std::string_view name);
// The group with the longest name of those that the words begin with, and how many of them are its name.
std::pair<const CommandGroup*, size_t> leading_group(std::span<const std::string> words);
std::string group_help(const CommandGroup& group, const std::vector<std::unique_ptr<Command>>& commands);

std::string program_help(const std::vector<std::unique_ptr<Command>>& commands);

}  // namespace culvert::cli
