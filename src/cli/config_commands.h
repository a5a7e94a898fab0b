#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/listing.h"

namespace culvert::cli {

// culvert config check, config show and config reference: about the settings of another command, the target,
// whose name comes first behind their own. The target's flags follow.
class ConfigCommand : public Command {
 public:
  using Command::Command;
  // The name of the target becomes the positional; empty: none was given.
  Result<Arguments> parse(std::span<const std::string> words) const override;

 private:
  std::vector<ValueFlag> own_flags() const;
  Result<Arguments> parse_for(const Command& target, std::span<const std::string> words) const;
};

// Reads file and variables as the target does when it starts, and reports everything that is wrong.
class ConfigCheckCommand final : public ConfigCommand {
 public:
  ConfigCheckCommand();
  const Settings* settings() const override { return &settings_; }
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

 private:
  Settings settings_;
  OutputOptions output_;
  std::string verdict_;
};

class ConfigShowCommand final : public ConfigCommand {
 public:
  ConfigShowCommand();
  const Settings* settings() const override { return &settings_; }
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

  // After resolve(): {"settings":[{"setting":"edge.workers","value":"4","source":"--workers"}]}.
  const std::string& json() const { return json_; }

 private:
  Settings settings_;
  OutputOptions output_;
  std::string json_;
};

class ConfigReferenceCommand final : public ConfigCommand {
 public:
  ConfigReferenceCommand();
  Result<> resolve(const Arguments& arguments, const Environment& environment) override;
  Result<> run() override;

 private:
  std::string only_;
};

}  // namespace culvert::cli
