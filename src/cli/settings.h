#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/settings.h"
#include "cli/command_line.h"
#include "cli/config_file.h"

namespace culvert::cli {

// Looks up an environment variable; an empty one counts as unset.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();
// The names of all variables that begin with CULVERT_ and are not empty.
std::vector<std::string> culvert_variables();

// The settings of one command and where their values come from: flag, then environment, then file, then
// default. Every complaint names its source the same way.
class Settings {
 public:
  // For messages: "invite create".
  explicit Settings(std::string command) : command_(std::move(command)) {}
  Settings(const Settings&) = delete;

  // For the owners of settings, while the command is made.
  SettingsBuilder builder() { return SettingsBuilder(declared_); }
  const std::vector<Setting>& declared() const { return declared_; }

  // Applies every value that was given. The file is that of --config or CULVERT_CONFIG. kInvalid:
  // "--flag: ...", "CULVERT_X: ..." or "FILE:LINE:COLUMN: KEY: ...".
  Result<> resolve(const Arguments& arguments, const Environment& environment);
  // After resolve(): how a message should call the setting: the flag, variable or place in the file that gave
  // it.
  std::string source(std::string_view flag) const;

  // As a file gives it: checks the form, then applies.
  static Result<> apply_entry(const Setting& setting, const ConfigFile& file, const ConfigEntry& entry);

 private:
  Result<> check_keys(const ConfigFile& file) const;
  Result<> apply_text(const Setting& setting, std::string_view text, const std::string& source);
  Result<> apply_flag(const Setting& setting, const std::vector<std::string>& values);

  std::string command_;
  std::vector<Setting> declared_;
  std::map<std::string, std::string, std::less<>> sources_;
};

}  // namespace culvert::cli
