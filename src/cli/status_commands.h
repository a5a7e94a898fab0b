#pragma once
#include "cli/listing.h"
#include "cli/operator_command.h"
#include "ops/options.h"

namespace culvert::cli {

// culvert status: what a hub has, and whether it works.
class StatusCommand final : public OperatorCommand {
 public:
  StatusCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

 private:
  OutputOptions output_;
};

// culvert health: its exit status says whether the hub works.
class HealthCommand final : public OperatorCommand {
 public:
  HealthCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
};

// What an agent, or a node, serves at its --metrics-listen.
class LocalCommand : public Command {
 public:
  explicit LocalCommand(CommandInfo info);
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  const Settings* settings() const override { return &settings_; }
  ExitStatus failure_status() const override { return failure_status_; }

 protected:
  struct Answer {
    int status;
    std::string body;
  };
  // kUnavailable: nothing answers there.
  Result<Answer> get(std::string path);

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
  Result<> run() override;
};

// For people.
Result<std::string> format_hub_status(std::string_view json, const OutputOptions& options);
Result<std::string> format_agent_status(std::string_view json, const OutputOptions& options);
// nullopt: the hub works. kInvalid: it is no answer of a hub.
Result<std::optional<std::string>> hub_fault(std::string_view json);

}  // namespace culvert::cli
