#pragma once
#include <optional>
#include <string>

#include "cli/operator_command.h"

namespace culvert::cli {

// culvert edge edit
class EdgeEditCommand final : public OperatorCommand {
 public:
  EdgeEditCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

  // The body of the call.
  std::string request_json() const;

 private:
  std::string word_;
  std::optional<std::string> name_;
  std::optional<std::string> region_;
  OutputOptions output_;
};

}  // namespace culvert::cli
