#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "cli/command_line.h"
#include "cli/exit_status.h"
#include "cli/settings.h"

namespace culvert::cli {

// One command of the program: declares its settings when made, takes their values, then does its work.
class Command {
 public:
  explicit Command(CommandInfo info) : info_(std::move(info)) {}
  virtual ~Command() = default;
  Command(const Command&) = delete;

  const CommandInfo& info() const { return info_; }
  // nullptr: the command has none.
  virtual const Settings* settings() const { return nullptr; }
  // The settings' declarations; none without settings.
  const std::vector<Setting>& declared() const;

  // The words behind the command's name.
  virtual Result<Arguments> parse(std::span<const std::string> words) const;
  // Takes values from the command line, the environment and the file. An error is bad usage: exit status 2.
  virtual Result<> resolve(const Arguments& arguments, const Environment& environment) = 0;
  // An error is a failure at run time: failure_status().
  virtual Result<> run() = 0;
  // After resolve(), also one that failed: how the command logs. nullptr: it has no settings for that.
  virtual const LogOptions* log_options() const { return nullptr; }
  // After run() failed.
  virtual ExitStatus failure_status() const { return ExitStatus::kFailed; }
  // The series that the command serves, all of them zero: for the reference.
  virtual void describe_metrics(Metrics& /*metrics*/) const {}
  // After run(), when its output did not reach standard output: what the user has to know besides. May be
  // empty.
  virtual std::string when_output_is_lost() const { return {}; }

 private:
  CommandInfo info_;
};

// The node, and a hub or an edge alone.
std::vector<std::unique_ptr<Command>> make_node_commands();
std::unique_ptr<Command> make_agent_command();
std::unique_ptr<Command> make_http_command();
std::vector<std::unique_ptr<Command>> make_invite_commands();
// About a hub's or an agent's state.
std::vector<std::unique_ptr<Command>> make_status_commands();
// About tenants, edges, operator keys, agents, routes and the audit log.
std::vector<std::unique_ptr<Command>> make_hub_commands();
std::vector<std::unique_ptr<Command>> make_hub_archive_commands();
// Of a tenant, with its token.
std::vector<std::unique_ptr<Command>> make_tenant_commands();
std::vector<std::unique_ptr<Command>> make_key_backup_commands();
std::unique_ptr<Command> make_ca_export_command();
std::unique_ptr<Command> make_ca_serve_command();
std::unique_ptr<Command> make_ca_trust_command();
std::unique_ptr<Command> make_token_inspect_command();
std::unique_ptr<Command> make_version_command();
std::unique_ptr<Command> make_completion_command();
std::vector<std::unique_ptr<Command>> make_config_commands();
// Hidden: fills the generated parts of a document. `commands` outlives it.
std::unique_ptr<Command> make_docs_command(const std::vector<std::unique_ptr<Command>>& commands);
// All of them but the hidden one.
std::vector<std::unique_ptr<Command>> make_commands();
// nullptr: none is called so.
Command* find_command(const std::vector<std::unique_ptr<Command>>& commands, std::string_view name);
// The command whose name the words begin with, and how many of them are its name. Of several it is the one
// with the longest name, as "agent list" beside "agent".
std::pair<Command*, size_t> leading_command(const std::vector<std::unique_ptr<Command>>& commands,
                                            std::span<const std::string> words);
std::string version_text();

}  // namespace culvert::cli
