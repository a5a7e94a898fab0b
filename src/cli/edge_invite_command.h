#pragma once
#include <string>

#include "cli/operator_command.h"

namespace culvert::cli {

// culvert edge-invite create: the token goes to standard output alone, what is to be known of it to standard
// error.
class EdgeInviteCreateCommand final : public OperatorCommand {
 public:
  EdgeInviteCreateCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
  std::string when_output_is_lost() const override;

 private:
  std::string name_;
  std::string region_;
  std::string created_name_;
  OutputOptions output_;
};

}  // namespace culvert::cli
