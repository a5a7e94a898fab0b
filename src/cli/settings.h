#pragma once
#include <functional>
#include <map>
#include <optional>
#include <span>
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
  // "--flag: ...", "CULVERT_X: ..." or "FILE:LINE:COLUMN: KEY: ...": the first of problems().
  Result<> resolve(const Arguments& arguments, const Environment& environment);
  // After resolve(): everything that was wrong.
  const std::vector<Error>& problems() const { return problems_; }

  struct Given {
    std::string source;  // how a message should call the setting: its flag, variable or place in the file
    std::string place;   // "--workers", "CULVERT_WORKERS" or "FILE:LINE"
    std::string value;   // lists joined by commas; of a secret: "set"
    std::string fingerprint;  // of the value, also of a secret: equal values have equal ones
  };
  // After resolve(); nullptr: the default.
  const Given* given(std::string_view flag) const;
  // From here on it is given as it is there.
  void take(std::string_view flag, const Settings& from);
  // After resolve(): its Given::source, or the flag.
  std::string source(std::string_view flag) const;

  // As a file gives it: checks the form, then applies.
  static Result<> apply_entry(const Setting& setting, const ConfigFile& file, const ConfigEntry& entry);

 private:
  void check_keys(const ConfigFile& file);
  std::string hint_for(const ConfigEntry& unknown) const;
  Result<> apply(const Setting& setting, const Arguments& arguments, const Environment& environment,
                 const ConfigFile& file);
  Result<> apply_flag(const Setting& setting, const std::vector<std::string>& given);
  // Of a flag or a variable, whose name is `source`.
  Result<> apply_list(const Setting& setting, const std::string& source,
                      const Result<std::vector<std::string>>& values);
  void remember(const Setting& setting, std::string source, std::string place,
                std::span<const std::string> values);

  std::string command_;
  std::vector<Setting> declared_;
  std::map<std::string, Given, std::less<>> given_;  // by flag
  std::vector<Error> problems_;
};

}  // namespace culvert::cli
