#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/key.h"
#include "base/secret.h"
#include "cli/data_dir.h"
#include "cli/exit_status.h"
#include "cli/settings.h"
#include "hubapi/token.h"
#include "node/file_places.h"
#include "node/node.h"

namespace culvert::cli {

// How the operator's commands reach a hub: --hub-url, --hub-key and --operator-key, or what a node on this
// host left in its data directory.
class OperatorAccess {
 public:
  // Section [operator], and the data directory.
  void describe(SettingsBuilder& settings);
  // After settings were resolved. Errors name what is missing.
  Result<> find(const Settings& settings, const Environment& environment);

  // After settings were resolved: the edge of a hub elsewhere that was started last with this data directory;
  // nullopt: there is none, or the settings name a hub.
  Result<std::optional<node::LocalEdge>> find_local_edge(const Settings& settings,
                                                         const Environment& environment);

  // One call; the answer's body. Runs a loop of its own until it is answered.
  Result<std::string> call(std::string method, std::string path, std::string json);
  // What the program ends with after the last call: kFailed when that was answered, and something else
  // failed.
  ExitStatus failure_status() const { return failure_status_; }

 private:
  DataDir data_dir_;
  node::FilePlaces places_;
  std::vector<hubapi::HubUrl> urls_;
  std::optional<PublicKey> hub_key_;
  SecretString operator_key_;
  std::string operator_key_source_;
  ExitStatus failure_status_ = ExitStatus::kFailed;
};

}  // namespace culvert::cli
