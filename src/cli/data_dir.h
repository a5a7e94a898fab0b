#pragma once
#include <filesystem>

#include "base/settings.h"
#include "cli/settings.h"

namespace culvert::cli {

// The --data-dir of a node on this host, shared by the commands that look there.
class DataDir {
 public:
  // Above the first section.
  void describe(SettingsBuilder& settings);
  // After settings were resolved.
  Result<std::filesystem::path> path(const Environment& environment) const;
  // For a complaint that no node is there: where else one seems to be. Empty, or begins with "; ".
  std::string advice() const;

 private:
  std::string given_;
};

}  // namespace culvert::cli
