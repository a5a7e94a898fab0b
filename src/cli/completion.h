#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"

// Scripts with which a shell completes the words of a command line. They follow from the declarations of the
// commands; hidden ones are left out.
namespace culvert::cli {

std::string bash_completion(const std::vector<std::unique_ptr<Command>>& commands);
std::string zsh_completion(const std::vector<std::unique_ptr<Command>>& commands);
std::string fish_completion(const std::vector<std::unique_ptr<Command>>& commands);

}  // namespace culvert::cli
