#pragma once
#include "base/log.h"
#include "cli/command.h"
#include "cli/data_dir.h"
#include "cli/token_source.h"
#include "node/node.h"

namespace culvert::cli {

// culvert node: hub and edge in one process, or one of them as --roles says; culvert hub and culvert edge:
// that one.
class NodeCommand final : public Command {
 public:
  explicit NodeCommand(node::Roles roles = node::Roles::kHubAndEdge);

  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
  const Settings* settings() const override { return &settings_; }
  void describe_metrics(Metrics& metrics) const override { node::describe_metrics(metrics); }

  const node::Config& config() const { return config_; }
  LogLevel log_level() const { return log_level_; }

 private:
  Settings settings_;
  DataDir data_dir_;
  EdgeTokenSource edge_token_;
  node::Config config_;
  LogLevel log_level_ = LogLevel::kInfo;
};

}  // namespace culvert::cli
