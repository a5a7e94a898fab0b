#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace culvert::cli {

// One value of a file, with its place.
struct ConfigValue {
  enum class Type : uint8_t { kText, kNumber, kTrueFalse, kTable, kOther };
  Type type;
  // kText: itself; kNumber: in decimal; kTrueFalse: "true" or "false"; kTable: as JSON; kOther: what it is,
  // for messages
  std::string text;
  unsigned line = 0;
  unsigned column = 0;
};

// One key with its value, or its list of values.
struct ConfigEntry {
  std::string section;  // empty: above the first section
  std::string key;      // empty: the entry is a section without keys
  bool is_list = false;
  std::vector<ConfigValue> values;
  unsigned line = 0;
  unsigned column = 0;

  // "edge.workers". A key that is not one may be a misplaced secret: it is not repeated.
  std::string shown_key() const;
};

// A configuration file: TOML 1.0 with at most one level of sections.
struct ConfigFile {
  std::string name;  // as the user gave it, for messages
  std::vector<ConfigEntry> entries;
  bool others_may_read = false;

  // "FILE:LINE:COLUMN: KEY", what every complaint about a key begins with.
  std::string place(const ConfigEntry& entry) const;
  Error complaint(const ConfigEntry& entry, std::string_view reason) const;
};

// kInvalid: "FILE:LINE:COLUMN: ..." for what is not TOML and for sections inside sections. Values are not
// repeated.
Result<ConfigFile> parse_config(std::string_view text, std::string name);
// Errors of parse_config, and those of read_file.
Result<ConfigFile> read_config(const std::filesystem::path& path);

// True when users other than the owner may read this file.
bool others_may_read(const std::filesystem::path& path);

}  // namespace culvert::cli
