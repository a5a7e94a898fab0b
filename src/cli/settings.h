#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace culvert::cli {

// Looks up an environment variable; an empty one counts as unset.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();
// The names of all variables that begin with CULVERT_ and are not empty.
std::vector<std::string> culvert_variables();

// One declaration gives the flag --key, the variable CULVERT_KEY and the file's `key = ...`.
struct Setting {
  std::string key;
  std::string value_name;  // "ADDR:PORT", for the help
  std::string help;
  std::string default_text = {};  // for the help; empty: none is shown
  // Takes the value; its error says what is wrong and what would be right. Called once, or for a list once
  // for each.
  std::function<Result<>(std::string_view value)> apply = {};
  // A list: the flag may be repeated; variable and file separate entries by this.
  std::optional<char> separator = std::nullopt;
  std::string variable = {};  // default: CULVERT_ and the key in capitals
  bool is_secret = false;     // errors do not repeat it; a file that holds it should be private
};

// The settings of one command and where their values come from: flag, then environment, then file, then
// default. CLI11 reads the command line; sources are settled here, so that every complaint names its source
// the same way.
class Settings {
 public:
  // `with_file` adds --config and CULVERT_CONFIG.
  Settings(CLI::App& app, bool with_file);
  Settings(const Settings&) = delete;

  void add(Setting setting);

  // After the command line was parsed: applies every value that was given. kInvalid: "--flag: ...",
  // "CULVERT_X: ..." or "FILE:LINE: KEY: ...".
  Result<> resolve(const Environment& environment);
  // After resolve(): some source gave it.
  bool has(std::string_view key) const { return sources_.contains(key); }
  // After resolve(): how a message should call the setting: the flag, variable or file line that gave it.
  std::string source(std::string_view key) const;

  static std::string variable_name(const Setting& setting);

 private:
  struct Entry {
    Setting setting;
    CLI::Option* option;
  };

  Result<> apply_text(const Setting& setting, std::string_view text, const std::string& source);
  Result<> apply_one(const Setting& setting, std::string_view value, const std::string& source);
  Result<> apply_flag(const Entry& entry);

  CLI::App& app_;
  CLI::Option* config_option_ = nullptr;
  std::vector<Entry> entries_;
  std::map<std::string, std::string, std::less<>> sources_;
};

}  // namespace culvert::cli
