#pragma once
#include <string>
#include <vector>

#include "cli/settings.h"

namespace culvert::cli {

// The whole program: reads the command line (without the program's name), runs the command, prints an error
// as "culvert: <what>: <reason>. <next step>" to standard error. Returns the exit status (cli/exit_status.h).
// Warns of those `variables`, names of environment variables, that no command has.
int run_program(std::vector<std::string> arguments, const Environment& environment,
                const std::vector<std::string>& variables = {});

}  // namespace culvert::cli
