#include <csignal>

#include "cli/program.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a peer that leaves is an error of that one write
  return culvert::cli::run_program({argv + 1, argv + argc}, culvert::cli::process_environment(),
                                   culvert::cli::culvert_variables());
}
