#pragma once
#include <string>

#include "cli/operator_command.h"

namespace culvert::cli {

// culvert operator key create: the key goes to standard output alone, what is to be known of it to standard
// error.
class OperatorKeyCreateCommand final : public OperatorCommand {
 public:
  OperatorKeyCreateCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;
  std::string when_output_is_lost() const override;

 private:
  std::string name_;
  std::string role_ = "admin";
  bool is_created_ = false;
  OutputOptions output_;
};

}  // namespace culvert::cli
