#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "cli/listing.h"
#include "cli/local_status.h"
#include "cli/operator_command.h"
#include "node/node.h"
#include "ops/options.h"

namespace culvert::cli {

// An edge of a hub elsewhere that runs on this host.
class EdgeOnThisHost {
 public:
  // After settings were resolved: an edge is asked when no hub was named, and one was started with this data
  // directory. Otherwise the way to the hub is found.
  Result<> find(OperatorAccess& access, const Settings& settings, const Environment& environment);
  explicit operator bool() const { return edge_.has_value(); }

  // Its status, JSON.
  Result<std::string> ask();
  ExitStatus failure_status() const { return failure_status_; }

 private:
  std::optional<node::LocalEdge> edge_;
  ExitStatus failure_status_ = ExitStatus::kFailed;
};

// culvert status: what a hub has, or an edge on this host, and whether it works.
class StatusCommand final : public OperatorCommand {
 public:
  StatusCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
  ExitStatus failure_status() const override {
    return edge_ ? edge_.failure_status() : OperatorCommand::failure_status();
  }

 private:
  Result<> show_edge();

  EdgeOnThisHost edge_;
  OutputOptions output_;
};

// culvert health: its exit status says whether the hub works, or the edge on this host.
class HealthCommand final : public OperatorCommand {
 public:
  HealthCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
  ExitStatus failure_status() const override {
    return edge_ ? edge_.failure_status() : OperatorCommand::failure_status();
  }

 private:
  EdgeOnThisHost edge_;
  OutputOptions output_;
};

// What an agent, or a node, serves at its --metrics-listen.
class LocalCommand : public Command {
 public:
  explicit LocalCommand(CommandInfo info);
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  const Settings* settings() const override { return &settings_; }
  ExitStatus failure_status() const override { return failure_status_; }

 protected:
  // kUnavailable: nothing answers there.
  Result<LocalAnswer> get(std::string path);

  Settings settings_;
  ExitStatus failure_status_ = ExitStatus::kFailed;

 private:
  ops::Options options_;
};

// culvert agent status: its services, accepted or refused and why, and its edges.
class AgentStatusCommand final : public LocalCommand {
 public:
  AgentStatusCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

 private:
  OutputOptions output_;
};

// culvert agent health: its exit status says whether all of its services are served.
class AgentHealthCommand final : public LocalCommand {
 public:
  AgentHealthCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

 private:
  OutputOptions output_;
};

// For people.
Result<std::string> format_hub_status(std::string_view json, const OutputOptions& options);
Result<std::string> format_agent_status(std::string_view json, const OutputOptions& options);
Result<std::string> format_edge_status(std::string_view json, const OutputOptions& options);
// One document with `status` and `faults`, which are a hub's, an edge's or an agent's; for people a line
// where there are no faults, and nothing where the command fails with them.
Result<std::string> format_health(std::string_view status, const std::vector<std::string>& faults,
                                  const OutputOptions& options);
// nullopt: the hub works. kInvalid: it is no answer of a hub.
Result<std::optional<std::string>> hub_fault(std::string_view json);
// The same of an edge.
Result<std::optional<std::string>> edge_fault(std::string_view json);

}  // namespace culvert::cli
