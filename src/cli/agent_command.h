#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/foreground.h"
#include "cli/reload.h"
#include "cli/token_source.h"

namespace culvert::cli {

// culvert agent: serves declared services through every edge of a hub.
class AgentCommand final : public Command {
 public:
  AgentCommand();

  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
  const Settings* settings() const override { return &settings_; }
  const LogOptions* log_options() const override { return &log_; }
  void describe_metrics(Metrics& metrics) const override { describe_agent_metrics(metrics); }

  // Reads file and variables again, as resolve() did, and takes over what may change: services go to
  // `set_services`. kInvalid: something is wrong, and all is as it was.
  Result<ReloadReport> reload(const std::function<void(std::vector<agent::Service>)>& set_services);

  // After resolve().
  const agent::Config& config() const { return *config_; }

 private:
  Result<std::vector<agent::Service>> collect_services() const;

  Settings settings_;
  TokenSource token_;
  std::optional<std::vector<agent::Service>> json_services_;
  std::optional<std::vector<agent::Service>> file_services_;
  std::vector<agent::Service> short_services_;
  agent::Options options_;
  ops::Options ops_;
  LogOptions log_;
  std::optional<agent::Config> config_;
  Arguments arguments_;
  Environment environment_;
};

}  // namespace culvert::cli
