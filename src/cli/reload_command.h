#pragma once
#include <string>
#include <string_view>

#include "cli/operator_command.h"

namespace culvert::cli {

// culvert config reload: has a node read its file again, through the hub's API, which answers what became of
// it.
class ReloadCommand final : public OperatorCommand {
 public:
  ReloadCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

 private:
  OutputOptions output_;
};

// The hub's answer; for people line by line.
Result<std::string> format_reload(std::string_view json, const OutputOptions& options);

}  // namespace culvert::cli
