#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

// What --help prints.
namespace culvert::cli {

std::string command_help(const Command& command);

// Commands whose names share their first word.
struct CommandGroup {
  std::string_view name;
  std::string_view summary;
};
// nullptr: no group is called so.
const CommandGroup* find_group(std::string_view name);
std::string group_help(const CommandGroup& group, const std::vector<std::unique_ptr<Command>>& commands);

std::string program_help(const std::vector<std::unique_ptr<Command>>& commands);

}  // namespace culvert::cli
