#pragma once
#include <string>
#include <utility>

#include "cli/command.h"
#include "cli/listing.h"
#include "cli/operator_access.h"

namespace culvert::cli {

// A command that calls the hub with the operator key.
class OperatorCommand : public Command {
 public:
  explicit OperatorCommand(CommandInfo info) : Command(std::move(info)), settings_(this->info().name) {}

  const Settings* settings() const override { return &settings_; }
  ExitStatus failure_status() const override { return access_.failure_status(); }

 protected:
  Settings settings_;
  OperatorAccess access_;
};

// A command that lists what the hub has: GET `path`, page by page.
struct ListCommandInfo {
  CommandInfo command;
  std::string path;  // "/v1/invites"
  ListingInfo listing;
};
class ListCommand final : public OperatorCommand {
 public:
  explicit ListCommand(ListCommandInfo info);
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

 private:
  const std::string path_;
  const ListingInfo listing_;
  OutputOptions output_;
};

}  // namespace culvert::cli
