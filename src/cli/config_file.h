#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace culvert::cli {

// One `key = value` line.
struct ConfigEntry {
  std::string key;
  std::string value;
  int line;
};

// A configuration file: `key = value` lines, empty lines, and lines that begin with '#'. A value is the rest
// of its line without surrounding blanks. There are no sections, no quotes and no continuation lines.
struct ConfigFile {
  std::string name;  // as the user gave it, for messages
  std::vector<ConfigEntry> entries;
  bool others_may_read = false;

  // "FILE:LINE: KEY: reason", the form of every complaint about a file.
  Error complaint(const ConfigEntry& entry, std::string_view reason) const;
};

// kInvalid: "FILE:LINE: ..." for a line without '=', an empty or misspelt key, a key given twice.
Result<ConfigFile> parse_config(std::string_view text, std::string name);
// Errors of parse_config, and those of read_file.
Result<ConfigFile> read_config(const std::filesystem::path& path);

// True when users other than the owner may read this file.
bool others_may_read(const std::filesystem::path& path);

}  // namespace culvert::cli
