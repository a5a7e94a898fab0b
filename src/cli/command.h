#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/settings.h"

namespace culvert::cli {

// One command of the program: declares its settings when made, takes their values, then does its work.
class Command {
 public:
  explicit Command(CLI::App& app) : app_(app) {}
  virtual ~Command() = default;
  Command(const Command&) = delete;

  CLI::App& app() { return app_; }
  // Takes values from the parsed command line, the environment and the file. An error is bad usage: exit
  // status 2.
  virtual Result<> resolve(const Environment& environment) = 0;
  // An error is a failure at run time: exit status 1.
  virtual Result<> run() = 0;
  // After run(), when its output did not reach standard output: what the user has to know besides. May be
  // empty.
  virtual std::string when_output_is_lost() const { return {}; }

 private:
  CLI::App& app_;
};

// Each adds its command below `parent`.
std::unique_ptr<Command> make_node_command(CLI::App& parent);
std::unique_ptr<Command> make_agent_command(CLI::App& parent);
std::unique_ptr<Command> make_http_command(CLI::App& parent);
std::vector<std::unique_ptr<Command>> make_invite_commands(CLI::App& parent);
std::unique_ptr<Command> make_ca_export_command(CLI::App& parent);
std::unique_ptr<Command> make_token_inspect_command(CLI::App& parent);
std::unique_ptr<Command> make_version_command(CLI::App& parent);
std::string version_text();

}  // namespace culvert::cli
