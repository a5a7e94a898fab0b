#pragma once
#include "base/log.h"
#include "cli/command.h"
#include "cli/data_dir.h"
#include "node/node.h"

namespace culvert::cli {

// culvert node: hub and edge in one process.
class NodeCommand final : public Command {
 public:
  NodeCommand();

  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
  const Settings* settings() const override { return &settings_; }
  void describe_metrics(Metrics& metrics) const override { node::describe_metrics(metrics); }

  const node::Config& config() const { return config_; }
  LogLevel log_level() const { return log_level_; }

 private:
  Settings settings_;
  DataDir data_dir_;
  node::Config config_;
  LogLevel log_level_ = LogLevel::kInfo;
};

}  // namespace culvert::cli
