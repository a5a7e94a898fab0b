#pragma once
#include "base/log.h"
#include "cli/command.h"
#include "cli/data_dir.h"
#include "cli/reload.h"
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
  const LogOptions* log_options() const override { return &log_; }
  void describe_metrics(Metrics& metrics) const override { node::describe_metrics(metrics); }

  // Reads file and variables again, as resolve() did, and takes over what may change. kInvalid: something is
  // wrong, and all is as it was. On the thread that runs the node, while there is one.
  Result<ReloadReport> reload();
  void reload_at_signal();

  const node::Config& config() const { return config_; }

 private:
  const node::Roles preset_;
  Settings settings_;
  DataDir data_dir_;
  EdgeTokenSource edge_token_;
  node::Config config_;
  LogOptions log_;
  Arguments arguments_;
  Environment environment_;
  node::Node* node_ = nullptr;  // while it runs
  bool upgrades_ = false;
};

}  // namespace culvert::cli
